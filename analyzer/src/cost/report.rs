//! What `cost` reports: the types are the JSON, with their units in the names.
//!
//! `cycles` are absent where nothing counted any, and where sources differ they are not added:
//! the processors' own cycles and reference cycles are different units. Shares are parts of what was
//! charged. What has no denominator is absent, never zero.

use serde::Serialize;

use super::Part;
use super::components::Components;
use crate::stats::mean::Estimate;
use crate::verdict::{Moment, Outcome};
use trace_schema::cpu::CycleSource;
use trace_schema::ledger::Vantage;

/// The cost of the runs of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostReport {
    /// Pass, or inconclusive where something is missing that could change a number by more than a
    /// hundredth.
    pub result: Outcome,
    /// What cycles are in all runs.
    pub cycle_source: CycleBasis,
    /// What cannot be told apart, and what else to know.
    pub notes: Vec<String>,
    /// Means over the completed runs of a case, by name.
    pub cases: Vec<CaseCost>,
    /// Every run, by start.
    pub runs: Vec<RunCost>,
}

/// What cycles are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleBasis {
    /// The processors' own counter.
    Hardware,
    /// CPU time times the rate of the time-stamp counter.
    Reference,
    /// A software event in the place of cycles: a test of the hardware's path.
    Software,
    /// Nobody counted cycles.
    None,
    /// Sources differ: no cycles are added up.
    Mixed,
}

/// The cost of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunCost {
    /// Id of the run; empty for a dataset without runs.
    pub run: String,
    /// Its case.
    pub case: String,
    /// Start of what was measured.
    pub from: Moment,
    /// End of what was measured.
    pub to: Moment,
    /// How long that is.
    pub seconds: f64,
    /// Whether the load tool ran to its end: no mean uses a run that did not.
    pub completed: bool,
    /// Pass or inconclusive.
    pub result: Outcome,
    /// Why it is inconclusive.
    pub inconclusive_because: Vec<String>,
    /// What else to know.
    pub notes: Vec<String>,
    /// What cycles are.
    pub cycle_source: CycleBasis,
    /// What costs are divided by.
    pub denominators: Denominators,
    /// All that was charged, idle time left out.
    pub charged: Cost,
    /// The parts of it; they add up to it.
    pub parts: Vec<PartCost>,
    /// Of which the probe's own programs in the kernel, with what it takes to measure them; absent
    /// unless measured.
    pub probe_programs: Option<Cost>,
    /// Idle time beside it.
    pub idle_cpu_ns: Option<i64>,
    /// By pod, or what else was charged, the dearest first.
    pub subjects: Vec<SubjectCost>,
    /// By node, without what is kernel-wide.
    pub nodes: Vec<NodeCost>,
    /// The books of each kernel's processor time.
    pub books: Vec<KernelBooks>,
    /// What was lost.
    pub losses: Vec<CostLoss>,
    /// Where the time went by component of the network stack; absent without a profile.
    pub profile: Option<Components>,
}

/// Processor time with its ratios.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// CPU time.
    pub cpu_ns: i64,
    /// Cycles, as the run's `cycle_source` counts them.
    pub cycles: Option<i64>,
    /// Share of the time that was charged.
    pub share: Option<f64>,
    /// By the packets at the nodes' uplinks.
    pub per_wire_packet: PerUnit,
    /// By the sk_buffs that carried them there.
    pub per_buffer: PerUnit,
    /// By their layer-3 bytes.
    pub per_byte: PerUnit,
    /// By the client pod's packets, each once however many uplinks it passed.
    pub per_client_packet: PerUnit,
    /// By HTTP responses.
    pub per_response: PerUnit,
    /// CPU seconds by 10⁹ bits at the uplinks.
    pub cpu_seconds_per_gbit: Option<f64>,
    /// CPU seconds by 10⁹ bits of the client pod.
    pub cpu_seconds_per_client_gbit: Option<f64>,
}

/// A cost by one unit of a denominator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PerUnit {
    /// CPU time.
    pub cpu_ns: Option<f64>,
    /// Cycles.
    pub cycles: Option<f64>,
}

/// What costs are divided by.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Denominators {
    /// Packets that passed the uplinks' hooks, both directions, all nodes: a packet that passes
    /// several uplinks counts at each.
    pub uplinks: Traffic,
    /// Packets of the client pod's sockets, both directions; absent where no pod is named or none
    /// was seen.
    pub client_pod: Option<Traffic>,
    /// HTTP responses that a Gateway's data plane got from its backends, else those of all pods;
    /// absent where there were none.
    pub responses: Option<i64>,
    /// What each of these is, in words.
    pub described: Vec<String>,
}

/// Packets, buffers and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Packets on the wire.
    pub packets: i64,
    /// Layer-3 bytes on the wire.
    pub bytes: i64,
    /// sk_buffs: fewer under GSO and GRO.
    pub buffers: i64,
}

/// Memory over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Mean of the working set; for a node of the memory in use.
    pub mean_bytes: i64,
    /// Its highest value at the end of an interval; of several nodes, the sum of each one's highest.
    pub peak_bytes: i64,
}

/// A part of the cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartCost {
    /// Which.
    pub part: Part,
    /// Its cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// Its pods' and services' memory, where it was recorded.
    pub memory: Option<Memory>,
}

/// One pod, service, vector or process that was charged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SubjectCost {
    /// Node, unless it is kernel-wide.
    pub node: Option<String>,
    /// `namespace/name` of a pod, else a vector, unit or command.
    pub name: String,
    /// Whether it is a pod.
    pub is_pod: bool,
    /// Its part.
    pub part: Part,
    /// Its cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// Its memory, where it was recorded.
    pub memory: Option<Memory>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeCost {
    /// Name.
    pub node: String,
    /// Boot id of its kernel.
    pub boot_id: String,
    /// What its probe counts as cycles.
    pub cycle_source: CycleBasis,
    /// What its tasks were charged, softirqs not included.
    pub tasks: Cost,
    /// Softirq time of its kernel: of the whole machine where nodes share one.
    pub softirqs: Cost,
    /// Nodes of the dataset on its kernel, itself included.
    pub nodes_on_kernel: usize,
    /// Packets at its uplinks.
    pub uplinks: Traffic,
    /// Memory in use: of the whole machine where nodes share one.
    pub memory: Option<Memory>,
}

/// The books of a kernel's processor time: tasks + outside + softirqs + idle against CPUs × time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelBooks {
    /// Boot id.
    pub boot_id: String,
    /// The node whose rows these are; several, one after the other, where another took over.
    pub node: String,
    /// Tasks of these nodes.
    pub tasks_cpu_ns: i64,
    /// Tasks outside them.
    pub outside_cpu_ns: i64,
    /// Softirqs.
    pub softirq_cpu_ns: i64,
    /// Idle.
    pub idle_cpu_ns: i64,
    /// CPUs; absent without the table `resources`.
    pub cpus: Option<i32>,
    /// CPUs × the time covered.
    pub capacity_cpu_ns: Option<i64>,
    /// Time that the hypervisor took from the CPUs, by /proc/stat's steal: part of what is charged to
    /// whatever was running or idle. Of nodes on one kernel, what that node says which says most; absent
    /// where none says. 0 as well where the hypervisor does not tell.
    pub stolen_cpu_ns: Option<i64>,
    /// What stands in no row, as a share of CPUs × time; negative where more was charged.
    pub residual_share: Option<f64>,
    /// How much of the run its rows cover.
    pub covered_share: f64,
}

impl KernelBooks {
    /// At most so much of what was charged the hypervisor took, as a share; absent where it is not known
    /// or nothing was charged.
    pub fn stolen_share(&self) -> Option<f64> {
        let charged_ns = self.tasks_cpu_ns + self.outside_cpu_ns + self.softirq_cpu_ns;
        let stolen_ns = self.stolen_cpu_ns.filter(|_| charged_ns > 0)?;
        // A processor that is woken and waits is idle, so more may have been taken than was charged.
        Some((stolen_ns as f64 / charged_ns as f64).min(1.0))
    }
}

/// Observations that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CostLoss {
    /// Node.
    pub node: String,
    /// Vantage.
    pub vantage: Vantage,
    /// What full maps turned away: charges at `cpu`, samples at `profile`, packets elsewhere.
    pub overflow: i64,
    /// Records that did not fit a buffer.
    pub ring_drops: i64,
    /// Runs of a program that the kernel skipped.
    pub hook_misses: i64,
}

/// Means over the runs of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseCost {
    /// Name of the case.
    pub case: String,
    /// Its completed runs.
    pub runs: Vec<String>,
    /// Those of them that are inconclusive: they count in the means all the same.
    pub inconclusive_runs: Vec<String>,
    /// What cycles are.
    pub cycle_source: CycleBasis,
    /// All that was charged.
    pub charged: MeanCost,
    /// The parts.
    pub parts: Vec<MeanPart>,
}

/// A part's means.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeanPart {
    /// Which.
    pub part: Part,
    /// Its means.
    #[serde(flatten)]
    pub cost: MeanCost,
}

/// Means of a cost over runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MeanCost {
    /// CPU time.
    pub cpu_ns: Mean,
    /// Cycles by packet at the uplinks.
    pub cycles_per_wire_packet: Mean,
    /// CPU time by packet at the uplinks.
    pub cpu_ns_per_wire_packet: Mean,
    /// Cycles by sk_buff there.
    pub cycles_per_buffer: Mean,
    /// CPU time by sk_buff there.
    pub cpu_ns_per_buffer: Mean,
    /// Cycles by layer-3 byte there.
    pub cycles_per_byte: Mean,
    /// CPU time by layer-3 byte there.
    pub cpu_ns_per_byte: Mean,
    /// Cycles by packet of the client pod.
    pub cycles_per_client_packet: Mean,
    /// CPU time by packet of the client pod.
    pub cpu_ns_per_client_packet: Mean,
    /// Cycles by HTTP response.
    pub cycles_per_response: Mean,
    /// CPU time by HTTP response.
    pub cpu_ns_per_response: Mean,
    /// CPU seconds by 10⁹ bits at the uplinks.
    pub cpu_seconds_per_gbit: Mean,
    /// CPU seconds by 10⁹ bits of the client pod.
    pub cpu_seconds_per_client_gbit: Mean,
}

/// A mean over runs, with its t interval at 95 % where there are two or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Mean {
    /// The mean; absent where a run has no such figure.
    pub value: Option<f64>,
    /// How sure it is.
    pub estimate: Option<Estimate>,
}

impl CycleBasis {
    /// The words that tables use.
    pub fn title(self) -> &'static str {
        match self {
            Self::Hardware => "cycles",
            Self::Reference => "reference cycles",
            Self::Software => "software events",
            Self::None => "no cycles",
            Self::Mixed => "mixed sources",
        }
    }

    /// Whether figures of this kind can be added up and divided.
    pub fn counts(self) -> bool {
        matches!(self, Self::Hardware | Self::Reference | Self::Software)
    }

    /// What two sources are together; nothing yet joins with any.
    pub(super) fn joined(sources: impl IntoIterator<Item = Self>) -> Self {
        let mut all = sources.into_iter();
        let Some(first) = all.next() else {
            return Self::None;
        };
        if all.all(|other| other == first) {
            first
        } else {
            Self::Mixed
        }
    }
}

impl From<CycleSource> for CycleBasis {
    fn from(source: CycleSource) -> Self {
        match source {
            CycleSource::Hardware => Self::Hardware,
            CycleSource::Reference => Self::Reference,
            CycleSource::Software => Self::Software,
            CycleSource::None => Self::None,
        }
    }
}
