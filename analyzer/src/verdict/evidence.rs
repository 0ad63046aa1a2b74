//! The rows that egress verdicts rest on, in compact form and keyed for the joins.
//!
//! Rows may come in any order; whatever is derived from them is sorted first. A flow row becomes a
//! sample of a few dozen bytes in its connection. Rows of uplinks and tunnels are read in a second
//! pass, which keeps only those that concern a connection already known: most of a node's traffic
//! does not.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use trace_schema::flows::{Direction, FlowSighting};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::snat::SnatRow;

use super::tuple::{FiveTuple, Protocol, TupleError};

/// A stretch of time, both ends included, UTC microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// Start.
    pub from_us: i64,
    /// End.
    pub to_us: i64,
}

/// What a pod sent of one connection in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// First to last packet.
    pub seen: Window,
    /// OR of the TCP flags.
    pub tcp_flags: u8,
    /// Layer-3 bytes.
    pub bytes: i64,
    /// Wire packets.
    pub packets: i64,
}

/// Names a connection: the node and the pod that sent it, and its five-tuple.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// Node of the pod.
    pub node: Arc<str>,
    /// UID of the pod; absent where the cgroup path had none.
    pub pod_uid: Option<Arc<str>>,
    /// As the pod sees it.
    pub tuple: FiveTuple,
}

/// When the other side spoke first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// First packet towards the pod.
    pub first_us: i64,
    /// First packets of the intervals in which a SYN came in.
    pub syn_us: BTreeSet<i64>,
}

/// Packets at a node's uplink or tunnel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeFlow {
    /// First to last packet.
    pub seen: Window,
    /// Node.
    pub node: Arc<str>,
    /// Interface.
    pub interface: Arc<str>,
    /// Layer-3 bytes.
    pub bytes: i64,
    /// Wire packets.
    pub packets: i64,
}

/// Why a row is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of table {table}, node {node}: {source}")]
pub struct EvidenceError {
    /// Table.
    pub table: &'static str,
    /// Node of the row.
    pub node: String,
    /// What of it cannot be read.
    #[source]
    pub source: TupleError,
}

/// Everything seen, ready to be judged.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub(crate) connections: HashMap<ConnectionKey, Vec<Sample>>,
    pub(crate) inbound: HashMap<ConnectionKey, Inbound>,
    pub(crate) wires: Vec<WireRow>,
    pub(crate) arrivals: HashMap<FiveTuple, Vec<NodeFlow>>,
    pub(crate) departures: HashMap<Service, Vec<(FiveTuple, NodeFlow)>>,
    pub(crate) ledger: Vec<LedgerRow>,
    pub(crate) sources: HashSet<IpAddr>,
    services: HashSet<Service>,
    pub(crate) loopback_bytes: i64,
    names: HashSet<Arc<str>>,
}

/// Where a flow goes: what source NAT leaves alone.
pub(crate) type Service = (Protocol, IpAddr, u16);

/// A `snat` row with its tuples parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WireRow {
    pub node: Arc<str>,
    pub interface: Arc<str>,
    pub post: FiveTuple,
    pub first_seen_us: i64,
    pub seen: Window,
    pub pre: Option<FiveTuple>,
    pub method: trace_schema::snat::Method,
    pub witness: trace_schema::snat::Witness,
    pub packets: i64,
}

impl Window {
    /// Whether the two overlap when this one is stretched by `slack_us` at both ends.
    pub fn touches(&self, other: &Self, slack_us: i64) -> bool {
        self.from_us.saturating_sub(slack_us) <= other.to_us
            && other.from_us <= self.to_us.saturating_add(slack_us)
    }

    /// The smallest window that holds both.
    pub fn cover(self, other: Self) -> Self {
        Self {
            from_us: self.from_us.min(other.from_us),
            to_us: self.to_us.max(other.to_us),
        }
    }

    /// Length, microseconds.
    pub fn length_us(&self) -> i64 {
        (self.to_us - self.from_us).max(0)
    }
}

impl Evidence {
    /// Takes a `flows` row of the first pass; only the `pod` vantage matters here.
    pub fn add_flow(&mut self, row: &FlowSighting) -> Result<(), EvidenceError> {
        if row.vantage != Vantage::Pod {
            return Ok(());
        }
        let tuple = flow_tuple(row)?;
        if never_leaves(&tuple) {
            self.loopback_bytes += row.bytes;
            return Ok(());
        }
        let node = self.name(&row.node);
        let pod_uid = row.pod_uid.as_deref().map(|uid| self.name(uid));
        let seen = Window {
            from_us: row.first_seen_us,
            to_us: row.last_seen_us,
        };
        if row.direction == Direction::Ingress {
            let key = ConnectionKey {
                node,
                pod_uid,
                tuple: tuple.reversed(),
            };
            let inbound = self.inbound.entry(key).or_insert_with(|| Inbound {
                first_us: i64::MAX,
                syn_us: BTreeSet::new(),
            });
            inbound.first_us = inbound.first_us.min(seen.from_us);
            if row.tcp_flags & SYN != 0 {
                inbound.syn_us.insert(seen.from_us);
            }
            return Ok(());
        }
        self.sources.insert(tuple.src);
        self.services
            .insert((tuple.protocol, tuple.dst, tuple.dst_port));
        self.connections
            .entry(ConnectionKey {
                node,
                pod_uid,
                tuple,
            })
            .or_default()
            .push(Sample {
                seen,
                tcp_flags: (row.tcp_flags & 0xff) as u8,
                bytes: row.bytes,
                packets: row.packets,
            });
        Ok(())
    }

    /// Takes a `snat` row.
    pub fn add_snat(&mut self, row: &SnatRow) -> Result<(), EvidenceError> {
        let refused = |source| EvidenceError {
            table: "snat",
            node: row.node.clone(),
            source,
        };
        let post = FiveTuple::read_side(&row.protocol, &row.post).map_err(refused)?;
        let pre = row
            .pre
            .as_ref()
            .map(|side| FiveTuple::read_side(&row.protocol, side))
            .transpose()
            .map_err(refused)?;
        if let Some(pre) = pre {
            self.sources.insert(pre.src);
        }
        let seen = Window {
            from_us: row.first_seen_us.max(row.interval_start_us),
            to_us: row.last_seen_us.min(row.interval_end_us),
        };
        let wire = WireRow {
            node: self.name(&row.node),
            interface: self.name(&row.interface),
            post,
            first_seen_us: row.first_seen_us,
            seen: Window {
                from_us: seen.from_us.min(seen.to_us),
                to_us: seen.to_us,
            },
            pre,
            method: row.method,
            witness: row.witness,
            packets: row.packets,
        };
        self.wires.push(wire);
        Ok(())
    }

    /// Takes a `ledger` row.
    pub fn add_ledger(&mut self, row: &LedgerRow) {
        self.ledger.push(row.clone());
    }

    /// Takes a `flows` row of the second pass, after all `pod` flows and `snat` rows are in:
    /// uplinks and tunnels, where they concern a pod's address or destination.
    pub fn add_node_flow(&mut self, row: &FlowSighting) -> Result<(), EvidenceError> {
        let at_node = matches!(row.vantage, Vantage::Uplink | Vantage::Tunnel);
        if !at_node || row.is_encapsulation {
            return Ok(());
        }
        let tuple = flow_tuple(row)?;
        let flow = |evidence: &mut Self| NodeFlow {
            seen: Window {
                from_us: row.first_seen_us,
                to_us: row.last_seen_us,
            },
            node: evidence.name(&row.node),
            interface: evidence.name(row.interface.as_deref().unwrap_or("")),
            bytes: row.bytes,
            packets: row.packets,
        };
        match row.direction {
            Direction::Ingress if self.sources.contains(&tuple.src) => {
                let flow = flow(self);
                self.arrivals.entry(tuple).or_default().push(flow);
            }
            Direction::Egress if row.vantage == Vantage::Uplink => {
                let service = (tuple.protocol, tuple.dst, tuple.dst_port);
                if self.services.contains(&service) {
                    let flow = flow(self);
                    self.departures
                        .entry(service)
                        .or_default()
                        .push((tuple, flow));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// One shared copy of a name.
    fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let name: Arc<str> = text.into();
        self.names.insert(name.clone());
        name
    }
}

/// TCP's SYN as `flows.tcp_flags` codes it.
pub(crate) const SYN: i32 = 2;

fn flow_tuple(row: &FlowSighting) -> Result<FiveTuple, EvidenceError> {
    FiveTuple::read(
        &row.protocol,
        &row.src_address,
        &row.dst_address,
        row.src_port,
        row.dst_port,
    )
    .map_err(|source| EvidenceError {
        table: "flows",
        node: row.node.to_string(),
        source,
    })
}

/// Loopback, link-local, multicast and a pod's traffic to itself stay where they are.
fn never_leaves(tuple: &FiveTuple) -> bool {
    let stays = |address: IpAddr| match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast(),
    };
    tuple.src == tuple.dst || stays(tuple.dst) || stays(tuple.src)
}
