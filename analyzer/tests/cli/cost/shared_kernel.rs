//! Nodes that share a kernel: what is the machine's counts once.

use super::tables::{CLIENT, SECOND_US, SECONDS, charge, harder, profile_row, recorded, task};
use super::{cost, near, part, report};
use serde_json::{Value, json};
use trace_schema::cpu::{CpuRow, CpuScope};
use trace_schema::profile::ProfileRow;

/// The gateway's row of the same half a second later.
fn late(row: &CpuRow) -> CpuRow {
    CpuRow {
        node: "gateway".to_owned(),
        interval_start_us: row.interval_start_us + SECOND_US / 2,
        interval_end_us: row.interval_end_us + SECOND_US / 2,
        ..row.clone()
    }
}

#[test]
fn nodes_that_share_a_kernel_count_its_softirqs_once() {
    let mut tables = recorded();
    let mut both = Vec::new();
    for row in tables.cpu.drain(..) {
        if row.node == "worker" && row.vector.is_none() && row.scope != CpuScope::Idle {
            both.push(row);
        } else if row.node == "worker" {
            // The other node writes the same, half a second later.
            let late = late(&row);
            both.extend([row, late]);
        }
    }
    // To the gateway the worker's tasks are outside.
    let outside = (0..SECONDS).map(|second| {
        let outside = charge("gateway", second, CpuScope::Outside, 580 + harder(second));
        late(&outside)
    });
    both.extend(outside);
    tables.cpu = both;
    tables.put_on_one_kernel();
    for with_both in [true, false] {
        if !with_both {
            tables.cpu.retain(|row| row.node == "worker");
        }
        let dataset = tables.write();
        let report = report(dataset.path(), &["--run", "one"], 0);
        let run = &report["runs"][0];
        assert_eq!(part(run, "kernel_receive")["cpu_ns"], 200 * 8_500_000);
        assert_eq!(run["idle_cpu_ns"], 1_210 * 8_500_000_i64);
        assert_eq!(run["books"].as_array().unwrap().len(), 1);
        let notes = run["notes"].to_string();
        assert!(
            notes.contains("gateway, worker share one kernel"),
            "{notes}"
        );
    }
}

#[test]
fn tasks_outside_all_nodes_of_a_kernel_count_once() {
    let mut tables = recorded();
    tables.cpu.retain(|row| row.node == "worker");
    let idle = tables
        .cpu
        .iter_mut()
        .filter(|row| row.scope == CpuScope::Idle);
    idle.for_each(|row| row.cpu_ns -= 140_000_000);
    for second in 0..10 {
        // Each node sees the other's tasks outside, and 100 ms that are no node's.
        let kubelet = task(second, "system.slice/kubelet.service", None, "kubelet", 40);
        tables.cpu.extend([
            CpuRow {
                node: "gateway".to_owned(),
                cgroup_id: Some(99),
                ..kubelet
            },
            charge("worker", second, CpuScope::Outside, 40 + 100),
            charge("gateway", second, CpuScope::Outside, 580 + 100),
        ]);
    }
    tables.put_on_one_kernel();
    let report = report(tables.write().path(), &["--run", "one"], 0);
    let run = &report["runs"][0];
    assert_eq!(part(run, "outside")["cpu_ns"], 100 * 8_500_000);
    assert_eq!(part(run, "node_services")["cpu_ns"], (15 + 40) * 8_500_000);
    assert_eq!(
        run["charged"]["cpu_ns"],
        (210 + 580 + 40 + 100) * 8_500_000_i64
    );
    near(&run["books"][0]["residual_share"], 0.0);
}

#[test]
fn two_probes_that_charge_the_same_cgroups_are_found_out() {
    let mut tables = recorded();
    let again: Vec<CpuRow> = tables
        .cpu
        .iter()
        .filter(|row| row.scope == CpuScope::Cgroup)
        .map(|row| CpuRow {
            node: "gateway".to_owned(),
            ..row.clone()
        })
        .collect();
    tables.cpu.extend(again);
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    assert!(
        text.contains("gateway and worker share a kernel and both charge the same cgroups"),
        "{text}"
    );
}

#[test]
fn processes_of_nodes_that_did_not_sample_are_known_by_what_they_were_charged() {
    let mut tables = recorded();
    tables.cpu.retain(|row| row.node == "worker");
    let client_cgroup = tables
        .cpu
        .iter()
        .find(|row| row.pod_uid.as_deref() == Some(CLIENT))
        .and_then(|row| row.cgroup_id);
    for second in 0..SECONDS {
        // The gateway's probe samples what runs on the worker, and a task that is no node's.
        for (cgroup_id, samples) in [(client_cgroup, 60), (Some(77_777), 30)] {
            tables.profile.push(ProfileRow {
                node: "gateway".to_owned(),
                cgroup_id,
                ..profile_row(second, "iperf3", "", samples)
            });
        }
        let outside = charge("worker", second, CpuScope::Outside, 0);
        tables.cpu.push(outside);
    }
    tables.put_on_one_kernel();
    let report = report(tables.write().path(), &["--run", "one"], 0);
    let users = &report["runs"][0]["profile"]["user_space"];
    let found: Vec<(&Value, &Value)> = users
        .as_array()
        .unwrap()
        .iter()
        .map(|user| (&user["part"], &user["samples"]))
        .collect();
    let expected = [
        (&json!("application"), &json!(540)),
        (&json!("outside"), &json!(270)),
    ];
    assert_eq!(found, expected);
}
