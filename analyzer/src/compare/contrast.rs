//! Two cases set against each other by one metric.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::Figures;
use super::{CONFIDENCE, CaseSummary, FEWEST_RUNS, Options};
use crate::stats::paired::{Paired, paired};

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
    /// Runs that did not all count the same: cycles of processors and reference cycles.
    UnlikeUnits,
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
        let is_alike = self.first.unit == self.second.unit && self.first.unit.is_some();
        let figures = (suffices && is_alike)
            .then(|| Figures::of(&first, &second, options))
            .flatten();
        let refused = match (suffices, is_alike, &figures) {
            (false, ..) => Some(Refusal::TooFewRuns),
            (true, false, _) => Some(Refusal::UnlikeUnits),
            (true, true, None) => Some(Refusal::NoMoments),
            (true, true, Some(_)) => None,
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
