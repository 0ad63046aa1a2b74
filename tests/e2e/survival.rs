//! What is left of a probe that dies, is stopped, or is not alone.
//!
//! The client's log is the witness: it says which connections there were.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use lab::{Config, Connections, Datapath, Family, Lab, LoadServer, ProbeOptions, Probes, now_us};
use nix::{sys::signal, sys::signal::Signal, unistd::Pid};
use trace_schema::{
    file,
    flows::FlowRow,
    layout::FileName,
    ledger::{LedgerRow, Vantage},
    record::Record,
    snat::SnatRow,
};

use crate::dataset;

const PORT: u16 = 9_000;
/// The only node that is watched: the pods'.
const NODE: &str = "worker";
const INTERVAL_US: i64 = 1_000_000;
/// From the end of an interval until its files are there.
const WRITING_US: i64 = 300_000;
/// How long the end of a probe may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn what_a_killed_probe_wrote_is_whole_and_a_new_one_clears_up() {
    let scene = Scene::new();
    let mut probes = scene.probe(&["--merge-every", "1h"]);
    let client = scene
        .lab
        .start_connections(&scene.load(600))
        .expect("connections");
    // In the middle of an interval, after several that were written.
    thread::sleep(Duration::from_millis(3_500));
    let killed_us = now_us();
    probes.kill(NODE).expect("the probe is killed");
    client.finish().expect("the client ends well");

    // Each opens every file there is.
    let flows: Vec<FlowRow> = dataset::rows(scene.dataset());
    let ledger: Vec<LedgerRow> = dataset::rows(scene.dataset());
    let _: Vec<SnatRow> = dataset::rows(scene.dataset());
    assert!(!flows.is_empty(), "nothing was written before the kill");
    let last_us = ledger
        .iter()
        .map(|row| row.interval_end_us)
        .max()
        .expect("rows");
    let missing_us = killed_us - last_us;
    assert!(
        (0..INTERVAL_US + WRITING_US).contains(&missing_us),
        "{missing_us} us are missing"
    );

    let leftovers = scene.leave_more_behind();
    let (code, report) = dataset::weighbridge("inspect", scene.dataset(), &[]);
    assert!(matches!(code, Some(0 | 3)), "exit code {code:?}");
    let tables = report["tables"].as_array().expect("tables");
    let held = tables.iter().find(|table| table["table"] == "flows");
    assert_eq!(
        held.expect("flows")["rows"],
        flows.len(),
        "a reader counts leftovers"
    );
    for path in shell_glob(scene.dataset()) {
        assert!(
            !path.starts_with('.'),
            "{path} is in the way of other readers"
        );
    }

    let probes = scene.probe(&[]);
    for path in &leftovers {
        assert!(!path.exists(), "{} was not cleared", path.display());
    }
    scene.lab.connect(&scene.load(50)).expect("connections");
    probes.stop().expect("the probe ends well");
    let all: Vec<FlowRow> = dataset::rows(scene.dataset());
    let kept = all.iter().filter(|row| flows.contains(row)).count();
    assert_eq!(
        kept,
        flows.len(),
        "rows of the killed probe are lost or doubled"
    );
    assert!(all.len() > flows.len(), "the new probe wrote nothing");
    check_no_row_twice(&all);
    // That nobody watched in between is said.
    let (_, report) = dataset::weighbridge("inspect", scene.dataset(), &[]);
    let gaps = report["books"]["gaps"].as_array().expect("gaps");
    assert!(
        gaps.iter().any(|gap| gap["series"]["node"] == NODE),
        "no gap is named: {gaps:#?}"
    );
}

#[test]
fn sigterm_writes_the_open_interval() {
    check_signal(Signal::SIGTERM);
}

#[test]
fn sigint_writes_the_open_interval() {
    check_signal(Signal::SIGINT);
}

#[test]
fn a_second_probe_of_a_node_is_refused() {
    let scene = Scene::new();
    let first = scene.probe(&[]);
    let refused = scene
        .try_probe(&[])
        .expect_err("the second probe runs beside the first");
    let refusal = refused.to_string();
    assert!(
        refusal.contains(NODE) && refusal.contains("exit status: 2"),
        "{refusal}"
    );
    let sent = scene.lab.connect(&scene.load(100)).expect("connections");
    first.stop().expect("the first probe was disturbed");
    let flows: Vec<FlowRow> = dataset::rows(scene.dataset());
    check_no_row_twice(&flows);
    assert_eq!(dataset::sources(&flows, PORT).len(), sent.len());
    // Once it is gone, another may follow.
    scene.probe(&[]).stop().expect("a probe after the first");
}

/// An interval far longer than the run: all rows are of the open one.
fn check_signal(asked: Signal) {
    let scene = Scene::new();
    let started_us = now_us();
    let mut probes = scene.probe(&["--interval", "2m"]);
    let sent = scene.lab.connect(&scene.load(200)).expect("connections");
    assert!(
        dataset::rows::<LedgerRow>(scene.dataset()).is_empty(),
        "an interval ended early"
    );
    let asked_us = now_us();
    for (_, id) in probes.ids() {
        let id = Pid::from_raw(i32::try_from(id).expect("a process id"));
        signal::kill(id, asked).expect("the signal");
    }
    let waiting = Instant::now();
    while probes.check().is_ok() {
        assert!(
            waiting.elapsed() < PATIENCE,
            "{asked} does not end the probe"
        );
        thread::sleep(Duration::from_millis(10));
    }
    probes.stop().expect("a clean end");

    let flows: Vec<FlowRow> = dataset::rows(scene.dataset());
    let expected: HashSet<SocketAddr> = sent.iter().filter_map(|one| one.source).collect();
    assert_eq!(expected.len(), 200, "the client opened fewer connections");
    assert_eq!(
        dataset::sources(&flows, PORT),
        expected,
        "{asked}: the open interval is not whole"
    );
    let ledger: Vec<LedgerRow> = dataset::rows(scene.dataset());
    assert!(
        ledger.iter().any(|row| row.vantage == Vantage::Wire),
        "no books"
    );
    for row in ledger {
        assert!(
            row.interval_start_us >= started_us && row.interval_end_us >= asked_us,
            "{row:?}"
        );
    }
    let hidden = hidden_files(scene.dataset());
    assert!(hidden.is_empty(), "temporary files are left: {hidden:?}");
}

/// A lab with a server, and a dataset.
struct Scene {
    server: LoadServer,
    lab: Lab,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        e2e::require_root();
        let lab = Lab::up(Config::new(Datapath::Netfilter)).expect("a lab");
        let server = lab.start_server(PORT).expect("a server");
        let folder = tempfile::tempdir().expect("a temporary directory");
        Self {
            server,
            lab,
            folder,
        }
    }

    fn dataset(&self) -> &Path {
        self.folder.path()
    }

    fn load(&self, count: u32) -> Connections {
        Connections::short("client", "tcp", self.server.socket(Family::V4), count)
    }

    fn probe(&self, arguments: &[&str]) -> Probes {
        self.try_probe(arguments).expect("a probe")
    }

    fn try_probe(&self, arguments: &[&str]) -> Result<Probes, lab::LabError> {
        let mut options = ProbeOptions::new(dataset::binary("weighbridge-probe"), self.dataset());
        options.nodes = vec![NODE.to_owned()];
        match arguments {
            ["--interval", interval] => options.interval = (*interval).to_owned(),
            others => options.arguments = others.iter().map(|&one| one.to_owned()).collect(),
        }
        self.lab.start_probes(&options)
    }

    /// What a kill at a worse moment leaves: half a file under its temporary name, and files that
    /// were merged but not yet removed. Their paths.
    fn leave_more_behind(&self) -> Vec<PathBuf> {
        let mut files = parquet_files(&self.dataset().join(FlowRow::TABLE));
        files.sort();
        let [first, second, ..] = files.as_slice() else {
            panic!("too few files: {files:?}")
        };
        let name = |path: &Path| -> FileName {
            path.file_name()
                .and_then(|name| name.to_str())
                .expect("a name")
                .parse()
                .expect("ours")
        };
        let merged = first.with_file_name(name(first).merged_with(&name(second)).to_string());
        let inputs = vec![first.clone(), second.clone()];
        file::merge::<FlowRow>(&inputs, &merged).expect("merged");
        let last = files.last().expect("a file");
        let bytes = std::fs::read(last).expect("a readable file");
        let next = FileName {
            first_seq: 999,
            last_seq: 999,
            ..name(last)
        };
        let half = last.with_file_name(format!(".{next}.tmp"));
        std::fs::write(&half, &bytes[..bytes.len() / 2]).expect("half a file");
        [inputs, vec![half]].concat()
    }
}

/// Whole files below a folder.
fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in everything(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".parquet") && !name.starts_with('.') {
            found.push(path);
        }
    }
    found
}

/// Files of tables that begin with a dot.
fn hidden_files(dataset: &Path) -> Vec<PathBuf> {
    let mut found = everything(&dataset.join(FlowRow::TABLE));
    found.extend(everything(&dataset.join(LedgerRow::TABLE)));
    found.retain(|path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .starts_with('.')
    });
    found
}

fn everything(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                everything(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Names that the pattern of other readers finds.
fn shell_glob(dataset: &Path) -> Vec<String> {
    let output = Command::new("sh")
        .args(["-c", "ls -1 \"$0\"/flows/*/*/*.parquet"])
        .arg(dataset)
        .output()
        .expect("a shell");
    assert!(output.status.success(), "the pattern finds nothing");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .map(|line| line.rsplit('/').next().unwrap_or_default().to_owned())
        .collect()
}

/// A flow stands once in an interval of a hook.
fn check_no_row_twice(flows: &[FlowRow]) {
    let mut seen = HashSet::new();
    for row in flows {
        let key = (
            (
                row.interval_start_us,
                row.vantage,
                row.interface.clone(),
                row.direction,
            ),
            (
                row.protocol.clone(),
                row.cgroup_id,
                row.encapsulation.clone(),
            ),
            (
                row.src_address.clone(),
                row.src_port,
                row.dst_address.clone(),
                row.dst_port,
            ),
        );
        assert!(seen.insert(key), "twice: {row:?}");
    }
}
