//! From `snat` rows to exits: which wire a connection left the cluster by, and as what.
//!
//! A row that was not paired takes its origin from another row of the same wire flow, never from
//! one that merely looks alike. A row whose packets another node takes over is a hop. A pairing that
//! conntrack contradicts is not believed. What stays unpaired is kept, for it may be the exit that
//! a connection seems to lack.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::Serialize;
use trace_schema::snat::{Method, Witness};

use crate::verdict::evidence::{Evidence, NodeFlow, Window, WireRow};
use crate::verdict::tuple::{FiveTuple, Protocol};

/// How an exit was tied to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Paired {
    /// By the packet's fingerprint.
    Fingerprint,
    /// By the fingerprint, and conntrack says the same.
    FingerprintAndConntrack,
    /// By the packet's conntrack entry.
    Conntrack,
    /// It left untranslated, so that its own addresses name it.
    SameTuple,
}

/// A connection at a wire, over one stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crossing {
    /// First to last packet.
    pub seen: Window,
    /// Node whose wire it is.
    pub node: Arc<str>,
    /// Interface.
    pub interface: Arc<str>,
    /// As it left.
    pub post: FiveTuple,
    /// How it was paired.
    pub paired: Paired,
    /// Another node took the packets over at a time before: where this node sent them then.
    pub was_hop: bool,
}

/// A wire flow without a believable origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stray {
    /// First to last packet.
    pub seen: Window,
    /// Node.
    pub node: Arc<str>,
    /// As it left.
    pub post: FiveTuple,
}

/// Every exit, by the tuple before NAT, and what could not be tied to one.
#[derive(Clone, Debug, Default)]
pub struct Exits {
    by_origin: HashMap<FiveTuple, Vec<Crossing>>,
    strays: HashMap<(Protocol, IpAddr, u16), Vec<Stray>>,
    by_post: HashMap<FiveTuple, Vec<(Arc<str>, Window)>>,
    by_source: HashMap<(Protocol, SocketAddr), Vec<FiveTuple>>,
}

/// How far apart two nodes' sightings of one flow may lie and still be the same: rows are cut at
/// interval bounds, and the nodes' clocks differ.
pub const JOIN_SLACK_US: i64 = 2_000_000;

/// Stretches of one wire flow closer than this are one.
const MERGE_US: i64 = 250_000;

/// Each interval measures anew how the monotonic clock stands to UTC, so that one flow's first
/// packet has times that differ by this much at most.
const SAME_START_US: i64 = 20_000;

/// Nodes that a connection can pass before this gives up following it.
const MAX_HOPS: usize = 4;

impl Exits {
    /// Pairs all rows of `evidence`.
    pub fn pair(evidence: &Evidence) -> Self {
        let mut origins: HashMap<FiveTuple, Vec<WireFlow>> = HashMap::new();
        let mut exits = Self::default();
        let at_pods: HashSet<&FiveTuple> =
            evidence.connections.keys().map(|key| &key.tuple).collect();
        for mut flow in wire_flows(&evidence.wires) {
            if flow.origin.is_none() && at_pods.contains(&flow.post) {
                flow.origin = Some((flow.post, Paired::SameTuple));
            }
            exits.by_post.entry(flow.post).or_default().extend(
                flow.stretches
                    .iter()
                    .map(|(seen, _)| (flow.node.clone(), *seen)),
            );
            match flow.origin {
                Some((pre, _)) => origins.entry(pre).or_default().push(flow),
                None => exits.add_strays(&flow),
            }
        }
        for flows in origins.values_mut() {
            flows.sort();
        }
        for (pre, flows) in &origins {
            let source = (pre.protocol, pre.source());
            exits.by_source.entry(source).or_default().push(*pre);
            let mut crossings: Vec<Crossing> = flows
                .iter()
                .flat_map(|flow| follow(flow, &origins, &evidence.arrivals, MAX_HOPS))
                .collect();
            crossings.sort();
            exits.by_origin.insert(*pre, merged(crossings));
        }
        for strays in exits.strays.values_mut() {
            strays.sort();
        }
        exits
    }

    /// Exits of a connection, in time order.
    pub fn of(&self, tuple: &FiveTuple) -> &[Crossing] {
        self.by_origin.get(tuple).map_or(&[], Vec::as_slice)
    }

    /// Tuples before NAT that have an exit.
    pub fn origins(&self) -> impl Iterator<Item = &FiveTuple> {
        self.by_origin.keys()
    }

    /// Tuples before NAT with the protocol and source of `tuple`, in no order.
    pub fn from_source(&self, tuple: &FiveTuple) -> impl Iterator<Item = &FiveTuple> {
        self.by_source
            .get(&(tuple.protocol, tuple.source()))
            .into_iter()
            .flatten()
    }

    /// Unpaired wire flows to the same destination and port that were up at the time.
    pub fn strays(
        &self,
        tuple: &FiveTuple,
        during: Window,
        slack_us: i64,
    ) -> impl Iterator<Item = &Stray> {
        self.strays
            .get(&(tuple.protocol, tuple.dst, tuple.dst_port))
            .into_iter()
            .flatten()
            .filter(move |stray| stray.seen.touches(&during, slack_us))
    }

    /// Whether a wire of `node` saw packets with these addresses, paired or not.
    pub fn left_as(&self, post: &FiveTuple, node: &str, during: Window) -> bool {
        self.by_post.get(post).is_some_and(|seen| {
            seen.iter()
                .any(|(at, window)| &**at == node && window.touches(&during, JOIN_SLACK_US))
        })
    }

    /// When some wire saw packets with these addresses.
    pub fn sightings(&self, post: &FiveTuple) -> &[(Arc<str>, Window)] {
        self.by_post.get(post).map_or(&[], Vec::as_slice)
    }

    fn add_strays(&mut self, flow: &WireFlow) {
        let service = (flow.post.protocol, flow.post.dst, flow.post.dst_port);
        let strays = self.strays.entry(service).or_default();
        for &(seen, _) in &flow.stretches {
            strays.push(Stray {
                seen,
                node: flow.node.clone(),
                post: flow.post,
            });
        }
    }
}

/// A flow at one wire, for as long as the probe held it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct WireFlow {
    /// First to last packet of each interval, and how many packets.
    stretches: Vec<(Window, i64)>,
    node: Arc<str>,
    interface: Arc<str>,
    post: FiveTuple,
    origin: Option<(FiveTuple, Paired)>,
}

impl WireFlow {
    /// Whether it sent anything near that time.
    fn was_up(&self, during: Window) -> bool {
        let mut stretches = self.stretches.iter();
        stretches.any(|(at, _)| at.touches(&during, JOIN_SLACK_US))
    }

    /// Packets that it sent near that time.
    fn packets_near(&self, during: Window) -> i64 {
        let near = |at: &Window| at.touches(&during, JOIN_SLACK_US);
        let stretches = self.stretches.iter().filter(|(at, _)| near(at));
        stretches.map(|(_, packets)| packets).sum()
    }
}

fn wire_flows(rows: &[WireRow]) -> Vec<WireFlow> {
    let mut sorted: Vec<&WireRow> = rows.iter().collect();
    sorted.sort();
    sorted
        .chunk_by(|a, b| {
            (&a.node, &a.interface, &a.post) == (&b.node, &b.interface, &b.post)
                && b.first_seen_us - a.first_seen_us <= SAME_START_US
        })
        .flat_map(one_wire_flow)
        .collect()
}

/// Rows of one wire flow, sorted in time: one flow, or one for each origin if there were several.
fn one_wire_flow(rows: &[&WireRow]) -> Vec<WireFlow> {
    let mut origins: Vec<FiveTuple> = rows.iter().filter_map(|row| origin(row)).collect();
    origins.sort_unstable();
    origins.dedup();
    let only = if origins.len() == 1 {
        origins.first().copied()
    } else {
        None
    };
    let mut flows: Vec<WireFlow> = Vec::new();
    for row in rows {
        let contradicted = row.witness == Witness::Disagrees;
        let pre = origin(row).or(only.filter(|_| !contradicted));
        let paired = rows
            .iter()
            .filter(|row| origin(row) == pre)
            .map(|row| paired(row))
            .max();
        let origin = pre.zip(paired);
        match flows.iter_mut().find(|flow| flow.origin == origin) {
            Some(flow) => {
                flow.stretches.push((row.seen, row.packets));
            }
            None => flows.push(WireFlow {
                stretches: vec![(row.seen, row.packets)],
                node: row.node.clone(),
                interface: row.interface.clone(),
                post: row.post,
                origin,
            }),
        }
    }
    flows
}

fn origin(row: &WireRow) -> Option<FiveTuple> {
    let believed = row.method != Method::Unpaired && row.witness != Witness::Disagrees;
    row.pre.filter(|_| believed)
}

fn paired(row: &WireRow) -> Paired {
    match (row.method, row.witness) {
        (Method::Conntrack, _) => Paired::Conntrack,
        (_, Witness::Agrees) => Paired::FingerprintAndConntrack,
        _ => Paired::Fingerprint,
    }
}

/// Joins a wire flow's intervals, sorted in time, where it did not pause.
fn merged(crossings: Vec<Crossing>) -> Vec<Crossing> {
    let mut joined: Vec<Crossing> = Vec::new();
    for crossing in crossings {
        let before = joined.iter_mut().rev().find(|last| {
            crossing.seen.from_us - last.seen.to_us <= MERGE_US
                && (
                    &last.node,
                    &last.interface,
                    last.post,
                    last.paired,
                    last.was_hop,
                ) == (
                    &crossing.node,
                    &crossing.interface,
                    crossing.post,
                    crossing.paired,
                    crossing.was_hop,
                )
        });
        match before {
            Some(last) => last.seen = last.seen.cover(crossing.seen),
            None => joined.push(crossing),
        }
    }
    joined
}

/// Where the packets of `flow` left in the end: at its own wire, or where another node took them.
fn follow(
    flow: &WireFlow,
    origins: &HashMap<FiveTuple, Vec<WireFlow>>,
    arrivals: &HashMap<FiveTuple, Vec<NodeFlow>>,
    hops_left: usize,
) -> Vec<Crossing> {
    let Some((pre, paired)) = flow.origin else {
        return Vec::new();
    };
    let takers: Vec<&WireFlow> = origins
        .get(&flow.post)
        .into_iter()
        .flatten()
        .filter(|taker| taker.node != flow.node)
        .collect();
    let mut crossings = Vec::new();
    let mut was_hop = false;
    for &(seen, _) in &flow.stretches {
        let taken_by: Vec<&&WireFlow> = takers.iter().filter(|taker| taker.was_up(seen)).collect();
        let arrived = arrivals.get(&flow.post).is_some_and(|seen_at| {
            let packets: i64 = seen_at
                .iter()
                .filter(|at| at.node != flow.node && at.seen.touches(&seen, JOIN_SLACK_US))
                .map(|at| at.packets)
                .sum();
            // A bridge floods a frame or two to nodes that it is not for.
            packets > 0 && packets * 2 >= flow.packets_near(seen)
        });
        if !taken_by.is_empty() || arrived {
            was_hop = true;
            // Packets that were not rewritten here have the taker's rows under the same origin.
            if flow.post != pre && hops_left > 0 {
                for taker in taken_by {
                    crossings.extend(follow(taker, origins, arrivals, hops_left - 1));
                }
            }
            continue;
        }
        crossings.push(Crossing {
            seen,
            node: flow.node.clone(),
            interface: flow.interface.clone(),
            post: flow.post,
            paired,
            was_hop: was_hop && flow.post == pre,
        });
    }
    crossings
}
