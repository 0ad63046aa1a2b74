//! The `cpu` table: where the processors' time went.
//!
//! Time between two switches of tasks is charged to the leaving task's cgroup and command, time
//! between a network softirq's entry and exit to its vector, and taken out of the interrupted task:
//! nothing counts twice. So over one kernel and interval `cgroup + outside + softirq + idle` is the
//! number of CPUs times the interval's length. `program` rows are part of the others and in no sum.
//! Kernel-wide rows of several nodes that share a boot id say the same and are counted once.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::columns::{BatchReader, BatchWriter, at};
use crate::record::{Named, Record, SchemaError};

/// Whose time a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuScope {
    /// Tasks of one cgroup and command; softirq time that fell on them is taken out.
    Cgroup,
    /// A softirq vector, whichever task it interrupted. Kernel-wide.
    Softirq,
    /// The idle task, softirq time taken out. Kernel-wide, and no cycles.
    Idle,
    /// Tasks outside the node's own cgroup root, where several nodes share a kernel.
    Outside,
    /// One of the probe's own eBPF programs with its calls, extrapolated from a part of the interval;
    /// or [`MEASURING`]. Its time lies within that of the other scopes.
    Program,
}

/// Name of the row that holds what the kernel's statistics cost the probe's own runs, in the part of the
/// interval that was measured.
pub const MEASURING: &str = "[measuring]";

/// What `cycles` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleSource {
    /// The processor's own cycle counter.
    Hardware,
    /// CPU time times the rate of the time-stamp counter: not the processor's cycles.
    Reference,
    /// A software event counted in the place of cycles, to try the hardware's path.
    Software,
    /// No cycles, CPU time alone.
    None,
}

/// One row of `cpu`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuRow {
    /// Start of the interval, UTC microseconds.
    pub interval_start_us: i64,
    /// End of the interval, UTC microseconds.
    pub interval_end_us: i64,
    /// Name of the node.
    pub node: String,
    /// The kernel's boot id: rows of one kernel share it, whatever their node.
    pub boot_id: String,
    /// Whose time it is.
    pub scope: CpuScope,
    /// cgroup v2 id (scope `cgroup`); absent in the row of what the full map of accounts turned away.
    pub cgroup_id: Option<i64>,
    /// Path below the node's cgroup root, where it could be found (scope `cgroup`).
    pub cgroup_path: Option<String>,
    /// UID of the pod, where the path names one.
    pub pod_uid: Option<String>,
    /// Container, where the path names one.
    pub container_id: Option<String>,
    /// The task's command as the kernel keeps it, 15 bytes at most; the program's name or
    /// [`MEASURING`] (scope `program`).
    pub command: Option<String>,
    /// `net_rx` or `net_tx` (scope `softirq`).
    pub vector: Option<String>,
    /// How often it was charged: switches away, softirq runs, program runs (extrapolated, but for
    /// [`MEASURING`]).
    pub events: i64,
    /// CPU time, nanoseconds.
    pub cpu_ns: i64,
    /// Cycles as `cycle_source` counts them; absent where it counts none, and for idle time.
    pub cycles: Option<i64>,
    /// What `cycles` counts.
    pub cycle_source: CycleSource,
}

impl Record for CpuRow {
    const TABLE: &'static str = "cpu";
    const TIME_COLUMN: &'static str = "interval_start_us";

    fn time_us(&self) -> i64 {
        self.interval_start_us
    }

    fn arrow_schema() -> SchemaRef {
        columns(&[]).schema()
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        columns(rows).finish()
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let read = BatchReader::new(Self::TABLE, batch);
        let interval_start_us = read.time("interval_start_us")?;
        let interval_end_us = read.time("interval_end_us")?;
        let node = read.text("node")?;
        let boot_id = read.text("boot_id")?;
        let scope = read.named("scope")?;
        let cgroup_id = read.optional_int64("cgroup_id")?;
        let cgroup_path = read.optional_text("cgroup_path")?;
        let pod_uid = read.optional_text("pod_uid")?;
        let container_id = read.optional_text("container_id")?;
        let command = read.optional_text("command")?;
        let vector = read.optional_text("vector")?;
        let events = read.int64("events")?;
        let cpu_ns = read.int64("cpu_ns")?;
        let cycles = read.optional_int64("cycles")?;
        let cycle_source = read.named("cycle_source")?;
        let row = |row: usize| Self {
            interval_start_us: interval_start_us[row],
            interval_end_us: interval_end_us[row],
            node: node.at(row).to_owned(),
            boot_id: boot_id.at(row).to_owned(),
            scope: scope[row],
            cgroup_id: at(cgroup_id, row),
            cgroup_path: cgroup_path.owned(row),
            pod_uid: pod_uid.owned(row),
            container_id: container_id.owned(row),
            command: command.owned(row),
            vector: vector.owned(row),
            events: events[row],
            cpu_ns: cpu_ns[row],
            cycles: at(cycles, row),
            cycle_source: cycle_source[row],
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

fn columns(rows: &[CpuRow]) -> BatchWriter<'_, CpuRow> {
    BatchWriter::new(CpuRow::TABLE, rows)
        .time("interval_start_us", |row| row.interval_start_us)
        .time("interval_end_us", |row| row.interval_end_us)
        .text("node", |row| &row.node)
        .text("boot_id", |row| &row.boot_id)
        .named("scope", |row| row.scope)
        .optional_int64("cgroup_id", |row| row.cgroup_id)
        .optional_text("cgroup_path", |row| row.cgroup_path.as_deref())
        .optional_text("pod_uid", |row| row.pod_uid.as_deref())
        .optional_text("container_id", |row| row.container_id.as_deref())
        .optional_text("command", |row| row.command.as_deref())
        .optional_text("vector", |row| row.vector.as_deref())
        .int64("events", |row| row.events)
        .int64("cpu_ns", |row| row.cpu_ns)
        .optional_int64("cycles", |row| row.cycles)
        .named("cycle_source", |row| row.cycle_source)
}

impl Named for CpuScope {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Cgroup, "cgroup"),
        (Self::Softirq, "softirq"),
        (Self::Idle, "idle"),
        (Self::Outside, "outside"),
        (Self::Program, "program"),
    ];
}

impl Named for CycleSource {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Hardware, "hardware"),
        (Self::Reference, "reference"),
        (Self::Software, "software"),
        (Self::None, "none"),
    ];
}
