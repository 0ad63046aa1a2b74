//! k6's own figures beside the probe's, and the account between them.
//!
//! The files of one run tell of the same requests, each another part: what one leaves out is taken
//! from the next. Errors that a Gateway makes by itself reach no backend: only k6's statuses show
//! them, so a share that is due an error is judged here, or not at all.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::Serialize;

use crate::input::k6::{self, LoadResult, Quantiles};
use crate::input::manifest::Run;
use crate::reconcile::responses::{Account, Bound, Closure, Counts, Term, reconcile};
use crate::stats::Interval;
use crate::stats::proportion::{Verdict, requests_needed, tost};
use crate::verdict::Outcome;
use crate::verdict::evidence::Window;
use crate::verdict::split::{RuleReport, SplitEvidence, SplitReport};

/// Kinds under which manifests list k6's output.
const KINDS: [&str; 5] = [
    "k6-console",
    "k6-ndjson",
    "k6-csv",
    "k6-summary-export",
    "k6-summary",
];

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

/// Reads the k6 files of `runs`.
pub fn read(runs: &[&Run]) -> anyhow::Result<Vec<LoadFigures>> {
    let mut figures = Vec::new();
    for run in runs.iter().filter(|run| run.manifest.tool == "k6") {
        let (mut files, mut loads) = (Vec::new(), Vec::new());
        for path in KINDS.iter().flat_map(|kind| run.files_of_kind(kind)) {
            let load = k6::read(&path)?;
            load.require_responses(&path)?;
            let relative = path.strip_prefix(&run.folder).unwrap_or(&path);
            files.push(relative.display().to_string());
            loads.push(load);
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
            files,
            requests: loads.iter().map(|load| load.requests).max().unwrap_or(0),
            statuses: loads.iter().find_map(|load| load.statuses.clone()),
            backends: Vec::new(),
            gateway_errors: None,
            error_share: None,
            waiting_us: loads.iter().find_map(|load| load.waiting_us),
            account: reconcile(&Counts::of_load(first, Bound::UNKNOWN)),
            notes: loads.iter().flat_map(|load| load.notes.clone()).collect(),
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
    for run in runs.iter_mut() {
        run.hold_against(&report.rules, evidence);
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

    fn hold_against(&mut self, rules: &[RuleReport], evidence: &SplitEvidence<'_>) {
        let seen = evidence.responses_in(rules, self.window);
        let mut pods: BTreeMap<String, PodCount> = BTreeMap::new();
        let mut by_status: BTreeMap<u16, u64> = BTreeMap::new();
        for ((pod, status), responses) in &seen.backends {
            let name = pod.rsplit('/').next().unwrap_or(pod).to_owned();
            let known = pods.entry(name.clone()).or_insert(PodCount {
                pod: name,
                k6: None,
                probe: 0,
            });
            known.probe += responses;
            if let Some(status) = status.and_then(|status| u16::try_from(status).ok()) {
                *by_status.entry(status).or_default() += responses;
            }
        }
        if let Some(named) = self.loads.iter().find_map(|load| load.backends.as_ref()) {
            for (pod, responses) in named {
                pods.entry(pod.clone())
                    .or_insert(PodCount {
                        pod: pod.clone(),
                        k6: None,
                        probe: 0,
                    })
                    .k6 = Some(*responses);
            }
        }
        self.backends = pods.into_values().collect();
        let answered: u64 = seen.backends.values().sum();
        self.gateway_errors = self.statuses.as_ref().map(|statuses| {
            let failures = statuses.iter().filter(|(status, _)| **status >= 500);
            let own = failures.map(|(status, count)| {
                count.saturating_sub(by_status.get(status).copied().unwrap_or(0))
            });
            own.sum()
        });
        // The file that says most: one with a count of requests that got no response.
        let load = self.loads.iter().find(|load| load.failed.is_some());
        let Some(load) = load.or(self.loads.first()) else {
            return;
        };
        let counts = Counts::of_load(load, Bound::exactly(answered + seen.mirrored));
        // A Gateway's own response is an error, and so is a response upon which it asks again.
        let errors_at_k6 = self.statuses.as_ref().map(|statuses| -> u64 {
            let errors = statuses.iter().filter(|(status, _)| **status >= 400);
            errors.map(|(_, count)| count).sum()
        });
        let errors_at_backends: u64 = seen
            .backends
            .iter()
            .filter(|((_, status), _)| status.is_none_or(|status| status >= 400))
            .map(|(_, responses)| responses)
            .sum();
        self.account = reconcile(&Counts {
            gateway_errors: match (self.gateway_errors, errors_at_k6) {
                (Some(least), Some(most)) => Bound::between(least.min(most), most),
                _ => counts.gateway_errors,
            },
            retries: Bound::between(0, errors_at_backends),
            mirrored: Bound::exactly(seen.mirrored),
            probes: Bound::exactly(0),
            ..counts
        });
    }

    /// Judges the errors that k6 saw against what is due.
    fn judge_errors(&mut self, rule: &mut RuleReport, due: f64, margin: f64, alpha: f64) {
        let (Some(statuses), Some(errors)) = (&self.statuses, self.gateway_errors) else {
            if due > 0.0 {
                take_pass(
                    rule,
                    format!(
                        "{:.2} % of the requests are due an error of the Gateway's own, and no file of the run has statuses",
                        due * 100.0
                    ),
                );
            }
            return;
        };
        let responses: u64 = statuses.values().sum();
        if errors == 0 && due == 0.0 {
            return;
        }
        let Some(test) = tost(errors, responses, due, margin, alpha) else {
            return;
        };
        let result = match test.verdict {
            Verdict::Equivalent => Outcome::Pass,
            Verdict::Different => Outcome::Fail,
            Verdict::Inconclusive => Outcome::Inconclusive,
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

fn take_pass(rule: &mut RuleReport, reason: String) {
    rule.result = rule.result.max(Outcome::Inconclusive);
    rule.inconclusive_because.push(reason);
}

fn shown(bound: Bound) -> String {
    match (bound.exact(), bound.most) {
        (Some(count), _) => count.to_string(),
        (None, Some(most)) => format!("{}…{most}", bound.least),
        (None, None) if bound.least == 0 => "?".to_owned(),
        (None, None) => format!("≥ {}", bound.least),
    }
}
