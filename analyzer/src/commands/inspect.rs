//! `weighbridge inspect`: what a dataset holds, and whether its books balance.

use crate::cli::InspectArgs;

/// Runs the command.
pub fn run(args: &InspectArgs) -> anyhow::Result<u8> {
    let dataset = crate::input::traces::Dataset::open(&args.dataset)?;
    let tables: Vec<&str> = dataset.tables().collect();
    super::print(&format!("{}\n", tables.join("\n")))?;
    Ok(0)
}
