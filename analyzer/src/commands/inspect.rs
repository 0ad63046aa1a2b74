//! `weighbridge inspect`: what a dataset holds, and whether its books balance.

use anyhow::Context;

use super::INCONCLUSIVE;
use crate::books::Balance;
use crate::cli::{InspectArgs, InspectFormat};
use crate::input::inspection::inspect;
use crate::input::traces::{Dataset, Filter};
use crate::report;

/// Runs the command.
pub fn run(args: &InspectArgs) -> anyhow::Result<u8> {
    let dataset = Dataset::open(&args.dataset)?;
    let inspection = inspect(&dataset, &Filter::default())?;
    let text = match args.format {
        InspectFormat::Table => report::inspection::render(&inspection),
        InspectFormat::Json => report::json::render(&inspection).context("JSON")?,
    };
    super::print(&text)?;
    Ok(match inspection.books.balance {
        Balance::Balanced => 0,
        Balance::Off => 1,
        Balance::Inconclusive => INCONCLUSIVE,
    })
}
