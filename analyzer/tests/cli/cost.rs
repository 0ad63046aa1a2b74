//! `weighbridge cost` on a dataset whose answer is worked out by hand.
//!
//! Every second is alike, so that the answer is a second's sum times the seconds of a run: on the
//! worker 790 ms of charges at 2 GHz, on the gateway 100 ms, 20,000 packets at their uplinks.

mod missing;
mod profile;
mod shared_kernel;
mod tables;

use std::path::Path;

use serde_json::{Value, json};
use trace_schema::cpu::{CpuScope, CycleSource};
use trace_schema::manifest::{RunManifest, RunOutcome};
use trace_schema::resources::{ResourceRow, ResourceScope};

use self::tables::{MIB, SECOND_US, SECONDS, STATIC, load_run, recorded, resource, task};
use super::dataset::START_US;
use super::{refused, weighbridge};

/// Standard output of `weighbridge cost`, after checking the exit code.
#[track_caller]
fn cost(root: &Path, more: &[&str], code: i32) -> String {
    let mut arguments = vec!["cost", "--dataset", root.to_str().unwrap()];
    arguments.extend(more);
    let output = weighbridge(&arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}\n{text}");
    text
}

#[track_caller]
fn report(root: &Path, more: &[&str], code: i32) -> Value {
    let mut arguments = more.to_vec();
    arguments.extend(["--format", "json"]);
    serde_json::from_str(&cost(root, &arguments, code)).unwrap()
}

fn part<'a>(run: &'a Value, name: &str) -> &'a Value {
    let parts = run["parts"].as_array().unwrap();
    let found = parts.iter().find(|part| part["part"] == name);
    found.unwrap_or_else(|| panic!("no part {name} in {parts:?}"))
}

#[track_caller]
fn near(value: &Value, expected: f64) {
    let found = value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"));
    assert!(
        (found - expected).abs() <= expected.abs() * 1e-6,
        "{found}, not {expected}"
    );
}

#[test]
fn costs_are_those_worked_out_by_hand() {
    let dataset = recorded().write();
    let report = report(dataset.path(), &[], 0);
    assert_eq!(report["cycle_source"], "reference");
    let run = &report["runs"][0];
    // 8.5 seconds of 890 ms at 2 GHz; 20,000 packets, 1,000 buffers, 30 MB a second at the uplinks.
    assert_eq!(run["charged"]["cpu_ns"], 7_565_000_000_i64);
    assert_eq!(run["charged"]["cycles"], 15_130_000_000_i64);
    assert_eq!(run["denominators"]["uplinks"]["packets"], 170_000);
    assert_eq!(run["denominators"]["uplinks"]["buffers"], 8_500);
    near(&run["charged"]["per_wire_packet"]["cycles"], 89_000.0);
    near(&run["charged"]["per_buffer"]["cycles"], 1_780_000.0);
    near(&run["charged"]["per_byte"]["cycles"], 1_780.0 / 30.0);
    near(&run["charged"]["per_client_packet"]["cpu_ns"], 89_000.0);
    near(&run["charged"]["cpu_seconds_per_gbit"], 0.89 / 0.24);
    for (name, cpu_ms) in [
        ("kernel_receive", 300),
        ("kernel_transmit", 10),
        ("cni", 50),
        ("application", 500),
        ("probe", 5),
        ("node_services", 15),
        ("other", 10),
    ] {
        let part = part(run, name);
        assert_eq!(part["cpu_ns"], cpu_ms * 8_500_000_i64, "{name}");
        near(&part["share"], cpu_ms as f64 / 890.0);
        near(&part["per_wire_packet"]["cycles"], cpu_ms as f64 * 100.0);
    }
    assert_eq!(run["parts"].as_array().unwrap().len(), 7);
    assert_eq!(run["probe_programs"]["cpu_ns"], 17_000_000);
    assert_eq!(run["idle_cpu_ns"], 26_435_000_000_i64);
    // Both nodes' books: 2 CPUs, nothing open.
    for books in run["books"].as_array().unwrap() {
        assert_eq!(books["capacity_cpu_ns"], 17_000_000_000_i64);
        near(&books["residual_share"], 0.0);
    }
    // Seven and a half seconds of 60 MiB and one of 100.
    let memory = &part(run, "cni")["memory"];
    near(
        &memory["mean_bytes"],
        ((7.5 * 60.0 + 100.0) / 8.5 * MIB as f64).round(),
    );
    assert_eq!(memory["peak_bytes"], 100 * MIB);
}

#[test]
fn parts_add_up_to_what_was_charged() {
    let dataset = recorded().write();
    let report = report(dataset.path(), &[], 0);
    for run in report["runs"].as_array().unwrap() {
        for list in ["parts", "subjects"] {
            let costs = run[list].as_array().unwrap().iter();
            let sum: i64 = costs.map(|cost| cost["cpu_ns"].as_i64().unwrap()).sum();
            assert_eq!(sum, run["charged"]["cpu_ns"].as_i64().unwrap(), "{list}");
        }
    }
}

#[test]
fn a_case_is_the_mean_of_its_runs() {
    let mut tables = recorded();
    tables.runs.push(RunManifest {
        outcome: RunOutcome::Failed,
        ..load_run("failed", 1.0, 9.0)
    });
    let dataset = tables.write();
    let report = report(dataset.path(), &[], 0);
    let case = &report["cases"][0];
    assert_eq!(case["runs"], json!(["one", "two"]));
    let parts = case["parts"].as_array().unwrap();
    let application = parts.iter().find(|part| part["part"] == "application");
    let mean = &application.unwrap()["cycles_per_client_packet"];
    // 100,000 and 120,000 cycles; t of one degree of freedom at 97.5 % is 12.7062.
    near(&mean["value"], 110_000.0);
    near(
        &mean["estimate"]["interval"]["low"],
        110_000.0 - 127_062.047_361_747,
    );
    near(&mean["estimate"]["standard_error"], 10_000.0);
}

#[test]
fn what_only_one_run_was_charged_cost_the_other_nothing() {
    let mut tables = recorded();
    let second_ten = START_US + 10 * SECOND_US;
    tables.cpu.retain(|row| {
        row.command.as_deref() != Some("kubelet") || row.interval_start_us < second_ten
    });
    let report = report(tables.write().path(), &[], 0);
    let runs = &report["runs"];
    let cost = |run: usize| &part(&runs[run], "node_services")["per_wire_packet"]["cycles"];
    near(cost(0), 1_500.0);
    near(cost(1), 0.0);
    let mut parts = report["cases"][0]["parts"].as_array().unwrap().iter();
    let of_case = parts.find(|part| part["part"] == "node_services");
    near(&of_case.unwrap()["cycles_per_wire_packet"]["value"], 750.0);
}

#[test]
fn a_static_pod_is_the_one_whose_manifest_the_kubelet_hashed() {
    let mut tables = recorded();
    for second in 0..SECONDS {
        let path = "kubepods.slice/static";
        let row = task(second, path, Some(STATIC), "haproxy", 7);
        tables.cpu.push(row);
        let idle = tables.cpu.iter_mut().find(|row| {
            let starts = row.interval_start_us == START_US + second * SECOND_US;
            starts && row.node == "worker" && row.scope == CpuScope::Idle
        });
        idle.unwrap().cpu_ns -= 7_000_000;
        tables.resources.push(ResourceRow {
            pod_uid: Some(STATIC.to_owned()),
            container_id: Some("c".to_owned()),
            memory_working_set_bytes: Some(300 * MIB),
            ..resource("worker", second, ResourceScope::Container)
        });
    }
    let report = report(tables.write().path(), &["--run", "one"], 0);
    let services = part(&report["runs"][0], "cluster_services");
    assert_eq!(services["cpu_ns"], 7 * 8_500_000);
    assert_eq!(services["memory"]["mean_bytes"], 300 * MIB);
    let subjects = report["runs"][0]["subjects"].as_array().unwrap();
    let name = "kube-system/haproxy-control-plane";
    assert!(subjects.iter().any(|subject| subject["name"] == name));
}

#[test]
fn time_that_the_hypervisor_took_is_told_where_it_is_much() {
    let mut tables = recorded();
    let of_nodes = tables.resources.iter_mut();
    for row in of_nodes.filter(|row| row.scope == ResourceScope::Node) {
        let is_worker = row.node == "worker";
        row.cpu_steal_ns = Some(if is_worker { 20_000_000 } else { 500_000 });
    }
    let dataset = tables.write();
    let report = report(dataset.path(), &["--run", "one"], 0);
    let run = &report["runs"][0];
    let books = run["books"].as_array().unwrap().iter();
    let stolen: Vec<&Value> = books.map(|books| &books["stolen_cpu_ns"]).collect();
    assert_eq!(stolen, [85 * 50_000, 85 * 2_000_000]);
    // Of 790 ms a second; on the gateway it is half a hundredth.
    let note = "up to 2.5 % of what was charged on worker was not used: the hypervisor took 0.17";
    assert!(run["notes"].to_string().contains(note), "{run:#}");
    assert!(!run["notes"].to_string().contains("charged on gateway"));
    let text = cost(dataset.path(), &[], 0);
    let of_all = "took processors away in 2 of 2 runs, for more than 1 % of what was charged";
    assert!(text.contains(note) && text.contains(of_all), "{text}");
}

#[test]
fn time_that_nobody_took_is_not_told() {
    let told = |tables: &tables::Tables| {
        let report = report(tables.write().path(), &["--run", "one"], 0);
        let notes = report["runs"][0]["notes"].to_string() + &report["notes"].to_string();
        assert!(!notes.contains("hypervisor"), "{notes}");
        report["runs"][0]["books"][0]["stolen_cpu_ns"].clone()
    };
    let mut tables = recorded();
    assert_eq!(told(&tables), Value::Null);
    for row in &mut tables.resources {
        row.cpu_steal_ns = (row.scope == ResourceScope::Node).then_some(0);
    }
    assert_eq!(told(&tables), 0);
}

#[test]
fn a_hypervisor_takes_from_a_kernel_once_and_no_more_than_was_charged() {
    let mut tables = recorded();
    tables.put_on_one_kernel();
    tables.cpu.retain(|row| row.node == "worker");
    for row in &mut tables.resources {
        row.cpu_steal_ns = (row.scope == ResourceScope::Node).then_some(1_900_000_000);
    }
    let report = report(tables.write().path(), &["--run", "one"], 0);
    let run = &report["runs"][0];
    assert_eq!(run["books"][0]["stolen_cpu_ns"], 85 * 190_000_000_i64);
    let note = "up to 100.0 % of what was charged on gateway, worker was not used";
    assert!(run["notes"].to_string().contains(note), "{run:#}");
}

#[test]
fn cycles_of_different_sources_are_not_added() {
    let mut tables = recorded();
    let of_gateway = tables.cpu.iter_mut().filter(|row| row.node == "gateway");
    of_gateway.for_each(|row| row.cycle_source = CycleSource::Hardware);
    let dataset = tables.write();
    let report = report(dataset.path(), &["--run", "one"], 0);
    let run = &report["runs"][0];
    assert_eq!(run["cycle_source"], "mixed");
    assert_eq!(run["charged"]["cycles"], Value::Null);
    near(&run["charged"]["per_wire_packet"]["cpu_ns"], 44_500.0);
    assert_eq!(run["nodes"][0]["cycle_source"], "hardware");
    assert_eq!(run["nodes"][0]["softirqs"]["cycles"], 200 * 8_500_000);
    assert!(
        cost(dataset.path(), &["--run", "one"], 0)
            .contains("figures by packet, buffer and byte are nanoseconds of CPU time")
    );
}

#[test]
fn a_dataset_without_runs_is_one_measurement() {
    let mut tables = recorded();
    tables.runs.clear();
    let dataset = tables.write();
    let all = report(dataset.path(), &[], 0);
    assert_eq!(
        all["runs"][0]["charged"]["cpu_ns"],
        10 * (890 + 990) * 1_000_000_i64
    );
    let half = report(dataset.path(), &["--until", "2026-05-28T20:26:50Z"], 0);
    assert_eq!(
        half["runs"][0]["charged"]["cpu_ns"],
        10 * 890 * 1_000_000_i64
    );
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let mut tables = recorded();
    let dataset = tables.write();
    let root = dataset.path().to_str().unwrap();
    refused(
        &["cost", "--dataset", root, "--run", "three"],
        &["--run three", "one, two"],
    );
    refused(
        &["cost", "--dataset", root, "--case", "other"],
        &["--case other", "antrea-egress-gateway"],
    );
    refused(
        &["cost", "--dataset", root, "--from", "2027-01-01T00:00:00Z"],
        &["--from", "no run"],
    );
    tables.cpu.clear();
    let dataset = tables.write();
    refused(
        &["cost", "--dataset", dataset.path().to_str().unwrap()],
        &["no table cpu", "--cpu on"],
    );
}

#[test]
fn tables_of_costs() {
    let dataset = recorded().write();
    insta::assert_snapshot!("cost_of_two_runs", cost(dataset.path(), &[], 0));
}
