//! Rows of `cpu` from charges: whose they are, what cycles they hold, and the books beside them.

use std::collections::HashMap;

use probe_abi::cpu::{CpuCharge, CpuTotals};
use trace_schema::{
    cpu::{CpuRow, CpuScope, CycleSource},
    ledger::Vantage,
};

use super::*;
use crate::{
    aggregate::cpu::{CgroupPlace, ProgramCost, Terms, cpu_ledger_row, cpu_rows},
    drain::cpu::CpuDrained,
};

fn charge(ns: u64, cycles: u64, events: u64) -> CpuCharge {
    CpuCharge { ns, cycles, events }
}

fn drained() -> CpuDrained {
    CpuDrained {
        accounts: HashMap::from([
            ((77, "nginx".to_owned()), charge(400, 900, 3)),
            ((78, "gone".to_owned()), charge(10, 20, 1)),
        ]),
        totals: CpuTotals {
            net_rx: charge(70, 150, 7),
            net_tx: charge(5, 11, 1),
            // A part that is still to come makes up for it.
            idle: charge((-3i64).cast_unsigned(), 0, 2),
            outside: charge(500, 1000, 4),
            overflow: charge(6, 12, 2),
            unread: 1,
        },
        entries: 2,
        capacity: 8,
    }
}

fn terms(source: CycleSource) -> Terms {
    Terms {
        source,
        reference_hz: (source == CycleSource::Reference).then_some(2.5e9),
        kernel_wide: true,
        softirqs: true,
    }
}

fn rows(terms: &Terms) -> Vec<CpuRow> {
    let programs = [ProgramCost {
        program: "cpu_switch".to_owned(),
        ns: 100,
        runs: 10,
    }];
    let place = |id| match id {
        77 => CgroupPlace {
            path: Some("/kubepods/pod1".to_owned()),
            pod_uid: Some("1".to_owned()),
            container_id: None,
        },
        _ => CgroupPlace::default(),
    };
    cpu_rows(&interval(), terms, &drained(), &programs, place)
}

#[test]
fn every_part_has_its_row_and_a_cgroup_that_is_gone_keeps_it() {
    let found = rows(&terms(CycleSource::Hardware));
    let brief: Vec<_> = found
        .iter()
        .map(|row| {
            let name = row.command.as_deref().or(row.vector.as_deref());
            (
                row.scope,
                row.cgroup_id,
                name,
                row.cpu_ns,
                row.cycles,
                row.events,
            )
        })
        .collect();
    let expected = [
        (CpuScope::Cgroup, None, None, 6, Some(12), 2),
        (CpuScope::Cgroup, Some(77), Some("nginx"), 400, Some(900), 3),
        (CpuScope::Cgroup, Some(78), Some("gone"), 10, Some(20), 1),
        (CpuScope::Softirq, None, Some("net_rx"), 70, Some(150), 7),
        (CpuScope::Softirq, None, Some("net_tx"), 5, Some(11), 1),
        (CpuScope::Idle, None, None, 0, None, 2),
        (CpuScope::Outside, None, None, 500, Some(1000), 4),
        (CpuScope::Program, None, Some("cpu_switch"), 100, None, 10),
    ];
    assert_eq!(brief, expected);
    assert_eq!(found[1].cgroup_path.as_deref(), Some("/kubepods/pod1"));
    assert_eq!(found[2].cgroup_path, None);
}

#[test]
fn cycles_are_what_the_source_says() {
    let of = |source| {
        let found = rows(&terms(source));
        let nginx = found.iter().find(|row| row.cgroup_id == Some(77)).cloned();
        let row = nginx.expect("its row");
        assert_eq!(row.cycle_source, source);
        row.cycles
    };
    assert_eq!(of(CycleSource::Hardware), Some(900));
    assert_eq!(of(CycleSource::Software), Some(900));
    assert_eq!(of(CycleSource::Reference), Some(1000));
    assert_eq!(of(CycleSource::None), None);
}

#[test]
fn another_probes_kernel_is_left_to_it() {
    let ours = Terms {
        kernel_wide: false,
        ..terms(CycleSource::None)
    };
    let kernel_wide = |row: &CpuRow| matches!(row.scope, CpuScope::Softirq | CpuScope::Idle);
    assert!(!rows(&ours).iter().any(kernel_wide));
    assert_eq!(rows(&ours).len(), 5);
}

#[test]
fn softirqs_that_run_as_threads_have_no_rows() {
    let of_threads = Terms {
        softirqs: false,
        ..terms(CycleSource::None)
    };
    let scopes: Vec<CpuScope> = rows(&of_threads).iter().map(|row| row.scope).collect();
    assert!(!scopes.contains(&CpuScope::Softirq), "{scopes:?}");
    assert!(scopes.contains(&CpuScope::Idle), "{scopes:?}");
}

#[test]
fn the_books_count_charges_and_what_was_turned_away() {
    let row = cpu_ledger_row(&interval(), &drained(), Some(3));
    assert_eq!(row.vantage, Vantage::Cpu);
    assert_eq!(row.counted.buffers, 3 + 1 + 7 + 1 + 2 + 4);
    assert_eq!(row.overflow.buffers, 2);
    assert_eq!(row.hook_misses, Some(4));
    assert_eq!((row.map_entries, row.map_capacity), (2, 8));
}
