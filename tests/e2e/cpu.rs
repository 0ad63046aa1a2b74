//! Processor time under real load: iperf3 between a pod and the host outside.
//!
//! What the rows say must add up to the clock, CPU by CPU and interval by interval, and a container's
//! rows to its own `cpu.stat`.

use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

use e2e::processors::Processors;
use lab::{Config, Datapath, IperfOptions, Lab, ProbeOptions};
use trace_schema::cpu::{CpuRow, CpuScope};

use crate::dataset;

/// How far the sum may be from the clock.
const CONSERVED: f64 = 0.005;
/// How far a container's rows may be from its `cpu.stat`.
const AGREED: f64 = 0.02;
const SECONDS: u32 = 4;
const NODE: &str = "worker";
const POD: &str = "client";

#[test]
fn processor_time_adds_up_at_rest_and_under_iperf3() {
    e2e::require_root();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let lab = Lab::up(Config::new(Datapath::Netfilter)).expect("a lab");
    let mut options = ProbeOptions::new(dataset::binary("weighbridge-probe"), folder.path());
    options.nodes = vec![NODE.to_owned()];
    options.arguments = ["--kernel-wide", "on"].map(str::to_owned).to_vec();
    let cgroup = lab.pod(POD).cgroup().to_owned();
    let used_before = used_ns(&cgroup);
    let before = Processors::read().expect("/proc/stat");
    let probes = lab.start_probes(&options).expect("a probe");
    thread::sleep(Duration::from_secs(3));
    lab.iperf3(&IperfOptions::tcp(POD, SECONDS))
        .expect("iperf3");
    probes.stop().expect("the probe ends well");
    let used = (used_ns(&cgroup) - used_before) as f64;
    let after = Processors::read().expect("/proc/stat");
    let stolen = after.stolen_ns - before.stolen_ns;

    let rows: Vec<CpuRow> = dataset::rows(folder.path());
    let mut intervals: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.scope != CpuScope::Program) {
        let interval = (row.interval_start_us, row.interval_end_us);
        *intervals.entry(interval).or_default() += row.cpu_ns;
    }
    let cpus = thread::available_parallelism().expect("CPUs").get() as f64;
    let clock_us: i64 = intervals.keys().map(|(start, end)| end - start).sum();
    let sum: i64 = intervals.values().sum();
    let share = sum as f64 / (clock_us as f64 * 1000.0 * cpus);
    println!(
        "charged: {share:.5} of the clock in {} intervals",
        intervals.len()
    );
    assert!((share - 1.0).abs() < CONSERVED, "{share} of the clock");

    let of_vector = |name: &str| -> f64 {
        let found = rows
            .iter()
            .filter(|row| row.vector.as_deref() == Some(name));
        found.map(|row| row.cpu_ns as f64).sum()
    };
    let softirqs = of_vector("net_rx") + of_vector("net_tx");
    let uid = lab.pod_uid(POD);
    let own = rows
        .iter()
        .filter(|row| row.pod_uid.as_deref() == Some(uid));
    let charged: f64 = own.map(|row| row.cpu_ns as f64).sum();
    println!(
        "{POD}: used {used}, charged {charged}, in softirqs of the machine {softirqs}, stolen {stolen}"
    );
    assert!(charged > 0.0 && softirqs > 0.0, "no load");
    // What the hypervisor took while the pod ran is charged to it, and not in cpu.stat.
    assert!(
        charged < used * (1.0 + AGREED) + stolen && used < (charged + softirqs) * (1.0 + AGREED),
        "cpu.stat says {used}, the rows {charged} and {softirqs} in softirqs, stolen were {stolen}"
    );
}

/// The kernel's own account of a cgroup.
fn used_ns(cgroup: &Path) -> i64 {
    let text = fs::read_to_string(cgroup.join("cpu.stat")).expect("cpu.stat");
    let usage = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))
        .expect("usage_usec");
    usage.parse::<i64>().expect("microseconds") * 1000
}
