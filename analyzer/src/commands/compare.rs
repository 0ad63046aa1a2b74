//! `weighbridge compare`: reads what every run of a campaign measured and prints how its cases
//! differ. It judges nothing, so that its exit code says only whether the input was good.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::egress::object_rows;
use crate::cli::{CompareArgs, InspectFormat};
use crate::compare::{Options, compare};
use crate::input::manifest::read_runs;
use crate::input::prometheus::{self, Samples};
use crate::input::traces::{Dataset, DatasetError};
use crate::measurements::{Measurements, Sources};
use crate::objects::History;
use crate::report;

/// Folder of the runs in a dataset.
const RUNS: &str = "runs";

/// Runs the command.
pub fn run(args: &CompareArgs) -> anyhow::Result<u8> {
    let runs = read_runs(&args.dataset.join(RUNS))?;
    let dataset = open(&args.dataset, runs.is_empty())?;
    let shown = args.dataset.display();
    let measurements = {
        let rows = match &dataset {
            Some(dataset) => object_rows(dataset, args.objects.as_deref())?,
            None => Vec::new(),
        };
        let history = History::new(rows).context("objects")?;
        let prometheus = samples(&args.prometheus)?;
        let sources = Sources {
            runs: &runs,
            dataset: dataset.as_ref(),
            history: &history,
            prometheus: &prometheus,
        };
        Measurements::read(&sources).with_context(|| format!("dataset {shown}"))?
    };
    let options = Options {
        campaign: args.campaign.clone(),
        baseline: args.baseline.clone(),
        metrics: args.metrics.clone(),
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

/// The dataset's tables; a folder that holds runs alone has none.
fn open(root: &Path, has_no_runs: bool) -> anyhow::Result<Option<Dataset>> {
    match Dataset::open(root) {
        Ok(dataset) => Ok(Some(dataset)),
        Err(DatasetError::NoTables { .. }) if !has_no_runs => Ok(None),
        Err(DatasetError::NoTables { path }) => {
            bail!("no dataset in {path}: neither a table nor a run below {RUNS}/")
        }
        Err(error) => Err(error.into()),
    }
}

fn samples(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Samples)>> {
    let read = paths.iter().map(|path| {
        let samples = prometheus::read(path).context("--prometheus")?;
        Ok((path.display().to_string(), samples))
    });
    read.collect()
}
