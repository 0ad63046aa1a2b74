//! `weighbridge report` as a user meets it: one file, its exit code, and what it says where a dataset
//! holds little.

use std::fs;
use std::path::Path;

use serde_json::Value;
use trace_schema::manifest::{RunManifest, RunOutcome};

use super::dataset::{START_US, Tables};
use super::{leaking, passing, refused, weighbridge, written};

/// What the command writes to standard output, after checking the exit code.
#[track_caller]
fn report(root: &Path, more: &[&str], code: i32) -> String {
    let root = root
        .to_str()
        .expect("temporary folders have readable names");
    let mut arguments = vec!["report", "--dataset", root];
    arguments.extend(more);
    let output = weighbridge(&arguments)
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    String::from_utf8(output.stdout).expect("reports are text")
}

/// The same with books that balance: the ledger counts what the flows hold.
fn balanced(mut tables: Tables) -> Tables {
    for flow in &tables.flows {
        for row in &mut tables.ledger {
            let is_same = row.node == flow.node && row.vantage == flow.vantage;
            if is_same && row.interval_start_us == flow.interval_start_us {
                row.counted.packets += flow.packets;
                row.counted.bytes += flow.bytes;
                row.counted.buffers += flow.buffers;
                row.counted.buffer_bytes += flow.buffer_bytes;
            }
        }
    }
    tables
}

fn data(root: &Path, code: i32) -> Value {
    serde_json::from_str(&report(root, &["--format", "json"], code)).expect("it is JSON")
}

fn figure<'a>(document: &'a Value, id: &str) -> &'a Value {
    let figures = document["figures"].as_array().expect("figures are a list");
    let found = figures.iter().find(|figure| figure["id"] == id);
    found.unwrap_or_else(|| panic!("no figure {id}"))
}

/// A run over the dataset's ten seconds, with iperf3's sample file.
fn add_run(root: &Path, id: &str, outcome: RunOutcome) {
    let mut manifest = RunManifest::new(id, "iperf3", (START_US, START_US + 10_000_000));
    manifest.case = "netfilter-gateway".to_owned();
    manifest.kernel = "6.8.0".to_owned();
    manifest.outcome = outcome;
    manifest
        .files
        .insert("iperf3.json".to_owned(), "iperf3-json".to_owned());
    let folder = root.join("runs").join(id);
    manifest
        .write(&folder)
        .expect("the folder takes a manifest");
    let sample =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/iperf3/iperf3.12_tcp.json");
    fs::copy(sample, folder.join("iperf3.json")).expect("the sample is there");
}

#[test]
fn the_exit_code_is_that_of_the_worst_verdict() {
    report(written(&balanced(passing())).path(), &[], 0);
    report(written(&balanced(leaking())).path(), &[], 1);
    // Packets that no book has are no pass, however they left.
    report(written(&passing()).path(), &[], 1);
    report(written(&Tables::quiet()).path(), &[], 3);
}

#[test]
fn verdicts_and_leaks_are_those_of_egress() {
    let dataset = written(&leaking());
    let document = data(dataset.path(), 1);
    let verdicts = document["verdicts"]
        .as_array()
        .expect("verdicts are a list");
    let egress = &verdicts[0];
    assert_eq!(
        (&egress["of"], &egress["result"]),
        (&"egress".into(), &"fail".into())
    );
    let leaks = figure(&document, "leaks");
    assert_eq!(leaks["tables"][0]["rows"][0][2], "node_ip_leak");
    assert_eq!(leaks["plots"][0]["rows"][0]["name"], "app/client");
    let junit = report(dataset.path(), &["--format", "junit"], 1);
    assert!(
        junit.contains("<failure") && junit.contains("1 connection node ip leak"),
        "{junit}"
    );
}

#[test]
fn a_figure_without_data_says_what_records_it() {
    let document = data(written(&balanced(passing())).path(), 0);
    let missing = &figure(&document, "consumption")["missing"];
    assert_eq!(missing["command"], "weighbridge-probe run --resources on");
    assert_eq!(
        figure(&document, "consumption")["plots"],
        Value::Array(Vec::new())
    );
}

#[test]
fn a_failed_run_is_listed_and_in_no_figure() {
    let dataset = written(&balanced(passing()));
    add_run(dataset.path(), "run-1", RunOutcome::Completed);
    add_run(dataset.path(), "run-2", RunOutcome::Failed);
    let document = data(dataset.path(), 0);
    let goodput = &figure(&document, "throughput")["plots"][0]["rows"][0];
    assert_eq!(goodput["name"], "netfilter-gateway");
    assert_eq!(goodput["observations"].as_array().map(Vec::len), Some(1));
    let runs = &document["appendix"][0]["table"];
    assert_eq!(runs["rows"].as_array().map(Vec::len), Some(2));
    let mut columns = runs["columns"].as_array().expect("a list").iter();
    let outcome = columns.position(|column| column["name"] == "outcome");
    assert_eq!(runs["rows"][1][outcome.expect("a column")], "failed");
}

#[test]
fn every_input_file_has_the_hash_that_anyone_can_make() {
    let dataset = written(&balanced(passing()));
    add_run(dataset.path(), "run-1", RunOutcome::Completed);
    let document = data(dataset.path(), 0);
    let groups = document["inputs"].as_array().expect("inputs are a list");
    let names: Vec<&str> = groups
        .iter()
        .filter_map(|group| group["name"].as_str())
        .collect();
    assert_eq!(names, ["flows", "ledger", "objects", "snat", "runs"]);
    let files = groups
        .iter()
        .filter_map(|group| group["files"].as_array())
        .flatten();
    for file in files {
        let path = dataset.path().join(file["path"].as_str().expect("a path"));
        let output = std::process::Command::new("sha256sum").arg(&path).output();
        let output = output.expect("sha256sum is there: apt-get install coreutils");
        let hash = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            file["sha256"].as_str(),
            hash.split(' ').next(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_page_is_written_whole_and_the_same_each_time() {
    let dataset = written(&leaking());
    add_run(dataset.path(), "run-1", RunOutcome::Completed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = |name: &str| {
        let path = folder.path().join(name);
        let shown = path.to_str().expect("a readable name").to_owned();
        assert_eq!(report(dataset.path(), &["-o", &shown], 1), "");
        fs::read_to_string(path).expect("it was written")
    };
    let first = page("one.html");
    assert!(first.starts_with("<!DOCTYPE html>") && first.ends_with("</html>\n"));
    assert_eq!(first, page("two.html"));
    let left = fs::read_dir(folder.path())
        .expect("the folder is there")
        .count();
    assert_eq!(left, 2, "nothing half-written stays");
}

#[test]
fn a_dataset_by_url_gives_what_its_folder_gives() {
    let dataset = written(&balanced(passing()));
    add_run(dataset.path(), "run-1", RunOutcome::Completed);
    add_run(dataset.path(), "run-2", RunOutcome::Completed);
    let folder = dataset.path().to_str().expect("a readable name");
    let url = format!("file://{folder}");
    for arguments in [
        vec!["report"],
        vec!["report", "--format", "json"],
        vec!["compare", "--metric", "goodput"],
        vec!["egress", "--run", "run-2"],
    ] {
        let of = |place: &str| {
            let place = ["--dataset", place];
            let output = weighbridge(&[arguments.as_slice(), &place].concat()).output();
            let output = output.expect("the program starts");
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
            output.stdout
        };
        let by_folder = of(folder);
        assert!(
            !by_folder.is_empty() && by_folder == of(&url),
            "{arguments:?}"
        );
    }
}

#[test]
fn files_of_failed_runs_are_read_by_those_who_name_them() {
    let dataset = written(&balanced(passing()));
    add_run(dataset.path(), "run-1", RunOutcome::Completed);
    add_run(dataset.path(), "run-2", RunOutcome::Failed);
    // What a client that was killed leaves behind.
    fs::write(dataset.path().join("runs/run-2/iperf3.json"), "")
        .expect("the run's folder is there");
    let root = dataset.path().to_str().expect("a readable name");
    let egress = ["egress", "--dataset", root];
    let output = weighbridge(&egress).output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert_eq!(
        errors.trim_end(),
        "weighbridge: the failed run run-2 is left out; --run run-2 reads it"
    );
    let named = [egress.as_slice(), &["--run", "run-2"]].concat();
    refused(&named, &["run-2/iperf3.json", "killed before it wrote"]);
}

#[test]
fn bad_use_gets_one_line() {
    refused(&["report", "--dataset", "/nowhere"], &["/nowhere"]);
    let dataset = written(&passing());
    let root = dataset.path().to_str().expect("a readable name");
    let nowhere = "/nowhere/report.html";
    refused(
        &["report", "--dataset", root, "-o", nowhere],
        &["--output", nowhere],
    );
    let damaged = dataset.path().join("runs/run-1");
    fs::create_dir_all(&damaged).expect("the folder takes a run");
    fs::write(damaged.join("manifest.json"), "{").expect("the folder takes a file");
    refused(&["report", "--dataset", root], &["manifest.json"]);
}
