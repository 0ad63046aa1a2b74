//! Costs as tables of 100 columns; the last line sums up.
//!
//! Every table names what its cycles are, and falls back to CPU time where there are none.

mod figures;
mod run;

use std::fmt::Write as _;

use super::table::table;
use crate::cost::{CaseCost, Cost, CostReport, CycleBasis, Mean, MeanCost, Part, PerUnit, RunCost};
use figures::{dash, figure, mean, seconds, short};
use run::{detail, doubts};

/// Runs that are shown in detail without being asked for by name.
const IN_DETAIL: usize = 4;

/// Renders a report.
pub fn render(report: &CostReport) -> String {
    let mut text = String::new();
    if report.runs.len() > 1 {
        runs(report, &mut text);
    }
    cases(report, &mut text);
    if report.runs.len() <= IN_DETAIL {
        report.runs.iter().for_each(|run| detail(run, &mut text));
    } else {
        for run in &report.runs {
            doubts(run, &mut text);
        }
        let _ = writeln!(
            text,
            "Note: --run ID shows a run by part, pod and node, --format json shows all"
        );
    }
    for note in &report.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    let _ = writeln!(text, "{}", summary(report));
    text
}

/// What a run's figures are divided by in the table of all runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Response,
    ClientPacket,
    WirePacket,
}

impl By {
    /// The denominator that counts the run's own work once.
    fn of(run: &RunCost) -> Self {
        if run.denominators.responses.is_some() {
            Self::Response
        } else if run.denominators.client_pod.is_some() {
            Self::ClientPacket
        } else {
            Self::WirePacket
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::ClientPacket => "client packet",
            Self::WirePacket => "wire packet",
        }
    }

    fn amount(self, cost: &Cost) -> PerUnit {
        match self {
            Self::Response => cost.per_response,
            Self::ClientPacket => cost.per_client_packet,
            Self::WirePacket => cost.per_wire_packet,
        }
    }

    fn means(self, cost: &MeanCost) -> (Mean, Mean) {
        match self {
            Self::Response => (cost.cycles_per_response, cost.cpu_ns_per_response),
            Self::ClientPacket => (cost.cycles_per_client_packet, cost.cpu_ns_per_client_packet),
            Self::WirePacket => (cost.cycles_per_wire_packet, cost.cpu_ns_per_wire_packet),
        }
    }
}

/// The parts with a column of their own in the table of runs.
const COLUMNS: [(Part, &str); 6] = [
    (Part::KernelReceive, "net_rx"),
    (Part::KernelTransmit, "net_tx"),
    (Part::Cni, "CNI"),
    (Part::Gateway, "gateway"),
    (Part::Application, "pods"),
    (Part::Probe, "probe"),
];

fn runs(report: &CostReport, text: &mut String) {
    let mut rows = Vec::new();
    for run in &report.runs {
        let by = By::of(run);
        let figure = |cost: Option<&Cost>| match cost {
            Some(cost) => figure(by.amount(cost), run.cycle_source),
            None => dash(),
        };
        let mut row = vec![
            run.run.clone(),
            format!("{:.1}", run.seconds),
            unit(run.cycle_source, by),
        ];
        row.push(figure(Some(&run.charged)));
        for (part, _) in COLUMNS {
            let found = run.parts.iter().find(|found| found.part == part);
            row.push(figure(found.map(|found| &found.cost)));
        }
        rows.push(row);
    }
    let mut header = vec!["run", "s", "figures are", "all"];
    header.extend(COLUMNS.map(|(_, title)| title));
    let _ = writeln!(
        text,
        "Runs\n{}",
        table(&header, &[1, 3, 4, 5, 6, 7, 8, 9], rows)
    );
}

fn cases(report: &CostReport, text: &mut String) {
    let repeated: Vec<&CaseCost> = report
        .cases
        .iter()
        .filter(|case| case.runs.len() > 1)
        .collect();
    if repeated.is_empty() {
        return;
    }
    let mut rows = Vec::new();
    for case in repeated {
        let mut of_case = report
            .runs
            .iter()
            .filter(|run| case.runs.contains(&run.run));
        let by = of_case.next().map_or(By::WirePacket, By::of);
        let parts = case
            .parts
            .iter()
            .map(|part| (part.part.title(), &part.cost));
        let lines = std::iter::once(("all", &case.charged)).chain(parts);
        for (index, (title, cost)) in lines.enumerate() {
            let (cycles, cpu_ns) = by.means(cost);
            let figure = if case.cycle_source.counts() {
                cycles
            } else {
                cpu_ns
            };
            let once = |text: String| if index == 0 { text } else { String::new() };
            rows.push(vec![
                once(case.case.clone()),
                once(match case.inconclusive_runs.len() {
                    0 => case.runs.len().to_string(),
                    unsure => format!("{} ({unsure} inconclusive)", case.runs.len()),
                }),
                once(unit(case.cycle_source, by)),
                title.to_owned(),
                mean(figure, 1.0),
                mean(cost.cpu_ns, 1e9),
            ]);
        }
    }
    let header = [
        "case",
        "runs",
        "figures are",
        "part",
        "mean ± 95 %",
        "CPU s ± 95 %",
    ];
    let _ = writeln!(
        text,
        "Cases (means over runs)\n{}",
        table(&header, &[1, 4, 5], rows)
    );
}

/// The last line.
fn summary(report: &CostReport) -> String {
    let sure = report
        .runs
        .iter()
        .filter(|run| run.inconclusive_because.is_empty());
    let charged: i64 = report.runs.iter().map(|run| run.charged.cpu_ns).sum();
    format!(
        "{}: {} of {} runs lack nothing that could change a number by a hundredth; {} CPU s charged, in {}",
        report.result.name().to_uppercase(),
        sure.count(),
        report.runs.len(),
        seconds(charged),
        report.cycle_source.title()
    )
}

fn unit(basis: CycleBasis, by: By) -> String {
    format!("{}/{}", short(basis), by.title())
}
