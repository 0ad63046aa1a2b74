//! The rows of `cpu` from what an interval was charged, and the vantage's line in the books.

use probe_abi::cpu::CpuCharge;
use trace_schema::{
    cpu::{CpuRow, CpuScope, CycleSource},
    ledger::{LedgerRow, Vantage},
};

use super::Interval;
use crate::drain::cpu::CpuDrained;

/// What stands in every row, and which rows there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// What cycles are.
    pub source: CycleSource,
    /// Rate of the reference, where it is the source.
    pub reference_hz: Option<f64>,
    /// Whether this probe writes what concerns the whole kernel.
    pub kernel_wide: bool,
    /// Whether softirqs are told apart from tasks: not where they run as threads (PREEMPT_RT).
    pub softirqs: bool,
}

/// What is known of a cgroup by its path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupPlace {
    /// Path below the node's root.
    pub path: Option<String>,
    /// Pod UID.
    pub pod_uid: Option<String>,
    /// Container id.
    pub container_id: Option<String>,
}

/// What one of the probe's own programs cost in the interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// Its name.
    pub program: String,
    /// Time.
    pub ns: u64,
    /// Runs.
    pub runs: u64,
}

/// The rows of `cpu`, in a fixed order.
pub fn cpu_rows(
    interval: &Interval,
    terms: &Terms,
    drained: &CpuDrained,
    programs: &[ProgramCost],
    mut place: impl FnMut(u64) -> CgroupPlace,
) -> Vec<CpuRow> {
    let row = |scope: CpuScope, charge: &CpuCharge| blank(interval, terms, scope, charge);
    let mut rows = Vec::with_capacity(drained.accounts.len() + programs.len() + 5);
    for ((cgroup, command), charge) in &drained.accounts {
        let place = place(*cgroup);
        rows.push(CpuRow {
            cgroup_id: Some(cgroup.cast_signed()),
            cgroup_path: place.path,
            pod_uid: place.pod_uid,
            container_id: place.container_id,
            command: Some(command.clone()),
            ..row(CpuScope::Cgroup, charge)
        });
    }
    let totals = &drained.totals;
    // Whose these are is lost, and their time is not.
    if totals.overflow != CpuCharge::default() {
        rows.push(row(CpuScope::Cgroup, &totals.overflow));
    }
    if totals.outside != CpuCharge::default() {
        rows.push(row(CpuScope::Outside, &totals.outside));
    }
    if terms.kernel_wide {
        let of_vectors = [("net_rx", &totals.net_rx), ("net_tx", &totals.net_tx)];
        // What was not measured is absent, never zero.
        let of_vectors = of_vectors.into_iter().filter(|_| terms.softirqs);
        for (vector, charge) in of_vectors {
            rows.push(CpuRow {
                vector: Some(vector.to_owned()),
                ..row(CpuScope::Softirq, charge)
            });
        }
        rows.push(CpuRow {
            cycles: None,
            ..row(CpuScope::Idle, &totals.idle)
        });
    }
    rows.extend(
        programs
            .iter()
            .map(|cost| program_row(interval, terms, cost)),
    );
    rows.sort_by(|a, b| order(a).cmp(&order(b)));
    rows
}

/// The vantage's row of `ledger`: `misses` are runs that the kernel skipped.
pub fn cpu_ledger_row(interval: &Interval, drained: &CpuDrained, misses: Option<u64>) -> LedgerRow {
    let totals = &drained.totals;
    let of_accounts: u64 = drained.accounts.values().map(|charge| charge.events).sum();
    let without = [totals.net_rx, totals.net_tx, totals.idle, totals.outside];
    let events = of_accounts + without.iter().map(|charge| charge.events).sum::<u64>();
    let mut row = LedgerRow::idle(
        (interval.start_us, interval.end_us),
        &interval.node,
        &interval.boot_id,
        Vantage::Cpu,
    );
    row.counted.buffers = events.cast_signed();
    row.overflow.buffers = totals.overflow.events.cast_signed();
    row.hook_misses = misses.map(|misses| (misses + totals.unread).cast_signed());
    row.map_entries = drained.entries as i64;
    row.map_capacity = i64::from(drained.capacity);
    row
}

fn order(row: &CpuRow) -> impl Ord + '_ {
    (row.scope, row.cgroup_id, &row.command, &row.vector)
}

fn program_row(interval: &Interval, terms: &Terms, cost: &ProgramCost) -> CpuRow {
    let charge = CpuCharge {
        ns: cost.ns,
        cycles: 0,
        events: cost.runs,
    };
    let row = blank(interval, terms, CpuScope::Program, &charge);
    CpuRow {
        command: Some(cost.program.clone()),
        // The kernel measures programs in time alone.
        cycles: row
            .cycles
            .filter(|_| terms.source == CycleSource::Reference),
        ..row
    }
}

fn blank(interval: &Interval, terms: &Terms, scope: CpuScope, charge: &CpuCharge) -> CpuRow {
    // Settling may leave a part a few nanoseconds below zero.
    let cpu_ns = charge.ns.cast_signed().max(0);
    CpuRow {
        interval_start_us: interval.start_us,
        interval_end_us: interval.end_us,
        node: interval.node.clone(),
        boot_id: interval.boot_id.clone(),
        scope,
        cgroup_id: None,
        cgroup_path: None,
        pod_uid: None,
        container_id: None,
        command: None,
        vector: None,
        events: charge.events.cast_signed(),
        cpu_ns,
        cycles: match terms.source {
            CycleSource::Hardware | CycleSource::Software => Some(charge.cycles.cast_signed()),
            CycleSource::Reference => terms
                .reference_hz
                .map(|hz| (cpu_ns as f64 * hz / 1e9).round() as i64),
            CycleSource::None => None,
        },
        cycle_source: terms.source,
    }
}
