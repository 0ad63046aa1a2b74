//! Which runs belong to one case, which cases stand against each other, and by which metrics.
//!
//! Runs of one name and the same factors are one case. Unless somebody says otherwise, cases at
//! different load are not set against each other, and of the others only those between which no
//! third one lies: that differ in no more factors than they must.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::choice::{MetricChoice, whole_or_parts};
use super::{CompareError, Options};
use crate::measurements::{Metric, Quantity, RunMeasurements};

/// Factors that set the load and not what carries it.
const LOAD: [&str; 6] = ["users", "pairs", "protocol", "streams", "direction", "rate"];

/// Runs that differ in nothing that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// Its name, with the factors in which cases of that name differ.
    pub label: String,
    /// Its name in the manifests.
    pub case: String,
    /// What it sets.
    pub factors: BTreeMap<String, String>,
    /// Completed runs.
    pub runs: usize,
}

impl Case {
    /// Its runs, in their order.
    pub(super) fn runs<'a>(
        &self,
        runs: &[&'a RunMeasurements],
    ) -> impl Iterator<Item = &'a RunMeasurements> {
        runs.iter()
            .copied()
            .filter(|run| run.case == self.case && run.factors == self.factors)
    }

    fn is_named(&self, name: &str) -> bool {
        self.label == name || self.case == name
    }

    fn load(&self) -> Vec<Option<&String>> {
        LOAD.iter()
            .map(|factor| self.factors.get(*factor))
            .collect()
    }

    /// In which factors it differs from another, the name standing for one where no factor does.
    fn differs_in<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let factors = self.factors.keys().chain(other.factors.keys());
        let differing = factors.filter(|name| self.factors.get(*name) != other.factors.get(*name));
        let differing: BTreeSet<&str> = differing.map(String::as_str).collect();
        match differing.is_empty() {
            true => BTreeSet::from(["case"]),
            false => differing,
        }
    }
}

/// The cases of a campaign that were asked for, by name and then by factors, numbers by size.
pub(super) fn cases(
    runs: &[&RunMeasurements],
    options: &Options,
) -> Result<Vec<Case>, CompareError> {
    let mut counts = BTreeMap::<(&String, &BTreeMap<String, String>), usize>::new();
    for run in runs {
        *counts.entry((&run.case, &run.factors)).or_default() += 1;
    }
    let keys: Vec<_> = counts.keys().copied().collect();
    let mut cases: Vec<Case> = counts
        .iter()
        .map(|((case, factors), runs)| Case {
            label: label(case, factors, &keys),
            case: (*case).clone(),
            factors: (*factors).clone(),
            runs: *runs,
        })
        .collect();
    cases.sort_by_key(|case| {
        let factors = case.factors.iter();
        let factors = factors.map(|(name, value)| (name.clone(), number_first(value)));
        (case.case.clone(), factors.collect::<Vec<_>>())
    });
    let named = options.cases.iter().map(|name| ("--case", name));
    let named = named.chain(options.baseline.iter().map(|name| ("--baseline", name)));
    for (option, name) in named {
        if !cases.iter().any(|case| case.is_named(name)) {
            let known = cases.iter().map(|case| case.label.as_str());
            return Err(CompareError::NoSuchCase {
                option,
                asked: name.clone(),
                known: known.collect::<Vec<_>>().join(", "),
            });
        }
    }
    if !options.cases.is_empty() {
        let asked: Vec<&String> = options.cases.iter().chain(&options.baseline).collect();
        cases.retain(|case| asked.iter().any(|name| case.is_named(name)));
    }
    Ok(cases)
}

/// The name, with the factors in which cases of this name differ.
fn label(
    case: &str,
    factors: &BTreeMap<String, String>,
    all: &[(&String, &BTreeMap<String, String>)],
) -> String {
    let namesakes = || all.iter().filter(|(name, _)| *name == case);
    let varies =
        |name: &String| namesakes().any(|(_, others)| others.get(name) != factors.get(name));
    let set: Vec<String> = factors
        .iter()
        .filter(|(name, _)| varies(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let case = if case.is_empty() { "no case" } else { case };
    match set.is_empty() {
        true => case.to_owned(),
        false => format!("{case} ({})", set.join(", ")),
    }
}

/// A key by which 10 stands before 9a and 9 before 10.
fn number_first(value: &str) -> (u64, String) {
    let number = value.parse::<u64>().unwrap_or(u64::MAX);
    (number, value.to_owned())
}

/// Pairs of cases to be compared, by place, and how many others are left out.
pub(super) fn pairs(cases: &[Case], options: &Options) -> (Vec<(usize, usize)>, usize) {
    let all = (0..cases.len())
        .flat_map(|first| (first + 1..cases.len()).map(move |second| (first, second)));
    let all: Vec<(usize, usize)> = match &options.baseline {
        None => all.collect(),
        Some(baseline) => all
            .filter_map(|(first, second)| {
                let is_base = |place: usize| cases[place].is_named(baseline);
                match (is_base(first), is_base(second)) {
                    (false, true) => Some((first, second)),
                    (true, false) => Some((second, first)),
                    _ => None,
                }
            })
            .collect(),
    };
    let same_load = |&(first, second): &(usize, usize)| cases[first].load() == cases[second].load();
    let mut kept: Vec<(usize, usize)> = all.iter().copied().filter(same_load).collect();
    let names_pairs = options.cases.len() > 1 || options.baseline.is_some();
    if kept.is_empty() && names_pairs {
        kept = all.clone();
    }
    if !names_pairs {
        let neighbours = kept
            .iter()
            .copied()
            .filter(|pair| !lies_between(cases, *pair));
        kept = neighbours.collect();
    }
    let left_out = all.len() - kept.len();
    (kept, left_out)
}

/// Whether a third case differs from the first in some, but not all, of the factors in which the
/// second does.
fn lies_between(cases: &[Case], (first, second): (usize, usize)) -> bool {
    let far = cases[first].differs_in(&cases[second]);
    let mut others = (0..cases.len()).filter(|other| ![first, second].contains(other));
    others.any(|other| {
        let near = cases[first].differs_in(&cases[other]);
        near.is_subset(&far) && near.len() < far.len()
    })
}

/// The metrics by which to compare.
pub(super) fn metrics(
    runs: &[&RunMeasurements],
    declared: &[MetricChoice],
    options: &Options,
) -> Result<Vec<Metric>, CompareError> {
    let measured = runs.iter().flat_map(|run| run.measured.values());
    let known: BTreeSet<Metric> = measured
        .filter(|measured| measured.value.is_some())
        .map(|measured| measured.metric.clone())
        .collect();
    if known.is_empty() {
        let mut reasons = runs.iter().flat_map(|run| run.measured.values());
        let why = reasons.find_map(|measured| measured.absent_because.clone());
        return Err(CompareError::NothingMeasured {
            why: why.unwrap_or_else(|| "their manifests list no file of a known kind".to_owned()),
        });
    }
    let mut chosen = BTreeSet::new();
    if options.metrics.is_empty() {
        for quantity in Quantity::all().filter(|quantity| quantity.is_headline()) {
            chosen.extend(whole_or_parts(quantity, &known));
        }
        for choice in declared {
            chosen.extend(choice.among(&known));
        }
        if chosen.is_empty() {
            chosen = known;
        }
        return Ok(chosen.into_iter().collect());
    }
    for choice in &options.metrics {
        let found = choice.among(&known);
        if found.is_empty() {
            let known = known.iter().map(ToString::to_string);
            return Err(CompareError::NotMeasured {
                asked: choice.to_string(),
                known: known.collect::<Vec<_>>().join(", "),
            });
        }
        chosen.extend(found);
    }
    Ok(chosen.into_iter().collect())
}
