//! Cases of a campaign compared, metric by metric: what differs, by how much, how sure that is.
//!
//! Pure: measurements come in, a report goes out; randomness is a seed. It judges nothing: a
//! difference may be welcome or not. It refuses to test fewer than three runs a case and says how
//! many are needed; absent values and failed runs are listed and used by no statistic.
//!
//! Which analysis is primary is fixed before any number is seen: means with t intervals, Welch's
//! interval for a difference, and the exact permutation test of all runs of two cases, adjusted by
//! Holm. Where every case ran once in every block the same is shown within blocks, beside it and
//! never instead: eight blocks have 256 ways to flip signs, which no family of more than a few tests
//! survives, while ignoring blocks whose runs are alike only makes the primary test cautious.
//!
//! The family over which p-values are adjusted is all tests of a campaign, unless its plan named
//! primary metrics before the first run. Then those metrics' tests are one family, which answers what
//! the campaign was made for, and all others a second one, which supports it: each keeps the
//! probability of any false difference to alpha, and every sentence says in which it stands. A family
//! for each metric would be smaller and is not taken: with ten metrics it would let two campaigns of
//! five without any difference show one. Few runs leave few splits: where even the farthest split of the
//! runs at hand could not have passed its family, the sentence says so, with the number of runs that
//! is needed, and claims neither a difference nor its absence.

mod cases;
mod choice;
mod contrast;
mod family;
mod figures;
mod sentences;

#[cfg(test)]
mod scenarios;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::measurements::{Measurements, Metric, Origin, RunMeasurements, Unit};
use crate::stats::mean::Estimate;
use crate::stats::rank::Location;

pub use cases::Case;
pub use choice::MetricChoice;
pub use contrast::{Comparison, Refusal, WithinBlocks};
pub use family::{Declaration, Family, Role};
pub use figures::Figures;

use cases::{cases, metrics, pairs};
use contrast::Sides;

/// Version of the report document.
const REPORT_VERSION: u32 = 1;
/// The fewest runs a case for which anything is tested.
pub const FEWEST_RUNS: usize = 3;
/// Confidence of all intervals but those of equivalence.
pub const CONFIDENCE: f64 = 0.95;

/// What to compare and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Only this campaign.
    pub campaign: Option<String>,
    /// Compare every case with this one only.
    pub baseline: Option<String>,
    /// By these metrics, as one family; empty: the headline ones that were measured.
    pub metrics: Vec<MetricChoice>,
    /// What a campaign's plan named before its first run.
    pub declared: Option<Declaration>,
    /// Only these cases; empty: all.
    pub cases: Vec<String>,
    /// A difference up to this part of the second case's mean counts as none.
    pub margin: f64,
    /// Probability of any false difference in a family of tests.
    pub alpha: f64,
    /// Random splits where there are too many to count.
    pub draws: u64,
    /// Seed of these.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            campaign: None,
            baseline: None,
            metrics: Vec::new(),
            declared: None,
            cases: Vec::new(),
            margin: 0.05,
            alpha: 0.05,
            draws: 100_000,
            seed: 1,
        }
    }
}

impl Options {
    /// The metrics that a campaign's plan named.
    fn declared_in(&self, campaign: &str) -> &[MetricChoice] {
        let declared = self.declared.as_ref();
        let declared = declared.filter(|declared| declared.campaign == campaign);
        declared.map_or(&[], |declared| &declared.primary)
    }
}

/// Why nothing can be compared. Each prints as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// No run at all.
    #[error("the dataset has no completed run: `cargo xtask campaign` makes some below runs/")]
    NoRuns,
    /// No campaign of that name.
    #[error("--campaign {asked}: the dataset has {known}")]
    NoSuchCampaign {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// No case of that name.
    #[error("{option} {asked}: no run is of that case; there is {known}")]
    NoSuchCase {
        /// The option.
        option: &'static str,
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// A metric that no run has.
    #[error("--metric {asked}: no run measured it; there is {known}")]
    NotMeasured {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// Nothing that could be compared.
    #[error("no completed run measured anything: {why}")]
    NothingMeasured {
        /// The first reason found.
        why: String,
    },
}

/// Everything that `weighbridge compare` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompareReport {
    /// Version of this document.
    pub schema_version: u32,
    /// By campaign.
    pub campaigns: Vec<CampaignReport>,
    /// Runs that no statistic uses.
    pub failed_runs: Vec<FailedRun>,
    /// What a reader of all of it should know.
    pub notes: Vec<String>,
}

/// One campaign's cases.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CampaignReport {
    /// Its name; empty for runs outside any.
    pub campaign: String,
    /// Its cases.
    pub cases: Vec<Case>,
    /// By metric.
    pub metrics: Vec<MetricReport>,
    /// Over which tests p-values are adjusted together.
    pub families: Vec<Family>,
    /// A difference up to this part of the second case's mean counts as none.
    pub margin: f64,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One metric of all cases.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricReport {
    /// The metric.
    pub metric: Metric,
    /// What it is called, with what counted it: `reference cycles per packet`.
    pub words: String,
    /// What it counts.
    pub unit: Unit,
    /// In which family its tests are.
    pub role: Role,
    /// By case.
    pub cases: Vec<CaseSummary>,
    /// By pair of cases.
    pub comparisons: Vec<Comparison>,
    /// Where its numbers are from.
    pub origins: Vec<Origin>,
}

/// One case's runs by one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseSummary {
    /// The case's label.
    pub case: String,
    /// What its values count; absent where not all count the same, and where there are none.
    pub unit: Option<Unit>,
    /// Number of runs with a value.
    pub n: usize,
    /// Mean with its t interval; absent below two runs.
    pub mean: Option<Estimate>,
    /// 20 % trimmed mean with Yuen's interval; absent below two runs.
    pub trimmed: Option<Estimate>,
    /// Hodges–Lehmann estimate with its exact interval.
    pub hodges_lehmann: Option<Location>,
    /// The mean without the flagged runs, where there are such.
    pub mean_without_flagged: Option<Estimate>,
    /// Every run's value.
    pub values: Vec<RunValue>,
    /// Runs without a value, and why.
    pub absent: Vec<AbsentValue>,
}

/// One run's value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunValue {
    /// The run.
    pub run: String,
    /// Its block.
    pub block: Option<u32>,
    /// The value.
    pub value: f64,
    /// Its modified z-score among the case's runs.
    pub score: f64,
    /// Whether that is beyond 3.5: flagged, and never left out silently.
    pub flagged: bool,
}

/// A run without a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AbsentValue {
    /// The run.
    pub run: String,
    /// Why.
    pub because: String,
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedRun {
    /// The run.
    pub run: String,
    /// Its case.
    pub case: String,
    /// Its repetition.
    pub repetition: u32,
    /// Its attempt.
    pub attempt: u32,
    /// Why it failed.
    pub because: String,
}

/// Compares the cases of each campaign.
pub fn compare(
    measurements: &Measurements,
    options: &Options,
) -> Result<CompareReport, CompareError> {
    let mut campaigns = BTreeMap::<&str, Vec<&RunMeasurements>>::new();
    for run in measurements.runs.iter().filter(|run| run.counts()) {
        campaigns.entry(&run.campaign).or_default().push(run);
    }
    if campaigns.is_empty() {
        return Err(CompareError::NoRuns);
    }
    if let Some(asked) = &options.campaign {
        if !campaigns.contains_key(asked.as_str()) {
            return Err(CompareError::NoSuchCampaign {
                asked: asked.clone(),
                known: campaigns.keys().copied().collect::<Vec<_>>().join(", "),
            });
        }
        campaigns.retain(|name, _| name == asked);
    }
    let mut reports = Vec::new();
    let mut refusal = None;
    for (name, runs) in campaigns {
        match campaign(name, &runs, options) {
            Ok(report) => reports.push(report),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    // What one campaign lacks another may have: only if none has it was it asked for in vain.
    if let (true, Some(refusal)) = (reports.is_empty(), refusal) {
        return Err(refusal);
    }
    Ok(CompareReport {
        schema_version: REPORT_VERSION,
        campaigns: reports,
        failed_runs: failed(measurements),
        notes: measurements.notes.clone(),
    })
}

fn failed(measurements: &Measurements) -> Vec<FailedRun> {
    let failed = measurements.runs.iter().filter(|run| !run.counts());
    let failed = failed.map(|run| FailedRun {
        run: run.run.clone(),
        case: run.case.clone(),
        repetition: run.repetition,
        attempt: run.attempt,
        because: run
            .failure
            .clone()
            .unwrap_or_else(|| "no reason is given".to_owned()),
    });
    failed.collect()
}

fn campaign(
    name: &str,
    runs: &[&RunMeasurements],
    options: &Options,
) -> Result<CampaignReport, CompareError> {
    let cases = cases(runs, options)?;
    let chosen: Vec<&RunMeasurements> = cases.iter().flat_map(|case| case.runs(runs)).collect();
    let metrics = metrics(&chosen, options.declared_in(name), options)?;
    let (pairs, left_out) = pairs(&cases, options);
    let mut reports: Vec<MetricReport> = metrics
        .into_iter()
        .map(|metric| {
            let role = Role::of(&metric, name, options);
            metric_report((metric, role), &cases, &pairs, runs, options)
        })
        .collect();
    reports.sort_by_key(|report| report.role);
    let families = family::adjust(&mut reports, options);
    let mut notes = family::notes(name, &reports, &families, options);
    if left_out > 0 {
        notes.push(format!(
            "{left_out} pairs of cases that differ in their load or in more than they need to are left out; --baseline or --case compares them"
        ));
    }
    for report in &mut reports {
        let of_role = families.iter().find(|family| family.role == report.role);
        if let Some(family) = of_role {
            sentences::write(report, family, options);
        }
    }
    let runs = runs.iter().flat_map(|run| &run.notes);
    notes.extend(runs.cloned().collect::<BTreeSet<String>>());
    Ok(CampaignReport {
        campaign: name.to_owned(),
        cases,
        metrics: reports,
        families,
        margin: options.margin,
        notes,
    })
}

fn metric_report(
    (metric, role): (Metric, Role),
    cases: &[Case],
    pairs: &[(usize, usize)],
    runs: &[&RunMeasurements],
    options: &Options,
) -> MetricReport {
    let of_cases: Vec<CaseSummary> = cases
        .iter()
        .map(|case| figures::summary(case, &metric, &case.runs(runs).collect::<Vec<_>>()))
        .collect();
    let comparisons = pairs.iter().map(|&(first, second)| {
        let sides = Sides {
            first: &of_cases[first],
            second: &of_cases[second],
        };
        sides.compare(options)
    });
    let origins = runs.iter().filter_map(|run| {
        let measured = run.measured.get(&metric)?;
        measured.value.map(|_| measured.origin.clone())
    });
    let origins: BTreeSet<Origin> = origins.collect();
    let units = of_cases.iter().filter_map(|case| case.unit);
    let unit = family::common_unit(units).unwrap_or_else(|| metric.unit());
    MetricReport {
        words: metric.words_in(unit),
        unit,
        role,
        comparisons: comparisons.collect(),
        cases: of_cases,
        origins: origins.into_iter().collect(),
        metric,
    }
}
