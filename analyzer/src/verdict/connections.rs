//! From samples to connections: where one five-tuple was used twice, and who opened it.
//!
//! A connection that the other side opened is not judged, because its packets are answers, which
//! egress policies leave alone. Where the evidence does not say who opened it, it counts as the
//! pod's own: judging an answer shows a false leak, skipping a pod's own hides a true one.

use std::collections::HashSet;
use std::sync::Arc;

use super::evidence::{ConnectionKey, Evidence, SYN, Sample, Window};
use super::tuple::Protocol;

/// One connection in time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Connection {
    pub key: ConnectionKey,
    pub samples: Vec<Sample>,
    /// Time in which its exits are looked for: up to its neighbours of the same tuple.
    pub reach: Window,
}

/// The pod's connections, and how much of the traffic answers others.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub own: Vec<Connection>,
    pub answers: u64,
    pub answers_bytes: i64,
}

/// What a tuple of these protocols means after so long a pause is another connection; conntrack
/// forgets an answered UDP stream after this time.
const PAUSE_US: i64 = 120_000_000;

/// ICMP types, IPv4 and IPv6, that begin an exchange: echo, timestamp and address mask requests.
const ICMP_REQUESTS: [u16; 3] = [8, 13, 17];
const ICMPV6_ECHO_REQUEST: u16 = 128;

const ACK: u8 = 16;

/// When a SYN without an answer is sent again for the first time.
const FIRST_TRY_AGAIN_US: i64 = 1_000_000;

/// Splits all samples of `evidence`, in the order of keys and time.
pub(crate) fn connections(
    evidence: &Evidence,
    watched_from_us: impl Fn(&str) -> Option<i64>,
) -> Connections {
    let mut keys: Vec<&ConnectionKey> = evidence.connections.keys().collect();
    keys.sort_unstable();
    let served = served_ports(evidence, &keys);
    let mut found = Connections::default();
    for key in keys {
        let mut samples = evidence.connections[key].clone();
        samples.sort_unstable();
        let pieces = split(key.tuple.protocol, samples);
        for (index, piece) in pieces.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| end(&pieces[before]));
            let piece_of = Piece {
                key,
                samples: piece,
                ended_before_us: before,
            };
            if answers_a_peer(evidence, &piece_of, &served, &watched_from_us) {
                found.answers += 1;
                found.answers_bytes += piece.iter().map(|sample| sample.bytes).sum::<i64>();
                continue;
            }
            let after = pieces.get(index + 1).map(|after| after[0].seen.from_us);
            let start = piece[0].seen.from_us;
            found.own.push(Connection {
                key: key.clone(),
                samples: piece.clone(),
                reach: Window {
                    from_us: before.map_or(i64::MIN, |before| before.midpoint(start)),
                    to_us: after.map_or(i64::MAX, |after| end(piece).midpoint(after)),
                },
            });
        }
    }
    found
}

impl Connection {
    /// First to last packet.
    pub fn seen(&self) -> Window {
        Window {
            from_us: self.samples[0].seen.from_us,
            to_us: end(&self.samples),
        }
    }

    /// Whether an answer came back: only then does TCP send an ACK.
    pub fn established(&self) -> bool {
        self.key.tuple.protocol == Protocol::TCP
            && self
                .samples
                .iter()
                .any(|sample| sample.tcp_flags & ACK != 0)
    }
}

fn end(samples: &[Sample]) -> i64 {
    samples
        .iter()
        .map(|sample| sample.seen.to_us)
        .max()
        .unwrap_or(i64::MIN)
}

/// Cuts where a tuple is used again: TCP by a SYN after the handshake or by one that comes later
/// than a repetition would, others by a long pause.
fn split(protocol: Protocol, samples: Vec<Sample>) -> Vec<Vec<Sample>> {
    let mut pieces: Vec<Vec<Sample>> = Vec::new();
    for sample in samples {
        let again = pieces.last().is_none_or(|piece| {
            if protocol == Protocol::TCP {
                i32::from(sample.tcp_flags) & SYN != 0
                    && (was_answered(piece, sample.seen.from_us) || comes_too_late(piece, &sample))
            } else {
                sample.seen.from_us - end(piece) > PAUSE_US
            }
        });
        if again {
            pieces.push(Vec::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(sample);
        }
    }
    pieces
}

fn was_answered(piece: &[Sample], before_us: i64) -> bool {
    piece
        .iter()
        .any(|sample| sample.tcp_flags & ACK != 0 && sample.seen.to_us < before_us)
}

/// Whether a SYN comes later than the next try of a handshake that got no answer. Tries come after
/// a second, then after twice the pause of before or less (RFC 6298, 2.1 and 5.5): no pause is
/// longer than all the time before it and a second.
fn comes_too_late(piece: &[Sample], syn: &Sample) -> bool {
    let (start_us, end_us) = (piece[0].seen.from_us, end(piece));
    let longest_us = (end_us - start_us + FIRST_TRY_AGAIN_US) / 2 * 3;
    syn.seen.from_us - end_us > longest_us
}

/// Ports of pods to which somebody was seen to open a connection.
fn served_ports(evidence: &Evidence, keys: &[&ConnectionKey]) -> HashSet<Served> {
    let mut served = HashSet::new();
    for key in keys {
        let opened_by_peer = evidence.inbound.get(*key).is_some_and(|inbound| {
            let first_us = evidence.connections[*key]
                .iter()
                .map(|sample| sample.seen.from_us)
                .min();
            key.tuple.protocol == Protocol::TCP
                && first_us.is_some_and(|first| inbound.syn_us.iter().any(|&syn| syn < first))
                && evidence.connections[*key]
                    .iter()
                    .any(|sample| i32::from(sample.tcp_flags) & SYN != 0)
        });
        if opened_by_peer {
            served.insert(served_port(key));
        }
    }
    served
}

type Served = (Arc<str>, Option<Arc<str>>, Protocol, u16);

fn served_port(key: &ConnectionKey) -> Served {
    (
        key.node.clone(),
        key.pod_uid.clone(),
        key.tuple.protocol,
        key.tuple.src_port,
    )
}

/// One use of a tuple, and when the use before it ended.
struct Piece<'a> {
    key: &'a ConnectionKey,
    samples: &'a [Sample],
    ended_before_us: Option<i64>,
}

fn answers_a_peer(
    evidence: &Evidence,
    piece: &Piece<'_>,
    served: &HashSet<Served>,
    watched_from_us: impl Fn(&str) -> Option<i64>,
) -> bool {
    let Piece {
        key,
        samples,
        ended_before_us,
    } = *piece;
    let icmp_type = key.tuple.dst_port >> 8;
    match key.tuple.protocol {
        Protocol::ICMP => return !ICMP_REQUESTS.contains(&icmp_type),
        Protocol::ICMPV6 => return icmp_type != ICMPV6_ECHO_REQUEST,
        _ => {}
    }
    let Some(inbound) = evidence.inbound.get(key) else {
        return false;
    };
    let first = samples[0];
    if key.tuple.protocol == Protocol::TCP {
        if i32::from(first.tcp_flags) & SYN == 0 {
            return served.contains(&served_port(key));
        }
        // The SYN that this SYN-ACK answers came shortly before it, and not in an earlier use.
        let since_us = ended_before_us
            .unwrap_or(i64::MIN)
            .max(first.seen.from_us - ANSWER_US);
        return since_us < first.seen.from_us
            && inbound
                .syn_us
                .range(since_us..first.seen.from_us)
                .next()
                .is_some();
    }
    let watched_before = watched_from_us(&key.node)
        .is_some_and(|from_us| inbound.first_us > from_us.saturating_add(SETTLING_US));
    watched_before && inbound.first_us < first.seen.from_us
}

/// A SYN that is answered later than this was not the cause of the SYN-ACK.
const ANSWER_US: i64 = 5_000_000;

/// What is first seen this soon after a probe's start may have begun before it.
const SETTLING_US: i64 = 1_000_000;
