//! The appendix: every run with what it measured, and the environment of the runs.

use std::collections::BTreeMap;

use trace_schema::manifest::{RunManifest, RunOutcome};

use super::Section;
use super::table::{Cell, Table};
use crate::figures::Unit;
use crate::measurements::{Measurements, Metric, Quantity, RunMeasurements};
use crate::verdict::Moment;

/// Every run, failed ones included.
pub(super) fn runs(measurements: &Measurements) -> Section {
    let metrics: Vec<Metric> = [
        Quantity::Goodput,
        Quantity::RttMean,
        Quantity::RttP99,
        Quantity::RequestRate,
        Quantity::WaitingP50,
        Quantity::CpuPercent,
        Quantity::Memory,
        Quantity::SplitDistance,
        Quantity::SplitExpectedDistance,
    ]
    .map(Metric::whole)
    .into_iter()
    .filter(|metric| {
        let mut runs = measurements.runs.iter();
        runs.any(|run| run.value(metric).is_some())
    })
    .collect();
    let descriptions = described(measurements);
    let mut columns: Vec<(&str, Option<Unit>)> = descriptions
        .iter()
        .map(|(name, unit, _)| (*name, *unit))
        .collect();
    let of_metrics = metrics.iter();
    columns.extend(of_metrics.map(|one| (one.quantity.words(), Some(Unit::from(one.unit())))));
    let mut table = Table::new("Runs", &columns);
    for (index, run) in measurements.runs.iter().enumerate() {
        let described = descriptions.iter();
        let mut row: Vec<Cell> = described
            .map(|(_, _, cells)| cells[index].clone())
            .collect();
        row.extend(metrics.iter().map(|metric| Cell::number(run.value(metric))));
        table.rows.push(row);
    }
    Section {
        id: "runs",
        title: "Runs".to_owned(),
        caption:
            "Every run by its start. Failed ones are listed with their reason and stand in no mean."
                .to_owned(),
        table,
    }
}

/// A column that describes runs, with its cell for each.
type Described = (&'static str, Option<Unit>, Vec<Cell>);

/// What the runs were; columns that would say the same of every run are left out, since paper has
/// room for few.
fn described(measurements: &Measurements) -> Vec<Described> {
    let runs = &measurements.runs;
    let text = |name, of: fn(&RunMeasurements) -> String| -> Described {
        let cells = runs.iter().map(|run| Cell::text(of(run)));
        (name, None, cells.collect())
    };
    let count = |name, of: fn(&RunMeasurements) -> Option<u32>| -> Described {
        let cells = runs
            .iter()
            .map(|run| of(run).map_or(Cell::Empty, Cell::count));
        (name, Some(Unit::Count), cells.collect())
    };
    let mut columns = vec![text("run", |run| run.run.clone())];
    let has = |differs: fn(&RunMeasurements) -> bool| runs.iter().any(differs);
    if has(|run| !run.case.is_empty()) {
        columns.push(text("case", |run| run.case.clone()));
    }
    if has(|run| !run.factors.is_empty()) {
        columns.push(text("factors", factors));
    }
    if has(|run| run.block.is_some()) {
        columns.push(count("block", |run| run.block));
    }
    // A block holds every case once, so that its number is the repetition's.
    if has(|run| run.block != Some(run.repetition)) {
        columns.push(count("repetition", |run| Some(run.repetition)));
    }
    if has(|run| run.attempt != 1) {
        columns.push(count("attempt", |run| Some(run.attempt)));
    }
    columns.push(text("outcome", outcome));
    columns.push(text("from", |run| to_the_second(run.from)));
    columns.push(text("lasted", |run| {
        format!("{:.1} s", (run.to.0 - run.from.0) as f64 / 1e6)
    }));
    columns
}

fn factors(run: &RunMeasurements) -> String {
    let factors = run.factors.iter();
    let factors = factors.map(|(name, value)| format!("{name} {value}"));
    factors.collect::<Vec<_>>().join(", ")
}

fn outcome(run: &RunMeasurements) -> String {
    match (run.outcome, &run.failure) {
        (RunOutcome::Completed, _) => "completed".to_owned(),
        (RunOutcome::Failed, Some(why)) => format!("failed: {why}"),
        (RunOutcome::Failed, None) => "failed".to_owned(),
    }
}

fn to_the_second(moment: Moment) -> String {
    let whole = Moment(moment.0.div_euclid(1_000_000) * 1_000_000);
    whole.to_string().replace("T", " ").replace(".000000Z", "Z")
}

/// The environment: what was the same in all runs, and what differed in which.
pub(super) fn environment(manifests: &[RunManifest]) -> Section {
    let mut found = BTreeMap::<String, BTreeMap<String, Vec<&str>>>::new();
    for manifest in manifests {
        for (name, value) in facts(manifest) {
            let values = found.entry(name).or_default();
            values.entry(value).or_default().push(&manifest.id);
        }
    }
    let mut table = Table::new(
        "Environment",
        &[("what", None), ("value", None), ("runs", None)],
    );
    for (name, values) in &found {
        for (value, runs) in values {
            let of = if runs.len() == manifests.len() {
                format!("all {}", runs.len())
            } else if runs.len() > 6 {
                format!("{} of {}", runs.len(), manifests.len())
            } else {
                runs.join(", ")
            };
            table
                .rows
                .push(vec![Cell::text(name), Cell::text(value), Cell::text(of)]);
        }
    }
    Section {
        id: "environment",
        title: "Environment".to_owned(),
        caption:
            "As the runs' manifests state it. What differs between runs has a line for each value."
                .to_owned(),
        table,
    }
}

fn facts(manifest: &RunManifest) -> Vec<(String, String)> {
    let mut facts = vec![
        ("kernel".to_owned(), manifest.kernel.clone()),
        (
            format!("tool {}", manifest.tool),
            manifest.tool_version.clone(),
        ),
    ];
    if !manifest.campaign.is_empty() {
        facts.push(("campaign".to_owned(), manifest.campaign.clone()));
    }
    let versions = manifest.versions.iter();
    facts.extend(versions.map(|(name, text)| (format!("version of {name}"), text.clone())));
    let environment = manifest.environment.iter();
    facts.extend(environment.map(|(name, text)| (name.clone(), text.clone())));
    let offloads = manifest.offloads.iter();
    facts.extend(offloads.map(|(name, flags)| (format!("offloads of {name}"), flags.join(", "))));
    facts.retain(|(_, value)| !value.is_empty());
    facts
}
