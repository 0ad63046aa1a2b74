//! A difference with its interval, in the words in which it is told.

use super::super::figures::Figures;
use crate::measurements::{Unit, amount, digits};

/// From how many times the second mean on people are told times and not percent.
const TIMES: f64 = 2.0;

/// A difference with its interval, in the scale in which it is told.
#[derive(Clone, Copy)]
pub(super) struct Change {
    value: f64,
    low: f64,
    high: f64,
    scale: Scale,
}

#[derive(Clone, Copy)]
enum Scale {
    /// Times the second mean: a difference of none is 1.
    Times,
    Percent,
    Points,
    Amount(Unit),
}

impl Change {
    pub(super) fn of(figures: &Figures, unit: Unit) -> Self {
        let ratio = figures
            .ratio
            .filter(|_| !matches!(unit, Unit::Percent | Unit::Share));
        let (of, factor, offset, scale) = match (ratio, unit) {
            (Some(ratio), _) if ratio.estimate.value >= TIMES => {
                (ratio.estimate, 1.0, 0.0, Scale::Times)
            }
            (Some(ratio), _) => (ratio.estimate, 100.0, -100.0, Scale::Percent),
            (None, Unit::Share) => (figures.difference.estimate, 100.0, 0.0, Scale::Points),
            (None, Unit::Percent) => (figures.difference.estimate, 1.0, 0.0, Scale::Points),
            (None, unit) => (figures.difference.estimate, 1.0, 0.0, Scale::Amount(unit)),
        };
        let told = |value: f64| factor * value + offset;
        Self {
            value: told(of.value),
            low: told(of.interval.low),
            high: told(of.interval.high),
            scale,
        }
    }

    /// Whether the interval leaves no difference out.
    pub(super) fn is_beside_zero(&self) -> bool {
        let none = match self.scale {
            Scale::Times => 1.0,
            _ => 0.0,
        };
        self.low > none || self.high < none
    }

    /// The difference, up to the second case's name: `4.16 % higher than`.
    pub(super) fn against(&self) -> String {
        match self.scale {
            Scale::Times => self.one(self.value),
            _ if self.value == 0.0 => "the same as".to_owned(),
            _ => format!("{} than", self.side(self.value)),
        }
    }

    /// The interval, in the direction in which the difference is told.
    pub(super) fn interval(&self) -> String {
        if self.low == self.high {
            return "no run differs from another of its case".to_owned();
        }
        let is_lower = self.value < 0.0 && !matches!(self.scale, Scale::Times);
        let (low, high) = match is_lower {
            true => (-self.high, -self.low),
            false => (self.low, self.high),
        };
        let low = match self.scale {
            Scale::Amount(_) => self.one(low),
            _ => three(low),
        };
        format!("95 % interval {low} to {}", self.one(high))
    }

    /// The interval in words that keep to its signs.
    pub(super) fn between(&self) -> String {
        if self.low == self.high {
            return self.side(self.value);
        }
        let low = match self.scale {
            Scale::Times => three(self.low),
            _ => self.side(self.low),
        };
        let high = self.side(self.high);
        format!("between {low} and {high}, by its 95 % interval")
    }

    fn side(&self, value: f64) -> String {
        match (self.scale, value < 0.0) {
            (Scale::Times, _) => format!("{} the second's", self.one(value)),
            (_, true) => format!("{} lower", self.one(-value)),
            (_, false) => format!("{} higher", self.one(value)),
        }
    }

    fn one(&self, value: f64) -> String {
        match self.scale {
            Scale::Times => format!("{} times", three(value)),
            Scale::Percent => format!("{} %", three(value)),
            Scale::Points => format!("{} percentage points", three(value)),
            Scale::Amount(unit) => amount(value, unit),
        }
    }
}

/// Three digits are what intervals of few runs bear.
fn three(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let exponent = value.abs().log10().floor() as i32;
    let unit = 10_f64.powi(exponent - 2);
    digits((value / unit).round() * unit)
}
