//! From evidence to the split report: rules, their responses, stages, doubts.
//!
//! Verdicts are given to what was seen; only then are doubts weighed, so that a doubt can take a
//! verdict away and never give one.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Outcome;
use super::super::evidence::Window;
use super::doubts::unknown_takeover;
use super::latency::{Histogram, Latency};
use super::losses::ResponseLoss;
use super::observed::{Sample, SampleKey};
use super::report::{Apart, Mirrored, RuleReport, SplitReport};
use super::stages::{self, Counted};
use super::topology::Asker;
use super::units::{self, Unit};
use super::{Options, SplitError, SplitEvidence, sentences};
use crate::objects::ObjectName;
use crate::policy::gateway_api::{BackendId, MirrorShare, RuleId, Stage};

/// Version of the report document.
const REPORT_VERSION: u32 = 1;

/// Judges every rule that was asked for and got traffic; `None` if none did.
pub fn assess(
    evidence: &SplitEvidence<'_>,
    options: &Options,
) -> Result<Option<SplitReport>, SplitError> {
    let during = evidence.observed.span.unwrap_or(Window {
        from_us: i64::MIN,
        to_us: i64::MAX,
    });
    let units = units::all(evidence.history, during);
    let (asked, named) = units::asked(evidence.history, &units, options, during)?;
    let mut rules = Vec::new();
    let mut found: BTreeMap<String, ResponseLoss> = BTreeMap::new();
    let mut notes = Vec::new();
    let chosen: BTreeSet<&RuleId> = asked.iter().map(|unit| &unit.id).collect();
    for unit in asked {
        let docket = Docket {
            evidence,
            options,
            unit,
            backends: unit.backends(),
            during,
        };
        if let Some(gateway) = docket.unknown_plane() {
            notes.push(format!(
                "no pod with the label gateway.networking.k8s.io/gateway-name={} and no ingress address is known: what {} asks for cannot be told from others",
                gateway.name, gateway
            ));
        }
        let losses = docket.losses();
        if let Some(rule) = docket.report(&units, named.then_some(&chosen), &losses) {
            rules.push(rule);
            found.extend(losses.into_iter().map(|loss| (loss.what.clone(), loss)));
        }
    }
    notes.sort();
    notes.dedup();
    Ok((!rules.is_empty()).then(|| SplitReport {
        schema_version: REPORT_VERSION,
        result: rules
            .iter()
            .map(|rule| rule.result)
            .max()
            .unwrap_or(Outcome::Inconclusive),
        margin: options.margin,
        alpha: options.alpha,
        window_us: options.window_us,
        rules,
        losses: found.into_values().collect(),
        notes,
    }))
}

/// One rule with everything that is known of it.
pub(crate) struct Docket<'a> {
    pub evidence: &'a SplitEvidence<'a>,
    pub options: &'a Options,
    pub unit: &'a Unit,
    pub backends: Vec<BackendId>,
    pub during: Window,
}

impl<'a> Docket<'a> {
    /// The report; `None` where no backend answered the Gateways. Rules that are not among the
    /// `named` ones, where there are such, were not asked.
    fn report(
        &self,
        units: &[Unit],
        named: Option<&BTreeSet<&RuleId>>,
        losses: &[ResponseLoss],
    ) -> Option<RuleReport> {
        let (counted, confused) = self.counted();
        if counted.is_empty() {
            return None;
        }
        let step_us = self.evidence.observed.step_us();
        let stages = stages::reports(self.unit, &self.backends, &counted, step_us, self.options);
        // Whose responses they are comes first: without that nothing is shown, good or bad.
        let (reached, askers) = self.reach(&counted);
        let mut because = self.doubts(confused, &reached);
        let mut notes = Vec::new();
        for (other, shared) in units::shared(self.unit, units, &reached, &askers) {
            if named.is_some_and(|named| !named.contains(other)) {
                notes.push(format!("{shared}: taken not to have been asked"));
            } else {
                because.push(format!(
                    "{shared}: their responses cannot be told apart (name the rule that was asked with --route and --rule, or --path)"
                ));
            }
        }
        because.extend(self.retries(&stages));
        let is_confused = !because.is_empty();
        let judged = stages.iter().map(|stage| stage.result).max();
        let seen = judged.unwrap_or(Outcome::Inconclusive);
        let (hidden, harmless) = self.weigh(losses, &stages);
        because.extend(hidden);
        notes.extend(harmless);
        because.extend(stages.iter().filter_map(unknown_takeover));
        notes.extend(sentences::notes(self.unit, &stages));
        let result = match seen {
            _ if is_confused => Outcome::Inconclusive,
            Outcome::Fail if self.failure_stands(&stages, losses) => Outcome::Fail,
            Outcome::Pass if because.is_empty() => Outcome::Pass,
            _ => Outcome::Inconclusive,
        };
        let summary = sentences::summary(self.unit, &stages, seen, self.options);
        Some(RuleReport {
            rule: self.unit.id.clone(),
            gateways: self.unit.gateways.iter().map(ToString::to_string).collect(),
            controller: self.unit.controller.clone(),
            implementation: self.unit.implementation,
            result,
            summary: if result == seen {
                summary
            } else {
                format!("as far as can be told, {summary}")
            },
            inconclusive_because: because,
            notes,
            mirrored: self.mirrored(),
            apart: self.apart(),
            latency: self.latency(),
            stages,
        })
    }

    /// Responses that this rule's Gateways asked its backends for, and how many of others stand
    /// behind several of its backends at once.
    fn counted(&self) -> (Vec<Counted<'a>>, u64) {
        let mut counted = Vec::new();
        let mut confused = 0;
        for (key, &sample) in &self.evidence.observed.samples {
            if !self.is_own(&key.asker) {
                continue;
            }
            let mut found = self.indices(key);
            match (found.next(), found.next()) {
                (Some(backend), None) => counted.push(Counted {
                    backend,
                    key,
                    sample,
                }),
                (Some(_), Some(_)) => confused += sample.responses,
                (None, _) => {}
            }
        }
        (counted, confused)
    }

    /// Every backend of which a pod that answered is an endpoint, with the rule's own, and every
    /// Gateway whose data plane may have asked: Cilium's have their addresses in common.
    fn reach(&self, counted: &[Counted<'_>]) -> (BTreeSet<BackendId>, BTreeSet<ObjectName>) {
        let mut reached: BTreeSet<BackendId> = self.backends.iter().cloned().collect();
        let mut askers = self.unit.gateways.clone();
        for one in counted {
            reached.extend(one.key.backends.iter().cloned());
            if let Asker::DataPlane(gateways) = &one.key.asker {
                askers.extend(gateways.iter().cloned());
            }
        }
        (reached, askers)
    }

    /// Which of its backends a sample's pod stands behind.
    pub fn indices<'k>(&'k self, key: &'k SampleKey) -> impl Iterator<Item = usize> + 'k {
        let backends = self.backends.iter().enumerate();
        backends
            .filter(|(_, backend)| key.backends.contains(backend))
            .map(|(index, _)| index)
    }

    /// Whether the rule's Gateways asked.
    pub fn is_own(&self, asker: &Asker) -> bool {
        match asker {
            Asker::DataPlane(gateways) => !gateways.is_disjoint(&self.unit.gateways),
            Asker::Node | Asker::Loopback | Asker::Other => false,
        }
    }

    fn unknown_plane(&self) -> Option<&'a ObjectName> {
        let mut gateways = self.unit.gateways.iter();
        gateways.find(|gateway| !self.evidence.topology.has_plane(gateway))
    }

    /// Responses of mirroring's targets that are not backends of the rule.
    fn mirrored(&self) -> Vec<Mirrored> {
        let mirrors = |stage: &Stage| stage.shares.mirrors.clone();
        let mut shares: BTreeMap<BackendId, MirrorShare> = BTreeMap::new();
        for mirror in self.unit.stages.iter().flat_map(mirrors) {
            shares.insert(mirror.backend.clone(), mirror);
        }
        shares.retain(|backend, _| !self.backends.contains(backend));
        let responses = |backend: &BackendId| {
            let samples = self.evidence.observed.samples.iter();
            let own = samples.filter(|(key, _)| {
                self.is_own(&key.asker)
                    && key.backends.contains(backend)
                    && self.indices(key).next().is_none()
            });
            own.map(|(_, sample)| sample.responses).sum()
        };
        shares
            .into_iter()
            .map(|(backend, mirror)| Mirrored {
                responses: responses(&backend),
                backend,
                spec_share: mirror.spec,
                configured_share: mirror.configured,
            })
            .collect()
    }

    /// Responses of its backends that others asked for.
    fn apart(&self) -> Vec<Apart> {
        let mut sums: BTreeMap<(&'static str, &BackendId), u64> = BTreeMap::new();
        for (key, sample) in &self.evidence.observed.samples {
            if self.is_own(&key.asker) {
                continue;
            }
            let asker = match key.asker {
                Asker::DataPlane(_) => "other gateway",
                Asker::Node => "node",
                Asker::Loopback => "loopback",
                Asker::Other => "other",
            };
            if let Some(index) = self.indices(key).next() {
                *sums.entry((asker, &self.backends[index])).or_default() += sample.responses;
            }
        }
        sums.into_iter()
            .map(|((asker, backend), responses)| Apart {
                asker,
                backend: backend.clone(),
                responses,
            })
            .collect()
    }

    fn latency(&self) -> BTreeMap<String, Latency> {
        let mut sums: BTreeMap<String, Histogram> = BTreeMap::new();
        for ((backends, asker), histogram) in &self.evidence.observed.latency {
            let own = self.backends.iter().find(|own| backends.contains(own));
            if let Some(backend) = own.filter(|_| self.is_own(asker)) {
                sums.entry(backend.to_string())
                    .or_default()
                    .merge(histogram);
            }
        }
        let summaries = sums.into_iter();
        summaries
            .filter_map(|(backend, histogram)| Some((backend, histogram.summary()?)))
            .collect()
    }
}

/// What the Gateways of some rules were answered in a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponsesSeen {
    /// By their backends: by pod (`namespace/name`) and status.
    pub backends: BTreeMap<(String, Option<i32>), u64>,
    /// By targets of mirroring that are no backends of theirs.
    pub mirrored: u64,
}

impl ResponsesSeen {
    /// The backends' responses of certain statuses.
    pub fn count(&self, wanted: impl Fn(Option<i32>) -> bool) -> u64 {
        let backends = self.backends.iter();
        let found = backends.filter(|((_, status), _)| wanted(*status));
        found.map(|(_, responses)| responses).sum()
    }
}

impl SplitEvidence<'_> {
    /// What the Gateways of some rules were answered in a time.
    pub fn responses_in(&self, rules: &[RuleReport], during: Window) -> ResponsesSeen {
        let backends: BTreeSet<&BackendId> = rules
            .iter()
            .flat_map(|rule| &rule.stages)
            .flat_map(|stage| stage.backends.iter().map(|backend| &backend.backend))
            .collect();
        let mirrors: BTreeSet<&BackendId> = rules
            .iter()
            .flat_map(|rule| rule.mirrored.iter().map(|mirror| &mirror.backend))
            .collect();
        let gateways: BTreeSet<&String> = rules.iter().flat_map(|rule| &rule.gateways).collect();
        let mut seen = ResponsesSeen::default();
        for (key, Sample { responses, .. }) in &self.observed.samples {
            let Asker::DataPlane(askers) = &key.asker else {
                continue;
            };
            let own = askers
                .iter()
                .any(|asker| gateways.contains(&asker.to_string()));
            if !own || !during.touches(&key.interval, 0) {
                continue;
            }
            if key
                .backends
                .iter()
                .any(|backend| backends.contains(backend))
            {
                let pod = (key.pod.clone(), key.status);
                *seen.backends.entry(pod).or_default() += responses;
            } else if key.backends.iter().any(|backend| mirrors.contains(backend)) {
                seen.mirrored += responses;
            }
        }
        seen
    }
}
