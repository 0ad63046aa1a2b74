//! Statistics: pure functions from counts and samples to estimates, intervals, tests and verdicts.
//!
//! Nothing here does I/O or reads a clock, and randomness comes in as a seed. Arguments that have no
//! answer (no observation, a share outside 0 to 1, NaN) give `None`: no function panics and none
//! returns NaN. Every function names its method, formula, source and assumptions, and the tests in
//! `tests/oracle` hold it against stored answers of scipy and statsmodels.

pub mod bootstrap;
pub mod dispersion;
pub mod distance;
pub mod distribution;
pub mod effect;
pub mod holm;
pub mod mean;
pub mod multinomial;
pub mod order;
pub mod outlier;
pub mod paired;
pub mod permutation;
pub mod power;
pub mod proportion;
pub mod random;
pub mod rank;
pub mod series;
pub mod trimmed;

use serde::Serialize;

/// A confidence interval, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end; never below the lower.
    pub high: f64,
}

impl Interval {
    /// Whether a value lies in the interval or on one of its ends.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Whether a number is strictly between 0 and 1, as levels of confidence and error must be.
fn is_level(level: f64) -> bool {
    level > 0.0 && level < 1.0
}

/// Whether a number can be a probability.
fn is_probability(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}
