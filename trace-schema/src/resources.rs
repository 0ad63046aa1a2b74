//! The `resources` table: memory, CPU time and pressure of nodes and containers, as the kernel reports them.
//!
//! Memory is as of the interval's end, everything else what the interval added. What a kernel or
//! cgroup hierarchy does not offer is absent, never zero. Rows of scope `node` are kernel-wide:
//! nodes that share a boot id say the same, and are counted once.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::columns::{BatchReader, BatchWriter, at};
use crate::record::{Named, Record, SchemaError};

/// Whose resources a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceScope {
    /// The machine, from /proc. Kernel-wide.
    Node,
    /// A container of a pod.
    Container,
    /// A cgroup that holds no container, such as a service of the node.
    Cgroup,
}

/// One row of `resources`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRow {
    /// Start of the interval, UTC microseconds.
    pub interval_start_us: i64,
    /// End of the interval, UTC microseconds.
    pub interval_end_us: i64,
    /// Name of the node.
    pub node: String,
    /// The kernel's boot id: rows of one kernel share it, whatever their node.
    pub boot_id: String,
    /// Whose resources they are.
    pub scope: ResourceScope,
    /// cgroup v2 id; absent for the node.
    pub cgroup_id: Option<i64>,
    /// Path below the node's cgroup root; absent for the node.
    pub cgroup_path: Option<String>,
    /// UID of the pod, where the path names one.
    pub pod_uid: Option<String>,
    /// Container, where the path names one.
    pub container_id: Option<String>,
    /// CPUs online (scope `node`).
    pub cpus: Option<i32>,
    /// CPU time used, nanoseconds: cpu.stat's usage_usec, or all of /proc/stat's but idle, iowait and steal.
    pub cpu_ns: Option<i64>,
    /// Of which in user space.
    pub cpu_user_ns: Option<i64>,
    /// Of which in the kernel, interrupts not included (scope `node`).
    pub cpu_system_ns: Option<i64>,
    /// Time in softirqs as /proc/stat has it, in ticks (scope `node`).
    pub cpu_softirq_ns: Option<i64>,
    /// Time that the hypervisor took (scope `node`).
    pub cpu_steal_ns: Option<i64>,
    /// Time that a CPU limit held the group back.
    pub cpu_throttled_ns: Option<i64>,
    /// Memory in use: memory.current, or MemTotal − MemAvailable.
    pub memory_bytes: Option<i64>,
    /// `memory_bytes` less inactive file pages, as the kubelet reports it; absent for the node.
    pub memory_working_set_bytes: Option<i64>,
    /// memory.max where there is a limit; MemTotal for the node.
    pub memory_limit_bytes: Option<i64>,
    /// Time in which some task waited for a CPU (PSI `some`), microseconds.
    pub cpu_some_pressure_us: Option<i64>,
    /// Time in which some task waited for memory.
    pub memory_some_pressure_us: Option<i64>,
    /// Time in which all tasks waited for memory.
    pub memory_full_pressure_us: Option<i64>,
    /// Time in which some task waited for storage.
    pub io_some_pressure_us: Option<i64>,
}

impl Record for ResourceRow {
    const TABLE: &'static str = "resources";
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
        let cpus = read.optional_int32("cpus")?;
        let cpu_ns = read.optional_int64("cpu_ns")?;
        let cpu_user_ns = read.optional_int64("cpu_user_ns")?;
        let cpu_system_ns = read.optional_int64("cpu_system_ns")?;
        let cpu_softirq_ns = read.optional_int64("cpu_softirq_ns")?;
        let cpu_steal_ns = read.optional_int64("cpu_steal_ns")?;
        let cpu_throttled_ns = read.optional_int64("cpu_throttled_ns")?;
        let memory_bytes = read.optional_int64("memory_bytes")?;
        let memory_working_set_bytes = read.optional_int64("memory_working_set_bytes")?;
        let memory_limit_bytes = read.optional_int64("memory_limit_bytes")?;
        let cpu_some_pressure_us = read.optional_int64("cpu_some_pressure_us")?;
        let memory_some_pressure_us = read.optional_int64("memory_some_pressure_us")?;
        let memory_full_pressure_us = read.optional_int64("memory_full_pressure_us")?;
        let io_some_pressure_us = read.optional_int64("io_some_pressure_us")?;
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
            cpus: at(cpus, row),
            cpu_ns: at(cpu_ns, row),
            cpu_user_ns: at(cpu_user_ns, row),
            cpu_system_ns: at(cpu_system_ns, row),
            cpu_softirq_ns: at(cpu_softirq_ns, row),
            cpu_steal_ns: at(cpu_steal_ns, row),
            cpu_throttled_ns: at(cpu_throttled_ns, row),
            memory_bytes: at(memory_bytes, row),
            memory_working_set_bytes: at(memory_working_set_bytes, row),
            memory_limit_bytes: at(memory_limit_bytes, row),
            cpu_some_pressure_us: at(cpu_some_pressure_us, row),
            memory_some_pressure_us: at(memory_some_pressure_us, row),
            memory_full_pressure_us: at(memory_full_pressure_us, row),
            io_some_pressure_us: at(io_some_pressure_us, row),
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

fn columns(rows: &[ResourceRow]) -> BatchWriter<'_, ResourceRow> {
    BatchWriter::new(ResourceRow::TABLE, rows)
        .time("interval_start_us", |row| row.interval_start_us)
        .time("interval_end_us", |row| row.interval_end_us)
        .text("node", |row| &row.node)
        .text("boot_id", |row| &row.boot_id)
        .named("scope", |row| row.scope)
        .optional_int64("cgroup_id", |row| row.cgroup_id)
        .optional_text("cgroup_path", |row| row.cgroup_path.as_deref())
        .optional_text("pod_uid", |row| row.pod_uid.as_deref())
        .optional_text("container_id", |row| row.container_id.as_deref())
        .optional_int32("cpus", |row| row.cpus)
        .optional_int64("cpu_ns", |row| row.cpu_ns)
        .optional_int64("cpu_user_ns", |row| row.cpu_user_ns)
        .optional_int64("cpu_system_ns", |row| row.cpu_system_ns)
        .optional_int64("cpu_softirq_ns", |row| row.cpu_softirq_ns)
        .optional_int64("cpu_steal_ns", |row| row.cpu_steal_ns)
        .optional_int64("cpu_throttled_ns", |row| row.cpu_throttled_ns)
        .optional_int64("memory_bytes", |row| row.memory_bytes)
        .optional_int64("memory_working_set_bytes", |row| {
            row.memory_working_set_bytes
        })
        .optional_int64("memory_limit_bytes", |row| row.memory_limit_bytes)
        .optional_int64("cpu_some_pressure_us", |row| row.cpu_some_pressure_us)
        .optional_int64("memory_some_pressure_us", |row| row.memory_some_pressure_us)
        .optional_int64("memory_full_pressure_us", |row| row.memory_full_pressure_us)
        .optional_int64("io_some_pressure_us", |row| row.io_some_pressure_us)
}

impl Named for ResourceScope {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Node, "node"),
        (Self::Container, "container"),
        (Self::Cgroup, "cgroup"),
    ];
}
