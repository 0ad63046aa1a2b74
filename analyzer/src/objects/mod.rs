//! The history of Kubernetes objects: what existed when, from recorded versions.
//!
//! It answers questions about a moment and refuses to guess around it: a pod is not known before
//! its own creation time, and an address that two pods held at once belongs to neither. Kinds that
//! no verdict rests on are counted and otherwise ignored.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use trace_schema::objects::{ObjectEvent, ObjectRow};

pub mod antrea;
pub mod cilium;
pub mod core;
mod field;
pub mod gateway_api;
mod holders;
mod selector;
pub mod service;
mod timeline;

pub use field::Cidr;
pub use holders::{Holder, Holding};
pub use selector::{LabelSelector, Labels, Operator, Requirement};
pub use timeline::{ALWAYS_US, ObjectName, STILL_US, Timeline, Version};

use antrea::{Egress, ExternalIpPool};
use cilium::{CiliumEgressGatewayPolicy, CiliumEndpoint, CiliumNode};
use core::{Namespace, Node, Pod, ServiceCidr};
use field::Metadata;
use gateway_api::{Gateway, GatewayClass, ReferenceGrant, Route};
use holders::Holders;
use service::{EndpointSlice, Service};

/// The label that every namespace has, with its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Kubernetes times are whole seconds: an object may be this much younger than it says.
const TIMESTAMP_GRAIN_US: i64 = 1_000_000;

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
pub struct History {
    /// Pods.
    pub pods: Timeline<Pod>,
    /// Nodes.
    pub nodes: Timeline<Node>,
    /// Namespaces.
    pub namespaces: Timeline<Namespace>,
    /// Services.
    pub services: Timeline<Service>,
    /// EndpointSlices.
    pub endpoint_slices: Timeline<EndpointSlice>,
    /// ServiceCIDRs.
    pub service_cidrs: Timeline<ServiceCidr>,
    /// Antrea's Egresses.
    pub egresses: Timeline<Egress>,
    /// Antrea's ExternalIPPools.
    pub external_ip_pools: Timeline<ExternalIpPool>,
    /// Cilium's egress gateway policies.
    pub cilium_policies: Timeline<CiliumEgressGatewayPolicy>,
    /// Cilium's endpoints.
    pub cilium_endpoints: Timeline<CiliumEndpoint>,
    /// Cilium's nodes.
    pub cilium_nodes: Timeline<CiliumNode>,
    /// GatewayClasses.
    pub gateway_classes: Timeline<GatewayClass>,
    /// Gateways.
    pub gateways: Timeline<Gateway>,
    /// HTTPRoutes.
    pub http_routes: Timeline<Route>,
    /// GRPCRoutes.
    pub grpc_routes: Timeline<Route>,
    /// ReferenceGrants.
    pub reference_grants: Timeline<ReferenceGrant>,
    /// Rows of kinds that no verdict rests on, by kind.
    pub ignored: BTreeMap<String, usize>,
    pods_by_uid: HashMap<String, ObjectName>,
    holders: Holders,
}

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
    /// When the kubelet took it on, else when it was created or first seen: UTC microseconds, or
    /// [`ALWAYS_US`].
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
    ///
    /// A version holds from when it was observed. Two cases reach back: a pod's first version
    /// counts from the pod's creation, and an object that was there when recording began counts
    /// from when it was last written, as far as it says.
    pub fn new(mut rows: Vec<ObjectRow>) -> Result<Self, ObjectError> {
        rows.sort_by_key(|row| row.observed_at_us);
        let recorded = rows
            .iter()
            .map(|row| row.observed_at_us)
            .find(|&at_us| at_us != ALWAYS_US);
        let recording_us = recorded.unwrap_or(ALWAYS_US);
        let mut history = Self::default();
        for row in &rows {
            history.take(row, recording_us)?;
        }
        for (name, version) in history.pods.all() {
            history
                .pods_by_uid
                .insert(version.uid.clone(), name.clone());
        }
        history.holders = Holders::of(&history);
        Ok(history)
    }

    /// The pod with this UID, if it existed at `at_us`.
    pub fn pod_by_uid(&self, uid: &str, at_us: i64) -> Option<PodAt<'_>> {
        let name = self.pods_by_uid.get(uid)?;
        let version = self
            .pods
            .at(name, at_us)
            .filter(|version| version.uid == uid)?;
        Some(self.pod_at(name, version))
    }

    /// The pod of this name at `at_us`.
    pub fn pod_by_name(&self, namespace: &str, name: &str, at_us: i64) -> Option<PodAt<'_>> {
        let (name, versions) = self.pods.entry(&ObjectName::namespaced(namespace, name))?;
        let version = versions.iter().find(|version| version.holds_at(at_us))?;
        Some(self.pod_at(name, version))
    }

    /// Which pod had this address of its own at `at_us`; pods on their node's network have none.
    ///
    /// An address counts from when the kubelet took the pod on, although the API server learns it
    /// a little later.
    pub fn pod_by_ip(&self, address: IpAddr, at_us: i64) -> PodLookup<'_> {
        let mut pods: Vec<PodAt<'_>> = Vec::new();
        for holding in self.holders.at(address, at_us) {
            let Holder::Pod { name, uid } = &holding.holder else {
                continue;
            };
            let versions = self
                .pods
                .entry(name)
                .map_or(&[][..], |(_, versions)| versions);
            let of_pod = || versions.iter().filter(|version| version.uid == *uid);
            let version = of_pod()
                .find(|version| version.holds_at(at_us))
                .or_else(|| of_pod().next());
            if let Some(version) = version {
                pods.push(self.pod_at(name, version));
            }
        }
        match pods.len() {
            0 => PodLookup::None,
            1 => PodLookup::One(pods.remove(0)),
            _ => PodLookup::Ambiguous(pods),
        }
    }

    /// What the objects say of an address, over time.
    pub fn holdings(&self, address: IpAddr) -> &[Holding] {
        self.holders.of_address(address)
    }

    /// Addresses of a node at `at_us`, as its objects state them: internal ones first, then others.
    pub fn node_addresses(&self, node: &str, at_us: i64) -> Vec<IpAddr> {
        let name = ObjectName::cluster(node);
        let own = self.nodes.at(&name, at_us).map(|version| &version.value);
        let cilium = self
            .cilium_nodes
            .at(&name, at_us)
            .map(|version| &version.value);
        let mut addresses = Vec::new();
        let internal = own.iter().flat_map(|node| &node.internal);
        let internal = internal.chain(cilium.iter().flat_map(|node| &node.internal));
        let other = own
            .iter()
            .flat_map(|node| node.other.iter().chain(&node.transport));
        let other = other.chain(cilium.iter().flat_map(|node| &node.other));
        for address in internal.chain(other) {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        addresses
    }

    /// The node that has this address at `at_us`, if exactly one does.
    pub fn node_by_address(&self, address: IpAddr, at_us: i64) -> Option<&str> {
        let mut nodes =
            self.holders
                .at(address, at_us)
                .filter_map(|holding| match &holding.holder {
                    Holder::Node { name, .. } => Some(name.as_str()),
                    _ => None,
                });
        let node = nodes.next()?;
        nodes.all(|other| other == node).then_some(node)
    }

    /// Names of the nodes that exist at `at_us`, in order.
    pub fn nodes(&self, at_us: i64) -> Vec<&str> {
        let nodes = self.nodes.all_at(at_us).map(|(name, _)| name.name.as_str());
        let cilium = self
            .cilium_nodes
            .all_at(at_us)
            .map(|(name, _)| name.name.as_str());
        let mut names: Vec<&str> = nodes.chain(cilium).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn pod_at<'a>(&'a self, name: &'a ObjectName, version: &'a Version<Pod>) -> PodAt<'a> {
        PodAt {
            name,
            uid: &version.uid,
            node: version.value.node.as_deref(),
            addresses: &version.value.addresses,
            host_network: version.value.host_network,
            born_us: self.born_us(name, &version.uid),
        }
    }

    /// When a pod began, as its latest version knows.
    pub(crate) fn born_us(&self, name: &ObjectName, uid: &str) -> i64 {
        let versions = || {
            self.pods
                .of(name)
                .iter()
                .filter(|version| version.uid == uid)
        };
        let first_us = versions()
            .next()
            .map_or(ALWAYS_US, |version| version.from_us);
        let started_us = versions()
            .filter_map(|version| version.value.started_us)
            .next_back();
        started_us.map_or(first_us, |started_us| started_us.max(first_us))
    }

    fn take(&mut self, row: &ObjectRow, recording_us: i64) -> Result<(), ObjectError> {
        let group = row
            .api_version
            .rsplit_once('/')
            .map_or("", |(group, _version)| group);
        let clock = Clock { recording_us };
        match (group, row.kind.as_str()) {
            ("", "Pod") => clock.put_pod(&mut self.pods, row),
            ("", "Node") => clock.put(&mut self.nodes, row),
            ("", "Namespace") => clock.put_with(&mut self.namespaces, row, |namespace| {
                namespace
                    .labels
                    .entry(NAMESPACE_NAME.into())
                    .or_insert_with(|| row.name.clone());
            }),
            ("", "Service") => clock.put(&mut self.services, row),
            ("discovery.k8s.io", "EndpointSlice") => clock.put(&mut self.endpoint_slices, row),
            ("networking.k8s.io", "ServiceCIDR") => clock.put(&mut self.service_cidrs, row),
            ("crd.antrea.io", "Egress") => clock.put(&mut self.egresses, row),
            ("crd.antrea.io", "ExternalIPPool") => clock.put(&mut self.external_ip_pools, row),
            ("cilium.io", "CiliumEgressGatewayPolicy") => clock.put(&mut self.cilium_policies, row),
            ("cilium.io", "CiliumEndpoint") => clock.put(&mut self.cilium_endpoints, row),
            ("cilium.io", "CiliumNode") => clock.put(&mut self.cilium_nodes, row),
            (gateway_api::GROUP, "GatewayClass") => clock.put(&mut self.gateway_classes, row),
            (gateway_api::GROUP, "Gateway") => clock.put(&mut self.gateways, row),
            (gateway_api::GROUP, "HTTPRoute") => clock.put(&mut self.http_routes, row),
            (gateway_api::GROUP, "GRPCRoute") => clock.put(&mut self.grpc_routes, row),
            (gateway_api::GROUP, "ReferenceGrant") => clock.put(&mut self.reference_grants, row),
            _ => {
                *self.ignored.entry(row.kind.clone()).or_default() += 1;
                Ok(())
            }
        }
    }
}

/// Decides from when a recorded version holds.
#[derive(Clone, Copy)]
struct Clock {
    recording_us: i64,
}

impl Clock {
    fn put<T: DeserializeOwned + PartialEq>(
        self,
        timeline: &mut Timeline<T>,
        row: &ObjectRow,
    ) -> Result<(), ObjectError> {
        self.put_with(timeline, row, |_| ())
    }

    fn put_with<T: DeserializeOwned + PartialEq>(
        self,
        timeline: &mut Timeline<T>,
        row: &ObjectRow,
        complete: impl FnOnce(&mut T),
    ) -> Result<(), ObjectError> {
        let existed = |metadata: &Metadata| {
            let created_us = metadata.creation_timestamp?.0;
            (created_us + TIMESTAMP_GRAIN_US <= self.recording_us)
                .then(|| metadata.last_written_us())?
        };
        place(timeline, row, existed, complete)
    }

    fn put_pod(self, pods: &mut Timeline<Pod>, row: &ObjectRow) -> Result<(), ObjectError> {
        place(
            pods,
            row,
            |metadata| Some(metadata.creation_timestamp?.0),
            |_| (),
        )
    }
}

/// Adds a row's version; the first one of an object may begin before it was observed.
fn place<T: DeserializeOwned + PartialEq>(
    timeline: &mut Timeline<T>,
    row: &ObjectRow,
    began_us: impl FnOnce(&Metadata) -> Option<i64>,
    complete: impl FnOnce(&mut T),
) -> Result<(), ObjectError> {
    let name = field::name_of(row);
    if row.event == ObjectEvent::Deleted {
        // The end of an earlier object of the same name says nothing of the present one.
        if timeline.last(&name).is_some_and(|last| last.uid == row.uid) {
            timeline.end(&name, row.observed_at_us);
        }
        return Ok(());
    }
    let mut from_us = row.observed_at_us;
    let last = timeline.last(&name);
    if last.is_none_or(|last| last.uid != row.uid) {
        if let Some(began_us) = began_us(&Metadata::of(row)?) {
            from_us = from_us.min(began_us);
        }
        // Whoever had the name before keeps the time that was recorded for it.
        if let Some(last) = last {
            let taken_us = if last.until_us == STILL_US {
                last.from_us
            } else {
                last.until_us
            };
            from_us = from_us.max(taken_us);
        }
    }
    let mut value: T = field::read(row)?;
    complete(&mut value);
    timeline.put(name, from_us, row.uid.clone(), value);
    Ok(())
}
