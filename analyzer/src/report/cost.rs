//! Costs as tables of 100 columns; the last line sums up.
//!
//! Every table names what its cycles are, and falls back to CPU time where there are none.

use std::fmt::Write as _;

use super::quantity::{bytes, count};
use super::table::{clock, table};
use crate::cost::{
    CaseCost, Cost, CostReport, CycleBasis, KernelBooks, Mean, MeanCost, Memory, NodeCost, Part,
    PartCost, PerUnit, RunCost, SubjectCost,
};
use crate::verdict::vantage_name;

/// Pods and services of a list that nobody asked for in full.
const SHOWN: usize = 12;
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
                once(case.runs.len().to_string()),
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

fn detail(run: &RunCost, text: &mut String) {
    let name = match (run.run.as_str(), run.case.as_str()) {
        ("", _) => "All that was recorded".to_owned(),
        (id, "") => format!("Run {id}"),
        (id, case) => format!("Run {id}, case {case}"),
    };
    let _ = writeln!(
        text,
        "{name}: {:.2} s from {}, {}",
        run.seconds,
        clock(run.from),
        run.cycle_source.title()
    );
    parts(run, text);
    subjects(run, text);
    nodes(run, text);
    for books in &run.books {
        let _ = writeln!(text, "{}", books_line(books));
    }
    for described in &run.denominators.described {
        let _ = writeln!(text, "Counted: {described}");
    }
    for loss in &run.losses {
        let _ = writeln!(
            text,
            "Lost at {} {}: {} turned away, {} not buffered, {} runs missed",
            loss.node,
            vantage_name(loss.vantage),
            count(loss.overflow),
            count(loss.ring_drops),
            count(loss.hook_misses)
        );
    }
    for note in &run.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    doubts(run, text);
    text.push('\n');
}

fn doubts(run: &RunCost, text: &mut String) {
    if run.inconclusive_because.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "{} is inconclusive, because",
        if run.run.is_empty() { "it" } else { &run.run }
    );
    for reason in &run.inconclusive_because {
        let _ = writeln!(text, "  {reason}");
    }
}

fn parts(run: &RunCost, text: &mut String) {
    let basis = run.cycle_source;
    let divisors = divisors(run);
    let row = |title: String, cost: &Cost, memory: Option<Memory>| {
        let mut row = vec![
            title,
            seconds(cost.cpu_ns),
            scaled(cost.cycles),
            percent(cost.share),
        ];
        row.extend(divisors.iter().map(|(_, of)| figure(of(cost), basis)));
        row.push(
            cost.cpu_seconds_per_gbit
                .map_or_else(dash, |figure| format!("{figure:.3}")),
        );
        row.push(memory.map_or_else(dash, shown_memory));
        row
    };
    let part = |part: &PartCost| row(part.part.title().to_owned(), &part.cost, part.memory);
    let mut rows: Vec<Vec<String>> = run.parts.iter().map(part).collect();
    rows.push(row("charged".to_owned(), &run.charged, None));
    if let Some(programs) = &run.probe_programs {
        rows.push(row("of which probe's programs".to_owned(), programs, None));
    }
    if let Some(idle) = run.idle_cpu_ns {
        let mut cells = vec!["idle".to_owned(), seconds(idle)];
        cells.resize(rows[0].len(), String::new());
        rows.push(cells);
    }
    let unit = short(basis);
    let mut header = vec![
        "part".to_owned(),
        "CPU s".to_owned(),
        cycles_title(basis),
        "share %".to_owned(),
    ];
    header.extend(divisors.iter().map(|(title, _)| format!("{unit}/{title}")));
    header.extend(["CPU s/Gbit".to_owned(), "memory (peak)".to_owned()]);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let numeric: Vec<usize> = (1..header.len()).collect();
    let _ = writeln!(text, "{}", table(&header, &numeric, rows));
}

/// A denominator's name and the figure by it.
type Divisor = (&'static str, fn(&Cost) -> PerUnit);

fn divisors(run: &RunCost) -> Vec<Divisor> {
    let mut divisors: Vec<Divisor> = vec![
        ("packet", |cost| cost.per_wire_packet),
        ("buffer", |cost| cost.per_buffer),
        ("byte", |cost| cost.per_byte),
    ];
    if run.denominators.client_pod.is_some() {
        divisors.push(("client packet", |cost| cost.per_client_packet));
    }
    if run.denominators.responses.is_some() {
        divisors.push(("response", |cost| cost.per_response));
    }
    divisors
}

fn subjects(run: &RunCost, text: &mut String) {
    let row = |subject: &SubjectCost| {
        vec![
            subject.name.clone(),
            subject.node.clone().unwrap_or_else(dash),
            subject.part.title().to_owned(),
            seconds(subject.cost.cpu_ns),
            percent(subject.cost.share),
            figure(subject.cost.per_wire_packet, run.cycle_source),
            subject.memory.map_or_else(dash, shown_memory),
        ]
    };
    let rows = run.subjects.iter().take(SHOWN).map(row).collect();
    let per_packet = format!("{}/packet", short(run.cycle_source));
    let header = [
        "pod or service",
        "node",
        "part",
        "CPU s",
        "share %",
        &per_packet,
        "memory (peak)",
    ];
    let _ = writeln!(text, "{}", table(&header, &[3, 4, 5, 6], rows));
    if run.subjects.len() > SHOWN {
        let more = run.subjects.len() - SHOWN;
        let _ = writeln!(text, "… and {more} more (--format json has all)\n");
    }
}

fn nodes(run: &RunCost, text: &mut String) {
    let row = |node: &NodeCost| {
        let shared = match node.nodes_on_kernel {
            1 => String::new(),
            several => format!(" of {several} nodes"),
        };
        vec![
            node.node.clone(),
            node.cycle_source.title().to_owned(),
            seconds(node.tasks.cpu_ns),
            format!("{}{shared}", seconds(node.softirqs.cpu_ns)),
            count(node.uplinks.packets),
            count(node.uplinks.buffers),
            bytes(node.uplinks.bytes),
            node.memory.map_or_else(dash, shown_memory),
        ]
    };
    let rows = run.nodes.iter().map(row).collect();
    let header = [
        "node",
        "counts",
        "tasks, CPU s",
        "softirqs, CPU s",
        "packets",
        "buffers",
        "bytes",
        "memory (peak)",
    ];
    let _ = writeln!(text, "{}", table(&header, &[2, 3, 4, 5, 6, 7], rows));
}

fn books_line(books: &KernelBooks) -> String {
    let sum = books.tasks_cpu_ns + books.outside_cpu_ns + books.softirq_cpu_ns + books.idle_cpu_ns;
    let capacity = match (books.cpus, books.capacity_cpu_ns, books.residual_share) {
        (Some(cpus), Some(capacity), Some(residual)) => format!(
            "of {} CPU s of {cpus} CPUs: {:.2} % open",
            seconds(capacity),
            residual * 100.0
        ),
        _ => "against CPUs × time that no row of resources tells".to_owned(),
    };
    format!(
        "Books of {}'s kernel: tasks {} + outside {} + softirqs {} + idle {} = {} {capacity}",
        books.node,
        seconds(books.tasks_cpu_ns),
        seconds(books.outside_cpu_ns),
        seconds(books.softirq_cpu_ns),
        seconds(books.idle_cpu_ns),
        seconds(sum)
    )
}

/// The last line.
fn summary(report: &CostReport) -> String {
    let sure = report
        .runs
        .iter()
        .filter(|run| run.inconclusive_because.is_empty());
    let charged: i64 = report.runs.iter().map(|run| run.charged.cpu_ns).sum();
    format!(
        "{}: {} of {} runs are sure to a hundredth; {} CPU s charged, in {}",
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

fn cycles_title(basis: CycleBasis) -> String {
    match basis {
        CycleBasis::Reference => "ref. cycles".to_owned(),
        other => other.title().to_owned(),
    }
}

/// What a figure by packet counts.
fn short(basis: CycleBasis) -> &'static str {
    match basis {
        CycleBasis::Hardware => "cycles",
        CycleBasis::Reference => "ref. cycles",
        CycleBasis::Software => "events",
        CycleBasis::None | CycleBasis::Mixed => "CPU ns",
    }
}

fn figure(figure: PerUnit, basis: CycleBasis) -> String {
    let value = if basis.counts() {
        figure.cycles
    } else {
        figure.cpu_ns
    };
    value.map_or_else(dash, amount)
}

fn mean(mean: Mean, scale: f64) -> String {
    let Some(value) = mean.value else {
        return dash();
    };
    match mean.estimate {
        Some(estimate) => {
            let half = (estimate.interval.high - estimate.interval.low) / 2.0;
            format!("{} ± {}", amount(value / scale), amount(half / scale))
        }
        None => amount(value / scale),
    }
}

/// Three digits or more, as a reader compares them.
fn amount(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => count(value.round() as i64),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn seconds(cpu_ns: i64) -> String {
    format!("{:.3}", cpu_ns as f64 / 1e9)
}

fn scaled(cycles: Option<i64>) -> String {
    match cycles {
        None => dash(),
        Some(cycles) if cycles >= 10_000_000 => format!("{:.3} G", cycles as f64 / 1e9),
        Some(cycles) => format!("{:.3} M", cycles as f64 / 1e6),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(dash, |share| format!("{:.1}", share * 100.0))
}

fn shown_memory(memory: Memory) -> String {
    format!(
        "{} ({})",
        bytes(memory.mean_bytes),
        bytes(memory.peak_bytes)
    )
}

fn dash() -> String {
    "–".to_owned()
}
