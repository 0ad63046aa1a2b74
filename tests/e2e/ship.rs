//! From the spool to Azurite and moto, and back by the analyzer: everything arrives, an outage loses
//! nothing and holds nothing up, and what a full spool gave up stands in the books.
//!
//! The stores run on the loopback of the node that is watched.

mod servers;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Config, Connections, Datapath, Family, Lab, ProbeOptions, Probes};
use serde_json::Value;
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{Count, LedgerRow, Vantage};

use self::servers::{Kind, StoreServer};
use crate::dataset::binary;

const NODE: &str = "worker";
const BOOT_ID: &str = "deadb007-0000-0000-0000-000000000000";
const START_US: i64 = 1_767_225_600_000_000;
const SECOND_US: i64 = 1_000_000;
/// Rows of one large file: more than is sent in one piece.
const LARGE_ROWS: i64 = 160_000;
/// How long files may take to leave.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn what_a_dead_probe_left_arrives_whole_in_azurite() {
    check_arrival(Kind::Azurite);
}

#[test]
fn what_a_dead_probe_left_arrives_whole_in_moto() {
    check_arrival(Kind::Moto);
}

fn check_arrival(kind: Kind) {
    let scene = Scene::new();
    let server = StoreServer::start(&scene.lab, NODE, kind);
    let url = kind.url("clusters/a");
    let left = leave_files(scene.spool(), wanted_bytes());
    let probes = scene.probe(&server, &["--store", &url, "--ship-rate", "1GiB"]);
    let started = Instant::now();
    while held(scene.spool())
        .iter()
        .any(|path| left.paths.contains(path))
    {
        assert!(
            started.elapsed() < PATIENCE,
            "files do not leave: {}",
            scene.log(&probes)
        );
        thread::sleep(Duration::from_millis(200));
    }
    eprintln!("{} bytes shipped in {:?}", left.bytes, started.elapsed());
    probes.stop().expect("the probe ends well");
    assert_eq!(
        held(scene.spool()),
        Vec::<PathBuf>::new(),
        "the last files are shipped too"
    );

    let (_, report) = weighbridge(&server, "inspect", &url, &[]);
    let of_dead = |sum: &&Value| sum["series"]["interface"] == "left";
    let sums = report["books"]["flow_sums"].as_array().expect("sums");
    let sum = sums.iter().find(of_dead).expect("the dead probe's flows");
    assert_eq!(sum["flows"]["bytes"], left.flow_bytes);
    assert_eq!(sum["counted"], sum["flows"], "every flow has its books");
    let tables = report["tables"].as_array().expect("tables");
    let flows = tables
        .iter()
        .find(|table| table["table"] == "flows")
        .expect("flows");
    assert!(flows["rows"].as_i64() >= Some(left.rows), "{flows}");
}

#[test]
fn an_outage_under_load_loses_nothing_and_leaves_the_sampling_alone() {
    let scene = Scene::new();
    let mut server = StoreServer::start(&scene.lab, NODE, Kind::Azurite);
    let url = Kind::Azurite.url("outage");
    let probes = scene.probe(&server, &["--store", &url, "--merge-every", "2s"]);
    let length = outage() + Duration::from_secs(10);
    let sent = scene.load(length, || {
        thread::sleep(Duration::from_secs(5));
        server.down();
        thread::sleep(outage());
        let waiting = held(scene.spool()).len();
        assert!(
            waiting > 4,
            "only {waiting} files wait: the outage was none"
        );
        server.up();
    });
    // Of the intervals that are merged every two seconds, few are there at a time.
    let started = Instant::now();
    while held(scene.spool()).len() > 40 {
        assert!(
            started.elapsed() < PATIENCE,
            "it does not catch up: {}",
            scene.log(&probes)
        );
        thread::sleep(Duration::from_millis(200));
    }
    probes.stop().expect("the probe ends well");
    assert_eq!(held(scene.spool()), Vec::<PathBuf>::new());
    let log = scene.last_log();
    assert!(
        log.contains("takes files again"),
        "no outage was met: {log}"
    );

    let (code, report) = weighbridge(&server, "inspect", &url, &[]);
    assert_eq!(code, Some(0), "the books balance: {report:#}");
    assert_eq!(report["books"]["gaps"], serde_json::json!([]));
    for watch in report["books"]["watches"].as_array().expect("watches") {
        let figure = |name: &str| watch[name].as_i64().expect(name);
        let mean_us = (figure("until_us") - figure("from_us")) / figure("intervals");
        // The last one is cut off by the end.
        let allowed = SECOND_US * 9 / 10..=SECOND_US * 21 / 20;
        assert!(
            allowed.contains(&mean_us),
            "intervals of {mean_us} us: {watch}"
        );
        assert!(
            (figure("interval_us") - SECOND_US).abs() < SECOND_US / 50,
            "{watch}"
        );
    }
    let seen = connections(&server, &url, &scene);
    assert_eq!(
        seen, sent,
        "connections of the client's log that the store has"
    );
}

#[test]
fn a_full_spool_gives_up_the_oldest_and_the_books_say_how_much() {
    let scene = Scene::new();
    let mut server = StoreServer::start(&scene.lab, NODE, Kind::Moto);
    server.down();
    let url = Kind::Moto.url("full");
    let probes = scene.probe(
        &server,
        &[
            "--store",
            &url,
            "--merge-every",
            "2s",
            "--spool-limit",
            "300KiB",
        ],
    );
    scene.load(Duration::from_secs(15), || {});
    assert!(
        scene.log(&probes).contains("the spool is full"),
        "{}",
        scene.log(&probes)
    );
    // moto forgets: the container is made anew.
    let server = StoreServer::start(&scene.lab, NODE, Kind::Moto);
    thread::sleep(Duration::from_secs(3));
    probes.stop().expect("the probe ends well");
    assert_eq!(held(scene.spool()), Vec::<PathBuf>::new());

    let (_, report) = weighbridge(&server, "inspect", &url, &[]);
    let losses = report["books"]["losses"].as_array().expect("losses").iter();
    let told: i64 = losses
        .filter_map(|loss| loss["spool_dropped_rows"].as_i64())
        .sum();
    let log = scene.last_log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let dropped = lines.filter(|line| {
        let message = line["fields"]["message"].as_str().unwrap_or_default();
        message.starts_with("the spool is full")
    });
    let rows: i64 = dropped
        .filter_map(|line| line["fields"]["rows"].as_i64())
        .sum();
    assert_eq!(told, rows, "the books and the log: {log}");
    assert!(told > 0);
    assert_ne!(report["books"]["balance"], "off", "{report:#}");
}

/// A lab whose worker is watched, and a spool.
struct Scene {
    lab: Lab,
    spool: tempfile::TempDir,
    logs: std::cell::RefCell<Vec<PathBuf>>,
}

impl Scene {
    fn new() -> Self {
        e2e::require_root();
        Self {
            lab: Lab::up(Config::new(Datapath::Netfilter)).expect("a lab"),
            spool: tempfile::tempdir().expect("a folder"),
            logs: std::cell::RefCell::default(),
        }
    }

    fn spool(&self) -> &Path {
        self.spool.path()
    }

    fn probe(&self, server: &StoreServer<'_>, arguments: &[&str]) -> Probes {
        let program = server.with_environment(&binary("weighbridge-probe"));
        let mut options = ProbeOptions::new(program, self.spool());
        options.nodes = vec![NODE.to_owned()];
        let arguments = arguments.iter().chain(&["--log-format", "json"]);
        options.arguments = arguments.map(|&text| text.to_owned()).collect();
        let probes = self.lab.start_probes(&options).expect("a probe");
        self.logs
            .borrow_mut()
            .extend(probes.logs().into_iter().map(|(_, path)| path));
        probes
    }

    fn log(&self, probes: &Probes) -> String {
        let logs = probes.logs();
        std::fs::read_to_string(&logs[0].1).unwrap_or_default()
    }

    fn last_log(&self) -> String {
        let logs = self.logs.borrow();
        let last = logs.last().expect("a log");
        std::fs::read_to_string(last).unwrap_or_default()
    }

    /// Opens connections for so long while the work is done; returns how many there were.
    fn load(&self, length: Duration, work: impl FnOnce()) -> usize {
        const PORT: u16 = 9_000;
        const RATE_PER_S: u32 = 200;
        let server = self.lab.start_server(PORT).expect("a server");
        let count = u32::try_from(length.as_secs()).expect("a short time") * RATE_PER_S;
        let load = Connections::short("client", "tcp", server.socket(Family::V4), count);
        let client = self.lab.start_connections(&load).expect("connections");
        work();
        let sent = client.finish().expect("the client ends well").len();
        server.stop().expect("the server ends");
        sent
    }
}

/// What was put into a spool as if a probe had died.
struct Left {
    paths: Vec<PathBuf>,
    bytes: u64,
    rows: i64,
    flow_bytes: i64,
}

/// Leaves about so many bytes: large files of flows, and a small one of their books.
fn leave_files(spool: &Path, wanted_bytes: u64) -> Left {
    let metadata = FileMetadata {
        node: NODE.to_owned(),
        boot_id: BOOT_ID.to_owned(),
        tool_version: "test".to_owned(),
        clock: "test".to_owned(),
    };
    let folder = partition_dir(spool, "flows", START_US, NODE);
    let name =
        |seq: u64| FileName::of_interval(START_US + seq.cast_signed() * SECOND_US, BOOT_ID, 1, seq);
    let rows: Vec<FlowRow> = (0..LARGE_ROWS).map(flow).collect();
    let first = folder.join(name(0).to_string());
    file::write(&first, &rows, &metadata).expect("a file");
    let size = std::fs::metadata(&first).expect("a file").len();
    assert!(size > 8 << 20, "{size} bytes are sent in one piece");
    let copies = wanted_bytes.div_ceil(size);
    let mut paths = vec![first.clone()];
    for seq in 1..copies {
        let path = folder.join(name(seq).to_string());
        std::fs::copy(&first, &path).expect("a copy");
        paths.push(path);
    }
    let flow_bytes: i64 = rows.iter().map(|row| row.bytes).sum::<i64>() * copies.cast_signed();
    let span_us = (START_US, START_US + SECOND_US);
    let all = |of: fn(&FlowRow) -> i64| rows.iter().map(of).sum::<i64>() * copies.cast_signed();
    let books = LedgerRow {
        interface: Some("left".to_owned()),
        direction: Some(Direction::Egress),
        counted: Count {
            packets: all(|row| row.packets),
            bytes: flow_bytes,
            buffers: all(|row| row.buffers),
            buffer_bytes: all(|row| row.buffer_bytes),
        },
        ..LedgerRow::idle(span_us, NODE, BOOT_ID, Vantage::Tunnel)
    };
    let path = partition_dir(spool, "ledger", START_US, NODE).join(name(0).to_string());
    file::write(&path, &[books], &metadata).expect("a file");
    paths.push(path);
    Left {
        paths,
        bytes: size * copies,
        rows: LARGE_ROWS * copies.cast_signed(),
        flow_bytes,
    }
}

/// A row that does not compress well.
fn flow(number: i64) -> FlowRow {
    let mixed = |salt: u64| {
        let mut value = number.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt;
        value ^= value >> 31;
        value = value.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (value >> 24).cast_signed()
    };
    let id =
        [12, 13, 14, 15].map(|salt| format!("{:016x}", mixed(salt).wrapping_mul(i64::MAX / 3)));
    FlowRow {
        interval_start_us: START_US,
        interval_end_us: START_US + SECOND_US,
        node: NODE.to_owned(),
        boot_id: BOOT_ID.to_owned(),
        vantage: Vantage::Tunnel,
        nat_state: NatState::Pre,
        interface: Some("left".to_owned()),
        direction: Direction::Egress,
        pod_uid: None,
        container_id: Some(id.concat()),
        cgroup_id: Some(mixed(1)),
        protocol: "tcp".to_owned(),
        src_address: "192.0.2.1".to_owned(),
        dst_address: "192.0.2.2".to_owned(),
        src_port: 1,
        dst_port: 2,
        encapsulation: None,
        bytes: mixed(2) % 1_000_000,
        packets: mixed(3) % 1_000,
        buffers: mixed(4) % 1_000,
        buffer_bytes: mixed(5) % 1_000_000,
        tcp_flags: 0,
        srtt_us: Some(mixed(6)),
        min_rtt_us: Some(mixed(7)),
        retransmits: Some(mixed(8)),
        cwnd_segments: Some(mixed(9)),
        first_seen_us: START_US + mixed(10) % SECOND_US,
        last_seen_us: START_US + mixed(11) % SECOND_US,
    }
}

/// Whole and half files in the spool.
fn held(spool: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![spool.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_own = path.file_name().is_some_and(|name| name == ".probe");
            if path.is_dir() && !is_own {
                open.push(path);
            } else if path.to_string_lossy().contains(".parquet") {
                found.push(path);
            }
        }
    }
    found
}

/// Exit code and JSON report of a subcommand on a dataset in a store.
fn weighbridge(
    server: &StoreServer<'_>,
    subcommand: &str,
    url: &str,
    arguments: &[&str],
) -> (Option<i32>, Value) {
    let program = server.with_environment(&binary("weighbridge"));
    let mut command = server.command(program, &[]);
    command.args([subcommand, "--format", "json", "--dataset", url]);
    let output = command.args(arguments).output().expect("weighbridge runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {stderr}"));
    (output.status.code(), report)
}

/// How many connections of the client the analyzer finds in the store.
fn connections(server: &StoreServer<'_>, url: &str, scene: &Scene) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let objects: Vec<Value> = scene
        .lab
        .objects()
        .iter()
        .map(|row| serde_json::from_str(&row.object).expect("an object"))
        .collect();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(folder.path().join("objects.json"), list.to_string()).expect("a file");
    let objects = folder.path().to_str().expect("a path");
    let (_, report) = weighbridge(
        server,
        "egress",
        url,
        &["--connections", "--objects", objects],
    );
    let spells = report["connections"].as_array().expect("connections");
    let ids = spells
        .iter()
        .map(|spell| spell["connection"].as_u64().expect("a number"));
    ids.collect::<std::collections::BTreeSet<_>>().len()
}

/// How much is shipped: more where the machine has the time.
fn wanted_bytes() -> u64 {
    let mebibytes = std::env::var("WEIGHBRIDGE_SHIP_MIB").ok();
    mebibytes
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(128)
        << 20
}

/// How long the store is away.
fn outage() -> Duration {
    let seconds = std::env::var("WEIGHBRIDGE_OUTAGE_S").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(15))
}
