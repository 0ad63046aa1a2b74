//! Egress policies: what address and node a pod's traffic should leave by, and since when.
//!
//! It holds the answer types and the engine that gives them. It refuses to look at traffic: what
//! was seen is the verdict's business, and an expectation that bent to the observation would prove
//! nothing. Where the Kubernetes objects do not determine an answer, it says so instead of guessing.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

mod antrea;
mod cilium;
mod cluster;
mod engine;
mod gateway;
pub mod gateway_api;
mod identity;
mod lints;
mod lpm;
mod placement;
mod rules;
mod subject;

pub use engine::Engine;
pub use lpm::DestinationTrie;

/// Where a connection leaves the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Exit {
    /// Source address after translation. `None`: the objects do not determine it; it is then one
    /// of the addresses of `node`.
    pub address: Option<IpAddr>,
    /// Node whose interface the packet leaves by. `None`: the objects do not determine it.
    pub node: Option<String>,
}

/// What the policies demand of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// One exit.
    Exactly(Exit),
    /// One of several, and the same one for all connections of the pod while nothing changes.
    OneOf(Vec<Exit>),
    /// The traffic does not leave.
    Drop {
        /// Why, in words for a report.
        reason: String,
    },
    /// No policy concerns the connection: it leaves by the pod's own node, translated to that
    /// node's address or not at all.
    Bypass {
        /// Why no policy concerns it.
        reason: BypassReason,
    },
    /// Policies contradict each other, and which one wins is not defined.
    Ambiguous,
    /// The objects do not suffice to say: the pod is not in them at that time.
    Unknown {
        /// What is missing, in words for a report.
        reason: String,
    },
}

/// Why no policy concerns a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BypassReason {
    /// No policy selects the pod.
    NotSelected,
    /// The pod uses its node's network, which egress policies never touch.
    HostNetwork,
    /// Policies select the pod, none of them for this destination.
    DestinationNotCovered,
    /// A policy excludes the destination (`excludedCIDRs`).
    DestinationExcluded,
    /// The agent's configuration excludes the destination (`egress.exceptCIDRs`).
    AgentException,
    /// The destination is a pod, a node, a service or the API server.
    InsideCluster,
    /// The policies that select the pod have addresses of the other family only.
    AddressFamily,
    /// A policy selects the pod but has no address yet.
    NotRealised,
}

/// The kinds of policy that the engine understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// Antrea's `Egress`.
    AntreaEgress,
    /// Cilium's `CiliumEgressGatewayPolicy`.
    CiliumEgressGateway,
    /// OVN-Kubernetes' `EgressIP`.
    OvnEgressIp,
    /// Azure's `StaticGatewayConfiguration`.
    AzureStaticGateway,
}

/// Names a policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyRef {
    /// Its kind.
    pub kind: PolicyKind,
    /// Its name; `namespace/name` where the kind is namespaced.
    pub name: String,
}

/// The answer for one pod, destination and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What should happen.
    pub expectation: Expectation,
    /// The policies that the expectation comes from, in order; for `Ambiguous` those that
    /// contradict each other, for an exclusion the one that excludes.
    pub policies: Vec<PolicyRef>,
    /// When this expectation began to hold, UTC microseconds: the latest of the pod's birth, a
    /// change of policy and a change of placement.
    pub since_us: i64,
    /// What a reader of the verdict should know: how a placement was found, what is not determined.
    pub placement_notes: Vec<String>,
    /// Node on which the pod runs, where it is known.
    pub pod_node: Option<String>,
}

/// A node on which a pod ran that a policy selects and has something to say of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// The policy, `kind/name`.
    pub policy: String,
    /// The node.
    pub node: String,
    /// The pod, `namespace/name`.
    pub pod: String,
    /// From when, UTC microseconds.
    pub from_us: i64,
    /// Until when, UTC microseconds.
    pub until_us: i64,
}

/// Names the pod asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PodIdentity {
    /// By UID, as cgroup paths carry it.
    Uid(String),
    /// By namespace and name.
    Name {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
}

/// What the cluster's configuration says outside its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// Ranges of ClusterIPs, beside those that `ServiceCIDR` objects state.
    pub service_cidrs: Vec<IpNet>,
    /// Ranges of pod addresses, beside those that nodes state.
    pub pod_cidrs: Vec<IpNet>,
    /// The Antrea agent's `egress.exceptCIDRs`.
    pub except_cidrs: Vec<IpNet>,
    /// Addresses of the nodes' interfaces, which Kubernetes objects do not carry.
    pub node_interfaces: Vec<NodeInterface>,
}

/// An interface of a node, with its addresses in the order in which the kernel lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInterface {
    /// Node.
    pub node: String,
    /// Interface.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether the node's default route leaves by it.
    pub default_route: bool,
}

/// A policy that does not do what its author meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lint {
    /// The policy.
    pub policy: PolicyRef,
    /// What is wrong with it and what follows.
    pub message: String,
    /// When the version of the policy that says so appeared, UTC microseconds.
    pub since_us: i64,
}

/// Why an engine cannot be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// Options describe the same interface twice.
    #[error("node {node} has two interfaces named {interface}: list each interface once")]
    RepeatedInterface {
        /// Node.
        node: String,
        /// Interface.
        interface: String,
    },
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AntreaEgress => "Egress",
            Self::CiliumEgressGateway => "CiliumEgressGatewayPolicy",
            Self::OvnEgressIp => "EgressIP",
            Self::AzureStaticGateway => "StaticGatewayConfiguration",
        })
    }
}

impl fmt::Display for BypassReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSelected => "no policy selects the pod",
            Self::HostNetwork => "the pod uses its node's network",
            Self::DestinationNotCovered => "no policy of the pod covers the destination",
            Self::DestinationExcluded => "a policy excludes the destination",
            Self::AgentException => "the agent's exceptCIDRs hold the destination",
            Self::InsideCluster => "the destination is inside the cluster",
            Self::AddressFamily => "the pod's policies have addresses of the other family only",
            Self::NotRealised => "the policy has no address yet",
        })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("an address")?,
        }
        match &self.node {
            Some(node) => write!(f, " on {node}"),
            None => f.write_str(" on a node not known"),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(exit) => write!(f, "{exit}"),
            Self::OneOf(exits) => {
                let exits: Vec<String> = exits.iter().map(Exit::to_string).collect();
                write!(f, "one of: {}", exits.join(", "))
            }
            Self::Drop { reason } => write!(f, "dropped: {reason}"),
            Self::Bypass { reason } => write!(f, "no gateway: {reason}"),
            Self::Ambiguous => f.write_str("ambiguous"),
            Self::Unknown { reason } => write!(f, "unknown: {reason}"),
        }
    }
}

impl PodIdentity {
    /// Names a pod by its UID.
    pub fn uid(uid: impl Into<String>) -> Self {
        Self::Uid(uid.into())
    }

    /// Names a pod by namespace and name.
    pub fn name(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Name {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

#[cfg(test)]
mod tests;
