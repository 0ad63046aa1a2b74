//! Nodes that share a kernel, as on kind: two probes, each in its node's network namespace and over
//! its node's cgroups, write no more than the kernel itself knows of.
//!
//! The witnesses are the kernel's own: interface counters of each node, `cpu.stat` of each node's
//! cgroup, `/proc/stat` once, and the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use e2e::processors::Processors;
use lab::{Config, Datapath, IperfOptions, Lab, ProbeOptions, Probes};
use serde_json::Value;
use trace_schema::cpu::{CpuRow, CpuScope};
use trace_schema::flows::{Direction, FlowRow};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::profile::{ProfileMode, ProfileRow};
use trace_schema::resources::{ResourceRow, ResourceScope};
use trace_schema::snat::SnatRow;

use crate::dataset;

const NODES: [&str; 2] = ["worker", "gateway"];
const UPLINK: &str = "eth0";
const SECONDS: u32 = 5;
const RUN: &str = "one";
/// Long enough for last ACKs and neighbour discovery.
const REST: Duration = Duration::from_millis(1_500);
/// Neighbour discovery may pass in the moments of starting and stopping.
const STRAY_PACKETS: i64 = 8;
const ETHERNET_HEADER_BYTES: i64 = 14;
const HZ: i64 = 499;
/// How far processor time may be from the kernel's account of a cgroup.
const AGREED: f64 = 0.03;
/// How far it may be from the clock, or from /proc/stat, which counts in hundredths of a second.
const CONSERVED: f64 = 0.02;
/// How far what a run recorded may be from the processors' time in it.
const CONSERVED_IN_A_RUN: f64 = 0.005;

#[test]
fn two_probes_on_one_kernel_write_what_the_kernel_counted() {
    let played = Played::play(&["--profile", &HZ.to_string()]);
    played.check_packets();
    played.check_pairings();
    played.check_processor_time();
    played.check_resources();
    played.check_profile();
    played.check_cost();
}

#[test]
fn kernel_wide_rows_that_both_wrote_count_once() {
    let played = Played::play(&["--kernel-wide", "on"]);
    let writers = played.writers();
    assert_eq!(writers.len(), NODES.len(), "one left it to the other");
    played.check_cost();
}

#[test]
fn without_processor_time_one_probe_alone_samples_the_kernel() {
    let hz = HZ.to_string();
    let played = Played::play(&["--cpu", "off", "--profile", &hz]);
    played.check_profile();
}

/// A container sees its own part of the hierarchy as the whole: the probe cannot read from a path how
/// deep its node's root is, and asks the kernel.
#[test]
fn nodes_in_cgroup_namespaces_know_their_own_tasks() {
    let launcher = ["sh", "-c", IN_CGROUP_NAMESPACE, "sh"].map(str::to_owned);
    let mount = lab::cgroup2_mount().expect("a mount of cgroup v2");
    let mount = mount.display().to_string();
    let played = Played::play_as(launcher.into_iter().chain([mount]).collect(), &[]);
    played.check_processor_time();
}

/// Starts a probe with a view of the hierarchy that begins at its node's root, which it is below, as
/// in a pod on kind; on the gateway one that begins above, with the probe beside the node's root.
const IN_CGROUP_NAMESPACE: &str = r#"
set -e
own=$1$(sed -n s/^0:://p /proc/self/cgroup)
shift
top=${own%/*/*}
case $top in */gateway) top=${top%/*}; own=$top;; esac
echo $$ > "$top/cgroup.procs"
export top own
exec unshare --cgroup --mount sh -ec '
    mount -t cgroup2 none "$top"
    echo $$ > "$own/cgroup.procs"
    exec "$@"' sh "$@"
"#;

/// What two probes wrote of one load, and what the kernel says of it.
struct Played {
    folder: tempfile::TempDir,
    before_start: Witness,
    after_start: Witness,
    before_stop: Witness,
    after_stop: Witness,
}

impl Played {
    fn play(arguments: &[&str]) -> Self {
        Self::play_as(Vec::new(), arguments)
    }

    fn play_as(launcher: Vec<String>, arguments: &[&str]) -> Self {
        e2e::require_root();
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut lab = Lab::up(Config::new(Datapath::Netfilter)).expect("a lab");
        thread::sleep(REST);
        let before_start = Witness::of(&lab);
        let mut options = ProbeOptions::new(dataset::binary("weighbridge-probe"), folder.path());
        options.nodes = NODES.map(str::to_owned).to_vec();
        options.launcher = launcher;
        options.arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        let probes: Probes = lab.start_probes(&options).expect("two probes");
        let after_start = Witness::of(&lab);
        thread::sleep(REST);
        let run = lab
            .iperf3(&IperfOptions::tcp("client", SECONDS))
            .expect("iperf3");
        run.write(folder.path(), RUN, "egress-gateway", None)
            .expect("a run");
        thread::sleep(REST);
        let before_stop = Witness::of(&lab);
        probes.stop().expect("the probes end well");
        let after_stop = Witness::of(&lab);
        lab.delete_objects();
        lab.write_objects(folder.path()).expect("objects");
        Self {
            folder,
            before_start,
            after_start,
            before_stop,
            after_stop,
        }
    }

    fn rows<R: trace_schema::Record>(&self) -> Vec<R> {
        dataset::rows(self.folder.path())
    }

    /// What a counter grew by while the probes surely counted, and while they may have.
    fn span<T: std::ops::Sub<Output = T>>(&self, of: impl Fn(&Witness) -> T) -> (T, T) {
        (
            of(&self.before_stop) - of(&self.after_start),
            of(&self.after_stop) - of(&self.before_start),
        )
    }

    /// Each node's uplink counted what its interface did, and nothing of the other's.
    fn check_packets(&self) {
        let (flows, ledger) = (self.rows::<FlowRow>(), self.rows::<LedgerRow>());
        for node in NODES {
            for direction in [Direction::Ingress, Direction::Egress] {
                let books = ledger.iter().filter(|row| {
                    row.node == node
                        && row.vantage == Vantage::Uplink
                        && row.direction == Some(direction)
                });
                let (mut packets, mut bytes, mut in_flows) = (0, 0, 0);
                for row in books {
                    for count in [&row.counted, &row.overflow, &row.non_ip, &row.ip_unparsed] {
                        // The lab's interfaces count buffers, however many packets one becomes.
                        packets += count.buffers;
                        bytes += count.buffer_bytes;
                    }
                    in_flows += row.counted.bytes;
                }
                let of_uplink = flows.iter().filter(|row| {
                    row.node == node && row.vantage == Vantage::Uplink && row.direction == direction
                });
                let flow_bytes: i64 = of_uplink.map(|row| row.bytes).sum();
                assert_eq!(
                    flow_bytes, in_flows,
                    "{node} {direction:?}: flows, and books"
                );
                let key = (node, direction == Direction::Egress);
                let (inner, outer) = self.span(|witness| witness.packets[&key]);
                assert!(outer - inner <= STRAY_PACKETS, "no rest: {inner}, {outer}");
                assert!(
                    (inner..=outer).contains(&packets),
                    "{node} {direction:?}: {packets} packets, {inner} to {outer} by the kernel"
                );
                let (inner, outer) = self.span(|witness| witness.bytes[&key]);
                let bytes = bytes + ETHERNET_HEADER_BYTES * packets;
                assert!(
                    (inner..=outer).contains(&bytes),
                    "{node} {direction:?}: {bytes} bytes, {inner} to {outer} by the kernel"
                );
                let is_loaded = direction == Direction::Ingress || outer > 1_000_000;
                assert!(is_loaded, "{node} {direction:?}: hardly any load");
            }
        }
    }

    /// Pods' flows stand at their node alone, and what left the gateway at the gateway alone.
    fn check_pairings(&self) {
        let flows = self.rows::<FlowRow>();
        let of_pods = flows.iter().filter(|row| row.vantage == Vantage::Pod);
        let nodes: BTreeSet<&str> = of_pods.map(|row| row.node.as_str()).collect();
        assert_eq!(nodes, BTreeSet::from(["worker"]), "nodes with pods' flows");
        let snat = self.rows::<SnatRow>();
        let translated = snat.iter().filter(|row| row.translated == Some(true));
        let nodes: BTreeSet<&str> = translated.map(|row| row.node.as_str()).collect();
        assert_eq!(nodes, BTreeSet::from(["gateway"]), "nodes with exits");
    }

    fn check_processor_time(&self) {
        let cpu = self.rows::<CpuRow>();
        let writers = self.writers();
        let [writer] = writers.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
            panic!("{writers:?} wrote what is kernel-wide")
        };
        let sum = |node: &str, scope: CpuScope| -> f64 {
            let rows = cpu
                .iter()
                .filter(|row| row.node == node && row.scope == scope);
            rows.map(|row| row.cpu_ns as f64).sum()
        };
        let softirqs = sum(writer, CpuScope::Softirq);
        let (_, stolen) = self.span(|witness| witness.stolen_ns);
        let mut owners: BTreeMap<i64, &str> = BTreeMap::new();
        for node in NODES {
            let tasks = sum(node, CpuScope::Cgroup);
            let (inner, outer) = self.span(|witness| witness.used_us[node]);
            let (inner, outer) = (inner * 1e3, outer * 1e3);
            println!(
                "{node}: {tasks} ns of tasks, cpu.stat {inner} to {outer}, softirqs {softirqs}, stolen {stolen}"
            );
            // What the hypervisor took while a task ran is charged to it, and not in cpu.stat.
            assert!(
                tasks < outer * (1.0 + AGREED) + stolen
                    && inner < (tasks + softirqs) * (1.0 + AGREED),
                "{node}: cpu.stat says {inner} to {outer}, the rows {tasks}"
            );
            let of_tasks = cpu
                .iter()
                .filter(|row| row.node == node && row.scope == CpuScope::Cgroup);
            for id in of_tasks.filter_map(|row| row.cgroup_id) {
                let owner = owners.insert(id, node);
                assert!(
                    owner.is_none_or(|owner| owner == node),
                    "cgroup {id} has two nodes"
                );
            }
        }
        // By the writer's rows, tasks, softirqs and idle are the clock's; what it calls outside holds
        // the other node's tasks.
        let other = NODES[usize::from(NODES[0] == writer)];
        let outside = sum(writer, CpuScope::Outside);
        assert!(outside > sum(other, CpuScope::Cgroup) * (1.0 - AGREED));
        let idle = sum(writer, CpuScope::Idle);
        let busy = sum(writer, CpuScope::Cgroup) + outside + softirqs;
        let intervals: BTreeSet<(i64, i64)> = cpu
            .iter()
            .filter(|row| row.node == writer)
            .map(|row| (row.interval_start_us, row.interval_end_us))
            .collect();
        let clock_us: i64 = intervals.iter().map(|(start, end)| end - start).sum();
        let machine = clock_us as f64 * 1e3 * cpus();
        println!("busy {busy} and idle {idle} of {machine}");
        assert!(((busy + idle) / machine - 1.0).abs() < CONSERVED);
        // What ticks find busy scatters about what was, above all to less, and what the kernel calls idle
        // leaves out the interrupts that came meanwhile, which the rows leave with it.
        let (inner, _) = self.span(|witness| witness.ticked_ns);
        let (_, outer) = self.span(|witness| witness.awake_ns);
        let slack = machine * CONSERVED;
        assert!(
            (inner - slack..outer + slack).contains(&busy),
            "/proc/stat says {inner} to {outer}, the rows {busy}"
        );
    }

    /// Containers stand at their node alone; both nodes tell of the one machine, by its boot id.
    fn check_resources(&self) {
        let rows = self.rows::<ResourceRow>();
        let mut owners: BTreeMap<i64, &str> = BTreeMap::new();
        let containers = rows
            .iter()
            .filter(|row| row.scope == ResourceScope::Container);
        for row in containers {
            let id = row.cgroup_id.expect("a cgroup");
            let owner = owners.insert(id, &row.node);
            assert!(owner.is_none_or(|owner| owner == row.node), "{row:?}");
        }
        assert!(owners.values().any(|node| *node == "worker"), "no pods");
        let boots: BTreeSet<&str> = rows.iter().map(|row| row.boot_id.as_str()).collect();
        assert_eq!(boots.len(), 1, "{boots:?}");
        for node in NODES {
            let machine = rows
                .iter()
                .filter(|row| row.node == node && row.scope == ResourceScope::Node);
            let busy: f64 = machine
                .filter_map(|row| row.cpu_ns)
                .map(|ns| ns as f64)
                .sum();
            let (inner, outer) = self.span(|witness| witness.ticked_ns);
            // Each CPU's hundredths are cut off at both ends of each interval.
            let slack = 20e6 * cpus();
            assert!(
                (inner - slack..=outer + slack).contains(&busy),
                "{node}: /proc/stat says {inner} to {outer}, the rows {busy}"
            );
        }
    }

    /// One node's probe samples what processors do, as often as it should. An idle processor's clock
    /// sleeps with it, so that its samples tell nothing.
    fn check_profile(&self) {
        let rows = self.rows::<ProfileRow>();
        let nodes: BTreeSet<&str> = rows.iter().map(|row| row.node.as_str()).collect();
        assert_eq!(nodes.len(), 1, "{nodes:?} sampled one kernel");
        let busy = rows.iter().filter(|row| row.mode != ProfileMode::Idle);
        let samples = busy.map(|row| row.samples).sum::<i64>() as f64;
        let (inner, outer) = self.span(|witness| witness.ticked_ns);
        let due = |busy_ns: f64| busy_ns / 1e9 * HZ as f64;
        println!("{samples} samples, {} to {} due", due(inner), due(outer));
        assert!((due(inner) * 0.85..due(outer) * 1.15).contains(&samples));
    }

    /// Everything that ran and idled while iperf3 ran is the machine's time, once.
    fn check_cost(&self) {
        let (code, report) = dataset::weighbridge("cost", self.folder.path(), &["--run", RUN]);
        let run = &report["runs"][0];
        assert_eq!(code, Some(0), "{}", run["inconclusive_because"]);
        let number = |value: &Value| value.as_f64().expect("a number");
        let machine_s = cpus() * number(&run["seconds"]);
        let charged = number(&run["charged"]["cpu_ns"]);
        let recorded_s = (charged + number(&run["idle_cpu_ns"])) / 1e9;
        println!("{recorded_s} CPU s recorded of {machine_s}");
        let off = (recorded_s / machine_s - 1.0).abs();
        assert!(off < CONSERVED_IN_A_RUN, "{run:#}");
    }

    /// Nodes that wrote rows that hold for the whole kernel.
    fn writers(&self) -> BTreeSet<String> {
        let rows = self.rows::<CpuRow>().into_iter();
        let wide = rows.filter(|row| matches!(row.scope, CpuScope::Softirq | CpuScope::Idle));
        wide.map(|row| row.node).collect()
    }
}

/// What the kernel says at one moment.
struct Witness {
    /// By node, and whether it is egress.
    packets: BTreeMap<(&'static str, bool), i64>,
    bytes: BTreeMap<(&'static str, bool), i64>,
    used_us: BTreeMap<&'static str, f64>,
    /// Time that processors were neither idle nor stolen, as /proc/stat adds it up from ticks.
    ticked_ns: f64,
    /// Time that they were not idle, stolen or not.
    awake_ns: f64,
    stolen_ns: f64,
}

impl Witness {
    fn of(lab: &Lab) -> Self {
        let processors = Processors::read().expect("/proc/stat");
        let mut witness = Self {
            packets: BTreeMap::new(),
            bytes: BTreeMap::new(),
            used_us: BTreeMap::new(),
            ticked_ns: ticked_ns(),
            awake_ns: processors.awake_ns,
            stolen_ns: processors.stolen_ns,
        };
        for node in NODES {
            let arguments = ["-s", "-j", "link", "show", "dev", UPLINK];
            let output = lab.node(node).run("ip", arguments);
            let output = output.expect("iproute2: apt-get install iproute2");
            let links: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            for (field, is_egress) in [("rx", false), ("tx", true)] {
                let counters = &links[0]["stats64"][field];
                let number = |name: &str| counters[name].as_i64().expect("a number");
                witness.packets.insert((node, is_egress), number("packets"));
                witness.bytes.insert((node, is_egress), number("bytes"));
            }
            // Two levels above the service that the node's processes are in.
            let root = lab.node(node).cgroup().ancestors().nth(2);
            let used_us = used_us(root.expect("the node's root"));
            witness.used_us.insert(node, used_us);
        }
        witness
    }
}

/// The kernel's own account of a cgroup.
fn used_us(cgroup: &Path) -> f64 {
    let text = fs::read_to_string(cgroup.join("cpu.stat")).expect("cpu.stat");
    let usage = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "));
    let usage = usage.expect("usage_usec");
    usage.parse().expect("microseconds")
}

/// Time that the machine's processors were neither idle nor taken away, as ticks found it.
fn ticked_ns() -> f64 {
    let text = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let line = text.lines().next().expect("a line of all processors");
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().expect("ticks"))
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests' time is in user and nice.
    let busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6];
    busy * 1e7
}

fn cpus() -> f64 {
    thread::available_parallelism().expect("CPUs").get() as f64
}
