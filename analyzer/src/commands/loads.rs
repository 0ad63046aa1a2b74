//! k6's own figures beside the probe's, and the account between them.
//!
//! The files of one run tell of the same requests, each another part: what one leaves out is taken
//! from the next. Errors that a Gateway makes by itself reach no backend: only k6's statuses show
//! them, so a share that is due an error is judged here, or not at all.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::Serialize;

use crate::input::k6::{KINDS, LoadResult, Loads, Quantiles};
use crate::input::manifest::Run;
use crate::reconcile::responses::{Account, Bound, Closure, Counts, Term, reconcile};
use crate::stats::Interval;
use crate::stats::proportion::{Verdict, requests_needed, tost};
use crate::verdict::Outcome;
use crate::verdict::evidence::Window;
use crate::verdict::split::{ResponsesSeen, RuleReport, SplitEvidence, SplitReport};

/// Power of the needed number of requests.
const POWER: f64 = 0.9;

/// One run of k6.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadFigures {
    /// The run.
    pub run: String,
    /// Its case.
    pub case: String,
    /// Files in the run's folder.
    pub files: Vec<String>,
    /// Requests, by k6.
    pub requests: u64,
    /// Responses that k6 got, by status.
    pub statuses: Option<BTreeMap<u16, u64>>,
    /// Responses by pod: k6's and the probe's.
    pub backends: Vec<PodCount>,
    /// Responses that no backend gave, as far as statuses tell.
    pub gateway_errors: Option<u64>,
    /// How that stands against what is due, where something is.
    pub error_share: Option<ErrorShare>,
    /// Time to first byte, by k6.
    pub waiting_us: Option<Quantiles>,
    /// The probe's responses against k6's.
    pub account: Account,
    /// What the files cannot tell.
    pub notes: Vec<String>,
    /// Errors that may be backends' though they look like the Gateway's; absent without a bound.
    #[serde(skip)]
    backends_errors: Option<u64>,
    #[serde(skip)]
    window: Window,
    #[serde(skip)]
    loads: Vec<LoadResult>,
}

/// One pod's responses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PodCount {
    /// The pod.
    pub pod: String,
    /// By k6's `Hostname`; absent where no file has it.
    pub k6: Option<u64>,
    /// By the probe.
    pub probe: u64,
}

/// The share of requests that a Gateway answered with an error of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorShare {
    /// What is due.
    pub due: f64,
    /// Errors.
    pub errors: u64,
    /// Of so many responses.
    pub responses: u64,
    /// 90 % interval.
    pub interval: Interval,
    /// What it amounts to.
    pub result: Outcome,
    /// Requests that would show it nine times in ten.
    pub requests_needed: Option<u64>,
}

/// The figures of `runs`, whose files were read.
pub fn read(runs: &[&Run], files: &Loads) -> anyhow::Result<Vec<LoadFigures>> {
    let mut figures = Vec::new();
    for run in runs.iter().filter(|run| run.manifest.tool == "k6") {
        let (mut names, mut loads) = (Vec::new(), Vec::new());
        for path in KINDS.iter().flat_map(|kind| run.files_of_kind(kind)) {
            let load = files.get(&path).map_err(anyhow::Error::msg)?;
            let relative = path.strip_prefix(&run.folder).unwrap_or(&path);
            names.push(relative.display().to_string());
            loads.push(load.clone());
        }
        let Some(first) = loads.first() else {
            bail!(
                "run {}: its manifest lists no file of k6: want one of the kinds {}",
                run.manifest.id,
                KINDS.join(", ")
            );
        };
        figures.push(LoadFigures {
            run: run.manifest.id.clone(),
            case: run.manifest.case.clone(),
            files: names,
            requests: loads.iter().map(|load| load.requests).max().unwrap_or(0),
            statuses: loads.iter().find_map(|load| load.statuses.clone()),
            backends: Vec::new(),
            gateway_errors: None,
            error_share: None,
            waiting_us: loads.iter().find_map(|load| load.waiting_us),
            account: reconcile(&Counts::of_load(first, Bound::UNKNOWN)),
            notes: unique_notes(&loads),
            backends_errors: None,
            window: Window {
                from_us: run.manifest.start_us,
                to_us: run.manifest.end_us,
            },
            loads,
        });
    }
    Ok(figures)
}

/// Holds each run against the probe's counts, and the report's rules against what runs tell.
pub fn weigh(report: &mut SplitReport, runs: &mut [LoadFigures], evidence: &SplitEvidence<'_>) {
    let lost = lost(report);
    for run in runs.iter_mut() {
        run.hold_against(&report.rules, evidence, lost);
    }
    let alone = report.rules.len() == 1 && runs.len() == 1;
    let (margin, alpha) = (report.margin, report.alpha);
    for rule in &mut report.rules {
        let due = error_share_due(rule);
        match (due, alone.then(|| &mut runs[0])) {
            (Some(due), Some(run)) => run.judge_errors(rule, due, margin, alpha),
            (Some(due), None) if due > 0.0 => take_pass(rule, format!(
                "{:.2} % of the requests are due an error of the Gateway's own: give --run with one run of k6 whose files have statuses",
                due * 100.0
            )),
            (None, _) if rule.stages.iter().any(|stage| stage.gateway_error_share > 0.0) => take_pass(
                rule,
                "the share of the Gateway's own errors changes within the run: k6's statuses cannot be told apart by time".to_owned(),
            ),
            _ => {}
        }
        for run in runs.iter().filter(|run| run.misses_responses()) {
            take_pass(
                rule,
                format!(
                    "run {}: the backends answered more than the probe counted ({})",
                    run.run,
                    run.equation()
                ),
            );
        }
    }
    let rules = report.rules.iter().map(|rule| rule.result);
    report.result = rules.max().unwrap_or(Outcome::Inconclusive);
}

impl LoadFigures {
    /// Whether k6 got more responses of backends than the probe counted, whatever explains others.
    fn misses_responses(&self) -> bool {
        self.account.closure == Closure::Open
            && self.account.residual_most.is_some_and(|most| most < 0)
    }

    /// The file that tells most of what came back. A script's exception in a log may be a response
    /// that it did not understand, so a count by status goes first.
    fn fullest(&self) -> Option<&LoadResult> {
        let by_status = |load: &&LoadResult| load.statuses.is_some() && load.failed.is_some();
        let loads = || self.loads.iter();
        let some = loads().find(by_status);
        some.or_else(|| loads().find(|load| load.failed.is_some()))
            .or(self.loads.first())
    }

    /// Requests to which k6 got no response.
    fn unanswered(&self) -> Option<u64> {
        self.fullest()?.failed
    }

    /// Responses that k6 got.
    fn responses(&self) -> Option<u64> {
        let by_status = self.statuses.as_ref().map(|by| by.values().sum());
        by_status.or_else(|| Some(self.requests.saturating_sub(self.unanswered()?)))
    }

    /// Responses that k6 holds for failed: those with a status of 400 or more, unless a script says
    /// otherwise.
    fn failed_responses(&self) -> Option<u64> {
        let unexpected = self.loads.iter().find_map(|load| load.unexpected)?;
        Some(unexpected.saturating_sub(self.unanswered()?))
    }

    /// The account in words.
    pub fn equation(&self) -> String {
        let known = |term: Term| {
            let mut entries = self.account.terms.iter();
            let entry = entries.find(|entry| entry.term == term);
            entry.map_or(Bound::UNKNOWN, |entry| {
                entry.narrowed.unwrap_or(entry.given)
            })
        };
        format!(
            "backends {} = k6 {} − gateway errors {} + undelivered {} + retries {} + mirrored {} + probes {}",
            shown(known(Term::Backends)),
            shown(known(Term::Client)),
            shown(known(Term::GatewayErrors)),
            shown(known(Term::Undelivered)),
            shown(known(Term::Retries)),
            shown(known(Term::Mirrored)),
            shown(known(Term::Probes)),
        )
    }

    /// `lost` is how many responses the probe may have missed at most.
    fn hold_against(
        &mut self,
        rules: &[RuleReport],
        evidence: &SplitEvidence<'_>,
        lost: Option<u64>,
    ) {
        let seen = evidence.responses_in(rules, self.window);
        self.backends = self.pod_counts(&seen);
        let answered: u64 = seen.backends.values().sum();
        let errors_at_backends = seen.count(|status| status.is_none_or(|status| status >= 400));
        // An error that the probe missed, or whose status it could not read, looks like the Gateway's.
        let unread = seen.count(|status| status.is_none());
        self.backends_errors = lost.map(|lost| lost + unread);
        let mut errors_at_k6 = self.failed_responses();
        self.gateway_errors = errors_at_k6.map(|errors| errors.saturating_sub(errors_at_backends));
        if let Some(statuses) = &self.statuses {
            let failures = statuses.iter().filter(|(status, _)| **status >= 500);
            let own = failures.map(|(code, count)| {
                count.saturating_sub(seen.count(|status| status == Some(i32::from(*code))))
            });
            self.gateway_errors = Some(own.sum());
            let errors = statuses.iter().filter(|(status, _)| **status >= 400);
            errors_at_k6 = Some(errors.map(|(_, count)| count).sum());
        }
        let Some(load) = self.fullest() else {
            return;
        };
        let counted = answered + seen.mirrored;
        let with_lost = |count: u64| Bound {
            least: count,
            most: lost.map(|lost| count + lost),
        };
        let counts = Counts::of_load(load, with_lost(counted));
        self.account = reconcile(&Counts {
            // A Gateway's own response is an error, and so is one upon which it asks again.
            gateway_errors: match (self.gateway_errors, errors_at_k6) {
                (Some(_), Some(most)) => Bound::between(self.least_errors().min(most), most),
                _ => counts.gateway_errors,
            },
            retries: Bound {
                least: 0,
                ..with_lost(errors_at_backends)
            },
            mirrored: with_lost(seen.mirrored),
            probes: Bound::exactly(0),
            ..counts
        });
    }

    /// The Gateway's own errors, less those that may be backends'.
    fn least_errors(&self) -> u64 {
        let most = self.gateway_errors.unwrap_or(0);
        self.backends_errors
            .map_or(0, |errors| most.saturating_sub(errors))
    }

    /// Responses by pod, as the probe and k6 count them.
    fn pod_counts(&self, seen: &ResponsesSeen) -> Vec<PodCount> {
        let mut pods: BTreeMap<&str, (Option<u64>, u64)> = BTreeMap::new();
        for ((pod, _), responses) in &seen.backends {
            let name = pod.rsplit('/').next().unwrap_or(pod);
            pods.entry(name).or_default().1 += responses;
        }
        let named = self.loads.iter().find_map(|load| load.backends.as_ref());
        for (pod, responses) in named.into_iter().flatten() {
            pods.entry(pod).or_default().0 = Some(*responses);
        }
        let counts = pods.into_iter().map(|(pod, (k6, probe))| PodCount {
            pod: pod.to_owned(),
            k6,
            probe,
        });
        counts.collect()
    }

    /// Judges the errors that k6 saw against what is due.
    fn judge_errors(&mut self, rule: &mut RuleReport, due: f64, margin: f64, alpha: f64) {
        let (Some(responses), Some(errors)) = (self.responses(), self.gateway_errors) else {
            if due > 0.0 {
                take_pass(
                    rule,
                    format!(
                        "{:.2} % of the requests are due an error of the Gateway's own, and no file of the run tells them from others",
                        due * 100.0
                    ),
                );
            }
            return;
        };
        if errors == 0 && due == 0.0 {
            return;
        }
        let Some(test) = tost(errors, responses, due, margin, alpha) else {
            return;
        };
        let least = tost(self.least_errors(), responses, due, margin, alpha);
        let result = match (test.verdict, least.map(|test| test.verdict)) {
            (Verdict::Equivalent, Some(Verdict::Equivalent)) => Outcome::Pass,
            (Verdict::Different, Some(Verdict::Different)) => Outcome::Fail,
            _ => Outcome::Inconclusive,
        };
        let seen = errors as f64 / responses.max(1) as f64;
        let text = format!(
            "the Gateway answered {:.2} % of {responses} requests with errors of its own, {:.2} % is due",
            seen * 100.0,
            due * 100.0
        );
        match result {
            Outcome::Pass => rule.notes.push(text),
            Outcome::Inconclusive => take_pass(rule, text),
            Outcome::Fail => {
                rule.summary = format!("{text}; its backends' part: {}", rule.summary);
                rule.result = Outcome::Fail;
            }
        }
        self.error_share = Some(ErrorShare {
            due,
            errors,
            responses,
            interval: test.interval,
            result,
            requests_needed: requests_needed(due, margin, alpha, POWER),
        });
    }
}

/// The share that is due an error; `None` where it is not the same in all stages.
fn error_share_due(rule: &RuleReport) -> Option<f64> {
    let first = rule.stages.first()?.gateway_error_share;
    let mut stages = rule.stages.iter();
    stages
        .all(|stage| (stage.gateway_error_share - first).abs() < 1e-9)
        .then_some(first)
}

/// Responses that the probe may have missed at most; `None` where nothing bounds them.
fn lost(report: &SplitReport) -> Option<u64> {
    let losses = report.losses.iter();
    losses.map(|loss| loss.responses_at_most).sum()
}

fn take_pass(rule: &mut RuleReport, reason: String) {
    if rule.result == Outcome::Pass {
        rule.summary = format!("as far as can be told, {}", rule.summary);
    }
    rule.result = rule.result.max(Outcome::Inconclusive);
    rule.inconclusive_because.push(reason);
}

/// What the files cannot tell, each thing once.
fn unique_notes(loads: &[LoadResult]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for note in loads.iter().flat_map(|load| &load.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    notes
}

fn shown(bound: Bound) -> String {
    match (bound.exact(), bound.most) {
        (Some(count), _) => count.to_string(),
        (None, Some(most)) => format!("{}…{most}", bound.least),
        (None, None) if bound.least == 0 => "?".to_owned(),
        (None, None) => format!("≥ {}", bound.least),
    }
}
