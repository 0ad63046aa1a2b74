//! Is the pairing true? The server outside says from where each connection really arrived.
//!
//! Clients send their own address and port as their first message, and the server logs it beside
//! the peer address that it sees: the witness knows nothing of eBPF. Every row of `snat` that
//! claims a pairing is held against it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use lab::{
    Config, Connections, Datapath, Family, Lab, ProbeOptions, SeenConnection, ServiceConfig,
};
use trace_schema::snat::{Method, SnatRow, Witness};

use crate::dataset;

/// Connections of a case.
const CONNECTIONS: u32 = 3_000;
/// Begun each second.
const RATE: f64 = 1_000.0;
/// Share that must be paired.
const PAIRED: f64 = 0.999;
/// The server's port.
const PORT: u16 = 9_000;

#[test]
fn short_connections_through_netfilter() {
    check_short(Datapath::Netfilter, Family::V4, true);
}

#[test]
fn short_connections_through_bpf() {
    check_short(Datapath::Bpf, Family::V4, true);
}

#[test]
fn short_connections_through_netfilter_ipv6() {
    check_short(Datapath::Netfilter, Family::V6, false);
}

#[test]
fn short_connections_through_bpf_ipv6() {
    check_short(Datapath::Bpf, Family::V6, false);
}

#[test]
fn connections_older_than_the_probe_through_netfilter() {
    check_old(Datapath::Netfilter);
}

#[test]
fn connections_older_than_the_probe_through_bpf() {
    check_old(Datapath::Bpf);
}

#[test]
fn a_service_address_before_snat_is_resolved_or_unknown() {
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let service = ServiceConfig {
        port: 8_000,
        target_port: PORT,
    };
    let config = Config {
        service: Some(service),
        ..Config::new(Datapath::Netfilter)
    };
    let lab = Lab::up(config).expect("a lab");
    let server = lab.start_server(PORT).expect("a server");
    let probes = start_probes(&lab, dataset.path());
    let mut sent = HashSet::new();
    for pod in ["client", "base"] {
        for protocol in ["tcp", "udp"] {
            let address = SocketAddr::new(lab.service_address().of(Family::V4), 8_000);
            let load = Connections::short(pod, protocol, address, 200);
            for connection in lab.connect(&load).expect("connections") {
                assert_eq!(connection.outcome, "ok", "{connection:?}");
                sent.insert((connection.protocol, connection.source));
            }
        }
    }
    probes.stop().expect("probes end well");
    let seen = server.seen().expect("the server's log");
    let rows = dataset::rows::<SnatRow>(dataset.path());
    let outcome = compare(&rows, &seen);
    outcome.report("service address");
    assert_eq!(
        outcome.connections,
        sent.len(),
        "the service does not translate"
    );
    assert_eq!(
        outcome.wrong, 0,
        "wrong pairings of connections to a service"
    );
    let by_conntrack = rows.iter().filter(|row| {
        row.method == Method::Conntrack
            && row
                .pre
                .as_ref()
                .is_some_and(|pre| pre.dst_address != row.post.dst_address)
    });
    assert!(
        by_conntrack.count() > 0,
        "conntrack resolved no service address"
    );
}

/// Short connections, TCP and UDP, of a pod behind the gateway and of one beside it.
fn check_short(datapath: Datapath, family: Family, random_ports: bool) {
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let config = Config {
        family,
        random_ports,
        ..Config::new(datapath)
    };
    let lab = Lab::up(config).expect("a lab");
    let server = lab.start_server(PORT).expect("a server");
    let probes = start_probes(&lab, dataset.path());
    // Ephemeral ports are few, so some serve two connections: what is distinct is compared.
    let mut sent = HashSet::new();
    for protocol in ["tcp", "udp"] {
        for pod in ["client", "base"] {
            let load = Connections {
                rate_per_s: RATE,
                ..Connections::short(pod, protocol, server.socket(family), CONNECTIONS / 2)
            };
            for connection in lab.connect(&load).expect("connections") {
                assert_eq!(connection.outcome, "ok", "{connection:?}");
                sent.insert((connection.protocol, connection.source));
            }
        }
    }
    probes.stop().expect("probes end well");
    let seen = server.seen().expect("the server's log");
    let outcome = compare(&dataset::rows::<SnatRow>(dataset.path()), &seen);
    assert_eq!(
        outcome.connections,
        sent.len(),
        "the server did not see every connection"
    );
    outcome.report(&format!("{} {family:?} short", datapath.name()));
    assert_eq!(outcome.wrong, 0, "wrong pairings");
    assert!(
        outcome.share() >= PAIRED,
        "only {} of connections paired",
        outcome.share()
    );
    if datapath == Datapath::Netfilter {
        assert!(outcome.agreeing > 0, "conntrack witnessed nothing");
    }
}

/// Connections that were open before the probe began.
fn check_old(datapath: Datapath) {
    const OPEN: u32 = 320;
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let lab = Lab::up(Config::new(datapath)).expect("a lab");
    let server = lab.start_server(PORT).expect("a server");
    let mut clients = Vec::new();
    for protocol in ["tcp", "udp"] {
        let load = Connections {
            rate_per_s: RATE,
            hold: Duration::from_secs(12),
            every: Duration::from_millis(200),
            ..Connections::short("client", protocol, server.socket(Family::V4), OPEN)
        };
        clients.push(lab.start_connections(&load).expect("connections"));
    }
    std::thread::sleep(Duration::from_secs(3));
    let opened = server.seen().expect("the server's log").len();
    assert_eq!(
        opened as u32,
        2 * OPEN,
        "not every connection was open before the probe"
    );
    let probes = start_probes(&lab, dataset.path());
    for client in clients {
        client.finish().expect("the client ends well");
    }
    probes.stop().expect("probes end well");
    let seen = server.seen().expect("the server's log");
    let outcome = compare(&dataset::rows::<SnatRow>(dataset.path()), &seen);
    outcome.report(&format!("{} older than the probe", datapath.name()));
    assert_eq!(outcome.wrong, 0, "wrong pairings");
    assert!(
        outcome.share() >= PAIRED,
        "only {} of connections paired",
        outcome.share()
    );
}

fn start_probes(lab: &Lab, dataset: &Path) -> lab::Probes {
    lab.start_probes(&ProbeOptions::new(
        dataset::binary("weighbridge-probe"),
        dataset,
    ))
    .expect("probes on every node")
}

/// What holding pairings against the server's log gave.
#[derive(Debug, Default)]
struct Outcome {
    connections: usize,
    paired: usize,
    wrong: usize,
    agreeing: usize,
    methods: BTreeMap<Method, usize>,
}

impl Outcome {
    fn share(&self) -> f64 {
        self.paired as f64 / self.connections as f64
    }

    fn report(&self, case: &str) {
        println!(
            "{case}: {} of {} connections paired, {} wrong, conntrack agrees with {} rows, rows by method {:?}",
            self.paired, self.connections, self.wrong, self.agreeing, self.methods
        );
    }
}

/// Holds every claimed pairing towards the server against what it saw. A port may serve several
/// connections in turn, so a claim is right if the server saw that very pair.
fn compare(rows: &[SnatRow], seen: &[SeenConnection]) -> Outcome {
    let mut truth: HashMap<(&str, SocketAddr), HashSet<SocketAddr>> = HashMap::new();
    for connection in seen {
        truth
            .entry((&connection.protocol, connection.source))
            .or_default()
            .insert(connection.peer);
    }
    let mut outcome = Outcome {
        connections: truth.len(),
        ..Outcome::default()
    };
    let mut paired: HashSet<(&str, SocketAddr)> = HashSet::new();
    for row in rows
        .iter()
        .filter(|row| row.post.dst_port == i32::from(PORT))
    {
        *outcome.methods.entry(row.method).or_default() += 1;
        let Some(pre) = &row.pre else { continue };
        let source = socket(&pre.src_address, pre.src_port);
        let peer = socket(&row.post.src_address, row.post.src_port);
        outcome.agreeing += usize::from(row.witness == Witness::Agrees);
        match truth.get_key_value(&(row.protocol.as_str(), source)) {
            Some((key, peers)) if peers.contains(&peer) => {
                paired.insert(*key);
            }
            _ => {
                outcome.wrong += 1;
                eprintln!("wrong: {source} left as {peer}: {row:?}");
            }
        }
    }
    outcome.paired = paired.len();
    outcome
}

fn socket(address: &str, port: i32) -> SocketAddr {
    let address = address.parse().expect("an address");
    SocketAddr::new(address, u16::try_from(port).expect("a port"))
}
