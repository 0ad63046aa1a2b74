//! iperf3's bytes held against what the probe counted at the pod's own sockets.
//!
//! iperf3 counts payload that it wrote or read; the probe counts layer-3 bytes that passed. Between
//! them stand headers, retransmissions, and what was under way when the test ended. Each is taken
//! off where it is known and bounded where it is not, so both sides become a range, and they agree
//! where the ranges meet. Pure: the caller picks the rows of the run's time.

mod payload;
pub mod responses;

use std::collections::BTreeMap;

use serde::Serialize;
use trace_schema::flows::{Direction, FlowRow};
use trace_schema::ledger::Vantage;

use crate::input::iperf3::{Endpoint, Iperf3Result, Protocol, Status, Stream, Way};
use payload::{Range, of_flow, of_iperf3};

/// A bound wider than this share of iperf3's bytes says nothing.
const WIDEST_BOUND: f64 = 0.1;

/// A run of iperf3 held against the flows of its pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reconciliation {
    /// The worst of all streams; inconclusive where there are none.
    pub agreement: Agreement,
    /// Each data connection.
    pub streams: Vec<StreamReconciliation>,
    /// All streams of a direction together.
    pub totals: Vec<Total>,
    /// TCP connections of the pod to or from the server's port that carry no stream: iperf3's
    /// control connections.
    pub control: Vec<ControlConnection>,
}

/// What a comparison says. The greater of two is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// The ranges meet.
    Agree,
    /// There is too little to compare.
    Inconclusive,
    /// The ranges do not meet.
    Disagree,
}

/// A data connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamReconciliation {
    /// The pod's end.
    pub local: Endpoint,
    /// The other end, as iperf3 names it.
    pub remote: Endpoint,
    /// Which way data went, from the pod.
    pub way: Way,
    /// The figures.
    pub comparison: Comparison,
}

/// The streams of a direction together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Total {
    /// Which way data went, from the pod.
    pub way: Way,
    /// The figures.
    pub comparison: Comparison,
}

/// Two counts of the same payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Payload by iperf3, the omitted start included.
    pub iperf3_bytes: i64,
    /// The least and the most payload that passed the pod's socket by iperf3's figures.
    pub iperf3_range_bytes: (i64, i64),
    /// Layer-3 bytes of the flow rows in the direction of the data.
    pub flow_bytes: i64,
    /// Their packets.
    pub flow_packets: i64,
    /// Headers taken off.
    pub header_bytes: i64,
    /// Retransmitted segments taken off.
    pub retransmitted_segments: i64,
    /// Payload by the flow rows, each byte once.
    pub payload_estimate_bytes: i64,
    /// The least and the most that it may be.
    pub payload_range_bytes: (i64, i64),
    /// Payload estimate less iperf3's bytes.
    pub difference_bytes: i64,
    /// The difference as a share of iperf3's bytes.
    pub relative_difference: f64,
    /// How large the difference may be without contradiction.
    pub bound_bytes: i64,
    /// What that says.
    pub agreement: Option<Agreement>,
    /// Why they do not agree.
    pub reason: Option<String>,
}

/// iperf3's control connection: a flow of its own, in no stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ControlConnection {
    /// The pod's end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// Layer-3 bytes that the pod sent.
    pub sent_bytes: i64,
    /// Layer-3 bytes that the pod received.
    pub received_bytes: i64,
}

/// What the rows of one connection and direction add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlowTotal {
    pub(crate) bytes: i64,
    pub(crate) packets: i64,
    pub(crate) retransmits: Option<i64>,
}

/// Holds a run against the pod's flow rows of its time. `lost_packets` is what the pod vantage's
/// ledger lost meanwhile: with losses, flows that fall short prove nothing.
pub fn reconcile<'a>(
    result: &Iperf3Result,
    flows: impl IntoIterator<Item = &'a FlowRow>,
    lost_packets: i64,
) -> Reconciliation {
    let connections = connections(flows);
    let streams = result.streams.iter().map(|stream| StreamReconciliation {
        local: stream.local.clone(),
        remote: stream.remote.clone(),
        way: stream.way,
        comparison: compare(result, stream, &connections, lost_packets),
    });
    let streams = streams.collect::<Vec<_>>();
    let worst = streams
        .iter()
        .filter_map(|stream| stream.comparison.agreement)
        .max();
    let totals = [Way::Sent, Way::Received]
        .into_iter()
        .filter_map(|way| total(way, &streams));
    Reconciliation {
        agreement: worst.unwrap_or(Agreement::Inconclusive),
        totals: totals.collect(),
        control: control(result, &connections),
        streams,
    }
}

/// Protocol, the pod's end, the other end, direction.
type Connection = (String, Endpoint, Endpoint, Direction);

fn connections<'a>(
    flows: impl IntoIterator<Item = &'a FlowRow>,
) -> BTreeMap<Connection, FlowTotal> {
    let mut connections = BTreeMap::<Connection, FlowTotal>::new();
    for row in flows.into_iter().filter(|row| row.vantage == Vantage::Pod) {
        let (source, destination) = (
            end(&row.src_address, row.src_port),
            end(&row.dst_address, row.dst_port),
        );
        let (local, remote) = match row.direction {
            Direction::Egress => (source, destination),
            Direction::Ingress => (destination, source),
        };
        let key = (row.protocol.clone(), local, remote, row.direction);
        let total = connections.entry(key).or_default();
        total.bytes += row.bytes;
        total.packets += row.packets;
        total.retransmits = total.retransmits.max(row.retransmits);
    }
    connections
}

fn end(address: &str, port: i32) -> Endpoint {
    Endpoint {
        address: address.to_owned(),
        port: u16::try_from(port).unwrap_or_default(),
    }
}

fn compare(
    result: &Iperf3Result,
    stream: &Stream,
    connections: &BTreeMap<Connection, FlowTotal>,
    lost_packets: i64,
) -> Comparison {
    let protocol = result.protocol.unwrap_or(Protocol::Tcp);
    let direction = match stream.way {
        Way::Sent => Direction::Egress,
        Way::Received => Direction::Ingress,
    };
    let key = (
        protocol_name(protocol),
        stream.local.clone(),
        stream.remote.clone(),
        direction,
    );
    let iperf3 = of_iperf3(result, stream);
    let mut comparison = Comparison {
        iperf3_bytes: iperf3.bytes,
        iperf3_range_bytes: (iperf3.range.least, iperf3.range.most),
        ..Comparison::default()
    };
    let Some(flow) = connections.get(&key) else {
        let reason = "no flow row of this connection at the pod vantage";
        return comparison.with(Agreement::Inconclusive, Some(reason.to_owned()));
    };
    let payload = of_flow(result, stream, protocol, flow);
    comparison.flow_bytes = flow.bytes;
    comparison.flow_packets = flow.packets;
    comparison.header_bytes = payload.header_bytes;
    comparison.retransmitted_segments = payload.retransmitted_segments;
    comparison.payload_estimate_bytes = payload.estimate_bytes;
    comparison.payload_range_bytes = (payload.range.least, payload.range.most);
    comparison.difference_bytes = payload.estimate_bytes - iperf3.bytes;
    comparison.relative_difference = share(comparison.difference_bytes, iperf3.bytes);
    comparison.bound_bytes = payload.range.width() + iperf3.range.width();
    let (agreement, reason) = judge(
        &comparison,
        payload.range,
        iperf3.range,
        lost_packets,
        result,
    );
    comparison.with(agreement, reason)
}

fn judge(
    comparison: &Comparison,
    payload: Range,
    iperf3: Range,
    lost_packets: i64,
    result: &Iperf3Result,
) -> (Agreement, Option<String>) {
    if matches!(result.status, Status::Error(_)) || comparison.iperf3_bytes == 0 {
        return (
            Agreement::Inconclusive,
            Some("iperf3 measured nothing".to_owned()),
        );
    }
    if payload.most < iperf3.least && lost_packets > 0 {
        let reason = format!("the pod vantage lost {lost_packets} packets meanwhile");
        return (Agreement::Inconclusive, Some(reason));
    }
    if !payload.meets(iperf3) {
        let reason = format!("{} bytes beyond the bound", payload.distance(iperf3));
        return (Agreement::Disagree, Some(reason));
    }
    let bound = share(comparison.bound_bytes, comparison.iperf3_bytes);
    if bound > WIDEST_BOUND {
        let reason = format!("the bound is {:.0} % of iperf3's bytes", bound * 100.0);
        return (Agreement::Inconclusive, Some(reason));
    }
    (Agreement::Agree, None)
}

fn total(way: Way, streams: &[StreamReconciliation]) -> Option<Total> {
    let of_way = streams.iter().filter(|stream| stream.way == way);
    let comparisons = of_way.map(|stream| &stream.comparison).collect::<Vec<_>>();
    if comparisons.is_empty() {
        return None;
    }
    let add = |sum: (i64, i64), range: (i64, i64)| (sum.0 + range.0, sum.1 + range.1);
    let mut total = Comparison::default();
    for one in &comparisons {
        total.iperf3_bytes += one.iperf3_bytes;
        total.iperf3_range_bytes = add(total.iperf3_range_bytes, one.iperf3_range_bytes);
        total.flow_bytes += one.flow_bytes;
        total.flow_packets += one.flow_packets;
        total.header_bytes += one.header_bytes;
        total.retransmitted_segments += one.retransmitted_segments;
        total.payload_estimate_bytes += one.payload_estimate_bytes;
        total.payload_range_bytes = add(total.payload_range_bytes, one.payload_range_bytes);
        total.difference_bytes += one.difference_bytes;
        total.bound_bytes += one.bound_bytes;
    }
    total.relative_difference = share(total.difference_bytes, total.iperf3_bytes);
    let worst = comparisons.iter().max_by_key(|one| one.agreement);
    total.agreement = worst.and_then(|one| one.agreement);
    total.reason = worst.and_then(|one| one.reason.clone());
    Some(Total {
        way,
        comparison: total,
    })
}

/// The control connection goes to the server's port over TCP, whatever the streams use.
fn control(
    result: &Iperf3Result,
    connections: &BTreeMap<Connection, FlowTotal>,
) -> Vec<ControlConnection> {
    let mut found = BTreeMap::<(Endpoint, Endpoint), (i64, i64)>::new();
    for ((protocol, local, remote, direction), flow) in connections {
        let is_between = result.streams.iter().any(|stream| {
            let is_same_service = match result.role {
                crate::input::iperf3::Role::Client => *remote == stream.remote,
                crate::input::iperf3::Role::Server => local.port == stream.local.port,
            };
            is_same_service && local.address == stream.local.address
        });
        let is_stream = result.protocol == Some(Protocol::Tcp)
            && result
                .streams
                .iter()
                .any(|stream| (&stream.local, &stream.remote) == (local, remote));
        if protocol == "tcp" && is_between && !is_stream {
            let bytes = found.entry((local.clone(), remote.clone())).or_default();
            match direction {
                Direction::Egress => bytes.0 += flow.bytes,
                Direction::Ingress => bytes.1 += flow.bytes,
            }
        }
    }
    let found = found
        .into_iter()
        .map(
            |((local, remote), (sent_bytes, received_bytes))| ControlConnection {
                local,
                remote,
                sent_bytes,
                received_bytes,
            },
        );
    found.collect()
}

impl Comparison {
    fn with(mut self, agreement: Agreement, reason: Option<String>) -> Self {
        self.agreement = Some(agreement);
        self.reason = reason;
        self
    }
}

fn protocol_name(protocol: Protocol) -> String {
    let name = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    name.to_owned()
}

fn share(part: i64, whole: i64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
