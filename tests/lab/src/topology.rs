//! The addresses of a lab, as a function of its configuration.
//!
//! Every lab uses the same addresses, since labs never see each other: the node network is the one
//! kind uses, pod networks are kubeadm's. Nothing here touches the system.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::PodConfig;

/// Names of the nodes, in the order of their addresses.
pub(crate) const NODES: [&str; 3] = ["worker", "gateway", "gateway2"];

/// Prefixes that no policy applies to: every pod network.
pub(crate) const CLUSTER_PODS: (&str, &str) = ("10.244.0.0/16", "fd00:10:244::/48");

/// Interface of a node's tunnel.
pub(crate) const TUNNEL: &str = "vxlan0";

/// Virtual address of the lab's service.
pub(crate) const SERVICE: Dual = Dual {
    v4: Ipv4Addr::new(10, 96, 0, 80),
    v6: Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x80),
};

/// The outside host.
pub(crate) const OUTSIDE: Dual = node_network(100);

/// The address that the policy demands.
pub(crate) const EGRESS: Dual = node_network(50);

/// Another address of the pool, which no policy names.
pub(crate) const STRAY: Dual = node_network(61);

/// Prefixes of the external address pool.
pub(crate) const POOL: (&str, &str) = ("172.18.0.48/28", "fd00:172:18::30/124");

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An IPv4 and an IPv6 address of the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dual {
    /// IPv4 address.
    pub v4: Ipv4Addr,
    /// IPv6 address.
    pub v6: Ipv6Addr,
}

impl Dual {
    /// The address of a family.
    pub fn of(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }
}

/// A node and its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub name: &'static str,
    pub index: u8,
    pub address: Dual,
}

/// A pod and its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub config: PodConfig,
    pub node_index: u8,
    pub address: Dual,
    /// Name of the node's end of its veth.
    pub host_interface: String,
}

pub(crate) fn nodes() -> Vec<Node> {
    NODES
        .iter()
        .zip(1..)
        .map(|(name, index)| Node {
            name,
            index,
            address: node_network(u16::from(index) + 1),
        })
        .collect()
}

/// The pods with the addresses they get, or the name of a pod whose node does not exist.
pub(crate) fn pods(configs: &[PodConfig]) -> Result<Vec<Pod>, String> {
    let nodes = nodes();
    (0_u8..)
        .zip(configs)
        .map(|(position, config)| {
            let node = nodes
                .iter()
                .find(|node| node.name == config.node)
                .ok_or_else(|| config.name.clone())?;
            let host = position + 10;
            Ok(Pod {
                config: config.clone(),
                node_index: node.index,
                address: Dual {
                    v4: Ipv4Addr::new(10, 244, node.index, host),
                    v6: Ipv6Addr::new(0xfd00, 0x10, 0x244, node.index.into(), 0, 0, 0, host.into()),
                },
                host_interface: format!("veth{position}"),
            })
        })
        .collect()
}

impl Node {
    /// Pod networks of the node, IPv4 and IPv6.
    pub fn pod_networks(&self) -> (String, String) {
        (
            format!("10.244.{}.0/24", self.index),
            format!("fd00:10:244:{}::/64", self.index),
        )
    }

    /// Address of the tunnel interface, which is the next hop of the node's pod network.
    pub fn tunnel_address(&self) -> Dual {
        Dual {
            v4: Ipv4Addr::new(10, 244, self.index, 0),
            v6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, self.index.into()),
        }
    }

    /// Link-layer address of the tunnel interface.
    pub fn tunnel_link_address(&self) -> String {
        format!("02:00:0a:f4:00:{:02x}", self.index)
    }

    /// Address of the node in its pod network: the pods' default gateway.
    pub fn pod_gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.index, 1)
    }
}

const fn node_network(host: u16) -> Dual {
    Dual {
        v4: Ipv4Addr::new(172, 18, 0, host as u8),
        v6: Ipv6Addr::new(0xfd00, 0x172, 0x18, 0, 0, 0, 0, host),
    }
}
