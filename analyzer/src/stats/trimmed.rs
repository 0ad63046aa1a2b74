//! Means of runs with a fifth cut off at each end: robust where a run in ten goes wrong.

use super::mean::{Comparison, Estimate, Moments, Spread};
use super::order::sorted;

/// The share of runs that is cut off at each end.
pub const TRIMMED_EACH_END: f64 = 0.2;

/// The 20 % trimmed mean with Yuen's interval.
///
/// With g = ⌊n/5⌋ cut off at each end and h = n − 2g left: x̄_t ± t_{h−1} √((n − 1)s²_w/(h(h − 1))),
/// s²_w the variance of the sample with the cut values pulled in to the nearest that is left (Yuen
/// 1974). It estimates the trimmed mean of the population, which is the mean where that is symmetric.
/// `None` with fewer than two runs.
pub fn trimmed_mean(sample: &[f64], confidence: f64) -> Option<Estimate> {
    trimmed_spread(sample)?.estimate(confidence)
}

/// Yuen's test of two trimmed means, first less second.
///
/// Welch's test with h and the winsorised variances above; scipy's `ttest_ind(equal_var=False,
/// trim=0.2)`. `None` with fewer than two runs on either side.
pub fn yuen(first: &[f64], second: &[f64], confidence: f64) -> Option<Comparison> {
    let spread = Spread::between(trimmed_spread(first)?, trimmed_spread(second)?);
    Some(Comparison {
        estimate: spread.estimate(confidence)?,
        p_value: spread.p_value(0.0),
    })
}

fn trimmed_spread(sample: &[f64]) -> Option<Spread> {
    let values = sorted(sample)?;
    let cut = (values.len() as f64 * TRIMMED_EACH_END) as usize;
    let kept = values.len() - 2 * cut;
    let (smallest, largest) = (*values.get(cut)?, *values.get(cut + kept - 1)?);
    let winsorised: Vec<f64> = values
        .iter()
        .map(|value| value.clamp(smallest, largest))
        .collect();
    let (of_all, of_kept) = (
        Moments::of(&winsorised)?,
        Moments::of(&values[cut..cut + kept])?,
    );
    let degrees_of_freedom = of_kept.n - 1.0;
    Some(Spread {
        value: of_kept.mean,
        variance: (of_all.n - 1.0) * of_all.variance / (of_kept.n * degrees_of_freedom),
        degrees_of_freedom,
    })
}
