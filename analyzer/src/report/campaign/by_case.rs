//! Runs by case: consumption, throughput and round-trip time, each run and the mean.
//!
//! A case whose runs differ in a factor (virtual users, pairs) is as many categories as that factor
//! has values. Failed runs are in no mean and stand in the appendix.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::table::{Cell, Table};
use super::{Figure, Source};
use crate::figures::{DotPlot, DotRow, Estimated, Observation, Plot, Quantity as Axis};
use crate::measurements::{Measurements, Metric, Quantity, RunMeasurements};
use crate::stats::mean::mean;
use crate::stats::outlier::modified_z_scores;

/// Confidence of intervals over runs.
pub(super) const CONFIDENCE: f64 = 0.95;

/// Runs that repeat each other.
#[derive(Debug)]
pub(super) struct Category<'a> {
    /// Its name.
    pub name: String,
    /// Number of its colour and shape.
    pub style: usize,
    /// Its completed runs, by start.
    pub runs: Vec<&'a RunMeasurements>,
}

/// The categories of completed runs, in the order of their names.
pub(super) fn categories(measurements: &Measurements) -> Vec<Category<'_>> {
    grouped(measurements, &[])
}

/// The same, with some factors left out of what tells categories apart.
pub(super) fn grouped<'a>(measurements: &'a Measurements, left_out: &[&str]) -> Vec<Category<'a>> {
    let varying = varying_factors(measurements);
    let mut found: Vec<(Vec<String>, Vec<&RunMeasurements>)> = Vec::new();
    for run in measurements.runs.iter().filter(|run| run.counts()) {
        let mut key = vec![run.case.clone()];
        for factor in varying.get(run.case.as_str()).into_iter().flatten() {
            if !left_out.contains(factor) {
                let value = run.factors.get(*factor).map_or("–", String::as_str);
                key.push(format!("{factor} {value}"));
            }
        }
        match found.iter_mut().find(|(known, _)| *known == key) {
            Some((_, runs)) => runs.push(run),
            None => found.push((key, vec![run])),
        }
    }
    found.sort_by(|one, other| natural(&one.0.join(", "), &other.0.join(", ")));
    let categories = found.into_iter().enumerate();
    categories
        .map(|(style, (key, runs))| Category {
            name: match key.join(", ") {
                name if name.is_empty() => "runs without a case".to_owned(),
                name => name,
            },
            style,
            runs,
        })
        .collect()
}

/// Factors that differ between runs of one case.
fn varying_factors(measurements: &Measurements) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut values = BTreeMap::<(&str, &str), BTreeSet<Option<&str>>>::new();
    let names: BTreeSet<&str> = measurements
        .runs
        .iter()
        .flat_map(|run| run.factors.keys().map(String::as_str))
        .collect();
    for run in measurements.runs.iter().filter(|run| run.counts()) {
        for &name in &names {
            let value = run.factors.get(name).map(String::as_str);
            values
                .entry((run.case.as_str(), name))
                .or_default()
                .insert(value);
        }
    }
    let mut varying = BTreeMap::<&str, BTreeSet<&str>>::new();
    for ((case, factor), values) in values {
        if values.len() > 1 {
            varying.entry(case).or_default().insert(factor);
        }
    }
    varying
}

/// Order of names in which 2 stands before 10.
pub(super) fn natural(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| {
        let mut parts: Vec<(String, u64)> = Vec::new();
        let mut last_is_digit = None;
        for character in text.chars() {
            let is_digit = character.is_ascii_digit();
            if last_is_digit != Some(is_digit) {
                parts.push((String::new(), 0));
            }
            last_is_digit = Some(is_digit);
            if let Some((word, number)) = parts.last_mut() {
                match character.to_digit(10) {
                    Some(digit) => {
                        *number = number.saturating_mul(10).saturating_add(u64::from(digit));
                    }
                    None => word.push(character),
                }
            }
        }
        parts
    };
    parts(one).cmp(&parts(other)).then_with(|| one.cmp(other))
}

/// Runs of a metric as observations, outliers flagged.
pub(super) fn observations(runs: &[&RunMeasurements], metric: &Metric) -> Vec<Observation> {
    let values: Vec<(&str, f64)> = runs
        .iter()
        .filter_map(|run| Some((run.run.as_str(), run.value(metric)?)))
        .collect();
    flagged(&values)
}

/// Named values as observations, outliers flagged.
pub(super) fn flagged(values: &[(&str, f64)]) -> Vec<Observation> {
    let sample: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    let scores = modified_z_scores(&sample).unwrap_or_default();
    let values = values.iter().enumerate();
    values
        .map(|(index, (name, value))| Observation {
            name: (*name).to_owned(),
            value: *value,
            is_outlier: scores.get(index).is_some_and(|score| score.outlier),
        })
        .collect()
}

/// The mean of observations with its t interval; `None` below two.
pub(super) fn estimated(observations: &[Observation]) -> Option<Estimated> {
    let sample: Vec<f64> = observations.iter().map(|run| run.value).collect();
    let estimate = mean(&sample, CONFIDENCE)?;
    Some(Estimated {
        value: estimate.value,
        interval: Some(estimate.interval),
    })
}

/// A metric by category; `None` where no run has it.
pub(super) fn dots(categories: &[Category<'_>], metric: &Metric, title: &str) -> Option<DotPlot> {
    let rows: Vec<DotRow> = categories
        .iter()
        .filter_map(|category| {
            let observations = observations(&category.runs, metric);
            (!observations.is_empty()).then(|| DotRow {
                name: category.name.clone(),
                style: category.style,
                mean: estimated(&observations),
                observations,
                expected: None,
                allowed: None,
            })
        })
        .collect();
    (!rows.is_empty()).then(|| DotPlot {
        title: title.to_owned(),
        quantity: Axis::new(metric.quantity.words(), metric.unit().into()),
        mark: "a run".to_owned(),
        references: Vec::new(),
        rows,
    })
}

/// The numbers of a plot by category.
pub(super) fn table(plot: &DotPlot) -> Table {
    let unit = Some(plot.quantity.unit);
    let mut table = Table::new(
        &plot.title,
        &[
            ("case", None),
            ("runs", Some(crate::figures::Unit::Count)),
            ("mean", unit),
            ("95 % low", unit),
            ("95 % high", unit),
            ("least", unit),
            ("greatest", unit),
            ("flagged", Some(crate::figures::Unit::Count)),
        ],
    );
    for row in &plot.rows {
        let values = row.observations.iter().map(|run| run.value);
        let interval = row.mean.and_then(|mean| mean.interval);
        let flagged = row.observations.iter().filter(|run| run.is_outlier);
        let mean = row.mean.map(|mean| mean.value);
        let only = match row.observations.as_slice() {
            [only] => Some(only.value),
            _ => None,
        };
        table.rows.push(vec![
            Cell::text(&row.name),
            Cell::count(row.observations.len()),
            Cell::number(mean.or(only)),
            Cell::number(interval.map(|interval| interval.low)),
            Cell::number(interval.map(|interval| interval.high)),
            Cell::number(values.clone().reduce(f64::min)),
            Cell::number(values.reduce(f64::max)),
            Cell::count(flagged.count()),
        ]);
    }
    table
}

/// The files and functions that a metric's numbers are from.
pub(super) fn source<'a>(
    measurements: &Measurements,
    metrics: impl IntoIterator<Item = &'a Metric>,
) -> Source {
    let (mut by, mut inputs) = (BTreeSet::new(), BTreeSet::new());
    for metric in metrics {
        for run in &measurements.runs {
            if let Some(measured) = run.measured.get(metric).filter(|one| one.value.is_some()) {
                by.insert(format!(
                    "{}: {}",
                    metric.quantity.words(),
                    measured.origin.by
                ));
                inputs.extend(measured.origin.files.iter().map(|file| group_of(file)));
            }
        }
    }
    by.insert("mean with t interval over the completed runs of a case; outliers by |0.6745 (x − median)/MAD| > 3.5, flagged and counted".to_owned());
    Source {
        by: by.into_iter().collect(),
        inputs: inputs.into_iter().collect(),
    }
}

/// The group of inputs that a file is in.
fn group_of(file: &str) -> String {
    file.split('/').next().unwrap_or(file).to_owned()
}

/// Why metrics are absent, each reason once.
fn absences(measurements: &Measurements, metrics: &[Metric]) -> Vec<String> {
    let mut reasons = BTreeMap::<&str, usize>::new();
    for run in measurements.runs.iter().filter(|run| run.counts()) {
        for metric in metrics {
            let measured = run.measured.get(metric);
            if let Some(reason) = measured.and_then(|one| one.absent_because.as_deref()) {
                *reasons.entry(reason).or_default() += 1;
            }
        }
    }
    let reasons = reasons.into_iter();
    reasons
        .map(|(reason, count)| format!("absent {count} times: {reason}"))
        .collect()
}

/// CPU and memory by case.
pub(super) fn consumption(measurements: &Measurements) -> Figure {
    let figure = Figure::new(
        "consumption",
        "Resource consumption by case",
        "What the machines used during each run, every kernel counted once however many nodes share it. Hollow marks are runs, filled ones their mean with its 95 % t interval.",
    );
    let metrics = [Quantity::CpuPercent, Quantity::Memory].map(Metric::whole);
    let titles = ["CPU use", "Memory in use"];
    let figure = drawn(figure, measurements, &metrics, &titles);
    if figure.plots.is_empty() {
        return figure.without(
            "no run has rows of CPU time and memory of its nodes",
            "weighbridge-probe run --resources on",
        );
    }
    figure
}

/// Throughput and round-trip time by case.
pub(super) fn throughput(measurements: &Measurements) -> Figure {
    let figure = Figure::new(
        "throughput",
        "Throughput and round-trip time by case",
        "As the load tools measured them at the client. Hollow marks are runs, filled ones their mean with its 95 % t interval.",
    );
    let metrics = [
        Quantity::Goodput,
        Quantity::RttMean,
        Quantity::RttP99,
        Quantity::Retransmits,
        Quantity::UdpLoss,
        Quantity::UdpJitter,
        Quantity::RequestRate,
        Quantity::WaitingP50,
        Quantity::WaitingP99,
    ]
    .map(Metric::whole);
    let titles = [
        "Goodput",
        "Round-trip time, mean of a run",
        "Round-trip time, 99 % quantile of a run",
        "TCP segments sent again",
        "UDP datagrams lost",
        "UDP jitter",
        "Requests answered a second",
        "Time to first byte, median of a run",
        "Time to first byte, 99 % quantile of a run",
    ];
    let figure = drawn(figure, measurements, &metrics, &titles);
    if figure.plots.is_empty() {
        return figure.without(
            "no completed run of iperf3 or k6 stands below runs/",
            "cargo xtask campaign egress --target lab",
        );
    }
    figure
}

/// A plot and a table for each metric that some run has.
fn drawn(
    mut figure: Figure,
    measurements: &Measurements,
    metrics: &[Metric],
    titles: &[&str],
) -> Figure {
    let categories = categories(measurements);
    for (metric, title) in metrics.iter().zip(titles) {
        if let Some(plot) = dots(&categories, metric, title) {
            figure.tables.push(table(&plot));
            figure.plots.push(Plot::Dots(plot));
        }
    }
    figure.notes = absences(measurements, metrics);
    figure.source = source(measurements, metrics);
    figure
}

#[cfg(test)]
mod tests {
    use super::natural;
    use std::cmp::Ordering;

    #[test]
    fn two_stands_before_ten() {
        assert_eq!(natural("users 2", "users 10"), Ordering::Less);
        assert_eq!(natural("users 10", "users 10"), Ordering::Equal);
        assert_eq!(natural("a", "b"), Ordering::Less);
        assert_eq!(natural("nginx", "nginx, users 1"), Ordering::Less);
    }
}
