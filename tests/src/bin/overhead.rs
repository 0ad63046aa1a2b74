//! What the probe costs a machine under load: `cargo xtask bench overhead`.
//!
//! iperf3 runs over a veth pair between two network namespaces, its client in a cgroup, with the
//! probe at the client's side and without it, in pairs whose order alternates. Each pair gives two
//! ratios, with to without: CPU time for each packet, of the whole machine, and rate. The figure is
//! the geometric mean of the pairs' ratios with its 95 % t interval on the logarithms; pairs are
//! added until the interval is narrow enough or there are too many. Nothing else may run meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use serde::Serialize;

/// Name of everything this makes.
const NAME: &str = "wboverhead";
const CLIENT: &str = "10.253.0.1";
const SERVER: &str = "10.253.0.2";
const CGROUP: &str = "/sys/fs/cgroup";
/// Two-sided 95 % quantile of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

#[derive(Parser)]
struct Options {
    /// The probe; a release build, as on a node.
    #[arg(long, default_value = "target/release/weighbridge-probe")]
    probe: PathBuf,
    /// Length of a run, seconds.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Measure only loads whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Pairs at least.
    #[arg(long, default_value_t = 8)]
    least_pairs: usize,
    /// Pairs at most.
    #[arg(long, default_value_t = 30)]
    most_pairs: usize,
    /// Half width of the CPU ratio's interval at which no more pairs are needed.
    #[arg(long, default_value_t = 0.01)]
    half_width: f64,
    /// Write the figures as JSON as well.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One kind of load.
struct Load {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Payload of a wire packet, bytes.
    payload: f64,
}

/// UDP twice: at a rate that the machine holds either way, where CPU time a packet means the same
/// in both runs of a pair; and as fast as it goes, for the rate. There the receiver may drop another
/// share with the probe than without, and dropped packets cost less, so that CPU time a sent packet
/// is shown but says little.
const LOADS: [Load; 3] = [
    Load {
        name: "udp 64 B at 100,000/s",
        arguments: &["-u", "-b", "51.2M", "-l", "64"],
        payload: 64.0,
    },
    Load {
        name: "udp 64 B unlimited",
        arguments: &["-u", "-b", "0", "-l", "64"],
        payload: 64.0,
    },
    Load {
        name: "tcp",
        arguments: &[],
        payload: 1448.0,
    },
];

/// What one run gave.
#[derive(Clone, Copy, Debug)]
struct Run {
    cpu_ns_per_packet: f64,
    packets_per_s: f64,
}

/// A ratio, with the probe to without.
#[derive(Debug, Serialize)]
struct Ratio {
    load: String,
    figure: String,
    pairs: usize,
    ratio: f64,
    low: f64,
    high: f64,
    without: f64,
    with: f64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "root is needed for namespaces and eBPF"
    );
    anyhow::ensure!(
        options.probe.is_file(),
        "{} is not there: cargo build --release -p probe-user",
        options.probe.display()
    );
    let bench = Bench::new(&options)?;
    let mut ratios = Vec::new();
    let is_wanted = |load: &&Load| {
        options
            .only
            .as_ref()
            .is_none_or(|only| load.name.contains(only))
    };
    for load in LOADS.iter().filter(is_wanted) {
        ratios.extend(bench.measure(load)?);
    }
    print(&ratios);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&ratios)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The two namespaces, the cgroup and the server; gone when dropped.
struct Bench<'a> {
    options: &'a Options,
    cgroup: PathBuf,
    server: Child,
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options) -> anyhow::Result<Self> {
        let [near, far] = [format!("{NAME}-a"), format!("{NAME}-b")];
        for name in [&near, &far] {
            let _ = Command::new("ip")
                .args(["netns", "del", name])
                .stderr(Stdio::null())
                .status();
            ip(&["netns", "add", name])?;
        }
        ip(&[
            "link", "add", "up0", "netns", &near, "type", "veth", "peer", "up1", "netns", &far,
        ])?;
        ip(&[
            "-n",
            &near,
            "addr",
            "add",
            &format!("{CLIENT}/24"),
            "dev",
            "up0",
        ])?;
        ip(&[
            "-n",
            &far,
            "addr",
            "add",
            &format!("{SERVER}/24"),
            "dev",
            "up1",
        ])?;
        ip(&["-n", &near, "link", "set", "up0", "up"])?;
        ip(&["-n", &far, "link", "set", "up1", "up"])?;
        let cgroup = cgroup2()?.join(NAME);
        fs::create_dir_all(&cgroup)
            .with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
        let server = inside(&far, "iperf3")
            .args(["-s"])
            .stdout(Stdio::null())
            .spawn()?;
        thread::sleep(Duration::from_millis(300));
        Ok(Self {
            options,
            cgroup,
            server,
        })
    }

    fn measure(&self, load: &Load) -> anyhow::Result<Vec<Ratio>> {
        let mut pairs: Vec<(Run, Run)> = Vec::new();
        // The first run warms caches and the machine's clock, and is not used.
        self.run(load, false)?;
        loop {
            let with_first = pairs.len() % 2 == 1;
            let first = self.run(load, with_first)?;
            let second = self.run(load, !with_first)?;
            pairs.push(if with_first {
                (second, first)
            } else {
                (first, second)
            });
            let cpu = ratio(load, "CPU ns a packet", &pairs, |run| run.cpu_ns_per_packet);
            eprintln!(
                "{}: {} pairs, CPU ratio {:.4} [{:.4}, {:.4}]",
                load.name, cpu.pairs, cpu.ratio, cpu.low, cpu.high
            );
            let is_narrow = (cpu.high - cpu.low) / 2.0 <= self.options.half_width;
            if pairs.len() >= self.options.most_pairs
                || pairs.len() >= self.options.least_pairs && is_narrow
            {
                let rate = ratio(load, "packets a second", &pairs, |run| run.packets_per_s);
                return Ok(vec![cpu, rate]);
            }
        }
    }

    fn run(&self, load: &Load, with_probe: bool) -> anyhow::Result<Run> {
        let probe = with_probe.then(|| Probe::start(self)).transpose()?;
        let seconds = self.options.seconds.to_string();
        let mut client = inside(&format!("{NAME}-a"), "iperf3");
        client
            .args(["-c", SERVER, "-t", &seconds, "-J"])
            .args(load.arguments);
        in_cgroup(&mut client, &self.cgroup);
        let before = busy_ns()?;
        let started = Instant::now();
        let output = client
            .output()
            .context("cannot run iperf3: apt-get install iperf3")?;
        let elapsed = started.elapsed().as_secs_f64();
        let busy = busy_ns()? - before;
        drop(probe);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        if let Some(error) = report.get("error") {
            anyhow::bail!("iperf3: {error}");
        }
        let sent = ["sum_sent", "sum"]
            .iter()
            .find_map(|key| report["end"][*key]["bytes"].as_f64())
            .context("iperf3 says nothing of what it sent")?;
        let packets = sent / load.payload;
        Ok(Run {
            cpu_ns_per_packet: busy / packets,
            packets_per_s: packets / elapsed,
        })
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        for side in ["a", "b"] {
            let _ = ip(&["netns", "del", &format!("{NAME}-{side}")]);
        }
        let _ = fs::remove_dir(&self.cgroup);
    }
}

/// A running probe, stopped when dropped.
struct Probe {
    child: Child,
    _dataset: tempfile::TempDir,
}

impl Probe {
    fn start(bench: &Bench<'_>) -> anyhow::Result<Self> {
        let dataset = tempfile::tempdir()?;
        let ready = dataset.path().join("ready");
        let mut child = inside(&format!("{NAME}-a"), &bench.options.probe)
            .args(["run", "--node", "bench", "--uplink", "up0", "--cgroup"])
            .arg(&bench.cgroup)
            .arg("--output")
            .arg(dataset.path())
            .arg("--ready-file")
            .arg(&ready)
            .stderr(Stdio::null())
            .spawn()?;
        let started = Instant::now();
        while !ready.exists() {
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("the probe ended with {status}");
            }
            anyhow::ensure!(
                started.elapsed().as_secs() < 20,
                "the probe was not ready in time"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            child,
            _dataset: dataset,
        })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// A program in a network namespace. nsenter, since `ip netns exec` hides the cgroup mount.
fn inside(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/var/run/netns/{namespace}"))
        .arg("--")
        .arg(program);
    command
}

fn in_cgroup(command: &mut Command, cgroup: &Path) {
    use std::os::unix::process::CommandExt;
    let procs = cgroup.join("cgroup.procs");
    // SAFETY: the closure only writes to a file, between fork and exec of a program that has one
    // thread here.
    unsafe {
        command.pre_exec(move || fs::write(&procs, "0"));
    }
}

fn cgroup2() -> anyhow::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.len() > 2 && fields[2] == "cgroup2" && fields[1].starts_with(CGROUP))
        .map(|fields| PathBuf::from(fields[1]))
        .context("no cgroup v2 mount")
}

/// CPU time that the machine was not idle: exact to a tick, since idle time is accounted exactly
/// while the rest of /proc/stat may be sampled.
fn busy_ns() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let cpus = stat
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("cpu"))
        .count() as f64;
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .context("an empty /proc/stat")?
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let idle_ns = (fields[3] + fields[4]) * 1e7;
    let uptime = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
    let uptime_ns = uptime.tv_sec() as f64 * 1e9 + uptime.tv_nsec() as f64;
    Ok(uptime_ns * cpus - idle_ns)
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("ip")
        .args(arguments)
        .status()
        .context("apt-get install iproute2")?;
    anyhow::ensure!(status.success(), "ip {} failed", arguments.join(" "));
    Ok(())
}

/// Geometric mean of the pairs' ratios, with its t interval.
fn ratio(load: &Load, figure: &str, pairs: &[(Run, Run)], of: impl Fn(&Run) -> f64) -> Ratio {
    let logs: Vec<f64> = pairs
        .iter()
        .map(|(without, with)| (of(with) / of(without)).ln())
        .collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let half = if logs.len() < 2 {
        f64::INFINITY
    } else {
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
        t95(n - 1.0) * (variance / n).sqrt()
    };
    let average =
        |side: fn(&(Run, Run)) -> Run| pairs.iter().map(|pair| of(&side(pair))).sum::<f64>() / n;
    Ratio {
        load: load.name.to_owned(),
        figure: figure.to_owned(),
        pairs: pairs.len(),
        ratio: mean.exp(),
        low: (mean - half).exp(),
        high: (mean + half).exp(),
        without: average(|pair| pair.0),
        with: average(|pair| pair.1),
    }
}

/// Two-sided 95 % quantile of Student's t by its expansion in 1/ν (Abramowitz & Stegun 26.7.5);
/// exact to three digits from five degrees of freedom on.
fn t95(freedom: f64) -> f64 {
    let z = Z95;
    z + (z.powi(3) + z) / (4.0 * freedom)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z)
            / (384.0 * freedom.powi(3))
}

fn print(ratios: &[Ratio]) {
    println!(
        "{:<22} {:<17} {:>5} {:>14} {:>14} {:>8}  95 % interval",
        "load", "figure", "pairs", "without", "with", "ratio"
    );
    for ratio in ratios {
        println!(
            "{:<22} {:<17} {:>5} {:>14.1} {:>14.1} {:>8.4}  [{:.4}, {:.4}]",
            ratio.load,
            ratio.figure,
            ratio.pairs,
            ratio.without,
            ratio.with,
            ratio.ratio,
            ratio.low,
            ratio.high
        );
    }
}
