//! A spool that runs full because the store is away: the oldest intervals go whole, and the books say
//! how many rows went.

use std::thread;
use std::time::Duration;

use lab::now_us;
use trace_schema::Record;
use trace_schema::cpu::CpuRow;
use trace_schema::flows::FlowRow;
use trace_schema::http::HttpRow;
use trace_schema::ledger::LedgerRow;
use trace_schema::resources::ResourceRow;
use trace_schema::snat::SnatRow;

use super::servers::{Kind, StoreServer};
use super::{Log, NODE, SECOND_US, Scene, check_steady, held, intervals};
use crate::dataset;

const PREFIX: &str = "full";

#[test]
fn a_full_spool_gives_up_the_oldest_and_the_books_say_how_much() {
    let scene = Scene::new();
    let mut server = StoreServer::start(&scene.lab, NODE, Kind::Moto);
    server.down();
    let url = Kind::Moto.url(PREFIX);
    let arguments = [
        "--store",
        &url,
        "--merge-every",
        "2s",
        "--spool-limit",
        "300KiB",
    ];
    let begun_us = now_us();
    let probes = scene.probe(&server, &arguments);
    let log = Log::of(&probes);
    scene.load(Duration::from_secs(12), || {});
    assert_eq!(log.lines("the spool is full").len(), 1, "{}", log.text());
    let size: u64 = held(scene.spool())
        .iter()
        .map(|path| std::fs::metadata(path).map_or(0, |file| file.len()))
        .sum();
    // An interval may just have been written.
    assert!(size < 400 << 10, "{size} bytes in a spool of 300 KiB");
    server.up();
    server.make_container();
    scene.wait_for_spool(30, &log);
    thread::sleep(Duration::from_secs(2));
    probes.stop().expect("the probe ends well");
    assert!(held(scene.spool()).is_empty());

    let stopped = log.lines("stopped");
    let [stopped] = stopped.as_slice() else {
        panic!("{}", log.text())
    };
    let figure = |name: &str| stopped["fields"][name].as_u64().expect(name);
    let dropped = figure("dropped_rows");
    assert!(dropped > 0, "{stopped}");

    let fetched = server.fetch(PREFIX);
    let folder = fetched.path();
    let count = |rows: usize| rows as u64;
    let ledger: Vec<LedgerRow> = dataset::rows(folder);
    let told: i64 = ledger.iter().map(|row| row.spool_dropped_rows).sum();
    assert_eq!(told.cast_unsigned(), dropped, "the books, and the probe");
    // What was written is there or went: by table, rows that the store has.
    let there = [
        ("flow_rows", count(rows::<FlowRow>(folder))),
        ("http_rows", count(rows::<HttpRow>(folder))),
        ("snat_rows", count(rows::<SnatRow>(folder))),
        ("cpu_rows", count(rows::<CpuRow>(folder))),
        ("resource_rows", count(rows::<ResourceRow>(folder))),
        ("ledger_rows", count(ledger.len())),
    ];
    let missing: u64 = there.iter().map(|(name, rows)| figure(name) - rows).sum();
    assert_eq!(
        missing, dropped,
        "rows that are not in the store: {there:?}"
    );

    // The oldest went: what is there begins later, and from there on nothing is missing.
    let intervals = intervals(&ledger);
    let first_us = intervals[0].0 - begun_us;
    assert!(first_us > 3 * SECOND_US, "the oldest is still there");
    check_steady(&intervals);

    let (_, report) = server.weighbridge("inspect", PREFIX, &[]);
    let losses = report["books"]["losses"].as_array().expect("losses");
    let told: i64 = losses
        .iter()
        .filter_map(|loss| loss["spool_dropped_rows"].as_i64())
        .sum();
    assert_eq!(told.cast_unsigned(), dropped, "{report:#}");
    assert_ne!(report["books"]["balance"], "off", "{report:#}");
}

fn rows<R: Record>(folder: &std::path::Path) -> usize {
    dataset::rows::<R>(folder).len()
}
