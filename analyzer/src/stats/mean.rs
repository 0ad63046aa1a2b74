//! Means of runs: one with its interval, two compared by difference and by ratio, and equivalence.
//!
//! The unit that repeats is the run. Assumption throughout: runs are independent and their mean is
//! near enough to normal. Where no run differs from another the standard error is 0 and the interval
//! a point: it then says how coarse the measure is, not how sure the mean.

use serde::Serialize;

use super::distribution::{t_quantile_of_upper, t_upper_tail};
use super::order::sorted;
use super::proportion::Verdict;
use super::{Interval, is_level};

/// An estimate with a standard error and an interval by Student's t.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Of t; a fraction where two variances were joined.
    pub degrees_of_freedom: f64,
    /// The interval.
    pub interval: Interval,
}

/// A difference or ratio with the test of there being none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The difference, first less second; for a ratio first ÷ second, with the standard error of its
    /// logarithm.
    pub estimate: Estimate,
    /// Two-sided p-value of no difference.
    pub p_value: f64,
}

/// An equivalence test of two means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EquivalenceOfMeans {
    /// What it says.
    pub verdict: Verdict,
    /// One-sided p-value against lying below the margin.
    pub p_lower: f64,
    /// One-sided p-value against lying above the margin.
    pub p_upper: f64,
    /// Twice the one-sided p-value against lying within the margin, at most 1.
    pub p_different: f64,
    /// The interval at 1 − 2α: Equivalent where it lies within the margin.
    pub interval: Interval,
    /// The interval at 1 − α: Different where it lies outside the margin.
    pub wide_interval: Interval,
}

/// The mean with its t interval.
///
/// x̄ ± t_{n−1} s/√n (Student 1908). `None` with fewer than two runs.
pub fn mean(sample: &[f64], confidence: f64) -> Option<Estimate> {
    Spread::of_mean(sample)?.estimate(confidence)
}

/// The difference of two means, first less second, without assuming equal variances.
///
/// x̄ − ȳ ± t_ν √(s²_x/n + s²_y/m) with Satterthwaite's ν (Welch 1947). `None` with fewer than two
/// runs on either side.
pub fn welch(first: &[f64], second: &[f64], confidence: f64) -> Option<Comparison> {
    let spread = Spread::of_difference(first, second)?;
    Some(Comparison {
        estimate: spread.estimate(confidence)?,
        p_value: spread.p_value(0.0),
    })
}

/// The ratio of two means, first ÷ second.
///
/// The delta method on the logarithm: ln x̄ − ln ȳ with variance s²_x/(n x̄²) + s²_y/(m ȳ²) and
/// Satterthwaite's degrees of freedom, taken back by exp. Wants both means well away from 0 for their
/// standard error. `None` with fewer than two runs on either side or a mean that is not positive.
pub fn ratio_of_means(first: &[f64], second: &[f64], confidence: f64) -> Option<Comparison> {
    let spread = Spread::of_log_ratio(first, second)?;
    Some(Comparison {
        estimate: exponential_of(spread.estimate(confidence)?)?,
        p_value: spread.p_value(0.0),
    })
}

/// Two one-sided Welch tests of a difference of means against ± margin.
///
/// Schuirmann 1987. Different is said at α/2 an edge, so that its error is at most α for every
/// difference within the margin. `None` as for `welch`, and where the margin is not positive or α
/// not between 0 and ½.
pub fn tost_means(
    first: &[f64],
    second: &[f64],
    margin: f64,
    alpha: f64,
) -> Option<EquivalenceOfMeans> {
    if !(margin > 0.0 && margin.is_finite()) {
        return None;
    }
    Spread::of_difference(first, second)?.equivalence(-margin, margin, alpha)
}

/// Two one-sided tests of a ratio of means against 1/(1 + margin) and 1 + margin.
///
/// As `tost_means`, on the logarithm as `ratio_of_means`; a margin of 0.05 is five percent.
pub fn tost_ratio(
    first: &[f64],
    second: &[f64],
    margin: f64,
    alpha: f64,
) -> Option<EquivalenceOfMeans> {
    if !(margin > 0.0 && margin.is_finite()) {
        return None;
    }
    let edge = margin.ln_1p();
    let logarithm = Spread::of_log_ratio(first, second)?.equivalence(-edge, edge, alpha)?;
    let ratio = EquivalenceOfMeans {
        interval: exponential(logarithm.interval),
        wide_interval: exponential(logarithm.wide_interval),
        ..logarithm
    };
    ratio.wide_interval.high.is_finite().then_some(ratio)
}

/// The mean of differences with the test of its being 0.
pub(super) fn against_zero(differences: &[f64], confidence: f64) -> Option<Comparison> {
    let spread = Spread::of_mean(differences)?;
    Some(Comparison {
        estimate: spread.estimate(confidence)?,
        p_value: spread.p_value(0.0),
    })
}

/// An estimate of a logarithm taken back, with the logarithm's standard error.
pub(super) fn exponential_of(logarithm: Estimate) -> Option<Estimate> {
    let interval = exponential(logarithm.interval);
    interval.high.is_finite().then(|| Estimate {
        value: logarithm.value.exp(),
        interval,
        ..logarithm
    })
}

/// Mean and variance of a sample of two or more.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    pub(super) n: f64,
    pub(super) mean: f64,
    pub(super) variance: f64,
}

impl Moments {
    pub(super) fn of(sample: &[f64]) -> Option<Self> {
        let values = sorted(sample)?;
        if values.len() < 2 {
            return None;
        }
        let n = values.len() as f64;
        // Equal runs have exactly their value as mean, which the rounded sum would miss.
        if values.first() == values.last() {
            let (mean, variance) = (values[0], 0.0);
            return Some(Self { n, mean, variance });
        }
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let variance = squares / (n - 1.0);
        (mean.is_finite() && variance.is_finite()).then_some(Self { n, mean, variance })
    }
}

/// An estimate before a confidence is chosen.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub(super) value: f64,
    pub(super) variance: f64,
    pub(super) degrees_of_freedom: f64,
}

impl Spread {
    /// The difference of two estimates with their variances and degrees of freedom.
    pub(super) fn between(first: Self, second: Self) -> Self {
        let variance = first.variance + second.variance;
        let part = |one: Self| (one.variance / variance).powi(2) / one.degrees_of_freedom;
        let degrees_of_freedom = if variance > 0.0 {
            1.0 / (part(first) + part(second))
        } else {
            first.degrees_of_freedom + second.degrees_of_freedom
        };
        Self {
            value: first.value - second.value,
            variance,
            degrees_of_freedom,
        }
    }

    fn of_mean(sample: &[f64]) -> Option<Self> {
        let moments = Moments::of(sample)?;
        Some(Self {
            value: moments.mean,
            variance: moments.variance / moments.n,
            degrees_of_freedom: moments.n - 1.0,
        })
    }

    fn of_difference(first: &[f64], second: &[f64]) -> Option<Self> {
        Some(Self::between(Self::of_mean(first)?, Self::of_mean(second)?))
    }

    fn of_log_ratio(first: &[f64], second: &[f64]) -> Option<Self> {
        let of_logarithm = |moments: Moments| {
            (moments.mean > 0.0).then(|| Self {
                value: moments.mean.ln(),
                variance: moments.variance / moments.mean / moments.mean / moments.n,
                degrees_of_freedom: moments.n - 1.0,
            })
        };
        let (first, second) = (Moments::of(first)?, Moments::of(second)?);
        Some(Self::between(of_logarithm(first)?, of_logarithm(second)?))
    }

    pub(super) fn estimate(&self, confidence: f64) -> Option<Estimate> {
        if !is_level(confidence) {
            return None;
        }
        let standard_error = self.variance.sqrt();
        let beyond = 0.5 * (1.0 - confidence);
        let reach = if standard_error > 0.0 {
            t_quantile_of_upper(beyond, self.degrees_of_freedom) * standard_error
        } else {
            0.0
        };
        let interval = Interval {
            low: self.value - reach,
            high: self.value + reach,
        };
        let numbers = [self.value, standard_error, interval.low, interval.high];
        numbers
            .iter()
            .all(|number| number.is_finite())
            .then_some(Estimate {
                value: self.value,
                standard_error,
                degrees_of_freedom: self.degrees_of_freedom,
                interval,
            })
    }

    /// Two-sided p-value of the true value being the given one.
    pub(super) fn p_value(&self, hypothesis: f64) -> f64 {
        let above = self.p_above(hypothesis);
        let below = self.p_below(hypothesis);
        (2.0 * above.min(below)).min(1.0)
    }

    /// One-sided p-value: small where the value lies clearly above the hypothesis.
    fn p_above(&self, hypothesis: f64) -> f64 {
        let distance = self.value - hypothesis;
        if self.variance > 0.0 {
            return t_upper_tail(distance / self.variance.sqrt(), self.degrees_of_freedom);
        }
        if distance > 0.0 { 0.0 } else { 1.0 }
    }

    /// One-sided p-value: small where the value lies clearly below the hypothesis.
    fn p_below(&self, hypothesis: f64) -> f64 {
        let mirrored = Self {
            value: -self.value,
            ..*self
        };
        mirrored.p_above(-hypothesis)
    }

    fn equivalence(&self, low: f64, high: f64, alpha: f64) -> Option<EquivalenceOfMeans> {
        if !(alpha > 0.0 && alpha < 0.5) {
            return None;
        }
        let (p_lower, p_upper) = (self.p_above(low), self.p_below(high));
        let p_different = (2.0 * self.p_below(low).min(self.p_above(high))).min(1.0);
        let verdict = if p_lower <= alpha && p_upper <= alpha {
            Verdict::Equivalent
        } else if p_different <= alpha {
            Verdict::Different
        } else {
            Verdict::Inconclusive
        };
        Some(EquivalenceOfMeans {
            verdict,
            p_lower,
            p_upper,
            p_different,
            interval: self.estimate(1.0 - 2.0 * alpha)?.interval,
            wide_interval: self.estimate(1.0 - alpha)?.interval,
        })
    }
}

fn exponential(interval: Interval) -> Interval {
    Interval {
        low: interval.low.exp(),
        high: interval.high.exp(),
    }
}
