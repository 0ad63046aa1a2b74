//! Split verdicts: tables that fit a terminal of 100 columns, and JUnit with a test case a rule.
//!
//! Nothing here judges; the last line of the table sums up. An inconclusive rule is an error in
//! JUnit, so that no CI takes it for a pass.

use std::fmt::Write as _;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::quantity::{count, duration};
use super::table::{clock, table as drawn};
use crate::commands::loads::LoadFigures;
use crate::reconcile::responses::Closure;
use crate::stats::Interval;
use crate::verdict::Outcome;
use crate::verdict::split::{
    BackendReport, Judgement, Reference, RuleReport, SplitReport, StageReport, WindowReport,
};

/// Windows of a stage that nobody asked for in full.
const SHOWN: usize = 6;

/// Renders a report as tables; `windows` lists every one.
pub fn table(report: &SplitReport, runs: &[LoadFigures], windows: bool) -> String {
    let mut text = String::new();
    for rule in &report.rules {
        self::rule(rule, windows, &mut text);
    }
    for run in runs {
        load(run, &mut text);
    }
    for note in &report.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    let _ = writeln!(text, "{}", summary(report));
    text
}

/// Renders a report as JUnit.
pub fn junit(report: &SplitReport) -> Result<String, SerializeError> {
    let mut suite = TestSuite::new("weighbridge split");
    for rule in &report.rules {
        let kind = match rule.result {
            Outcome::Pass => None,
            Outcome::Fail => Some((NonSuccessKind::Failure, "verdict")),
            Outcome::Inconclusive => Some((NonSuccessKind::Error, "inconclusive")),
        };
        let status = match kind {
            None => TestCaseStatus::success(),
            Some((kind, r#type)) => {
                let mut status = TestCaseStatus::non_success(kind);
                status.set_message(rule.summary.as_str()).set_type(r#type);
                let lines: Vec<&str> = rule
                    .inconclusive_because
                    .iter()
                    .chain(&rule.notes)
                    .map(String::as_str)
                    .collect();
                status.set_description(lines.join("\n"));
                status
            }
        };
        let mut case = TestCase::new(title(rule), status);
        case.set_classname("split");
        suite.add_test_case(case);
    }
    let mut document = Report::new("weighbridge");
    document.add_test_suite(suite);
    document.to_string()
}

fn title(rule: &RuleReport) -> String {
    format!("{} at {}", rule.rule, rule.gateways.join(", "))
}

fn rule(rule: &RuleReport, windows: bool, text: &mut String) {
    let controller = rule.controller.as_deref().unwrap_or("no controller known");
    let _ = writeln!(text, "{} ({controller})", title(rule));
    let _ = writeln!(
        text,
        "{}: {}\n",
        rule.result.name().to_uppercase(),
        rule.summary
    );
    for stage in &rule.stages {
        self::stage(stage, windows, text);
    }
    apart(rule, text);
    latency(rule, text);
    if !rule.inconclusive_because.is_empty() {
        let _ = writeln!(text, "It cannot pass, because");
        for reason in &rule.inconclusive_because {
            let _ = writeln!(text, "  {reason}");
        }
    }
    for note in &rule.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    text.push('\n');
}

fn stage(stage: &StageReport, windows: bool, text: &mut String) {
    let set_apart = match stage.set_apart {
        0 => String::new(),
        apart => format!(", {} set apart", number(apart)),
    };
    let _ = writeln!(
        text,
        "{} to {}: {}, {} responses{set_apart}",
        clock(stage.from),
        clock(stage.to),
        stage.result.name(),
        number(stage.responses)
    );
    let differ = stage.backends.iter().any(|backend| {
        let configured = backend.configured_share.unwrap_or(backend.spec_share);
        (configured - backend.spec_share).abs() > 1e-9
    });
    let mut header = vec!["backend", "weight", "due"];
    if differ {
        header = vec!["backend", "weight", "by spec", "configured"];
    }
    let numeric: Vec<usize> = (1..header.len() + 2).collect();
    header.extend([
        "responses",
        "share %",
        "95 % interval",
        "in windows",
        "scatter",
    ]);
    let rows = stage.backends.iter().enumerate();
    let rows = rows.map(|(index, backend)| {
        let shares = stage.windows.iter();
        let shares: Vec<f64> = shares
            .filter_map(|window| window.shares.get(index).copied())
            .collect();
        backend_row(backend, &shares, differ)
    });
    let _ = write!(text, "{}", drawn(&header, &numeric, rows.collect()));
    // Where both references say the same, one is enough.
    let told = stage.judgements.split_first();
    if let Some((first, others)) = told {
        let others = others.iter().filter(|other| other.shares != first.shares);
        for judgement in std::iter::once(first).chain(others) {
            against(stage, judgement, text);
        }
    }
    window_rows(stage, windows, text);
    text.push('\n');
}

fn backend_row(backend: &BackendReport, windows: &[f64], differ: bool) -> Vec<String> {
    let lowest = windows.iter().copied().reduce(f64::min);
    let highest = windows.iter().copied().reduce(f64::max);
    let range = lowest
        .zip(highest)
        .map_or_else(dash, |(low, high)| interval(&Interval { low, high }));
    let mut row = vec![
        backend.backend.service.name.clone(),
        backend
            .weight
            .map_or_else(dash, |weight| weight.to_string()),
        percent(backend.spec_share),
    ];
    if differ {
        row.push(backend.configured_share.map_or_else(dash, percent));
    }
    row.extend([
        number(backend.responses),
        backend
            .share
            .map_or_else(dash, |share| format!("{:.2}", share * 100.0)),
        backend.interval.as_ref().map_or_else(dash, interval),
        range,
        backend
            .dispersion
            .map_or_else(dash, |scatter| format!("{:.2}", scatter.index)),
    ]);
    row
}

fn against(stage: &StageReport, judgement: &Judgement, text: &mut String) {
    let what = match judgement.reference {
        Reference::Configured => "Against the configured shares",
        Reference::Specification => "Against the specification",
    };
    let margins: Vec<String> = judgement
        .margins
        .iter()
        .map(|verdict| {
            let needed = match (verdict.result, verdict.requests_needed) {
                (Outcome::Inconclusive, Some(needed)) => {
                    format!(" (needs about {})", number(needed))
                }
                _ => String::new(),
            };
            format!("{} at ±{}{needed}", verdict.result.name(), verdict.margin)
        })
        .collect();
    let _ = writeln!(text, "{what}: {}", margins.join(", "));
    let mut figures = Vec::new();
    if let Some(p) = judgement.exact_p.iter().copied().reduce(f64::min) {
        figures.push(format!("exact p = {p:.3}"));
    }
    if let Some(test) = judgement.g_test.filter(|_| stage.backends.len() > 2) {
        figures.push(format!(
            "G = {:.2} (p = {:.3})",
            test.statistic, test.p_value
        ));
    }
    if let Some(distance) = judgement.distance {
        figures.push(format!(
            "distance {:.4}, a perfect splitter's {:.4}",
            distance.distance, distance.expected
        ));
    }
    if judgement.impossible {
        figures.push("a backend that is due nothing answered".to_owned());
    }
    if !figures.is_empty() {
        let _ = writeln!(text, "  {}", figures.join("; "));
    }
}

fn window_rows(stage: &StageReport, all: bool, text: &mut String) {
    if !all && stage.windows.len() <= 1 {
        return;
    }
    let take = if all { stage.windows.len() } else { SHOWN };
    let row = |window: &WindowReport| {
        let shares = window.shares.iter().zip(&window.intervals);
        let mut cells = vec![clock(window.from), number(window.responses.iter().sum())];
        cells.extend(
            shares.map(|(share, range)| format!("{} ({})", percent(*share), interval(range))),
        );
        cells.resize(stage.backends.len() + 2, dash());
        cells.push(window.distance.map_or_else(dash, |distance| {
            format!("{:.3} / {:.3}", distance.distance, distance.expected)
        }));
        cells
    };
    let names = stage
        .backends
        .iter()
        .map(|backend| backend.backend.service.name.as_str());
    let mut header = vec!["window", "responses"];
    header.extend(names);
    header.push("distance / expected");
    let rows = stage.windows.iter().take(take).map(row).collect();
    let _ = write!(text, "{}", drawn(&header, &[1], rows));
    if stage.windows.len() > take {
        let _ = writeln!(
            text,
            "… {take} of {} windows shown (--windows shows all)",
            stage.windows.len()
        );
    }
}

fn apart(rule: &RuleReport, text: &mut String) {
    if !rule.mirrored.is_empty() {
        let rows = rule.mirrored.iter().map(|mirror| {
            vec![
                mirror.backend.to_string(),
                number(mirror.responses),
                percent(mirror.spec_share),
                percent(mirror.configured_share),
            ]
        });
        let header = ["mirror", "responses", "of requests", "configured"];
        let _ = writeln!(
            text,
            "Mirrored, counted apart\n{}",
            drawn(&header, &[1, 2, 3], rows.collect())
        );
    }
    if !rule.apart.is_empty() {
        let rows = rule.apart.iter().map(|apart| {
            let who = match apart.asker {
                "node" => "its node (kubelet's probes)",
                "other" => "others than the Gateway",
                who => who,
            };
            vec![
                who.to_owned(),
                apart.backend.to_string(),
                number(apart.responses),
            ]
        });
        let header = ["asked by", "backend", "responses"];
        let _ = writeln!(
            text,
            "Not of the Gateway, counted apart\n{}",
            drawn(&header, &[2], rows.collect())
        );
    }
}

fn latency(rule: &RuleReport, text: &mut String) {
    if rule.latency.is_empty() {
        return;
    }
    let rows = rule.latency.iter().map(|(backend, latency)| {
        vec![
            backend.clone(),
            number(latency.responses),
            micros(latency.p50_us),
            micros(latency.p90_us),
            micros(latency.p99_us),
            format!("± {}", percent(latency.relative_error)),
        ]
    });
    let header = ["latency at", "responses", "p50", "p90", "p99", "error"];
    let _ = write!(text, "{}", drawn(&header, &[1, 2, 3, 4, 5], rows.collect()));
}

fn load(run: &LoadFigures, text: &mut String) {
    let rows = run.backends.iter().map(|seen| {
        vec![
            seen.pod.clone(),
            seen.k6.map_or_else(dash, number),
            number(seen.probe),
        ]
    });
    let header = ["pod", "k6's Hostname", "probe"];
    let _ = writeln!(
        text,
        "Load run {} ({})\n{}",
        run.run,
        run.files.join(", "),
        drawn(&header, &[1, 2], rows.collect())
    );
    if let Some(waiting) = &run.waiting_us {
        let figure = |us: Option<f64>| us.map_or_else(dash, micros);
        let _ = writeln!(
            text,
            "k6 waited {} (p50), {} (p90), {} (p99) for the first byte",
            figure(waiting.p50),
            figure(waiting.p90),
            figure(waiting.p99)
        );
    }
    let closure = match run.account.closure {
        Closure::Closed => "the account closes",
        Closure::WithinBounds => "the account may close, within the bounds of what is not known",
        Closure::Open => "the account does not close",
    };
    let _ = writeln!(text, "{}: {closure}", run.equation());
    for note in &run.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    text.push('\n');
}

/// The last line.
fn summary(report: &SplitReport) -> String {
    let of = |outcome| {
        report
            .rules
            .iter()
            .filter(|rule| rule.result == outcome)
            .count()
    };
    let parts: Vec<String> = [Outcome::Pass, Outcome::Fail, Outcome::Inconclusive]
        .into_iter()
        .filter(|&outcome| of(outcome) > 0)
        .map(|outcome| format!("{} {}", outcome.name(), of(outcome)))
        .collect();
    let responses: u64 = report
        .rules
        .iter()
        .flat_map(|rule| &rule.stages)
        .map(|stage| stage.responses)
        .sum();
    format!(
        "{}: rules {} at ±{}, {} responses",
        report.result.name().to_uppercase(),
        parts.join(", "),
        report.margin,
        number(responses)
    )
}

fn number(amount: u64) -> String {
    count(i64::try_from(amount).unwrap_or(i64::MAX))
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn interval(range: &Interval) -> String {
    format!("{:.2}–{:.2}", range.low * 100.0, range.high * 100.0)
}

fn micros(us: f64) -> String {
    if (1_000.0..100_000.0).contains(&us) {
        format!("{:.2} ms", us / 1e3)
    } else {
        duration(us.round() as i64)
    }
}

fn dash() -> String {
    "–".to_owned()
}
