//! A dataset of two nodes and two runs, every second of which is alike.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use trace_schema::cpu::{CpuRow, CpuScope, CycleSource};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::ledger::{Count, LedgerRow, Vantage};
use trace_schema::manifest::RunManifest;
use trace_schema::profile::{ProfileEvent, ProfileMode, ProfileRow};
use trace_schema::resources::{ResourceRow, ResourceScope};

use super::super::dataset::{START_US, object, write_file};

pub const CLIENT: &str = "0b1f6a52-5d0e-4c31-9a55-0d7f3b1f0e11";
pub const AGENT: &str = "1c2f6a52-5d0e-4c31-9a55-0d7f3b1f0e22";
/// A static pod, as the API names it and as the kubelet does.
pub const MIRROR: &str = "2d3f6a52-5d0e-4c31-9a55-0d7f3b1f0e33";
pub const STATIC: &str = "d4f8c1b2a3948576e0f1d2c3b4a59687";
pub const SECONDS: i64 = 20;
pub const SECOND_US: i64 = 1_000_000;
pub const MIB: i64 = 1 << 20;

/// The rows of all tables, to be changed and then written.
pub struct Tables {
    pub cpu: Vec<CpuRow>,
    pub resources: Vec<ResourceRow>,
    pub ledger: Vec<LedgerRow>,
    pub flows: Vec<FlowRow>,
    pub profile: Vec<ProfileRow>,
    pub runs: Vec<RunManifest>,
}

/// A row of a second; cycles at 2 GHz.
pub fn charge(node: &str, second: i64, scope: CpuScope, cpu_ms: i64) -> CpuRow {
    let cycles = !matches!(scope, CpuScope::Idle | CpuScope::Program);
    CpuRow {
        interval_start_us: START_US + second * SECOND_US,
        interval_end_us: START_US + (second + 1) * SECOND_US,
        node: node.to_owned(),
        boot_id: format!("boot-{node}"),
        scope,
        cgroup_id: None,
        cgroup_path: None,
        pod_uid: None,
        container_id: None,
        command: None,
        vector: None,
        events: 1_000,
        cpu_ns: cpu_ms * 1_000_000,
        cycles: cycles.then_some(cpu_ms * 2_000_000),
        cycle_source: if cycles {
            CycleSource::Reference
        } else {
            CycleSource::None
        },
    }
}

pub fn softirq(node: &str, second: i64, vector: &str, cpu_ms: i64) -> CpuRow {
    CpuRow {
        vector: Some(vector.to_owned()),
        ..charge(node, second, CpuScope::Softirq, cpu_ms)
    }
}

pub fn task(second: i64, path: &str, pod: Option<&str>, command: &str, cpu_ms: i64) -> CpuRow {
    CpuRow {
        cgroup_id: Some(path.len() as i64),
        cgroup_path: Some(path.to_owned()),
        pod_uid: pod.map(str::to_owned),
        command: Some(command.to_owned()),
        ..charge("worker", second, CpuScope::Cgroup, cpu_ms)
    }
}

/// What the client works harder in a second, in ms.
pub fn harder(second: i64) -> i64 {
    if second < 10 { 0 } else { 100 }
}

/// 890 ms of charges in a second, and 990 ms from second 10 on, by a client that works harder.
pub fn cpu_rows(second: i64) -> Vec<CpuRow> {
    let harder = harder(second);
    let agent = "kubepods.slice/agent";
    vec![
        softirq("worker", second, "net_rx", 200),
        softirq("worker", second, "net_tx", 10),
        task(
            second,
            "kubepods.slice/client.x",
            Some(CLIENT),
            "iperf3",
            500 + harder,
        ),
        task(second, agent, Some(AGENT), "ovs-vswitchd", 30),
        task(second, agent, Some(AGENT), "antrea-agent", 20),
        task(
            second,
            "system.slice/weighbridge-probe.service",
            None,
            "weighbridge-pro",
            5,
        ),
        task(second, "system.slice/kubelet.service", None, "kubelet", 15),
        task(second, "", None, "kworker/0:1", 10),
        charge("worker", second, CpuScope::Idle, 1_210 - harder),
        charge("worker", second, CpuScope::Program, 2),
        softirq("gateway", second, "net_rx", 100),
        charge("gateway", second, CpuScope::Idle, 1_900),
    ]
}

pub fn resource(node: &str, second: i64, scope: ResourceScope) -> ResourceRow {
    ResourceRow {
        interval_start_us: START_US + second * SECOND_US,
        interval_end_us: START_US + (second + 1) * SECOND_US,
        node: node.to_owned(),
        boot_id: format!("boot-{node}"),
        scope,
        cgroup_id: None,
        cgroup_path: None,
        pod_uid: None,
        container_id: None,
        cpus: (scope == ResourceScope::Node).then_some(2),
        cpu_ns: None,
        cpu_user_ns: None,
        cpu_system_ns: None,
        cpu_softirq_ns: None,
        cpu_steal_ns: None,
        cpu_throttled_ns: None,
        memory_bytes: (scope == ResourceScope::Node).then_some(1024 * MIB),
        memory_working_set_bytes: None,
        memory_limit_bytes: None,
        cpu_some_pressure_us: None,
        memory_some_pressure_us: None,
        memory_full_pressure_us: None,
        io_some_pressure_us: None,
    }
}

/// Two containers of the agent: 60 MiB together, and 100 in second 5.
pub fn agent_memory(second: i64) -> [ResourceRow; 2] {
    [("a", 40), ("b", if second == 5 { 60 } else { 20 })].map(|(container, mib)| ResourceRow {
        pod_uid: Some(AGENT.to_owned()),
        container_id: Some(container.to_owned()),
        memory_bytes: Some(500 * MIB),
        memory_working_set_bytes: Some(mib * MIB),
        ..resource("worker", second, ResourceScope::Container)
    })
}

/// 10,000 packets a second in 500 buffers of 15 MB.
pub fn uplink(node: &str, second: i64, direction: Direction) -> LedgerRow {
    let interval_us = (
        START_US + second * SECOND_US,
        START_US + (second + 1) * SECOND_US,
    );
    LedgerRow {
        interface: Some("eth0".to_owned()),
        direction: Some(direction),
        counted: Count {
            packets: 9_000,
            bytes: 13_500_000,
            buffers: 450,
            buffer_bytes: 0,
        },
        overflow: Count {
            packets: 1_000,
            bytes: 1_500_000,
            buffers: 50,
            buffer_bytes: 0,
        },
        ..LedgerRow::idle(interval_us, node, &format!("boot-{node}"), Vantage::Uplink)
    }
}

pub fn watch(node: &str, second: i64) -> LedgerRow {
    LedgerRow {
        vantage: Vantage::Cpu,
        interface: None,
        direction: None,
        counted: Count::default(),
        overflow: Count::default(),
        ..uplink(node, second, Direction::Egress)
    }
}

/// A second's books of what a node watches beside its uplink.
pub fn watch_other(node: &str, second: i64, vantage: Vantage) -> LedgerRow {
    LedgerRow {
        vantage,
        ..watch(node, second)
    }
}

pub fn flow(second: i64) -> FlowRow {
    FlowRow {
        interval_start_us: START_US + second * SECOND_US,
        interval_end_us: START_US + (second + 1) * SECOND_US,
        node: "worker".to_owned(),
        boot_id: "boot-worker".to_owned(),
        vantage: Vantage::Pod,
        nat_state: NatState::Pre,
        interface: None,
        direction: Direction::Egress,
        pod_uid: Some(CLIENT.to_owned()),
        container_id: None,
        cgroup_id: None,
        protocol: "tcp".to_owned(),
        src_address: "10.0.1.5".to_owned(),
        dst_address: "192.0.2.9".to_owned(),
        src_port: 40_000,
        dst_port: 5201,
        encapsulation: None,
        bytes: 15_000_000,
        packets: 10_000,
        buffers: 500,
        buffer_bytes: 14_000_000,
        tcp_flags: 16,
        srtt_us: None,
        min_rtt_us: None,
        retransmits: None,
        cwnd_segments: None,
        first_seen_us: START_US + second * SECOND_US,
        last_seen_us: START_US + second * SECOND_US + 1,
    }
}

pub fn load_run(id: &str, from_s: f64, to_s: f64) -> RunManifest {
    let at = |seconds: f64| START_US + (seconds * 1e6) as i64;
    RunManifest {
        case: "antrea-egress-gateway".to_owned(),
        client_pod: Some("app/client".to_owned()),
        ..RunManifest::new(id, "iperf3", (at(from_s), at(to_s)))
    }
}

/// Run `one` over 8.5 seconds, half of one at its edge; run `two` over 8 harder ones.
pub fn recorded() -> Tables {
    let seconds = 0..SECONDS;
    let nodes = ["worker", "gateway"];
    let resources = seconds.clone().flat_map(|second| {
        let of_nodes = nodes.map(|node| resource(node, second, ResourceScope::Node));
        of_nodes.into_iter().chain(agent_memory(second))
    });
    let ledger = seconds.clone().flat_map(|second| {
        [
            uplink("worker", second, Direction::Egress),
            uplink("gateway", second, Direction::Ingress),
            watch("worker", second),
            watch("gateway", second),
            watch_other("worker", second, Vantage::Pod),
        ]
    });
    Tables {
        cpu: seconds.clone().flat_map(cpu_rows).collect(),
        resources: resources.collect(),
        ledger: ledger.collect(),
        flows: seconds.map(flow).collect(),
        profile: Vec::new(),
        runs: vec![load_run("one", 0.5, 9.0), load_run("two", 11.0, 19.0)],
    }
}

impl Tables {
    pub fn put_on_one_kernel(&mut self) {
        let boot_ids = self.cpu.iter_mut().map(|row| &mut row.boot_id);
        let boot_ids = boot_ids.chain(self.resources.iter_mut().map(|row| &mut row.boot_id));
        let boot_ids = boot_ids.chain(self.ledger.iter_mut().map(|row| &mut row.boot_id));
        let boot_ids = boot_ids.chain(self.flows.iter_mut().map(|row| &mut row.boot_id));
        let boot_ids = boot_ids.chain(self.profile.iter_mut().map(|row| &mut row.boot_id));
        boot_ids.for_each(|boot_id| "one-kernel".clone_into(boot_id));
    }

    pub fn write(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for node in ["worker", "gateway"] {
            let of = |name: &String| name == node;
            let keep = |rows: &[CpuRow]| -> Vec<CpuRow> {
                rows.iter().filter(|row| of(&row.node)).cloned().collect()
            };
            if !keep(&self.cpu).is_empty() {
                write_file(root, node, START_US, &keep(&self.cpu));
            }
            let resources = self.resources.iter().filter(|row| of(&row.node));
            write_file(
                root,
                node,
                START_US,
                &resources.cloned().collect::<Vec<_>>(),
            );
            let ledger = self.ledger.iter().filter(|row| of(&row.node));
            write_file(root, node, START_US, &ledger.cloned().collect::<Vec<_>>());
        }
        write_file(root, "worker", START_US, &self.flows);
        if !self.profile.is_empty() {
            write_file(root, "worker", START_US, &self.profile);
        }
        write_file(root, "recorder", START_US, &objects());
        for run in &self.runs {
            let folder = root.join("runs").join(&run.id);
            fs::create_dir_all(&folder).unwrap();
            run.write(&folder).unwrap();
        }
        folder
    }
}

pub fn objects() -> Vec<trace_schema::objects::ObjectRow> {
    let pod = |namespace: &str, name: &str, uid: &str, labels: Value| {
        let body = json!({
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "labels": labels},
            "spec": {"nodeName": "worker", "containers": []},
            "status": {"phase": "Running"}
        });
        object("v1", "Pod", Some(namespace), name, body)
    };
    vec![
        pod("app", "client", CLIENT, json!({"app": "client"})),
        pod(
            "kube-system",
            "antrea-agent-x7k2p",
            AGENT,
            json!({"app": "antrea", "component": "antrea-agent"}),
        ),
        object(
            "v1",
            "Pod",
            Some("kube-system"),
            "haproxy-control-plane",
            json!({
                "metadata": {
                    "name": "haproxy-control-plane", "namespace": "kube-system", "uid": MIRROR,
                    "annotations": {"kubernetes.io/config.hash": STATIC},
                },
                "spec": {"nodeName": "worker", "containers": []},
                "status": {"phase": "Running"}
            }),
        ),
    ]
}

pub fn profile_row(second: i64, command: &str, stack: &str, samples: i64) -> ProfileRow {
    let mode = match (command, stack) {
        ("swapper/0", _) => ProfileMode::Idle,
        (_, "") => ProfileMode::User,
        _ => ProfileMode::Kernel,
    };
    ProfileRow {
        interval_start_us: START_US + second * SECOND_US,
        interval_end_us: START_US + (second + 1) * SECOND_US,
        node: "worker".to_owned(),
        boot_id: "boot-worker".to_owned(),
        event: ProfileEvent::CpuClock,
        frequency_hz: 99,
        mode,
        cgroup_id: None,
        cgroup_path: None,
        pod_uid: None,
        container_id: None,
        command: command.to_owned(),
        stack: stack.to_owned(),
        samples,
    }
}
