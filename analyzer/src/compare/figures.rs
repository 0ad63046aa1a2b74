//! The statistics of one case's runs, and of two cases' runs.

use serde::Serialize;

use super::family::common_unit;
use super::{AbsentValue, CONFIDENCE, Case, CaseSummary, Options, RunValue};
use crate::measurements::{Metric, RunMeasurements};
use crate::stats::effect::hedges_g;
use crate::stats::mean::{
    Comparison, EquivalenceOfMeans, mean, ratio_of_means, tost_means, tost_ratio, welch,
};
use crate::stats::outlier::modified_z_scores;
use crate::stats::permutation::{PermutationTest, permutation_test};
use crate::stats::rank::{
    Location, RankTest, cliffs_delta, hodges_lehmann, hodges_lehmann_shift, mann_whitney,
};
use crate::stats::trimmed::{trimmed_mean, yuen};

/// What two cases' runs say of their difference, first less second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Difference of means with Welch's interval, in the metric's unit.
    pub difference: Comparison,
    /// Ratio of means with its interval; absent where a mean is not positive.
    pub ratio: Option<Comparison>,
    /// Difference of 20 % trimmed means, by Yuen.
    pub trimmed: Option<Comparison>,
    /// Hodges–Lehmann shift with its exact interval.
    pub shift: Option<Location>,
    /// The permutation test: the one that is adjusted.
    pub permutation: PermutationTest,
    /// Its p-value after Holm; absent where the test is not in the family.
    pub p_holm: Option<f64>,
    /// The smallest that it could have been with these runs, by the family's smallest.
    pub least_p_holm: Option<f64>,
    /// The exact Mann–Whitney test; absent with too many runs.
    pub mann_whitney: Option<RankTest>,
    /// Difference in pooled standard deviations; absent without scatter.
    pub hedges_g: Option<f64>,
    /// Cliff's delta.
    pub cliffs_delta: f64,
    /// Two one-sided tests at the margin; absent where there is nothing to take a part of.
    pub equivalence: Option<EquivalenceOfMeans>,
    /// Whether these are of the ratio (else of the difference against a part of the second mean).
    pub equivalence_of_ratio: bool,
}

impl Figures {
    /// `None` where a side has too few runs for an interval, or numbers too large to sum.
    pub(super) fn of(first: &[f64], second: &[f64], options: &Options) -> Option<Self> {
        let equivalence_of_ratio = ratio_of_means(first, second, CONFIDENCE).is_some();
        let equivalence = match equivalence_of_ratio {
            true => tost_ratio(first, second, options.margin, options.alpha),
            false => {
                let of = mean(second, CONFIDENCE)?.value.abs() * options.margin;
                tost_means(first, second, of, options.alpha)
            }
        };
        Some(Self {
            difference: welch(first, second, CONFIDENCE)?,
            ratio: ratio_of_means(first, second, CONFIDENCE),
            trimmed: yuen(first, second, CONFIDENCE),
            shift: hodges_lehmann_shift(first, second, CONFIDENCE),
            permutation: permutation_test(first, second, options.draws, options.seed)?,
            p_holm: None,
            least_p_holm: None,
            mann_whitney: mann_whitney(first, second),
            hedges_g: hedges_g(first, second),
            cliffs_delta: cliffs_delta(first, second)?,
            equivalence,
            equivalence_of_ratio,
        })
    }
}

/// One case's runs by one metric.
pub(super) fn summary(case: &Case, metric: &Metric, runs: &[&RunMeasurements]) -> CaseSummary {
    let with_value = runs
        .iter()
        .filter_map(|run| Some((*run, run.value(metric)?)));
    let with_value: Vec<(&RunMeasurements, f64)> = with_value.collect();
    let sample: Vec<f64> = with_value.iter().map(|(_, value)| *value).collect();
    let scores = modified_z_scores(&sample).unwrap_or_default();
    let values: Vec<RunValue> = with_value
        .iter()
        .zip(&scores)
        .map(|((run, value), score)| RunValue {
            run: run.run.clone(),
            block: run.block,
            value: *value,
            score: score.score,
            flagged: score.outlier,
        })
        .collect();
    let absent = runs.iter().filter(|run| run.value(metric).is_none());
    let absent = absent.map(|run| AbsentValue {
        run: run.run.clone(),
        because: run
            .measured
            .get(metric)
            .and_then(|measured| measured.absent_because.clone())
            .unwrap_or_else(|| "no file or table of the run tells it".to_owned()),
    });
    let kept: Vec<f64> = values
        .iter()
        .filter(|value| !value.flagged)
        .map(|value| value.value)
        .collect();
    let is_flagged = kept.len() < values.len();
    let units = with_value.iter().filter_map(|(run, _)| {
        let measured = run.measured.get(metric)?;
        Some(measured.unit)
    });
    let unit = common_unit(units);
    // Values of several units have no mean.
    let sample = match unit {
        Some(_) => sample,
        None => Vec::new(),
    };
    CaseSummary {
        case: case.label.clone(),
        unit,
        n: values.len(),
        mean: mean(&sample, CONFIDENCE),
        trimmed: trimmed_mean(&sample, CONFIDENCE),
        hodges_lehmann: hodges_lehmann(&sample, CONFIDENCE),
        mean_without_flagged: (is_flagged && unit.is_some())
            .then(|| mean(&kept, CONFIDENCE))
            .flatten(),
        absent: absent.collect(),
        values,
    }
}
