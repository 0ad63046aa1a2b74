//! What the probe costs a machine under load: `cargo xtask bench overhead`.
//!
//! Loads run over a veth pair between two network namespaces, one end in a cgroup as a pod would
//! be, with the probe at that end and without it, in pairs in random order. Each pair gives ratios,
//! with to without: CPU time for each packet or request, and rate. Nothing else may run meanwhile.

mod bench;
mod datagrams;
mod estimate;
mod http;
mod iperf3;
mod machine;
mod own;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use bench::Bench;
use datagrams::Datagrams;
use estimate::Ratio;
use http::Http;
use iperf3::Iperf3;

/// What the probe costs this machine under load, with it to without.
///
/// Each figure is the geometric mean of the pairs' ratios, with the 95 % interval of Student's t on
/// their logarithms; beside it stands the 20 % trimmed mean with Yuen's interval, which bursts of
/// other work on the machine move less. A pair is a run with the probe and a run without, one right
/// after the other; two pairs follow each other in opposite orders, and which comes first is drawn
/// (--seed), so that a machine that slows down or speeds up steadily favours neither. CPU time is
/// what the scheduler charged to the load's programs at both ends and to the probe, with what softirqs
/// did on their time; the whole machine's, beside it, is time that the CPUs were neither idle nor
/// taken by the hypervisor, and scatters with whatever else the kernel does. Where a packet meets a
/// receiver that sleeps, how often it is woken is part of what a probe changes: switches between tasks
/// stand beside. Pairs are added until the interval of CPU time is as narrow as asked for or there are
/// too many; the first runs of each load are dropped.
#[derive(Parser)]
struct Options {
    /// The probe; a release build, as on a node.
    #[arg(long, default_value = "target/release/weighbridge-probe")]
    probe: PathBuf,
    /// k6, for the HTTP loads; the last one named counts [default: the one on PATH, else target/tools/k6/bin/k6]
    #[arg(long, overrides_with = "k6")]
    k6: Option<PathBuf>,
    /// Length of a run, seconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Measure only loads whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Runs with and without the probe that are dropped at the start of each load.
    #[arg(long, default_value_t = 2)]
    warm_up: usize,
    /// Pairs at least.
    #[arg(long, default_value_t = 16)]
    least_pairs: usize,
    /// Pairs at most; two at least.
    #[arg(long, default_value_t = 120)]
    most_pairs: usize,
    /// Half width of the CPU ratio's interval at which no more pairs are needed.
    #[arg(long, default_value_t = 0.01)]
    half_width: f64,
    /// Draws the order of runs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run no probe on either side: what this machine's own scatter makes of the same procedure.
    #[arg(long)]
    sham: bool,
    /// Have the probe charge processor time and keep its own account, and hold that against the
    /// difference between the runs of each pair.
    #[arg(long, conflicts_with = "sham")]
    own_account: bool,
    /// Write the figures as JSON as well.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    if datagrams::play_part()? {
        return Ok(());
    }
    let options = Options::parse();
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "root is needed for namespaces and eBPF"
    );
    anyhow::ensure!(
        options.sham || options.probe.is_file(),
        "{} is not there: cargo build --release -p probe-user",
        options.probe.display()
    );
    let is_wanted = |name: &str| {
        let only = options.only.as_ref();
        only.is_none_or(|only| name.contains(only))
    };
    let packets = iperf3::LOADS.iter().filter(|kind| is_wanted(kind.name));
    let requests = http::LOADS.iter().filter(|kind| is_wanted(kind.name));
    let (packets, requests) = (packets.collect::<Vec<_>>(), requests.collect::<Vec<_>>());
    anyhow::ensure!(
        is_wanted(datagrams::NAME) || packets.len() + requests.len() > 0,
        "no load's name contains what --only asks for"
    );
    // What is missing shall show now, and not when the first loads are through.
    let k6 = (!requests.is_empty()).then(|| http::find_k6(options.k6.as_deref()));
    let k6 = k6.transpose()?;
    let bench = Bench::new(&options)?;
    let mut ratios = Vec::new();
    if is_wanted(datagrams::NAME) {
        ratios.extend(bench.measure(&Datagrams::start(&bench)?)?);
    }
    for kind in packets {
        ratios.extend(bench.measure(&Iperf3::start(kind, &bench)?)?);
    }
    for (kind, k6) in requests.into_iter().zip(k6.iter().cycle()) {
        ratios.extend(bench.measure(&Http::start(kind, k6, &bench)?)?);
    }
    print(&ratios);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&ratios)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn print(ratios: &[Ratio]) {
    println!(
        "{:<27} {:<25} {:>5} {:>12} {:>12} {:>8}  {:<18} trimmed, its interval",
        "load", "figure", "pairs", "without", "with", "ratio", "95 % interval"
    );
    for ratio in ratios {
        println!(
            "{:<27} {:<25} {:>5} {:>12} {:>12} {:>8.4}  [{:.4}, {:.4}]   {:.4} [{:.4}, {:.4}]",
            ratio.load,
            ratio.figure,
            ratio.pairs,
            figure(ratio.without),
            figure(ratio.with),
            ratio.ratio,
            ratio.low,
            ratio.high,
            ratio.trimmed.ratio,
            ratio.trimmed.low,
            ratio.trimmed.high,
        );
    }
}

/// There are nanoseconds by the thousand and switches by the hundredth.
fn figure(value: f64) -> String {
    let decimals = if value < 10.0 { 3 } else { 1 };
    format!("{value:.decimals$}")
}
