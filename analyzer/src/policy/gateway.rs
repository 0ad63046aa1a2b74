//! Cilium's gateway nodes: which node an entry names, and by what address it translates.
//!
//! Kubernetes objects do not carry the addresses of a node's interfaces. Where a policy's address
//! depends on them and nobody has stated them, the node is expected and the address is not.

use std::net::IpAddr;

use super::{EngineOptions, Exit, Expectation, NodeInterface};
use crate::objects::cilium::EgressGateway;
use crate::objects::{History, ObjectName};

use super::subject::node_labels;

/// A gateway on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gateway {
    node: String,
    /// What several gateways are sorted by.
    pub node_address: Option<IpAddr>,
    v4: Source,
    v6: Source,
}

/// The source address for one family.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Address(IpAddr),
    Unstated(IpAddr),
    Unknown(String),
    Missing(String),
}

impl Gateway {
    /// The gateway of an entry: the first node by name that its selector takes.
    pub(super) fn find(
        history: &History,
        options: &EngineOptions,
        entry: &EgressGateway,
        at_us: i64,
    ) -> Option<Self> {
        let selector = entry.node_selector.as_ref()?;
        let node = history.nodes(at_us).into_iter().find(|node| {
            let labels = node_labels(history, &ObjectName::cluster(*node), at_us);
            labels.is_some_and(|labels| selector.matches(labels))
        })?;
        let addresses = history.node_addresses(node, at_us);
        let interfaces: Vec<&NodeInterface> = options
            .node_interfaces
            .iter()
            .filter(|interface| interface.node == node)
            .collect();
        let source = |v4| Source::of(entry, node, &addresses, &interfaces, v4);
        Some(Self {
            node: node.to_owned(),
            node_address: addresses.first().copied(),
            v4: source(true),
            v6: source(false),
        })
    }

    /// What should happen to a connection that this gateway takes.
    pub(super) fn expectation(&self, destination: IpAddr, notes: &mut Vec<String>) -> Expectation {
        match self.exit(destination, notes) {
            Ok(exit) => Expectation::Exactly(exit),
            Err(reason) => Expectation::Drop { reason },
        }
    }

    fn exit(&self, destination: IpAddr, notes: &mut Vec<String>) -> Result<Exit, String> {
        let node = Some(self.node.clone());
        match if destination.is_ipv4() {
            &self.v4
        } else {
            &self.v6
        } {
            Source::Address(address) => Ok(Exit {
                address: Some(*address),
                node,
            }),
            Source::Unstated(address) => {
                notes.push(format!(
                    "that {} has {address} stands in no object",
                    self.node
                ));
                Ok(Exit {
                    address: Some(*address),
                    node,
                })
            }
            Source::Unknown(note) => {
                notes.push(note.clone());
                Ok(Exit {
                    address: None,
                    node,
                })
            }
            Source::Missing(reason) => Err(reason.clone()),
        }
    }
}

/// What should happen where it is not known which of several gateways takes the pod.
pub(super) fn any_of(
    gateways: &[Gateway],
    destination: IpAddr,
    notes: &mut Vec<String>,
) -> Expectation {
    let mut exits = Vec::new();
    let mut lost = Vec::new();
    for gateway in gateways {
        match gateway.exit(destination, notes) {
            Ok(exit) => exits.push(exit),
            Err(reason) => lost.push(reason),
        }
    }
    exits.sort();
    exits.dedup();
    if exits.is_empty() {
        return Expectation::Drop {
            reason: lost.join("; "),
        };
    }
    notes.extend(
        lost.into_iter()
            .map(|reason| format!("or the traffic is dropped: {reason}")),
    );
    Expectation::OneOf(exits)
}

impl Source {
    fn of(
        entry: &EgressGateway,
        node: &str,
        addresses: &[IpAddr],
        interfaces: &[&NodeInterface],
        v4: bool,
    ) -> Self {
        let family = if v4 { "IPv4" } else { "IPv6" };
        let first = |interface: &NodeInterface| {
            interface
                .addresses
                .iter()
                .copied()
                .find(|address| address.is_ipv4() == v4)
        };
        if let Some(address) = entry.egress_ip {
            let known = addresses.contains(&address)
                || interfaces
                    .iter()
                    .any(|interface| interface.addresses.contains(&address));
            return match known {
                _ if address.is_ipv4() != v4 => {
                    Self::Missing(format!("the policy's egress IP {address} is not {family}"))
                }
                true => Self::Address(address),
                false if interfaces.is_empty() => Self::Unstated(address),
                false => Self::Missing(format!("{node} does not have the egress IP {address}")),
            };
        }
        let (what, found) = match &entry.interface {
            Some(name) => (
                format!("interface {name}"),
                interfaces.iter().find(|interface| interface.name == *name),
            ),
            None => (
                "default-route interface".to_owned(),
                interfaces.iter().find(|interface| interface.default_route),
            ),
        };
        match found {
            _ if interfaces.is_empty() => Self::Unknown(format!(
                "the first address of {node}'s {what} is not known: its interfaces are not in the objects"
            )),
            None => Self::Missing(format!("{node} has no {what}")),
            Some(interface) => match first(interface) {
                Some(address) => Self::Address(address),
                None => Self::Missing(format!("{node}'s {what} has no {family} address")),
            },
        }
    }
}
