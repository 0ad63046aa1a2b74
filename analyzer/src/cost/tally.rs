//! What is kept of a run's rows: sums by whom they charge, never the rows themselves.
//!
//! Kernel-wide rows are kept by interval, some hundred bytes each, since only when all are read is
//! it known which node's count (see [`super::kernel`]).

use std::collections::{BTreeMap, BTreeSet};

use trace_schema::cpu::CpuRow;
use trace_schema::ledger::Vantage;

use super::kernel::Span;
use super::report::{CycleBasis, Memory, Traffic};
use super::span::Weighted;
use super::{Part, RunScope};
use crate::profile::Profile;

/// Processor time, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Charge {
    pub cpu_ns: Weighted,
    pub cycles: Weighted,
    pub events: Weighted,
}

/// Packets, buffers and bytes, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrafficSum {
    packets: Weighted,
    bytes: Weighted,
    buffers: Weighted,
}

/// Whom a task's time is charged to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    pub node: String,
    pub part: Part,
    pub name: String,
    pub is_pod: bool,
}

/// A node and the kernel that it ran on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub boot_id: String,
    pub node: String,
}

/// What one interval of a kernel holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WideInterval {
    /// Softirqs by vector: time, cycles, runs.
    pub vectors: BTreeMap<String, (Part, i64, i64, i64)>,
    /// Idle time.
    pub idle_ns: i64,
}

/// What is kept of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeTally {
    pub sources: BTreeSet<CycleBasis>,
    pub wide: BTreeMap<Span, WideInterval>,
    /// Intervals in which its processor time was watched.
    pub watched: BTreeSet<Span>,
    pub tasks: Charge,
    pub outside: Charge,
    /// Tasks of both kinds in each interval.
    pub seen: BTreeMap<Span, SeenTasks>,
    /// Intervals that the books of its uplinks cover.
    pub uplinks_watched: BTreeSet<Span>,
    /// Intervals that the books of its pods' sockets cover.
    pub pods_watched: BTreeSet<Span>,
    /// Intervals in which its probe took samples.
    pub sampled: BTreeSet<Span>,
    pub cpus: Option<i32>,
    /// Time that the hypervisor took from the machine's processors, where the kernel tells it.
    pub stolen: Option<Weighted>,
    pub memory: Watermark,
    pub uplinks: TrafficSum,
}

/// Tasks that a node saw in one interval: its own, and those outside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SeenTasks {
    pub own: Amounts,
    pub outside: Amounts,
}

/// Time, cycles and switches as rows tell them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    pub cpu_ns: i64,
    pub cycles: i64,
    pub events: i64,
}

/// What was lost at a node's vantage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossSum {
    pub overflow: i64,
    pub ring_drops: i64,
    pub hook_misses: i64,
}

/// What is kept of a run.
#[derive(Clone, Debug)]
pub(super) struct RunTally {
    pub scope: RunScope,
    pub nodes: BTreeMap<Place, NodeTally>,
    pub subjects: BTreeMap<Subject, Charge>,
    pub programs: Option<Charge>,
    pub memory: BTreeMap<Subject, Watermark>,
    pub part_memory: BTreeMap<(Part, String), Watermark>,
    pub client: TrafficSum,
    pub has_client: bool,
    /// Nodes at whose pod hooks the client's packets were counted.
    pub client_nodes: BTreeSet<Place>,
    /// Responses that a Gateway's data plane asked for, and all.
    pub responses: (Weighted, Weighted),
    pub losses: BTreeMap<(String, Vantage), LossSum>,
    pub profile: Profile,
    /// Samples in user space, by whose they are.
    pub user_samples: BTreeMap<Part, u64>,
}

/// Mean and peak of a memory that several rows of an interval make up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Watermark {
    interval: Option<(Span, i64)>,
    bytes: i64,
    sum: Weighted,
    weights: i64,
    peak_bytes: i64,
}

impl Charge {
    pub fn add(&mut self, row: &CpuRow, weight: i64) {
        self.add_raw(row.cpu_ns, row.cycles.unwrap_or(0), row.events, weight);
    }

    pub fn add_raw(&mut self, cpu_ns: i64, cycles: i64, events: i64, weight: i64) {
        self.cpu_ns.add(cpu_ns, weight);
        self.cycles.add(cycles, weight);
        self.events.add(events, weight);
    }

    pub fn add_amounts(&mut self, amounts: Amounts, weight: i64) {
        self.add_raw(amounts.cpu_ns, amounts.cycles, amounts.events, weight);
    }

    pub fn join(&mut self, other: Self) {
        self.cpu_ns.join(other.cpu_ns);
        self.cycles.join(other.cycles);
        self.events.join(other.events);
    }

    pub fn less(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.less(other.cpu_ns),
            cycles: self.cycles.less(other.cycles),
            events: self.events.less(other.events),
        }
    }
}

impl Amounts {
    fn add(&mut self, row: &CpuRow) {
        self.cpu_ns += row.cpu_ns;
        self.cycles += row.cycles.unwrap_or(0);
        self.events += row.events;
    }
}

impl TrafficSum {
    pub fn add(&mut self, traffic: Traffic, weight: i64) {
        self.packets.add(traffic.packets, weight);
        self.bytes.add(traffic.bytes, weight);
        self.buffers.add(traffic.buffers, weight);
    }

    pub fn join(&mut self, other: Self) {
        self.packets.join(other.packets);
        self.bytes.join(other.bytes);
        self.buffers.join(other.buffers);
    }

    pub fn total(&self) -> Traffic {
        Traffic {
            packets: self.packets.amount(),
            bytes: self.bytes.amount(),
            buffers: self.buffers.amount(),
        }
    }
}

impl WideInterval {
    pub fn add(&mut self, vector: &str, part: Part, row: &CpuRow) {
        let known = self.vectors.entry(vector.to_owned());
        let sums = known.or_insert((part, 0, 0, 0));
        sums.1 += row.cpu_ns;
        sums.2 += row.cycles.unwrap_or(0);
        sums.3 += row.events;
    }
}

impl Watermark {
    /// Takes in a row; rows of one interval are added up, so they must come together.
    pub fn add(&mut self, interval: Span, bytes: i64, weight: i64) {
        if self.interval.is_none_or(|(open, _)| open != interval) {
            self.close();
            self.interval = Some((interval, weight));
        }
        self.bytes += bytes;
    }

    /// Mean and peak; none where no row came.
    pub fn memory(mut self) -> Option<Memory> {
        self.close();
        if self.weights == 0 {
            return None;
        }
        let mean = self.sum.amount() as f64 * 1e6 / self.weights as f64;
        Some(Memory {
            mean_bytes: mean.round() as i64,
            peak_bytes: self.peak_bytes,
        })
    }

    fn close(&mut self) {
        if let Some((_, weight)) = self.interval.take() {
            self.sum.add(self.bytes, weight);
            self.weights += weight;
            self.peak_bytes = self.peak_bytes.max(self.bytes);
            self.bytes = 0;
        }
    }
}

impl NodeTally {
    /// Takes in a row of its own tasks.
    pub fn see_own(&mut self, interval: Span, row: &CpuRow) {
        self.seen.entry(interval).or_default().own.add(row);
    }

    /// Takes in a row of tasks outside it.
    pub fn see_outside(&mut self, interval: Span, row: &CpuRow) {
        self.seen.entry(interval).or_default().outside.add(row);
    }

    /// What its probe counts as cycles.
    pub fn basis(&self) -> CycleBasis {
        CycleBasis::joined(self.sources.iter().copied())
    }
}
