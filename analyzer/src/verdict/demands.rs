//! What the policies demand, asked once for each pod, destination and stretch of time.
//!
//! Between two change times an expectation does not change, so that a million connections of a
//! thousand pods cost a thousand questions.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use super::cluster::{Cluster, PodLabel};
use super::evidence::{ConnectionKey, Window};
use crate::policy::{BypassReason, Exit, Expectation, Expected, PodIdentity};

/// The policy engine behind a cache.
pub(crate) struct Demands<'a> {
    pub cluster: &'a dyn Cluster,
    answers: RefCell<HashMap<(PodIdentity, IpAddr, usize), Rc<Expected>>>,
}

/// Changes closer than this to a packet are as good as simultaneous: times of last packets are
/// taken to one kernel tick.
pub(crate) const TICK_US: i64 = 10_000;

impl<'a> Demands<'a> {
    pub fn new(cluster: &'a dyn Cluster) -> Self {
        Self {
            cluster,
            answers: RefCell::default(),
        }
    }

    /// The pod of a connection; named by its UID or address where no object describes it.
    pub fn pod(&self, key: &ConnectionKey, seen: Window) -> PodLabel {
        let ask = |at_us| {
            self.cluster
                .pod(key.pod_uid.as_deref(), key.tuple.src, at_us)
        };
        ask(seen.from_us)
            .or_else(|| ask(seen.to_us))
            .unwrap_or_else(|| {
                let name = key
                    .pod_uid
                    .as_deref()
                    .map_or_else(|| key.tuple.src.to_string(), str::to_owned);
                PodLabel {
                    identity: PodIdentity::uid(name.clone()),
                    name,
                    node: None,
                    born_us: i64::MIN,
                }
            })
    }

    /// What should happen at `at_us`.
    pub fn at(&self, pod: &PodLabel, dst: IpAddr, at_us: i64) -> Rc<Expected> {
        let epoch = self
            .cluster
            .change_times()
            .partition_point(|&change| change <= at_us);
        self.answers
            .borrow_mut()
            .entry((pod.identity.clone(), dst, epoch))
            .or_insert_with(|| Rc::new(self.cluster.expect(&pod.identity, dst, at_us)))
            .clone()
    }

    /// Cuts a window where an expectation may change.
    pub fn cut(&self, window: Window) -> Vec<Window> {
        let changes = self.cluster.change_times();
        let first = changes.partition_point(|&change| change <= window.from_us + TICK_US);
        let mut parts = Vec::new();
        let mut from_us = window.from_us;
        for &change in changes[first..]
            .iter()
            .take_while(|&&change| change < window.to_us - TICK_US)
        {
            parts.push(Window {
                from_us,
                to_us: change - 1,
            });
            from_us = change;
        }
        parts.push(Window {
            from_us,
            to_us: window.to_us,
        });
        parts
    }

    /// What a part that [`Self::cut`] made is held against.
    pub fn of_part(&self, pod: &PodLabel, dst: IpAddr, part: Window) -> Rc<Expected> {
        self.at(pod, dst, part.to_us.min(part.from_us + TICK_US))
    }

    /// Every address that a policy demanded of anybody.
    pub fn egress_addresses(&self) -> BTreeSet<IpAddr> {
        self.answers
            .borrow()
            .values()
            .flat_map(|expected| {
                exits(&expected.expectation)
                    .iter()
                    .filter_map(|exit| exit.address)
            })
            .collect()
    }

    /// Nodes that objects or probes know at a time, and those that expectations name.
    pub fn nodes(&self, at_us: i64) -> Vec<String> {
        self.cluster.nodes(at_us)
    }
}

/// The exits that an expectation allows.
pub(crate) fn exits(expectation: &Expectation) -> &[Exit] {
    match expectation {
        Expectation::Exactly(exit) => std::slice::from_ref(exit),
        Expectation::OneOf(exits) => exits,
        _ => &[],
    }
}

/// Whether the connection stays in the cluster.
pub(crate) fn is_inside(expected: &Expected) -> bool {
    matches!(
        expected.expectation,
        Expectation::Bypass {
            reason: BypassReason::InsideCluster
        }
    )
}

/// The name under which reports sum up.
pub(crate) fn policy_name(expected: &Expected) -> String {
    let demands = !matches!(expected.expectation, Expectation::Bypass { .. });
    let names: Vec<String> = expected
        .policies
        .iter()
        .filter(|_| demands)
        .map(ToString::to_string)
        .collect();
    if names.is_empty() {
        "no policy".to_owned()
    } else {
        names.join(" + ")
    }
}

/// An expectation in words.
pub(crate) fn in_words(expectation: &Expectation) -> String {
    match expectation {
        Expectation::Exactly(exit) => exit.to_string(),
        Expectation::OneOf(exits) => {
            let exits: Vec<String> = exits.iter().map(ToString::to_string).collect();
            format!("one of {}", exits.join(", "))
        }
        Expectation::Drop { reason } => format!("dropped: {reason}"),
        Expectation::Bypass { reason } => format!("own node: {reason}"),
        Expectation::Ambiguous => "contradictory policies".to_owned(),
        Expectation::Unknown { reason } => format!("unknown: {reason}"),
    }
}
