//! Sums over rows: `flows` against the ledger's `counted`, and what was lost.

use std::collections::BTreeMap;

use serde::Serialize;
use trace_schema::ledger::{Count, LedgerRow, Vantage};

use super::{Balance, Entry, Series};

/// What the rows of `flows` add up to, and what the ledger says they hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowSum {
    /// Where.
    pub series: Series,
    /// The ledger's `counted`, summed.
    pub counted: Count,
    /// The rows of `flows`, summed.
    pub flows: Count,
    /// Flows less counted.
    pub difference: Count,
    /// Start of the first interval in which they differ, UTC microseconds.
    pub first_difference_us: Option<i64>,
    /// What that says.
    pub balance: Balance,
    /// Why it is not balanced.
    pub reason: Option<String>,
}

/// Observations that are missing at a vantage of a node; each a reason for less certainty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Node.
    pub node: String,
    /// Vantage.
    pub vantage: Vantage,
    /// What full maps turned away.
    pub overflow: Count,
    /// Frames that are not IP: no loss, but in no flow.
    pub non_ip: Count,
    /// IP packets whose headers could not be followed.
    pub ip_unparsed: Count,
    /// Wire flows that were never found before NAT.
    pub pairing_missed: i64,
    /// Fingerprints that two sources shared.
    pub pairing_ambiguous: i64,
    /// Wire flows that the full pairing map turned away.
    pub pairing_overflow: i64,
    /// Records that did not fit the ring buffer.
    pub ring_drops: i64,
    /// Runs of the hook that the kernel skipped.
    pub hook_misses: i64,
    /// Most flows in the map at the end of an interval.
    pub map_entries: i64,
    /// Capacity of that map, the smallest seen.
    pub map_capacity: i64,
    /// Rows of any table that went when the probe's spool was full.
    pub spool_dropped_rows: i64,
}

impl Loss {
    pub(super) fn none(node: &str, vantage: Vantage) -> Self {
        Self {
            node: node.to_owned(),
            vantage,
            overflow: Count::default(),
            non_ip: Count::default(),
            ip_unparsed: Count::default(),
            pairing_missed: 0,
            pairing_ambiguous: 0,
            pairing_overflow: 0,
            ring_drops: 0,
            hook_misses: 0,
            map_entries: 0,
            map_capacity: i64::MAX,
            spool_dropped_rows: 0,
        }
    }

    pub(super) fn add(&mut self, row: &LedgerRow) {
        add_count(&mut self.overflow, row.overflow);
        add_count(&mut self.non_ip, row.non_ip);
        add_count(&mut self.ip_unparsed, row.ip_unparsed);
        self.pairing_missed += row.pairing_missed;
        self.pairing_ambiguous += row.pairing_ambiguous;
        self.pairing_overflow += row.pairing_overflow;
        self.ring_drops += row.ring_drops;
        self.hook_misses += row.hook_misses.unwrap_or_default();
        self.map_entries = self.map_entries.max(row.map_entries);
        self.map_capacity = self.map_capacity.min(row.map_capacity);
        self.spool_dropped_rows += row.spool_dropped_rows;
    }

    /// Whether every IP packet that passed stands in a flow and every record arrived. Unpaired
    /// wire flows are not losses: each is a row of its own in `snat`.
    pub fn is_lossless(&self) -> bool {
        let lost_counts = [self.overflow, self.ip_unparsed];
        let lost = [
            self.pairing_overflow,
            self.ring_drops,
            self.hook_misses,
            self.spool_dropped_rows,
        ];
        lost_counts.iter().all(|count| *count == Count::default()) && lost == [0; 4]
    }
}

/// The flows of a series by the start of their interval.
pub(super) type FlowIntervals = BTreeMap<i64, FlowInterval>;

/// The flows of one interval, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct FlowInterval {
    pub end_us: i64,
    pub count: Count,
}

impl FlowInterval {
    pub fn add(&mut self, end_us: i64, count: Count) {
        self.end_us = self.end_us.max(end_us);
        add_count(&mut self.count, count);
    }
}

/// Compares a series interval by interval, so that a difference names the moment it began. Where
/// the node's spool was full, the books of some intervals are gone, and their flows may not be.
/// Flows that were rolled up since stand in longer intervals than the ledger: what was counted in
/// one of them is added up.
pub(super) fn flow_sum(
    series: &Series,
    entries: &[Entry],
    flows: Option<&FlowIntervals>,
    spool_dropped_rows: i64,
) -> FlowSum {
    let no_flows = FlowIntervals::new();
    let intervals = flows.unwrap_or(&no_flows);
    let mut counted = BTreeMap::<i64, Count>::new();
    for entry in entries {
        let before = intervals.range(..=entry.start_us).next_back();
        let around = before.filter(|(_, interval)| entry.start_us < interval.end_us);
        let start_us = around.map_or(entry.start_us, |(start_us, _)| *start_us);
        add_count(counted.entry(start_us).or_default(), entry.counted);
    }
    let flows = intervals.iter();
    let flows: BTreeMap<i64, Count> = flows.map(|(start, sum)| (*start, sum.count)).collect();
    let starts = counted.keys().chain(flows.keys()).copied();
    let mut starts = starts.collect::<Vec<_>>();
    starts.sort_unstable();
    starts.dedup();
    let at = |of: &BTreeMap<i64, Count>, start: &i64| of.get(start).copied().unwrap_or_default();
    let differing = starts
        .iter()
        .filter(|start| at(&counted, start) != at(&flows, start));
    let differing = differing.copied().collect::<Vec<_>>();
    let (balance, reason) = match differing[..] {
        [] => (Balance::Balanced, None),
        // A probe that is killed between the two files of its last interval leaves one of them.
        [only] if Some(&only) == starts.last() && is_one_sided(&counted, &flows, only) => {
            let reason =
                "the last interval is in one of flows and ledger only: the probe was killed";
            (Balance::Inconclusive, Some(reason.to_owned()))
        }
        [..] if spool_dropped_rows > 0
            && differing.iter().all(|start| !counted.contains_key(start)) =>
        {
            let reason =
                format!("the full spool gave up {spool_dropped_rows} rows and books of their time");
            (Balance::Inconclusive, Some(reason))
        }
        [..] => {
            let reason = format!(
                "flows and ledger differ in {} of {} intervals",
                differing.len(),
                starts.len()
            );
            (Balance::Off, Some(reason))
        }
    };
    let (counted, flows) = (total(&counted), total(&flows));
    FlowSum {
        series: series.clone(),
        counted,
        flows,
        difference: Count {
            packets: flows.packets - counted.packets,
            bytes: flows.bytes - counted.bytes,
            buffers: flows.buffers - counted.buffers,
            buffer_bytes: flows.buffer_bytes - counted.buffer_bytes,
        },
        first_difference_us: differing.first().copied(),
        balance,
        reason,
    }
}

fn is_one_sided(
    counted: &BTreeMap<i64, Count>,
    flows: &BTreeMap<i64, Count>,
    start_us: i64,
) -> bool {
    counted.contains_key(&start_us) != flows.contains_key(&start_us)
}

fn total(intervals: &BTreeMap<i64, Count>) -> Count {
    let mut total = Count::default();
    for count in intervals.values() {
        add_count(&mut total, *count);
    }
    total
}

pub(super) fn add_count(sum: &mut Count, count: Count) {
    sum.packets += count.packets;
    sum.bytes += count.bytes;
    sum.buffers += count.buffers;
    sum.buffer_bytes += count.buffer_bytes;
}
