//! What is missing, and what a cost is worth then.

use super::super::dataset::START_US;
use super::super::weighbridge;
use super::tables::{SECOND_US, load_run, recorded};
use super::{cost, report};
use serde_json::Value;
use trace_schema::cpu::CpuScope;
use trace_schema::ledger::Vantage;
use trace_schema::manifest::RunManifest;

#[test]
fn packets_that_stand_in_no_book_make_a_run_inconclusive() {
    let mut tables = recorded();
    tables
        .ledger
        .retain(|row| (row.node.as_str(), row.vantage) != ("gateway", Vantage::Uplink));
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    let reason = "the books of node gateway's uplinks cover 0.0 % of the run";
    assert!(text.contains(reason), "{text}");
    assert!(
        text.contains("all flows at the uplinks of worker, both"),
        "{text}"
    );
    tables.ledger.retain(|row| row.vantage != Vantage::Pod);
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    let reason = "the books of node worker's pods, the client's among them, cover 0.0 % of the run";
    assert!(text.contains(reason), "{text}");
}

#[test]
fn a_comparison_says_which_costs_are_inconclusive() {
    let mut tables = recorded();
    tables
        .ledger
        .retain(|row| (row.node.as_str(), row.vantage) != ("gateway", Vantage::Uplink));
    tables.runs = (0..6)
        .map(|run| RunManifest {
            case: ["gateway", "base"][run % 2].to_owned(),
            ..load_run(&format!("run-{run}"), 1.0 + run as f64, 9.0 + run as f64)
        })
        .collect();
    let dataset = tables.write();
    let root = dataset.path().to_str().unwrap();
    let output = weighbridge(&["compare", "--dataset", root])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let note =
        "what run run-3 cost is inconclusive (the books of node gateway's uplinks cover 0.0 %";
    assert!(text.contains(note), "{text}");
}

#[test]
fn what_is_missing_makes_a_run_inconclusive_where_it_matters() {
    // The worker's rows have 69,000 events: 600 are under a hundredth of them, 1,000 are not.
    for (lost, code) in [(600, 0), (1_000, 3)] {
        let mut tables = recorded();
        let mut watches = tables.ledger.iter_mut();
        let row = watches.find(|row| row.vantage == Vantage::Cpu && row.node == "worker");
        row.unwrap().hook_misses = Some(lost);
        let dataset = tables.write();
        let text = cost(dataset.path(), &["--run", "one"], code);
        assert!(text.contains("Lost at worker cpu"), "{text}");
        assert_eq!(text.contains("inconclusive, because"), code == 3, "{text}");
    }
    let mut tables = recorded();
    let nameless = tables
        .cpu
        .iter_mut()
        .filter(|row| row.command.as_deref() == Some("kubelet"));
    nameless.for_each(|row| (row.command, row.cgroup_path, row.cgroup_id) = (None, None, None));
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    assert!(
        text.contains("1.7 % of the time was charged without a name"),
        "{text}"
    );
    let mut tables = recorded();
    let third = START_US + 3 * SECOND_US;
    tables.cpu.retain(|row| row.interval_start_us != third);
    tables.ledger.retain(|row| row.interval_start_us != third);
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    assert!(text.contains("was watched for 88.2 % of the run"), "{text}");
    assert_eq!(
        cost(tables.write().path(), &["--run", "two"], 0)
            .matches("because")
            .count(),
        0
    );
}

#[test]
fn time_that_stands_in_no_row_makes_a_run_inconclusive() {
    let mut tables = recorded();
    // 15 ms of 2 s a second is 0.75 %, 30 ms is 1.5 %.
    tables
        .cpu
        .retain(|row| row.command.as_deref() != Some("kubelet"));
    cost(tables.write().path(), &["--run", "one"], 0);
    tables
        .cpu
        .retain(|row| row.command.as_deref() != Some("ovs-vswitchd"));
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    assert!(text.contains("processor time are off by 2.2 %"), "{text}");
}

#[test]
fn a_short_run_is_inconclusive() {
    let mut tables = recorded();
    tables.runs = vec![load_run("short", 1.0, 5.5)];
    let text = cost(tables.write().path(), &[], 3);
    assert!(text.contains("lasted 4.5 intervals"), "{text}");
}

#[test]
fn softirqs_that_run_as_threads_are_absent_and_not_nothing() {
    // As a probe writes it on PREEMPT_RT: the time is a thread's. Run `two` is of a kernel without.
    let mut tables = recorded();
    let second_ten = START_US + 10 * SECOND_US;
    let softirqs = tables
        .cpu
        .iter_mut()
        .filter(|row| row.scope == CpuScope::Softirq && row.interval_start_us < second_ten);
    softirqs.for_each(|row| {
        row.scope = CpuScope::Cgroup;
        row.vector = None;
        row.command = Some("ksoftirqd/0".to_owned());
    });
    let report = report(tables.write().path(), &[], 0);
    let runs = report["runs"].as_array().unwrap();
    let has_receive = |run: &Value| {
        let mut parts = run["parts"].as_array().unwrap().iter();
        parts.any(|part| part["part"] == "kernel_receive")
    };
    let has_note = |run: &Value| run["notes"].to_string().contains("PREEMPT_RT");
    assert_eq!((has_receive(&runs[0]), has_note(&runs[0])), (false, true));
    assert_eq!((has_receive(&runs[1]), has_note(&runs[1])), (true, false));
}
