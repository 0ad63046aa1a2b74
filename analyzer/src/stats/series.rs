//! Within one run: where its warm-up ends, and what its correlated intervals are worth.

use serde::Serialize;

use super::mean::{self, Estimate};
use super::order::sorted;

/// Values in a batch of MSER-5.
const MSER_BATCH: usize = 5;

/// Where a run's warm-up ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WarmUp {
    /// Values to leave out at the start.
    pub dropped: usize,
    /// Whether the best end lies before the middle of the run; else the run had not settled.
    pub settled: bool,
}

/// The end of the warm-up by MSER-5.
///
/// Of batches of five values, so many are left out at the start that Σ(Z_j − Z̄)²/(k − d)² over the
/// rest is least (White 1997; White, Cobb and Spratt 2000), the fewest where it is so twice. Looked for
/// in the first half only, since the criterion falls by chance where few batches are left. `None`
/// with fewer than two batches.
pub fn mser5(series: &[f64]) -> Option<WarmUp> {
    sorted(series)?;
    let batches: Vec<f64> = series
        .chunks_exact(MSER_BATCH)
        .map(|batch| batch.iter().map(|value| value / MSER_BATCH as f64).sum())
        .collect();
    if batches.len() < 2 {
        return None;
    }
    let most = batches.len() / 2;
    // From the end on, Welford's update gives mean and squares of every remainder.
    let (mut mean, mut squares) = (0.0, 0.0);
    let (mut best, mut least) = (0, f64::INFINITY);
    for (place, &value) in batches.iter().enumerate().rev() {
        let kept = (batches.len() - place) as f64;
        let before = value - mean;
        mean += before / kept;
        squares += before * (value - mean);
        let criterion = squares / (kept * kept);
        if place <= most && criterion <= least {
            (best, least) = (place, criterion);
        }
    }
    Some(WarmUp {
        dropped: best * MSER_BATCH,
        settled: best < most,
    })
}

/// The mean of a correlated series with an interval from the means of batches.
///
/// As `mean` of the batches' means (Conway 1963; Law and Kelton, section 9.5.3): batches long beside
/// the correlation are nearly independent. Values that do not fill the batches are left out at the
/// start, where the warm-up is. `None` with fewer than two batches or values than batches.
pub fn batch_means(series: &[f64], batches: usize, confidence: f64) -> Option<Estimate> {
    let size = series.len().checked_div(batches)?;
    if size == 0 {
        return None;
    }
    let means: Vec<f64> = series[series.len() - size * batches..]
        .chunks_exact(size)
        .map(|batch| batch.iter().sum::<f64>() / size as f64)
        .collect();
    mean::mean(&means, confidence)
}

/// How many independent values would say as much about the mean as a correlated series does.
///
/// n/τ with τ = 1 + 2Σρ_k, the autocorrelations summed in pairs as long as the pairs are positive
/// (Geyer, Practical Markov chain Monte Carlo, 1992, initial positive sequence); at most n. Assumes a
/// series that has settled. `None` with fewer than four values or where none differs from another.
pub fn effective_sample_size(series: &[f64]) -> Option<f64> {
    sorted(series)?;
    let n = series.len() as f64;
    let mean = series.iter().map(|value| value / n).sum::<f64>();
    let deviations: Vec<f64> = series.iter().map(|value| value - mean).collect();
    let covariance = |lag: usize| -> f64 {
        let pairs = deviations.iter().zip(&deviations[lag..]);
        pairs.map(|(left, right)| left * right).sum()
    };
    let variance = covariance(0);
    if series.len() < 4 || series.iter().all(|&value| value == series[0]) {
        return None;
    }
    let mut inflation = -1.0;
    for lag in (0..series.len() - 1).step_by(2) {
        let pair = (covariance(lag) + covariance(lag + 1)) / variance;
        if pair.is_nan() {
            return None;
        }
        if pair <= 0.0 {
            break;
        }
        inflation += 2.0 * pair;
    }
    Some(if inflation > 1.0 { n / inflation } else { n })
}
