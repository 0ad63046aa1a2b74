//! What runs measured, against iperf3's and k6's own files and against rows whose sums are known.

use std::fs;
use std::path::{Path, PathBuf};

use analyzer::input::k6::Loads;
use analyzer::input::manifest::read_runs;
use analyzer::input::traces::Dataset;
use analyzer::measurements::{Measurements, Metric, Quantity, RunMeasurements, Sources};
use analyzer::objects::History;
use tempfile::TempDir;
use trace_schema::Record;
use trace_schema::file::{self, FileMetadata};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::manifest::{RunManifest, RunOutcome};
use trace_schema::resources::{ResourceRow, ResourceScope};

use super::rows::{SECOND_US, START_US};

const BOOT: &str = "2f1c9ad0-5a0b-4f55-9f4e-4c8f9b6f0a01";
const RUN_S: i64 = 10;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A dataset with one run whose folder holds copies of these files, of these kinds.
fn dataset(tool: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let end_us = START_US + RUN_S * SECOND_US;
    let mut manifest = RunManifest::new("one", tool, (START_US, end_us));
    let run = folder.path().join("runs/one");
    fs::create_dir_all(&run).unwrap();
    for (name, kind) in files {
        let short = name.rsplit('/').next().unwrap();
        fs::copy(fixture(name), run.join(short)).unwrap();
        manifest.files.insert(short.into(), (*kind).into());
    }
    manifest.write(&run).unwrap();
    folder
}

fn measured(root: &Path) -> Measurements {
    let runs = read_runs(&root.join("runs")).unwrap();
    let tables = Dataset::open(root).ok();
    let sources = Sources {
        runs: &runs,
        loads: &Loads::of(&runs),
        dataset: tables.as_ref(),
        history: &History::default(),
        prometheus: &[],
    };
    Measurements::read(&sources).unwrap()
}

fn only(root: &Path) -> RunMeasurements {
    let mut all = measured(root);
    assert_eq!(all.runs.len(), 1);
    all.runs.remove(0)
}

fn value(run: &RunMeasurements, quantity: Quantity) -> Option<f64> {
    run.value(&Metric::whole(quantity))
}

#[test]
fn iperf3_s_omitted_intervals_count_nowhere() {
    let folder = dataset("iperf3", &[("iperf3/iperf3.12_tcp.json", "iperf3-json")]);
    let run = only(folder.path());
    assert_eq!(value(&run, Quantity::Goodput), Some(190_982_563.708_910_05));
    assert_eq!(value(&run, Quantity::Retransmits), Some(23_144.0));
    // Of 1242, 2738, 3030, 3789 and 2703 µs.
    assert_eq!(value(&run, Quantity::RttMean), Some(2700.4));
    assert_eq!(value(&run, Quantity::RttP50), Some(2738.0));
    let server = run.value(&Metric::of(Quantity::ToolCpu, "server"));
    assert_eq!(server, Some(11.049_051_441_578_25));
    let series = run.series_of(&Metric::whole(Quantity::Goodput)).unwrap();
    assert_eq!(series.points.len(), 5);
    assert!(series.points.windows(2).all(|pair| pair[0].at < pair[1].at));
    assert_eq!(series.within, None, "too short to look for a warm-up in");
}

#[test]
fn what_one_end_does_not_know_is_absent_with_a_reason() {
    let folder = dataset("iperf3", &[("iperf3/iperf3.12_tcp_R.json", "iperf3-json")]);
    let run = only(folder.path());
    assert!(value(&run, Quantity::Goodput).is_some());
    let rtt = &run.measured[&Metric::whole(Quantity::RttMean)];
    assert_eq!(rtt.value, None);
    let why = rtt.absent_because.as_deref().unwrap();
    assert!(why.contains("a TCP sender only"), "{why}");
}

#[test]
fn lost_datagrams_are_a_share_of_those_sent() {
    let folder = dataset("iperf3", &[("iperf3/iperf3.12_udp.json", "iperf3-json")]);
    let run = only(folder.path());
    assert_eq!(value(&run, Quantity::UdpLoss), Some(100.0 * 3.0 / 34_524.0));
    let jitter_us = value(&run, Quantity::UdpJitter).unwrap();
    assert!((jitter_us - 9.322_803_611_427_963).abs() < 1e-9);
    assert_eq!(value(&run, Quantity::Goodput), Some(99_967_867.590_554_27));
}

#[test]
fn a_run_that_iperf3_did_not_end_says_so_and_measures_nothing() {
    for (name, why) in [
        ("iperf3/iperf3.12_err_refused.json", "refused"),
        ("iperf3/iperf3.12_err_server_died.json", "the server died"),
    ] {
        let folder = dataset("iperf3", &[(name, "iperf3-json")]);
        let run = only(folder.path());
        assert_eq!(value(&run, Quantity::Goodput), None);
        assert!(
            run.notes.iter().any(|note| note.contains(why)),
            "{:?}",
            run.notes
        );
    }
}

#[test]
fn k6_s_files_fill_each_other_s_gaps() {
    let folder = dataset(
        "k6",
        &[
            ("k6/k6_1.1.0_tagged_out.ndjson", "k6-ndjson"),
            ("k6/k6_1.1.0_handleSummary.json", "k6-summary"),
        ],
    );
    let run = only(folder.path());
    for quantity in [
        Quantity::RequestRate,
        Quantity::RequestFailures,
        Quantity::WaitingP50,
    ] {
        assert!(
            value(&run, quantity).is_some(),
            "{quantity:?}: {:?}",
            run.measured
        );
    }
    let shares: Vec<_> = run
        .series
        .iter()
        .filter(|series| series.metric.quantity == Quantity::SplitShare)
        .collect();
    assert!(!shares.is_empty());
    for place in 0..shares[0].points.len() {
        let sum: f64 = shares.iter().map(|series| series.points[place].value).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}

/// A second of a machine that keeps one of its four CPUs busy.
fn resources(node: &str, boot_id: &str, second: i64) -> ResourceRow {
    ResourceRow {
        interval_start_us: START_US + second * SECOND_US,
        interval_end_us: START_US + (second + 1) * SECOND_US,
        node: node.into(),
        boot_id: boot_id.into(),
        scope: ResourceScope::Node,
        cgroup_id: None,
        cgroup_path: None,
        pod_uid: None,
        container_id: None,
        cpus: Some(4),
        cpu_ns: Some(1_000_000_000),
        cpu_user_ns: None,
        cpu_system_ns: None,
        cpu_softirq_ns: None,
        cpu_steal_ns: None,
        cpu_throttled_ns: None,
        memory_bytes: Some(1_000_000 + second),
        memory_working_set_bytes: None,
        memory_limit_bytes: None,
        cpu_some_pressure_us: None,
        memory_some_pressure_us: None,
        memory_full_pressure_us: None,
        io_some_pressure_us: None,
    }
}

fn write(root: &Path, node: &str, rows: &[ResourceRow]) {
    let metadata = FileMetadata {
        node: node.into(),
        boot_id: BOOT.into(),
        tool_version: "0.1.0".into(),
        clock: "realtime".into(),
    };
    let name = FileName::of_interval(START_US, BOOT, 1, 0).to_string();
    let path = partition_dir(root, ResourceRow::TABLE, START_US, node).join(name);
    file::write(&path, rows, &metadata).expect("the temporary folder takes the table");
}

#[test]
fn nodes_of_one_kernel_are_one_machine() {
    let folder = dataset("iperf3", &[("iperf3/iperf3.12_tcp.json", "iperf3-json")]);
    for (node, boot_id) in [("control", BOOT), ("worker", BOOT), ("apart", "b00t")] {
        // Rows before and behind the run do not count, those across its edges in part.
        let rows: Vec<ResourceRow> = (-3..RUN_S + 3)
            .map(|second| {
                let mut row = resources(node, boot_id, second);
                row.interval_start_us += SECOND_US / 2;
                row.interval_end_us += SECOND_US / 2;
                row
            })
            .collect();
        write(folder.path(), node, &rows);
    }
    let all = measured(folder.path());
    assert!(
        all.notes
            .iter()
            .any(|note| note.contains("control, worker share one kernel")),
        "{:?}",
        all.notes
    );
    let run = &all.runs[0];
    let seconds = value(run, Quantity::CpuSeconds).unwrap();
    assert!((seconds - 20.0).abs() < 1e-9, "{seconds}");
    let percent = value(run, Quantity::CpuPercent).unwrap();
    assert!((percent - 25.0).abs() < 1e-9, "{percent}");
    let of_node = run
        .value(&Metric::of(Quantity::CpuSeconds, "apart"))
        .unwrap();
    assert!((of_node - 10.0).abs() < 1e-9);
    let memory = value(run, Quantity::Memory).unwrap();
    assert!((2_000_000.0..2_000_020.0).contains(&memory), "{memory}");
    assert!(
        run.series_of(&Metric::whole(Quantity::CpuPercent))
            .is_some()
    );
}

#[test]
fn half_a_run_s_rows_make_no_number() {
    let folder = dataset("iperf3", &[("iperf3/iperf3.12_tcp.json", "iperf3-json")]);
    let rows: Vec<ResourceRow> = (0..RUN_S / 2)
        .map(|second| resources("worker", BOOT, second))
        .collect();
    write(folder.path(), "worker", &rows);
    let run = only(folder.path());
    let cpu = &run.measured[&Metric::whole(Quantity::CpuSeconds)];
    assert_eq!(cpu.value, None);
    let why = cpu.absent_because.as_deref().unwrap();
    assert!(why.contains("cover 50 % of the run"), "{why}");
}

#[test]
fn a_failed_run_is_listed_and_not_measured() {
    let folder = dataset("iperf3", &[("iperf3/iperf3.12_tcp.json", "iperf3-json")]);
    let run = folder.path().join("runs/one");
    let mut manifest = RunManifest::read(&run).unwrap();
    manifest.outcome = RunOutcome::Failed;
    manifest.write(&run).unwrap();
    let run = only(folder.path());
    assert!(!run.counts() && run.measured.is_empty() && run.series.is_empty());
}
