//! Several shares at once: the G-test, simultaneous intervals, and an exact test for each share.
//!
//! Assumption throughout: the requests are independent and each goes to backend i with the same
//! probability p_i.

use serde::Serialize;

use super::distribution::{MOST_TRIALS, chi_square_tails};
use super::holm::holm;
use super::proportion::{exact_binomial, wilson};
use super::{Interval, is_level};

/// A test of counts against expected shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GoodnessOfFit {
    /// G = 2 Σ O ln(O/E); infinite where the counts are impossible.
    pub statistic: f64,
    /// Backends with a share above 0, less one.
    pub degrees_of_freedom: u64,
    /// Probability of so large a statistic if the shares hold.
    pub p_value: f64,
    /// A backend whose share is 0 got something: the shares do not hold, whatever the statistic.
    pub impossible: bool,
    /// The smallest expected count; below 5 the chi-square approximation is rough.
    pub smallest_expected: f64,
}

/// One share's exact test, alone and among the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ShareTest {
    /// Two-sided exact binomial p-value.
    pub p_value: f64,
    /// The same, adjusted by Holm for the number of backends.
    pub p_adjusted: f64,
}

/// The likelihood-ratio test of counts against shares.
///
/// G = 2 Σ O_i ln(O_i/E_i), E_i = n p_i, chi-square with k − 1 degrees of freedom (Wilks 1938; Sokal
/// and Rohlf, Biometry). Shares are divided by their sum, so weights do as well. A backend with share
/// 0 that got nothing is left out; one that got something makes the counts impossible, p = 0. With
/// one backend left there is nothing to test, p = 1. `None` without a request, where the lengths
/// differ, or where the shares are negative, not finite or sum to 0.
pub fn g_test(observed: &[u64], shares: &[f64]) -> Option<GoodnessOfFit> {
    let total = total_of(observed)?;
    let shares = normalised(shares)?;
    if total == 0 || observed.len() != shares.len() {
        return None;
    }
    let (mut sum, mut kept, mut impossible) = (0.0, 0, false);
    let mut smallest_expected = f64::INFINITY;
    for (&count, &share) in observed.iter().zip(&shares) {
        if share == 0.0 {
            impossible |= count > 0;
            continue;
        }
        kept += 1;
        let expected = share * total as f64;
        smallest_expected = smallest_expected.min(expected);
        sum += deviance_term(count as f64, expected);
    }
    let degrees_of_freedom = kept - 1;
    // With a single backend, and where the counts are as expected, the sum is rounding only.
    let statistic = match (impossible, degrees_of_freedom) {
        (true, _) => f64::INFINITY,
        (false, 0) => 0.0,
        (false, _) => (2.0 * sum).max(0.0),
    };
    let p_value = if impossible {
        0.0
    } else {
        chi_square_tails(statistic, degrees_of_freedom).upper
    };
    Some(GoodnessOfFit {
        statistic,
        degrees_of_freedom,
        p_value,
        impossible,
        smallest_expected,
    })
}

/// Simultaneous intervals for all shares: each holds its share, all at once, with the confidence.
///
/// Goodman, On simultaneous confidence intervals for multinomial proportions, 1965: the score
/// interval of each share at the upper (1 − confidence)/k point of chi-square with one degree of
/// freedom, which is Wilson's interval at confidence 1 − (1 − confidence)/k. `None` without a request
/// or where the level is none.
pub fn goodman(observed: &[u64], confidence: f64) -> Option<Vec<Interval>> {
    let total = total_of(observed)?;
    if total == 0 || !is_level(confidence) {
        return None;
    }
    let each = 1.0 - (1.0 - confidence) / observed.len() as f64;
    observed
        .iter()
        .map(|&count| wilson(count, total, each))
        .collect()
}

/// The exact binomial test of each share against the rest, with Holm's adjustment.
///
/// For two backends both tests are one and the same, so nothing is adjusted. `None` as for `g_test`.
pub fn exact_shares(observed: &[u64], shares: &[f64]) -> Option<Vec<ShareTest>> {
    let total = total_of(observed)?;
    let shares = normalised(shares)?;
    if observed.len() != shares.len() {
        return None;
    }
    let each = observed.iter().zip(&shares);
    let p_values: Vec<f64> = each
        .map(|(&count, &share)| exact_binomial(count, total, share))
        .collect::<Option<_>>()?;
    let adjusted = if p_values.len() == 2 {
        p_values.clone()
    } else {
        holm(&p_values)?
    };
    let pairs = p_values.into_iter().zip(adjusted);
    Some(
        pairs
            .map(|(p_value, p_adjusted)| ShareTest {
                p_value,
                p_adjusted,
            })
            .collect(),
    )
}

/// O ln(O/E) − O + E, which sums to the same as O ln(O/E) over all backends and does not cancel.
fn deviance_term(observed: f64, expected: f64) -> f64 {
    if observed == 0.0 {
        return expected;
    }
    let excess = (observed - expected) / expected;
    observed * excess.ln_1p() - (observed - expected)
}

/// The sum of the counts, where it can be answered for.
fn total_of(observed: &[u64]) -> Option<u64> {
    let add = |sum: u64, &count: &u64| sum.checked_add(count);
    observed
        .iter()
        .try_fold(0, add)
        .filter(|&total| total <= MOST_TRIALS)
}

/// Weights divided by their sum.
pub(super) fn normalised(weights: &[f64]) -> Option<Vec<f64>> {
    let sum: f64 = weights.iter().sum();
    let fits = |&weight: &f64| weight >= 0.0 && weight.is_finite();
    let usable = weights.iter().all(fits) && sum > 0.0 && sum.is_finite();
    usable.then(|| weights.iter().map(|weight| weight / sum).collect())
}
