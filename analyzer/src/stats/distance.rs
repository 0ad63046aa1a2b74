//! How far observed shares are from the reference, beside how far chance alone would put them.
//!
//! The distance shrinks as requests grow in number, for a perfect splitter too: alone it says little.
//! Beside it stand the distance that a perfect splitter would show on average, and z.

use serde::Serialize;

use super::distribution::{MOST_TRIALS, binomial_mass};
use super::is_probability;
use super::multinomial::normalised;

/// The distance of observed shares from the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// Total variation ½ Σ |p̂_i − p_i|; for two backends |p̂ − p|.
    pub distance: f64,
    /// What independent requests with the reference's shares show on average.
    pub expected: f64,
    /// Distance ÷ expected; `None` where the reference leaves nothing to chance.
    pub ratio: Option<f64>,
}

/// The distance between counts and shares, with the average that a perfect splitter would show.
///
/// Total variation ½ Σ |p̂_i − p_i| and its expectation ½ Σ E|p̂_i − p_i|, exact because each count
/// alone is binomial. Shares are divided by their sum. `None` without a request, where the lengths
/// differ, or where the shares are negative, not finite or sum to 0.
pub fn distance(observed: &[u64], shares: &[f64]) -> Option<Distance> {
    let shares = normalised(shares)?;
    let total = observed
        .iter()
        .try_fold(0_u64, |sum, &count| sum.checked_add(count))?;
    if total == 0 || total > MOST_TRIALS || observed.len() != shares.len() {
        return None;
    }
    let n = total as f64;
    let apart = |(&count, &share): (&u64, &f64)| (count as f64 / n - share).abs();
    let distance = 0.5 * observed.iter().zip(&shares).map(apart).sum::<f64>();
    let each = shares.iter().map(|&share| expected_distance(total, share));
    let expected = 0.5 * each.sum::<Option<f64>>()?;
    Some(Distance {
        distance,
        expected,
        ratio: (expected > 0.0).then(|| distance / expected),
    })
}

/// E|p̂ − p| of n independent requests with probability p.
///
/// De Moivre's closed form of the binomial mean absolute deviation, E|X − np| = 2 m (1 − p) P(X = m)
/// with m = ⌊np⌋ + 1 (Diaconis and Zabell 1991), divided by n; near √(2p(1 − p)/(πn)). `None` for
/// n = 0 or a share that is none.
pub fn expected_distance(n: u64, p: f64) -> Option<f64> {
    if n == 0 || n > MOST_TRIALS || !is_probability(p) {
        return None;
    }
    let count = n as f64;
    let above_mean = (count * p).floor() + 1.0;
    let mass = binomial_mass(above_mean as u64, n, p);
    Some(2.0 * above_mean / count * (1.0 - p) * mass)
}

/// How many standard errors the observed share lies above the reference.
///
/// z = (p̂ − p)/√(p(1 − p)/n), the score statistic. `None` for n = 0, and where p is 0 or 1, so that
/// nothing is left to chance.
pub fn z_score(successes: u64, n: u64, p: f64) -> Option<f64> {
    if n == 0 || successes > n || n > MOST_TRIALS || !is_probability(p) {
        return None;
    }
    let count = n as f64;
    let standard_error = (p * (1.0 - p) / count).sqrt();
    (standard_error > 0.0).then(|| (successes as f64 / count - p) / standard_error)
}
