//! Cilium's `CiliumEgressGatewayPolicy`, `CiliumEndpoint` and `CiliumNode`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::field::{self, Cidr};
use super::selector::{LabelSelector, Labels};

/// A `CiliumEgressGatewayPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CiliumEgressGatewayPolicy {
    /// What is asked for.
    pub spec: CiliumEgressGatewayPolicySpec,
}

/// `spec` of a `CiliumEgressGatewayPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CiliumEgressGatewayPolicySpec {
    /// Which pods.
    #[serde(default)]
    pub selectors: Vec<EgressRule>,
    /// Destinations that go through the gateway.
    #[serde(rename = "destinationCIDRs", default)]
    pub destination_cidrs: Vec<Cidr>,
    /// Destinations that do not.
    #[serde(rename = "excludedCIDRs")]
    pub excluded_cidrs: Option<Vec<Cidr>>,
    /// The gateway.
    pub egress_gateway: Option<EgressGateway>,
    /// Several gateways, in place of `egress_gateway`.
    pub egress_gateways: Option<Vec<EgressGateway>>,
}

/// One entry of `selectors`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressRule {
    /// Pods by label.
    pub pod_selector: Option<LabelSelector>,
    /// Namespaces by label.
    pub namespace_selector: Option<LabelSelector>,
    /// Nodes, by label, that the pods run on.
    pub node_selector: Option<LabelSelector>,
}

/// A gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressGateway {
    /// The node, by label.
    pub node_selector: Option<LabelSelector>,
    /// Interface whose first address is used.
    #[serde(default, deserialize_with = "field::text")]
    pub interface: Option<String>,
    /// Address that is used.
    #[serde(rename = "egressIP", default, deserialize_with = "field::address")]
    pub egress_ip: Option<IpAddr>,
}

/// A `CiliumEndpoint`; it has its pod's namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawEndpoint")]
pub struct CiliumEndpoint {
    /// Its identity's labels without their source prefix. Absent: no identity yet.
    pub identity_labels: Option<Labels>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A `CiliumNode`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawNode")]
pub struct CiliumNode {
    /// Labels.
    pub labels: Labels,
    /// Addresses of type InternalIP.
    pub internal: Vec<IpAddr>,
    /// Other addresses, `cilium_host`'s among them.
    pub other: Vec<IpAddr>,
    /// Ranges of its pods' addresses.
    pub pod_cidrs: Vec<IpNet>,
    /// Addresses from which its Envoy speaks to backends.
    pub ingress: Vec<IpAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEndpoint {
    status: Option<RawEndpointStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEndpointStatus {
    identity: Option<RawIdentity>,
    networking: Option<RawNetworking>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawIdentity {
    labels: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNetworking {
    addressing: Option<Vec<RawAddressPair>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawAddressPair {
    #[serde(deserialize_with = "field::address")]
    ipv4: Option<IpAddr>,
    #[serde(deserialize_with = "field::address")]
    ipv6: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNode {
    metadata: RawNodeMetadata,
    spec: RawNodeSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNodeMetadata {
    labels: Option<Labels>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNodeSpec {
    addresses: Option<Vec<RawNodeAddress>>,
    ipam: RawIpam,
    ingress: Option<RawAddressPair>,
}

#[derive(Deserialize)]
struct RawNodeAddress {
    #[serde(default)]
    r#type: String,
    #[serde(default, deserialize_with = "field::address")]
    ip: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawIpam {
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<Cidr>>,
}

impl From<RawEndpoint> for CiliumEndpoint {
    fn from(raw: RawEndpoint) -> Self {
        let status = raw.status.unwrap_or_default();
        let labels = status.identity.and_then(|identity| identity.labels);
        let pairs = status
            .networking
            .and_then(|networking| networking.addressing);
        let pairs = pairs.into_iter().flatten();
        Self {
            identity_labels: labels.map(|labels| labels.iter().map(|one| split(one)).collect()),
            addresses: pairs
                .flat_map(|pair| pair.ipv4.into_iter().chain(pair.ipv6))
                .collect(),
        }
    }
}

/// Splits `k8s:app=web` into key and value; the source says nothing that a selector asks.
fn split(label: &str) -> (String, String) {
    let (key, value) = label.split_once('=').unwrap_or((label, ""));
    let key = key.split_once(':').map_or(key, |(_source, key)| key);
    (key.to_owned(), value.to_owned())
}

impl From<RawNode> for CiliumNode {
    fn from(raw: RawNode) -> Self {
        let (internal, other): (Vec<_>, Vec<_>) = raw
            .spec
            .addresses
            .into_iter()
            .flatten()
            .partition(|listed| listed.r#type == "InternalIP");
        Self {
            labels: raw.metadata.labels.unwrap_or_default(),
            internal: internal
                .into_iter()
                .filter_map(|listed| listed.ip)
                .collect(),
            other: other.into_iter().filter_map(|listed| listed.ip).collect(),
            pod_cidrs: field::ranges(raw.spec.ipam.pod_cidrs),
            ingress: {
                let pair = raw.spec.ingress.unwrap_or_default();
                pair.ipv4.into_iter().chain(pair.ipv6).collect()
            },
        }
    }
}
