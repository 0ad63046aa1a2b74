//! The history of Kubernetes objects: what existed when, from recorded versions.
//!
//! It answers questions about a moment and refuses to guess around it: a pod is not known before
//! its own creation time, and an address that two pods held at once belongs to neither. Kinds that
//! no verdict rests on are counted and otherwise ignored.

use std::net::IpAddr;

use trace_schema::objects::ObjectRow;

mod selector;
mod timeline;

pub use selector::{LabelSelector, Labels, Operator, Requirement};
pub use timeline::{ALWAYS_US, ObjectName, STILL_US, Timeline, Version};

/// Why objects cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// An object's JSON does not have the shape of its kind.
    #[error("{kind} {name}: field {field}: {source}")]
    Field {
        /// Kind of the object.
        kind: String,
        /// `namespace/name`, or the name.
        name: String,
        /// Path of the field, e.g. `spec.destinationCIDRs[1]`.
        field: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Everything known about the cluster's objects over time.
#[derive(Debug, Default)]
pub struct History {}

/// A pod at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAt<'a> {
    /// Namespace and name.
    pub name: &'a ObjectName,
    /// UID; empty where the objects did not come from an API server.
    pub uid: &'a str,
    /// Node it runs on, once it is scheduled.
    pub node: Option<&'a str>,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
    /// Whether it uses its node's network.
    pub host_network: bool,
    /// First moment at which it was known, UTC microseconds, or [`ALWAYS_US`].
    pub born_us: i64,
}

/// Who held an address at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodLookup<'a> {
    /// No pod.
    None,
    /// One pod.
    One(PodAt<'a>),
    /// Several at once.
    Ambiguous(Vec<PodAt<'a>>),
}

impl History {
    /// Reads recorded versions, in any order.
    pub fn new(rows: Vec<ObjectRow>) -> Result<Self, ObjectError> {
        let _ = rows;
        Ok(Self::default())
    }

    /// The pod with this UID, if it existed at `at_us`.
    pub fn pod_by_uid(&self, uid: &str, at_us: i64) -> Option<PodAt<'_>> {
        let _ = (uid, at_us);
        None
    }

    /// The pod of this name at `at_us`.
    pub fn pod_by_name(&self, namespace: &str, name: &str, at_us: i64) -> Option<PodAt<'_>> {
        let _ = (namespace, name, at_us);
        None
    }

    /// Which pod had this address of its own at `at_us`; pods on their node's network have none.
    pub fn pod_by_ip(&self, address: IpAddr, at_us: i64) -> PodLookup<'_> {
        let _ = (address, at_us);
        PodLookup::None
    }

    /// Addresses of a node at `at_us`, as its objects state them: internal ones first, then others.
    pub fn node_addresses(&self, node: &str, at_us: i64) -> Vec<IpAddr> {
        let _ = (node, at_us);
        Vec::new()
    }

    /// The node that has this address at `at_us`, if exactly one does.
    pub fn node_by_address(&self, address: IpAddr, at_us: i64) -> Option<&str> {
        let _ = (address, at_us);
        None
    }

    /// Names of the nodes that exist at `at_us`, in order.
    pub fn nodes(&self, at_us: i64) -> Vec<&str> {
        let _ = at_us;
        Vec::new()
    }
}
