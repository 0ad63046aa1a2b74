//! Runs that lie far from the rest: flagged, never dropped.

use serde::Serialize;

use super::order::{median, sorted};

/// A modified z-score beyond which a run is flagged.
pub const FLAGGED_BEYOND: f64 = 3.5;

/// How far one run lies from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RunScore {
    /// The modified z-score.
    pub score: f64,
    /// Whether it is beyond `FLAGGED_BEYOND` either way.
    pub outlier: bool,
}

/// The modified z-score of each run, in the order given.
///
/// 0.6745 (x − median)/MAD, flagged beyond 3.5 either way (Iglewicz and Hoaglin 1993). Where half of
/// the runs or more are equal the MAD is 0; then (x − median)/(1.253314 × mean absolute deviation)
/// stands in, and where that is 0 too nothing is flagged. `None` without a run.
pub fn modified_z_scores(sample: &[f64]) -> Option<Vec<RunScore>> {
    const NORMAL_QUARTILE: f64 = 0.6745;
    const ROOT_OF_HALF_PI: f64 = 1.253_314;
    let middle = median(&sorted(sample)?);
    let deviations: Vec<f64> = sample.iter().map(|value| (value - middle).abs()).collect();
    let median_deviation = median(&sorted(&deviations)?);
    let mean_deviation = deviations
        .iter()
        .map(|deviation| deviation / deviations.len() as f64)
        .sum::<f64>();
    let unit = if median_deviation > 0.0 {
        median_deviation / NORMAL_QUARTILE
    } else {
        ROOT_OF_HALF_PI * mean_deviation
    };
    let score = |&value: &f64| {
        let score = if unit > 0.0 {
            (value - middle) / unit
        } else {
            0.0
        };
        RunScore {
            score,
            outlier: score.abs() > FLAGGED_BEYOND,
        }
    };
    Some(sample.iter().map(score).collect())
}
