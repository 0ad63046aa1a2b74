//! Cycles per packet, stacked by component: what was charged to whom, and where samples met the
//! processors.
//!
//! Every bar says by which packets it divides. At the uplinks a packet counts once more on each node
//! that forwards it, by packet of the client pod once.

mod components;

use super::by_case::{Category, categories, estimated, flagged};
use super::table::{Cell, Table};
use super::{Figure, Source};
use crate::cost::{Cost, CostReport, CycleBasis, Part, PerUnit, RunCost};
use crate::figures::{Observation, Plot, Quantity as Named, StackPlot, StackRow, Unit};
use crate::measurements::Measurements;
use crate::verdict::Outcome;

/// Inconclusive runs that are named.
const MOST_DOUBTS: usize = 6;

/// What a bar is measured in.
#[derive(Clone, Copy)]
struct Measure {
    unit: Unit,
    words: &'static str,
    pick: fn(PerUnit) -> Option<f64>,
}

/// By which packets costs are divided.
#[derive(Clone, Copy)]
struct Denominator {
    words: &'static str,
    of_cost: fn(&Cost) -> PerUnit,
}

const UPLINKS: Denominator = Denominator {
    words: "packet at the uplinks",
    of_cost: |cost| cost.per_wire_packet,
};
const CLIENT: Denominator = Denominator {
    words: "packet of the client pod",
    of_cost: |cost| cost.per_client_packet,
};

/// The figure; where there is no cost, the reason stands in its place.
pub(super) fn stack(cost: &Result<CostReport, String>, measurements: &Measurements) -> Figure {
    let mut figure = Figure::new(
        "cycles",
        "Cycles per packet by component",
        "What was charged to each component ÷ packets as the wire carried them: a buffer of several segments counts each. At the nodes' uplinks a packet counts on every node that it passes: one that leaves through a gateway on another node counts three times there (out of its own node in a tunnel, into the gateway, out of the gateway), one that leaves by its own node once. Divided by them a case with a gateway therefore looks cheap. By packets of the client pod, each once, cases compare like with like. Bars are means over the completed runs, the marks below them the runs' totals, the whisker the 95 % t interval of the total.",
    );
    figure.source = Source::new(
        "charges of table cpu over a run by component ÷ packets of the uplinks, or of the client pod, in table flows; samples of table profile share the same total out (`weighbridge cost`)",
        &["cpu", "flows", "ledger", "objects", "resources", "runs"],
    );
    let command = "weighbridge-probe run --cpu on";
    let report = match cost {
        Ok(report) => report,
        Err(reason) => return figure.without(reason, command),
    };
    let measure = measure(report.cycle_source);
    let groups = grouped(report, measurements);
    for by in [UPLINKS, CLIENT] {
        let bars: Vec<Bar> = groups
            .iter()
            .filter_map(|(name, runs)| charged(name, runs, measure, by))
            .collect();
        add(&mut figure, "Charged by component", &bars, measure, by);
    }
    if figure.plots.is_empty() {
        return figure.without("no packet passed an uplink while a run went on", command);
    }
    // Like with like, where the client pod's packets are known.
    let by = match figure.plots.len() {
        1 => UPLINKS,
        _ => CLIENT,
    };
    let bars: Vec<Bar> = groups
        .iter()
        .filter_map(|(name, runs)| components::sampled(name, runs, measure, by))
        .collect();
    let bars = components::legible(bars);
    let title = "Sampled by component of the network stack, user space by whose processes";
    add(&mut figure, title, &bars, measure, by);
    figure.notes.clone_from(&report.notes);
    if bars.is_empty() {
        let how = "no run has samples, which tell the kernel's components apart: `weighbridge-probe run --profile` takes them";
        figure.notes.push(how.to_owned());
    } else {
        figure.source.inputs.push("profile".to_owned());
    }
    figure.notes.extend(doubts(report));
    figure
}

/// Why runs are inconclusive, the first of them in words.
fn doubts(report: &CostReport) -> Vec<String> {
    let doubtful = report.runs.iter().filter(|run| run.result != Outcome::Pass);
    let doubtful: Vec<&RunCost> = doubtful.collect();
    let named = doubtful.iter().take(MOST_DOUBTS);
    let mut notes: Vec<String> = named
        .map(|run| format!("run {}: {}", run.run, run.inconclusive_because.join("; ")))
        .collect();
    let more = doubtful.len().saturating_sub(MOST_DOUBTS);
    if more > 0 {
        notes.push(format!(
            "{more} more runs are inconclusive: `weighbridge cost` says why"
        ));
    }
    notes
}

/// A category's means.
struct Bar {
    name: String,
    parts: Vec<(String, f64)>,
    totals: Vec<Observation>,
}

impl Bar {
    fn value(&self, part: &str) -> f64 {
        let mut parts = self.parts.iter();
        let found = parts.find(|(other, _)| other == part);
        found.map_or(0.0, |(_, value)| *value)
    }
}

fn measure(basis: CycleBasis) -> Measure {
    let (unit, words) = match basis {
        CycleBasis::Hardware => (Unit::CyclesPerPacket, "processor cycles"),
        CycleBasis::Reference => (
            Unit::ReferenceCyclesPerPacket,
            "reference cycles (CPU time × rate of the time-stamp counter)",
        ),
        CycleBasis::Software => (
            Unit::SoftwareEventsPerPacket,
            "software events in the place of cycles",
        ),
        CycleBasis::None | CycleBasis::Mixed => {
            return Measure {
                unit: Unit::NanosecondsPerPacket,
                words: "CPU time (no probe counted cycles, or not all the same)",
                pick: |per| per.cpu_ns,
            };
        }
    };
    Measure {
        unit,
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

/// The bar of some runs by whom they charged; `None` where none of them has such packets.
fn charged(name: &str, runs: &[&RunCost], measure: Measure, by: Denominator) -> Option<Bar> {
    let per = |cost: &Cost| (measure.pick)((by.of_cost)(cost));
    let counted = runs.iter().filter(|run| per(&run.charged).is_some());
    let counted: Vec<&RunCost> = counted.copied().collect();
    let part_of = |run: &RunCost, part: Part| {
        let own = run.parts.iter().find(|one| one.part == part);
        own.and_then(|one| per(&one.cost)).unwrap_or(0.0)
    };
    let parts = Part::ALL.map(|part| {
        let values = counted.iter().map(|run| part_of(run, part));
        let mean = values.sum::<f64>() / counted.len() as f64;
        (part.title().to_owned(), mean)
    });
    bar(name, &counted, parts.to_vec(), |run| per(&run.charged))
}

/// A bar of those runs; `None` without any.
fn bar(
    name: &str,
    runs: &[&RunCost],
    parts: Vec<(String, f64)>,
    total: impl Fn(&RunCost) -> Option<f64>,
) -> Option<Bar> {
    let totals = runs.iter().filter_map(|run| {
        let name = match run.run.as_str() {
            "" => "all that was recorded",
            name => name,
        };
        Some((name, total(run)?))
    });
    let totals: Vec<(&str, f64)> = totals.collect();
    (!totals.is_empty()).then(|| Bar {
        name: name.to_owned(),
        parts,
        totals: flagged(&totals),
    })
}

/// Adds the plot and the table of some bars, where there are any.
fn add(figure: &mut Figure, what: &str, bars: &[Bar], measure: Measure, by: Denominator) {
    let Some(first) = bars.first() else {
        return;
    };
    let is_shown = |part: &&String| bars.iter().any(|bar| bar.value(part) > 0.0);
    let names = first.parts.iter().map(|(part, _)| part);
    let shown: Vec<String> = names.filter(is_shown).cloned().collect();
    let title = format!("{what} and {}", by.words);
    figure.tables.push(table(&title, bars, &shown, measure));
    let rows = bars.iter().map(|bar| StackRow {
        name: bar.name.clone(),
        parts: shown.iter().map(|part| bar.value(part)).collect(),
        mean: estimated(&bar.totals),
        observations: bar.totals.clone(),
    });
    figure.plots.push(Plot::Stack(StackPlot {
        title,
        quantity: Named::new(&format!("{} per {}", measure.words, by.words), measure.unit),
        rows: rows.collect(),
        components: shown,
    }));
}

fn table(title: &str, bars: &[Bar], shown: &[String], measure: Measure) -> Table {
    let unit = Some(measure.unit);
    let mut columns = vec![("case", None), ("runs", Some(Unit::Count)), ("all", unit)];
    columns.extend([("95 % low", unit), ("95 % high", unit)]);
    columns.extend(shown.iter().map(|part| (part.as_str(), unit)));
    let mut table = Table::new(title, &columns);
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
        row.extend(shown.iter().map(|part| Cell::Number(bar.value(part))));
        table.rows.push(row);
    }
    table
}
