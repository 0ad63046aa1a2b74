//! `weighbridge cost`: reads a dataset's processor time, resources, traffic and runs, and prints what
//! they cost.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use trace_schema::Record;
use trace_schema::cpu::CpuRow;

use super::egress::{chosen_runs, object_rows};
use crate::cli::{CostArgs, InspectFormat};
use crate::cost::RunScope;
use crate::input::cost::{read_evidence, recorded, scope_of};
use crate::input::manifest::{Run, read_runs};
use crate::input::traces::Dataset;
use crate::objects::History;
use crate::profile::flamegraph::{self, FlamegraphError};
use crate::report;
use crate::verdict::evidence::Window;

/// Runs the command.
pub fn run(args: &CostArgs) -> anyhow::Result<u8> {
    let dataset = Dataset::open(&args.dataset)?;
    let shown = args.dataset.display();
    if dataset.files(CpuRow::TABLE).is_empty() {
        bail!(
            "dataset {shown} has no table cpu: record the nodes with `weighbridge-probe run --cpu on`"
        );
    }
    let all_runs = read_runs(&dataset.runs_dir())?;
    let runs = chosen_cases(chosen_runs(&all_runs, &args.runs)?, &args.cases)?;
    let history =
        History::new(object_rows(&dataset, args.objects.as_deref())?).context("objects")?;
    let scopes = scopes(&dataset, &runs, args)?;
    let evidence =
        read_evidence(&dataset, &history, scopes).with_context(|| format!("dataset {shown}"))?;
    if let Some(path) = &args.flamegraph {
        draw(path, &evidence.folded_stacks())?;
    }
    let report = evidence.report();
    let text = match args.format {
        InspectFormat::Table => report::cost::render(&report),
        InspectFormat::Json => report::json::render(&report).context("JSON")?,
    };
    super::print(&text)?;
    Ok(report.result.exit_code())
}

/// Draws a flame graph into a file, which appears when it is complete.
fn draw(path: &Path, folded: &[String]) -> anyhow::Result<()> {
    let mut drawing = Vec::new();
    flamegraph::write(folded, "What the processors were met at", &mut drawing)
        .and_then(|()| fs::write(path, drawing).map_err(FlamegraphError::Write))
        .with_context(|| format!("--flamegraph {}", path.display()))
}

/// The runs of the cases that were asked for, or all.
fn chosen_cases<'a>(runs: Vec<&'a Run>, cases: &[String]) -> anyhow::Result<Vec<&'a Run>> {
    let has = |case: &String| runs.iter().any(|run| run.manifest.case == *case);
    if let Some(case) = cases.iter().find(|case| !has(case)) {
        let mut known: Vec<&str> = runs.iter().map(|run| run.manifest.case.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        let known = if known.is_empty() {
            "no runs".to_owned()
        } else {
            known.join(", ")
        };
        bail!("--case {case}: the dataset has {known}");
    }
    let taken = |run: &&Run| cases.is_empty() || cases.contains(&run.manifest.case);
    Ok(runs.into_iter().filter(taken).collect())
}

/// The times that are asked for: those of the runs, as far as `--from` and `--to` take them, else
/// all that was recorded.
fn scopes(dataset: &Dataset, runs: &[&Run], args: &CostArgs) -> anyhow::Result<Vec<RunScope>> {
    let asked = Window {
        from_us: args.from.map_or(i64::MIN, |from| from.0),
        to_us: args.to.map_or(i64::MAX, |to| to.0),
    };
    let mut scopes = Vec::new();
    for run in runs {
        let mut scope = scope_of(run);
        if scope.window.touches(&asked, 0) {
            scope.window = within(scope.window, asked);
            scopes.push(scope);
        } else if args.runs.contains(&scope.run) {
            bail!("--run {}: it lies outside --from and --to", scope.run);
        }
    }
    if !runs.is_empty() {
        if scopes.is_empty() {
            bail!("--from, --to: no run of the dataset lies between them");
        }
        return Ok(scopes);
    }
    let Some(recorded) = recorded(dataset)? else {
        bail!(
            "dataset {}: its table cpu has no rows",
            args.dataset.display()
        );
    };
    if !recorded.touches(&asked, 0) {
        bail!("--from, --to: nothing was recorded between them");
    }
    Ok(vec![RunScope::without_run(within(recorded, asked))])
}

fn within(window: Window, asked: Window) -> Window {
    Window {
        from_us: window.from_us.max(asked.from_us),
        to_us: window.to_us.min(asked.to_us),
    }
}
