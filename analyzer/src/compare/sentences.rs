//! One sentence for each comparison, that says no more than its numbers do.
//!
//! A difference is said to be there only where the adjusted test says so; else that none was shown,
//! which is not that there is none: that takes the test of equivalence. Percent and shares differ by
//! percentage points, everything else by percent of the second case's mean.

use super::contrast::{Comparison, Refusal};
use super::figures::Figures;
use super::{FEWEST_RUNS, Family, MetricReport, Options};
use crate::measurements::{Unit, amount, digits};
use crate::stats::proportion::Verdict;

/// Writes the sentences of a metric's comparisons.
pub(super) fn write(report: &mut MetricReport, family: &Family, options: &Options) {
    let words = report.metric.words();
    let unit = report.unit;
    for comparison in &mut report.comparisons {
        let told = Told {
            words: &words,
            unit,
            family,
            options,
            comparison,
        };
        let sentence = told.sentence();
        comparison.sentence = sentence;
    }
}

struct Told<'a> {
    words: &'a str,
    unit: Unit,
    family: &'a Family,
    options: &'a Options,
    comparison: &'a Comparison,
}

impl Told<'_> {
    fn sentence(&self) -> String {
        let Comparison { first, second, .. } = self.comparison;
        let (words, n) = (self.words, self.n());
        match (&self.comparison.figures, self.comparison.refused) {
            (Some(figures), None) => self.of_figures(figures),
            (_, Some(Refusal::NoMoments)) => format!(
                "The {words} of {first} and {second} is not compared: the squares of its values have no sum."
            ),
            _ => {
                let planned = match self.comparison.runs_needed {
                    Some(needed) => format!(
                        ", and about {needed} a case, by the scatter of these few, to show a difference of {} at 90 % power",
                        self.margin()
                    ),
                    None => String::new(),
                };
                format!(
                    "Too few runs to compare the {words} of {first} and {second}: {n}; at least {FEWEST_RUNS} a case are needed to test at all{planned}."
                )
            }
        }
    }

    fn of_figures(&self, figures: &Figures) -> String {
        let Comparison { first, second, .. } = self.comparison;
        let words = self.words;
        let Some(p_holm) = figures.p_holm else {
            let value = amount(figures.difference.estimate.value, self.unit);
            debug_assert_eq!(value, amount(0.0, self.unit));
            return format!(
                "Every run of {first} and {second} had the same {words}, {}: there is nothing to test.",
                self.n()
            );
        };
        let change = self.change(figures);
        let p = self.p(figures, p_holm);
        let n = self.n();
        let mut sentence = if p_holm <= self.options.alpha {
            let way = if change.value >= 0.0 {
                "higher"
            } else {
                "lower"
            };
            let range = if change.value >= 0.0 {
                change.range()
            } else {
                change.negated().range()
            };
            format!(
                "{first}'s {words} was {} {way} than {second}'s ({}, {p}, {n})",
                change.size(),
                change.interval(&range)
            )
        } else {
            format!(
                "No difference in {words} was shown between {first} and {second}: the first's was {} ({p}, {n})",
                change.between()
            )
        };
        sentence.push_str(&self.equivalence(figures, p_holm));
        if let Some(without) = &self.comparison.without_flagged {
            sentence.push_str(&self.without(without));
        }
        sentence.push('.');
        sentence
    }

    fn equivalence(&self, figures: &Figures, p_holm: f64) -> String {
        let margin = self.margin();
        let is_shown = p_holm <= self.options.alpha;
        let verdict = figures.equivalence.map(|equivalence| equivalence.verdict);
        match (verdict, is_shown) {
            (Some(Verdict::Equivalent), true) => format!("; it lies within ±{margin} all the same"),
            (Some(Verdict::Equivalent), false) => format!("; equivalent within ±{margin}"),
            (_, true) => String::new(),
            (_, false) => match self.comparison.runs_needed {
                Some(needed) => format!(
                    "; not shown to be equivalent within ±{margin} either: about {needed} runs a case are needed to show a difference of {margin} at 90 % power"
                ),
                None => format!("; not shown to be equivalent within ±{margin} either"),
            },
        }
    }

    fn without(&self, figures: &Figures) -> String {
        let runs = self.comparison.flagged.join(", ");
        let change = self.change(figures);
        let p = figures.p_holm.map_or_else(
            || "nothing to test".to_owned(),
            |p_holm| self.p(figures, p_holm),
        );
        format!(
            "; without {runs}, which lies far from its case's other runs, it was {} ({p})",
            change.between()
        )
    }

    fn n(&self) -> String {
        let (first, second) = self.comparison.n;
        format!("n = {first} + {second}")
    }

    fn margin(&self) -> String {
        format!("{} %", digits(100.0 * self.options.margin))
    }

    fn p(&self, figures: &Figures, p_holm: f64) -> String {
        let drawn = match figures.permutation.exact {
            true => String::new(),
            false => format!(
                ", from {} random splits with seed {}",
                figures.permutation.splits, self.options.seed
            ),
        };
        let after = match self.family.tests {
            1 => "",
            _ => " after Holm",
        };
        format!("{}{after}{drawn}", p_value(p_holm))
    }

    fn change(&self, figures: &Figures) -> Change {
        let ratio = figures
            .ratio
            .filter(|_| !matches!(self.unit, Unit::Percent | Unit::Share));
        match ratio {
            Some(ratio) => Change {
                value: 100.0 * (ratio.estimate.value - 1.0),
                low: 100.0 * (ratio.estimate.interval.low - 1.0),
                high: 100.0 * (ratio.estimate.interval.high - 1.0),
                scale: Scale::Percent,
            },
            None => {
                let of = figures.difference.estimate;
                let (factor, scale) = match self.unit {
                    Unit::Share => (100.0, Scale::Points),
                    Unit::Percent => (1.0, Scale::Points),
                    unit => (1.0, Scale::Amount(unit)),
                };
                Change {
                    value: factor * of.value,
                    low: factor * of.interval.low,
                    high: factor * of.interval.high,
                    scale,
                }
            }
        }
    }
}

/// A difference with its interval, in the scale in which it is told.
#[derive(Clone, Copy)]
struct Change {
    value: f64,
    low: f64,
    high: f64,
    scale: Scale,
}

#[derive(Clone, Copy)]
enum Scale {
    Percent,
    Points,
    Amount(Unit),
}

impl Change {
    fn negated(self) -> Self {
        Self {
            value: -self.value,
            low: -self.high,
            high: -self.low,
            ..self
        }
    }

    fn one(&self, value: f64) -> String {
        match self.scale {
            Scale::Percent => format!("{} %", three(value)),
            Scale::Points => format!("{} percentage points", three(value)),
            Scale::Amount(unit) => amount(value, unit),
        }
    }

    fn size(&self) -> String {
        self.one(self.value.abs())
    }

    fn range(&self) -> String {
        match self.scale {
            Scale::Amount(_) => format!("{} to {}", self.one(self.low), self.one(self.high)),
            _ => format!("{} to {}", three(self.low), self.one(self.high)),
        }
    }

    fn interval(&self, range: &str) -> String {
        match self.low == self.high {
            true => "no run differs from another of its case".to_owned(),
            false => format!("95 % interval {range}"),
        }
    }

    /// The interval in words that keep to its signs.
    fn between(&self) -> String {
        let side = |value: f64| match value < 0.0 {
            true => format!("{} lower", self.one(-value)),
            false => format!("{} higher", self.one(value)),
        };
        if self.low == self.high {
            return side(self.value);
        }
        format!(
            "between {} and {} (95 % interval)",
            side(self.low),
            side(self.high)
        )
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

fn p_value(p: f64) -> String {
    match p {
        p if p < 0.001 => "p < 0.001".to_owned(),
        p if p >= 1.0 => "p = 1".to_owned(),
        p if p < 0.1 => format!("p = {p:.3}"),
        p => format!("p = {p:.2}"),
    }
}
