//! Two cases set against each other by one metric, and the adjustment over all of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::Figures;
use super::{CONFIDENCE, CaseSummary, FEWEST_RUNS, Family, MetricReport, Options};
use crate::stats::holm::holm;
use crate::stats::paired::{Paired, paired};
use crate::stats::permutation::runs_for_level;
use crate::stats::power::runs_needed;

/// Power for which runs are planned.
pub(super) const POWER: f64 = 0.9;

/// Two cases by one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The first case's label.
    pub first: String,
    /// The second's: differences are first less second.
    pub second: String,
    /// Runs with a value, first and second.
    pub n: (usize, usize),
    /// What it amounts to, and no more than the numbers say.
    pub sentence: String,
    /// Why nothing is tested.
    pub refused: Option<Refusal>,
    /// The numbers, of all runs.
    pub figures: Option<Figures>,
    /// The same without flagged runs, where there are such.
    pub without_flagged: Option<Figures>,
    /// Runs that these leave out.
    pub flagged: Vec<String>,
    /// The same within blocks, where both cases ran once in each.
    pub within_blocks: Option<WithinBlocks>,
    /// Runs a case that would show a difference of the margin nine times in ten, by this scatter and
    /// at the family's strictest level; absent where there is no scatter to plan by.
    pub runs_needed: Option<u64>,
}

/// Why nothing is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Fewer than three runs of a case.
    TooFewRuns,
    /// Numbers whose squares have no sum.
    NoMoments,
}

/// Two cases within blocks: each block's own difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WithinBlocks {
    /// Number of blocks.
    pub blocks: usize,
    /// The numbers.
    pub paired: Paired,
    /// The sign test's p-value after Holm, over the family of these tests.
    pub p_holm: f64,
}

/// Two cases' runs.
pub(super) struct Sides<'a> {
    pub first: &'a CaseSummary,
    pub second: &'a CaseSummary,
}

impl Sides<'_> {
    pub(super) fn compare(&self, options: &Options) -> Comparison {
        let (first, second) = (sample(self.first, true), sample(self.second, true));
        let n = (first.len(), second.len());
        let suffices = n.0.min(n.1) >= FEWEST_RUNS;
        let figures = suffices
            .then(|| Figures::of(&first, &second, options))
            .flatten();
        let refused = match (suffices, &figures) {
            (false, _) => Some(Refusal::TooFewRuns),
            (true, None) => Some(Refusal::NoMoments),
            (true, Some(_)) => None,
        };
        let flagged = self.flagged();
        let kept = (sample(self.first, false), sample(self.second, false));
        let is_changed = !flagged.is_empty() && kept.0.len().min(kept.1.len()) >= FEWEST_RUNS;
        let without_flagged = (figures.is_some() && is_changed)
            .then(|| Figures::of(&kept.0, &kept.1, options))
            .flatten();
        Comparison {
            first: self.first.case.clone(),
            second: self.second.case.clone(),
            n,
            sentence: String::new(),
            refused,
            within_blocks: figures.as_ref().and_then(|_| self.within_blocks(options)),
            figures,
            without_flagged,
            flagged,
            runs_needed: None,
        }
    }

    fn flagged(&self) -> Vec<String> {
        let values = self.first.values.iter().chain(&self.second.values);
        let flagged = values.filter(|value| value.flagged);
        flagged.map(|value| value.run.clone()).collect()
    }

    /// `None` unless both cases ran once in each of the same blocks.
    fn within_blocks(&self, options: &Options) -> Option<WithinBlocks> {
        let (first, second) = (by_block(self.first)?, by_block(self.second)?);
        if first.len() < FEWEST_RUNS || !first.keys().eq(second.keys()) {
            return None;
        }
        let (first, second): (Vec<f64>, Vec<f64>) =
            first.into_values().zip(second.into_values()).unzip();
        Some(WithinBlocks {
            blocks: first.len(),
            paired: paired(&first, &second, CONFIDENCE, options.draws, options.seed)?,
            p_holm: 1.0,
        })
    }
}

fn sample(case: &CaseSummary, with_flagged: bool) -> Vec<f64> {
    let values = case.values.iter();
    let values = values.filter(|value| with_flagged || !value.flagged);
    values.map(|value| value.value).collect()
}

fn by_block(case: &CaseSummary) -> Option<BTreeMap<u32, f64>> {
    let blocks = case
        .values
        .iter()
        .map(|value| Some((value.block?, value.value)));
    let blocks: Option<BTreeMap<u32, f64>> = blocks.collect();
    blocks.filter(|blocks| blocks.len() == case.values.len())
}

/// Adjusts the p-values of all metrics and pairs as one family, and plans runs at its strictest
/// level.
///
/// A test all of whose runs have one value cannot reject whatever the labels, and is not counted:
/// that depends on the pooled values alone, so that the level is kept (Tarone 1990).
pub(super) fn adjust(reports: &mut [MetricReport], options: &Options) -> Family {
    let mut comparisons: Vec<&mut Comparison> = reports
        .iter_mut()
        .flat_map(|report| &mut report.comparisons)
        .collect();
    let asked = comparisons.len();
    let tested: Vec<usize> = (0..asked)
        .filter(|&place| can_reject(comparisons[place]))
        .collect();
    let p_of = |figures: &Figures| figures.permutation.p_value;
    let p_values: Vec<f64> = tested
        .iter()
        .filter_map(|&place| comparisons[place].figures.as_ref().map(p_of))
        .collect();
    let adjusted = holm(&p_values).unwrap_or_default();
    for (rank, (&place, p_holm)) in tested.iter().zip(adjusted).enumerate() {
        let comparison = &mut *comparisons[place];
        if let Some(figures) = &mut comparison.figures {
            figures.p_holm = Some(p_holm);
        }
        if let Some(figures) = &mut comparison.without_flagged {
            let mut others = p_values.clone();
            others[rank] = figures.permutation.p_value;
            figures.p_holm = holm(&others).map(|adjusted| adjusted[rank]);
        }
    }
    adjust_within_blocks(&mut comparisons);
    let level = options.alpha / asked.max(1) as f64;
    for report in reports.iter_mut() {
        plan(report, level, options);
    }
    Family {
        tests: tested.len(),
        what: format!(
            "permutation tests of {} metrics and their pairs of cases that have at least {FEWEST_RUNS} runs a case and any two runs that differ",
            reports.len()
        ),
    }
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
