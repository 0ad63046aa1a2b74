//! What the probe's programs cost for each packet: `cargo xtask bench hot-path`.
//!
//! The tc bodies run under `BPF_PROG_TEST_RUN`, beside a program that does nothing and a plain hash
//! counter, all in the same rounds; figures are medians over rounds, in nanoseconds a packet, and
//! net of the program that does nothing. Tracing programs cannot be test-run: their run time comes
//! from the kernel's own statistics under real traffic, on a veth pair for the wire hook, and back and
//! forth on the loopback for those that charge processor time.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, CgroupSkb, SchedClassifier, TcAttachType, TestRun, TestRunOptions},
    sys::{Stats, enable_stats},
};
use clap::Parser;
use probe_abi::wire::LOOKUPS_PER_EPOCH;
use probe_user::{
    attach::{Hooks, TcPath, cpu::RunTime},
    btf::Offsets,
    loader::{Parameters, ProcessorParameters, load_common, load_object_with, program},
};
use serde::Serialize;

/// Runs of a program in one measurement.
const RUNS: u32 = 200_000;
/// Flows that the packets are spread over.
const FLOWS: [u32; 3] = [1, 1_000, 60_000];
/// tc programs with their names in the table, the one that does nothing first. The last one gets
/// TCP with a payload, which is looked at for HTTP until it is known to be none.
const PROGRAMS: [(&str, &str); 5] = [
    ("noop", "bench_noop"),
    ("hash", "bench_hash"),
    ("uplink", "bench_uplink"),
    ("pod", "bench_pod"),
    ("pod (TCP)", "bench_pod"),
];
/// Datagrams sent for the tracing program.
const DATAGRAMS: u32 = 200_000;

#[derive(Parser)]
struct Options {
    /// Rounds; each measures every program once, and the median counts.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Write the figures as JSON as well.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The benchmark's eBPF object.
    #[arg(long, default_value = "target/ebpf/bench.bpf.o")]
    object: PathBuf,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Figure {
    program: String,
    flows: u32,
    ns_per_packet: f64,
    ns_net_of_noop: Option<f64>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "root is needed to load eBPF programs: use sudo"
    );
    let object = std::fs::read(&options.object).with_context(|| {
        format!(
            "cannot read {}: run `cargo xtask build-ebpf`",
            options.object.display()
        )
    })?;
    let mut figures = Vec::new();
    for flows in FLOWS {
        figures.extend(test_runs(&object, flows, options.rounds)?);
    }
    figures.extend(cgroup_entry(&object, options.rounds)?);
    figures.extend(tracing(&object, options.rounds)?);
    let processors = processors(options.rounds)?;
    print(&figures);
    println!("{}", processors.share());
    figures.extend(processors.figures());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn load(object: &[u8], flows: u32) -> anyhow::Result<Ebpf> {
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
fn test_runs(object: &[u8], flows: u32, rounds: usize) -> anyhow::Result<Vec<Figure>> {
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
            }
        })
        .collect())
}

/// The real cgroup_skb entry point, one flow, with its call for the cgroup's id.
fn cgroup_entry(object: &[u8], rounds: usize) -> anyhow::Result<Vec<Figure>> {
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

/// The wire hook's run time under real datagrams: of a flow that it was not asked about, and of new
/// flows, every packet of which it looks at since none can be paired here.
fn tracing(object: &[u8], rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let link = Veth::new()?;
    let mut ebpf = load(object, 1)?;
    let btf = Btf::from_sys_fs()?;
    let wire = program::<BtfTracePoint>(&mut ebpf, "wire")?;
    wire.load("net_dev_queue", &btf)?;
    wire.attach()?;
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut figures = Vec::new();
    for (label, asked) in [("wire (not asked)", false), ("wire (asked)", true)] {
        if asked {
            let uplink = program::<SchedClassifier>(&mut ebpf, "uplink_egress")?;
            uplink.load()?;
            uplink.attach(Veth::NAMES[0], TcAttachType::Egress)?;
        }
        let mut samples = Vec::new();
        for _ in 0..rounds {
            let before = run_time(&mut ebpf)?;
            for _ in 0..DATAGRAMS / rounds as u32 / LOOKUPS_PER_EPOCH {
                link.send(LOOKUPS_PER_EPOCH)?;
            }
            let after = run_time(&mut ebpf)?;
            samples.push((after.0 - before.0).as_nanos() as f64 / (after.1 - before.1) as f64);
        }
        figures.push(Figure {
            program: label.to_owned(),
            flows: 1,
            ns_per_packet: median(&samples),
            ns_net_of_noop: None,
        });
    }
    Ok(figures)
}

fn run_time(ebpf: &mut Ebpf) -> anyhow::Result<(Duration, u64)> {
    let info = program::<BtfTracePoint>(ebpf, "wire")?.info()?;
    Ok((info.run_time(), info.run_count()))
}

/// What charging processor time costs.
struct Processors {
    softirq_ns: f64,
    switch_ns: f64,
}

impl Processors {
    /// Softirqs a second that the share of a CPU is told for, and as many switches.
    const RATE: f64 = 100_000.0;

    fn share(&self) -> String {
        let percent = |ns: f64| ns * Self::RATE / 1e7;
        format!(
            "processor time at {} network softirqs a second: {:.2} % of one CPU \
             ({:.0} ns each), and as many switches {:.2} % more ({:.0} ns each)",
            Self::RATE,
            percent(self.softirq_ns),
            self.softirq_ns,
            percent(self.switch_ns),
            self.switch_ns
        )
    }

    fn figures(&self) -> [Figure; 2] {
        let figure = |program: &str, ns: f64| Figure {
            program: program.to_owned(),
            flows: 1,
            ns_per_packet: ns,
            ns_net_of_noop: None,
        };
        [
            figure("softirq_entry + softirq_exit", self.softirq_ns),
            figure("cpu_switch", self.switch_ns),
        ]
    }
}

/// The run time of the programs that charge processor time, while a datagram goes back and forth
/// between two threads: each way is a softirq and a switch or two.
fn processors(rounds: usize) -> anyhow::Result<Processors> {
    use std::os::unix::fs::MetadataExt;
    ip(&["link", "set", "lo", "up"])?;
    let parameters = Parameters {
        netns_inode: std::fs::metadata("/proc/thread-self/ns/net")?.ino() as u32,
        ticks_per_second: 250,
        max_flows: 1,
        http: false,
        tunnel_ports: Vec::new(),
        processors: Some(ProcessorParameters::new(false)),
    };
    let mut hooks = Hooks::new(load_common(&parameters)?, TcPath::of_kernel());
    hooks.attach_processors(true)?;
    for cpu in 0..std::thread::available_parallelism()?.get() {
        hooks.settle(cpu as u32)?;
    }
    let _statistics = enable_stats(Stats::RunTime)?;
    let (mut softirq, mut switch) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = hooks.run_times();
        back_and_forth(DATAGRAMS / rounds as u32)?;
        let after = hooks.run_times();
        let mean = |name: &str| {
            let of = |runs: &[RunTime]| {
                let found = runs.iter().find(|run| run.program == name);
                found.map_or((0, 0), |run| (run.time.as_nanos(), run.runs))
            };
            let (from, to) = (of(&before), of(&after));
            (to.0 - from.0) as f64 / (to.1 - from.1) as f64
        };
        softirq.push(mean("softirq_entry") + mean("softirq_exit"));
        switch.push(mean("cpu_switch"));
    }
    Ok(Processors {
        softirq_ns: median(&softirq),
        switch_ns: median(&switch),
    })
}

/// Sends a datagram to a thread that sends it back, so many times.
fn back_and_forth(times: u32) -> anyhow::Result<()> {
    let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || -> std::io::Result<()> {
            let mut datagram = [0; 64];
            for _ in 0..times {
                far.recv(&mut datagram)?;
                far.send(&datagram)?;
            }
            Ok(())
        });
        let mut datagram = [0; 64];
        for _ in 0..times {
            near.send(&datagram)?;
            near.recv(&mut datagram)?;
        }
        match echo.join() {
            Ok(ended) => Ok(ended?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A veth pair in this namespace, its far end up and unanswering; gone when dropped.
struct Veth;

impl Veth {
    const NAMES: [&str; 2] = ["wbhot0", "wbhot1"];

    fn new() -> anyhow::Result<Self> {
        // A namespace of this thread's own, so that nothing outside is touched.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        let [near, far] = Self::NAMES;
        ip(&["link", "add", near, "type", "veth", "peer", "name", far])?;
        ip(&["addr", "add", "10.254.0.1/24", "dev", near])?;
        ip(&["link", "set", near, "up"])?;
        ip(&["link", "set", far, "up"])?;
        ip(&[
            "neigh",
            "add",
            "10.254.0.2",
            "lladdr",
            "02:00:00:00:00:02",
            "dev",
            near,
        ])?;
        Ok(Self)
    }

    fn send(&self, datagrams: u32) -> anyhow::Result<()> {
        let socket = UdpSocket::bind((IpAddr::V4(Ipv4Addr::new(10, 254, 0, 1)), 0))?;
        socket.connect((Ipv4Addr::new(10, 254, 0, 2), 9))?;
        for _ in 0..datagrams {
            socket.send(&[0; 64])?;
        }
        Ok(())
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("ip")
        .args(arguments)
        .status()
        .context("cannot run ip: apt-get install iproute2")?;
    anyhow::ensure!(status.success(), "ip {} failed", arguments.join(" "));
    Ok(())
}

/// An Ethernet frame with a UDP datagram.
fn udp_packet(payload: u16) -> Vec<u8> {
    let mut transport = Vec::new();
    transport.extend(40_000u16.to_be_bytes());
    transport.extend(9u16.to_be_bytes());
    transport.extend((8 + payload).to_be_bytes());
    transport.extend([0, 0]);
    packet(17, &transport, payload)
}

fn tcp_packet(payload: u16) -> Vec<u8> {
    let mut transport = Vec::new();
    transport.extend(40_000u16.to_be_bytes());
    transport.extend(9u16.to_be_bytes());
    // Sequence and acknowledgement, five words of header, ACK.
    transport.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    packet(6, &transport, payload)
}

fn packet(protocol: u8, transport: &[u8], payload: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0]);
    frame.extend((20 + transport.len() as u16 + payload).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend([10, 254, 0, 1, 10, 254, 0, 2]);
    frame.extend(transport);
    frame.resize(frame.len() + usize::from(payload), 0);
    frame
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

fn print(figures: &[Figure]) {
    println!(
        "{:<26} {:>7} {:>12} {:>14}",
        "program", "flows", "ns a packet", "net of no-op"
    );
    for figure in figures {
        let net = figure
            .ns_net_of_noop
            .map_or_else(|| "-".to_owned(), |net| format!("{net:.1}"));
        println!(
            "{:<26} {:>7} {:>12.1} {:>14}",
            figure.program, figure.flows, figure.ns_per_packet, net
        );
    }
}
