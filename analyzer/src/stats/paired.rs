//! Two cases compared within blocks: each block's own difference is one observation.
//!
//! What a block shares, such as the machine's mood of that hour, drops out of the difference. It
//! costs degrees of freedom and, in exact tests, splits: it gains where runs of one block are alike.

use super::is_level;
use super::mean::{self, Comparison, Estimate, Moments};
use super::permutation::{PermutationTest, sign_flip_test};
use serde::Serialize;

/// A comparison within pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Mean of the differences, first less second, with the t test of its being 0.
    pub difference: Comparison,
    /// Geometric mean of first ÷ second with its interval; absent where a value is not positive.
    pub ratio: Option<Estimate>,
    /// The exact test by signs.
    pub sign_flip: PermutationTest,
    /// Pearson's correlation of the pairs; absent where one side never varies.
    pub correlation: Option<f64>,
}

/// Compares pairs, first less second.
///
/// d̄ ± t_{n−1} s_d/√n (Student 1908), the same of the logarithms' differences, and
/// `sign_flip_test`. `None` with fewer than two pairs or where the lengths differ.
pub fn paired(
    first: &[f64],
    second: &[f64],
    confidence: f64,
    draws: u64,
    seed: u64,
) -> Option<Paired> {
    if first.len() != second.len() || !is_level(confidence) {
        return None;
    }
    let pairs = || first.iter().zip(second);
    let differences: Vec<f64> = pairs().map(|(one, other)| one - other).collect();
    let is_positive = pairs().all(|(one, other)| *one > 0.0 && *other > 0.0);
    let logarithms: Vec<f64> = pairs().map(|(one, other)| one.ln() - other.ln()).collect();
    let ratio = is_positive.then(|| mean::mean(&logarithms, confidence));
    Some(Paired {
        difference: mean::against_zero(&differences, confidence)?,
        ratio: ratio.flatten().and_then(mean::exponential_of),
        sign_flip: sign_flip_test(&differences, draws, seed)?,
        correlation: correlation(first, second),
    })
}

/// Pearson's correlation of pairs; `None` with fewer than two, where the lengths differ, or where one
/// side never varies.
pub fn correlation(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.len() != second.len() {
        return None;
    }
    let (one, other) = (Moments::of(first)?, Moments::of(second)?);
    let deviations = (one.variance.sqrt(), other.variance.sqrt());
    if !(deviations.0 > 0.0 && deviations.1 > 0.0) {
        return None;
    }
    let products = first.iter().zip(second).map(|(left, right)| {
        (left - one.mean) / deviations.0 * ((right - other.mean) / deviations.1)
    });
    let r = products.sum::<f64>() / (one.n - 1.0);
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}
