//! `weighbridge cost` on a dataset whose answer is worked out by hand.
//!
//! Every second is alike, so that the answer is a second's sum times the seconds of a run: on the
//! worker 790 ms of charges at 2 GHz, on the gateway 100 ms, 20,000 packets at their uplinks.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use trace_schema::cpu::{CpuRow, CpuScope, CycleSource};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::ledger::{Count, LedgerRow, Vantage};
use trace_schema::manifest::{RunManifest, RunOutcome};
use trace_schema::profile::{ProfileEvent, ProfileMode, ProfileRow};
use trace_schema::resources::{ResourceRow, ResourceScope};

use super::dataset::{START_US, object, write_file};
use super::{refused, weighbridge};

const CLIENT: &str = "0b1f6a52-5d0e-4c31-9a55-0d7f3b1f0e11";
const AGENT: &str = "1c2f6a52-5d0e-4c31-9a55-0d7f3b1f0e22";
/// A static pod, as the API names it and as the kubelet does.
const MIRROR: &str = "2d3f6a52-5d0e-4c31-9a55-0d7f3b1f0e33";
const STATIC: &str = "d4f8c1b2a3948576e0f1d2c3b4a59687";
const SECONDS: i64 = 20;
const SECOND_US: i64 = 1_000_000;
const MIB: i64 = 1 << 20;

/// The rows of all tables, to be changed and then written.
struct Tables {
    cpu: Vec<CpuRow>,
    resources: Vec<ResourceRow>,
    ledger: Vec<LedgerRow>,
    flows: Vec<FlowRow>,
    profile: Vec<ProfileRow>,
    runs: Vec<RunManifest>,
}

/// A row of a second; cycles at 2 GHz.
fn charge(node: &str, second: i64, scope: CpuScope, cpu_ms: i64) -> CpuRow {
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

fn softirq(node: &str, second: i64, vector: &str, cpu_ms: i64) -> CpuRow {
    CpuRow {
        vector: Some(vector.to_owned()),
        ..charge(node, second, CpuScope::Softirq, cpu_ms)
    }
}

fn task(second: i64, path: &str, pod: Option<&str>, command: &str, cpu_ms: i64) -> CpuRow {
    CpuRow {
        cgroup_id: Some(path.len() as i64),
        cgroup_path: Some(path.to_owned()),
        pod_uid: pod.map(str::to_owned),
        command: Some(command.to_owned()),
        ..charge("worker", second, CpuScope::Cgroup, cpu_ms)
    }
}

/// What the client works harder in a second, in ms.
fn harder(second: i64) -> i64 {
    if second < 10 { 0 } else { 100 }
}

/// 890 ms of charges in a second, and 990 ms from second 10 on, by a client that works harder.
fn cpu_rows(second: i64) -> Vec<CpuRow> {
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

fn resource(node: &str, second: i64, scope: ResourceScope) -> ResourceRow {
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
fn agent_memory(second: i64) -> [ResourceRow; 2] {
    [("a", 40), ("b", if second == 5 { 60 } else { 20 })].map(|(container, mib)| ResourceRow {
        pod_uid: Some(AGENT.to_owned()),
        container_id: Some(container.to_owned()),
        memory_bytes: Some(500 * MIB),
        memory_working_set_bytes: Some(mib * MIB),
        ..resource("worker", second, ResourceScope::Container)
    })
}

/// 10,000 packets a second in 500 buffers of 15 MB.
fn uplink(node: &str, second: i64, direction: Direction) -> LedgerRow {
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

fn watch(node: &str, second: i64) -> LedgerRow {
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
fn watch_other(node: &str, second: i64, vantage: Vantage) -> LedgerRow {
    LedgerRow {
        vantage,
        ..watch(node, second)
    }
}

fn flow(second: i64) -> FlowRow {
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

fn load_run(id: &str, from_s: f64, to_s: f64) -> RunManifest {
    let at = |seconds: f64| START_US + (seconds * 1e6) as i64;
    RunManifest {
        case: "antrea-egress-gateway".to_owned(),
        client_pod: Some("app/client".to_owned()),
        ..RunManifest::new(id, "iperf3", (at(from_s), at(to_s)))
    }
}

/// Run `one` over 8.5 seconds, half of one at its edge; run `two` over 8 harder ones.
fn recorded() -> Tables {
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
    fn put_on_one_kernel(&mut self) {
        let boot_ids = self.cpu.iter_mut().map(|row| &mut row.boot_id);
        let boot_ids = boot_ids.chain(self.resources.iter_mut().map(|row| &mut row.boot_id));
        let boot_ids = boot_ids.chain(self.ledger.iter_mut().map(|row| &mut row.boot_id));
        let boot_ids = boot_ids.chain(self.flows.iter_mut().map(|row| &mut row.boot_id));
        let boot_ids = boot_ids.chain(self.profile.iter_mut().map(|row| &mut row.boot_id));
        boot_ids.for_each(|boot_id| "one-kernel".clone_into(boot_id));
    }

    fn write(&self) -> TempDir {
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

fn objects() -> Vec<trace_schema::objects::ObjectRow> {
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

/// Standard output of `weighbridge cost`, after checking the exit code.
#[track_caller]
fn cost(root: &Path, more: &[&str], code: i32) -> String {
    let mut arguments = vec!["cost", "--dataset", root.to_str().unwrap()];
    arguments.extend(more);
    let output = weighbridge(&arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}\n{text}");
    text
}

#[track_caller]
fn report(root: &Path, more: &[&str], code: i32) -> Value {
    let mut arguments = more.to_vec();
    arguments.extend(["--format", "json"]);
    serde_json::from_str(&cost(root, &arguments, code)).unwrap()
}

fn part<'a>(run: &'a Value, name: &str) -> &'a Value {
    let parts = run["parts"].as_array().unwrap();
    let found = parts.iter().find(|part| part["part"] == name);
    found.unwrap_or_else(|| panic!("no part {name} in {parts:?}"))
}

#[track_caller]
fn near(value: &Value, expected: f64) {
    let found = value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"));
    assert!(
        (found - expected).abs() <= expected.abs() * 1e-6,
        "{found}, not {expected}"
    );
}

#[test]
fn costs_are_those_worked_out_by_hand() {
    let dataset = recorded().write();
    let report = report(dataset.path(), &[], 0);
    assert_eq!(report["cycle_source"], "reference");
    let run = &report["runs"][0];
    // 8.5 seconds of 890 ms at 2 GHz; 20,000 packets, 1,000 buffers, 30 MB a second at the uplinks.
    assert_eq!(run["charged"]["cpu_ns"], 7_565_000_000_i64);
    assert_eq!(run["charged"]["cycles"], 15_130_000_000_i64);
    assert_eq!(run["denominators"]["uplinks"]["packets"], 170_000);
    assert_eq!(run["denominators"]["uplinks"]["buffers"], 8_500);
    near(&run["charged"]["per_wire_packet"]["cycles"], 89_000.0);
    near(&run["charged"]["per_buffer"]["cycles"], 1_780_000.0);
    near(&run["charged"]["per_byte"]["cycles"], 1_780.0 / 30.0);
    near(&run["charged"]["per_client_packet"]["cpu_ns"], 89_000.0);
    near(&run["charged"]["cpu_seconds_per_gbit"], 0.89 / 0.24);
    for (name, cpu_ms) in [
        ("kernel_receive", 300),
        ("kernel_transmit", 10),
        ("cni", 50),
        ("application", 500),
        ("probe", 5),
        ("node_services", 15),
        ("other", 10),
    ] {
        let part = part(run, name);
        assert_eq!(part["cpu_ns"], cpu_ms * 8_500_000_i64, "{name}");
        near(&part["share"], cpu_ms as f64 / 890.0);
        near(&part["per_wire_packet"]["cycles"], cpu_ms as f64 * 100.0);
    }
    assert_eq!(run["parts"].as_array().unwrap().len(), 7);
    assert_eq!(run["probe_programs"]["cpu_ns"], 17_000_000);
    assert_eq!(run["idle_cpu_ns"], 26_435_000_000_i64);
    // Both nodes' books: 2 CPUs, nothing open.
    for books in run["books"].as_array().unwrap() {
        assert_eq!(books["capacity_cpu_ns"], 17_000_000_000_i64);
        near(&books["residual_share"], 0.0);
    }
    // Seven and a half seconds of 60 MiB and one of 100.
    let memory = &part(run, "cni")["memory"];
    near(
        &memory["mean_bytes"],
        ((7.5 * 60.0 + 100.0) / 8.5 * MIB as f64).round(),
    );
    assert_eq!(memory["peak_bytes"], 100 * MIB);
}

#[test]
fn parts_add_up_to_what_was_charged() {
    let dataset = recorded().write();
    let report = report(dataset.path(), &[], 0);
    for run in report["runs"].as_array().unwrap() {
        for list in ["parts", "subjects"] {
            let costs = run[list].as_array().unwrap().iter();
            let sum: i64 = costs.map(|cost| cost["cpu_ns"].as_i64().unwrap()).sum();
            assert_eq!(sum, run["charged"]["cpu_ns"].as_i64().unwrap(), "{list}");
        }
    }
}

#[test]
fn a_case_is_the_mean_of_its_runs() {
    let mut tables = recorded();
    tables.runs.push(RunManifest {
        outcome: RunOutcome::Failed,
        ..load_run("failed", 1.0, 9.0)
    });
    let dataset = tables.write();
    let report = report(dataset.path(), &[], 0);
    let case = &report["cases"][0];
    assert_eq!(case["runs"], json!(["one", "two"]));
    let parts = case["parts"].as_array().unwrap();
    let application = parts.iter().find(|part| part["part"] == "application");
    let mean = &application.unwrap()["cycles_per_client_packet"];
    // 100,000 and 120,000 cycles; t of one degree of freedom at 97.5 % is 12.7062.
    near(&mean["value"], 110_000.0);
    near(
        &mean["estimate"]["interval"]["low"],
        110_000.0 - 127_062.047_361_747,
    );
    near(&mean["estimate"]["standard_error"], 10_000.0);
}

/// The gateway's row of the same half a second later.
fn late(row: &CpuRow) -> CpuRow {
    CpuRow {
        node: "gateway".to_owned(),
        interval_start_us: row.interval_start_us + SECOND_US / 2,
        interval_end_us: row.interval_end_us + SECOND_US / 2,
        ..row.clone()
    }
}

#[test]
fn nodes_that_share_a_kernel_count_its_softirqs_once() {
    let mut tables = recorded();
    let mut both = Vec::new();
    for row in tables.cpu.drain(..) {
        if row.node == "worker" && row.vector.is_none() && row.scope != CpuScope::Idle {
            both.push(row);
        } else if row.node == "worker" {
            // The other node writes the same, half a second later.
            let late = late(&row);
            both.extend([row, late]);
        }
    }
    // To the gateway the worker's tasks are outside.
    let outside = (0..SECONDS).map(|second| {
        let outside = charge("gateway", second, CpuScope::Outside, 580 + harder(second));
        late(&outside)
    });
    both.extend(outside);
    tables.cpu = both;
    tables.put_on_one_kernel();
    for with_both in [true, false] {
        if !with_both {
            tables.cpu.retain(|row| row.node == "worker");
        }
        let dataset = tables.write();
        let report = report(dataset.path(), &["--run", "one"], 0);
        let run = &report["runs"][0];
        assert_eq!(part(run, "kernel_receive")["cpu_ns"], 200 * 8_500_000);
        assert_eq!(run["idle_cpu_ns"], 1_210 * 8_500_000_i64);
        assert_eq!(run["books"].as_array().unwrap().len(), 1);
        let notes = run["notes"].to_string();
        assert!(
            notes.contains("gateway, worker share one kernel"),
            "{notes}"
        );
    }
}

#[test]
fn tasks_outside_all_nodes_of_a_kernel_count_once() {
    let mut tables = recorded();
    tables.cpu.retain(|row| row.node == "worker");
    let idle = tables
        .cpu
        .iter_mut()
        .filter(|row| row.scope == CpuScope::Idle);
    idle.for_each(|row| row.cpu_ns -= 140_000_000);
    for second in 0..10 {
        // Each node sees the other's tasks outside, and 100 ms that are no node's.
        let kubelet = task(second, "system.slice/kubelet.service", None, "kubelet", 40);
        tables.cpu.extend([
            CpuRow {
                node: "gateway".to_owned(),
                cgroup_id: Some(99),
                ..kubelet
            },
            charge("worker", second, CpuScope::Outside, 40 + 100),
            charge("gateway", second, CpuScope::Outside, 580 + 100),
        ]);
    }
    tables.put_on_one_kernel();
    let report = report(tables.write().path(), &["--run", "one"], 0);
    let run = &report["runs"][0];
    assert_eq!(part(run, "outside")["cpu_ns"], 100 * 8_500_000);
    assert_eq!(part(run, "node_services")["cpu_ns"], (15 + 40) * 8_500_000);
    assert_eq!(
        run["charged"]["cpu_ns"],
        (210 + 580 + 40 + 100) * 8_500_000_i64
    );
    near(&run["books"][0]["residual_share"], 0.0);
}

#[test]
fn two_probes_that_charge_the_same_cgroups_are_found_out() {
    let mut tables = recorded();
    let again: Vec<CpuRow> = tables
        .cpu
        .iter()
        .filter(|row| row.scope == CpuScope::Cgroup)
        .map(|row| CpuRow {
            node: "gateway".to_owned(),
            ..row.clone()
        })
        .collect();
    tables.cpu.extend(again);
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    assert!(
        text.contains("gateway and worker share a kernel and both charge the same cgroups"),
        "{text}"
    );
}

#[test]
fn a_profile_gives_components_their_part_of_the_whole() {
    let mut tables = recorded();
    for second in 0..SECONDS {
        for (command, stack, samples) in [
            (
                "iperf3",
                "do_syscall_64;tcp_sendmsg;ip_output;nf_hook_slow;nf_conntrack_in",
                30,
            ),
            ("iperf3", "", 60),
            ("swapper/0", "", 110),
        ] {
            let row = profile_row(second, command, stack, samples);
            tables.profile.push(row);
        }
        let sampled = watch_other("worker", second, Vantage::Profile);
        tables.ledger.push(sampled);
    }
    let dataset = tables.write();
    let report = report(dataset.path(), &["--run", "one"], 0);
    let profile = &report["runs"][0]["profile"];
    // The half second at the edge counts whole, since half of it lies in the run.
    assert_eq!(
        (&profile["busy_samples"], &profile["idle_samples"]),
        (&json!(810), &json!(990))
    );
    let components = profile["components"].as_array().unwrap();
    assert_eq!(components[0]["component"], "user iperf3");
    assert_eq!(components[1]["component"], "netfilter conntrack");
    // A third of 79,000 reference cycles: nobody sampled the gateway, which was charged 10,000.
    near(&components[1]["per_wire_packet"]["cycles"], 79_000.0 / 3.0);
    near(&profile["charged_share"], 790.0 / 890.0);
    near(&profile["covered_share"], 1.0);
    let note = "kernels without samples were charged 11.2 % of the time";
    let notes = |report: &Value| report["runs"][0]["notes"].to_string();
    assert!(notes(&report).contains(note), "{report:#}");
    assert!(!notes(&report).contains("stand for all"), "{report:#}");
    let drawing = dataset.path().join("flames.svg");
    let flags = ["--run", "one", "--flamegraph", drawing.to_str().unwrap()];
    let text = cost(dataset.path(), &flags, 0);
    assert!(text.contains("netfilter conntrack"), "{text}");
    let by = "samples: by the CPU clock, 99 a second and CPU";
    assert!(text.contains(by), "{text}");
    assert!(
        fs::read_to_string(drawing)
            .unwrap()
            .contains("nf_conntrack_in")
    );
    tables.profile.clear();
    let dataset = tables.write();
    let root = dataset.path().to_str().unwrap();
    refused(
        &["cost", "--dataset", root, "--flamegraph", "/tmp/none.svg"],
        &["--flamegraph", "--profile"],
    );
}

#[test]
fn a_profile_of_a_part_of_the_run_says_so() {
    let mut tables = recorded();
    for second in 0..3 {
        tables.profile.push(profile_row(second, "iperf3", "", 60));
        let sampled = watch_other("worker", second, Vantage::Profile);
        tables.ledger.push(sampled);
    }
    let text = cost(tables.write().path(), &["--run", "one"], 0);
    // From 0.5 s to 3 s of 8.5 s.
    assert!(
        text.contains("samples were taken for 29.4 % of the run, and stand for all of it"),
        "{text}"
    );
}

#[test]
fn processes_of_nodes_that_did_not_sample_are_known_by_what_they_were_charged() {
    let mut tables = recorded();
    tables.cpu.retain(|row| row.node == "worker");
    let client_cgroup = tables
        .cpu
        .iter()
        .find(|row| row.pod_uid.as_deref() == Some(CLIENT))
        .and_then(|row| row.cgroup_id);
    for second in 0..SECONDS {
        // The gateway's probe samples what runs on the worker, and a task that is no node's.
        for (cgroup_id, samples) in [(client_cgroup, 60), (Some(77_777), 30)] {
            tables.profile.push(ProfileRow {
                node: "gateway".to_owned(),
                cgroup_id,
                ..profile_row(second, "iperf3", "", samples)
            });
        }
        let outside = charge("worker", second, CpuScope::Outside, 0);
        tables.cpu.push(outside);
    }
    tables.put_on_one_kernel();
    let report = report(tables.write().path(), &["--run", "one"], 0);
    let users = &report["runs"][0]["profile"]["user_space"];
    let found: Vec<(&Value, &Value)> = users
        .as_array()
        .unwrap()
        .iter()
        .map(|user| (&user["part"], &user["samples"]))
        .collect();
    let expected = [
        (&json!("application"), &json!(540)),
        (&json!("outside"), &json!(270)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_static_pod_is_the_one_whose_manifest_the_kubelet_hashed() {
    let mut tables = recorded();
    for second in 0..SECONDS {
        let path = "kubepods.slice/static";
        let row = task(second, path, Some(STATIC), "haproxy", 7);
        tables.cpu.push(row);
        let idle = tables.cpu.iter_mut().find(|row| {
            let starts = row.interval_start_us == START_US + second * SECOND_US;
            starts && row.node == "worker" && row.scope == CpuScope::Idle
        });
        idle.unwrap().cpu_ns -= 7_000_000;
        tables.resources.push(ResourceRow {
            pod_uid: Some(STATIC.to_owned()),
            container_id: Some("c".to_owned()),
            memory_working_set_bytes: Some(300 * MIB),
            ..resource("worker", second, ResourceScope::Container)
        });
    }
    let report = report(tables.write().path(), &["--run", "one"], 0);
    let services = part(&report["runs"][0], "cluster_services");
    assert_eq!(services["cpu_ns"], 7 * 8_500_000);
    assert_eq!(services["memory"]["mean_bytes"], 300 * MIB);
    let subjects = report["runs"][0]["subjects"].as_array().unwrap();
    let name = "kube-system/haproxy-control-plane";
    assert!(subjects.iter().any(|subject| subject["name"] == name));
}

#[test]
fn packets_that_stand_in_no_book_make_a_run_inconclusive() {
    let mut tables = recorded();
    tables
        .ledger
        .retain(|row| (row.node.as_str(), row.vantage) != ("gateway", Vantage::Uplink));
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    let reason = "the books of node gateway's uplinks cover 0.0 % of the run";
    assert!(text.contains(reason), "{text}");
    assert!(
        text.contains("all flows at the uplinks of worker, both"),
        "{text}"
    );
    tables.ledger.retain(|row| row.vantage != Vantage::Pod);
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    let reason = "the books of node worker's pods, the client's among them, cover 0.0 % of the run";
    assert!(text.contains(reason), "{text}");
}

#[test]
fn a_comparison_says_which_costs_are_inconclusive() {
    let mut tables = recorded();
    tables
        .ledger
        .retain(|row| (row.node.as_str(), row.vantage) != ("gateway", Vantage::Uplink));
    tables.runs = (0..6)
        .map(|run| RunManifest {
            case: ["gateway", "base"][run % 2].to_owned(),
            ..load_run(&format!("run-{run}"), 1.0 + run as f64, 9.0 + run as f64)
        })
        .collect();
    let dataset = tables.write();
    let root = dataset.path().to_str().unwrap();
    let output = weighbridge(&["compare", "--dataset", root])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let note =
        "what run run-3 cost is inconclusive (the books of node gateway's uplinks cover 0.0 %";
    assert!(text.contains(note), "{text}");
}

fn profile_row(second: i64, command: &str, stack: &str, samples: i64) -> ProfileRow {
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

#[test]
fn cycles_of_different_sources_are_not_added() {
    let mut tables = recorded();
    let of_gateway = tables.cpu.iter_mut().filter(|row| row.node == "gateway");
    of_gateway.for_each(|row| row.cycle_source = CycleSource::Hardware);
    let dataset = tables.write();
    let report = report(dataset.path(), &["--run", "one"], 0);
    let run = &report["runs"][0];
    assert_eq!(run["cycle_source"], "mixed");
    assert_eq!(run["charged"]["cycles"], Value::Null);
    near(&run["charged"]["per_wire_packet"]["cpu_ns"], 44_500.0);
    assert_eq!(run["nodes"][0]["cycle_source"], "hardware");
    assert_eq!(run["nodes"][0]["softirqs"]["cycles"], 200 * 8_500_000);
    assert!(
        cost(dataset.path(), &["--run", "one"], 0)
            .contains("figures by packet, buffer and byte are nanoseconds of CPU time")
    );
}

#[test]
fn what_is_missing_makes_a_run_inconclusive_where_it_matters() {
    // The worker's rows have 69,000 events: 600 are under a hundredth of them, 1,000 are not.
    for (lost, code) in [(600, 0), (1_000, 3)] {
        let mut tables = recorded();
        let mut watches = tables.ledger.iter_mut();
        let row = watches.find(|row| row.vantage == Vantage::Cpu && row.node == "worker");
        row.unwrap().hook_misses = Some(lost);
        let dataset = tables.write();
        let text = cost(dataset.path(), &["--run", "one"], code);
        assert!(text.contains("Lost at worker cpu"), "{text}");
        assert_eq!(text.contains("inconclusive, because"), code == 3, "{text}");
    }
    let mut tables = recorded();
    let nameless = tables
        .cpu
        .iter_mut()
        .filter(|row| row.command.as_deref() == Some("kubelet"));
    nameless.for_each(|row| (row.command, row.cgroup_path, row.cgroup_id) = (None, None, None));
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    assert!(
        text.contains("1.7 % of the time was charged without a name"),
        "{text}"
    );
    let mut tables = recorded();
    let third = START_US + 3 * SECOND_US;
    tables.cpu.retain(|row| row.interval_start_us != third);
    tables.ledger.retain(|row| row.interval_start_us != third);
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    assert!(text.contains("was watched for 88.2 % of the run"), "{text}");
    assert_eq!(
        cost(tables.write().path(), &["--run", "two"], 0)
            .matches("because")
            .count(),
        0
    );
}

#[test]
fn time_that_stands_in_no_row_makes_a_run_inconclusive() {
    let mut tables = recorded();
    // 15 ms of 2 s a second is 0.75 %, 30 ms is 1.5 %.
    tables
        .cpu
        .retain(|row| row.command.as_deref() != Some("kubelet"));
    cost(tables.write().path(), &["--run", "one"], 0);
    tables
        .cpu
        .retain(|row| row.command.as_deref() != Some("ovs-vswitchd"));
    let text = cost(tables.write().path(), &["--run", "one"], 3);
    assert!(text.contains("processor time are off by 2.2 %"), "{text}");
}

#[test]
fn a_short_run_is_inconclusive() {
    let mut tables = recorded();
    tables.runs = vec![load_run("short", 1.0, 5.5)];
    let text = cost(tables.write().path(), &[], 3);
    assert!(text.contains("lasted 4.5 intervals"), "{text}");
}

#[test]
fn a_dataset_without_runs_is_one_measurement() {
    let mut tables = recorded();
    tables.runs.clear();
    let dataset = tables.write();
    let all = report(dataset.path(), &[], 0);
    assert_eq!(
        all["runs"][0]["charged"]["cpu_ns"],
        10 * (890 + 990) * 1_000_000_i64
    );
    let half = report(dataset.path(), &["--until", "2026-05-28T20:26:50Z"], 0);
    assert_eq!(
        half["runs"][0]["charged"]["cpu_ns"],
        10 * 890 * 1_000_000_i64
    );
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let mut tables = recorded();
    let dataset = tables.write();
    let root = dataset.path().to_str().unwrap();
    refused(
        &["cost", "--dataset", root, "--run", "three"],
        &["--run three", "one, two"],
    );
    refused(
        &["cost", "--dataset", root, "--case", "other"],
        &["--case other", "antrea-egress-gateway"],
    );
    refused(
        &["cost", "--dataset", root, "--from", "2027-01-01T00:00:00Z"],
        &["--from", "no run"],
    );
    tables.cpu.clear();
    let dataset = tables.write();
    refused(
        &["cost", "--dataset", dataset.path().to_str().unwrap()],
        &["no table cpu", "--cpu on"],
    );
}

#[test]
fn tables_of_costs() {
    let dataset = recorded().write();
    insta::assert_snapshot!("cost_of_two_runs", cost(dataset.path(), &[], 0));
}
