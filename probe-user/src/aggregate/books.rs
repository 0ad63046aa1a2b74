//! The ledger: one row for each hook, whether anything passed it or not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use probe_abi::{
    flow::{FlowRecord, hook},
    loss::reason,
};
use trace_schema::{
    flows::Direction,
    ledger::{Count, LedgerRow, Vantage},
};

use super::{Interval, place};
use crate::{drain::Drained, interfaces::netlink::Counters};

/// The kernel's counters of an interface at an interval's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// Just before programs were told to write to the next generation.
    pub before: Counters,
    /// Once none wrote to the last one any more.
    pub after: Counters,
}

/// What the books of an interval are made from, beside the drained maps.
pub struct Sources<'a> {
    /// The edge at the interval's start, by interface index.
    pub start: &'a BTreeMap<u32, Edge>,
    /// The edge at its end.
    pub end: &'a BTreeMap<u32, Edge>,
    /// Hooks that are attached: hook code and interface index (0 at the pod hooks).
    pub hooks: &'a [(u8, u32)],
    /// Interfaces that were hooked in this interval: there the start's edge is uncertain as well.
    pub fresh: &'a BTreeSet<u32>,
    /// Buffers at the wire, by interface index.
    pub wire_buffers: &'a HashMap<u32, u64>,
    /// Flows at an uplink whose chain changed, counted as missed, by interface index.
    pub doubted: &'a HashMap<u32, u64>,
    /// Disagreements between the witnesses, counted as ambiguous.
    pub disagreements: u64,
    /// Log records lost.
    pub ring_drops: u64,
    /// Runs that the kernel skipped in this interval, by hook code.
    pub misses: &'a HashMap<u8, u64>,
    /// Wire flows in the map, and its capacity.
    pub wire_entries: usize,
    /// Capacity of the flow maps and of the wire map.
    pub capacity: u32,
}

/// The rows of `ledger`.
pub fn ledger_rows(
    interval: &Interval,
    drained: &Drained,
    sources: &Sources<'_>,
) -> Vec<LedgerRow> {
    let totals = totals(drained);
    let flows = drained.flows4.len() + drained.flows6.len();
    let mut rows = Vec::new();
    for &(code, index) in sources.hooks {
        let loss = |wanted: u8| loss(drained, code, index, wanted);
        let mut row = blank(interval, code, index);
        row.overflow = loss(reason::OVERFLOW);
        row.non_ip = loss(reason::NON_IP);
        row.ip_unparsed = loss(reason::IP_UNPARSED);
        row.hook_misses = sources.misses.get(&code).map(|&misses| misses as i64);
        row.map_capacity = i64::from(sources.capacity);
        if code == hook::POD_EGRESS {
            row.http_unparsed = loss_anywhere(drained, reason::HTTP_UNPARSED)
                + loss_anywhere(drained, reason::HTTP_OVERFLOW);
        }
        if code == hook::WIRE {
            let buffers = sources
                .wire_buffers
                .get(&index)
                .copied()
                .unwrap_or_default();
            row.counted.buffers = buffers as i64;
            row.pairing_overflow = loss(reason::PAIRING_OVERFLOW).buffers;
            row.map_entries = sources.wire_entries as i64;
            row.pairing_missed = sources.doubted.get(&index).map_or(0, |&flows| flows as i64);
            if is_first_of(sources.hooks, code, index) {
                // These happen before an interface is known: they stand with the first one.
                row.pairing_missed += loss_anywhere(drained, reason::PAIRING_MISSED);
                row.pairing_ambiguous = loss_anywhere(drained, reason::PAIRING_AMBIGUOUS)
                    + sources.disagreements as i64;
                row.pairing_overflow += loss_anywhere(drained, reason::FINGERPRINT_UNSTORED);
                row.ring_drops = sources.ring_drops as i64;
            }
        } else {
            row.counted = totals.get(&(code, index)).copied().unwrap_or_default();
            row.map_entries = flows as i64;
            kernel(&mut row, code, index, sources);
        }
        rows.push(row);
    }
    rows
}

fn blank(interval: &Interval, code: u8, index: u32) -> LedgerRow {
    let (vantage, direction) = match place(code) {
        Some((vantage, direction)) => (vantage, Some(direction)),
        None => (Vantage::Wire, None),
    };
    let interval_us = (interval.start_us, interval.end_us);
    let interface = interval.interfaces.get(&index);
    LedgerRow {
        interface: (vantage != Vantage::Pod).then(|| interval.interface_name(index)),
        direction,
        link_header_bytes: interface.map_or(0, |interface| interface.link_header_bytes),
        virtual_function: interface.and_then(|interface| interface.virtual_function.clone()),
        ..LedgerRow::idle(interval_us, &interval.node, &interval.boot_id, vantage)
    }
}

/// Adds what the kernel says of the interface, where both edges are known.
fn kernel(row: &mut LedgerRow, code: u8, index: u32, sources: &Sources<'_>) {
    let (Some(start), Some(end)) = (sources.start.get(&index), sources.end.get(&index)) else {
        return;
    };
    let is_egress = row.direction == Some(Direction::Egress);
    let pick = |counters: &Counters| {
        if is_egress {
            (counters.tx_packets, counters.tx_bytes)
        } else {
            (counters.rx_packets, counters.rx_bytes)
        }
    };
    let (from, to) = (pick(&start.after), pick(&end.after));
    row.kernel_packets = Some(to.0.wrapping_sub(from.0) as i64);
    row.kernel_bytes = Some(to.1.wrapping_sub(from.1) as i64);
    let width = |edge: &Edge| {
        let (low, high) = (pick(&edge.before), pick(&edge.after));
        (
            high.0.wrapping_sub(low.0) as i64,
            high.1.wrapping_sub(low.1) as i64,
        )
    };
    let mut boundary = width(end);
    if sources.fresh.contains(&index) {
        let opening = width(start);
        boundary = (boundary.0 + opening.0, boundary.1 + opening.1);
    }
    row.boundary_packets = Some(boundary.0);
    row.boundary_bytes = Some(boundary.1);
    if code == hook::UPLINK_EGRESS {
        let queues = end.after.queues.root_since(&start.after.queues);
        let filters = end.after.queues.clsact_since(&start.after.queues);
        let driver = end.after.tx_dropped.wrapping_sub(start.after.tx_dropped);
        row.dropped_behind_packets = Some(i64::from(queues) + i64::from(filters) + driver as i64);
    }
}

fn totals(drained: &Drained) -> HashMap<(u8, u32), Count> {
    let mut totals: HashMap<(u8, u32), Count> = HashMap::new();
    let keys4 = drained
        .flows4
        .iter()
        .map(|(key, record)| (key.hook, key.scope, record));
    let keys6 = drained
        .flows6
        .iter()
        .map(|(key, record)| (key.hook, key.scope, record));
    for (code, scope, record) in keys4.chain(keys6) {
        let is_pod = matches!(code, hook::POD_EGRESS | hook::POD_INGRESS);
        let index = if is_pod { 0 } else { scope as u32 };
        add(totals.entry((code, index)).or_default(), record);
    }
    totals
}

fn add(count: &mut Count, record: &FlowRecord) {
    count.packets += record.packets as i64;
    count.bytes += record.bytes as i64;
    count.buffers += record.buffers as i64;
    count.buffer_bytes += record.buffer_bytes as i64;
}

fn loss(drained: &Drained, code: u8, index: u32, wanted: u8) -> Count {
    let mut count = Count::default();
    for (key, lost) in &drained.losses {
        if key.hook == code && key.reason == wanted && key.ifindex == index {
            count.packets += lost.packets as i64;
            count.bytes += lost.bytes as i64;
            count.buffers += lost.buffers as i64;
            count.buffer_bytes += lost.buffer_bytes as i64;
        }
    }
    count
}

fn loss_anywhere(drained: &Drained, wanted: u8) -> i64 {
    let matching = drained
        .losses
        .iter()
        .filter(|(key, _)| key.reason == wanted);
    matching.map(|(_, lost)| lost.buffers as i64).sum()
}

fn is_first_of(hooks: &[(u8, u32)], code: u8, index: u32) -> bool {
    hooks.iter().find(|(other, _)| *other == code) == Some(&(code, index))
}
