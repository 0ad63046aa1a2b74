//! A small campaign as probe and load tool leave it: two cases, four runs each, one of them failed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use e2e::workspace_root;
use serde_json::{Value, json};
use trace_schema::Record;
use trace_schema::cpu::{CpuRow, CpuScope, CycleSource};
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{Count, LedgerRow, Vantage};
use trace_schema::manifest::{RunManifest, RunOutcome};
use trace_schema::resources::{ResourceRow, ResourceScope};

const START_US: i64 = 1_780_000_000_000_000;
const SECOND_US: i64 = 1_000_000;
const RUN_SECONDS: i64 = 20;
const NODES: [&str; 2] = ["gateway", "worker"];

/// Writes tables and runs below a folder.
pub fn write(root: &Path) {
    let mut chance = Chance(11);
    let mut tables = Tables::default();
    for number in 0..8 {
        let start_us = START_US + number * 60 * SECOND_US;
        run(root, number, start_us, &mut chance);
        for second in 0..RUN_SECONDS {
            let interval_us = (
                start_us + second * SECOND_US,
                start_us + (second + 1) * SECOND_US,
            );
            for node in NODES {
                tables.interval(node, interval_us, &mut chance);
            }
        }
    }
    tables.write(root);
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % most
    }
}

fn run(root: &Path, number: i64, start_us: i64, chance: &mut Chance) {
    let sample = workspace_root().join("analyzer/tests/fixtures/iperf3/iperf3.12_tcp.json");
    let mut result: Value = serde_json::from_str(&fs::read_to_string(sample).unwrap()).unwrap();
    let bits_per_second = 9.0e9 + chance.below(400_000_000) as f64;
    result["end"]["sum_received"]["bits_per_second"] = json!(bits_per_second);
    let end_us = start_us + RUN_SECONDS * SECOND_US;
    let mut manifest = RunManifest::new(&format!("run-{number}"), "iperf3", (start_us, end_us));
    manifest.case =
        ["netfilter-base", "netfilter-gateway"][usize::try_from(number % 2).unwrap()].to_owned();
    manifest.campaign = "a small one".to_owned();
    manifest.kernel = "6.8.0".to_owned();
    manifest.files = BTreeMap::from([("iperf3.json".to_owned(), "iperf3-json".to_owned())]);
    if number == 5 {
        manifest.outcome = RunOutcome::Failed;
        manifest.failure = Some("the server was not ready".to_owned());
    }
    let folder = root.join("runs").join(&manifest.id);
    manifest.write(&folder).unwrap();
    fs::write(folder.join("iperf3.json"), result.to_string()).unwrap();
}

#[derive(Default)]
struct Tables {
    cpu: Vec<CpuRow>,
    flows: Vec<FlowRow>,
    ledger: Vec<LedgerRow>,
    resources: Vec<ResourceRow>,
}

impl Tables {
    fn interval(&mut self, node: &str, interval_us: (i64, i64), chance: &mut Chance) {
        let softirq_ns = 300_000_000 + chance.below(100_000_000);
        let tasks_ns = 700_000_000 + chance.below(100_000_000);
        self.charge(node, interval_us, CpuScope::Softirq, softirq_ns);
        self.charge(node, interval_us, CpuScope::Cgroup, tasks_ns);
        let idle_ns = 4_000_000_000 - softirq_ns - tasks_ns;
        self.charge(node, interval_us, CpuScope::Idle, idle_ns);
        self.resources.push(ResourceRow {
            interval_start_us: interval_us.0,
            interval_end_us: interval_us.1,
            node: node.into(),
            boot_id: boot_id(node),
            scope: ResourceScope::Node,
            cgroup_id: None,
            cgroup_path: None,
            pod_uid: None,
            container_id: None,
            cpus: Some(4),
            cpu_ns: Some(softirq_ns + tasks_ns),
            cpu_user_ns: None,
            cpu_system_ns: None,
            cpu_softirq_ns: None,
            cpu_steal_ns: None,
            cpu_throttled_ns: None,
            memory_bytes: Some(4_000_000_000 + chance.below(100_000_000)),
            memory_working_set_bytes: None,
            memory_limit_bytes: Some(16_000_000_000),
            cpu_some_pressure_us: None,
            memory_some_pressure_us: None,
            memory_full_pressure_us: None,
            io_some_pressure_us: None,
        });
        for direction in [Direction::Egress, Direction::Ingress] {
            let packets = 50_000 + chance.below(5_000);
            self.traffic(node, interval_us, direction, packets);
        }
    }

    fn charge(&mut self, node: &str, interval_us: (i64, i64), scope: CpuScope, cpu_ns: i64) {
        let is_idle = scope == CpuScope::Idle;
        self.cpu.push(CpuRow {
            interval_start_us: interval_us.0,
            interval_end_us: interval_us.1,
            node: node.into(),
            boot_id: boot_id(node),
            scope,
            cgroup_id: (scope == CpuScope::Cgroup).then_some(9),
            cgroup_path: (scope == CpuScope::Cgroup).then(|| "/system.slice/sshd.service".into()),
            pod_uid: None,
            container_id: None,
            command: (scope == CpuScope::Cgroup).then(|| "sshd".into()),
            vector: (scope == CpuScope::Softirq).then(|| "net_rx".into()),
            events: 100,
            cpu_ns,
            cycles: (!is_idle).then_some(cpu_ns * 26 / 10),
            cycle_source: CycleSource::Reference,
        });
    }

    fn traffic(&mut self, node: &str, interval_us: (i64, i64), direction: Direction, packets: i64) {
        let bytes = packets * 1_400;
        self.flows.push(FlowRow {
            interval_start_us: interval_us.0,
            interval_end_us: interval_us.1,
            node: node.into(),
            boot_id: boot_id(node),
            vantage: Vantage::Uplink,
            nat_state: NatState::Post,
            interface: Some("eth0".into()),
            direction,
            pod_uid: None,
            container_id: None,
            cgroup_id: None,
            protocol: "tcp".into(),
            src_address: "192.0.2.1".into(),
            dst_address: "192.0.2.9".into(),
            src_port: 40_000,
            dst_port: 5_201,
            encapsulation: None,
            bytes,
            packets,
            buffers: packets / 20,
            buffer_bytes: bytes,
            tcp_flags: 16,
            srtt_us: None,
            min_rtt_us: None,
            retransmits: None,
            cwnd_segments: None,
            first_seen_us: interval_us.0,
            last_seen_us: interval_us.1 - 1,
        });
        self.ledger.push(LedgerRow {
            interface: Some("eth0".into()),
            direction: Some(direction),
            link_header_bytes: 14,
            counted: Count {
                packets,
                bytes,
                buffers: packets / 20,
                buffer_bytes: bytes,
            },
            kernel_packets: Some(packets),
            kernel_bytes: Some(bytes + 14 * packets),
            ..LedgerRow::idle(interval_us, node, &boot_id(node), Vantage::Uplink)
        });
    }

    fn write(&self, root: &Path) {
        for node in NODES {
            put(root, node, &self.cpu, |row| &row.node);
            put(root, node, &self.flows, |row| &row.node);
            put(root, node, &self.ledger, |row| &row.node);
            put(root, node, &self.resources, |row| &row.node);
        }
    }
}

fn boot_id(node: &str) -> String {
    let number = NODES.iter().position(|known| *known == node).unwrap_or(0);
    format!("2f1c9ad0-5a0b-4f55-9f4e-4c8f9b6f0a0{number}")
}

fn put<R: Record + Clone>(root: &Path, node: &str, rows: &[R], of: impl Fn(&R) -> &String) {
    let own: Vec<R> = rows.iter().filter(|row| of(row) == node).cloned().collect();
    let metadata = FileMetadata {
        node: node.into(),
        boot_id: boot_id(node),
        tool_version: "0.1.0".into(),
        clock: "realtime".into(),
    };
    let name = FileName::of_interval(START_US, &boot_id(node), 1, 0).to_string();
    let path = partition_dir(root, R::TABLE, START_US, node).join(name);
    file::write(&path, &own, &metadata).unwrap();
}
