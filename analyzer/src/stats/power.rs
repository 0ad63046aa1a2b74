//! How many runs a comparison needs: the power of the two-sided t test.
//!
//! It is planned with a deviation that was itself measured on few runs, so that a number of runs is
//! an order of magnitude and no promise.

use super::distribution::{beta_tails, normal_upper_tail, t_quantile_of_upper};
use super::is_level;

/// The most runs a case that are answered for.
pub const MOST_RUNS: u64 = 1_000_000;

/// Shifts beyond which the series underflows, and Johnson and Welch's approximation stands in.
const LARGEST_SHIFT: f64 = 35.0;
const MOST_TERMS: u32 = 10_000;

/// The probability that a two-sided t test at α of two groups of n shows a true difference of
/// `effect` standard deviations.
///
/// P(|T′| > t) of the noncentral t distribution with 2n − 2 degrees of freedom and shift
/// effect·√(n/2) (Cohen 1988). Assumes normal runs of equal variance. `None` with fewer than two runs
/// a group or where α is no level.
pub fn t_test_power(effect: f64, runs: u64, alpha: f64) -> Option<f64> {
    if runs < 2 || !is_level(alpha) || !effect.is_finite() {
        return None;
    }
    let n = runs as f64;
    let degrees_of_freedom = 2.0 * n - 2.0;
    let critical = t_quantile_of_upper(0.5 * alpha, degrees_of_freedom);
    let shift = effect.abs() * (n / 2.0).sqrt();
    let above = 1.0 - noncentral_t_at_most(critical, degrees_of_freedom, shift);
    let below = 1.0 - noncentral_t_at_most(critical, degrees_of_freedom, -shift);
    Some((above + below).clamp(0.0, 1.0))
}

/// The fewest runs a group with which that probability is at least `power`.
///
/// `None` where no number up to `MOST_RUNS` does, or an argument is none.
pub fn runs_needed(effect: f64, alpha: f64, power: f64) -> Option<u64> {
    if !is_level(power) {
        return None;
    }
    let suffices = |runs: u64| t_test_power(effect, runs, alpha).map(|found| found >= power);
    let mut enough = 2;
    while !suffices(enough)? {
        if enough >= MOST_RUNS {
            return None;
        }
        enough = (2 * enough).min(MOST_RUNS);
    }
    let mut short = enough / 2;
    while short + 1 < enough {
        let middle = short + (enough - short) / 2;
        if suffices(middle).unwrap_or(false) {
            enough = middle;
        } else {
            short = middle;
        }
    }
    Some(enough)
}

/// P(T′ ≤ t) of the noncentral t distribution, for t ≥ 0.
///
/// Φ(−δ) + ½ Σ (p_j I_x(j + ½, ν/2) + q_j I_x(j + 1, ν/2)) with x = t²/(ν + t²) (Lenth 1989,
/// algorithm AS 243), the sum taken until what is left of the weights cannot matter.
fn noncentral_t_at_most(t: f64, degrees_of_freedom: f64, shift: f64) -> f64 {
    if shift.abs() > LARGEST_SHIFT {
        let correction = 1.0 - 0.25 / degrees_of_freedom;
        let deviation = (1.0 + 0.5 * t * t / degrees_of_freedom).sqrt();
        return normal_upper_tail((shift - t * correction) / deviation);
    }
    let half_square = 0.5 * shift * shift;
    let square = t * t;
    let (x, y) = (
        square / (degrees_of_freedom + square),
        degrees_of_freedom / (degrees_of_freedom + square),
    );
    let half = 0.5 * degrees_of_freedom;
    let mut weight = 0.5 * (-half_square).exp();
    let mut odd_weight = (2.0 / std::f64::consts::PI).sqrt() * weight * shift;
    let mut left = 0.5 - weight;
    let mut sum = normal_upper_tail(shift);
    for term in 0..MOST_TERMS {
        let j = f64::from(term);
        let incomplete = beta_tails(j + 0.5, half, x, y).lower;
        sum += weight * incomplete + odd_weight * beta_tails(j + 1.0, half, x, y).lower;
        if left * incomplete < 1e-15 && j > half_square {
            break;
        }
        weight *= half_square / (j + 1.0);
        odd_weight *= half_square / (j + 1.5);
        left -= weight;
    }
    sum.clamp(0.0, 1.0)
}
