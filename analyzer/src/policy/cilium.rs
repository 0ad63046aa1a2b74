//! Cilium's `CiliumEgressGatewayPolicy`: which pods and destinations it takes, and its gateways.
//!
//! Agents put all policies into one longest-prefix-match map, exclusions too. What the map says is
//! followed to the letter, also where that is not what the author of a policy meant.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::cluster::Cluster;
use super::engine::Answer;
use super::gateway::{self, Gateway};
use super::lpm::DestinationTrie;
use super::subject::Subject;
use super::{BypassReason, EngineOptions, Expectation, PolicyKind, PolicyRef, identity};
use crate::objects::cilium::{
    CiliumEgressGatewayPolicy, CiliumEgressGatewayPolicySpec, EgressGateway, EgressRule,
};
use crate::objects::{History, Labels, ObjectName};

/// A policy while nothing that it depends on changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub policy: PolicyRef,
    selectors: Vec<EgressRule>,
    destinations: Vec<IpNet>,
    excluded: Vec<IpNet>,
    gateways: Vec<Gateway>,
}

/// The policy map as it concerns one pod.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    rules: Vec<Arc<Rule>>,
    endpoint_uid: Option<String>,
    trie: DestinationTrie<Route>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    /// Index into the rules.
    rule: usize,
    excluded: bool,
}

/// Why agents do not take a policy at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// A selector entry has neither podSelector nor namespaceSelector.
    SelectorWithoutPods,
    /// A gateway has both an interface and an egress IP.
    InterfaceAndEgressIp,
    /// There is no gateway.
    NoGateway,
    /// A gateway has no node selector.
    GatewayWithoutNodes,
}

/// All policies in force at a moment that agents take, by name.
pub(super) fn rules_at(history: &History, options: &EngineOptions, at_us: i64) -> Vec<Arc<Rule>> {
    history
        .cilium_policies
        .all_at(at_us)
        .filter(|(_, version)| rejection(&version.value).is_none())
        .map(|(name, version)| Arc::new(rule(history, options, name, &version.value.spec, at_us)))
        .collect()
}

/// Names a policy.
pub(super) fn policy(name: &ObjectName) -> PolicyRef {
    PolicyRef {
        kind: PolicyKind::CiliumEgressGateway,
        name: name.to_string(),
    }
}

/// The gateways of a policy: the plural form, if it is not empty, replaces the singular one.
pub(super) fn gateways(spec: &CiliumEgressGatewayPolicySpec) -> &[EgressGateway] {
    match spec.egress_gateways.as_deref() {
        Some(several) if !several.is_empty() => several,
        _ => spec.egress_gateway.as_slice(),
    }
}

/// Why agents do not take a policy, if they do not.
pub(super) fn rejection(policy: &CiliumEgressGatewayPolicy) -> Option<Rejection> {
    let gateways = gateways(&policy.spec);
    let both = |gateway: &EgressGateway| gateway.interface.is_some() && gateway.egress_ip.is_some();
    let lacks_pods =
        |rule: &EgressRule| rule.pod_selector.is_none() && rule.namespace_selector.is_none();
    if policy.spec.selectors.iter().any(lacks_pods) {
        Some(Rejection::SelectorWithoutPods)
    } else if gateways.is_empty() {
        Some(Rejection::NoGateway)
    } else if gateways.iter().any(both) {
        Some(Rejection::InterfaceAndEgressIp)
    } else if gateways
        .iter()
        .any(|gateway| gateway.node_selector.is_none())
    {
        Some(Rejection::GatewayWithoutNodes)
    } else {
        None
    }
}

impl Rule {
    /// Whether the policy applies to a pod. Entries are ORed, but their node selectors are pooled:
    /// a pod taken by one entry may run on a node taken by another.
    pub(super) fn selects(&self, subject: &Subject<'_>, identity: &Labels) -> bool {
        if subject.pod.host_network || subject.pod.terminated {
            return false;
        }
        let takes_pod = self.selectors.iter().any(|rule| {
            identity::selects(
                rule.namespace_selector.as_ref(),
                rule.pod_selector.as_ref(),
                identity,
            )
        });
        let mut nodes = self
            .selectors
            .iter()
            .filter_map(|rule| rule.node_selector.as_ref())
            .peekable();
        takes_pod
            && (nodes.peek().is_none()
                || subject
                    .node_labels
                    .is_some_and(|labels| nodes.any(|node| node.matches(labels))))
    }
}

impl Routes {
    /// The policies that take the pod.
    pub(super) fn policies(&self) -> impl Iterator<Item = &PolicyRef> {
        self.rules.iter().map(|rule| &rule.policy)
    }

    /// The map's entries for one pod.
    pub(super) fn new(rules: Vec<Arc<Rule>>, endpoint_uid: Option<String>) -> Self {
        let mut trie = DestinationTrie::default();
        for (index, rule) in rules.iter().enumerate() {
            for prefix in &rule.excluded {
                trie.put(
                    *prefix,
                    Route {
                        rule: index,
                        excluded: true,
                    },
                );
            }
            // An exclusion of the policy's own on the same prefix is written after it.
            for prefix in rule
                .destinations
                .iter()
                .filter(|prefix| !rule.excluded.contains(prefix))
            {
                trie.put(
                    *prefix,
                    Route {
                        rule: index,
                        excluded: false,
                    },
                );
            }
        }
        Self {
            rules,
            endpoint_uid,
            trie,
        }
    }

    /// What the policies that select the pod demand for one destination.
    pub(super) fn decide(
        &self,
        history: &History,
        cluster: &Cluster,
        destination: IpAddr,
        at_us: i64,
    ) -> Answer {
        let bypass = |reason, policies| Answer::of(Expectation::Bypass { reason }, policies);
        if cluster.holds_for_cilium(history, destination, at_us) {
            return bypass(BypassReason::InsideCluster, Vec::new());
        }
        let routes = self.trie.longest(destination);
        let policies: Vec<PolicyRef> = routes
            .iter()
            .map(|route| self.rules[route.rule].policy.clone())
            .collect();
        let Some(first) = routes.first() else {
            return bypass(BypassReason::DestinationNotCovered, policies);
        };
        if routes.iter().all(|route| route.excluded) {
            return bypass(BypassReason::DestinationExcluded, policies);
        }
        let mut answer = self.leave(&self.rules[first.rule], destination);
        let differs = |route: &Route| {
            route.excluded
                || self.leave(&self.rules[route.rule], destination).expectation
                    != answer.expectation
        };
        // Equal prefixes: the last writer wins, in the order of a map (cilium#27491).
        if routes.iter().any(differs) {
            answer.expectation = Expectation::Ambiguous;
            answer.notes = vec!["policies put the same prefix on the map (cilium#27491)".into()];
        }
        answer.policies = policies;
        answer
    }

    fn leave(&self, rule: &Rule, destination: IpAddr) -> Answer {
        let gateways = &rule.gateways;
        let mut answer = Answer::of(Expectation::Ambiguous, vec![rule.policy.clone()]);
        answer.expectation = match (&self.endpoint_uid, gateways.len()) {
            (_, 0) => {
                let reason = format!("{} has no gateway: no node matches", rule.policy);
                Expectation::Drop { reason }
            }
            (_, 1) => gateways[0].expectation(destination, &mut answer.notes),
            (Some(uid), count) => {
                gateways[gateway_index(uid, count)].expectation(destination, &mut answer.notes)
            }
            (None, _) => {
                answer
                    .notes
                    .push("the CiliumEndpoint, whose UID picks the gateway, is not known".into());
                gateway::any_of(gateways, destination, &mut answer.notes)
            }
        };
        answer
    }
}

/// Two maps are equal if they were built from the same.
impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        self.endpoint_uid == other.endpoint_uid && self.rules == other.rules
    }
}

/// Which of several gateways an endpoint uses.
pub(super) fn gateway_index(endpoint_uid: &str, gateways: usize) -> usize {
    fnv1a_32(endpoint_uid.as_bytes()) as usize % gateways
}

/// FNV-1a of 32 bits (draft-eastlake-fnv); the `fnv` crate has the one of 64.
pub(super) fn fnv1a_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

fn rule(
    history: &History,
    options: &EngineOptions,
    name: &ObjectName,
    spec: &CiliumEgressGatewayPolicySpec,
    at_us: i64,
) -> Rule {
    let several = spec
        .egress_gateways
        .as_ref()
        .is_some_and(|several| !several.is_empty());
    let found = gateways(spec)
        .iter()
        .filter_map(|entry| Gateway::find(history, options, entry, at_us));
    let mut gateways: Vec<Gateway> = found.collect();
    if several {
        gateways.sort_by_key(|gateway| gateway.node_address);
    }
    Rule {
        policy: policy(name),
        selectors: spec.selectors.clone(),
        destinations: spec.destination_cidrs.iter().map(|cidr| cidr.0).collect(),
        excluded: spec
            .excluded_cidrs
            .iter()
            .flatten()
            .map(|cidr| cidr.0)
            .collect(),
        gateways,
    }
}
