//! `cargo xtask demo`.

use std::process::ExitCode;

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Options {}

/// Runs the task.
pub fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the demonstration is not built yet")
}
