//! The books of a dataset: whether every packet that the kernel counted stands somewhere.
//!
//! Three questions, each with all its figures: does an uplink's count equal the kernel's
//! ([`Account`]), do the rows of `flows` add up to what the ledger says was counted
//! ([`FlowSum`]), and was somebody watching all the time ([`Gap`])? What was lost is summed beside
//! them ([`Loss`]). Pure: rows come in, a report comes out, in any order of rows the same.

mod balance;
mod coverage;
pub mod holdings;
mod sums;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use trace_schema::flows::{Direction, FlowCount, FlowRow};
use trace_schema::ledger::{Count, LedgerRow, Vantage};

pub(crate) use balance::Unseen;
pub use balance::{Account, Basis, Residual};
pub use coverage::{Gap, Watch};
pub use sums::{FlowSum, Loss};

use sums::{FlowInterval, FlowIntervals, add_count, flow_sum};

/// What the books are kept by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Series {
    /// Node.
    pub node: String,
    /// Vantage.
    pub vantage: Vantage,
    /// Interface; absent at the `pod` vantage.
    pub interface: Option<String>,
    /// Direction; absent at `wire`.
    pub direction: Option<Direction>,
}

/// What a comparison of two sums says. The greater of two is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// They agree, within what the boundary and drops behind the hook leave open.
    Balanced,
    /// There is not enough to compare.
    Inconclusive,
    /// They differ by more than anything known explains.
    Off,
}

/// The books of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BooksReport {
    /// The worst of all accounts and sums; inconclusive where there are none.
    pub balance: Balance,
    /// Every uplink against the kernel's counters.
    pub accounts: Vec<Account>,
    /// Every vantage's `flows` against its ledger.
    pub flow_sums: Vec<FlowSum>,
    /// When each hook was watching.
    pub watches: Vec<Watch>,
    /// Spans in which a hook was not.
    pub gaps: Vec<Gap>,
    /// What was lost, by node and vantage.
    pub losses: Vec<Loss>,
}

/// Takes in rows and keeps what the report needs: some dozen bytes an interval and series.
#[derive(Clone, Debug, Default)]
pub struct Books {
    ledger: BTreeMap<Series, Vec<Entry>>,
    flows: BTreeMap<Series, FlowIntervals>,
    losses: BTreeMap<(String, Vantage), Loss>,
}

/// What rows of `flows` have in common that are added up together.
#[derive(PartialEq, Eq, Hash)]
struct FlowKey<'a> {
    node: &'a str,
    vantage: Vantage,
    interface: Option<&'a str>,
    direction: Direction,
    start_us: i64,
}

/// What the books keep of a ledger row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    start_us: i64,
    end_us: i64,
    counted: Count,
    /// Counted, turned away and not understood: all that passed the hook.
    passed: Count,
    link_header_bytes: i64,
    /// Link headers that the driver may have left out of its bytes.
    headers_left_out_bytes: i64,
    kernel: Option<(i64, i64)>,
    boundary: (i64, i64),
    dropped_behind: Option<i64>,
}

impl Books {
    /// Takes in a row of `ledger`.
    pub fn add_ledger(&mut self, row: &LedgerRow) {
        let series = Series {
            node: row.node.clone(),
            vantage: row.vantage,
            interface: row.interface.clone(),
            direction: row.direction,
        };
        let loss = self.losses.entry((row.node.clone(), row.vantage));
        loss.or_insert_with(|| Loss::none(&row.node, row.vantage))
            .add(row);
        self.ledger.entry(series).or_default().push(Entry::of(row));
    }

    /// Takes in a row of `flows`.
    pub fn add_flow(&mut self, row: &FlowRow) {
        let series = Series {
            node: row.node.clone(),
            vantage: row.vantage,
            interface: row.interface.clone(),
            direction: Some(row.direction),
        };
        let count = Count {
            packets: row.packets,
            bytes: row.bytes,
            buffers: row.buffers,
            buffer_bytes: row.buffer_bytes,
        };
        let intervals = self.flows.entry(series).or_default();
        let sum = intervals.entry(row.interval_start_us).or_default();
        sum.add(row.interval_end_us, count);
    }

    /// Takes in what adding up needs of rows of `flows`: neighbours are mostly of one interval, so
    /// sums are looked up once for many rows.
    pub fn add_flow_counts(&mut self, rows: &[FlowCount]) {
        let mut sums = HashMap::<FlowKey<'_>, FlowInterval>::new();
        for row in rows {
            let key = FlowKey {
                node: &row.node,
                vantage: row.vantage,
                interface: row.interface.as_deref(),
                direction: row.direction,
                start_us: row.interval_start_us,
            };
            sums.entry(key)
                .or_default()
                .add(row.interval_end_us, row.count);
        }
        for (key, sum) in sums {
            let series = Series {
                node: key.node.to_owned(),
                vantage: key.vantage,
                interface: key.interface.map(str::to_owned),
                direction: Some(key.direction),
            };
            let intervals = self.flows.entry(series).or_default();
            let known = intervals.entry(key.start_us).or_default();
            known.add(sum.end_us, sum.count);
        }
    }

    /// Takes in what others took in of `flows`.
    pub fn add_flows_of(&mut self, other: Self) {
        for (series, others) in other.flows {
            let intervals = self.flows.entry(series).or_default();
            for (start_us, sum) in others {
                let known = intervals.entry(start_us).or_default();
                known.add(sum.end_us, sum.count);
            }
        }
    }

    /// What uplinks sent past their hooks.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = (&Series, Vec<Unseen>)> {
        let sends = |series: &Series| {
            series.vantage == Vantage::Uplink && series.direction == Some(Direction::Egress)
        };
        let uplinks = self.ledger.iter().filter(move |(series, _)| sends(series));
        uplinks.map(|(series, entries)| (series, balance::unseen(series, &sorted(entries))))
    }

    /// Draws the balance of all that was taken in.
    pub fn report(&self) -> BooksReport {
        let mut accounts = Vec::new();
        let mut watches = Vec::new();
        let mut gaps = Vec::new();
        let mut flow_sums = Vec::new();
        for (series, entries) in &self.ledger {
            let entries = sorted(entries);
            let (watch, series_gaps) = coverage::watch(series, &entries);
            watches.push(watch);
            gaps.extend(series_gaps);
            if series.vantage == Vantage::Uplink {
                let dropped = self.spool_dropped_rows(&series.node);
                accounts.push(balance::account(series, &entries).with_dropped(dropped));
            }
            if counts_flows(series.vantage) {
                let flows = self.flows.get(series);
                let dropped = self.spool_dropped_rows(&series.node);
                flow_sums.push(flow_sum(series, &entries, flows, dropped));
            }
        }
        let unledgered = self
            .flows
            .iter()
            .filter(|(series, _)| !self.ledger.contains_key(series));
        flow_sums.extend(unledgered.map(|(series, flows)| {
            let dropped = self.spool_dropped_rows(&series.node);
            flow_sum(series, &[], Some(flows), dropped)
        }));
        flow_sums.sort_by(|one, other| one.series.cmp(&other.series));
        let balances = accounts.iter().map(|account| account.balance);
        let balances = balances.chain(flow_sums.iter().map(|sum| sum.balance));
        let balance = balances.max().unwrap_or(Balance::Inconclusive);
        let losses = self.losses.values().cloned().collect();
        BooksReport {
            balance,
            accounts,
            flow_sums,
            watches,
            gaps,
            losses,
        }
    }
}

impl Books {
    fn spool_dropped_rows(&self, node: &str) -> i64 {
        let of_node = self.losses.values().filter(|loss| loss.node == node);
        of_node.map(|loss| loss.spool_dropped_rows).sum()
    }
}

/// Whether what a vantage counts stands in `flows`.
fn counts_flows(vantage: Vantage) -> bool {
    matches!(vantage, Vantage::Pod | Vantage::Uplink | Vantage::Tunnel)
}

fn sorted(entries: &[Entry]) -> Vec<Entry> {
    let mut entries = entries.to_vec();
    entries.sort_by_key(|entry| (entry.start_us, entry.end_us));
    entries
}

impl Entry {
    fn of(row: &LedgerRow) -> Self {
        let mut passed = row.counted;
        for count in [row.overflow, row.non_ip, row.ip_unparsed] {
            add_count(&mut passed, count);
        }
        let link_header_bytes = i64::from(row.link_header_bytes);
        let leaves_out =
            row.virtual_function.is_some() && row.direction == Some(Direction::Ingress);
        Self {
            start_us: row.interval_start_us,
            end_us: row.interval_end_us,
            counted: row.counted,
            passed,
            link_header_bytes,
            headers_left_out_bytes: i64::from(leaves_out) * passed.buffers * link_header_bytes,
            kernel: row.kernel_packets.zip(row.kernel_bytes),
            boundary: (
                row.boundary_packets.unwrap_or_default(),
                row.boundary_bytes.unwrap_or_default(),
            ),
            dropped_behind: row.dropped_behind_packets,
        }
    }
}
