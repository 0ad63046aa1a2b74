//! Antrea's `Egress`: which pods it selects and by what address and node they leave.
//!
//! The status that the agents write is the truth about placement. Only where there is none, the
//! placement of a pool's address is computed, and the answer says so.

use std::net::IpAddr;
use std::sync::Arc;

use super::cluster::Cluster;
use super::engine::Answer;
use super::placement;
use super::subject::Subject;
use super::{BypassReason, Exit, Expectation, PolicyKind, PolicyRef};
use crate::objects::antrea::{AppliedTo, Egress};
use crate::objects::{History, ObjectName};

/// An `Egress` while nothing that it depends on changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub policy: PolicyRef,
    applied_to: AppliedTo,
    outcome: Outcome,
    notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Exit {
        address: IpAddr,
        node: Option<String>,
    },
    Lost {
        address: IpAddr,
        reason: String,
    },
    NotRealised,
}

/// All Egresses in force at a moment, by name.
pub(super) fn rules_at(history: &History, at_us: i64) -> Vec<Arc<Rule>> {
    let egresses = history.egresses.all_at(at_us);
    egresses
        .map(|(name, version)| Arc::new(rule(history, name, &version.value, at_us)))
        .collect()
}

/// Names an `Egress`.
pub(super) fn policy(name: &ObjectName) -> PolicyRef {
    PolicyRef {
        kind: PolicyKind::AntreaEgress,
        name: name.to_string(),
    }
}

impl Rule {
    /// Whether the Egress applies to a pod. Host-network, terminated and unscheduled pods are
    /// skipped; without either selector nothing is selected.
    pub(super) fn selects(&self, subject: &Subject<'_>) -> bool {
        let pod = subject.pod;
        if pod.host_network || pod.terminated || pod.node.is_none() {
            return false;
        }
        let AppliedTo {
            pod_selector,
            namespace_selector,
            ..
        } = &self.applied_to;
        if pod_selector.is_none() && namespace_selector.is_none() {
            return false;
        }
        pod_selector
            .as_ref()
            .is_none_or(|selector| selector.matches(&pod.labels))
            && namespace_selector
                .as_ref()
                .is_none_or(|selector| subject.in_namespace(selector))
    }
}

/// What the Egresses that select a pod demand for one destination.
pub(super) fn decide(
    rules: &[Arc<Rule>],
    history: &History,
    cluster: &Cluster,
    destination: IpAddr,
    at_us: i64,
) -> Answer {
    let policies = rules.iter().map(|rule| rule.policy.clone()).collect();
    let bypass = |policies, reason| Answer::of(Expectation::Bypass { reason }, policies);
    if cluster.holds_for_antrea(history, destination, at_us) {
        return bypass(Vec::new(), BypassReason::InsideCluster);
    }
    if cluster.excepts(destination) {
        return bypass(Vec::new(), BypassReason::AgentException);
    }
    let realised: Vec<_> = rules.iter().filter(|rule| rule.is_realised()).collect();
    if realised.is_empty() {
        return bypass(policies, BypassReason::NotRealised);
    }
    let fitting: Vec<_> = realised
        .into_iter()
        .filter(|rule| {
            rule.address()
                .is_some_and(|ip| ip.is_ipv4() == destination.is_ipv4())
        })
        .collect();
    if fitting.is_empty() {
        return bypass(policies, BypassReason::AddressFamily);
    }
    choose(&fitting)
}

/// Several Egresses on one pod: the first that its agent bound stays, and which one that is stands
/// nowhere.
fn choose(rules: &[&Arc<Rule>]) -> Answer {
    let mut answer = Answer::of(
        Expectation::Ambiguous,
        rules.iter().map(|rule| rule.policy.clone()).collect(),
    );
    let mut exits = Vec::new();
    let mut lost = Vec::new();
    for rule in rules {
        answer.notes.extend(rule.notes.iter().cloned());
        match &rule.outcome {
            Outcome::Exit { address, node } => {
                exits.push(Exit {
                    address: Some(*address),
                    node: node.clone(),
                });
            }
            Outcome::Lost { reason, .. } => lost.push(reason.clone()),
            Outcome::NotRealised => {}
        }
    }
    exits.sort();
    exits.dedup();
    answer.expectation = match (exits.len(), lost.first()) {
        (0, reason) => Expectation::Drop {
            reason: reason.cloned().unwrap_or_default(),
        },
        (1, None) => Expectation::Exactly(exits.remove(0)),
        (_, reason) => {
            if let Some(reason) = reason {
                answer
                    .notes
                    .push(format!("or the traffic is lost: {reason}"));
            }
            Expectation::OneOf(exits)
        }
    };
    answer
}

impl Rule {
    /// Whether the Egress has an address.
    pub(super) fn is_realised(&self) -> bool {
        self.outcome != Outcome::NotRealised
    }

    fn address(&self) -> Option<IpAddr> {
        match &self.outcome {
            Outcome::Exit { address, .. } | Outcome::Lost { address, .. } => Some(*address),
            Outcome::NotRealised => None,
        }
    }
}

fn rule(history: &History, name: &ObjectName, egress: &Egress, at_us: i64) -> Rule {
    let mut notes = Vec::new();
    let outcome = outcome(history, egress, at_us, &mut notes);
    let notes = notes
        .into_iter()
        .map(|note| format!("{}: {note}", policy(name)))
        .collect();
    Rule {
        policy: policy(name),
        applied_to: egress.spec.applied_to.clone(),
        outcome,
        notes,
    }
}

fn outcome(history: &History, egress: &Egress, at_us: i64, notes: &mut Vec<String>) -> Outcome {
    let status = egress.status.as_ref();
    let placed = status.and_then(|status| status.egress_ip);
    // What `spec` asks for counts: a status that still shows another address is behind.
    let Some(address) = egress.spec.egress_ip.or(placed) else {
        return Outcome::NotRealised;
    };
    if placed.is_some_and(|placed| placed != address) {
        notes.push(format!(
            "its status still shows another address than {address}"
        ));
        return Outcome::Exit {
            address,
            node: None,
        };
    }
    if let Some(node) = status.and_then(|status| status.egress_node.clone()) {
        return Outcome::Exit {
            address,
            node: Some(node),
        };
    }
    match &egress.spec.pool {
        None => static_address(history, address, status.is_some(), at_us, notes),
        Some(pool) => pool_address(history, address, pool, status.is_some(), at_us, notes),
    }
}

/// A static address is on whichever node has it; on none, traffic is lost.
fn static_address(
    history: &History,
    address: IpAddr,
    has_status: bool,
    at_us: i64,
    notes: &mut Vec<String>,
) -> Outcome {
    let ready = |node: &&str| {
        let node = history.nodes.at(&ObjectName::cluster(*node), at_us);
        node.is_none_or(|node| node.value.ready != Some(false))
    };
    if let Some(node) = history.node_by_address(address, at_us).filter(ready) {
        return Outcome::Exit {
            address,
            node: Some(node.to_owned()),
        };
    }
    if has_status {
        return Outcome::Lost {
            address,
            reason: format!("no node has the static address {address}"),
        };
    }
    notes.push(format!("no status says which node has {address}"));
    Outcome::Exit {
        address,
        node: None,
    }
}

/// A pool's address with no eligible node: Antrea removes its flows and lets traffic out with the
/// node's address (antrea#6228). The policy still demands the address.
fn pool_address(
    history: &History,
    address: IpAddr,
    pool: &str,
    has_status: bool,
    at_us: i64,
    notes: &mut Vec<String>,
) -> Outcome {
    let leaks = "Antrea lets the traffic out with the node's address meanwhile (antrea#6228)";
    let found = history
        .external_ip_pools
        .at(&ObjectName::cluster(pool), at_us);
    let node = match found {
        _ if has_status => {
            notes.push(format!("its status names no node for {address}: {leaks}"));
            None
        }
        None => {
            notes.push(format!(
                "no status places {address}, and ExternalIPPool/{pool} is not there"
            ));
            None
        }
        Some(version) => {
            let selector = &version.value.spec.node_selector;
            let eligible = history.nodes.all_at(at_us).filter(|(_, node)| {
                node.value.ready != Some(false) && selector.matches(&node.value.labels)
            });
            let names = eligible.map(|(name, _)| name.name.as_str());
            let node = placement::place(&address.to_string(), names);
            notes.push(match node {
                Some(_) => format!("no status places {address}: its node is computed"),
                None => {
                    format!("ExternalIPPool/{pool} has no eligible node for {address}: {leaks}")
                }
            });
            node
        }
    };
    Outcome::Exit {
        address,
        node: node.map(str::to_owned),
    }
}
