//! Two and a half minutes of two nodes with all that a roll-up must not hide: connections that pass,
//! leak, move to another exit, are not seen for a while, and tuples that are used again.

use std::path::Path;

use serde_json::{Value, json};
use trace_schema::Record;
use trace_schema::cpu::{CpuRow, CpuScope, CycleSource};
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::manifest::RunManifest;
use trace_schema::objects::{ObjectEvent, ObjectRow};
use trace_schema::snat::{Method, SnatRow, Tuple, Witness};

/// The load run.
pub const RUN: &str = "r1";
/// Responses of each backend that the kubelet asked for.
pub const PROBES: i64 = SECONDS;

/// Twenty seconds before a minute ends.
const START_US: i64 = 1_780_000_000 * SECOND_US;
const SECOND_US: i64 = 1_000_000;
const SECONDS: i64 = 150;
const WORKER: (&str, &str) = ("worker", "172.18.0.2");
const GATEWAY: (&str, &str) = ("gateway", "172.18.0.3");
const EGRESS_IP: &str = "172.18.0.100";
const SERVER: &str = "192.0.2.9";
const POD: (&str, &str) = ("7d9ad7d5-1b86-4ad1-8b0f-0d1f6f5f9a11", "10.0.1.5");
const DATA_PLANE: &str = "10.0.1.9";
const BACKENDS: [(&str, &str, i64); 2] =
    [("echo-v1", "10.0.1.11", 60), ("echo-v2", "10.0.1.12", 40)];

/// A connection of the pod: its source port and protocol, the seconds in which it sends, those in
/// which it begins with a SYN, and by which node it leaves in a second, if by any.
struct Connection {
    port: i32,
    protocol: &'static str,
    up: (i64, i64),
    opens: &'static [i64],
    exit: fn(i64) -> Option<&'static str>,
}

const CONNECTIONS: [Connection; 6] = [
    Connection {
        port: 40_000,
        protocol: "tcp",
        up: (1, 145),
        opens: &[1],
        exit: |_| Some("gateway"),
    },
    Connection {
        port: 40_001,
        protocol: "tcp",
        up: (5, 50),
        opens: &[5],
        exit: |_| Some("worker"),
    },
    Connection {
        port: 40_002,
        protocol: "tcp",
        up: (10, 60),
        opens: &[10, 35],
        exit: |_| Some("gateway"),
    },
    Connection {
        port: 40_003,
        protocol: "tcp",
        up: (62, 120),
        opens: &[62],
        exit: |second| Some(if second < 95 { "gateway" } else { "worker" }),
    },
    Connection {
        port: 40_004,
        protocol: "tcp",
        up: (2, 140),
        opens: &[2],
        exit: |second| (!(40..52).contains(&second)).then_some("gateway"),
    },
    Connection {
        port: 40_005,
        protocol: "udp",
        up: (0, 149),
        opens: &[],
        exit: |_| Some("gateway"),
    },
];

/// Writes every table.
pub fn write(root: &Path) {
    let (mut flows, mut snat) = (Vec::new(), Vec::new());
    for connection in &CONNECTIONS {
        for second in connection.up.0..=connection.up.1 {
            let node = (connection.exit)(second);
            flows.extend(connection.at_pod(second, node.is_some()));
            flows.extend(node.map(|node| connection.at_uplink(second, node)));
            snat.extend(node.map(|node| connection.at_wire(second, node)));
        }
    }
    let mut ledger = Vec::new();
    for (node, _) in [WORKER, GATEWAY] {
        for second in 0..SECONDS {
            ledger.extend(books(node, second, &flows));
        }
    }
    by_node(root, &flows, |row| (&row.node, row.interval_start_us));
    by_node(root, &snat, |row| (&row.node, row.interval_start_us));
    by_node(root, &ledger, |row| (&row.node, row.interval_start_us));
    file(
        root,
        WORKER.0,
        &(0..SECONDS).flat_map(answers).collect::<Vec<_>>(),
    );
    let charges = (0..SECONDS).flat_map(|second| {
        [WORKER.0, GATEWAY.0]
            .into_iter()
            .flat_map(move |node| charges(node, second))
    });
    by_node(root, &charges.collect::<Vec<_>>(), |row| {
        (&row.node, row.interval_start_us)
    });
    file(root, "recorder", &objects());
}

/// Adds a load run whose start and end lie within intervals.
pub fn add_run(root: &Path) {
    let window = (START_US + 30_400_000, START_US + 90_700_000);
    let manifest = RunManifest {
        case: "one".to_owned(),
        client_pod: Some("app/client".to_owned()),
        server_address: Some(SERVER.to_owned()),
        ..RunManifest::new(RUN, "curl", window)
    };
    manifest
        .write(&root.join("runs").join(RUN))
        .expect("a manifest is written");
}

impl Connection {
    fn opens_at(&self, second: i64) -> bool {
        self.opens.contains(&second)
    }

    fn flow(&self, second: i64) -> FlowRow {
        let from_us = START_US + second * SECOND_US;
        FlowRow {
            interval_start_us: from_us,
            interval_end_us: from_us + SECOND_US,
            node: WORKER.0.to_owned(),
            boot_id: boot_id(WORKER.0),
            vantage: Vantage::Pod,
            nat_state: NatState::Pre,
            interface: None,
            direction: Direction::Egress,
            pod_uid: Some(POD.0.to_owned()),
            container_id: None,
            cgroup_id: Some(77),
            protocol: self.protocol.to_owned(),
            src_address: POD.1.to_owned(),
            dst_address: SERVER.to_owned(),
            src_port: self.port,
            dst_port: 5201,
            encapsulation: None,
            bytes: 150_000 + second,
            packets: 100 + second % 7,
            buffers: 10,
            buffer_bytes: 140_000 + second,
            tcp_flags: match (self.protocol, self.opens_at(second)) {
                ("tcp", true) => 2 | 16,
                ("tcp", false) => 16,
                _ => 0,
            },
            srtt_us: (self.protocol == "tcp").then_some(100 + second),
            min_rtt_us: None,
            retransmits: (self.protocol == "tcp").then_some(second),
            cwnd_segments: None,
            first_seen_us: from_us + 1_000 + i64::from(self.port % 10),
            last_seen_us: from_us + 990_000,
        }
    }

    /// What the pod sends, and what answers.
    fn at_pod(&self, second: i64, is_answered: bool) -> Vec<FlowRow> {
        let sent = self.flow(second);
        let answer = FlowRow {
            direction: Direction::Ingress,
            src_address: SERVER.to_owned(),
            dst_address: POD.1.to_owned(),
            src_port: 5201,
            dst_port: self.port,
            first_seen_us: sent.first_seen_us + 300,
            ..sent.clone()
        };
        [sent]
            .into_iter()
            .chain(is_answered.then_some(answer))
            .collect()
    }

    fn at_uplink(&self, second: i64, node: &str) -> FlowRow {
        FlowRow {
            node: node.to_owned(),
            boot_id: boot_id(node),
            vantage: Vantage::Uplink,
            nat_state: NatState::Post,
            interface: Some("eth0".to_owned()),
            pod_uid: None,
            cgroup_id: None,
            src_address: address_of(node).to_owned(),
            srtt_us: None,
            retransmits: None,
            ..self.flow(second)
        }
    }

    fn at_wire(&self, second: i64, node: &str) -> SnatRow {
        let flow = self.flow(second);
        let pre = Tuple {
            src_address: flow.src_address,
            dst_address: flow.dst_address,
            src_port: flow.src_port,
            dst_port: flow.dst_port,
        };
        let mut first = self
            .opens
            .iter()
            .copied()
            .filter(|opened| *opened <= second);
        let first = first.next_back().unwrap_or(self.up.0);
        SnatRow {
            interval_start_us: flow.interval_start_us,
            interval_end_us: flow.interval_end_us,
            node: node.to_owned(),
            boot_id: boot_id(node),
            interface: "eth0".to_owned(),
            protocol: self.protocol.to_owned(),
            post: Tuple {
                src_address: address_of(node).to_owned(),
                ..pre.clone()
            },
            pre: Some(pre),
            translated: Some(true),
            method: Method::Fingerprint,
            witness: Witness::Agrees,
            first_seen_us: START_US + first * SECOND_US + 1_200,
            last_seen_us: flow.last_seen_us,
            packets: flow.packets,
            buffers: flow.buffers,
            packets_until_paired: Some(1),
        }
    }
}

fn books(node: &str, second: i64, flows: &[FlowRow]) -> Vec<LedgerRow> {
    let from_us = START_US + second * SECOND_US;
    let hooks = [
        (Vantage::Pod, Some(Direction::Egress)),
        (Vantage::Pod, Some(Direction::Ingress)),
        (Vantage::Uplink, Some(Direction::Egress)),
        (Vantage::Wire, None),
        (Vantage::Cpu, None),
    ];
    let rows = hooks.into_iter().map(|(vantage, direction)| {
        let is_uplink = vantage == Vantage::Uplink;
        let has_interface = is_uplink || vantage == Vantage::Wire;
        let mut row = LedgerRow {
            interface: has_interface.then(|| "eth0".to_owned()),
            direction,
            link_header_bytes: 14,
            map_entries: 6,
            map_capacity: 65_536,
            ..LedgerRow::idle(
                (from_us, from_us + SECOND_US),
                node,
                &boot_id(node),
                vantage,
            )
        };
        let of_hook = flows.iter().filter(|flow| {
            flow.node == node
                && flow.interval_start_us == from_us
                && flow.vantage == vantage
                && Some(flow.direction) == direction
        });
        for flow in of_hook {
            row.counted.packets += flow.packets;
            row.counted.bytes += flow.bytes;
            row.counted.buffers += flow.buffers;
            row.counted.buffer_bytes += flow.buffer_bytes;
        }
        if is_uplink {
            row.non_ip.packets = 2;
            row.non_ip.bytes = 60;
            row.non_ip.buffers = 2;
            row.kernel_packets = Some(row.counted.packets + 2);
            row.kernel_bytes = Some(row.counted.bytes + 60 + 14 * (row.counted.packets + 2));
            row.dropped_behind_packets = Some(0);
        }
        row
    });
    rows.collect()
}

fn answers(second: i64) -> Vec<HttpRow> {
    let from_us = START_US + second * SECOND_US;
    let wave = second % 5 - 2;
    let row = |(name, address, responses): (&str, &str, i64), peer: &str| HttpRow {
        interval_start_us: from_us,
        interval_end_us: from_us + SECOND_US,
        node: WORKER.0.to_owned(),
        boot_id: boot_id(WORKER.0),
        pod_uid: Some(name.to_owned()),
        container_id: None,
        cgroup_id: 7,
        local_address: address.to_owned(),
        local_port: 8080,
        peer_address: peer.to_owned(),
        version: HttpVersion::Http11,
        status: Some(if second % 50 == 3 { 503 } else { 200 }),
        responses,
        latency_lower_us: vec![992, 1024],
        latency_upper_us: vec![1024, 1088],
        latency_responses: vec![1, responses - 1],
    };
    let [first, second] = BACKENDS;
    vec![
        row((first.0, first.1, first.2 + wave), DATA_PLANE),
        row((second.0, second.1, second.2 - wave), DATA_PLANE),
        row((first.0, first.1, 1), WORKER.1),
        row((second.0, second.1, 1), WORKER.1),
    ]
}

/// Of two nodes on one kernel: the worker's rows of softirqs and idle time count, the gateway's say the
/// same again.
fn charges(node: &str, second: i64) -> Vec<CpuRow> {
    let from_us = START_US + second * SECOND_US;
    let row = |scope, cpu_ms: i64| CpuRow {
        interval_start_us: from_us,
        interval_end_us: from_us + SECOND_US,
        node: node.to_owned(),
        boot_id: "shared-kernel".to_owned(),
        scope,
        cgroup_id: None,
        cgroup_path: None,
        pod_uid: None,
        container_id: None,
        command: None,
        vector: None,
        events: 10,
        cpu_ns: cpu_ms * 1_000_000,
        cycles: (scope != CpuScope::Idle).then_some(cpu_ms * 2_000_000),
        cycle_source: match scope {
            CpuScope::Idle => CycleSource::None,
            _ => CycleSource::Reference,
        },
    };
    let vector = |name: &str, cpu_ms| CpuRow {
        vector: Some(name.to_owned()),
        ..row(CpuScope::Softirq, cpu_ms)
    };
    vec![
        CpuRow {
            cgroup_id: Some(if node == WORKER.0 { 77 } else { 78 }),
            cgroup_path: Some("kubepods.slice/client".to_owned()),
            pod_uid: (node == WORKER.0).then(|| POD.0.to_owned()),
            container_id: Some("c-1".to_owned()),
            command: Some("iperf3".to_owned()),
            ..row(CpuScope::Cgroup, 300)
        },
        vector("net_rx", 100),
        vector("net_tx", 50),
        row(CpuScope::Idle, 1_250),
    ]
}

fn objects() -> Vec<ObjectRow> {
    let mut rows = vec![
        node(WORKER),
        node(GATEWAY),
        object(
            "v1",
            "Namespace",
            None,
            "app",
            json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "app"}}}),
        ),
        pod("client", POD.0, POD.1, json!({"app": "client"})),
        object(
            "crd.antrea.io/v1beta1",
            "Egress",
            None,
            "web",
            json!({
                "spec": {"appliedTo": {"podSelector": {"matchLabels": {"app": "client"}}}, "egressIP": EGRESS_IP},
                "status": {"egressIP": EGRESS_IP, "egressNode": GATEWAY.0}
            }),
        ),
        pod(
            "gw-nginx",
            "gw-nginx",
            DATA_PLANE,
            json!({"gateway.networking.k8s.io/gateway-name": "gw"}),
        ),
    ];
    rows.extend(route());
    for (name, address, _) in BACKENDS {
        rows.push(pod(name, name, address, json!({})));
        rows.push(object(
            "v1",
            "Service",
            Some("app"),
            name,
            json!({"spec": {"ports": [{"port": 80}]}}),
        ));
        rows.push(object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            Some("app"),
            name,
            json!({
                "metadata": {"labels": {"kubernetes.io/service-name": name}},
                "ports": [{"port": 8080}],
                "endpoints": [{
                    "addresses": [address],
                    "nodeName": WORKER.0,
                    "targetRef": {"kind": "Pod", "name": name, "uid": name}
                }]
            }),
        ));
    }
    rows
}

fn route() -> [ObjectRow; 3] {
    let gateway_api = "gateway.networking.k8s.io/v1";
    [
        object(
            gateway_api,
            "GatewayClass",
            None,
            "nginx",
            json!({
                "spec": {"controllerName": "gateway.nginx.org/nginx-gateway-controller"}
            }),
        ),
        object(
            gateway_api,
            "Gateway",
            Some("app"),
            "gw",
            json!({"spec": {
                "gatewayClassName": "nginx",
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]
            }}),
        ),
        object(
            gateway_api,
            "HTTPRoute",
            Some("app"),
            "echo",
            json!({"spec": {
                "parentRefs": [{"name": "gw"}],
                "rules": [{"backendRefs": [
                    {"name": "echo-v1", "port": 80, "weight": 60},
                    {"name": "echo-v2", "port": 80, "weight": 40}
                ]}]
            }}),
        ),
    ]
}

fn node((name, address): (&str, &str)) -> ObjectRow {
    object(
        "v1",
        "Node",
        None,
        name,
        json!({
            "metadata": {"labels": {"kubernetes.io/hostname": name}},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]}
        }),
    )
}

fn pod(name: &str, uid: &str, address: &str, labels: Value) -> ObjectRow {
    object(
        "v1",
        "Pod",
        Some("app"),
        name,
        json!({
            "metadata": {"uid": uid, "labels": labels, "creationTimestamp": "2026-05-28T20:00:00Z"},
            "spec": {"nodeName": WORKER.0, "containers": []},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        }),
    )
}

fn object(
    api: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    mut body: Value,
) -> ObjectRow {
    body["apiVersion"] = json!(api);
    body["kind"] = json!(kind);
    body["metadata"]["name"] = json!(name);
    if let Some(namespace) = namespace {
        body["metadata"]["namespace"] = json!(namespace);
    }
    if body["metadata"]["uid"].is_null() {
        body["metadata"]["uid"] = json!(name);
    }
    ObjectRow {
        observed_at_us: START_US - SECOND_US,
        event: ObjectEvent::Added,
        api_version: api.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        uid: body["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        resource_version: "1".to_owned(),
        object: body.to_string(),
    }
}

fn address_of(node: &str) -> &'static str {
    if node == WORKER.0 {
        WORKER.1
    } else {
        EGRESS_IP
    }
}

fn boot_id(node: &str) -> String {
    format!("{node:0>8}-5a0b-4f55-9f4e-4c8f9b6f0a01")
}

fn by_node<R: Record + Clone>(root: &Path, rows: &[R], key: impl Fn(&R) -> (&String, i64)) {
    for (node, _) in [WORKER, GATEWAY] {
        let of_node = rows.iter().filter(|row| key(row).0 == node);
        file(root, node, &of_node.cloned().collect::<Vec<_>>());
    }
}

fn file<R: Record>(root: &Path, node: &str, rows: &[R]) {
    let metadata = FileMetadata {
        node: node.to_owned(),
        boot_id: boot_id(node),
        tool_version: "0.1.0".to_owned(),
        clock: "realtime".to_owned(),
    };
    let name = FileName::of_interval(START_US, &boot_id(node), 1, 0).to_string();
    let path = partition_dir(root, R::TABLE, START_US, node).join(name);
    file::write(&path, rows, &metadata).expect("the temporary folder takes the table");
}
