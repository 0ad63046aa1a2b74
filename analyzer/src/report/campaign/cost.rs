//! Cycles per packet, stacked by component.

use super::by_case::{Category, categories, estimated, flagged};
use super::table::{Cell, Table};
use super::{Figure, Source};
use crate::cost::{Cost, CostReport, CycleBasis, Part, PerUnit, RunCost};
use crate::figures::{Plot, Quantity as Named, StackPlot, StackRow, Unit};
use crate::measurements::Measurements;
use crate::verdict::Outcome;

/// What a bar is measured in.
#[derive(Clone, Copy)]
struct Measure {
    unit: Unit,
    words: &'static str,
    pick: fn(PerUnit) -> Option<f64>,
}

/// The figure; where there is no cost, the reason stands in its place.
pub(super) fn stack(cost: &Result<CostReport, String>, measurements: &Measurements) -> Figure {
    let mut figure = Figure::new(
        "cycles",
        "Cycles per packet by component",
        "What was charged to each component ÷ packets at the nodes' uplinks, as the wire carried them: a buffer of several segments counts each, and a packet that passes several uplinks counts at each. Bars are means over the completed runs, the marks below them the runs' totals, the whisker the 95 % t interval of the total.",
    );
    figure.source = Source::new(
        "charges of table cpu over a run by component ÷ packets of the uplinks in table flows (`weighbridge cost`)",
        &["cpu", "flows", "ledger", "objects", "resources", "runs"],
    );
    let command = "weighbridge-probe run --cpu on";
    let report = match cost {
        Ok(report) => report,
        Err(reason) => return figure.without(reason, command),
    };
    let measure = measure(report.cycle_source);
    let mut rows = Vec::new();
    for (name, runs) in grouped(report, measurements) {
        rows.extend(bar(name, &runs, measure));
    }
    figure.notes.clone_from(&report.notes);
    for run in report.runs.iter().filter(|run| run.result != Outcome::Pass) {
        let reasons = run.inconclusive_because.join("; ");
        figure.notes.push(format!("run {}: {reasons}", run.run));
    }
    if rows.is_empty() {
        return figure.without("no packet passed an uplink while a run went on", command);
    }
    let shown: Vec<Part> = Part::ALL
        .into_iter()
        .filter(|part| rows.iter().any(|row| row.value(*part) > 0.0))
        .collect();
    figure.tables.push(table(&rows, &shown, measure));
    figure.plots.push(Plot::Stack(StackPlot {
        title: "Charged by component and packet at the uplinks".to_owned(),
        quantity: Named::new(measure.words, measure.unit),
        components: shown.iter().map(|part| part.title().to_owned()).collect(),
        rows: rows
            .into_iter()
            .map(|bar| StackRow {
                parts: shown.iter().map(|part| bar.value(*part)).collect(),
                name: bar.name,
                mean: estimated(&bar.totals),
                observations: bar.totals,
            })
            .collect(),
    }));
    figure
}

/// A category's means.
struct Bar {
    name: String,
    parts: Vec<(Part, f64)>,
    totals: Vec<crate::figures::Observation>,
}

impl Bar {
    fn value(&self, part: Part) -> f64 {
        let mut parts = self.parts.iter();
        let found = parts.find(|(other, _)| *other == part);
        found.map_or(0.0, |(_, value)| *value)
    }
}

fn measure(basis: CycleBasis) -> Measure {
    let words = match basis {
        CycleBasis::Hardware => "processor cycles per packet",
        CycleBasis::Reference => {
            "reference cycles (CPU time × rate of the time-stamp counter) per packet"
        }
        CycleBasis::Software => "software events in the place of cycles, per packet",
        CycleBasis::None | CycleBasis::Mixed => {
            return Measure {
                unit: Unit::NanosecondsPerPacket,
                words: "CPU time per packet (no probe counted cycles, or not all the same)",
                pick: |per| per.cpu_ns,
            };
        }
    };
    Measure {
        unit: Unit::CyclesPerPacket,
        words,
        pick: |per| per.cycles,
    }
}

/// Completed runs by category; a dataset without runs is one.
fn grouped<'a>(
    report: &'a CostReport,
    measurements: &Measurements,
) -> Vec<(String, Vec<&'a RunCost>)> {
    let of = |category: &Category<'_>| {
        let runs = report.runs.iter().filter(|cost| {
            let mut runs = category.runs.iter();
            runs.any(|run| run.run == cost.run)
        });
        (category.name.clone(), runs.collect::<Vec<_>>())
    };
    let mut found: Vec<_> = categories(measurements).iter().map(of).collect();
    let whole: Vec<&RunCost> = report
        .runs
        .iter()
        .filter(|cost| cost.run.is_empty())
        .collect();
    found.push(("all that was recorded".to_owned(), whole));
    found.retain(|(_, runs)| !runs.is_empty());
    found
}

fn bar(name: String, runs: &[&RunCost], measure: Measure) -> Option<Bar> {
    let per = |cost: &Cost| (measure.pick)(cost.per_wire_packet);
    let counted: Vec<&&RunCost> = runs
        .iter()
        .filter(|run| per(&run.charged).is_some())
        .collect();
    if counted.is_empty() {
        return None;
    }
    let mean = |part: Part| {
        let values = counted.iter().map(|run| {
            let mut parts = run.parts.iter();
            let own = parts.find(|one| one.part == part);
            own.and_then(|one| per(&one.cost)).unwrap_or(0.0)
        });
        values.sum::<f64>() / counted.len() as f64
    };
    let totals: Vec<(&str, f64)> = counted
        .iter()
        .filter_map(|run| {
            let name = match run.run.as_str() {
                "" => "all that was recorded",
                name => name,
            };
            Some((name, per(&run.charged)?))
        })
        .collect();
    Some(Bar {
        name,
        parts: Part::ALL
            .into_iter()
            .map(|part| (part, mean(part)))
            .collect(),
        totals: flagged(&totals),
    })
}

fn table(bars: &[Bar], shown: &[Part], measure: Measure) -> Table {
    let unit = Some(measure.unit);
    let mut columns = vec![("case", None), ("runs", Some(Unit::Count)), ("all", unit)];
    columns.extend([("95 % low", unit), ("95 % high", unit)]);
    columns.extend(shown.iter().map(|part| (part.title(), unit)));
    let mut table = Table::new("Means by component", &columns);
    for bar in bars {
        let mean = estimated(&bar.totals);
        let interval = mean.and_then(|mean| mean.interval);
        let only = bar.totals.first().map(|run| run.value);
        let mut row = vec![
            Cell::text(&bar.name),
            Cell::count(bar.totals.len()),
            Cell::number(mean.map(|mean| mean.value).or(only)),
            Cell::number(interval.map(|interval| interval.low)),
            Cell::number(interval.map(|interval| interval.high)),
        ];
        row.extend(shown.iter().map(|part| Cell::Number(bar.value(*part))));
        table.rows.push(row);
    }
    table
}
