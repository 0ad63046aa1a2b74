//! Cases compared, as tables that fit a terminal of 100 columns, with a sentence for each pair.

use std::fmt::Write as _;

use super::table::table;
use crate::compare::{
    CampaignReport, CaseSummary, CompareReport, Comparison, Family, Figures, MetricReport, Role,
};
use crate::figures::{Scaled, cell, column_scale, decimals};
use crate::measurements::digits;
use crate::stats::Interval;
use crate::stats::proportion::Verdict;

/// Failed runs listed before the rest is only counted.
const SHOWN: usize = 20;

/// Renders a report.
pub fn render(report: &CompareReport) -> String {
    let mut text = String::new();
    for campaign in &report.campaigns {
        self::campaign(campaign, &mut text);
    }
    if !report.failed_runs.is_empty() {
        let _ = writeln!(text, "Failed runs, used by no statistic");
        for run in report.failed_runs.iter().take(SHOWN) {
            let _ = writeln!(
                text,
                "  {} ({}, repetition {}, attempt {}): {}",
                run.run, run.case, run.repetition, run.attempt, run.because
            );
        }
        if report.failed_runs.len() > SHOWN {
            let _ = writeln!(text, "  … and {} more", report.failed_runs.len() - SHOWN);
        }
        text.push('\n');
    }
    for note in &report.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    text
}

fn campaign(campaign: &CampaignReport, text: &mut String) {
    let name = match campaign.campaign.as_str() {
        "" => "Runs outside any campaign".to_owned(),
        name => format!("Campaign {name}"),
    };
    let cases = campaign
        .cases
        .iter()
        .map(|case| format!("{} ({})", case.label, counted(case.runs, "run")));
    let _ = writeln!(text, "{name}: {}", cases.collect::<Vec<_>>().join(", "));
    let _ = writeln!(
        text,
        "p-values are those of permutation tests, adjusted by Holm over {}; intervals are of 95 % each, not adjusted\n",
        families(&campaign.families)
    );
    for metric in &campaign.metrics {
        self::metric(metric, campaign.margin, text);
    }
    for note in &campaign.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    text.push('\n');
}

/// Over which tests p-values are adjusted, each family by itself.
pub(super) fn families(families: &[Family]) -> String {
    let tested = families.iter().filter(|family| family.tests > 0);
    let counted: Vec<String> = tested.map(Family::counted).collect();
    match counted.is_empty() {
        true => "no test".to_owned(),
        false => counted.join(" and, apart from them, over "),
    }
}

fn metric(report: &MetricReport, margin: f64, text: &mut String) {
    let scale = Scale::of(report);
    let rows = report.cases.iter().map(|case| scale.case_row(case));
    let header = [
        "case",
        "n",
        "mean",
        "95 % interval",
        "trimmed 20 %",
        "Hodges–Lehmann",
        "flagged",
    ];
    let role = match report.role {
        Role::All => "",
        Role::Primary => ", declared primary",
        Role::Secondary => ", secondary",
    };
    let unit = match scale.scaled.symbol.as_str() {
        "" => String::new(),
        symbol => format!(", in {symbol}"),
    };
    let _ = writeln!(text, "{} ({}{unit}{role})", report.metric, report.words);
    let _ = write!(text, "{}", table(&header, &[1, 2, 3, 4, 5], rows.collect()));
    for case in &report.cases {
        absent(case, text);
    }
    let with_figures = report
        .comparisons
        .iter()
        .filter_map(|comparison| Some((comparison, comparison.figures.as_ref()?)));
    let rows: Vec<_> = with_figures
        .map(|(comparison, figures)| scale.pair_row(comparison, figures))
        .collect();
    if !rows.is_empty() {
        let equivalence = format!("within ±{} %", digits(100.0 * margin));
        let header = [
            "pair",
            "difference",
            "ratio",
            "p",
            "p Holm",
            "g",
            "δ",
            equivalence.as_str(),
            "in blocks",
        ];
        let _ = write!(text, "\n{}", table(&header, &[1, 2, 3, 4, 5, 6], rows));
    }
    for comparison in &report.comparisons {
        let _ = writeln!(text, "{}", comparison.sentence);
    }
    text.push('\n');
}

/// How the numbers of a metric are written: one multiple of its unit, and as many digits.
struct Scale {
    scaled: Scaled,
    decimals: usize,
}

impl Scale {
    fn of(report: &MetricReport) -> Self {
        let values = report.cases.iter().flat_map(|case| &case.values);
        let values: Vec<f64> = values.map(|run| run.value).collect();
        let (scaled, _) = column_scale(report.unit.into(), &values);
        let means = report.cases.iter().filter_map(|case| case.mean);
        let means: Vec<f64> = means.map(|mean| mean.value).collect();
        let decimals = decimals(&scaled, if means.is_empty() { &values } else { &means });
        Self { scaled, decimals }
    }

    fn amount(&self, value: f64) -> String {
        cell(value, &self.scaled, self.decimals)
    }

    fn range(&self, interval: &Interval) -> String {
        format!(
            "{} to {}",
            self.amount(interval.low),
            self.amount(interval.high)
        )
    }

    fn case_row(&self, case: &CaseSummary) -> Vec<String> {
        let value = |value: Option<f64>| value.map_or_else(dash, |value| self.amount(value));
        // Below two runs there is no interval, but the run's value is worth a line.
        let alone = case.values.first().map(|run| run.value);
        let mean = case.mean.map(|mean| mean.value).or(alone);
        let flagged = case.values.iter().filter(|run| run.flagged);
        let flagged: Vec<&str> = flagged.map(|run| run.run.as_str()).collect();
        let flagged = match (case.mean_without_flagged, flagged.is_empty()) {
            (_, true) => dash(),
            (Some(mean), _) => format!(
                "{}: without {}",
                flagged.join(", "),
                self.amount(mean.value)
            ),
            (None, _) => flagged.join(", "),
        };
        vec![
            case.case.clone(),
            case.n.to_string(),
            value(mean),
            case.mean
                .map_or_else(dash, |mean| self.range(&mean.interval)),
            value(case.trimmed.map(|trimmed| trimmed.value)),
            value(case.hodges_lehmann.map(|location| location.value)),
            flagged,
        ]
    }

    fn pair_row(&self, comparison: &Comparison, figures: &Figures) -> Vec<String> {
        let ratio = figures.ratio.map_or_else(dash, |ratio| {
            let interval = ratio.estimate.interval;
            format!(
                "{:.3} ({:.3}–{:.3})",
                ratio.estimate.value, interval.low, interval.high
            )
        });
        let equivalence = match figures.equivalence.map(|one| one.verdict) {
            None => "–",
            Some(Verdict::Equivalent) => "yes",
            Some(Verdict::Different) => "no",
            Some(Verdict::Inconclusive) => "not shown",
        };
        let blocks = comparison
            .within_blocks
            .as_ref()
            .map_or_else(dash, |blocks| {
                let of = blocks.paired.difference.estimate;
                format!("{} (p {})", self.range(&of.interval), p(blocks.p_holm))
            });
        let difference = figures.difference.estimate;
        vec![
            format!("{} – {}", comparison.first, comparison.second),
            format!(
                "{} ({})",
                self.amount(difference.value),
                self.range(&difference.interval)
            ),
            ratio,
            p(figures.permutation.p_value),
            figures.p_holm.map_or_else(dash, p),
            figures.hedges_g.map_or_else(dash, |g| format!("{g:.2}")),
            format!("{:.2}", figures.cliffs_delta),
            equivalence.to_owned(),
            blocks,
        ]
    }
}

fn absent(case: &CaseSummary, text: &mut String) {
    let Some(first) = case.absent.first() else {
        return;
    };
    let _ = writeln!(
        text,
        "{}: {} without a value ({}: {})",
        case.case,
        counted(case.absent.len(), "run"),
        first.run,
        first.because
    );
}

fn p(p: f64) -> String {
    match p {
        p if p < 0.001 => "<0.001".to_owned(),
        p => format!("{p:.3}"),
    }
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn dash() -> String {
    "–".to_owned()
}
