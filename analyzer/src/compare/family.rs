//! Families: which tests' p-values are adjusted together, what these runs could have shown at best,
//! and how many would do.
//!
//! The smallest p-value that a test could have given depends on the pooled runs alone and not on
//! which case each belongs to. Holm's adjustment grows with each of its p-values, so that the
//! adjusted smallest ones are what no labelling of these runs could have gone below.

use std::collections::BTreeSet;

use serde::Serialize;

use super::contrast::{Comparison, WithinBlocks};
use super::figures::Figures;
use super::{FEWEST_RUNS, MetricChoice, MetricReport, Options};
use crate::measurements::{Metric, Unit};
use crate::stats::holm::holm;
use crate::stats::permutation::runs_for_level;
use crate::stats::power::runs_needed;

/// Power for which runs are planned.
const POWER: f64 = 0.9;

/// The metrics that a campaign's plan named before its first run: what it was made to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The campaign.
    pub campaign: String,
    /// Its primary metrics.
    pub primary: Vec<MetricChoice>,
}

/// What a metric's tests are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nothing was named beforehand: all tests are one family.
    All,
    /// The plan named the metric before the first run.
    Primary,
    /// It named others.
    Secondary,
}

/// The tests whose p-values are adjusted together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Family {
    /// What its tests are for.
    pub role: Role,
    /// How many.
    pub tests: usize,
    /// Which, in words.
    pub what: String,
    /// The smallest p-value after Holm that any of its tests could have given with these runs;
    /// absent without a test.
    pub least_p_holm: Option<f64>,
    /// Runs of every case with which each of its tests could show a difference.
    pub runs_needed: Option<u64>,
}

impl Role {
    /// What a metric's tests are for in a campaign. Whoever asks for metrics of their own has asked
    /// for one family.
    pub(super) fn of(metric: &Metric, campaign: &str, options: &Options) -> Self {
        let declared = options.declared_in(campaign);
        match (options.metrics.is_empty(), declared) {
            (true, [_, ..]) if declared.iter().any(|choice| choice.takes(metric)) => Self::Primary,
            (true, [_, ..]) => Self::Secondary,
            _ => Self::All,
        }
    }
}

impl Family {
    /// Its tests in words: `8 primary tests`.
    pub fn counted(&self) -> String {
        let kind = match self.role {
            Role::All => "",
            Role::Primary => "primary ",
            Role::Secondary => "secondary ",
        };
        match self.tests {
            1 => format!("1 {kind}test"),
            tests => format!("{tests} {kind}tests"),
        }
    }

    /// Whether no test of it could have shown a difference, whatever the runs had measured.
    pub fn shows_nothing(&self, alpha: f64) -> bool {
        self.least_p_holm.is_some_and(|least| least > alpha)
    }
}

/// Adjusts the p-values of each family and plans runs at its strictest level.
pub(super) fn adjust(reports: &mut [MetricReport], options: &Options) -> Vec<Family> {
    let roles: BTreeSet<Role> = reports.iter().map(|report| report.role).collect();
    let families = roles.into_iter().map(|role| {
        let reports = reports.iter_mut();
        let mut reports: Vec<&mut MetricReport> =
            reports.filter(|report| report.role == role).collect();
        let metrics = reports.len();
        let mut comparisons: Vec<&mut Comparison> = reports
            .iter_mut()
            .flat_map(|report| &mut report.comparisons)
            .collect();
        let asked = comparisons.len();
        let (tests, least_p_holm) = adjust_permutations(&mut comparisons);
        adjust_within_blocks(&mut comparisons);
        let level = options.alpha / asked.max(1) as f64;
        for report in reports {
            plan(report, level, options);
        }
        Family {
            role,
            tests,
            what: described(metrics),
            least_p_holm,
            runs_needed: runs_for_level(options.alpha / tests.max(1) as f64)
                .map(|runs| runs.max(FEWEST_RUNS as u64)),
        }
    });
    families.collect()
}

fn described(metrics: usize) -> String {
    let metrics = match metrics {
        1 => "1 metric".to_owned(),
        _ => format!("{metrics} metrics"),
    };
    format!(
        "permutation tests of {metrics} and their pairs of cases that have at least {FEWEST_RUNS} runs a case and any two runs that differ"
    )
}

/// Adjusts the p-values, and the smallest that there could have been; returns how many tests there
/// are, and the smallest of the latter.
///
/// A test all of whose runs have one value cannot reject whatever the labels, and is not counted:
/// that depends on the pooled values alone, so that the level is kept (Tarone 1990).
fn adjust_permutations(comparisons: &mut [&mut Comparison]) -> (usize, Option<f64>) {
    let tested: Vec<usize> = (0..comparisons.len())
        .filter(|&place| can_reject(comparisons[place]))
        .collect();
    let each = |value: fn(&Figures) -> f64| -> Vec<f64> {
        let figures = tested.iter();
        let figures = figures.filter_map(|&place| comparisons[place].figures.as_ref());
        figures.map(value).collect()
    };
    let p_values = each(|figures| figures.permutation.p_value);
    let least = holm(&each(|figures| figures.permutation.least_p_value)).unwrap_or_default();
    let adjusted = holm(&p_values).unwrap_or_default();
    let both = adjusted.into_iter().zip(&least);
    for (rank, (&place, (p_holm, least))) in tested.iter().zip(both).enumerate() {
        let comparison = &mut *comparisons[place];
        if let Some(figures) = &mut comparison.figures {
            figures.p_holm = Some(p_holm);
            figures.least_p_holm = Some(*least);
        }
        if let Some(figures) = &mut comparison.without_flagged {
            let mut others = p_values.clone();
            others[rank] = figures.permutation.p_value;
            figures.p_holm = holm(&others).map(|adjusted| adjusted[rank]);
        }
    }
    (tested.len(), least.into_iter().reduce(f64::min))
}

fn can_reject(comparison: &Comparison) -> bool {
    let figures = comparison.figures.as_ref();
    figures.is_some_and(|figures| {
        let difference = &figures.difference.estimate;
        difference.standard_error > 0.0 || difference.value != 0.0
    })
}

fn adjust_within_blocks(comparisons: &mut [&mut Comparison]) {
    let blocks = comparisons.iter_mut();
    let mut blocks: Vec<&mut WithinBlocks> = blocks
        .filter_map(|comparison| comparison.within_blocks.as_mut())
        .collect();
    let p_values: Vec<f64> = blocks
        .iter()
        .map(|one| one.paired.sign_flip.p_value)
        .collect();
    for (one, p_holm) in blocks.iter_mut().zip(holm(&p_values).unwrap_or_default()) {
        one.p_holm = p_holm;
    }
}

/// How many runs a case would do, by the two cases' own scatter.
fn plan(report: &mut MetricReport, level: f64, options: &Options) {
    let spread = |label: &str| {
        let case = report.cases.iter().find(|case| case.case == label)?;
        let mean = case.mean?;
        Some((mean.value, mean.standard_error * (case.n as f64).sqrt()))
    };
    for comparison in &mut report.comparisons {
        let sides = spread(&comparison.first).zip(spread(&comparison.second));
        let effect = sides.and_then(|((mean, deviation), (base, base_deviation))| {
            let rms = |one: f64, other: f64| ((one * one + other * other) / 2.0).sqrt();
            let effect = if mean > 0.0 && base > 0.0 {
                options.margin.ln_1p() / rms(deviation / mean, base_deviation / base)
            } else {
                options.margin * base.abs() / rms(deviation, base_deviation)
            };
            (effect.is_finite() && effect > 0.0).then_some(effect)
        });
        let by_scatter = effect.and_then(|effect| runs_needed(effect, level, POWER));
        let by_splits = runs_for_level(level);
        comparison.runs_needed = by_scatter
            .zip(by_splits)
            .map(|(scatter, splits)| scatter.max(splits).max(FEWEST_RUNS as u64));
    }
}

/// What a campaign's plan named and no run measured, and families that can show nothing.
pub(super) fn notes(
    campaign: &str,
    reports: &[MetricReport],
    families: &[Family],
    options: &Options,
) -> Vec<String> {
    let mut notes = Vec::new();
    if options.metrics.is_empty() {
        for choice in options.declared_in(campaign) {
            if !reports.iter().any(|report| choice.takes(&report.metric)) {
                notes.push(format!(
                    "{choice} was declared primary and no run measured it"
                ));
            }
        }
    }
    for family in families {
        let own = reports.iter().filter(|report| report.role == family.role);
        let runs = own.flat_map(|report| &report.comparisons);
        let runs = runs.filter(|comparison| comparison.figures.is_some());
        let fewest = runs.map(|one| one.n.0.min(one.n.1)).min().unwrap_or(0);
        let (Some(least), Some(needed)) = (family.least_p_holm, family.runs_needed) else {
            continue;
        };
        if family.shows_nothing(options.alpha) && (fewest as u64) < needed {
            notes.push(format!(
                "{fewest} runs a case allow too few splits for any difference to be shown at {} in a family of {}: the smallest p-value that they can give is {least:.2} after Holm. To have a chance, run each case {needed} times, or narrow the family with --metric and --case",
                options.alpha,
                family.counted()
            ));
        }
    }
    notes
}

/// The unit of a metric's values where they all have one.
pub(super) fn common_unit(mut units: impl Iterator<Item = Unit>) -> Option<Unit> {
    let first = units.next()?;
    units.all(|unit| unit == first).then_some(first)
}
