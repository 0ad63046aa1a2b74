//! One proportion: intervals, the exact test against a share, equivalence, and how many it takes.
//!
//! Assumption throughout: the requests are independent and each goes to the backend with the same
//! probability. `dispersion` tests that assumption.

use serde::Serialize;

use super::distribution::{
    MOST_TRIALS, beta_quantile_of_lower, beta_quantile_of_upper, binomial_at_least,
    binomial_at_most, binomial_mass, normal_quantile_of_upper,
};
use super::{Interval, is_level, is_probability};

/// What an equivalence test says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The proportion is within the margin of the reference.
    Equivalent,
    /// The proportion is outside the margin.
    Different,
    /// The observations support neither.
    Inconclusive,
}

/// An equivalence test of a proportion against a fixed reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Equivalence {
    /// What it says.
    pub verdict: Verdict,
    /// Probability of as many successes or more if the proportion were reference − margin:
    /// small means that the proportion is not below the margin.
    pub p_lower: f64,
    /// Probability of as few successes or fewer if the proportion were reference + margin:
    /// small means that the proportion is not above the margin.
    pub p_upper: f64,
    /// Twice the probability of what was seen, or further out, at the edge of the margin that it is
    /// beyond, at most 1: small means that the proportion is outside the margin.
    pub p_different: f64,
    /// Clopper–Pearson at 1 − 2α. Equivalent is the same as: this lies within the margin.
    pub interval: Interval,
    /// Clopper–Pearson at 1 − α. Different is the same as: this lies outside the margin.
    pub wide_interval: Interval,
}

/// Wilson's score interval for a proportion.
///
/// (p̂ + z²/2n ± z √(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n), Wilson 1927. Its coverage is near the
/// nominal on average; at small n use `clopper_pearson`. `None` for n = 0 or a level that is none.
pub fn wilson(successes: u64, n: u64, confidence: f64) -> Option<Interval> {
    if !is_sample(successes, n) || n == 0 || !is_level(confidence) {
        return None;
    }
    let z = normal_quantile_of_upper(0.5 * (1.0 - confidence));
    let (count, square) = (n as f64, z * z);
    let (hit, missed) = (successes as f64, (n - successes) as f64);
    let half_width = z * (hit * missed / count + 0.25 * square).sqrt();
    let denominator = count + square;
    // Where nothing, or everything, was a success the end is exactly 0 or 1; rounding would miss it.
    let low = if successes == 0 {
        0.0
    } else {
        // The product of both ends is hit²/(n (n + z²)); this form does not cancel near 0.
        hit * hit / count / (hit + 0.5 * square + half_width)
    };
    let high = if successes == n {
        1.0
    } else {
        ((hit + 0.5 * square + half_width) / denominator).min(1.0)
    };
    Some(Interval { low, high })
}

/// The exact interval of Clopper and Pearson (1934) for a proportion.
///
/// The ends are the proportions at which the observed count or more, or or fewer, has probability
/// (1 − confidence)/2: quantiles of beta(x, n−x+1) and beta(x+1, n−x). Coverage is at least the
/// nominal, always. `None` for n = 0 or a level that is none.
pub fn clopper_pearson(successes: u64, n: u64, confidence: f64) -> Option<Interval> {
    if !is_sample(successes, n) || n == 0 || !is_level(confidence) {
        return None;
    }
    let beyond = 0.5 * (1.0 - confidence);
    let (hit, missed) = (successes as f64, (n - successes) as f64);
    let low = if successes == 0 {
        0.0
    } else {
        beta_quantile_of_lower(beyond, hit, missed + 1.0)
    };
    let high = if successes == n {
        1.0
    } else {
        beta_quantile_of_upper(beyond, hit + 1.0, missed)
    };
    Some(Interval { low, high })
}

/// The exact two-sided binomial test of a proportion, by minimum likelihood.
///
/// The p-value is the probability of every count that is at most as likely as the observed one,
/// where counts as likely up to one part in 10⁷ are equally likely: scipy's `binomtest`, R's
/// `binom.test`. The other tail's edge is found by bisection. `None` for n = 0 or a share that is none.
pub fn exact_binomial(successes: u64, n: u64, p0: f64) -> Option<f64> {
    const AS_LIKELY: f64 = 1.0 + 1e-7;
    if !is_sample(successes, n) || n == 0 || !is_probability(p0) {
        return None;
    }
    let mean = p0 * n as f64;
    let observed = successes as f64;
    if observed == mean {
        return Some(1.0);
    }
    let likely = binomial_mass(successes, n, p0) * AS_LIKELY;
    let as_unlikely = |count: u64| binomial_mass(count, n, p0) <= likely;
    let p_value = if observed < mean {
        let edge = first_that(mean.ceil() as u64, n + 1, as_unlikely);
        binomial_at_most(successes, n, p0) + binomial_at_least(edge, n, p0)
    } else {
        let edge = first_that(0, mean.floor() as u64 + 1, |count| !as_unlikely(count));
        let below = if edge == 0 {
            0.0
        } else {
            binomial_at_most(edge - 1, n, p0)
        };
        binomial_at_least(successes, n, p0) + below
    };
    Some(p_value.min(1.0))
}

/// Two one-sided exact binomial tests of a proportion against reference ± margin.
///
/// Schuirmann 1987 with binomial tails in place of the normal approximation. The score and the Wald
/// form go over their nominal error when n·p is small, which is where a canary stage begins; the
/// exact form never does, and costs a little power there and none that shows at the n that these
/// margins need. Equivalent: both one-sided tests reject at α, so the error is at most α. Different:
/// one of the edges of the margin is rejected from outside at α/2, so that for every proportion
/// within the margin, both edges and a margin of 0 included, the error is at most α.
///
/// An edge at or beyond 0 or 1 holds by itself. n = 0 is inconclusive, with the interval from 0
/// to 1. `None` where the reference is no probability, the margin is negative or not finite, or α is
/// not between 0 and ½.
pub fn tost(
    successes: u64,
    n: u64,
    reference: f64,
    margin: f64,
    alpha: f64,
) -> Option<Equivalence> {
    let margin_fits = margin >= 0.0 && margin.is_finite();
    let alpha_fits = alpha > 0.0 && alpha < 0.5;
    if !is_sample(successes, n) || !is_probability(reference) || !margin_fits || !alpha_fits {
        return None;
    }
    let (low, high) = (reference - margin, reference + margin);
    let holds_by_itself = |edge: f64| margin > 0.0 && !(edge > 0.0 && edge < 1.0);
    let p_lower = if holds_by_itself(low) {
        0.0
    } else {
        binomial_at_least(successes, n, low)
    };
    let p_upper = if holds_by_itself(high) {
        0.0
    } else {
        binomial_at_most(successes, n, high)
    };
    let p_below = if holds_by_itself(low) {
        1.0
    } else {
        binomial_at_most(successes, n, low)
    };
    let p_above = if holds_by_itself(high) {
        1.0
    } else {
        binomial_at_least(successes, n, high)
    };
    let p_different = (2.0 * p_below.min(p_above)).min(1.0);
    let verdict = if n == 0 {
        Verdict::Inconclusive
    } else if p_lower <= alpha && p_upper <= alpha {
        Verdict::Equivalent
    } else if p_different <= alpha {
        Verdict::Different
    } else {
        Verdict::Inconclusive
    };
    let anything = Interval {
        low: 0.0,
        high: 1.0,
    };
    Some(Equivalence {
        verdict,
        p_lower,
        p_upper,
        p_different,
        interval: clopper_pearson(successes, n, 1.0 - 2.0 * alpha).unwrap_or(anything),
        wide_interval: clopper_pearson(successes, n, 1.0 - alpha).unwrap_or(anything),
    })
}

/// How many requests an equivalence test needs to find a proportion that is exactly right.
///
/// (z_{1−α} + z_{1−β/2})² p(1−p)/margin² with β = 1 − power, rounded up: the normal approximation of
/// the power of two one-sided tests at a true difference of 0 (Chow, Shao and Wang, Sample Size
/// Calculations in Clinical Research, chapter 4). Where p is at or near 0 or 1 it says next to
/// nothing, so at least so many are asked for that a run without one success (or failure) rejects
/// the edge: ln α / ln(1 − p − margin). `None` where an argument is out of range or the margin is 0,
/// which no number of requests can show.
pub fn requests_needed(p: f64, margin: f64, alpha: f64, power: f64) -> Option<u64> {
    let margin_fits = margin > 0.0 && margin.is_finite();
    if !is_probability(p) || !margin_fits || !is_level(alpha) || !is_level(power) {
        return None;
    }
    let quantiles = normal_quantile_of_upper(alpha) + normal_quantile_of_upper(0.5 * (1.0 - power));
    let by_variance = quantiles.max(0.0).powi(2) * p * (1.0 - p) / (margin * margin);
    let edge = (p.min(1.0 - p) + margin).min(1.0);
    let by_absence = alpha.ln() / (-edge).ln_1p();
    Some(by_variance.max(by_absence).ceil().max(1.0) as u64)
}

/// Whether the counts can be answered for.
fn is_sample(successes: u64, n: u64) -> bool {
    successes <= n && n <= MOST_TRIALS
}

/// The first count from `low` on, before `high`, for which a condition that stays true once it is
/// true holds; `high` if none.
fn first_that(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}
