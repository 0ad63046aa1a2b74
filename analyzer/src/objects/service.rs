//! Services, and the EndpointSlices that say which pods stand behind them.
//!
//! Each type holds the fields that verdicts rest on and no others. A slice of type FQDN holds names,
//! which no packet carries: its addresses are left out.

use std::net::IpAddr;

use serde::Deserialize;

use super::field;
use super::selector::Labels;

/// The label by which an EndpointSlice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawService")]
pub struct Service {
    /// ClusterIPs.
    pub cluster_ips: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    /// Its name; endpoints name theirs alike. Absent where it is the only one.
    #[serde(deserialize_with = "field::text")]
    pub name: Option<String>,
    /// Port of the service.
    pub port: u16,
}

/// Some endpoints of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawEndpointSlice")]
pub struct EndpointSlice {
    /// Service in the same namespace.
    pub service: Option<String>,
    /// Addresses of the endpoints.
    pub addresses: Vec<IpAddr>,
    /// The endpoints, each with its own addresses.
    pub endpoints: Vec<Endpoint>,
    /// Ports on which all of them listen.
    pub ports: Vec<EndpointPort>,
}

/// An endpoint of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes traffic.
    pub ready: bool,
    /// UID of the pod, if it is one.
    pub pod_uid: Option<String>,
    /// Name of the pod, if it is one.
    pub pod: Option<String>,
    /// Node.
    pub node: Option<String>,
}

/// A port of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// Name of the service's port.
    #[serde(deserialize_with = "field::text")]
    pub name: Option<String>,
    /// Port; absent for every one.
    pub port: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawService {
    spec: RawServiceSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    ports: Option<Vec<ServicePort>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMetadata {
    labels: Option<Labels>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEndpointSlice {
    metadata: RawMetadata,
    endpoints: Option<Vec<RawEndpoint>>,
    ports: Option<Vec<EndpointPort>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawEndpoint {
    addresses: Option<Vec<String>>,
    conditions: Option<RawConditions>,
    target_ref: Option<RawTarget>,
    node_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawConditions {
    ready: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawTarget {
    kind: Option<String>,
    name: Option<String>,
    #[serde(deserialize_with = "field::text")]
    uid: Option<String>,
}

impl From<RawService> for Service {
    fn from(raw: RawService) -> Self {
        let mut cluster_ips = Vec::new();
        let listed = raw.spec.cluster_ips.into_iter().flatten();
        // "None" marks a headless service.
        for address in listed
            .chain(raw.spec.cluster_ip)
            .filter_map(|text| text.parse().ok())
        {
            if !cluster_ips.contains(&address) {
                cluster_ips.push(address);
            }
        }
        Self {
            cluster_ips,
            ports: raw.spec.ports.unwrap_or_default(),
        }
    }
}

impl From<RawEndpointSlice> for EndpointSlice {
    fn from(raw: RawEndpointSlice) -> Self {
        let endpoints = raw.endpoints.into_iter().flatten();
        let endpoints: Vec<Endpoint> = endpoints.map(Endpoint::from).collect();
        let addresses = endpoints
            .iter()
            .flat_map(|endpoint| endpoint.addresses.iter().copied());
        Self {
            service: raw.metadata.labels.unwrap_or_default().remove(SERVICE_NAME),
            addresses: addresses.collect(),
            endpoints,
            ports: raw.ports.unwrap_or_default(),
        }
    }
}

impl From<RawEndpoint> for Endpoint {
    fn from(raw: RawEndpoint) -> Self {
        let addresses = raw.addresses.into_iter().flatten();
        let target = raw.target_ref.unwrap_or_default();
        let is_pod = target.kind.as_deref().is_none_or(|kind| kind == "Pod");
        Self {
            addresses: addresses.filter_map(|text| text.parse().ok()).collect(),
            // A condition that is not stated counts as ready.
            ready: raw.conditions.unwrap_or_default().ready.unwrap_or(true),
            pod_uid: target.uid.filter(|_| is_pod),
            pod: target.name.filter(|_| is_pod),
            node: raw.node_name,
        }
    }
}
