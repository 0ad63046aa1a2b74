//! What verdicts ask of the cluster's objects and policies, and the engine's answers to it.
//!
//! It adds nothing to the engine but the ways to name a pod that traffic offers: a UID from the
//! cgroup path, else the source address. A pod that no object describes stays unknown, unless there
//! is no policy at all: then nothing is demanded of any pod.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::objects::{History, PodAt, PodLookup};
use crate::policy::{BypassReason, Engine, Expectation, Expected, Host, PodIdentity};

/// How reports name a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodLabel {
    /// `namespace/name`.
    pub name: String,
    /// How the engine knows it.
    pub identity: PodIdentity,
    /// Its node.
    pub node: Option<String>,
    /// When it began to exist, UTC microseconds.
    pub born_us: i64,
}

/// Questions about the cluster at a moment.
pub trait Cluster {
    /// The pod behind a UID or, failing that, behind an address.
    fn pod(&self, uid: Option<&str>, address: IpAddr, at_us: i64) -> Option<PodLabel>;
    /// What should happen to a pod's traffic.
    fn expect(&self, pod: &PodIdentity, dst: IpAddr, at_us: i64) -> Expected;
    /// Addresses of a node.
    fn node_addresses(&self, node: &str, at_us: i64) -> Vec<IpAddr>;
    /// Names of the nodes, as far as objects tell.
    fn nodes(&self, at_us: i64) -> Vec<String>;
    /// Every address that a service with this address ever led to.
    fn service_endpoints(&self, address: IpAddr) -> &[IpAddr];
    /// Times at which an expectation can change, ascending.
    fn change_times(&self) -> &[i64];
    /// Where the pods run that policies with a demand select, seen sending or not.
    fn hosts(&self) -> Vec<Host>;
}

/// The objects of a dataset and the engine built on them.
#[derive(Debug)]
pub struct Objects<'a> {
    history: &'a History,
    /// Policies over time.
    pub engine: Engine<'a>,
    has_policies: bool,
    endpoints: HashMap<IpAddr, Vec<IpAddr>>,
}

impl<'a> Objects<'a> {
    /// Joins a history with the engine built on it; `has_policies` tells whether any policy ever
    /// existed.
    pub fn new(history: &'a History, engine: Engine<'a>, has_policies: bool) -> Self {
        let mut of_service: HashMap<(&str, &str), Vec<IpAddr>> = HashMap::new();
        for (name, version) in history.endpoint_slices.all() {
            if let Some(service) = &version.value.service {
                let key = (name.namespace.as_str(), service.as_str());
                of_service
                    .entry(key)
                    .or_default()
                    .extend(&version.value.addresses);
            }
        }
        let mut endpoints: HashMap<IpAddr, Vec<IpAddr>> = HashMap::new();
        for (name, version) in history.services.all() {
            let known = of_service.get(&(name.namespace.as_str(), name.name.as_str()));
            for address in &version.value.cluster_ips {
                let of_address = endpoints.entry(*address).or_default();
                of_address.extend(known.into_iter().flatten());
                of_address.sort_unstable();
                of_address.dedup();
            }
        }
        Self {
            history,
            engine,
            has_policies,
            endpoints,
        }
    }
}

impl Cluster for Objects<'_> {
    fn pod(&self, uid: Option<&str>, address: IpAddr, at_us: i64) -> Option<PodLabel> {
        let by_uid = uid.and_then(|uid| self.history.pod_by_uid(uid, at_us));
        let pod = by_uid.or_else(|| match self.history.pod_by_ip(address, at_us) {
            PodLookup::One(pod) => Some(pod),
            PodLookup::None | PodLookup::Ambiguous(_) => None,
        })?;
        Some(label(&pod))
    }

    fn expect(&self, pod: &PodIdentity, dst: IpAddr, at_us: i64) -> Expected {
        let mut expected = self.engine.expect(pod, dst, at_us);
        if !self.has_policies && matches!(expected.expectation, Expectation::Unknown { .. }) {
            expected.expectation = Expectation::Bypass {
                reason: BypassReason::NotSelected,
            };
        }
        expected
    }

    fn node_addresses(&self, node: &str, at_us: i64) -> Vec<IpAddr> {
        self.history.node_addresses(node, at_us)
    }

    fn nodes(&self, at_us: i64) -> Vec<String> {
        self.history
            .nodes(at_us)
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    fn service_endpoints(&self, address: IpAddr) -> &[IpAddr] {
        self.endpoints.get(&address).map_or(&[], Vec::as_slice)
    }

    fn change_times(&self) -> &[i64] {
        self.engine.change_times()
    }

    fn hosts(&self) -> Vec<Host> {
        self.engine.hosts()
    }
}

fn label(pod: &PodAt<'_>) -> PodLabel {
    let identity = if pod.uid.is_empty() {
        PodIdentity::name(pod.name.namespace.as_str(), pod.name.name.as_str())
    } else {
        PodIdentity::uid(pod.uid)
    };
    PodLabel {
        name: pod.name.to_string(),
        identity,
        node: pod.node.map(str::to_owned),
        born_us: pod.born_us,
    }
}
