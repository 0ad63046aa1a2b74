//! Policies that do not do what their authors meant.
//!
//! Only what follows from the objects alone is said; what traffic shows is the verdict's business.

use std::collections::BTreeMap;

use super::cilium::Rejection;
use super::{Lint, PolicyRef, antrea, cilium};
use crate::objects::antrea::Egress;
use crate::objects::cilium::CiliumEgressGatewayPolicy;
use crate::objects::{History, ObjectName, Version};

/// All lints, by policy and message, each from the first version that it is true of.
pub(super) fn of(history: &History) -> Vec<Lint> {
    let mut found: BTreeMap<(PolicyRef, String), i64> = BTreeMap::new();
    let mut add = |policy: PolicyRef, messages: Vec<String>, since_us: i64| {
        for message in messages {
            let first_us = found.entry((policy.clone(), message)).or_insert(since_us);
            *first_us = since_us.min(*first_us);
        }
    };
    for (name, version) in history.egresses.all() {
        let mut messages = egress(&version.value);
        messages.extend(outside_pool(history, version));
        add(antrea::policy(name), messages, version.from_us);
    }
    for (name, version) in history.cilium_policies.all() {
        add(
            cilium::policy(name),
            cilium_policy(&version.value),
            version.from_us,
        );
    }
    found
        .into_iter()
        .map(|((policy, message), since_us)| Lint {
            policy,
            message,
            since_us,
        })
        .collect()
}

fn egress(egress: &Egress) -> Vec<String> {
    let mut messages = Vec::new();
    let spec = &egress.spec;
    let applied_to = &spec.applied_to;
    let outside = egress
        .misplaced
        .keys()
        .map(String::as_str)
        .map(|key| (key, ""));
    let in_spec = spec
        .misplaced
        .keys()
        .map(String::as_str)
        .map(|key| (key, "spec."));
    for (key, path) in outside.chain(in_spec) {
        let follows = match (key, applied_to.namespace_selector.is_some()) {
            ("podSelector", true) => ": the policy selects every pod of its namespaces",
            ("podSelector" | "namespaceSelector", _) => {
                ": the policy selects other pods than meant"
            }
            _ => "",
        };
        messages.push(format!(
            "the API server prunes {path}{key}, which is not a field{follows}"
        ));
    }
    for key in applied_to.ignored.keys() {
        messages.push(format!(
            "the Egress controller ignores spec.appliedTo.{key}"
        ));
    }
    if applied_to.pod_selector.is_none() && applied_to.namespace_selector.is_none() {
        let message =
            "spec.appliedTo has neither podSelector nor namespaceSelector: no pod is selected";
        messages.push(message.into());
    }
    if spec.egress_ips.is_some() || spec.pools.is_some() {
        let message = "Antrea's webhook rejects egressIPs and externalIPPools: write egressIP and externalIPPool";
        messages.push(message.into());
    }
    if spec.egress_ip.is_none() && spec.pool.is_none() {
        messages
            .push("spec has neither egressIP nor externalIPPool: traffic is not changed".into());
    }
    messages
}

fn outside_pool(history: &History, version: &Version<Egress>) -> Option<String> {
    let spec = &version.value.spec;
    let (address, pool) = (spec.egress_ip?, spec.pool.as_deref()?);
    let found = history
        .external_ip_pools
        .at(&ObjectName::cluster(pool), version.from_us)?;
    let ranges = &found.value.spec.ip_ranges;
    if ranges.iter().any(|range| range.gives(address)) {
        return None;
    }
    let size = ranges
        .iter()
        .fold(0_u128, |sum, range| sum.saturating_add(range.size()));
    Some(format!(
        "egressIP {address} is not one of the {size} addresses that ExternalIPPool/{pool} gives out"
    ))
}

fn cilium_policy(policy: &CiliumEgressGatewayPolicy) -> Vec<String> {
    let mut messages = Vec::new();
    if let Some(rejection) = cilium::rejection(policy) {
        let why = match rejection {
            Rejection::SelectorWithoutPods => {
                "an entry of spec.selectors has neither podSelector nor namespaceSelector"
            }
            Rejection::InterfaceAndEgressIp => "a gateway has both interface and egressIP",
            Rejection::NoGateway => "there is no egressGateway",
            Rejection::GatewayWithoutNodes => "a gateway has no nodeSelector",
        };
        messages.push(format!("agents ignore the whole policy: {why}"));
    }
    let spec = &policy.spec;
    let with_nodes = spec
        .selectors
        .iter()
        .filter(|rule| rule.node_selector.is_some())
        .count();
    if with_nodes > 0 && spec.selectors.len() > 1 {
        let message = "nodeSelectors are pooled over the entries of spec.selectors: every entry's pods match on every entry's nodes";
        messages.push(message.into());
    }
    let several = spec
        .egress_gateways
        .as_ref()
        .is_some_and(|several| !several.is_empty());
    if several && spec.egress_gateway.is_some() {
        messages.push("egressGateways replaces egressGateway, which is not used".into());
    }
    messages
}
