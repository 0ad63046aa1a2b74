//! Egress verdicts as tables that fit a terminal of 100 columns; the last line sums up.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::quantity::{bytes, count, duration, rate};
use crate::commands::runs::RunFigures;
use crate::reconcile::{Agreement, Comparison};
use crate::verdict::{EgressReport, LeakWindow, Moment, PeerCheck, Spell, Tally, Verdict};

/// Columns of a terminal that every table fits.
const WIDTH: u16 = 100;

/// A line below the header, and nothing else.
const STYLE: TableStyle = NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));

/// Rows of a list that nobody asked for in full.
const SHOWN: usize = 20;

/// Renders a report.
pub fn egress(report: &EgressReport, runs: &[RunFigures]) -> String {
    let mut text = String::new();
    policies(report, &mut text);
    pods(report, &mut text);
    leaks(report, &mut text);
    failovers(report, &mut text);
    if let Some(spells) = &report.connections {
        connections(spells, &mut text);
    }
    load_runs(runs, &mut text);
    if let Some(peers) = &report.peers {
        outside(peers, &mut text);
    }
    remarks(report, &mut text);
    let _ = writeln!(text, "{}", summary(report));
    text
}

/// A table of the house's looks, with numbers to the right in the columns of `numeric`.
pub(crate) fn table(header: &[&str], numeric: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .force_no_tty()
        .set_width(WIDTH)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for &index in numeric {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n") + "\n"
}

fn policies(report: &EgressReport, text: &mut String) {
    let mut rows = Vec::new();
    for policy in &report.policies {
        for (index, group) in policy.exits.iter().take(SHOWN).enumerate() {
            let once = |text: &str| {
                if index == 0 {
                    text.to_owned()
                } else {
                    String::new()
                }
            };
            rows.push(vec![
                once(&policy.policy),
                once(policy.result.name()),
                group.verdict.name().to_owned(),
                connections_of(&group.tally),
                bytes(group.tally.bytes),
                count(group.tally.packets),
                group
                    .exit
                    .as_ref()
                    .map_or_else(|| "–".to_owned(), ToString::to_string),
            ]);
        }
    }
    let header = [
        "policy", "result", "verdict", "conns", "bytes", "packets", "left as",
    ];
    let _ = writeln!(text, "Policies\n{}", table(&header, &[3, 4, 5], rows));
    for policy in &report.policies {
        let _ = writeln!(
            text,
            "{} demands {}",
            policy.policy,
            policy.expected.join(", then ")
        );
        more(policy.exits.len(), "exits", text);
    }
    text.push('\n');
}

fn pods(report: &EgressReport, text: &mut String) {
    let mut rows = Vec::new();
    for pod in report.pods.iter().take(SHOWN) {
        for (index, (verdict, tally)) in by_verdict(&pod.verdicts).enumerate() {
            let once = |text: String| if index == 0 { text } else { String::new() };
            rows.push(vec![
                once(pod.pod.clone()),
                once(pod.node.clone()),
                verdict.to_owned(),
                connections_of(tally),
                bytes(tally.bytes),
                count(tally.packets),
                once(clock(pod.first)),
                once(clock(pod.last)),
            ]);
        }
    }
    let header = [
        "pod", "node", "verdict", "conns", "bytes", "packets", "first", "last",
    ];
    let _ = writeln!(text, "Pods\n{}", table(&header, &[3, 4, 5], rows));
    more(report.pods.len(), "pods", text);
}

fn leaks(report: &EgressReport, text: &mut String) {
    if report.leak_windows.is_empty() {
        return;
    }
    let row = |window: &LeakWindow| {
        let grace = match window.in_grace {
            0 => String::new(),
            labelled => format!(" ({labelled} in grace)"),
        };
        vec![
            window.verdict.name().to_owned(),
            window.pod.clone(),
            window.policy.clone(),
            clock(window.first),
            duration(window.last.0 - window.first.0),
            format!("{}{grace}", connections_of(&window.tally)),
            bytes(window.tally.bytes),
            window
                .exit
                .as_ref()
                .map_or_else(|| "–".to_owned(), ToString::to_string),
        ]
    };
    let rows = report.leak_windows.iter().take(SHOWN).map(row).collect();
    let header = [
        "verdict", "pod", "policy", "from", "for", "conns", "bytes", "left as",
    ];
    let _ = writeln!(text, "Leak windows\n{}", table(&header, &[4, 5, 6], rows));
    more(report.leak_windows.len(), "leak windows", text);
}

fn failovers(report: &EgressReport, text: &mut String) {
    if report.failovers.is_empty() {
        return;
    }
    let at = |moment: Option<Moment>| moment.map_or_else(|| "–".to_owned(), clock);
    let rows = report
        .failovers
        .iter()
        .map(|moved| {
            vec![
                moved.policy.clone(),
                format!("{} → {}", moved.from, moved.to),
                clock(moved.at),
                at(moved.last_by_old),
                at(moved.first_by_new),
                moved.hole_us.map_or_else(|| "–".to_owned(), duration),
                format!("{} / {} / {}", moved.survived, moved.broken, moved.new),
            ]
        })
        .collect();
    let header = [
        "policy",
        "moved",
        "at",
        "last by old",
        "first by new",
        "hole",
        "survived / broken / new",
    ];
    let _ = writeln!(text, "Gateways that moved\n{}", table(&header, &[5], rows));
}

fn connections(spells: &[Spell], text: &mut String) {
    let rows = spells
        .iter()
        .map(|spell| {
            vec![
                spell.connection.to_string(),
                spell.verdict.name().to_owned(),
                spell.pod.clone(),
                format!(
                    "{} {} → {}",
                    spell.protocol, spell.source, spell.destination
                ),
                bytes(spell.bytes),
                clock(spell.first),
                spell.exit.as_ref().map_or_else(
                    || spell.notes.join("; "),
                    |exit| format!("{exit} port {}", spell.exit_port.unwrap_or(0)),
                ),
            ]
        })
        .collect();
    let header = [
        "#",
        "verdict",
        "pod",
        "connection",
        "bytes",
        "first",
        "left as",
    ];
    let _ = writeln!(text, "Connections\n{}", table(&header, &[0, 4], rows));
}

fn load_runs(runs: &[RunFigures], text: &mut String) {
    if runs.is_empty() {
        return;
    }
    let row = |run: &RunFigures| {
        let sum = |figure: fn(&Comparison) -> i64| -> i64 {
            run.reconciliation
                .totals
                .iter()
                .map(|total| figure(&total.comparison))
                .sum()
        };
        vec![
            run.run.clone(),
            run.client_pod.clone().unwrap_or_default(),
            run.goodput_bits_per_second
                .map_or_else(|| "–".to_owned(), rate),
            bytes(sum(|figures| figures.iperf3_bytes)),
            bytes(sum(|figures| figures.payload_estimate_bytes)),
            bytes(sum(|figures| figures.difference_bytes)),
            run.trouble()
                .unwrap_or_else(|| agreement(run.reconciliation.agreement).to_owned()),
        ]
    };
    let header = [
        "run",
        "client",
        "goodput",
        "iperf3's bytes",
        "probe's",
        "difference",
        "they",
    ];
    let rows = runs.iter().map(row).collect();
    let _ = writeln!(
        text,
        "Load runs (payload)\n{}",
        table(&header, &[2, 3, 4, 5], rows)
    );
}

fn agreement(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Agree => "agree",
        Agreement::Inconclusive => "cannot be compared",
        Agreement::Disagree => "disagree",
    }
}

fn outside(peers: &PeerCheck, text: &mut String) {
    let _ = writeln!(
        text,
        "Outside server: {} peers logged; {} exits confirmed, {} contradicted, {} not logged; {} peers left by no wire",
        count(peers.records.cast_signed()),
        peers.confirmed,
        peers.contradicted,
        peers.unseen,
        peers.unexplained
    );
    for example in &peers.examples {
        let _ = writeln!(text, "  {example}");
    }
}

fn remarks(report: &EgressReport, text: &mut String) {
    for policy in report
        .policies
        .iter()
        .filter(|policy| !policy.inconclusive_because.is_empty())
    {
        let _ = writeln!(text, "{} cannot pass, because", policy.policy);
        for reason in &policy.inconclusive_because {
            let _ = writeln!(text, "  {reason}");
        }
    }
    for anomaly in &report.anomalies {
        let _ = writeln!(text, "Note: {anomaly}");
    }
    let unjudged = &report.not_judged;
    let _ = writeln!(
        text,
        "Not judged: {} connections inside the cluster ({}), {} answered to others ({})",
        connections_of(&unjudged.inside),
        bytes(unjudged.inside.bytes),
        connections_of(&unjudged.answers),
        bytes(unjudged.answers.bytes)
    );
}

/// The last line.
fn summary(report: &EgressReport) -> String {
    let parts: Vec<String> = by_verdict(&report.verdicts)
        .map(|(verdict, tally)| format!("{verdict} {}", connections_of(tally)))
        .collect();
    format!(
        "{}: connections {}",
        report.result.name().to_uppercase(),
        parts.join(", ")
    )
}

/// Tallies in the order of [`Verdict::ALL`].
fn by_verdict<'a>(
    verdicts: &'a BTreeMap<&'static str, Tally>,
) -> impl Iterator<Item = (&'static str, &'a Tally)> {
    Verdict::ALL.into_iter().filter_map(|verdict| {
        verdicts
            .get(verdict.name())
            .map(|tally| (verdict.name(), tally))
    })
}

fn connections_of(tally: &Tally) -> String {
    count(tally.connections.cast_signed())
}

/// The time of day; the date stands in JSON.
pub(crate) fn clock(moment: Moment) -> String {
    let text = moment.to_string();
    match text.split_once('T') {
        Some((_, time)) if time.len() > 12 => format!("{}Z", &time[..12]),
        _ => text,
    }
}

fn more(total: usize, what: &str, text: &mut String) {
    if total > SHOWN {
        let _ = writeln!(
            text,
            "… {SHOWN} of {total} {what} shown (--format json has all)\n"
        );
    }
}
