//! Does the probe count every response? The access logs of gateway and backends, and k6, say how
//! many there were.
//!
//! Each test runs one way of speaking with one, ten, a hundred and a thousand virtual users, while
//! kubelet-like requests for the backends' health go on. Counts are held against each other to the
//! request: each run's by pod and status, and the whole by pod, port, peer, version and status.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use lab::{BackendRequest, DataPlane, Ingress, K6Options, K6Run, ProbeOptions, Upstream};
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::ledger::LedgerRow;

use super::scene::{self, Counts};
use crate::dataset;

const USERS: [u32; 4] = [1, 10, 100, 1000];
const LOAD: Duration = Duration::from_millis(1200);
/// Of the probes; short, so that there is little to wait for between two runs.
const INTERVAL: &str = "250ms";
/// Longer than two intervals: no interval has responses of two runs.
const PAUSE: Duration = Duration::from_millis(600);

#[test]
fn http_1_with_keep_alive_behind_nginx() {
    check(DataPlane::Nginx, false, true);
}

#[test]
fn http_1_without_keep_alive_behind_nginx() {
    check(DataPlane::Nginx, false, false);
}

#[test]
fn http_2_with_keep_alive_behind_envoy() {
    check(DataPlane::Envoy, true, true);
}

#[test]
fn http_2_without_keep_alive_behind_envoy() {
    check(DataPlane::Envoy, true, false);
}

fn check(data_plane: DataPlane, h2c: bool, keep_alive: bool) {
    let mut config = scene::config(data_plane);
    config.upstream = Upstream { h2c, keep_alive };
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let ingress = Ingress::up(config).expect("an ingress");
    let probes = ProbeOptions {
        interval: INTERVAL.to_owned(),
        // Where the backends are.
        nodes: vec!["worker".to_owned(), "gateway2".to_owned()],
        ..ProbeOptions::new(dataset::binary("weighbridge-probe"), dataset.path())
    };
    let probes = ingress.lab().start_probes(&probes).expect("probes");
    let prober = ingress.start_prober().expect("a prober");
    let mut runs = Vec::new();
    for users in USERS {
        let options = K6Options {
            duration: LOAD,
            no_connection_reuse: !keep_alive,
            ..K6Options::new(users, 0)
        };
        runs.push(ingress.k6(&options).expect("a run of k6"));
        thread::sleep(PAUSE);
    }
    let probed: u64 = prober.stop().values().sum();
    assert!(probed > 0, "no backend was asked for its health");
    probes.stop().expect("probes end well");
    let rows: Vec<HttpRow> = dataset::rows(dataset.path());
    check_whole(&ingress, &rows);
    check_ledger(&dataset::rows(dataset.path()));
    for run in &runs {
        check_run(&ingress, &rows, run);
    }
    check_speech(&ingress, keep_alive);
    ingress.down().expect("the lab goes down");
}

/// Pod, port, peer, version and status.
type Answer = (String, u16, String, HttpVersion, Option<i32>);

/// Every row against every line that a backend wrote, health checks included.
fn check_whole(ingress: &Ingress, rows: &[HttpRow]) {
    let pods = ingress.backend_pods();
    let mut expected: BTreeMap<Answer, i64> = BTreeMap::new();
    for (pod, address) in &pods {
        for request in ingress.backend_log(pod).expect("a backend's access log") {
            *expected
                .entry(answer(&address.to_string(), &request))
                .or_default() += 1;
        }
    }
    let mut counted: BTreeMap<Answer, i64> = BTreeMap::new();
    let of_backends = |row: &&HttpRow| {
        pods.iter()
            .any(|(_, address)| row.local_address == address.to_string())
    };
    for row in rows.iter().filter(of_backends) {
        let port = u16::try_from(row.local_port).expect("a port");
        let answer = (
            row.local_address.clone(),
            port,
            row.peer_address.clone(),
            row.version,
            row.status,
        );
        *counted.entry(answer).or_default() += row.responses;
    }
    assert_eq!(counted, expected, "probe (left) and backends (right)");
    let node = ingress.lab().node_address("worker").v4.to_string();
    assert!(
        counted.keys().any(|(_, _, peer, ..)| *peer == node),
        "no health check of a node was counted"
    );
}

fn answer(address: &str, request: &BackendRequest) -> Answer {
    let version = match request.protocol.as_str() {
        "HTTP/1.0" => HttpVersion::Http10,
        "HTTP/1.1" => HttpVersion::Http11,
        "HTTP/2.0" => HttpVersion::Http2,
        other => panic!("a backend spoke {other}"),
    };
    let status = Some(i32::from(request.status));
    let peer = request.peer.ip().to_string();
    (address.to_owned(), request.port, peer, version, status)
}

/// One run: gateway, backends, k6 and probe.
fn check_run(ingress: &Ingress, rows: &[HttpRow], run: &K6Run) {
    let (gateway, _) = ingress.listener();
    let pods = ingress.backend_pods();
    let mut counted = Counts::new();
    for row in rows {
        // No other run's responses are in an interval that reaches into this one.
        let within = row.interval_end_us > run.start_us && row.interval_start_us < run.end_us;
        let pod = pods
            .iter()
            .find(|(_, address)| row.local_address == address.to_string());
        if let (true, Some((pod, _))) = (within && row.peer_address == gateway.to_string(), pod) {
            let status = row.status.expect("a status that could be read");
            let status = u16::try_from(status).expect("a status");
            let responses = u64::try_from(row.responses).expect("a count");
            *counted.entry((pod.clone(), status)).or_default() += responses;
        }
    }
    let within = |time_us: i64| time_us >= run.start_us - 1_000 && time_us <= run.end_us;
    let (passed, own) = scene::gateway_counts(ingress, within);
    let backends = scene::backend_counts(ingress, within);
    println!("{} virtual users: {counted:?}", run.options.users);
    assert_eq!(passed, backends, "gateway (left) and backends (right)");
    assert_eq!(counted, backends, "probe (left) and backends (right)");
    let lines = scene::k6_counts(run);
    assert_eq!(lines, backends, "k6 (left) and backends (right)");
    assert!(own.is_empty(), "the gateway answered by itself: {own:?}");
    assert_eq!(counted.len(), pods.len(), "not every pod answered");
}

fn check_ledger(rows: &[LedgerRow]) {
    let unparsed: i64 = rows.iter().map(|row| row.http_unparsed).sum();
    assert_eq!(unparsed, 0, "responses that could not be followed");
}

/// The connections were what the test is named for.
fn check_speech(ingress: &Ingress, keep_alive: bool) {
    let (gateway, _) = ingress.listener();
    let mut most = 0;
    for (pod, _) in ingress.backend_pods() {
        let log = ingress.backend_log(&pod).expect("a backend's access log");
        let from_gateway = log.iter().filter(|one| one.peer.ip() == gateway);
        let requests = from_gateway.map(|one| one.connection_requests);
        most = most.max(requests.max().unwrap_or_default());
    }
    if keep_alive {
        assert!(most > 10, "connections carried at most {most} requests");
    } else {
        assert_eq!(most, 1, "a connection carried several requests");
    }
}
