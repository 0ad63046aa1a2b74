//! A store that is away for a while under load: nothing is lost, and the sampling does not notice.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use trace_schema::flows::FlowRow;
use trace_schema::ledger::LedgerRow;

use super::servers::{Kind, StoreServer};
use super::{Log, NODE, PATIENCE, PORT, Scene, check_steady, held, intervals};
use crate::dataset;

const PREFIX: &str = "outage";
const METRICS_PORT: u16 = 9_400;
/// How long the store is away, unless the environment says otherwise.
const OUTAGE: Duration = Duration::from_secs(15);

#[test]
fn an_outage_under_load_loses_nothing_and_leaves_the_sampling_alone() {
    let scene = Scene::new();
    let mut server = StoreServer::start(&scene.lab, NODE, Kind::Azurite);
    let url = Kind::Azurite.url(PREFIX);
    let listen = format!("127.0.0.1:{METRICS_PORT}");
    let arguments = [
        "--store",
        &url,
        "--merge-every",
        "2s",
        "--metrics-listen",
        &listen,
    ];
    let probes = scene.probe(&server, &arguments);
    let log = Log::of(&probes);
    let outage = outage();
    let sent = scene.load(outage + Duration::from_secs(10), || {
        thread::sleep(Duration::from_secs(5));
        assert!(
            metric(&scene, "shipped_files_total") > 0.0,
            "{}",
            log.text()
        );
        assert_eq!(metric(&scene, "ship_failing"), 0.0);
        server.down();
        thread::sleep(outage);
        let waiting = metric(&scene, "ship_waiting_files");
        assert!(
            waiting > 4.0,
            "only {waiting} files wait: the outage was none"
        );
        assert_eq!(metric(&scene, "ship_failing"), 1.0);
        assert!(metric(&scene, "ship_failures_total") > 1.0);
        assert!(metric(&scene, "spool_bytes") >= metric(&scene, "ship_waiting_bytes"));
        assert!(metric(&scene, "ship_last_success_seconds") > 1.7e9);
        server.up();
    });
    // The longer the store was away, the longer until it is asked again.
    let started = Instant::now();
    while metric(&scene, "ship_failing") != 0.0 {
        assert!(
            started.elapsed() < PATIENCE,
            "no file leaves: {}",
            log.text()
        );
        thread::sleep(Duration::from_millis(100));
    }
    // Of the intervals that are merged every two seconds, few are there at a time.
    scene.wait_for_spool(30, &log);
    probes.stop().expect("the probe ends well");
    assert!(held(scene.spool()).is_empty());
    for message in ["it does not answer", "takes files again"] {
        assert_eq!(log.lines(message).len(), 1, "{message}: {}", log.text());
    }

    let fetched = server.fetch(PREFIX);
    let ledger: Vec<LedgerRow> = dataset::rows(fetched.path());
    let intervals = intervals(&ledger);
    assert!(intervals.len() as u64 >= outage.as_secs() + 10);
    check_steady(&intervals);
    let flows: Vec<FlowRow> = dataset::rows(fetched.path());
    let sources = dataset::sources(&flows, PORT);
    assert!(
        sent.iter().all(|source| sources.contains(source)),
        "connections of the client's log are not in the store"
    );
    for row in &flows {
        let interval = (row.interval_start_us, row.interval_end_us);
        assert!(intervals.contains(&interval), "no books for {row:?}");
    }

    let (code, report) = server.weighbridge("inspect", PREFIX, &[]);
    assert_eq!(code, Some(0), "the books balance: {report:#}");
    assert_eq!(report["books"]["gaps"], serde_json::json!([]));
    assert_eq!(
        connections(&server, &scene),
        sent.len(),
        "connections of the client's log that the analyzer finds in the store"
    );
}

/// How many connections of the client the analyzer finds in the store.
fn connections(server: &StoreServer<'_>, scene: &Scene) -> usize {
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
    let arguments = ["--connections", "--objects", objects];
    let (_, report) = server.weighbridge("egress", PREFIX, &arguments);
    let spells = report["connections"].as_array().expect("connections");
    let ids = spells
        .iter()
        .map(|spell| spell["connection"].as_u64().expect("a number"));
    ids.collect::<std::collections::BTreeSet<_>>().len()
}

/// What the probe's own metrics say.
fn metric(scene: &Scene, name: &str) -> f64 {
    let node = scene.lab.node(NODE);
    let text = node.namespace().run(|| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, METRICS_PORT)).expect("metrics");
        let request = "GET /metrics HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    let text = text.expect("the node's namespace");
    let wanted = format!("weighbridge_probe_{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&wanted));
    line.and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("{name} is not in {text}"))
}

fn outage() -> Duration {
    let seconds = std::env::var("WEIGHBRIDGE_OUTAGE_S").ok();
    let seconds = seconds.map(|text| text.parse().expect("WEIGHBRIDGE_OUTAGE_S: seconds"));
    seconds.map_or(OUTAGE, Duration::from_secs)
}
