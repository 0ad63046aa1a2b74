//! What the probe's programs cost for each packet: `cargo xtask bench hot-path`.
//!
//! The tc bodies run under `BPF_PROG_TEST_RUN`, beside a program that does nothing and a plain hash
//! counter, all in the same rounds; figures are medians over rounds, in nanoseconds a packet, and
//! net of the program that does nothing. Tracing programs cannot be test-run: their run time comes
//! from the kernel's own statistics under real traffic, on a veth pair for the wire hook, and back and
//! forth on the loopback for those that charge processor time. Of these it is known as well what they
//! take with the kernel's way to them, which neither statistics nor test runs hold.

mod figure;
mod packets;
mod processors;
mod test_runs;
mod veth;
mod wire;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use figure::print;

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
    for flows in test_runs::FLOWS {
        figures.extend(test_runs::tc_bodies(&object, flows, options.rounds)?);
    }
    figures.extend(test_runs::cgroup_entry(&object, options.rounds)?);
    figures.extend(wire::under_datagrams(&object, options.rounds)?);
    let processors = processors::back_and_forth(options.rounds)?;
    figures.extend(processors.figures());
    print(&figures);
    println!("{}", processors.share());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
