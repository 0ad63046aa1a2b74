//! Do the books balance? The kernel's own counters, read by the test, say what really passed.
//!
//! Load is iperf3 with offloads on; traffic rests when the probes start and stop, so nothing may
//! remain. The counters are read around the probes' start and around their end: what the ledger
//! says of the kernel must lie between the two differences, which rest makes one and the same.

use std::{path::Path, thread, time::Duration};

use lab::{
    Config, Datapath, Family, IperfOptions, IperfProtocol, Lab, ProbeOptions, Probes, Queue,
};
use serde_json::Value;

use crate::dataset;
use crate::faults::on_both_datapaths;

/// Every node has this uplink.
const UPLINK: &str = "eth0";
const SECONDS: u32 = 2;
/// Long enough for last ACKs, window probes and neighbour discovery.
const REST: Duration = Duration::from_millis(1_500);
/// Neighbour discovery may pass in the moments of starting and stopping.
const STRAY_PACKETS: i64 = 8;
/// What datagrams may be more or fewer than iperf3 says: its greeting, and the last ones.
const STRAY_DATAGRAMS: i64 = 4;
const IPV4_UDP_HEADER_BYTES: i64 = 28;

#[test]
fn nothing_remains_after_load() {
    on_both_datapaths(|datapath| check_load(datapath, Family::V4));
}

#[test]
fn nothing_remains_after_load_ipv6() {
    on_both_datapaths(|datapath| check_load(datapath, Family::V6));
}

#[test]
fn packets_are_exact_and_bytes_bounded_where_a_queue_drops() {
    e2e::require_root();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let lab = Lab::up(Config::new(Datapath::Netfilter)).expect("a lab");
    let queue = Queue {
        rate_kbit: 20_000,
        burst_bytes: 20_000,
        limit_bytes: 40_000,
    };
    lab.limit_uplink("gateway", queue).expect("a queue");
    let watched = Watched::start(&lab, folder.path());
    lab.iperf3(&IperfOptions::udp("client", SECONDS, 60))
        .expect("iperf3");
    let counters = watched.stop(&lab);
    let dropped = queue_drops(&lab, "gateway");
    assert!(
        dropped > 500,
        "the queue dropped {dropped} packets, too few to tell"
    );

    let books = books(folder.path());
    assert_eq!(books["balance"], "balanced", "{books:#}");
    for account in accounts(&books) {
        let (drops, residual) = (&account["dropped_behind_packets"], residual(account));
        assert_eq!(residual["packets"], 0, "packets: {account:#}");
        counters.check(account);
        let is_limited = names(account, "gateway", "egress");
        assert_eq!(*drops, if is_limited { dropped } else { 0 }, "{account:#}");
        if is_limited {
            // The lengths of what was dropped are not known: the books say between what they lie.
            let [bytes, least, most] =
                ["bytes", "bytes_at_least", "bytes_at_most"].map(|field| number(&residual[field]));
            assert!(
                least < most && least <= bytes && bytes <= most,
                "bytes: {account:#}"
            );
            assert!(bytes > 0, "the dropped packets had no bytes: {account:#}");
        } else {
            assert_eq!(residual["bytes"], 0, "bytes: {account:#}");
        }
    }
}

/// Load of iperf3 through the gateway and beside it.
fn check_load(datapath: Datapath, family: Family) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let lab = Lab::up(Config {
        family,
        ..Config::new(datapath)
    })
    .expect("a lab");
    let watched = Watched::start(&lab, folder.path());
    let mut runs = Vec::new();
    for pod in ["client", "base"] {
        for (name, protocol) in [
            ("tcp", IperfProtocol::Tcp),
            ("udp", IperfProtocol::Udp { rate_mbit: 60 }),
        ] {
            let options = IperfOptions {
                protocol,
                family,
                ..IperfOptions::tcp(pod, SECONDS)
            };
            let run = lab.iperf3(&options).expect("iperf3");
            let id = format!("{pod}-{name}");
            run.write(folder.path(), &id, &id, None)
                .expect("a run's files");
            runs.push((id, name, run.json().expect("iperf3's JSON")));
            // So that no two runs share an interval.
            thread::sleep(REST);
        }
    }
    let counters = watched.stop(&lab);
    lab.write_objects(folder.path()).expect("the objects");

    let books = books(folder.path());
    assert_eq!(books["balance"], "balanced", "{books:#}");
    assert_eq!(books["gaps"], serde_json::json!([]));
    for account in accounts(&books) {
        let residual = residual(account);
        assert_eq!(residual["packets"], 0, "packets: {account:#}");
        assert_eq!(residual["bytes"], 0, "bytes: {account:#}");
        assert_eq!(account["dropped_behind_packets"], 0, "{account:#}");
        counters.check(account);
        if names(account, "worker", "egress") {
            // Large buffers, of many packets each: offloads were on.
            let (packets, buffers) = (
                number(&account["passed"]["packets"]),
                number(&account["passed"]["buffers"]),
            );
            assert!(
                packets > 2 * buffers,
                "{packets} packets in {buffers} buffers"
            );
        }
    }
    for (id, protocol, iperf3) in runs {
        check_iperf3(folder.path(), &id, protocol, &iperf3, family);
    }
}

/// iperf3's own figure against what the probe counted at the pod's sockets.
fn check_iperf3(folder: &Path, run: &str, protocol: &str, iperf3: &Value, family: Family) {
    let (_, report) = dataset::weighbridge("egress", folder, &["--run", run]);
    let runs = report["runs"].as_array().expect("runs");
    let [figures] = runs.as_slice() else {
        panic!("{runs:#?}")
    };
    let reconciliation = &figures["reconciliation"];
    assert_eq!(
        reconciliation["agreement"], "agree",
        "{run}: {reconciliation:#}"
    );
    let comparison = &reconciliation["totals"][0]["comparison"];
    let sum = if protocol == "tcp" { "sum_sent" } else { "sum" };
    let sent_bytes = number(&iperf3["end"][sum]["bytes"]);
    assert!(
        sent_bytes > 1_000_000,
        "{run}: iperf3 sent {sent_bytes} bytes"
    );
    assert_eq!(comparison["iperf3_bytes"], sent_bytes, "{run}");
    let estimate = number(&comparison["payload_estimate_bytes"]);
    // What lies in the sender's buffer when the test ends is never sent.
    assert!(
        (estimate - sent_bytes).abs() * 50 < sent_bytes,
        "{run}: {estimate}, not {sent_bytes}"
    );
    if protocol == "udp" {
        let datagrams = number(&iperf3["end"]["sum"]["packets"]);
        let (packets, bytes) = (
            number(&comparison["flow_packets"]),
            number(&comparison["flow_bytes"]),
        );
        assert!(
            (packets - datagrams).abs() <= STRAY_DATAGRAMS,
            "{run}: {packets}, {datagrams}"
        );
        let header = IPV4_UDP_HEADER_BYTES + if family == Family::V6 { 20 } else { 0 };
        let payload = number(&iperf3["start"]["test_start"]["blksize"]);
        let expected = datagrams * (payload + header);
        let slack = STRAY_DATAGRAMS * (payload + header);
        assert!(
            (bytes - expected).abs() <= slack,
            "{run}: {bytes} bytes, expected {expected}"
        );
    }
}

/// Probes that were started and stopped while traffic rested, and the kernel's counters around.
struct Watched {
    probes: Probes,
    before_start: Vec<Counters>,
    after_start: Vec<Counters>,
}

impl Watched {
    fn start(lab: &Lab, folder: &Path) -> Self {
        thread::sleep(REST);
        let before_start = Counters::of(lab);
        let options = ProbeOptions::new(dataset::binary("weighbridge-probe"), folder);
        let probes = lab.start_probes(&options).expect("probes on every node");
        let after_start = Counters::of(lab);
        Self {
            probes,
            before_start,
            after_start,
        }
    }

    fn stop(self, lab: &Lab) -> Spans {
        thread::sleep(REST);
        let before_stop = Counters::of(lab);
        self.probes.stop().expect("probes end well");
        let after_stop = Counters::of(lab);
        let spans = |from: Vec<Counters>, to: Vec<Counters>| {
            to.into_iter()
                .zip(from)
                .map(|(to, from)| to.since(from))
                .collect()
        };
        Spans {
            inner: spans(self.after_start, before_stop),
            outer: spans(self.before_start, after_stop),
        }
    }
}

/// What passed the kernel's counters while the probes surely counted, and while they may have.
struct Spans {
    inner: Vec<Counters>,
    outer: Vec<Counters>,
}

impl Spans {
    /// The kernel's side of an account against the counters that the test read.
    fn check(&self, account: &Value) {
        let find = |all: &[Counters]| {
            let found = all
                .iter()
                .find(|one| names(account, &one.node, one.direction));
            found.cloned().expect("an uplink of the lab")
        };
        let (inner, outer) = (find(&self.inner), find(&self.outer));
        assert!(
            outer.packets - inner.packets <= STRAY_PACKETS,
            "no rest: {inner:?} {outer:?}"
        );
        let (packets, bytes) = (
            number(&account["kernel_packets"]),
            number(&account["kernel_bytes"]),
        );
        assert!(
            (inner.packets..=outer.packets).contains(&packets),
            "{inner:?}: {account:#}"
        );
        assert!(
            (inner.bytes..=outer.bytes).contains(&bytes),
            "{inner:?}: {account:#}"
        );
    }
}

/// The kernel's counters of an uplink in one direction.
#[derive(Clone, Debug)]
struct Counters {
    node: String,
    direction: &'static str,
    packets: i64,
    bytes: i64,
}

impl Counters {
    fn of(lab: &Lab) -> Vec<Self> {
        let nodes = lab.node_names().into_iter();
        nodes
            .flat_map(|node| {
                let links = json(
                    lab,
                    node,
                    "ip",
                    &["-s", "-j", "link", "show", "dev", UPLINK],
                );
                [("ingress", "rx"), ("egress", "tx")].map(|(direction, field)| {
                    let counters = &links[0]["stats64"][field];
                    Self {
                        node: node.to_owned(),
                        direction,
                        packets: number(&counters["packets"]),
                        bytes: number(&counters["bytes"]),
                    }
                })
            })
            .collect()
    }

    fn since(self, from: Self) -> Self {
        Self {
            packets: self.packets - from.packets,
            bytes: self.bytes - from.bytes,
            ..self
        }
    }
}

fn queue_drops(lab: &Lab, node: &str) -> i64 {
    let queues = json(
        lab,
        node,
        "tc",
        &["-s", "-j", "qdisc", "show", "dev", UPLINK],
    );
    let queues = queues.as_array().expect("queues").iter();
    let tbf = queues
        .clone()
        .find(|queue| queue["kind"] == "tbf")
        .expect("the queue");
    number(&tbf["drops"])
}

/// What a tool says as JSON on a node.
fn json(lab: &Lab, node: &str, program: &str, arguments: &[&str]) -> Value {
    let output = lab
        .node(node)
        .run(program, arguments)
        .expect("iproute2: apt install iproute2");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn books(folder: &Path) -> Value {
    let (_, mut report) = dataset::weighbridge("inspect", folder, &[]);
    report["books"].take()
}

/// The accounts of all uplinks, both directions.
fn accounts(books: &Value) -> &[Value] {
    let accounts = books["accounts"].as_array().expect("accounts");
    assert_eq!(
        accounts.len(),
        6,
        "three nodes, two directions: {accounts:#?}"
    );
    accounts
}

fn residual(account: &Value) -> &Value {
    let basis = account["basis"].as_str().expect("a basis");
    &account[format!("in_{basis}")]
}

fn names(account: &Value, node: &str, direction: &str) -> bool {
    let series = &account["series"];
    series["node"] == node && series["direction"] == direction && series["interface"] == UPLINK
}

fn number(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}
