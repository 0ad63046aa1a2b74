//! One sentence for each comparison, that says no more than its numbers do.
//!
//! A difference is said to be there only where the adjusted test says so; else that none was shown,
//! which is not that there is none: that takes the test of equivalence. Where the interval of a
//! comparison lies on one side of zero and the adjusted test says nothing, both are told, and where
//! the test could not have said anything with so few runs, that is. Percent and shares differ by
//! percentage points, everything else by percent of the second case's mean, or by how many times it
//! is.

mod change;

use super::contrast::{Comparison, Refusal};
use super::figures::Figures;
use super::{FEWEST_RUNS, Family, MetricReport, Options};
use crate::measurements::{Unit, amount, digits};
use crate::stats::proportion::Verdict;
use change::Change;

/// Writes the sentences of a metric's comparisons.
pub(super) fn write(report: &mut MetricReport, family: &Family, options: &Options) {
    for comparison in &mut report.comparisons {
        let told = Told {
            words: &report.words,
            unit: report.unit,
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
            (_, Some(Refusal::UnlikeUnits)) => format!(
                "No comparison by {words} of {first} and {second}: their runs did not all count the same ({n})."
            ),
            (_, Some(Refusal::NoMoments)) => format!(
                "No comparison by {words} of {first} and {second}: the squares of the values have no sum."
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
        let change = Change::of(figures, self.unit);
        let mut sentence = if p_holm <= self.options.alpha {
            self.shown(&change, figures, p_holm)
        } else {
            self.not_shown(&change, figures, p_holm)
        };
        sentence.push_str(&self.equivalence(figures, p_holm));
        if let Some(without) = &self.comparison.without_flagged {
            sentence.push_str(&self.without(without));
        }
        sentence.push('.');
        sentence
    }

    fn shown(&self, change: &Change, figures: &Figures, p_holm: f64) -> String {
        let Comparison { first, second, .. } = self.comparison;
        format!(
            "{first}'s {} {} {} {second}'s ({}, {}, {})",
            self.words,
            self.was(),
            change.against(),
            change.interval(),
            self.adjusted(figures, p_holm),
            self.n()
        )
    }

    /// No difference is shown; whether any could have been is said as well.
    fn not_shown(&self, change: &Change, figures: &Figures, p_holm: f64) -> String {
        let Comparison { first, second, .. } = self.comparison;
        let (words, n) = (self.words, self.n());
        let alpha = self.options.alpha;
        let least = figures.least_p_holm.unwrap_or(0.0);
        if least <= alpha && !change.is_beside_zero() {
            return format!(
                "No difference in {words} was shown between {first} and {second}: the first's was {} ({}, {n})",
                change.between(),
                self.adjusted(figures, p_holm)
            );
        }
        let measured = format!(
            "{first}'s {words} measured {} {second}'s ({}, p {}, {n})",
            change.against(),
            change.interval(),
            p_text(figures.permutation.p_value)
        );
        if least <= alpha {
            return match self.family.tests {
                1 => format!("{measured}; that shows no difference at {alpha}"),
                _ => format!(
                    "{measured}; that shows no difference among {} (p {} after Holm)",
                    self.family.counted(),
                    p_text(p_holm)
                ),
            };
        }
        let holm = match self.family.tests {
            1 => String::new(),
            _ => format!(
                ", {} after Holm over {}",
                number(least),
                self.family.counted()
            ),
        };
        format!(
            "{measured}, but such runs cannot show a difference: the smallest p that they could give is {}{holm}{}",
            number(figures.permutation.least_p_value),
            self.runs_that_could()
        )
    }

    /// How many runs the family's tests need to be able to show anything.
    fn runs_that_could(&self) -> String {
        let (first, second) = self.comparison.n;
        match self.family.runs_needed {
            Some(needed) if (first.min(second) as u64) < needed => {
                format!(", and {needed} runs a case are needed before they can")
            }
            _ => ", since so many of them are equal".to_owned(),
        }
    }

    fn equivalence(&self, figures: &Figures, p_holm: f64) -> String {
        let margin = self.margin();
        let is_shown = p_holm <= self.options.alpha;
        let verdict = figures.equivalence.map(|equivalence| equivalence.verdict);
        match (verdict, is_shown) {
            (Some(Verdict::Equivalent), true) => format!("; it lies within ±{margin} all the same"),
            (Some(Verdict::Equivalent), false) => format!("; equivalent within ±{margin}"),
            (_, true) | (Some(Verdict::Different), false) => String::new(),
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
        let which = match self.comparison.flagged.len() {
            1 => "which lies far from its case's other runs",
            _ => "which lie far from the other runs of their cases",
        };
        let p = figures.p_holm.map_or_else(
            || "nothing to test".to_owned(),
            |p_holm| self.adjusted(figures, p_holm),
        );
        format!(
            "; without {runs}, {which}, it was {} ({p})",
            Change::of(figures, self.unit).between()
        )
    }

    fn n(&self) -> String {
        let (first, second) = self.comparison.n;
        format!("n = {first} + {second}")
    }

    fn was(&self) -> &'static str {
        match self.words.contains("cycles") || self.words.contains("events") {
            true => "were",
            false => "was",
        }
    }

    fn margin(&self) -> String {
        format!("{} %", digits(100.0 * self.options.margin))
    }

    /// The p-value that decides.
    fn adjusted(&self, figures: &Figures, p_holm: f64) -> String {
        let drawn = match figures.permutation.exact {
            true => String::new(),
            false => format!(
                ", from {} random splits with seed {}",
                figures.permutation.splits, self.options.seed
            ),
        };
        let after = match self.family.tests {
            1 => String::new(),
            _ => format!(" after Holm over {}", self.family.counted()),
        };
        format!("p {}{after}{drawn}", p_text(p_holm))
    }
}

fn p_text(p: f64) -> String {
    match p {
        p if p < 0.001 => "< 0.001".to_owned(),
        p => format!("= {}", number(p)),
    }
}

fn number(p: f64) -> String {
    match p {
        p if p < 0.001 => "below 0.001".to_owned(),
        p if p >= 1.0 => "1".to_owned(),
        p if p < 0.1 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}
