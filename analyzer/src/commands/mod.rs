//! The commands: they read, let the pure core judge, and print.
//!
//! Whatever goes wrong is an error of one line that names the file, field or flag; the core's
//! findings become the exit code.

use std::io::{self, Write};
use std::path::Path;

use anyhow::bail;

use crate::cli::{Cli, Command};
use crate::input::manifest::{Run, read_runs};
use crate::input::traces::Dataset;

mod compare;
mod cost;
mod egress;
mod inspect;
pub mod loads;
mod recipes;
mod report;
pub mod runs;
mod split;

/// Exit code for bad use and bad input.
pub const BAD_INPUT: u8 = 2;

/// Exit code for evidence that does not suffice.
pub const INCONCLUSIVE: u8 = 3;

/// Runs a command; the result is the process's exit code.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Command::Egress(args) => egress::run(&args),
        Command::Split(args) => split::run(&args),
        Command::Cost(args) => cost::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Recipes(args) => recipes::run(&args),
    }
}

/// A dataset of which load runs alone are enough, with its runs.
fn with_runs(root: &Path) -> anyhow::Result<(Dataset, Vec<Run>)> {
    let dataset = Dataset::open_for_runs(root)?;
    let runs = read_runs(&dataset.runs_dir())?;
    if runs.is_empty() && dataset.tables().next().is_none() {
        bail!(
            "no dataset in {}: neither a table nor a run below runs/",
            root.display()
        );
    }
    Ok((dataset, runs))
}

/// The dataset where it has tables.
fn tables_of(dataset: &Dataset) -> Option<&Dataset> {
    dataset.tables().next().map(|_| dataset)
}

/// Prints a whole report. A reader that closed the pipe has seen what it wanted.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("standard output"))
        }
        _ => Ok(()),
    }
}
