//! The core kinds: pods, nodes, namespaces and ranges of service addresses.
//!
//! Each type holds the fields that verdicts rest on and no others, so that two versions which
//! differ in a heartbeat compare equal.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::field::{self, Cidr, Timestamp};
use super::selector::Labels;

/// The kubelet's annotation that holds the hash of a static pod's manifest, which stands for its UID
/// wherever the kubelet itself names it (`kubetypes.ConfigHashAnnotationKey`, pkg/kubelet/types).
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// Azure's annotation that ties a pod to a static gateway.
const STATIC_GATEWAY: &str = "kubernetes.azure.com/static-gateway-configuration";
/// Antrea's annotation that names a node's tunnel endpoints.
const TRANSPORT_ADDRESSES: &str = "node.antrea.io/transport-addresses";

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawPod")]
pub struct Pod {
    /// Labels.
    pub labels: Labels,
    /// Node, once scheduled.
    pub node: Option<String>,
    /// Whether it uses its node's network.
    pub host_network: bool,
    /// Whether it has succeeded or failed: its addresses are free again.
    pub terminated: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// When the kubelet took it on, UTC microseconds.
    pub started_us: Option<i64>,
    /// Service account.
    pub service_account: Option<String>,
    /// Azure static gateway that it asks for.
    pub static_gateway: Option<String>,
    /// Hash of the manifest of a static pod: its UID in cgroup paths.
    pub manifest_hash: Option<String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawNode")]
pub struct Node {
    /// Labels.
    pub labels: Labels,
    /// Addresses of type InternalIP.
    pub internal: Vec<IpAddr>,
    /// Other addresses.
    pub other: Vec<IpAddr>,
    /// Antrea's tunnel endpoints, where they are not the internal addresses.
    pub transport: Vec<IpAddr>,
    /// Ranges of its pods' addresses.
    pub pod_cidrs: Vec<IpNet>,
    /// Its Ready condition; absent where the object has no status.
    pub ready: Option<bool>,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawLabelled")]
pub struct Namespace {
    /// Labels.
    pub labels: Labels,
}

/// Ranges of ClusterIPs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawServiceCidr")]
pub struct ServiceCidr {
    /// The ranges.
    pub ranges: Vec<IpNet>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMetadata {
    labels: Option<Labels>,
    annotations: Option<Labels>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawLabelled {
    metadata: RawMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPod {
    metadata: RawMetadata,
    spec: RawPodSpec,
    status: RawPodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawPodSpec {
    #[serde(deserialize_with = "field::text")]
    node_name: Option<String>,
    host_network: Option<bool>,
    #[serde(deserialize_with = "field::text")]
    service_account_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawPodStatus {
    phase: Option<String>,
    #[serde(rename = "podIP", deserialize_with = "field::address")]
    pod_ip: Option<IpAddr>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<RawAddress>>,
    start_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RawAddress {
    #[serde(default, deserialize_with = "field::address")]
    ip: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNode {
    metadata: RawMetadata,
    spec: RawNodeSpec,
    status: RawNodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNodeSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<Cidr>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<Cidr>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNodeStatus {
    addresses: Option<Vec<RawNodeAddress>>,
    conditions: Option<Vec<RawCondition>>,
}

#[derive(Deserialize)]
struct RawNodeAddress {
    r#type: String,
    address: String,
}

#[derive(Deserialize)]
struct RawCondition {
    r#type: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawServiceCidr {
    spec: RawServiceCidrSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawServiceCidrSpec {
    cidrs: Option<Vec<Cidr>>,
}

impl From<RawPod> for Pod {
    fn from(raw: RawPod) -> Self {
        let mut addresses: Vec<IpAddr> = raw.status.pod_ip.into_iter().collect();
        for ip in raw
            .status
            .pod_ips
            .into_iter()
            .flatten()
            .filter_map(|one| one.ip)
        {
            push_new(&mut addresses, ip);
        }
        let phase = raw.status.phase.as_deref();
        let mut annotations = raw.metadata.annotations.unwrap_or_default();
        Self {
            labels: raw.metadata.labels.unwrap_or_default(),
            node: raw.spec.node_name,
            host_network: raw.spec.host_network.unwrap_or(false),
            terminated: matches!(phase, Some("Succeeded" | "Failed")),
            addresses,
            started_us: raw.status.start_time.map(|time| time.0),
            service_account: raw.spec.service_account_name,
            static_gateway: annotations.remove(STATIC_GATEWAY),
            manifest_hash: annotations.remove(CONFIG_HASH),
        }
    }
}

impl From<RawNode> for Node {
    fn from(raw: RawNode) -> Self {
        let (mut internal, mut other) = (Vec::new(), Vec::new());
        for listed in raw.status.addresses.into_iter().flatten() {
            // Host names stand in the same list; they are not addresses.
            if let Ok(address) = listed.address.parse() {
                push_new(
                    if listed.r#type == "InternalIP" {
                        &mut internal
                    } else {
                        &mut other
                    },
                    address,
                );
            }
        }
        let annotations = raw.metadata.annotations.unwrap_or_default();
        let transport = annotations
            .get(TRANSPORT_ADDRESSES)
            .map_or("", String::as_str);
        let transport = transport
            .split(',')
            .filter_map(|text| text.trim().parse().ok())
            .collect();
        let mut pod_cidrs = field::ranges(raw.spec.pod_cidrs);
        if let Some(Cidr(range)) = raw.spec.pod_cidr {
            push_new(&mut pod_cidrs, range);
        }
        let mut conditions = raw.status.conditions.into_iter().flatten();
        let ready = conditions.find(|condition| condition.r#type == "Ready");
        Self {
            labels: raw.metadata.labels.unwrap_or_default(),
            internal,
            other,
            transport,
            pod_cidrs,
            ready: ready.map(|condition| condition.status == "True"),
        }
    }
}

impl From<RawLabelled> for Namespace {
    fn from(raw: RawLabelled) -> Self {
        Self {
            labels: raw.metadata.labels.unwrap_or_default(),
        }
    }
}

impl From<RawServiceCidr> for ServiceCidr {
    fn from(raw: RawServiceCidr) -> Self {
        Self {
            ranges: field::ranges(raw.spec.cidrs),
        }
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
