//! Order statistics: samples sorted, their median and quantiles. Refuses samples that hold NaN or
//! an infinity, which have no order or no mean.

use super::is_probability;

/// The quantile of a sample, linear between order statistics (type 7 of Hyndman and Fan 1996).
///
/// `None` where the sample is empty or not finite, the probability is none, or the sample spans more
/// than a number holds.
pub fn sample_quantile(sample: &[f64], probability: f64) -> Option<f64> {
    let values = sorted(sample)?;
    let value = is_probability(probability).then(|| quantile(&values, probability));
    value.filter(|value| value.is_finite())
}

/// The sample in rising order; `None` where it is empty or holds what is not finite.
pub(super) fn sorted(sample: &[f64]) -> Option<Vec<f64>> {
    if sample.is_empty() || !sample.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut values = sample.to_vec();
    values.sort_by(f64::total_cmp);
    Some(values)
}

/// The median of a sorted sample that is not empty.
pub(super) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// The quantile of a sorted sample that is not empty, linear between order statistics (type 7 of
/// Hyndman and Fan 1996).
pub(super) fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let place = probability.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

/// Half of the sum, without overflow.
pub(super) fn midpoint(left: f64, right: f64) -> f64 {
    0.5 * left + 0.5 * right
}
