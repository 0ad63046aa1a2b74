//! From values to places on the page.

use super::Division;

/// An axis between two places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    division: Division,
}

/// The least and the greatest of some values, those that are not finite left out.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .into_iter()
        .filter(|value| value.is_finite())
        .fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        })
}

/// A range with some room about it, and 0 in it where the values are not far from it: below half of
/// the greatest, a difference would else look greater than it is. Where all are 0, from 0 to 1.
pub(super) fn comfortable((low, high): (f64, f64), from_zero: bool) -> (f64, f64) {
    let zero_near = low >= 0.0 && low < high * 0.5 || high <= 0.0 && high > low * 0.5;
    let (low, high) = if from_zero || zero_near {
        (low.min(0.0), high.max(0.0))
    } else {
        (low, high)
    };
    let span = high - low;
    let room = if span > 0.0 {
        span * 0.05
    } else if low == 0.0 {
        1.0
    } else {
        low.abs() * 0.1
    };
    let below = if low == 0.0 { 0.0 } else { room };
    let above = if high == 0.0 && low < 0.0 { 0.0 } else { room };
    (low - below, high + above)
}

impl Scale {
    /// From values to places. A logarithmic scale that would meet 0 is linear instead.
    pub fn new((low, high): (f64, f64), (start, end): (f64, f64), division: Division) -> Self {
        let division = if low > 0.0 {
            division
        } else {
            Division::Linear
        };
        let (low, high) = if high > low {
            (low, high)
        } else {
            (low - 1.0, low + 1.0)
        };
        Self {
            low,
            high,
            start,
            end,
            division,
        }
    }

    /// How it is divided after all.
    pub fn division(&self) -> Division {
        self.division
    }

    /// The range of values.
    pub fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// The place of a value; beyond the range, its end.
    pub fn at(&self, value: f64) -> f64 {
        let part = match self.division {
            Division::Linear => (value - self.low) / (self.high - self.low),
            Division::Logarithmic if value > 0.0 => {
                (value / self.low).ln() / (self.high / self.low).ln()
            }
            Division::Logarithmic => 0.0,
        };
        self.start + part.clamp(0.0, 1.0) * (self.end - self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_maps_its_ends_to_its_places() {
        let scale = Scale::new((0.0, 10.0), (100.0, 200.0), Division::Linear);
        assert_eq!(
            (scale.at(0.0), scale.at(5.0), scale.at(99.0)),
            (100.0, 150.0, 200.0)
        );
        let scale = Scale::new((1.0, 100.0), (0.0, 100.0), Division::Logarithmic);
        assert!((scale.at(10.0) - 50.0).abs() < 1e-9);
        assert_eq!(scale.at(0.0), 0.0);
    }

    #[test]
    fn a_logarithmic_scale_that_would_meet_zero_is_linear() {
        let scale = Scale::new((0.0, 10.0), (0.0, 1.0), Division::Logarithmic);
        assert_eq!(scale.division(), Division::Linear);
    }

    #[test]
    fn zero_is_on_an_axis_whose_values_are_not_far_from_it() {
        assert_eq!(comfortable((1.0, 10.0), false).0, 0.0);
        assert!(comfortable((9.0, 10.0), false).0 > 8.9);
        assert_eq!(comfortable((9.0, 10.0), true).0, 0.0);
        assert_eq!(comfortable((0.0, 0.0), false), (0.0, 1.0));
        assert_eq!(comfortable((5.0, 5.0), false), (4.5, 5.5));
        assert_eq!(extent([f64::NAN, 2.0, 1.0]), Some((1.0, 2.0)));
        assert_eq!(extent([f64::NAN]), None);
    }
}
