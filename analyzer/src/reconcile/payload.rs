//! Payload from both sides, each as a range that the truth cannot leave.
//!
//! A flow's payload is its bytes less headers less retransmissions. iperf3 states the segment size
//! and, as a sender, the path MTU: their difference is the header of a full segment. Where it does
//! not, the mean packet tells whether options must have been there. A retransmitted segment holds at
//! most one segment size, and at least that less all the room that the flow's packets left unused.

use crate::input::iperf3::{Iperf3Result, Protocol, Role, Status, Stream, Way};

use super::FlowTotal;

/// What a client sends first on each TCP stream, so that the server knows the test.
const COOKIE_BYTES: i64 = 37;
/// Datagrams of four bytes open a UDP stream, one each way; some versions send one more.
const UDP_OPENING_BYTES: i64 = 8;
/// The kernel's default limit of a socket's send buffer (tcp_wmem): what may be unsent at the end.
const SEND_BUFFER_BYTES: i64 = 4 << 20;
/// Options of the SYN and of segments around it, beyond those of a data segment.
const OPENING_OPTION_BYTES: i64 = 40;

const TCP_HEADER_BYTES: i64 = 20;
const TIMESTAMP_OPTION_BYTES: i64 = 12;
const MOST_TCP_OPTION_BYTES: i64 = 40;
const UDP_HEADER_BYTES: i64 = 8;
const SCTP_OVERHEAD_BYTES: (i64, i64) = (12, 12 + 16 * 8);
const LARGEST_SEGMENT_BYTES: i64 = 65_535;

/// The least and the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: i64,
    pub(super) most: i64,
}

impl Range {
    pub(super) fn width(self) -> i64 {
        self.most - self.least
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.distance(other) == 0
    }

    /// How far apart, 0 where they meet; positive where this one is the greater.
    pub(super) fn distance(self, other: Self) -> i64 {
        (self.least - other.most).max(0) + (self.most - other.least).min(0)
    }
}

/// Payload by iperf3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Iperf3Payload {
    pub(super) bytes: i64,
    pub(super) range: Range,
}

/// Payload by the flow rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlowPayload {
    pub(super) header_bytes: i64,
    pub(super) retransmitted_segments: i64,
    pub(super) estimate_bytes: i64,
    pub(super) range: Range,
}

/// What iperf3's figures say of the payload that passed the pod's socket.
pub(super) fn of_iperf3(result: &Iperf3Result, stream: &Stream) -> Iperf3Payload {
    let own = match stream.way {
        Way::Sent => stream.sent,
        Way::Received => stream.received,
    };
    let bytes = stream.interval_bytes.max(own.map_or(0, |rate| rate.bytes));
    let is_udp = result.protocol == Some(Protocol::Udp);
    let range = match (stream.way, is_udp) {
        // A datagram passes the hook as it is sent.
        (Way::Sent, true) => Range {
            least: bytes,
            most: bytes + UDP_OPENING_BYTES,
        },
        (Way::Received, true) => {
            let block_bytes = result.block_bytes.unwrap_or(LARGEST_SEGMENT_BYTES);
            let lost = stream.udp.map_or(0, |udp| udp.lost.max(0));
            let most = bytes + lost * block_bytes + UDP_OPENING_BYTES;
            Range {
                least: bytes,
                most: most + under_way(result, stream),
            }
        }
        (Way::Sent, false) => Range {
            least: (bytes - under_way(result, stream)).max(0),
            most: bytes + cookie(result, stream),
        },
        (Way::Received, false) => Range {
            least: bytes,
            most: bytes + under_way(result, stream) + cookie(result, stream),
        },
    };
    Iperf3Payload { bytes, range }
}

/// The most that was written at one end and not read at the other when the test ended.
fn under_way(result: &Iperf3Result, stream: &Stream) -> i64 {
    let is_whole = result.status == Status::Complete && result.omitted_seconds == 0.0;
    match (stream.sent, stream.received) {
        (Some(sent), Some(received)) if is_whole && result.protocol != Some(Protocol::Udp) => {
            (sent.bytes - received.bytes).max(0)
        }
        (Some(_), Some(_)) if is_whole => 0,
        // With an omitted start each end began to count at its own moment.
        _ => SEND_BUFFER_BYTES + 2 * stream.max_cwnd_bytes.unwrap_or_default(),
    }
}

fn cookie(result: &Iperf3Result, stream: &Stream) -> i64 {
    let comes_from_client = (result.role == Role::Client) == (stream.way == Way::Sent);
    if comes_from_client { COOKIE_BYTES } else { 0 }
}

/// What a flow's rows say of the payload that passed the pod's socket.
pub(super) fn of_flow(
    result: &Iperf3Result,
    stream: &Stream,
    protocol: Protocol,
    flow: &FlowTotal,
) -> FlowPayload {
    let header = header(result, stream, protocol, flow);
    let is_tcp = protocol == Protocol::Tcp;
    let opening = if is_tcp { OPENING_OPTION_BYTES } else { 0 };
    let all = Range {
        least: (flow.bytes - flow.packets * header.most - opening).max(0),
        most: (flow.bytes - flow.packets * header.least).max(0),
    };
    let usual = if is_tcp {
        usual_header(stream, header)
    } else {
        header.least
    };
    let header_bytes = flow.packets * usual;
    let again = if is_tcp {
        retransmitted(result, stream, flow, all)
    } else {
        Retransmitted::NONE
    };
    FlowPayload {
        header_bytes,
        retransmitted_segments: again.segments,
        estimate_bytes: (flow.bytes - header_bytes - again.estimate_bytes).max(0),
        range: Range {
            least: (all.least - again.range.most).max(0),
            most: (all.most - again.range.least).max(0),
        },
    }
}

/// Header bytes a packet: IP and transport, options included.
fn header(result: &Iperf3Result, stream: &Stream, protocol: Protocol, flow: &FlowTotal) -> Range {
    let ip = ip_header(stream);
    let exactly = |bytes| Range {
        least: bytes,
        most: bytes,
    };
    match protocol {
        Protocol::Udp => exactly(ip + UDP_HEADER_BYTES),
        Protocol::Sctp => Range {
            least: ip + SCTP_OVERHEAD_BYTES.0,
            most: ip + SCTP_OVERHEAD_BYTES.1,
        },
        Protocol::Tcp => {
            let bare = ip + TCP_HEADER_BYTES;
            let possible = bare..=bare + MOST_TCP_OPTION_BYTES;
            let of_mtu = result
                .path_mtu_bytes
                .zip(result.mss_bytes)
                .map(|(mtu, mss)| mtu - mss);
            if let Some(bytes) = of_mtu.filter(|bytes| possible.contains(bytes)) {
                return exactly(bytes);
            }
            let Some(mss) = result.mss_bytes else {
                return Range {
                    least: bare,
                    most: bare + MOST_TCP_OPTION_BYTES,
                };
            };
            let with_timestamps = bare + TIMESTAMP_OPTION_BYTES;
            if flow.bytes > flow.packets * (mss + bare) {
                exactly(with_timestamps)
            } else {
                Range {
                    least: bare,
                    most: with_timestamps,
                }
            }
        }
    }
}

/// The header that the estimate takes: with timestamps, as is usual, where both are possible.
fn usual_header(stream: &Stream, header: Range) -> i64 {
    let with_timestamps = ip_header(stream) + TCP_HEADER_BYTES + TIMESTAMP_OPTION_BYTES;
    with_timestamps.clamp(header.least, header.most)
}

fn ip_header(stream: &Stream) -> i64 {
    if stream.local.address.contains(':') {
        40
    } else {
        20
    }
}

/// Segments that may have been sent again after both counters were last read: iperf3 reads its own
/// when the test ends, the probe when the connection closes, and what is in flight then may follow.
/// An initial window's worth (RFC 6928).
const UNREAD_SEGMENTS: i64 = 10;

/// Payload that passed more than once.
struct Retransmitted {
    segments: i64,
    estimate_bytes: i64,
    range: Range,
}

impl Retransmitted {
    const NONE: Self = Self {
        segments: 0,
        estimate_bytes: 0,
        range: Range { least: 0, most: 0 },
    };
}

fn retransmitted(
    result: &Iperf3Result,
    stream: &Stream,
    flow: &FlowTotal,
    payload: Range,
) -> Retransmitted {
    let mss = result.mss_bytes.unwrap_or(LARGEST_SEGMENT_BYTES);
    if stream.way == Way::Received {
        // The pod sees those that arrived, and of each segment perhaps only the second.
        let most = stream.retransmits.unwrap_or_default() * mss;
        let range = Range {
            least: 0,
            most: most.min(payload.most),
        };
        return Retransmitted {
            range,
            ..Retransmitted::NONE
        };
    }
    let by_iperf3 = stream.interval_retransmits.or(stream.retransmits);
    let segments = by_iperf3.max(flow.retransmits).unwrap_or_default();
    let fewest = by_iperf3
        .or(flow.retransmits)
        .unwrap_or_default()
        .min(segments);
    let unused_room = (flow.packets * mss - payload.least).max(0);
    let estimate_bytes = (segments * mss).min(payload.most);
    let most = ((segments + UNREAD_SEGMENTS) * mss).min(payload.most);
    let least = (fewest * mss - unused_room).max(fewest).min(payload.most);
    Retransmitted {
        segments,
        estimate_bytes,
        range: Range { least, most },
    }
}
