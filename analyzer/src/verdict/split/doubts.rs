//! What could hide that a rule's split is not as it looks: why a verdict is not one.
//!
//! A doubt takes a verdict away and never gives one. Where responses may be another rule's, or be
//! counted twice because the Gateway tried again, nothing is shown. A loss takes a pass away where the
//! lost responses could change it, and a failure where they could be the whole of it.

use std::collections::BTreeSet;

use super::super::Outcome;
use super::super::evidence::Window;
use super::super::report::Moment;
use super::assess::Docket;
use super::judge::{Rigour, judge, survives};
use super::losses::{ResponseLoss, losses};
use super::report::{BackendReport, StageReport, TakeoverState, WindowReport};
use crate::policy::gateway_api::BackendId;

impl Docket<'_> {
    /// What makes the count itself doubtful; `reached` are the backends of which its pods are
    /// endpoints.
    pub fn doubts(&self, confused: u64, reached: &BTreeSet<BackendId>) -> Vec<String> {
        let mut because = Vec::new();
        if confused > 0 {
            because.push(format!(
                "{confused} responses came from pods that stand behind several of its backends"
            ));
        }
        let mirrors = self.unit.mirrors();
        for target in mirrors.iter().filter(|target| reached.contains(target)) {
            let what = if self.backends.contains(target) {
                "is a backend"
            } else {
                "has a backend's pods"
            };
            because.push(format!(
                "{target} {what} and is a target of mirroring: responses to copies cannot be told apart"
            ));
        }
        for gateway in self.evidence.topology.on_host_network(&self.unit.gateways) {
            because.push(format!(
                "the data plane of {gateway} has its node's address: the kubelet's probes cannot be told apart"
            ));
        }
        because
    }

    /// Losses on the nodes where its backends ran, while they did and while runs went on: where the
    /// probe came late or went early, the first or last response says nothing of it.
    pub fn losses(&self) -> Vec<ResponseLoss> {
        let runs = self.options.runs.iter().copied();
        let during = runs.fold(self.during, Window::cover);
        let mut nodes = BTreeSet::new();
        for backend in &self.backends {
            nodes.extend(
                self.evidence
                    .topology
                    .nodes(backend, self.during)
                    .into_iter()
                    .map(str::to_owned),
            );
        }
        let samples = self.evidence.observed.samples.keys();
        nodes.extend(
            samples
                .filter(|key| self.indices(key).next().is_some())
                .map(|key| key.node.clone()),
        );
        let mut found = losses(
            &self.evidence.ledger,
            &self.options.runs,
            &nodes,
            during,
            &self.evidence.observed,
        );
        // What the Gateways asked for may have been asked of any of their backends.
        let strangers = self.evidence.observed.strangers.iter();
        found.extend(
            strangers
                .filter(|((_, asker), _)| self.is_own(asker))
                .map(|((node, _), &responses)| ResponseLoss {
                    node: node.clone(),
                    what: format!(
                        "node {node}: {responses} responses to the Gateways came from pods that stand behind no Service of the objects"
                    ),
                    from: Moment(during.from_us),
                    to: Moment(during.to_us),
                    responses_at_most: Some(responses),
                }),
        );
        found
    }

    /// Losses that could change a pass, in words with their bound, and those that could not.
    pub fn weigh(
        &self,
        losses: &[ResponseLoss],
        stages: &[StageReport],
    ) -> (Vec<String>, Vec<String>) {
        let bounded: u64 = losses
            .iter()
            .filter_map(|loss| loss.responses_at_most)
            .sum();
        let rigour = self.rigour(stages);
        let holds = stages.iter().all(|stage| {
            let counts: Vec<u64> = stage
                .backends
                .iter()
                .map(|backend| backend.responses)
                .collect();
            let shares = &stage.judgements[0].shares;
            stage.result != Outcome::Pass || survives(&counts, shares, rigour, bounded)
        });
        let judged: u64 = stages.iter().map(|stage| stage.responses).sum();
        let (mut hidden, mut harmless) = (Vec::new(), Vec::new());
        for loss in losses {
            match loss.responses_at_most {
                None => hidden.push(loss.what.clone()),
                Some(most) => {
                    let bound = bounded as f64 / (judged + bounded).max(1) as f64;
                    let text = format!(
                        "{}: shares may be off by up to {:.2} % ({most} of {} responses)",
                        loss.what,
                        bound * 100.0,
                        judged + bounded
                    );
                    if holds {
                        harmless.push(text);
                    } else {
                        hidden.push(text);
                    }
                }
            }
        }
        (hidden, harmless)
    }

    /// Whether some stage fails whatever the lost responses were: without the windows in which
    /// somebody was not watching, and with all others that were lost where they were lacking.
    pub fn failure_stands(&self, stages: &[StageReport], losses: &[ResponseLoss]) -> bool {
        let (bounded, blind): (Vec<_>, Vec<_>) = losses
            .iter()
            .partition(|loss| loss.responses_at_most.is_some());
        let lost: u64 = bounded
            .iter()
            .filter_map(|loss| loss.responses_at_most)
            .sum();
        let is_seen = |window: &WindowReport| {
            let window = Window {
                from_us: window.from.0,
                to_us: window.from.0.saturating_add(self.options.window_us),
            };
            !blind.iter().any(|loss| loss.window().touches(&window, 0))
        };
        let mut failing = stages.iter().filter(|stage| stage.result == Outcome::Fail);
        failing.any(|stage| {
            let judgement = &stage.judgements[0];
            let mut counts = vec![0; stage.backends.len()];
            for window in stage.windows.iter().filter(|window| is_seen(window)) {
                for (sum, responses) in counts.iter_mut().zip(&window.responses) {
                    *sum += responses;
                }
            }
            let counts = with_lost(counts, &judgement.shares, lost);
            let rigour = self.rigour(stages);
            let again = judge(judgement.reference, &counts, &[], &judgement.shares, rigour);
            judgement.impossible || again.result == Outcome::Fail
        })
    }

    /// Responses upon which the Gateway may have asked again: a request counts once more for each,
    /// so the result has to be the same without them.
    pub fn retries(&self, stages: &[StageReport]) -> Option<String> {
        let rule = self.unit.stages.iter().map(|stage| &stage.shares.retried);
        let codes: BTreeSet<String> = rule.flatten().map(ToString::to_string).collect();
        let rigour = self.rigour(stages);
        let mut retried = 0;
        let mut decided = true;
        for stage in stages {
            let failing = |backend: &BackendReport| -> u64 {
                let statuses = backend.statuses.iter();
                let failing = statuses.filter(|(status, _)| codes.contains(*status));
                failing.map(|(_, responses)| responses).sum()
            };
            let counts = stage.backends.iter();
            let counts: Vec<u64> = counts
                .map(|backend| backend.responses - failing(backend))
                .collect();
            let judgement = &stage.judgements[0];
            let without = judge(judgement.reference, &counts, &[], &judgement.shares, rigour);
            retried += stage.responses - counts.iter().sum::<u64>();
            decided &= without.result == stage.result;
        }
        (retried > 0 && !decided).then(|| {
            format!(
                "{retried} responses have a status upon which the route has the Gateway ask again: without them the result is another"
            )
        })
    }

    fn rigour(&self, stages: &[StageReport]) -> Rigour {
        Rigour {
            margin: self.options.margin,
            alpha: self.options.alpha,
            stages: stages.len(),
        }
    }
}

/// Why a stage's responses may still be the old weights'.
pub(crate) fn unknown_takeover(stage: &StageReport) -> Option<String> {
    let takeover = stage.takeover.as_ref()?;
    (takeover.state == TakeoverState::Unknown).then(|| {
        format!(
            "too few responses since {} to say when the new weights took hold",
            stage.from
        )
    })
}

/// Counts with lost responses added to the backends that lack them, so that they come as near to
/// their shares as these can bring them.
fn with_lost(mut counts: Vec<u64>, shares: &[f64], lost: u64) -> Vec<u64> {
    let all = (counts.iter().sum::<u64>() + lost) as f64;
    let lacking: Vec<f64> = counts
        .iter()
        .zip(shares)
        .map(|(&count, share)| (share * all - count as f64).max(0.0))
        .collect();
    let sum: f64 = lacking.iter().sum();
    for (count, lacking) in counts.iter_mut().zip(&lacking) {
        if sum > 0.0 {
            *count += (lost as f64 * lacking / sum).round() as u64;
        }
    }
    counts
}
