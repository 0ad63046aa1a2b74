//! A small language in which tests write down what probes saw: pods, what they sent, and where it
//! left. Everything lies on a time line in seconds; every probe is healthy unless a test says so.

use std::net::{IpAddr, SocketAddr};

use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::snat::{Method, SnatRow, Tuple, Witness};

use super::cluster::{Cluster, PodLabel};
use super::peers::PeerSighting;
use super::tuple::Protocol;
use super::{EgressReport, Evidence, Options, Outcome, Verdict, assess};
use crate::policy::{
    BypassReason, Exit, Expectation, Expected, Host, PodIdentity, PolicyKind, PolicyRef,
};

pub const EGRESS_IP: &str = "172.18.0.100";
pub const POD_IP: &str = "10.0.1.5";
pub const SERVER: &str = "192.0.2.9:5201";
const START_US: i64 = 1_700_000_000_000_000;
pub const PACKETS_PER_SECOND: i64 = 10;
pub const BYTES_PER_SECOND: i64 = 12_000;

/// Microseconds on the tests' time line.
pub fn at(seconds: f64) -> i64 {
    START_US + (seconds * 1e6).round() as i64
}

#[derive(Clone, Debug)]
pub struct Scene {
    pub flows: Vec<FlowRow>,
    pub snats: Vec<SnatRow>,
    pub ledger: Vec<LedgerRow>,
    pub cluster: Plan,
    pub options: Options,
}

/// What the objects would say.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pods: Vec<(String, IpAddr, String)>,
    steps: Vec<(i64, Expectation)>,
    changes: Vec<i64>,
    extra_nodes: Vec<String>,
    pub service: Option<(IpAddr, Vec<IpAddr>)>,
    /// A pod of another policy, `dark`, and its node.
    pub other_policy: Option<(String, String)>,
    /// Pods that no policy selects.
    pub unselected: Vec<String>,
    /// Whether no object names a node's address.
    pub addresses_untold: bool,
}

/// A connection as the pod sees it.
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    pub protocol: &'static str,
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// A TCP connection of the pod `app/client` to the server.
pub fn tcp(port: u16) -> Conn {
    Conn {
        protocol: "tcp",
        source: SocketAddr::new(POD_IP.parse().unwrap(), port),
        destination: SERVER.parse().unwrap(),
    }
}

/// The same in UDP.
pub fn udp(port: u16) -> Conn {
    Conn {
        protocol: "udp",
        ..tcp(port)
    }
}

impl Scene {
    /// Ten seconds on three nodes; pod `app/client` runs on `worker`.
    pub fn new() -> Self {
        let mut scene = Self {
            flows: Vec::new(),
            snats: Vec::new(),
            ledger: Vec::new(),
            cluster: Plan::default(),
            options: Options {
                list_connections: true,
                ..Options::default()
            },
        };
        scene.cluster.pods.push((
            "app/client".into(),
            POD_IP.parse().unwrap(),
            "worker".into(),
        ));
        for node in ["worker", "gateway", "gateway2"] {
            scene.books(node, 0, 10);
        }
        scene
    }

    /// A policy sends the pod's traffic out by `gateway` with the egress address.
    pub fn with_policy() -> Self {
        let mut scene = Self::new();
        scene.demand_from(0.0, exactly("gateway"));
        scene
    }

    /// What is demanded from a moment on.
    pub fn demand_from(&mut self, seconds: f64, expectation: Expectation) {
        self.cluster.steps.push((at(seconds), expectation));
        self.cluster.changes.push(at(seconds));
    }

    /// A node that objects know and no probe watches.
    pub fn unwatched_node(&mut self, name: &str) {
        self.cluster.extra_nodes.push(name.into());
    }

    /// One more pod; the policy selects it, unless it is listed otherwise.
    pub fn pod_on(&mut self, name: &str, address: &str, node: &str) {
        let address = address.parse().unwrap();
        self.cluster.pods.push((name.into(), address, node.into()));
    }

    /// Ledger rows of a healthy probe for every second.
    pub fn books(&mut self, node: &str, from: i64, to: i64) {
        for second in from..to {
            for (vantage, interface) in [
                (Vantage::Pod, None),
                (Vantage::Wire, Some("eth0")),
                (Vantage::Tunnel, Some("vxlan0")),
            ] {
                self.ledger
                    .push(ledger_row(node, vantage, interface, second as f64));
            }
        }
    }

    /// Ledger rows of one more hook for every second.
    pub fn hook(&mut self, node: &str, vantage: Vantage, interface: &str, from: i64, to: i64) {
        self.ledger.extend(
            (from..to).map(|second| ledger_row(node, vantage, Some(interface), second as f64)),
        );
    }

    /// Forgets a node's books between two seconds.
    pub fn unwatch(&mut self, node: &str, from: i64, to: i64) {
        self.ledger.retain(|row| {
            row.node != node
                || row.interval_start_us < at(from as f64)
                || row.interval_start_us >= at(to as f64)
        });
    }

    /// Changes the books of one hook in one second.
    pub fn amend(
        &mut self,
        node: &str,
        vantage: Vantage,
        second: i64,
        change: impl Fn(&mut LedgerRow),
    ) {
        let row = self
            .ledger
            .iter_mut()
            .find(|row| {
                row.node == node
                    && row.vantage == vantage
                    && row.interval_start_us == at(second as f64)
            })
            .expect("the scene has books for that second");
        change(row);
    }

    /// The pod sends from one moment to another, ten packets a second; TCP begins with a SYN.
    pub fn sends(&mut self, conn: Conn, from: f64, to: f64) {
        for (start, first, last) in seconds(from, to) {
            let mut row = flow_row("worker", Vantage::Pod, conn, start, first, last);
            row.pod_uid = Some("uid-client".into());
            if conn.protocol == "tcp" {
                row.tcp_flags = if first == from { 2 | 16 } else { 16 };
            }
            self.flows.push(row);
        }
    }

    /// One packet of the pod.
    pub fn sends_one(&mut self, conn: Conn, when: f64, tcp_flags: i32) {
        self.sends(conn, when, when);
        let row = self.flows.last_mut().unwrap();
        (row.tcp_flags, row.packets, row.bytes) = (tcp_flags, 1, 60);
    }

    /// The pod receives, before or after it sends.
    pub fn receives(&mut self, conn: Conn, from: f64, to: f64) {
        let reversed = Conn {
            source: conn.destination,
            destination: conn.source,
            protocol: conn.protocol,
        };
        for (start, first, last) in seconds(from, to) {
            let mut row = flow_row("worker", Vantage::Pod, reversed, start, first, last);
            row.direction = Direction::Ingress;
            row.pod_uid = Some("uid-client".into());
            row.tcp_flags = if first == from { 2 | 16 } else { 16 };
            self.flows.push(row);
        }
    }

    /// Inner packets of the connection arrive by a node's tunnel.
    pub fn arrives(&mut self, conn: Conn, node: &str, from: f64, to: f64) {
        for (start, first, last) in seconds(from, to) {
            let mut row = flow_row(node, Vantage::Tunnel, conn, start, first, last);
            row.direction = Direction::Ingress;
            row.interface = Some("vxlan0".into());
            self.flows.push(row);
        }
    }

    /// The connection leaves by a node's wire as `address`, keeping its port, paired by fingerprint.
    pub fn leaves(&mut self, conn: Conn, node: &str, address: &str, from: f64, to: f64) {
        self.leaves_with(conn, node, address, from, to, |_| {});
    }

    /// The same, with changes to its rows.
    pub fn leaves_with(
        &mut self,
        conn: Conn,
        node: &str,
        address: &str,
        from: f64,
        to: f64,
        change: impl Fn(&mut SnatRow),
    ) {
        for (start, _, last) in seconds(from, to) {
            let pre = tuple(conn);
            let post = Tuple {
                src_address: address.into(),
                ..pre.clone()
            };
            let mut row = SnatRow {
                interval_start_us: at(start),
                interval_end_us: at(start + 1.0),
                node: node.into(),
                boot_id: "boot".into(),
                interface: "eth0".into(),
                protocol: conn.protocol.into(),
                translated: Some(pre != post),
                pre: Some(pre),
                post,
                method: Method::Fingerprint,
                witness: Witness::Absent,
                first_seen_us: at(from),
                last_seen_us: at(last),
                packets: PACKETS_PER_SECOND,
                buffers: PACKETS_PER_SECOND,
                packets_until_paired: Some(1),
            };
            change(&mut row);
            self.snats.push(row);
        }
    }

    /// A wire flow to the server that nothing could be paired with.
    pub fn leaves_unpaired(&mut self, conn: Conn, node: &str, address: &str, from: f64, to: f64) {
        self.leaves_with(conn, node, address, from, to, |row| {
            row.pre = None;
            row.translated = None;
            row.method = Method::Unpaired;
            row.packets_until_paired = None;
        });
    }

    /// The report; `None` if nothing matched.
    pub fn try_report(&self) -> Option<EgressReport> {
        let mut evidence = Evidence::default();
        for row in &self.ledger {
            evidence.add_ledger(row);
        }
        for row in &self.snats {
            evidence
                .add_snat(row)
                .expect("the scene's rows are readable");
        }
        for row in &self.flows {
            evidence
                .add_flow(&row.into())
                .expect("the scene's rows are readable");
        }
        for row in &self.flows {
            evidence
                .add_node_flow(&row.into())
                .expect("the scene's rows are readable");
        }
        assess(&evidence, &self.cluster, &self.options)
    }

    /// The report.
    pub fn report(&self) -> EgressReport {
        self.try_report().expect("the scene has connections")
    }

    /// Verdicts of all spells in the report's order, and what they amount to.
    #[track_caller]
    pub fn check(&self, outcome: Outcome, verdicts: &[Verdict]) -> EgressReport {
        let report = self.report();
        let found: Vec<Verdict> = report
            .connections
            .iter()
            .flatten()
            .map(|spell| spell.verdict)
            .collect();
        assert_eq!(found, verdicts, "{:#?}", report.connections);
        assert_eq!(report.result, outcome, "{:#?}", report.policies);
        report
    }
}

/// The server outside logs a peer.
pub fn logged(seconds: f64, peer: &str) -> PeerSighting {
    PeerSighting {
        time_us: at(seconds),
        protocol: Protocol::TCP,
        peer: peer.parse().unwrap(),
        local: SERVER.parse().unwrap(),
    }
}

/// The egress address on one node.
pub fn exactly(node: &str) -> Expectation {
    Expectation::Exactly(exit(node))
}

/// The egress address on one node.
pub fn exit(node: &str) -> Exit {
    Exit {
        address: Some(EGRESS_IP.parse().unwrap()),
        node: Some(node.into()),
    }
}

/// Addresses of the scene's nodes.
pub fn node_ip(node: &str) -> &'static str {
    match node {
        "worker" => "172.18.0.2",
        "gateway" => "172.18.0.3",
        _ => "172.18.0.4",
    }
}

impl Cluster for Plan {
    fn pod(&self, uid: Option<&str>, address: IpAddr, _: i64) -> Option<PodLabel> {
        let known = |(name, ip, _): &&(String, IpAddr, String)| match uid {
            Some(uid) => uid.strip_prefix("uid-") == name.strip_prefix("app/"),
            None => *ip == address,
        };
        self.pods
            .iter()
            .find(known)
            .map(|(name, _, node)| PodLabel {
                name: name.clone(),
                identity: PodIdentity::uid(name.clone()),
                node: Some(node.clone()),
                born_us: at(0.0),
            })
    }

    fn expect(&self, _: &PodIdentity, dst: IpAddr, at_us: i64) -> Expected {
        let inside = matches!(dst, IpAddr::V4(v4) if v4.octets()[0] == 10);
        let step = self
            .steps
            .iter()
            .rev()
            .find(|(since_us, _)| *since_us <= at_us);
        let (since_us, expectation) = match step {
            _ if inside => (
                i64::MIN,
                Expectation::Bypass {
                    reason: BypassReason::InsideCluster,
                },
            ),
            Some(step) => step.clone(),
            None => (
                i64::MIN,
                Expectation::Bypass {
                    reason: BypassReason::NotSelected,
                },
            ),
        };
        Expected {
            expectation,
            policies: vec![PolicyRef {
                kind: PolicyKind::AntreaEgress,
                name: "web".into(),
            }],
            since_us,
            placement_notes: Vec::new(),
            pod_node: Some("worker".into()),
        }
    }

    fn node_addresses(&self, node: &str, _: i64) -> Vec<IpAddr> {
        if self.addresses_untold {
            return Vec::new();
        }
        vec![node_ip(node).parse().unwrap()]
    }

    fn nodes(&self, _: i64) -> Vec<String> {
        self.extra_nodes.clone()
    }

    fn service_endpoints(&self, address: IpAddr) -> &[IpAddr] {
        match &self.service {
            Some((service, endpoints)) if *service == address => endpoints,
            _ => &[],
        }
    }

    fn change_times(&self) -> &[i64] {
        &self.changes
    }

    fn hosts(&self) -> Vec<Host> {
        let bypass = |step: &&(i64, Expectation)| !matches!(step.1, Expectation::Bypass { .. });
        let Some((from_us, _)) = self.steps.iter().find(bypass) else {
            return Vec::new();
        };
        let host = |(pod, _, node): &(String, IpAddr, String)| Host {
            policy: "Egress/web".into(),
            node: node.clone(),
            pod: pod.clone(),
            from_us: *from_us,
            until_us: i64::MAX,
        };
        let other = self.other_policy.iter().map(|(pod, node)| Host {
            policy: "Egress/dark".into(),
            node: node.clone(),
            pod: pod.clone(),
            from_us: *from_us,
            until_us: i64::MAX,
        });
        let selected = |pod: &&(String, IpAddr, String)| !self.unselected.contains(&pod.0);
        self.pods
            .iter()
            .filter(selected)
            .map(host)
            .chain(other)
            .collect()
    }
}

/// The intervals of one second that a stretch touches, each with its first and last packet.
fn seconds(from: f64, to: f64) -> Vec<(f64, f64, f64)> {
    let (first, last) = (from.floor() as i64, to.floor() as i64);
    (first..=last)
        .map(|second| {
            let start = second as f64;
            (start, from.max(start), to.min(start + 0.999))
        })
        .filter(|(_, first, last)| first <= last)
        .collect()
}

fn tuple(conn: Conn) -> Tuple {
    Tuple {
        src_address: conn.source.ip().to_string(),
        dst_address: conn.destination.ip().to_string(),
        src_port: conn.source.port().into(),
        dst_port: conn.destination.port().into(),
    }
}

pub fn flow_row(
    node: &str,
    vantage: Vantage,
    conn: Conn,
    start: f64,
    first: f64,
    last: f64,
) -> FlowRow {
    let addresses = tuple(conn);
    FlowRow {
        interval_start_us: at(start),
        interval_end_us: at(start + 1.0),
        node: node.into(),
        boot_id: "boot".into(),
        vantage,
        nat_state: NatState::Pre,
        interface: None,
        direction: Direction::Egress,
        pod_uid: None,
        container_id: None,
        cgroup_id: None,
        protocol: conn.protocol.into(),
        src_address: addresses.src_address,
        dst_address: addresses.dst_address,
        src_port: addresses.src_port,
        dst_port: addresses.dst_port,
        encapsulation: None,
        bytes: BYTES_PER_SECOND,
        packets: PACKETS_PER_SECOND,
        buffers: PACKETS_PER_SECOND,
        buffer_bytes: BYTES_PER_SECOND,
        tcp_flags: 0,
        srtt_us: None,
        min_rtt_us: None,
        retransmits: None,
        cwnd_segments: None,
        first_seen_us: at(first),
        last_seen_us: at(last),
    }
}

fn ledger_row(node: &str, vantage: Vantage, interface: Option<&str>, start: f64) -> LedgerRow {
    LedgerRow {
        interface: interface.map(str::to_owned),
        direction: (vantage != Vantage::Wire).then_some(Direction::Egress),
        link_header_bytes: 14,
        map_capacity: 65536,
        ..LedgerRow::idle((at(start), at(start + 1.0)), node, "boot", vantage)
    }
}
