//! `cargo xtask demo`: the main job on the lab, from real traffic to verdicts.
//!
//! Every case runs iperf3 and some short connections in a pod, under probes on every node, into one
//! dataset a cluster; then `weighbridge` says what it makes of it. With `--fault` one thing goes wrong on
//! purpose, and the exit code is what `weighbridge` said of that.

mod cases;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use lab::{Datapath, Family, Fault, ScenarioOptions};

use crate::build_ebpf::{self, Kind};
use crate::command::{self, workspace_root};
use crate::lab::DatapathName;
use crate::setup;

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Options {
    /// Make this go wrong: early-flow, wrong-ip, wrong-node, no-snat, gateway-down, full-map or
    /// probe-killed.
    #[arg(long, value_name = "NAME")]
    fault: Option<Fault>,
    /// Datapath of the fault.
    #[arg(long, value_enum, default_value = "netfilter", requires = "fault")]
    datapath: DatapathName,
    /// Where the dataset goes; the usual place is emptied first, any other must be empty.
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    setup::require_root("demo")?;
    setup::system_programs()?;
    command::run(&mut command::cargo([
        "build",
        "--quiet",
        "--package",
        "probe-user",
        "--package",
        "analyzer",
        "--package",
        "lab",
        "--bins",
    ]))?;
    let tools = Tools {
        object: build_ebpf::ensure(Kind::Lab)?,
        probe: beside_this_program("weighbridge-probe")?,
        weighbridge: beside_this_program("weighbridge")?,
        dataset: empty_dataset(options.dataset)?,
    };
    match options.fault {
        Some(fault) => demonstrate_fault(&tools, fault, options.datapath.into()),
        None => demonstrate(&tools),
    }
}

/// What the demonstration works with.
struct Tools {
    object: PathBuf,
    probe: PathBuf,
    weighbridge: PathBuf,
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

fn demonstrate(tools: &Tools) -> anyhow::Result<ExitCode> {
    let bar = ProgressBar::new(cases::steps());
    bar.set_style(style("{elapsed_precise} {bar:30} {pos}/{len} {msg}")?);
    let cases = cases::run(tools, &bar)?;
    bar.finish_and_clear();
    let mut code = 0;
    for datapath in cases::DATAPATHS {
        let dataset = tools.dataset_of(datapath.name());
        code = worse(code, tools.show("egress", &dataset)?);
        // Books that do not balance count as a verdict does.
        code = worse(code, tools.show("inspect", &dataset)?);
    }
    summary::print(tools, &cases)?;
    println!("datasets: {}/{{netfilter,bpf}}", tools.dataset.display());
    Ok(ExitCode::from(code))
}

fn demonstrate_fault(tools: &Tools, fault: Fault, datapath: Datapath) -> anyhow::Result<ExitCode> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(style("{elapsed_precise} {spinner} {msg}")?);
    bar.set_message(format!("{fault} on the {} datapath", datapath.name()));
    bar.enable_steady_tick(Duration::from_millis(100));
    let report = fault.run(&ScenarioOptions {
        datapath,
        family: Family::V4,
        probe: tools.probe.clone(),
        dataset: tools.dataset.clone(),
        object: Some(tools.object.clone()),
    })?;
    bar.finish_and_clear();
    println!(
        "{fault}: pod {} opened {} connections, the server outside saw {}",
        report.pod,
        report.sent.len(),
        report.seen.len()
    );
    let code = tools.show("egress", &tools.dataset)?;
    println!("dataset: {}", tools.dataset.display());
    Ok(ExitCode::from(code))
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
fn beside_this_program(name: &str) -> anyhow::Result<PathBuf> {
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

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
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
