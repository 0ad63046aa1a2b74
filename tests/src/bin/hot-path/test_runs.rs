//! Programs that the kernel runs on a packet of ours, over and over: `BPF_PROG_TEST_RUN`.

use std::collections::BTreeMap;
use std::time::Instant;

use aya::Ebpf;
use aya::programs::{CgroupSkb, SchedClassifier, TestRun, TestRunOptions};
use probe_user::btf::Offsets;
use probe_user::loader::{Parameters, load_object_with, program};

use crate::figure::{Figure, median};
use crate::packets::{tcp_packet, udp_packet};

/// Runs of a program in one measurement.
const RUNS: u32 = 200_000;
/// Flows that the packets are spread over.
pub const FLOWS: [u32; 3] = [1, 1_000, 60_000];
/// tc programs with their names in the table, the one that does nothing first. The last one gets
/// TCP with a payload, which is looked at for HTTP until it is known to be none.
const PROGRAMS: [(&str, &str); 5] = [
    ("noop", "bench_noop"),
    ("hash", "bench_hash"),
    ("uplink", "bench_uplink"),
    ("pod", "bench_pod"),
    ("pod (TCP)", "bench_pod"),
];
/// Loads the benchmark's object for so many flows.
pub fn load(object: &[u8], flows: u32) -> anyhow::Result<Ebpf> {
    use std::os::unix::fs::MetadataExt;
    let parameters = Parameters {
        netns_inode: std::fs::metadata("/proc/thread-self/ns/net")?.ino() as u32,
        ticks_per_second: 250,
        max_flows: 262_144,
        http: true,
        tunnel_ports: Vec::new(),
        processors: None,
    };
    let offsets = Offsets::of_kernel()?;
    load_object_with(object, &parameters, &offsets, Some(("BENCH_FLOWS", &flows)))
}

/// The tc bodies, round by round, so that a slow moment of the machine meets all of them.
pub fn tc_bodies(object: &[u8], flows: u32, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut ebpf = load(object, flows)?;
    // The last one is loaded already.
    for (_, name) in &PROGRAMS[..PROGRAMS.len() - 1] {
        program::<SchedClassifier>(&mut ebpf, name)?.load()?;
    }
    let (udp, tcp) = (udp_packet(64), tcp_packet(64));
    let mut samples: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..=rounds {
        for (label, name) in PROGRAMS {
            let packet = if label.ends_with("(TCP)") { &tcp } else { &udp };
            let ns = test_run(program::<SchedClassifier>(&mut ebpf, name)?, packet)?;
            // The first round fills the maps and the caches.
            if round > 0 {
                samples.entry(label).or_default().push(ns);
            }
        }
    }
    let noop = median(&samples["noop"]);
    Ok(PROGRAMS
        .iter()
        .map(|(label, _)| {
            let ns = median(&samples[label]);
            let net: Vec<f64> = samples[label]
                .iter()
                .zip(&samples["noop"])
                .map(|(with, without)| with - without)
                .collect();
            Figure {
                program: (*label).to_owned(),
                flows,
                ns_per_packet: ns,
                ns_net_of_noop: (ns != noop).then(|| median(&net)),
                ns_as_called: None,
            }
        })
        .collect())
}

/// The real cgroup_skb entry point, one flow, with its call for the cgroup's id.
pub fn cgroup_entry(object: &[u8], rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut ebpf = load(object, 1)?;
    let entry = program::<CgroupSkb>(&mut ebpf, "pod_egress")?;
    entry.load()?;
    let mut figures = Vec::new();
    for (label, packet) in [
        ("pod_egress (cgroup_skb)", udp_packet(64)),
        ("pod_egress (TCP)", tcp_packet(64)),
    ] {
        let mut samples = Vec::new();
        for round in 0..=rounds {
            let ns = test_run(program::<CgroupSkb>(&mut ebpf, "pod_egress")?, &packet)?;
            if round > 0 {
                samples.push(ns);
            }
        }
        figures.push(Figure {
            program: label.to_owned(),
            flows: 1,
            ns_per_packet: median(&samples),
            ns_net_of_noop: None,
            ns_as_called: None,
        });
    }
    Ok(figures)
}

fn test_run<P>(program: &P, packet: &[u8]) -> anyhow::Result<f64>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>>,
{
    let options = TestRunOptions {
        data_in: Some(packet),
        repeat: RUNS,
        ..TestRunOptions::new()
    };
    let started = Instant::now();
    program.test_run(options)?;
    // The kernel reports whole nanoseconds; the call's own time over many runs is finer.
    Ok(started.elapsed().as_nanos() as f64 / f64::from(RUNS))
}
