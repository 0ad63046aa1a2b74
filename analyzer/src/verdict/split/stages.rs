//! A rule's responses by the weights that held: counted, set apart, judged.
//!
//! An interval in which the weights changed holds responses of both and is set apart, and so is all
//! from before the data plane took the new ones. What is set apart is counted, never dropped.

use std::collections::BTreeMap;

use super::super::Outcome;
use super::super::evidence::Window;
use super::super::report::Moment;
use super::Options;
use super::judge::{Rigour, judge, windows_of};
use super::observed::{Sample, SampleKey, middle};
use super::report::{
    BackendReport, Judgement, Reference, StageReport, Takeover, TakeoverState, WindowReport,
};
use super::takeover;
use super::units::Unit;
use crate::policy::gateway_api::{BackendId, Split, Stage};
use crate::stats::Interval;
use crate::stats::dispersion::{clustered_share, dispersion, tarone};
use crate::stats::distance::distance;
use crate::stats::multinomial::goodman;
use crate::stats::proportion::{clopper_pearson, wilson};

/// Confidence of the intervals that are shown.
const CONFIDENCE: f64 = 0.95;

/// Wilson's interval keeps its level from about here on; below, Clopper and Pearson's is shown.
const SMALL: u64 = 100;

/// Responses of one backend of a rule that its Gateways asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<'o> {
    pub backend: usize,
    pub key: &'o SampleKey,
    pub sample: Sample,
}

/// Judges each stage that has responses; `step_us` is the finest step in time.
pub(crate) fn reports(
    unit: &Unit,
    backends: &[BackendId],
    counted: &[Counted<'_>],
    step_us: i64,
    options: &Options,
) -> Vec<StageReport> {
    let judged = unit.stages.iter();
    let rigour = Rigour {
        margin: options.margin,
        alpha: options.alpha,
        stages: judged
            .filter(|stage| counted.iter().any(|one| holds(stage, one)))
            .count(),
    };
    let mut in_effect: Option<Vec<f64>> = None;
    let mut reports = Vec::new();
    for stage in &unit.stages {
        let of_stage: Vec<Counted<'_>> = counted
            .iter()
            .filter(|one| holds(stage, one))
            .copied()
            .collect();
        let reference = references(stage, backends);
        let shares = reference[0].1.clone();
        if of_stage.is_empty() {
            in_effect = Some(shares);
            continue;
        }
        let bench = Bench {
            stage,
            backends,
            step_us,
            options,
            rigour,
        };
        let (report, took) = bench.report(&of_stage, in_effect.as_deref(), reference);
        if took {
            in_effect = Some(shares);
        }
        reports.push(report);
    }
    reports
}

/// Whether responses came while a stage's weights held, as far as intervals tell.
fn holds(stage: &Stage, one: &Counted<'_>) -> bool {
    (stage.from_us..stage.until_us).contains(&middle(one.key.interval))
}

/// Whether responses may be to requests from before a moment, of a backend that was asked until
/// then and no more: a slow response is no proof that it still is.
fn is_late(one: &Counted<'_>, before: Option<&[f64]>, shares: &[f64], moment_us: i64) -> bool {
    let was_asked = before.is_some_and(|before| before[one.backend] > 0.0);
    let asked_from_us = one
        .key
        .interval
        .from_us
        .saturating_sub(one.sample.slowest_us);
    was_asked && shares[one.backend] == 0.0 && asked_from_us < moment_us
}

/// What the shares of the backends' responses should be, the implementation's configuration first
/// where it is known.
fn references(stage: &Stage, backends: &[BackendId]) -> Vec<(Reference, Vec<f64>)> {
    let configured = stage.shares.configured.as_ref().ok();
    let configured = configured.map(|split| (Reference::Configured, served(split, backends)));
    let spec = (
        Reference::Specification,
        served(&stage.shares.spec, backends),
    );
    configured.into_iter().chain([spec]).collect()
}

/// Shares of what backends answer, for only that is seen at them.
fn served(split: &Split, backends: &[BackendId]) -> Vec<f64> {
    let served = split.served();
    let sum: f64 = served.iter().map(|(_, share)| share).sum();
    let share = |backend: &BackendId| {
        let found = served.iter().find(|(served, _)| *served == backend);
        found.map_or(0.0, |(_, share)| if sum > 0.0 { share / sum } else { 0.0 })
    };
    backends.iter().map(share).collect()
}

/// Share of all requests of a backend, its errors included.
fn share_of(split: &Split, backend: &BackendId) -> f64 {
    let parts = split.parts.iter();
    parts
        .filter(|part| part.backend == *backend)
        .map(|part| part.share)
        .sum()
}

/// What judging one stage needs.
struct Bench<'a> {
    stage: &'a Stage,
    backends: &'a [BackendId],
    step_us: i64,
    options: &'a Options,
    rigour: Rigour,
}

impl Bench<'_> {
    /// The report, and whether the data plane goes by this stage's shares at its end.
    fn report(
        &self,
        counted: &[Counted<'_>],
        in_effect: Option<&[f64]>,
        references: Vec<(Reference, Vec<f64>)>,
    ) -> (StageReport, bool) {
        let whole: Vec<Counted<'_>> = counted
            .iter()
            .filter(|one| !self.straddles(one.key.interval))
            .copied()
            .collect();
        let span = span(counted);
        let (takeover, judged_from_us) = self.takeover(&whole, in_effect, &references[0].1);
        let state = takeover.as_ref().map(|takeover| takeover.state);
        let judged: Vec<Counted<'_>> = whole
            .into_iter()
            .filter(|one| middle(one.key.interval) >= judged_from_us)
            .filter(|one| {
                let took = state == Some(TakeoverState::Took);
                !took || !is_late(one, in_effect, &references[0].1, judged_from_us)
            })
            .collect();
        let counts = self.sums(&judged);
        let windows = self.windows(&judged);
        let counts_of_windows: Vec<Vec<u64>> =
            windows.iter().map(|(_, counts)| counts.clone()).collect();
        let mut judgements: Vec<Judgement> = references
            .into_iter()
            .map(|(reference, shares)| {
                let mut judgement =
                    judge(reference, &counts, &counts_of_windows, &shares, self.rigour);
                if state == Some(TakeoverState::Unknown) {
                    only_inconclusive(&mut judgement);
                }
                judgement
            })
            .collect();
        if let Some(asked) = judgements
            .iter()
            .position(|judgement| judgement.reference == self.options.against)
        {
            judgements.swap(0, asked);
        }
        let responses: u64 = counts.iter().sum();
        let all: u64 = counted.iter().map(|one| one.sample.responses).sum();
        let report = StageReport {
            from: Moment(self.stage.from_us.max(span.from_us)),
            to: Moment(self.stage.until_us.min(span.to_us)),
            result: judgements[0].result,
            takeover,
            set_apart: all - responses,
            responses,
            backends: self.backend_reports(&judged, &counts, &counts_of_windows),
            gateway_error_share: self.split(&judgements[0]).gateway_errors(),
            windows: window_reports(&windows, &judgements[0].shares),
            judgements,
        };
        (report, state != Some(TakeoverState::Never))
    }

    fn split(&self, judgement: &Judgement) -> &Split {
        match (judgement.reference, &self.stage.shares.configured) {
            (Reference::Configured, Ok(split)) => split,
            _ => &self.stage.shares.spec,
        }
    }

    /// Whether an interval reaches beyond the stage.
    fn straddles(&self, interval: Window) -> bool {
        interval.from_us < self.stage.from_us || interval.to_us > self.stage.until_us
    }

    /// When the stage's shares took hold, and from when responses are judged by them.
    fn takeover(
        &self,
        counted: &[Counted<'_>],
        in_effect: Option<&[f64]>,
        shares: &[f64],
    ) -> (Option<Takeover>, i64) {
        // Shares of nothing, where no backend was to be asked, are no old ones.
        let differs = |old: &&[f64]| {
            old.iter().any(|&share| share > 0.0)
                && old.iter().zip(shares).any(|(a, b)| (a - b).abs() > 1e-9)
        };
        let Some(old) = in_effect.filter(differs) else {
            return (None, i64::MIN);
        };
        let start_us = counted.first().map_or(self.stage.from_us, |one| {
            one.key.interval.from_us.max(self.stage.from_us)
        });
        let mut steps: Vec<takeover::Counts> = Vec::new();
        for one in counted {
            let step = (middle(one.key.interval) - start_us).max(0) / self.step_us;
            let step = usize::try_from(step).unwrap_or(0);
            if steps.len() <= step {
                steps.resize(step + 1, vec![0; self.backends.len()]);
            }
            steps[step][one.backend] += one.sample.responses;
        }
        let found = takeover::find(
            &steps,
            (start_us, self.step_us),
            self.stage.from_us,
            old,
            shares,
        );
        let later = start_us > self.stage.from_us + self.step_us;
        if later && found.from_the_first {
            // Traffic came after the change, and by the new shares: nobody saw when they were taken.
            return (None, i64::MIN);
        }
        let judged_us = start_us
            + i64::try_from(found.first_judged).unwrap_or(i64::MAX / self.step_us) * self.step_us;
        (Some(found.takeover), judged_us)
    }

    fn sums(&self, counted: &[Counted<'_>]) -> Vec<u64> {
        let mut counts = vec![0; self.backends.len()];
        for one in counted {
            counts[one.backend] += one.sample.responses;
        }
        counts
    }

    /// Counts of each window with a response, by its start.
    fn windows(&self, counted: &[Counted<'_>]) -> Vec<(i64, Vec<u64>)> {
        let start_us = span(counted).from_us;
        let length_us = self.options.window_us.max(self.step_us);
        let mut windows: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for one in counted {
            let number = (middle(one.key.interval) - start_us).max(0) / length_us;
            let counts = windows
                .entry(start_us + number * length_us)
                .or_insert_with(|| vec![0; self.backends.len()]);
            counts[one.backend] += one.sample.responses;
        }
        windows.into_iter().collect()
    }

    fn backend_reports(
        &self,
        judged: &[Counted<'_>],
        counts: &[u64],
        windows: &[Vec<u64>],
    ) -> Vec<BackendReport> {
        let n: u64 = counts.iter().sum();
        let several = counts.len() > 2;
        let simultaneous = several.then(|| goodman(counts, CONFIDENCE)).flatten();
        let report = |(index, backend): (usize, &BackendId)| {
            let mut parts = self.stage.shares.spec.parts.iter();
            let part = parts.find(|part| part.backend == *backend);
            let count = counts[index];
            let (interval, interval_method) = match &simultaneous {
                Some(intervals) => (intervals.get(index).copied(), "goodman"),
                None if n < SMALL => (clopper_pearson(count, n, CONFIDENCE), "clopper_pearson"),
                None => (wilson(count, n, CONFIDENCE), "wilson"),
            };
            let own = windows_of(windows, index);
            let mut found = BackendReport {
                backend: backend.clone(),
                weight: part.map(|part| part.weight),
                fate: part.map(|part| part.fate.clone()),
                spec_share: share_of(&self.stage.shares.spec, backend),
                configured_share: self
                    .stage
                    .shares
                    .configured
                    .as_ref()
                    .ok()
                    .map(|split| share_of(split, backend)),
                responses: count,
                unparsed: 0,
                statuses: BTreeMap::new(),
                pods: BTreeMap::new(),
                share: (n > 0).then(|| count as f64 / n as f64),
                interval,
                interval_method,
                clustered: clustered_share(&own, CONFIDENCE),
                dispersion: dispersion(&own, None),
                tarone: tarone(&own),
            };
            for one in judged.iter().filter(|one| one.backend == index) {
                match one.key.status {
                    Some(status) => {
                        *found.statuses.entry(status.to_string()).or_default() +=
                            one.sample.responses;
                    }
                    None => found.unparsed += one.sample.responses,
                }
                *found.pods.entry(one.key.pod.clone()).or_default() += one.sample.responses;
            }
            found
        };
        self.backends.iter().enumerate().map(report).collect()
    }
}

fn only_inconclusive(judgement: &mut Judgement) {
    judgement.result = Outcome::Inconclusive;
    for margin in &mut judgement.margins {
        margin.result = Outcome::Inconclusive;
    }
}

fn window_reports(windows: &[(i64, Vec<u64>)], shares: &[f64]) -> Vec<WindowReport> {
    let report = |(from_us, counts): &(i64, Vec<u64>)| {
        let n: u64 = counts.iter().sum();
        let intervals: Option<Vec<Interval>> = counts
            .iter()
            .map(|&count| wilson(count, n, CONFIDENCE))
            .collect();
        let share = |&count: &u64| count as f64 / n as f64;
        WindowReport {
            from: Moment(*from_us),
            responses: counts.clone(),
            shares: if n > 0 {
                counts.iter().map(share).collect()
            } else {
                Vec::new()
            },
            intervals: intervals.unwrap_or_default(),
            distance: distance(counts, shares),
        }
    };
    windows.iter().map(report).collect()
}

/// From the first interval to the last.
fn span(counted: &[Counted<'_>]) -> Window {
    let intervals = counted.iter().map(|one| one.key.interval);
    intervals.reduce(Window::cover).unwrap_or(Window {
        from_us: 0,
        to_us: 0,
    })
}
