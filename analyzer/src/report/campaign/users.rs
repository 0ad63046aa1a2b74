//! Figures against the number of virtual users.

use super::Figure;
use super::by_case::{Category, estimated, grouped, observations, source};
use super::table::{Cell, Table};
use crate::figures::{Axis, LinePlot, Look, Plot, Point, ReferenceLine, Series, Unit};
use crate::measurements::{Measurements, Metric, Quantity, RunMeasurements};

/// The factor that says how many virtual users a run had.
const FACTOR: &str = "users";

/// How many virtual users a run had.
pub(super) fn users(run: &RunMeasurements) -> Option<f64> {
    let value = run.factors.get(FACTOR)?.parse::<f64>().ok()?;
    (value.is_finite() && value > 0.0).then_some(value)
}

/// Whether some completed run says how many virtual users it had.
pub(super) fn are_known(measurements: &Measurements) -> bool {
    let mut runs = measurements.runs.iter();
    runs.any(|run| run.counts() && users(run).is_some())
}

/// Categories that tell virtual users apart by an axis and not by name.
pub(super) fn categories(measurements: &Measurements) -> Vec<Category<'_>> {
    let mut categories = grouped(measurements, &[FACTOR]);
    for category in &mut categories {
        category.runs.retain(|run| users(run).is_some());
    }
    categories.retain(|category| !category.runs.is_empty());
    for (style, category) in categories.iter_mut().enumerate() {
        category.style = style;
    }
    categories
}

/// A metric against virtual users, with its table; `None` where no run has it.
pub(super) fn against_users(
    categories: &[Category<'_>],
    metric: &Metric,
    title: &str,
    references: Vec<ReferenceLine>,
) -> Option<(LinePlot, Table)> {
    let unit = Some(metric.unit().into());
    let mut table = Table::new(
        title,
        &[
            ("case", None),
            ("virtual users", Some(Unit::Count)),
            ("runs", Some(Unit::Count)),
            ("mean", unit),
            ("95 % low", unit),
            ("95 % high", unit),
        ],
    );
    let mut series = Vec::new();
    for category in categories {
        let (runs, means) = of_category(category, metric, &mut table);
        if !runs.points.is_empty() {
            series.extend([runs, means]);
        }
    }
    if series.is_empty() {
        return None;
    }
    let plot = LinePlot {
        title: title.to_owned(),
        x: Axis::logarithmic("virtual users", Unit::Count),
        y: Axis::linear(metric.quantity.words(), metric.unit().into()),
        references,
        margin: None,
        series,
    };
    Some((plot, table))
}

/// A category's runs and their means by number of users, the means noted in the table.
fn of_category(category: &Category<'_>, metric: &Metric, table: &mut Table) -> (Series, Series) {
    let mut levels: Vec<f64> = category.runs.iter().filter_map(|run| users(run)).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    let mut runs = blank(category, "runs", Look::Observations);
    let mut means = blank(category, "mean, 95 % interval", Look::Means);
    for level in levels {
        let at_level = category.runs.iter().copied();
        let at_level: Vec<&RunMeasurements> =
            at_level.filter(|run| users(run) == Some(level)).collect();
        let found = observations(&at_level, metric);
        if found.is_empty() {
            continue;
        }
        let interval = estimated(&found).and_then(|mean| mean.interval);
        let middle = found.iter().map(|run| run.value).sum::<f64>() / found.len() as f64;
        means.points.push(Point {
            x: level,
            y: middle,
            interval,
            name: category.name.clone(),
        });
        table.rows.push(vec![
            Cell::text(&category.name),
            Cell::Number(level),
            Cell::count(found.len()),
            Cell::Number(middle),
            Cell::number(interval.map(|interval| interval.low)),
            Cell::number(interval.map(|interval| interval.high)),
        ]);
        runs.points.extend(found.into_iter().map(|run| Point {
            x: level,
            y: run.value,
            interval: None,
            name: run.name,
        }));
    }
    (runs, means)
}

fn blank(category: &Category<'_>, what: &str, look: Look) -> Series {
    Series {
        name: format!("{}: {what}", category.name),
        style: category.style,
        look,
        points: Vec::new(),
    }
}

/// CPU and memory against virtual users.
pub(super) fn consumption(measurements: &Measurements) -> Figure {
    let mut figure = Figure::new(
        "users",
        "Resource use against virtual users",
        "Small hollow marks are runs, the larger filled ones their mean with its 95 % t interval; cases stand beside each other where they share a number of users. The axis of users is logarithmic.",
    );
    let categories = categories(measurements);
    let metrics = [Quantity::CpuPercent, Quantity::Memory].map(Metric::whole);
    for (metric, title) in metrics.iter().zip(["CPU use", "Memory in use"]) {
        if let Some((plot, table)) = against_users(&categories, metric, title, Vec::new()) {
            figure.plots.push(Plot::Lines(plot));
            figure.tables.push(table);
        }
    }
    figure.source = source(measurements, &metrics);
    match (figure.plots.is_empty(), are_known(measurements)) {
        (false, _) => figure,
        (true, false) => figure.without(
            "no run's manifest says how many virtual users it had (factor `users`)",
            "cargo xtask campaign ingress --target lab",
        ),
        (true, true) => figure.without(
            "no run with virtual users has rows of CPU time and memory of its nodes",
            "weighbridge-probe run --resources on",
        ),
    }
}
