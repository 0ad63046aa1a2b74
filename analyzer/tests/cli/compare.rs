//! `weighbridge compare` over folders of runs with iperf3's own files and Prometheus' own answers.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use trace_schema::manifest::{RunManifest, RunOutcome};

use super::{refused, weighbridge};

/// Time of the recorded samples of Prometheus.
const SPAN_US: (i64, i64) = (1_795_304_283_000_000, 1_795_304_298_000_000);
const FAST: [f64; 4] = [190e6, 192e6, 191e6, 193e6];
const SLOW: [f64; 4] = [150e6, 149e6, 151e6, 148e6];

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::read_to_string(folder.join(name)).expect("a fixture of this crate")
}

/// A run of iperf3 whose receiver reports a goodput, with samples of Prometheus beside it.
fn write_run(root: &Path, case: &str, repetition: u32, goodput: f64) {
    let id = format!("{case}-{repetition}");
    let folder = root.join("runs").join(&id);
    let mut manifest = RunManifest {
        campaign: "egress".into(),
        case: case.into(),
        repetition,
        block: Some(repetition),
        ..RunManifest::new(&id, "iperf3", SPAN_US)
    };
    for (name, kind) in [
        ("iperf3.json", "iperf3-json"),
        ("cpu.json", "prometheus-json"),
        ("memory.csv", "prometheus-csv"),
    ] {
        manifest.files.insert(name.into(), kind.into());
    }
    manifest
        .write(&folder)
        .expect("the temporary folder takes a manifest");
    let mut result: Value = serde_json::from_str(&fixture("iperf3/iperf3.12_tcp.json")).unwrap();
    result["end"]["sum_received"]["bits_per_second"] = goodput.into();
    fs::write(folder.join("iperf3.json"), result.to_string()).unwrap();
    let cpu = fixture("prometheus/prom2.42_query_range_node_cpu_seconds_total.json");
    fs::write(folder.join("cpu.json"), cpu).unwrap();
    let memory = fixture("prometheus/derived_prom_memory_wide.csv");
    fs::write(folder.join("memory.csv"), memory).unwrap();
}

fn campaign(fast: &[f64], slow: &[f64]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (case, values) in [("bpf", fast), ("netfilter", slow)] {
        for (goodput, repetition) in values.iter().zip(1..) {
            write_run(folder.path(), case, repetition, *goodput);
        }
    }
    folder
}

/// Standard output of `weighbridge compare`, which ends well.
#[track_caller]
fn compare(root: &Path, more: &[&str]) -> String {
    let mut arguments = vec!["compare", "--dataset", root.to_str().unwrap()];
    arguments.extend(more);
    let output = weighbridge(&arguments)
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).expect("reports are text")
}

fn metric<'a>(report: &'a Value, name: &str) -> &'a Value {
    let metrics = report["campaigns"][0]["metrics"].as_array().unwrap();
    let found = metrics.iter().find(|metric| metric["metric"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn cases_are_compared_by_what_their_files_say() {
    let folder = campaign(&FAST, &SLOW);
    let text = compare(folder.path(), &[]);
    for line in [
        "Campaign egress: bpf (4 runs), netfilter (4 runs)",
        "adjusted by Holm over 1 test;",
        "bpf's goodput was 28.1 % higher than netfilter's (95 % interval",
        "Every run of bpf and netfilter had the same memory in use, n = 4 + 4: there is nothing to test.",
    ] {
        assert!(text.contains(line), "{line} is not in: {text}");
    }
    let widest = text
        .lines()
        .filter(|line| line.contains('─'))
        .map(|line| line.chars().count());
    assert!(widest.max() <= Some(100), "{text}");
    assert_eq!(
        text,
        compare(folder.path(), &[]),
        "the same input, the same bytes"
    );
    let json = compare(folder.path(), &["--format", "json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let goodput = metric(&report, "goodput");
    assert_eq!(goodput["cases"][0]["mean"]["value"], 191.5e6);
    let pair = &goodput["comparisons"][0];
    let p_value = pair["figures"]["permutation"]["p_value"].as_f64().unwrap();
    assert!((p_value - 2.0 / 70.0).abs() < 1e-12, "{p_value}");
    assert_eq!(
        pair["within_blocks"]["paired"]["sign_flip"]["p_value"],
        0.125
    );
    let memory = &metric(&report, "memory")["cases"][0]["mean"]["value"];
    assert_eq!(memory.as_f64(), Some(1_139_480_064.0));
    assert_eq!(goodput["origins"][0]["files"][0], "runs/bpf-1/iperf3.json");
}

#[test]
fn a_narrower_family_and_margin_are_what_was_asked_for() {
    let folder = campaign(&FAST, &SLOW);
    let text = compare(
        folder.path(),
        &[
            "--metric",
            "goodput",
            "--baseline",
            "netfilter",
            "--margin",
            "1%",
        ],
    );
    assert!(
        text.contains("bpf's goodput was 28.1 % higher than netfilter's (95 % interval"),
        "{text}"
    );
    assert!(text.contains("p = 0.029, n = 4 + 4)."), "{text}");
    assert!(
        text.contains("over 1 test;") && !text.contains("memory"),
        "{text}"
    );
}

#[test]
fn what_the_plan_declared_is_a_family_by_itself() {
    let folder = campaign(&FAST, &SLOW);
    let plan = folder.path().join("campaign.json");
    let declare = |metric: &str| {
        let text = format!(r#"{{"campaign": "egress", "primary": ["{metric}"], "seed": 1}}"#);
        fs::write(&plan, text).expect("the folder takes a plan");
    };
    declare("goodput");
    let text = compare(folder.path(), &[]);
    assert!(
        text.contains("adjusted by Holm over 1 primary test;")
            && text.contains("goodput (goodput, in Mbit/s, declared primary)"),
        "{text}"
    );
    declare("speed");
    let root = folder.path().to_str().unwrap();
    refused(
        &["compare", "--dataset", root],
        &["campaign.json, primary", "no metric \"speed\""],
    );
}

#[test]
fn too_few_runs_are_refused_in_a_sentence_and_failed_ones_listed() {
    let folder = campaign(&FAST[..2], &SLOW);
    write_run(folder.path(), "bpf", 3, 1.0);
    let broken = folder.path().join("runs/bpf-3");
    let mut manifest = RunManifest::read(&broken).unwrap();
    manifest.outcome = RunOutcome::Failed;
    manifest.failure = Some("the server died".into());
    manifest.write(&broken).unwrap();
    let text = compare(folder.path(), &["--metric", "goodput"]);
    assert!(
        text.contains("Too few runs to compare the goodput of bpf and netfilter: n = 2 + 4; at least 3 a case are needed to test at all, and about"),
        "{text}"
    );
    assert!(
        text.contains("bpf-3 (bpf, repetition 3, attempt 1): the server died"),
        "{text}"
    );
}

#[test]
fn a_tool_s_file_that_cannot_be_read_is_a_value_that_is_absent() {
    let folder = campaign(&FAST, &SLOW);
    fs::write(folder.path().join("runs/bpf-2/iperf3.json"), "").unwrap();
    let text = compare(folder.path(), &["--metric", "goodput"]);
    assert!(text.contains("n = 3 + 4"), "{text}");
    assert!(
        text.contains("bpf: 1 run without a value (bpf-2: "),
        "{text}"
    );
    assert!(
        text.contains("iperf3 was killed before it wrote its result"),
        "{text}"
    );
}

#[test]
fn samples_for_the_whole_dataset_stand_in_where_a_run_has_none() {
    let folder = campaign(&FAST, &SLOW);
    for run in fs::read_dir(folder.path().join("runs")).unwrap() {
        let run = run.unwrap().path();
        let mut manifest = RunManifest::read(&run).unwrap();
        manifest.files.retain(|_, kind| kind == "iperf3-json");
        manifest.write(&run).unwrap();
    }
    let cpu = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/prometheus/derived_prom_cpu_long.csv");
    let arguments = [
        "--metric",
        "cpu_percent",
        "--prometheus",
        cpu.to_str().unwrap(),
    ];
    let text = compare(folder.path(), &arguments);
    assert!(
        text.contains("in %")
            && text.contains(" 99.9")
            && text.contains("there is nothing to test"),
        "{text}"
    );
    let without = [
        "compare",
        "--dataset",
        folder.path().to_str().unwrap(),
        "--metric",
        "cpu_percent",
    ];
    refused(
        &without,
        &["--metric cpu_percent: no run measured it; there is goodput"],
    );
}

#[test]
fn bad_use_and_bad_input_get_one_line() {
    let folder = campaign(&FAST, &SLOW);
    let root = folder.path().to_str().unwrap();
    let error = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/prometheus/prom2.42_error_bad_data.json");
    refused(
        &[
            "compare",
            "--dataset",
            root,
            "--prometheus",
            error.to_str().unwrap(),
        ],
        &["--prometheus", "bad_data", "unclosed left parenthesis"],
    );
    refused(
        &["compare", "--dataset", root, "--baseline", "cilium"],
        &["--baseline cilium", "bpf, netfilter"],
    );
    let empty = tempfile::tempdir().unwrap();
    refused(
        &["compare", "--dataset", empty.path().to_str().unwrap()],
        &["neither a table nor a run"],
    );
    for (flag, value) in [("--metric", "speed"), ("--margin", "0"), ("--alpha", "0.5")] {
        let output = weighbridge(&["compare", "--dataset", root, flag, value])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} {value}");
    }
}
