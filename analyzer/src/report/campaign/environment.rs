//! The appendix: every run with what it measured, and the environment of the runs.

use std::collections::BTreeMap;

use trace_schema::manifest::{RunManifest, RunOutcome};

use super::Section;
use super::table::{Cell, Table};
use crate::figures::Unit;
use crate::measurements::{Measurements, Metric, Quantity, RunMeasurements};

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
    let mut columns = vec![
        ("run", None),
        ("case", None),
        ("factors", None),
        ("repetition", Some(Unit::Count)),
        ("block", Some(Unit::Count)),
        ("attempt", Some(Unit::Count)),
        ("outcome", None),
        ("from", None),
        ("lasted", Some(Unit::Microseconds)),
    ];
    let of_metrics = metrics.iter();
    columns.extend(of_metrics.map(|one| (one.quantity.words(), Some(Unit::from(one.unit())))));
    let mut table = Table::new("Runs", &columns);
    for run in &measurements.runs {
        let mut row = described(run);
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

fn described(run: &RunMeasurements) -> Vec<Cell> {
    let factors: Vec<String> = run
        .factors
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let outcome = match (run.outcome, &run.failure) {
        (RunOutcome::Completed, _) => "completed".to_owned(),
        (RunOutcome::Failed, Some(why)) => format!("failed: {why}"),
        (RunOutcome::Failed, None) => "failed".to_owned(),
    };
    vec![
        Cell::text(&run.run),
        Cell::text(&run.case),
        Cell::text(factors.join(", ")),
        Cell::count(run.repetition),
        run.block.map_or(Cell::Empty, Cell::count),
        Cell::count(run.attempt),
        Cell::text(outcome),
        Cell::text(run.from.to_string()),
        Cell::count(run.to.0 - run.from.0),
    ]
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
