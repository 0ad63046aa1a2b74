//! One run in full: its parts, pods, components and nodes, its books and what it is worth.

use std::fmt::Write as _;

use super::super::quantity::{bytes, count};
use super::super::table::{clock, table};
use super::figures::{dash, figure, figures_are, percent, scaled, seconds, short, shown_memory};
use crate::cost::{ComponentCost, Cost, KernelBooks, NodeCost, PerUnit, RunCost, SubjectCost};
use crate::verdict::vantage_name;
use trace_schema::profile::ProfileEvent;

/// Pods and services of a list that nobody asked for in full.
const SHOWN: usize = 12;
/// Components of such a list.
const COMPONENTS_SHOWN: usize = 20;

/// One run by part, pod, component and node.
pub(super) fn detail(run: &RunCost, text: &mut String) {
    let name = match (run.run.as_str(), run.case.as_str()) {
        ("", _) => "All that was recorded".to_owned(),
        (id, "") => format!("Run {id}"),
        (id, case) => format!("Run {id}, case {case}"),
    };
    let _ = writeln!(
        text,
        "{name}: {:.2} s from {}; figures by packet, buffer and byte are {}",
        run.seconds,
        clock(run.from),
        figures_are(run.cycle_source)
    );
    parts(run, text);
    subjects(run, text);
    components(run, text);
    nodes(run, text);
    for books in &run.books {
        let _ = writeln!(text, "{}", books_line(books));
    }
    for described in &run.denominators.described {
        let _ = writeln!(text, "Counted: {described}");
    }
    if let Some(profile) = &run.profile {
        let sources = profile.sources.iter();
        let sources: Vec<String> = sources
            .map(|source| {
                let of = match source.event {
                    ProfileEvent::Cycles => "hardware cycles",
                    ProfileEvent::CpuClock => "the CPU clock",
                };
                format!("{of}, {} a second and CPU", source.frequency_hz)
            })
            .collect();
        let _ = writeln!(text, "Counted: samples: by {}", sources.join("; by "));
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

/// Why a run is not sure.
pub(super) fn doubts(run: &RunCost, text: &mut String) {
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
    let divisors = divisors(run);
    let row = |title: &str, cost: &Cost| {
        let mut row = vec![
            title.to_owned(),
            seconds(cost.cpu_ns),
            scaled(cost.cycles),
            percent(cost.share),
        ];
        let by = divisors.iter().map(|(_, of)| of(cost));
        row.extend(by.map(|unit| figure(unit, run.cycle_source)));
        let by_gbit = cost.cpu_seconds_per_gbit;
        row.push(by_gbit.map_or_else(dash, |figure| format!("{figure:.3}")));
        row
    };
    let parts = run.parts.iter();
    let mut rows: Vec<Vec<String>> = parts
        .map(|part| row(part.part.title(), &part.cost))
        .collect();
    rows.push(row("charged", &run.charged));
    if let Some(programs) = &run.probe_programs {
        rows.push(row("– probe's eBPF", programs));
    }
    if let Some(idle) = run.idle_cpu_ns {
        let mut cells = vec!["idle".to_owned(), seconds(idle)];
        cells.resize(rows[0].len(), String::new());
        rows.push(cells);
    }
    let mut header = vec!["part", "CPU s", "cycles", "share %"];
    header.extend(divisors.iter().map(|(title, _)| *title));
    header.push("s/Gbit");
    let numeric: Vec<usize> = (1..header.len()).collect();
    let _ = writeln!(text, "{}", table(&header, &numeric, rows));
    let of_parts = run.parts.iter().filter_map(|part| {
        let memory = part.memory?;
        Some(format!("{} {}", part.part.title(), shown_memory(memory)))
    });
    let of_parts: Vec<String> = of_parts.collect();
    if !of_parts.is_empty() {
        let _ = writeln!(text, "Memory, mean (peak): {}\n", of_parts.join(", "));
    }
}

const CLIENT_PACKET: &str = "client packet";
const RESPONSE: &str = "response";

/// A denominator's name and the figure by it.
type Divisor = (&'static str, fn(&Cost) -> PerUnit);

fn divisors(run: &RunCost) -> Vec<Divisor> {
    let mut divisors: Vec<Divisor> = vec![
        ("packet", |cost| cost.per_wire_packet),
        ("buffer", |cost| cost.per_buffer),
        ("byte", |cost| cost.per_byte),
    ];
    if run.denominators.client_pod.is_some() {
        divisors.push((CLIENT_PACKET, |cost| cost.per_client_packet));
    }
    if run.denominators.responses.is_some() {
        divisors.push((RESPONSE, |cost| cost.per_response));
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
    let header = [
        "pod or service",
        "node",
        "part",
        "CPU s",
        "share %",
        "packet",
        "memory (peak)",
    ];
    let _ = writeln!(text, "{}", table(&header, &[3, 4, 5, 6], rows));
    if run.subjects.len() > SHOWN {
        let _ = writeln!(
            text,
            "… {SHOWN} of {} shown (--format json has all)\n",
            run.subjects.len()
        );
    }
}

fn components(run: &RunCost, text: &mut String) {
    let Some(profile) = &run.profile else {
        return;
    };
    let divisors = divisors(run);
    let row = |found: &ComponentCost| {
        let interval = found.share_interval;
        let mut row = vec![
            found.component.clone(),
            count(found.samples.cast_signed()),
            percent(Some(found.share)),
            format!("{:.1}–{:.1}", interval.low * 100.0, interval.high * 100.0),
            figure(found.per_wire_packet, run.cycle_source),
        ];
        if divisors.iter().any(|(title, _)| *title == CLIENT_PACKET) {
            row.push(figure(found.per_client_packet, run.cycle_source));
        }
        if divisors.iter().any(|(title, _)| *title == RESPONSE) {
            row.push(figure(found.per_response, run.cycle_source));
        }
        row
    };
    let rows = profile
        .components
        .iter()
        .take(COMPONENTS_SHOWN)
        .map(row)
        .collect();
    let mut header = vec!["component", "samples", "share %", "95 %"];
    let units = divisors.iter().map(|(title, _)| *title);
    header.extend(units.filter(|title| !["buffer", "byte"].contains(title)));
    let numeric: Vec<usize> = (1..header.len()).collect();
    let _ = writeln!(text, "{}", table(&header, &numeric, rows));
    if profile.components.len() > COMPONENTS_SHOWN {
        let _ = writeln!(
            text,
            "… {COMPONENTS_SHOWN} of {} components shown (--format json has all)\n",
            profile.components.len()
        );
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
            short(node.cycle_source).to_owned(),
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
        "tasks",
        "softirqs",
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
            // What is too small for the digits has no sign.
            (residual * 1e4).round() / 1e2 + 0.0
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
