//! The `profile` table: samples of what the processors were running, by kernel stack.
//!
//! One row for each stack, cgroup and command that was met in an interval. Sampling is off unless
//! asked for. Samples that did not fit the kernel's buffer stand in `ledger`, vantage `profile`,
//! `ring_drops`.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::columns::{BatchReader, BatchWriter, at};
use crate::record::{Named, Record, SchemaError};

/// What a sample stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileEvent {
    /// Hardware cycles.
    Cycles,
    /// The CPU clock: a sample stands for an equal share of CPU time.
    CpuClock,
}

/// What the processor was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileMode {
    /// In the kernel.
    Kernel,
    /// In user space.
    User,
    /// In the idle task, outside softirqs.
    Idle,
}

/// One row of `profile`. Kernel-wide: nodes that share a boot id say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// Start of the interval, UTC microseconds.
    pub interval_start_us: i64,
    /// End of the interval, UTC microseconds.
    pub interval_end_us: i64,
    /// Name of the node.
    pub node: String,
    /// The kernel's boot id: rows of one kernel share it, whatever their node.
    pub boot_id: String,
    /// What a sample stands for.
    pub event: ProfileEvent,
    /// Samples a second and CPU that were asked for.
    pub frequency_hz: i32,
    /// What the processor was doing.
    pub mode: ProfileMode,
    /// cgroup v2 id, where the kernel gives it.
    pub cgroup_id: Option<i64>,
    /// Path below the node's cgroup root, where it could be found.
    pub cgroup_path: Option<String>,
    /// UID of the pod, where the path names one.
    pub pod_uid: Option<String>,
    /// Container, where the path names one.
    pub container_id: Option<String>,
    /// The task's command.
    pub command: String,
    /// Kernel functions, outermost first, joined by `;`, innermost last; a function of an eBPF program is
    /// `bpf_prog_<tag>_<name>`. Empty in user space, `[hidden]` where the kernel hides its symbols.
    pub stack: String,
    /// Samples.
    pub samples: i64,
}

impl Record for ProfileRow {
    const TABLE: &'static str = "profile";
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
        let event = read.named("event")?;
        let frequency_hz = read.int32("frequency_hz")?;
        let mode = read.named("mode")?;
        let cgroup_id = read.optional_int64("cgroup_id")?;
        let cgroup_path = read.optional_text("cgroup_path")?;
        let pod_uid = read.optional_text("pod_uid")?;
        let container_id = read.optional_text("container_id")?;
        let command = read.text("command")?;
        let stack = read.text("stack")?;
        let samples = read.int64("samples")?;
        let row = |row: usize| Self {
            interval_start_us: interval_start_us[row],
            interval_end_us: interval_end_us[row],
            node: node.at(row).to_owned(),
            boot_id: boot_id.at(row).to_owned(),
            event: event[row],
            frequency_hz: frequency_hz[row],
            mode: mode[row],
            cgroup_id: at(cgroup_id, row),
            cgroup_path: cgroup_path.owned(row),
            pod_uid: pod_uid.owned(row),
            container_id: container_id.owned(row),
            command: command.at(row).to_owned(),
            stack: stack.at(row).to_owned(),
            samples: samples[row],
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

fn columns(rows: &[ProfileRow]) -> BatchWriter<'_, ProfileRow> {
    BatchWriter::new(ProfileRow::TABLE, rows)
        .time("interval_start_us", |row| row.interval_start_us)
        .time("interval_end_us", |row| row.interval_end_us)
        .text("node", |row| &row.node)
        .text("boot_id", |row| &row.boot_id)
        .named("event", |row| row.event)
        .int32("frequency_hz", |row| row.frequency_hz)
        .named("mode", |row| row.mode)
        .optional_int64("cgroup_id", |row| row.cgroup_id)
        .optional_text("cgroup_path", |row| row.cgroup_path.as_deref())
        .optional_text("pod_uid", |row| row.pod_uid.as_deref())
        .optional_text("container_id", |row| row.container_id.as_deref())
        .text("command", |row| &row.command)
        .text("stack", |row| &row.stack)
        .int64("samples", |row| row.samples)
}

impl Named for ProfileEvent {
    const NAMES: &'static [(Self, &'static str)] =
        &[(Self::Cycles, "cycles"), (Self::CpuClock, "cpu_clock")];
}

impl Named for ProfileMode {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Kernel, "kernel"),
        (Self::User, "user"),
        (Self::Idle, "idle"),
    ];
}
