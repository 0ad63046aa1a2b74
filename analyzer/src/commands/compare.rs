//! `weighbridge compare`: reads what every run of a campaign measured and prints how its cases
//! differ. It judges nothing, so that its exit code says only whether the input was good.

use std::path::PathBuf;

use anyhow::Context;
use trace_schema::manifest::RunOutcome;

use super::egress::object_rows;
use crate::cli::{CompareArgs, InspectFormat};
use crate::compare::{Options, compare};
use crate::input::k6::Loads;
use crate::input::manifest::Run;
use crate::input::plan::read_declaration;
use crate::input::prometheus::{self, Samples};
use crate::measurements::{Measurements, Sources};
use crate::objects::History;
use crate::report;

/// Runs the command.
pub fn run(args: &CompareArgs) -> anyhow::Result<u8> {
    let (dataset, runs) = super::with_runs(&args.dataset)?;
    let shown = args.dataset.display();
    let measurements = {
        let rows = object_rows(&dataset, args.objects.as_deref())?;
        let history = History::new(rows).context("objects")?;
        let prometheus = samples(&args.prometheus)?;
        let completed = |run: &&Run| run.manifest.outcome == RunOutcome::Completed;
        let loads = Loads::of(runs.iter().filter(completed));
        let sources = Sources {
            runs: &runs,
            loads: &loads,
            dataset: super::tables_of(&dataset),
            history: &history,
            prometheus: &prometheus,
        };
        Measurements::read(&sources).with_context(|| format!("dataset {shown}"))?
    };
    let options = Options {
        campaign: args.campaign.clone(),
        baseline: args.baseline.clone(),
        metrics: args.metrics.clone(),
        declared: read_declaration(dataset.local_root())?,
        cases: args.cases.clone(),
        margin: args.margin,
        alpha: args.alpha,
        seed: args.seed,
        ..Options::default()
    };
    let report = compare(&measurements, &options).with_context(|| format!("dataset {shown}"))?;
    let text = match args.format {
        InspectFormat::Table => report::compare::render(&report),
        InspectFormat::Json => report::json::render(&report).context("JSON")?,
    };
    super::print(&text)?;
    Ok(0)
}

fn samples(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Samples)>> {
    let read = paths.iter().map(|path| {
        let samples = prometheus::read(path).context("--prometheus")?;
        Ok((path.display().to_string(), samples))
    });
    read.collect()
}
