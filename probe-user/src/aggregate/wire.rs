//! Wire flows: which sent packets in the interval, how they were paired, which are over.
//!
//! The wire hook looks at few of a flow's packets. How many there were and when the last one was
//! is what the uplink's egress hook counted, which knows the flow by its addresses before NAT or
//! after it, as the datapath has it.

use std::collections::{BTreeSet, HashMap};

use probe_abi::{
    flow::{FlowKey4, FlowKey6, FlowRecord, hook},
    wire::{WireKey, WireRecord, conntrack},
};
use trace_schema::snat::{Method, SnatRow, Tuple, Witness};

use super::{Interval, address, protocol_name};
use crate::drain::Drained;

/// FIN or RST: the connection is closing.
const CLOSING: u8 = 1 | 4;
/// A flow that has said nothing for this long is over. Below conntrack's shortest timeout for
/// UDP (30 s), so that a port that is given anew finds no old pairing.
const IDLE_NS: u64 = 15_000_000_000;
/// The same for a connection that was closed.
const CLOSED_IDLE_NS: u64 = 2_000_000_000;

/// What was known of the wire flows at the last interval's end.
#[derive(Clone, Debug, Default)]
pub struct WireLog {
    known: HashMap<WireKey, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    buffers: u64,
    /// Monotonic nanoseconds of the reading at which it last had sent something.
    active_ns: u64,
}

/// What an interval's reading gives.
#[derive(Clone, Debug, Default)]
pub struct WireRows {
    /// Rows of `snat`, in a fixed order.
    pub rows: Vec<SnatRow>,
    /// Flows to delete.
    pub over: Vec<WireKey>,
    /// Buffers looked at in the interval, by interface index.
    pub buffers: HashMap<u32, u64>,
    /// Flows at uplinks where a program may have translated packets after they were looked at, by
    /// interface index: they are not paired.
    pub doubted: HashMap<u32, u64>,
    /// Pairings in which fingerprint and conntrack name different sources.
    pub disagreements: u64,
}

impl WireLog {
    /// Compares a reading of the map, taken at `now_ns`, with the last one. What left by the
    /// interfaces in `doubtful` may have been translated since it was looked at.
    pub fn advance(
        &mut self,
        interval: &Interval,
        now_ns: u64,
        drained: &Drained,
        doubtful: &BTreeSet<u32>,
    ) -> WireRows {
        let mut result = WireRows::default();
        let mut known = HashMap::with_capacity(drained.wire.len());
        for (key, record) in &drained.wire {
            let before = self
                .known
                .get(key)
                .filter(|seen| seen.buffers <= record.buffers);
            let sent = record.buffers - before.map_or(0, |seen| seen.buffers);
            let flow = at_uplink(drained, key, record);
            let is_active = was_active(drained.epoch, record, flow);
            // What it has sent since the flip makes the next interval's row, so that it must stay.
            let active_ns = match before {
                Some(seen) if !is_active && !sent_since(drained.epoch, record) => seen.active_ns,
                _ => now_ns,
            };
            *result.buffers.entry(key.ifindex).or_default() += sent;
            if is_active {
                let amount = Amount::of(interval, flow, record, sent);
                let mut row = snat_row(interval, key, record, amount);
                if doubtful.contains(&key.ifindex) {
                    (row.pre, row.translated) = (None, None);
                    (row.method, row.witness) = (Method::Unpaired, Witness::Absent);
                    row.packets_until_paired = None;
                    *result.doubted.entry(key.ifindex).or_default() += 1;
                }
                result.disagreements += u64::from(row.witness == Witness::Disagrees);
                result.rows.push(row);
            }
            let idle_ns = now_ns.saturating_sub(active_ns);
            let is_closed = record.tcp_flags & CLOSING != 0;
            if idle_ns >= IDLE_NS || is_closed && idle_ns >= CLOSED_IDLE_NS {
                result.over.push(*key);
            } else {
                let seen = Seen {
                    buffers: record.buffers,
                    active_ns,
                };
                known.insert(*key, seen);
            }
        }
        self.known = known;
        result.rows.sort_by(|a, b| {
            (a.first_seen_us, &a.interface, &a.protocol, &a.post).cmp(&(
                b.first_seen_us,
                &b.interface,
                &b.protocol,
                &b.post,
            ))
        });
        result
    }

    /// Flows that were to be deleted at `now_ns` and had spoken since they were read, with their
    /// buffers at that reading.
    pub fn stay(&mut self, flows: &[(WireKey, u64)], now_ns: u64) {
        let seen = |buffers| Seen {
            buffers,
            active_ns: now_ns,
        };
        let flows = flows.iter().map(|&(key, buffers)| (key, seen(buffers)));
        self.known.extend(flows);
    }
}

/// Whether the flow sent anything in the epoch that ended. Its first packet of an epoch is always
/// looked at, so that the record bears that epoch; or the next one already, since it is read a moment
/// after the flip, and then the uplink's count tells.
fn was_active(ended: u32, record: &WireRecord, flow: Option<&FlowRecord>) -> bool {
    record.epoch == ended || sent_since(ended, record) && flow.is_some()
}

/// Whether the flow was looked at in the epoch after the one that ended.
fn sent_since(ended: u32, record: &WireRecord) -> bool {
    record.epoch == ended.wrapping_add(1)
}

/// What a flow sent in an interval.
struct Amount {
    packets: u64,
    buffers: u64,
    last_seen_us: i64,
}

impl Amount {
    /// By the uplink's count; where that has no such flow, what the wire looked at.
    fn of(
        interval: &Interval,
        flow: Option<&FlowRecord>,
        record: &WireRecord,
        looked_at: u64,
    ) -> Self {
        let last_look_us =
            interval.last_seen_us(record.first_ns, record.first_jiffies, record.last_jiffies);
        let Some(flow) = flow else {
            return Self {
                packets: looked_at,
                buffers: looked_at,
                last_seen_us: last_look_us,
            };
        };
        let last_us = interval.last_seen_us(flow.first_ns, flow.first_jiffies, flow.last_jiffies);
        Self {
            packets: flow.packets,
            buffers: flow.buffers,
            last_seen_us: last_us.max(last_look_us),
        }
    }
}

/// The wire flow as the uplink's egress hook counted it in the interval: as it left, or as it was
/// before the translation that came behind that hook.
fn at_uplink<'a>(
    drained: &'a Drained,
    key: &WireKey,
    record: &WireRecord,
) -> Option<&'a FlowRecord> {
    let as_it_left = (key.src, key.src_port, key.dst, key.dst_port);
    let by_fingerprint = (record.paired_after > 0).then_some((
        record.before_src,
        record.before_src_port,
        key.dst,
        key.dst_port,
    ));
    let by_conntrack = (record.conntrack == conntrack::DESCRIBES).then_some((
        record.ct_src,
        record.ct_src_port,
        record.ct_dst,
        record.ct_dst_port,
    ));
    [Some(as_it_left), by_fingerprint, by_conntrack]
        .into_iter()
        .flatten()
        .find_map(|(src, src_port, dst, dst_port)| {
            if key.family == 4 {
                drained.flows4.get(&FlowKey4 {
                    scope: u64::from(key.ifindex),
                    src: src[0],
                    dst: dst[0],
                    src_port,
                    dst_port,
                    protocol: key.protocol,
                    hook: hook::UPLINK_EGRESS,
                    generation: drained.generation,
                    reserved: 0,
                })
            } else {
                drained.flows6.get(&FlowKey6 {
                    scope: u64::from(key.ifindex),
                    src,
                    dst,
                    src_port,
                    dst_port,
                    protocol: key.protocol,
                    hook: hook::UPLINK_EGRESS,
                    generation: drained.generation,
                    reserved: 0,
                })
            }
        })
}

fn snat_row(interval: &Interval, key: &WireKey, record: &WireRecord, amount: Amount) -> SnatRow {
    let post = tuple(key.family, (key.src, key.src_port), (key.dst, key.dst_port));
    let (pre, method, witness) = pairing(key, record);
    let translated = pre
        .as_ref()
        .map(|pre| (&pre.src_address, pre.src_port) != (&post.src_address, post.src_port));
    SnatRow {
        interval_start_us: interval.start_us,
        interval_end_us: interval.end_us,
        node: interval.node.clone(),
        boot_id: interval.boot_id.clone(),
        interface: interval.interface_name(key.ifindex),
        protocol: protocol_name(key.protocol),
        pre,
        post,
        translated,
        method,
        witness,
        first_seen_us: interval.clock.utc_us(record.first_ns),
        last_seen_us: amount.last_seen_us,
        packets: amount.packets as i64,
        buffers: amount.buffers as i64,
        packets_until_paired: (record.paired_after > 0).then_some(record.paired_after as i32),
    }
}

/// The tuple before NAT, who says so, and what the other witness says of it.
fn pairing(key: &WireKey, record: &WireRecord) -> (Option<Tuple>, Method, Witness) {
    let by_fingerprint = (record.paired_after > 0).then(|| {
        let source = (record.before_src, record.before_src_port);
        tuple(key.family, source, (key.dst, key.dst_port))
    });
    let by_conntrack = (record.conntrack == conntrack::DESCRIBES).then(|| {
        let source = (record.ct_src, record.ct_src_port);
        tuple(key.family, source, (record.ct_dst, record.ct_dst_port))
    });
    match (by_fingerprint, by_conntrack) {
        (Some(pre), None) => (Some(pre), Method::Fingerprint, Witness::Absent),
        (None, Some(pre)) => (Some(pre), Method::Conntrack, Witness::Absent),
        (None, None) => (None, Method::Unpaired, Witness::Absent),
        (Some(pre), Some(other)) => {
            let same = (&pre.src_address, pre.src_port) == (&other.src_address, other.src_port);
            if same {
                (Some(pre), Method::Fingerprint, Witness::Agrees)
            } else {
                (None, Method::Unpaired, Witness::Disagrees)
            }
        }
    }
}

fn tuple(family: u8, src: ([u32; 4], u16), dst: ([u32; 4], u16)) -> Tuple {
    Tuple {
        src_address: address(family, src.0).to_string(),
        dst_address: address(family, dst.0).to_string(),
        src_port: i32::from(u16::from_be(src.1)),
        dst_port: i32::from(u16::from_be(dst.1)),
    }
}
