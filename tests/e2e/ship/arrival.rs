//! What a dead probe left leaves at the next start, a gibibyte of it, and is in the store what it was
//! on disk: byte for byte by another client, and sum for sum by the analyzer.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use trace_schema::Record as _;
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{Count, LedgerRow, Vantage};

use super::client::{Object, sha256};
use super::servers::{Kind, StoreServer};
use super::{Log, NODE, PATIENCE, SECOND_US, Scene, held};
use crate::dataset;

const BOOT_ID: &str = "deadb007-0000-0000-0000-000000000000";
const START_US: i64 = 1_767_225_600_000_000;
const PREFIX: &str = "clusters/a";
const INTERFACE: &str = "left";
/// Rows of one large file, and the length of a column of noise in each: so that a file is more than
/// is sent in one piece.
const LARGE_ROWS: i64 = 5_000;
const NOISE_BYTES: usize = 8_192;
const WANTED_BYTES: u64 = 1 << 30;

#[test]
fn a_gibibyte_arrives_whole_in_azurite() {
    check_arrival(Kind::Azurite);
}

#[test]
fn a_gibibyte_arrives_whole_in_moto() {
    check_arrival(Kind::Moto);
}

fn check_arrival(kind: Kind) {
    let scene = Scene::new();
    let server = StoreServer::start(&scene.lab, NODE, kind);
    let left = Left::leave(scene.spool());
    let url = kind.url(PREFIX);
    let arguments = [
        "--store",
        &url,
        "--ship-rate",
        "4GiB",
        "--spool-limit",
        "4GiB",
    ];
    let probes = scene.probe(&server, &arguments);
    let log = Log::of(&probes);
    let started = Instant::now();
    while left.paths.iter().any(|path| path.exists()) {
        assert!(
            started.elapsed() < PATIENCE,
            "files do not leave: {}",
            log.text()
        );
        thread::sleep(Duration::from_millis(100));
    }
    eprintln!("{} bytes shipped in {:?}", left.bytes, started.elapsed());
    probes.stop().expect("the probe ends well");
    assert!(
        held(scene.spool()).is_empty(),
        "the last files are shipped too"
    );

    let objects = server.objects(PREFIX);
    let mut bytes = 0;
    for path in &left.paths {
        let name = path.strip_prefix(scene.spool()).expect("a path in it");
        let copy = left.copies.path().join(name);
        let is_books = copy.starts_with(left.copies.path().join(LedgerRow::TABLE));
        let expected = Object {
            bytes: fs::metadata(&copy).expect("a copy").len(),
            sha256: match is_books {
                true => sha256(&copy),
                false => left.sha256.clone(),
            },
        };
        let name = name.display().to_string();
        assert_eq!(objects.get(&name), Some(&expected), "{name}");
        bytes += expected.bytes;
    }
    assert!(bytes >= WANTED_BYTES, "{bytes} bytes in all");

    let (_, there) = server.weighbridge("inspect", PREFIX, &[]);
    let (_, here) = dataset::weighbridge("inspect", left.copies.path(), &[]);
    let (there, here) = (sums(&there), sums(&here));
    assert_eq!(there, here, "what the analyzer reads there and here");
    assert_eq!(there["flows"]["bytes"], left.flow_bytes);
    assert_eq!(there["counted"], there["flows"], "every flow has its books");
}

/// What the analyzer adds up of what was left.
fn sums(report: &Value) -> Value {
    let sums = report["books"]["flow_sums"].as_array().expect("sums");
    let of_left = |sum: &&Value| sum["series"]["interface"] == INTERFACE;
    sums.iter().find(of_left).expect("what was left").clone()
}

/// What was put into a spool as if a probe had died.
struct Left {
    paths: Vec<PathBuf>,
    /// The same files under the same names elsewhere.
    copies: tempfile::TempDir,
    bytes: u64,
    flow_bytes: i64,
    /// Of every file of flows.
    sha256: String,
}

impl Left {
    /// Leaves large files of flows, all alike, and a small one of their books.
    fn leave(spool: &Path) -> Self {
        let metadata = FileMetadata {
            node: NODE.to_owned(),
            boot_id: BOOT_ID.to_owned(),
            tool_version: "test".to_owned(),
            clock: "test".to_owned(),
        };
        let name = |seq: u64| {
            let start_us = START_US + seq.cast_signed() * SECOND_US;
            FileName::of_interval(start_us, BOOT_ID, 1, seq).to_string()
        };
        let folder = partition_dir(spool, "flows", START_US, NODE);
        let rows: Vec<FlowRow> = (0..LARGE_ROWS).map(flow).collect();
        let first = folder.join(name(0));
        file::write(&first, &rows, &metadata).expect("a file");
        let size = fs::metadata(&first).expect("a file").len();
        assert!(size > 8 << 20, "{size} bytes are sent in one piece");
        let files = WANTED_BYTES.div_ceil(size);
        let mut paths = vec![first.clone()];
        for seq in 1..files {
            let path = folder.join(name(seq));
            fs::hard_link(&first, &path).expect("a link");
            paths.push(path);
        }
        let all = |of: fn(&FlowRow) -> i64| rows.iter().map(of).sum::<i64>() * files.cast_signed();
        let books = LedgerRow {
            interface: Some(INTERFACE.to_owned()),
            direction: Some(Direction::Egress),
            counted: Count {
                packets: all(|row| row.packets),
                bytes: all(|row| row.bytes),
                buffers: all(|row| row.buffers),
                buffer_bytes: all(|row| row.buffer_bytes),
            },
            ..LedgerRow::idle(
                (START_US, START_US + SECOND_US),
                NODE,
                BOOT_ID,
                Vantage::Tunnel,
            )
        };
        let path = partition_dir(spool, "ledger", START_US, NODE).join(name(0));
        file::write(&path, &[books], &metadata).expect("a file");
        paths.push(path);

        let copies = tempfile::tempdir().expect("a folder");
        for path in &paths {
            let name = path.strip_prefix(spool).expect("a path in it");
            let copy = copies.path().join(name);
            fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
            fs::hard_link(path, copy).expect("a link");
        }
        Self {
            copies,
            bytes: size * files,
            flow_bytes: all(|row| row.bytes),
            sha256: sha256(&first),
            paths,
        }
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
    let noise = (100..).map(|salt| format!("{:010x}", mixed(salt * 0x9E37)));
    let mut noise = noise.take(NOISE_BYTES / 10 + 1).collect::<String>();
    noise.truncate(NOISE_BYTES);
    FlowRow {
        interval_start_us: START_US,
        interval_end_us: START_US + SECOND_US,
        node: NODE.to_owned(),
        boot_id: BOOT_ID.to_owned(),
        vantage: Vantage::Tunnel,
        nat_state: NatState::Pre,
        interface: Some(INTERFACE.to_owned()),
        direction: Direction::Egress,
        pod_uid: None,
        container_id: Some(noise),
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
