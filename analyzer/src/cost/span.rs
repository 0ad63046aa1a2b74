//! The time of a run, and how much of an interval lies in it.
//!
//! Intervals at a run's edges count by the part of them that lies in the run, as if what they hold
//! were even: numerator and denominators alike, so that a ratio is not bent. Weights are millionths
//! and sums whole numbers, so that the order of rows does not matter.

use crate::verdict::evidence::Window;

/// An interval counted whole.
pub(super) const WHOLE: i64 = 1_000_000;

/// A sum of weighted amounts: exact for whole intervals, to one unit for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weighted(i128);

impl Weighted {
    /// Adds an amount with a weight in millionths.
    pub fn add(&mut self, amount: i64, weight: i64) {
        self.0 += i128::from(amount) * i128::from(weight);
    }

    /// Adds another sum.
    pub fn join(&mut self, other: Self) {
        self.0 += other.0;
    }

    /// The sum less another, and nothing where the other is larger.
    pub fn less(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0))
    }

    /// The sum, rounded.
    pub fn amount(self) -> i64 {
        let half = i128::from(WHOLE / 2) * self.0.signum();
        i64::try_from((self.0 + half) / i128::from(WHOLE)).unwrap_or(i64::MAX)
    }
}

/// Millionths of an interval that lie in a window; an interval without length lies in it or not.
pub(super) fn weight(start_us: i64, end_us: i64, window: &Window) -> i64 {
    let length = end_us.saturating_sub(start_us);
    if length <= 0 {
        let inside = window.from_us <= start_us && start_us < window.to_us;
        return if inside { WHOLE } else { 0 };
    }
    portion(overlap(start_us, end_us, window), length)
}

/// Millionths of a length that a part of it is.
pub(super) fn portion(part_us: i64, length_us: i64) -> i64 {
    if length_us <= 0 {
        return 0;
    }
    let scaled = i128::from(part_us) * i128::from(WHOLE) + i128::from(length_us / 2);
    i64::try_from(scaled / i128::from(length_us)).unwrap_or(WHOLE)
}

/// How long an interval lies in a window.
pub(super) fn overlap(start_us: i64, end_us: i64, window: &Window) -> i64 {
    let from_us = start_us.max(window.from_us);
    let to_us = end_us.min(window.to_us);
    to_us.saturating_sub(from_us).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Window = Window {
        from_us: 500,
        to_us: 3_000,
    };

    #[test]
    fn an_interval_counts_by_the_part_of_it_that_lies_in_the_run() {
        assert_eq!(weight(0, 1_000, &RUN), WHOLE / 2);
        assert_eq!(weight(1_000, 2_000, &RUN), WHOLE);
        assert_eq!(weight(2_750, 3_750, &RUN), WHOLE / 4);
        assert_eq!(weight(3_000, 4_000, &RUN), 0);
        assert_eq!(weight(0, 5_000, &RUN), WHOLE / 2);
        assert_eq!(weight(600, 600, &RUN), WHOLE);
        assert_eq!(weight(400, 400, &RUN), 0);
    }

    #[test]
    fn small_amounts_are_not_rounded_away() {
        let mut sum = Weighted::default();
        for _ in 0..10 {
            sum.add(1, 400_000);
        }
        assert_eq!(sum.amount(), 4);
        sum.add(7, WHOLE);
        assert_eq!(sum.amount(), 11);
    }
}
