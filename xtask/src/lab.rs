//! `cargo xtask lab`.

use std::process::ExitCode;

/// Options of `cargo xtask lab`.
#[derive(clap::Args)]
pub struct Options {}

/// Runs the task.
pub fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the lab is not built yet")
}
