//! Figures of the split: its accuracy, its windows, its distance to the reference.

use std::collections::{BTreeMap, BTreeSet};

use super::Figure;
use super::by_case::{Category, categories, dots, estimated, flagged, source, table};
use super::table::{Cell, Table};
use super::users::{self, against_users};
use crate::figures::{
    Axis, DotPlot, DotRow, LinePlot, Look, Plot, Point, Quantity as Named, ReferenceLine, Series,
    Unit,
};
use crate::measurements::{Measurements, Metric, Quantity, RunMeasurements};

/// The strict margin of a share.
const MARGIN: f64 = 0.01;
/// Length of a window, microseconds.
const WINDOW_US: f64 = 5e6;
const NO_SPLIT: &str = "no run has responses of a route's backends to a Gateway";
const RECORD: &str = "weighbridge-probe run, with weighbridge-probe record for the routes";

/// Parts (backends) of a quantity that some completed run has.
fn parts(measurements: &Measurements, quantity: Quantity) -> BTreeSet<Option<String>> {
    let runs = measurements.runs.iter().filter(|run| run.counts());
    let measured = runs.flat_map(|run| run.measured.values());
    let of_quantity = measured.filter(|one| one.metric.quantity == quantity && one.value.is_some());
    of_quantity.map(|one| one.metric.part.clone()).collect()
}

fn metric(quantity: Quantity, part: &Option<String>) -> Metric {
    Metric {
        quantity,
        part: part.clone(),
    }
}

fn title(of: &str, part: &Option<String>) -> String {
    match part {
        Some(part) => format!("{of} {part}"),
        None => of.to_owned(),
    }
}

/// What a backend's share should be, each value once.
fn references(runs: &[&RunMeasurements], part: &Option<String>) -> Vec<ReferenceLine> {
    let due = metric(Quantity::SplitDue, part);
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run.value(&due)).collect();
    values.sort_by(f64::total_cmp);
    values.dedup_by(|one, other| (*one - *other).abs() < 1e-9);
    let lines = values.into_iter().map(|value| ReferenceLine {
        name: "share due".to_owned(),
        value,
    });
    lines.collect()
}

/// Shares against virtual users, else by case, with what is due.
pub(super) fn accuracy(measurements: &Measurements) -> Figure {
    let mut figure = Figure::new(
        "accuracy",
        "Split accuracy against virtual users",
        "Each backend's share of the responses to the Gateway over a whole run. The dashed line is the share that the route's weights give it as the implementation configures them; the band about it is the strict margin of ±0.01.",
    );
    let shares = parts(measurements, Quantity::SplitShare);
    if shares.is_empty() {
        return figure.without(NO_SPLIT, RECORD);
    }
    let with_users = users::are_known(measurements);
    let of_users = users::categories(measurements);
    let by_case = categories(measurements);
    for part in &shares {
        let share = metric(Quantity::SplitShare, part);
        let runs: Vec<&RunMeasurements> = measurements.runs.iter().collect();
        let lines = references(&runs, part);
        let title = title("Share of", part);
        let drawn = if with_users {
            against_users(&of_users, &share, &title, lines).map(|(mut plot, table)| {
                plot.margin = (plot.references.len() == 1).then_some(MARGIN);
                (Plot::Lines(plot), table)
            })
        } else {
            dots(&by_case, &share, &title).map(|mut plot| {
                plot.references = lines;
                let table = table(&plot);
                (Plot::Dots(plot), table)
            })
        };
        if let Some((plot, table)) = drawn {
            figure.plots.push(plot);
            figure.tables.push(table);
        }
    }
    let wanted = shares.iter().flat_map(|part| {
        [Quantity::SplitShare, Quantity::SplitDue].map(|quantity| metric(quantity, part))
    });
    let wanted: Vec<Metric> = wanted.collect();
    figure.source = source(measurements, &wanted);
    if !with_users {
        figure.notes.push("no run's manifest says how many virtual users it had (factor `users`): shares stand by case; `cargo xtask campaign ingress --target lab` runs the same load with 1 to 1000 users".to_owned());
    }
    figure
}

/// Shares in windows of five seconds: each run a thin line, their mean a thick one.
pub(super) fn windows(measurements: &Measurements) -> Figure {
    let mut figure = Figure::new(
        "windows",
        "Split ratio in 5-second windows",
        "One backend's share of the responses in each window of five seconds; with two backends the other's is the rest. Thin lines are runs, marks the mean of the runs with its 95 % t interval, the dashed line is the share due. Windows of few responses scatter more, however well the data plane splits.",
    );
    let columns = [
        ("case", None),
        ("backend", None),
        ("window from", Some(Unit::Microseconds)),
        ("runs", Some(Unit::Count)),
        ("mean share", Some(Unit::Share)),
        ("95 % low", Some(Unit::Share)),
        ("95 % high", Some(Unit::Share)),
    ];
    let mut table = Table::new("Shares by window", &columns);
    let mut wanted = Vec::new();
    for part in drawn_backends(&parts(measurements, Quantity::SplitShare)) {
        wanted.push(metric(Quantity::SplitShare, &part));
        for category in &categories(measurements) {
            if let Some(plot) = window_plot(category, &part, &mut table) {
                figure.plots.push(Plot::Lines(plot));
            }
        }
    }
    figure.source = source(measurements, &wanted);
    if figure.plots.is_empty() {
        return figure.without(NO_SPLIT, RECORD);
    }
    figure.tables.push(table);
    figure
}

/// The backends that say everything: of two the first.
fn drawn_backends(shares: &BTreeSet<Option<String>>) -> Vec<Option<String>> {
    let take = if shares.len() == 2 { 1 } else { shares.len() };
    shares.iter().take(take).cloned().collect()
}

/// Shares by window of five seconds since a run began, with the runs that they are of.
type Windows<'a> = BTreeMap<i64, Vec<(&'a str, f64)>>;

fn window_plot(
    category: &Category<'_>,
    part: &Option<String>,
    table: &mut Table,
) -> Option<LinePlot> {
    let mut windows = Windows::new();
    let mut series = threads(category, &metric(Quantity::SplitShare, part), &mut windows);
    if series.is_empty() {
        return None;
    }
    let mut means = Vec::new();
    for (window, values) in &windows {
        let interval = estimated(&flagged(values)).and_then(|mean| mean.interval);
        let middle = values.iter().map(|(_, value)| value).sum::<f64>() / values.len() as f64;
        let x = *window as f64 * WINDOW_US;
        means.push(Point {
            x,
            y: middle,
            interval,
            name: category.name.clone(),
        });
        table.rows.push(vec![
            Cell::text(&category.name),
            Cell::text(part.as_deref().unwrap_or("")),
            Cell::Number(x),
            Cell::count(values.len()),
            Cell::Number(middle),
            Cell::number(interval.map(|interval| interval.low)),
            Cell::number(interval.map(|interval| interval.high)),
        ]);
    }
    series.push(Series {
        name: "mean of the runs, 95 % interval".to_owned(),
        style: category.style,
        look: Look::Means,
        points: means,
    });
    Some(LinePlot {
        title: format!("{}, {}", category.name, title("share of", part)),
        x: Axis::linear("time since the run began", Unit::Microseconds).from_zero(),
        y: Axis::linear("share of responses", Unit::Share),
        references: references(&category.runs, part),
        margin: None,
        series,
    })
}

/// A line for each run, whose windows are noted.
fn threads<'a>(category: &Category<'a>, share: &Metric, windows: &mut Windows<'a>) -> Vec<Series> {
    let mut series = Vec::new();
    for run in &category.runs {
        let Some(own) = run.series_of(share) else {
            continue;
        };
        let mut points = Vec::new();
        for point in &own.points {
            let since_us = (point.at.0 - run.from.0) as f64;
            let window = (since_us / WINDOW_US).round().max(0.0);
            let values = windows.entry(window as i64).or_default();
            values.push((run.run.as_str(), point.value));
            points.push(Point {
                x: window * WINDOW_US,
                y: point.value,
                interval: None,
                name: run.run.clone(),
            });
        }
        series.push(Series {
            name: "a run".to_owned(),
            style: category.style,
            look: Look::Thread,
            points,
        });
    }
    series
}

/// Distance to the reference beside what a perfect splitter shows, and their ratio.
pub(super) fn distance(measurements: &Measurements) -> Figure {
    let mut figure = Figure::new(
        "distance",
        "Distance to the reference",
        "Total variation ½ Σ |share − reference|. It shrinks as responses grow in number, for a perfect splitter too: the dashed mark is what independent requests with the reference's shares show on average with as many responses. Distance ÷ expected distance is near 1 for a perfect splitter, whatever the number. On a logarithmic axis an interval that reaches the lower edge goes on to 0 or below.",
    );
    let by_case = categories(measurements);
    let of_users = users::categories(measurements);
    let mut wanted = Vec::new();
    for part in parts(measurements, Quantity::SplitDistance) {
        let distance = metric(Quantity::SplitDistance, &part);
        let expected = metric(Quantity::SplitExpectedDistance, &part);
        let ratio = metric(Quantity::SplitDistanceRatio, &part);
        if let Some((plot, table)) = distance_to_users(&of_users, &distance, &expected) {
            figure.plots.push(Plot::Lines(plot));
            figure.tables.push(table);
        }
        let name = title("Distance over the whole run", &part);
        if let Some(mut plot) = dots(&by_case, &distance, &name) {
            let value = |run: &RunMeasurements| run.value(&expected);
            expect(&mut plot, &by_case, value);
            figure.tables.push(with_expected(&plot));
            figure.plots.push(Plot::Dots(plot));
        }
        let name = title("Mean distance of the windows of five seconds", &part);
        if let Some(plot) = mean_of_windows(&by_case, &distance, &expected, &name) {
            figure.tables.push(with_expected(&plot));
            figure.plots.push(Plot::Dots(plot));
        }
        let name = title("Distance ÷ expected distance", &part);
        if let Some(mut plot) = dots(&by_case, &ratio, &name) {
            plot.references.push(ReferenceLine {
                name: "a perfect splitter, on average".to_owned(),
                value: 1.0,
            });
            figure.tables.push(table(&plot));
            figure.plots.push(Plot::Dots(plot));
        }
        wanted.extend([distance, expected, ratio]);
    }
    figure.source = source(measurements, &wanted);
    if figure.plots.is_empty() {
        return figure.without(NO_SPLIT, RECORD);
    }
    figure
}

/// Sets what each category should show: the mean over its runs.
fn expect(
    plot: &mut DotPlot,
    categories: &[Category<'_>],
    value: impl Fn(&RunMeasurements) -> Option<f64>,
) {
    for row in &mut plot.rows {
        let category = categories.iter().find(|one| one.name == row.name);
        let runs = category.map_or(&[][..], |category| &category.runs);
        let values: Vec<f64> = runs.iter().filter_map(|run| value(run)).collect();
        if !values.is_empty() {
            row.expected = Some(values.iter().sum::<f64>() / values.len() as f64);
        }
    }
}

fn with_expected(plot: &DotPlot) -> Table {
    let mut table = table(plot);
    let unit = Some(plot.quantity.unit);
    table.columns.push(super::Column {
        name: "expected of a perfect splitter".to_owned(),
        unit,
    });
    for (cells, row) in table.rows.iter_mut().zip(&plot.rows) {
        cells.push(Cell::number(row.expected));
    }
    table
}

fn mean_of(run: &RunMeasurements, metric: &Metric) -> Option<f64> {
    let points = &run.series_of(metric)?.points;
    let sum: f64 = points.iter().map(|point| point.value).sum();
    (!points.is_empty()).then(|| sum / points.len() as f64)
}

fn mean_of_windows(
    categories: &[Category<'_>],
    distance: &Metric,
    expected: &Metric,
    title: &str,
) -> Option<DotPlot> {
    let rows = categories.iter().filter_map(|category| {
        let values: Vec<(&str, f64)> = category
            .runs
            .iter()
            .filter_map(|run| Some((run.run.as_str(), mean_of(run, distance)?)))
            .collect();
        let observations = flagged(&values);
        (!observations.is_empty()).then(|| DotRow {
            name: category.name.clone(),
            style: category.style,
            mean: estimated(&observations),
            observations,
            expected: None,
            allowed: None,
        })
    });
    let mut plot = DotPlot {
        title: title.to_owned(),
        quantity: Named::new("mean distance of a run's windows", Unit::Share),
        mark: "a run".to_owned(),
        references: Vec::new(),
        rows: rows.collect(),
    };
    if plot.rows.is_empty() {
        return None;
    }
    expect(&mut plot, categories, |run| mean_of(run, expected));
    Some(plot)
}

/// The distance against virtual users, with a line for what a perfect splitter shows.
fn distance_to_users(
    categories: &[Category<'_>],
    distance: &Metric,
    expected: &Metric,
) -> Option<(LinePlot, Table)> {
    let title = "Distance against virtual users";
    let (mut plot, mut table) = against_users(categories, distance, title, Vec::new())?;
    let theory = against_users(categories, expected, title, Vec::new());
    let (theory, of_theory) = theory.unwrap_or_else(|| (plot.clone(), Table::default()));
    table.columns.push(super::Column {
        name: "expected of a perfect splitter".to_owned(),
        unit: Some(Unit::Share),
    });
    for row in &mut table.rows {
        let same = of_theory.rows.iter().find(|other| other[..2] == row[..2]);
        row.push(same.map_or(Cell::Empty, |other| other[3].clone()));
    }
    let means = theory
        .series
        .into_iter()
        .filter(|series| series.look == Look::Means);
    plot.series.extend(means.map(|series| Series {
        name: format!(
            "{}: expected of a perfect splitter",
            series.name.split(": mean").next().unwrap_or_default()
        ),
        look: Look::Theory,
        ..series
    }));
    plot.y = Axis::logarithmic("distance to the reference", Unit::Share);
    let is_positive = plot
        .series
        .iter()
        .flat_map(|series| &series.points)
        .all(|point| point.y > 0.0);
    if !is_positive {
        plot.y = Axis::linear("distance to the reference", Unit::Share).from_zero();
    }
    Some((plot, table))
}
