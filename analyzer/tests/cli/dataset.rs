//! A small dataset as probes and recorder write it: two nodes, one pod, one policy, ten seconds.

use std::path::Path;

use serde_json::{Value, json};
use trace_schema::Record;
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::objects::{ObjectEvent, ObjectRow};
use trace_schema::snat::{Method, SnatRow, Tuple, Witness};

pub const START_US: i64 = 1_780_000_000_000_000;
pub const EGRESS_IP: &str = "172.18.0.100";
pub const WORKER_IP: &str = "172.18.0.2";
const GATEWAY_IP: &str = "172.18.0.3";
const POD_IP: &str = "10.0.1.5";
const POD_UID: &str = "7d9ad7d5-1b86-4ad1-8b0f-0d1f6f5f9a11";
const SERVER: &str = "192.0.2.9";
const BOOT: &str = "2f1c9ad0-5a0b-4f55-9f4e-4c8f9b6f0a01";
const SECONDS: i64 = 10;

/// Rows of all tables, to be changed and then written.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub flows: Vec<FlowRow>,
    pub snat: Vec<SnatRow>,
    pub ledger: Vec<LedgerRow>,
    pub objects: Vec<ObjectRow>,
}

impl Tables {
    /// Healthy probes, the objects, and no traffic.
    pub fn quiet() -> Self {
        let mut tables = Self {
            objects: objects(),
            ..Self::default()
        };
        for node in ["worker", "gateway"] {
            for second in 0..SECONDS {
                tables
                    .ledger
                    .push(ledger_row(node, Vantage::Pod, None, second));
                tables
                    .ledger
                    .push(ledger_row(node, Vantage::Wire, Some("eth0"), second));
            }
        }
        tables
    }

    /// One TCP connection from second 1 to second 3 that leaves by `node` as `address`.
    pub fn connection(mut self, port: i32, node: &str, address: &str) -> Self {
        for second in 1..=3 {
            self.flows.push(flow_row(port, second));
            self.snat.push(snat_row(port, second, node, address));
        }
        self
    }

    /// Writes every table below `root`, a file a node.
    pub fn write(&self, root: &Path) {
        write_by_node(root, &self.flows, |row| (&row.node, row.interval_start_us));
        write_by_node(root, &self.snat, |row| (&row.node, row.interval_start_us));
        write_by_node(root, &self.ledger, |row| (&row.node, row.interval_start_us));
        write_file(root, "recorder", START_US, &self.objects);
    }
}

fn write_by_node<R: Record + Clone>(root: &Path, rows: &[R], key: impl Fn(&R) -> (&String, i64)) {
    for node in ["worker", "gateway"] {
        let of_node: Vec<R> = rows
            .iter()
            .filter(|row| key(row).0 == node)
            .cloned()
            .collect();
        if let Some(start_us) = of_node.iter().map(|row| key(row).1).min() {
            write_file(root, node, start_us, &of_node);
        }
    }
}

pub fn write_file<R: Record>(root: &Path, node: &str, start_us: i64, rows: &[R]) {
    let name = FileName::of_interval(start_us, BOOT, 1, 0).to_string();
    let metadata = FileMetadata {
        node: node.into(),
        boot_id: BOOT.into(),
        tool_version: "0.1.0".into(),
        clock: "realtime".into(),
    };
    let path = partition_dir(root, R::TABLE, start_us, node).join(name);
    file::write(&path, rows, &metadata).expect("the temporary folder takes the table");
}

fn objects() -> Vec<ObjectRow> {
    let node = |name: &str, address: &str| {
        object(
            "v1",
            "Node",
            None,
            name,
            json!({
                "metadata": {"name": name, "uid": name, "labels": {"kubernetes.io/hostname": name}},
                "spec": {},
                "status": {"addresses": [{"type": "InternalIP", "address": address}]}
            }),
        )
    };
    vec![
        node("worker", WORKER_IP),
        node("gateway", GATEWAY_IP),
        object(
            "v1",
            "Namespace",
            None,
            "app",
            json!({
                "metadata": {"name": "app", "uid": "app", "labels": {"kubernetes.io/metadata.name": "app"}}
            }),
        ),
        object(
            "v1",
            "Pod",
            Some("app"),
            "client",
            json!({
                "metadata": {
                    "name": "client", "namespace": "app", "uid": POD_UID, "labels": {"app": "client"},
                    "creationTimestamp": "2026-05-28T20:26:39Z"
                },
                "spec": {"nodeName": "worker", "containers": []},
                "status": {"phase": "Running", "podIP": POD_IP, "podIPs": [{"ip": POD_IP}]}
            }),
        ),
        policy(json!({"podSelector": {"matchLabels": {"app": "client"}}})),
    ]
}

/// A second pod that the policy selects, on a node of the objects' naming.
pub fn pod_on(node: &str) -> ObjectRow {
    object(
        "v1",
        "Pod",
        Some("app"),
        "second",
        json!({
            "metadata": {
                "name": "second", "namespace": "app", "uid": "second", "labels": {"app": "client"},
                "creationTimestamp": "2026-05-28T20:26:39Z"
            },
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "podIP": "10.0.2.6", "podIPs": [{"ip": "10.0.2.6"}]}
        }),
    )
}

/// The policy `web`, applied to what is given.
pub fn policy(applied_to: Value) -> ObjectRow {
    object(
        "crd.antrea.io/v1beta1",
        "Egress",
        None,
        "web",
        json!({
            "metadata": {"name": "web", "uid": "web"},
            "spec": {"appliedTo": applied_to, "egressIP": EGRESS_IP},
            "status": {"egressIP": EGRESS_IP, "egressNode": "gateway"}
        }),
    )
}

pub fn object(
    api: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    mut body: Value,
) -> ObjectRow {
    body["apiVersion"] = json!(api);
    body["kind"] = json!(kind);
    ObjectRow {
        observed_at_us: START_US - 1_000_000,
        event: ObjectEvent::Added,
        api_version: api.into(),
        kind: kind.into(),
        namespace: namespace.map(str::to_owned),
        name: name.into(),
        uid: body["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        resource_version: "1".into(),
        object: body.to_string(),
    }
}

fn at(second: i64, ms: i64) -> i64 {
    START_US + second * 1_000_000 + ms * 1_000
}

fn flow_row(port: i32, second: i64) -> FlowRow {
    FlowRow {
        interval_start_us: at(second, 0),
        interval_end_us: at(second + 1, 0),
        node: "worker".into(),
        boot_id: BOOT.into(),
        vantage: Vantage::Pod,
        nat_state: NatState::Pre,
        interface: None,
        direction: Direction::Egress,
        pod_uid: Some(POD_UID.into()),
        container_id: None,
        cgroup_id: Some(77),
        protocol: "tcp".into(),
        src_address: POD_IP.into(),
        dst_address: SERVER.into(),
        src_port: port,
        dst_port: 5201,
        encapsulation: None,
        bytes: 1_500_000,
        packets: 1_000,
        buffers: 50,
        buffer_bytes: 1_460_000,
        tcp_flags: if second == 1 { 2 | 16 } else { 16 },
        srtt_us: Some(120),
        min_rtt_us: Some(80),
        retransmits: Some(0),
        cwnd_segments: Some(10),
        first_seen_us: at(second, 1),
        last_seen_us: at(second, 990),
    }
}

fn snat_row(port: i32, second: i64, node: &str, address: &str) -> SnatRow {
    let pre = Tuple {
        src_address: POD_IP.into(),
        dst_address: SERVER.into(),
        src_port: port,
        dst_port: 5201,
    };
    let post = Tuple {
        src_address: address.into(),
        ..pre.clone()
    };
    SnatRow {
        interval_start_us: at(second, 0),
        interval_end_us: at(second + 1, 0),
        node: node.into(),
        boot_id: BOOT.into(),
        interface: "eth0".into(),
        protocol: "tcp".into(),
        translated: Some(pre != post),
        pre: Some(pre),
        post,
        method: Method::Fingerprint,
        witness: Witness::Agrees,
        first_seen_us: at(1, 1),
        last_seen_us: at(second, 990),
        packets: 50,
        buffers: 50,
        packets_until_paired: Some(1),
    }
}

pub fn ledger_row(node: &str, vantage: Vantage, interface: Option<&str>, second: i64) -> LedgerRow {
    let interval_us = (at(second, 0), at(second + 1, 0));
    LedgerRow {
        interface: interface.map(str::to_owned),
        direction: (vantage == Vantage::Pod).then_some(Direction::Egress),
        link_header_bytes: 14,
        map_entries: 1,
        map_capacity: 65_536,
        ..LedgerRow::idle(interval_us, node, BOOT, vantage)
    }
}
