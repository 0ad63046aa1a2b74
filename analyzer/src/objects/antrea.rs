//! Antrea's `Egress` and `ExternalIPPool`, in the versions v1beta1 and v1alpha2 alike: the fields
//! that weighbridge reads are the same in both.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::field::{self, Cidr};
use super::selector::LabelSelector;

/// An `Egress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawEgress")]
pub struct Egress {
    /// What is asked for.
    pub spec: EgressSpec,
    /// Where the agents have put it. Absent: no agent has said anything.
    pub status: Option<EgressStatus>,
    /// Fields beside `spec` that no object has there, which the API server prunes.
    pub misplaced: BTreeMap<String, Value>,
}

/// `spec` of an `Egress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressSpec {
    /// Which pods.
    #[serde(default)]
    pub applied_to: AppliedTo,
    /// The address.
    #[serde(rename = "egressIP", default, deserialize_with = "field::address")]
    pub egress_ip: Option<IpAddr>,
    /// The pool that the address comes from; absent for a static address.
    #[serde(rename = "externalIPPool", default, deserialize_with = "field::text")]
    pub pool: Option<String>,
    /// The plural form, which Antrea's webhook rejects.
    #[serde(rename = "egressIPs")]
    pub egress_ips: Option<Vec<String>>,
    /// The plural form, which Antrea's webhook rejects.
    #[serde(rename = "externalIPPools")]
    pub pools: Option<Vec<String>>,
    /// Rate limits; they do not change the exit.
    pub bandwidth: Option<Value>,
    /// Fields that `spec` does not have, which the API server prunes.
    #[serde(flatten)]
    pub misplaced: BTreeMap<String, Value>,
}

/// `appliedTo` of an `Egress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedTo {
    /// Pods by label.
    pub pod_selector: Option<LabelSelector>,
    /// Namespaces by label.
    pub namespace_selector: Option<LabelSelector>,
    /// Whatever else is there: `group`, `serviceAccount`, `nodeSelector`.
    #[serde(flatten)]
    pub ignored: BTreeMap<String, Value>,
}

/// `status` of an `Egress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct EgressStatus {
    /// Node that has the address.
    #[serde(rename = "egressNode", default, deserialize_with = "field::text")]
    pub egress_node: Option<String>,
    /// The address that it has.
    #[serde(rename = "egressIP", default, deserialize_with = "field::address")]
    pub egress_ip: Option<IpAddr>,
}

/// An `ExternalIPPool`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ExternalIpPool {
    /// What is asked for.
    pub spec: ExternalIpPoolSpec,
}

/// `spec` of an `ExternalIPPool`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalIpPoolSpec {
    /// Its addresses.
    #[serde(default)]
    pub ip_ranges: Vec<PoolRange>,
    /// Nodes that may hold them.
    #[serde(default)]
    pub node_selector: LabelSelector,
}

/// One range of a pool: a CIDR, or a first and a last address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PoolRange {
    /// The range as a CIDR.
    pub cidr: Option<Cidr>,
    /// First address.
    #[serde(default, deserialize_with = "field::address")]
    pub start: Option<IpAddr>,
    /// Last address.
    #[serde(default, deserialize_with = "field::address")]
    pub end: Option<IpAddr>,
}

#[derive(Deserialize)]
struct RawEgress {
    spec: EgressSpec,
    status: Option<EgressStatus>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl From<RawEgress> for Egress {
    fn from(raw: RawEgress) -> Self {
        let mut misplaced = raw.rest;
        misplaced.retain(|key, _| !["apiVersion", "kind", "metadata"].contains(&key.as_str()));
        Self {
            spec: raw.spec,
            status: raw.status,
            misplaced,
        }
    }
}

impl PoolRange {
    /// First and last address that Antrea gives out: of a CIDR never the first, and of an IPv4 one
    /// not the last either. `None` where nothing is left.
    pub fn bounds(&self) -> Option<(IpAddr, IpAddr)> {
        let Some(Cidr(cidr)) = self.cidr else {
            return Some((self.start?, self.end?));
        };
        let (first, last) = match cidr {
            ipnet::IpNet::V4(net) => (
                IpAddr::V4(u32::from(net.network()).checked_add(1)?.into()),
                IpAddr::V4(u32::from(net.broadcast()).checked_sub(1)?.into()),
            ),
            ipnet::IpNet::V6(net) => (
                IpAddr::V6(u128::from(net.network()).checked_add(1)?.into()),
                IpAddr::V6(net.broadcast()),
            ),
        };
        (first <= last).then_some((first, last))
    }

    /// Whether Antrea gives this address out.
    pub fn gives(&self, address: IpAddr) -> bool {
        self.bounds().is_some_and(|(first, last)| {
            first.is_ipv4() == address.is_ipv4() && first <= address && address <= last
        })
    }

    /// How many addresses Antrea gives out of it.
    pub fn size(&self) -> u128 {
        match self.bounds() {
            Some((IpAddr::V4(first), IpAddr::V4(last))) if first <= last => {
                u128::from(u32::from(last) - u32::from(first)) + 1
            }
            Some((IpAddr::V6(first), IpAddr::V6(last))) if first <= last => {
                (u128::from(last) - u128::from(first)).saturating_add(1)
            }
            _ => 0,
        }
    }
}
