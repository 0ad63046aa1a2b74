//! `weighbridge` as a user meets it: exit codes, the text on the terminal, and the one line that
//! bad input gets.

mod compare;
mod cost;
mod dataset;
mod ingress;
mod recipes;
mod report;
mod split;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use dataset::{EGRESS_IP, START_US, Tables, WORKER_IP, pod_on, policy};
use serde_json::json;
use tempfile::TempDir;
use trace_schema::SCHEMA_VERSION;
use trace_schema::manifest::RunManifest;

fn weighbridge(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge"));
    command.args(arguments);
    command
}

fn written(tables: &Tables) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    tables.write(folder.path());
    folder
}

fn passing() -> Tables {
    Tables::quiet().connection(40_000, "gateway", EGRESS_IP)
}

fn leaking() -> Tables {
    passing().connection(40_001, "worker", WORKER_IP)
}

/// Standard output of `weighbridge egress`, after checking the exit code.
#[track_caller]
fn egress(root: &Path, more: &[&str], code: i32) -> String {
    let root = root
        .to_str()
        .expect("temporary folders have readable names");
    let mut arguments = vec!["egress", "--dataset", root];
    arguments.extend(more);
    let output = weighbridge(&arguments)
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    String::from_utf8(output.stdout).expect("reports are text")
}

/// Bad input gives exit code 2 and one line that names what is wrong.
#[track_caller]
fn refused(arguments: &[&str], names: &[&str]) {
    let output = weighbridge(arguments).output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    for name in names {
        assert!(errors.contains(name), "{name} is not in: {errors}");
    }
}

/// The first file of a table.
fn file_of(root: &Path, table: &str) -> PathBuf {
    let mut folder = root.join(table);
    while folder.is_dir() {
        let mut entries: Vec<PathBuf> = fs::read_dir(&folder)
            .expect("the dataset was written")
            .map(|entry| entry.expect("the dataset is readable").path())
            .collect();
        entries.sort();
        folder = entries.swap_remove(0);
    }
    folder
}

#[test]
fn exit_codes_say_what_the_verdicts_are() {
    egress(written(&passing()).path(), &[], 0);
    egress(written(&leaking()).path(), &[], 1);
    let mut lossy = passing();
    lossy.ledger[2].overflow.packets = 7;
    egress(written(&lossy).path(), &[], 3);
    let none = egress(written(&Tables::quiet()).path(), &[], 3);
    assert_eq!(none, "");
}

#[test]
fn a_node_with_selected_pods_and_no_probe_is_no_pass() {
    let mut tables = passing();
    tables.objects.push(pod_on("gateway"));
    egress(written(&tables).path(), &[], 0);
    let mut tables = passing();
    tables.objects.push(pod_on("elsewhere"));
    let text = egress(written(&tables).path(), &[], 3);
    assert!(text.contains("node elsewhere has no books"), "{text}");
}

#[test]
fn policies_of_a_kind_that_is_not_judged_are_no_pass() {
    let mut tables = passing();
    let mut other = policy(json!({}));
    (other.api_version, other.kind) = ("k8s.ovn.org/v1".into(), "EgressIP".into());
    tables.objects.push(other);
    let text = egress(written(&tables).path(), &["--format", "json"], 3);
    assert!(text.contains("policies of kind EgressIP"), "{text}");
}

#[test]
fn the_table_of_a_leak() {
    insta::assert_snapshot!(egress(written(&leaking()).path(), &["--connections"], 1));
}

#[test]
fn the_json_of_a_leak() {
    insta::assert_snapshot!(egress(written(&leaking()).path(), &["--format", "json"], 1));
}

#[test]
fn the_junit_of_a_leak_and_of_a_loss() {
    let mut lossy = passing();
    lossy.ledger[2].overflow.packets = 7;
    insta::assert_snapshot!(egress(
        written(&leaking()).path(),
        &["--format", "junit"],
        1
    ));
    insta::assert_snapshot!(egress(written(&lossy).path(), &["--format", "junit"], 3));
}

#[test]
fn the_table_of_a_pass_with_a_loss() {
    let mut lossy = passing();
    lossy.ledger[2].overflow.packets = 7;
    insta::assert_snapshot!(egress(written(&lossy).path(), &[], 3));
}

#[test]
fn tables_fit_a_hundred_columns() {
    for line in egress(written(&leaking()).path(), &["--connections"], 1).lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn the_same_dataset_gives_the_same_bytes() {
    let dataset = written(&leaking());
    for format in ["table", "json", "junit"] {
        let once = egress(dataset.path(), &["--format", format, "--connections"], 1);
        let again = egress(dataset.path(), &["--format", format, "--connections"], 1);
        assert_eq!(once, again);
    }
}

#[test]
fn without_objects_nothing_is_demanded() {
    let mut tables = leaking();
    tables.objects.clear();
    let text = egress(written(&tables).path(), &[], 1);
    assert!(text.contains("unexpected_gateway"), "{text}");
    let mut tables = Tables::quiet().connection(40_001, "worker", WORKER_IP);
    tables.objects.clear();
    egress(written(&tables).path(), &[], 0);
}

#[test]
fn filters_narrow_what_is_judged() {
    let dataset = written(&leaking());
    egress(
        dataset.path(),
        &["--pod", "app/client", "--policy", "web"],
        1,
    );
    egress(dataset.path(), &["--pod", "app/other"], 3);
    egress(dataset.path(), &["--to", "2026-01-01T00:00:00Z"], 3);
    egress(dataset.path(), &["--from", "2026-01-01T00:00:00Z"], 1);
    egress(dataset.path(), &["--except-cidr", "192.0.2.0/24"], 1);
}

#[test]
fn peers_that_a_server_saw_are_a_witness() {
    let dataset = written(&passing());
    let log = dataset.path().join("peers.tsv");
    let header = "time_us\tprotocol\tpeer_address\tpeer_port\tlocal_address\tlocal_port\n";
    let line = |peer: &str| {
        format!(
            "{}\ttcp\t{peer}\t40000\t192.0.2.9\t5201\n",
            START_US + 1_100_000
        )
    };
    let arguments = ["--peers", log.to_str().unwrap()];
    fs::write(&log, format!("{header}{}", line(EGRESS_IP))).unwrap();
    assert!(egress(dataset.path(), &arguments, 0).contains("1 exits confirmed"));
    fs::write(&log, format!("{header}{}", line(WORKER_IP))).unwrap();
    assert!(egress(dataset.path(), &arguments, 3).contains("1 contradicted"));
    fs::write(&log, format!("{header}nonsense\n")).unwrap();
    let root = dataset.path().to_str().unwrap();
    refused(
        &["egress", "--dataset", root, arguments[0], arguments[1]],
        &["peers.tsv", "line 2"],
    );
}

#[test]
fn a_dataset_that_is_not_there_is_refused() {
    refused(
        &["egress", "--dataset", "/nowhere/at-all"],
        &["/nowhere/at-all"],
    );
    refused(
        &["inspect", "--dataset", "/nowhere/at-all"],
        &["/nowhere/at-all"],
    );
    let empty = tempfile::tempdir().unwrap();
    refused(
        &["egress", "--dataset", empty.path().to_str().unwrap()],
        &[],
    );
}

#[test]
fn a_truncated_file_is_refused() {
    let dataset = written(&passing());
    let file = file_of(dataset.path(), "flows");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    refused(
        &["egress", "--dataset", dataset.path().to_str().unwrap()],
        &[name],
    );
    refused(
        &["inspect", "--dataset", dataset.path().to_str().unwrap()],
        &[name],
    );
}

#[test]
fn an_unknown_schema_version_is_refused() {
    let dataset = written(&passing());
    let file = file_of(dataset.path(), "snat");
    let bytes = fs::read(&file).unwrap();
    // The version stands in the file's key-value metadata, in its footer and in the Arrow schema.
    let key = b"weighbridge.schema_version";
    let mut changed = bytes.clone();
    let mut places = 0;
    for start in 0..bytes.len() - key.len() {
        if &bytes[start..start + key.len()] == key {
            let value = start + key.len();
            let version = SCHEMA_VERSION.to_string().into_bytes()[0];
            let digit = (value..value + 12)
                .find(|&at| bytes[at] == version)
                .unwrap();
            changed[digit] = b'9';
            places += 1;
        }
    }
    assert!(places > 0, "the file names its version");
    fs::write(&file, changed).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    refused(
        &["egress", "--dataset", dataset.path().to_str().unwrap()],
        &[name, "version", "9"],
    );
}

#[test]
fn a_broken_policy_is_refused() {
    let mut tables = passing();
    tables.objects.pop();
    tables
        .objects
        .push(policy(json!({"podSelector": {"matchLabels": ["app"]}})));
    let dataset = written(&tables);
    let root = dataset.path().to_str().unwrap();
    refused(
        &["egress", "--dataset", root],
        &["Egress", "web", "matchLabels"],
    );
}

#[test]
fn a_run_that_is_not_there_is_refused() {
    let dataset = written(&passing());
    let root = dataset.path().to_str().unwrap();
    refused(
        &["egress", "--dataset", root, "--run", "r1"],
        &["--run r1", "no runs"],
    );
}

#[test]
fn a_run_of_iperf3_that_cannot_be_read_is_refused() {
    for (text, names) in [
        ("", ["iperf3.json", "empty"]),
        ("not JSON", ["iperf3.json", "not the JSON"]),
        (
            r#"{"start":{"connected":[],"version":"iperf 3.12"},"intervals":[],"end":{},"error":"error - unable to connect to server: Connection refused"}"#,
            ["iperf3.json", "Connection refused"],
        ),
    ] {
        let dataset = written(&passing());
        add_run(dataset.path(), text);
        refused(
            &[
                "egress",
                "--dataset",
                dataset.path().to_str().unwrap(),
                "--run",
                "r1",
            ],
            &names,
        );
    }
}

/// A run over the whole of the dataset.
fn add_run(root: &Path, iperf3: &str) {
    let folder = root.join("runs").join("r1");
    fs::create_dir_all(&folder).unwrap();
    let manifest = RunManifest {
        campaign: "test".into(),
        case: "gateway".into(),
        tool_version: "iperf 3.12".into(),
        client_pod: Some("app/client".into()),
        server_address: Some("192.0.2.9".into()),
        server_port: Some(5201),
        files: [("iperf3.json".to_owned(), "iperf3-json".to_owned())].into(),
        kernel: "6.12.0".into(),
        ..RunManifest::new("r1", "iperf3", (START_US + 500_000, START_US + 9_500_000))
    };
    fs::write(
        folder.join("manifest.json"),
        serde_json::to_string(&manifest).unwrap(),
    )
    .unwrap();
    fs::write(folder.join("iperf3.json"), iperf3).unwrap();
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let dataset = written(&passing());
    let command = format!(
        "'{}' egress --dataset '{}' --format json | true; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_weighbridge"),
        dataset.path().display()
    );
    Command::new("bash").args(["-c", &command]).assert().code(0);
}

#[test]
fn inspect_says_what_a_dataset_holds() {
    let dataset = written(&passing());
    let root = dataset.path().to_str().unwrap();
    let output = weighbridge(&["inspect", "--dataset", root])
        .output()
        .unwrap();
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
    let output = weighbridge(&["inspect", "--dataset", root, "--format", "json"])
        .output()
        .unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["tables"][0]["table"], "flows");
}
