//! The engine that answers what the policies demand.
//!
//! An answer is worked out for each stretch of time in which nothing that it depends on changes,
//! and kept: first which policies select a pod, then what they say of a destination. Stretches
//! with equal answers are joined, so that the start of one is the time since which it holds.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::cluster::Cluster;
use super::lints;
use super::rules::{self, Epochs};
use super::subject::Subject;
use super::{
    BypassReason, EngineOptions, Expectation, Expected, Host, Lint, PodIdentity, PolicyError,
    PolicyRef, antrea, cilium, identity,
};
use crate::objects::core::Pod;
use crate::objects::{ALWAYS_US, History, ObjectName, PodAt, STILL_US, Version};

/// Answers what the policies demand, at any moment of a history.
#[derive(Debug)]
pub struct Engine<'a> {
    history: &'a History,
    options: EngineOptions,
    epochs: Epochs,
    change_times: Vec<i64>,
    selections: Mutex<HashMap<PodKey<'a>, Stretches<Selection>>>,
    answers: Mutex<HashMap<(PodKey<'a>, IpAddr), Stretches<Answer>>>,
}

/// A pod by name and UID.
type PodKey<'a> = (&'a ObjectName, &'a str);
/// Values with the time from which each holds, ascending.
type Stretches<T> = Arc<Vec<(i64, T)>>;

/// What the policies of one kind, or of all, say of a pod and a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub expectation: Expectation,
    pub policies: Vec<PolicyRef>,
    pub notes: Vec<String>,
}

/// Which policies select a pod.
#[derive(Clone, Debug, PartialEq)]
struct Selection {
    node: Option<String>,
    host_network: bool,
    cluster: Arc<Cluster>,
    antrea: Vec<Arc<antrea::Rule>>,
    cilium: Option<Arc<cilium::Routes>>,
}

impl<'a> Engine<'a> {
    /// Prepares the policies of a history.
    pub fn new(history: &'a History, options: EngineOptions) -> Result<Self, PolicyError> {
        let mut interfaces = BTreeSet::new();
        for interface in &options.node_interfaces {
            if !interfaces.insert((&interface.node, &interface.name)) {
                return Err(PolicyError::RepeatedInterface {
                    node: interface.node.clone(),
                    interface: interface.name.clone(),
                });
            }
        }
        let epochs = Epochs::of(history);
        let mut change_times: BTreeSet<i64> = epochs.starts_us().iter().copied().collect();
        rules::add_changes(&mut change_times, &history.pods);
        rules::add_changes(&mut change_times, &history.cilium_endpoints);
        rules::add_changes(&mut change_times, &history.services);
        rules::add_changes(&mut change_times, &history.endpoint_slices);
        change_times.remove(&ALWAYS_US);
        Ok(Self {
            history,
            options,
            epochs,
            change_times: change_times.into_iter().collect(),
            selections: Mutex::default(),
            answers: Mutex::default(),
        })
    }

    /// What should happen to a new connection of `pod` to `dst` at `at_us`. `dst` is the
    /// destination as it leaves the cluster: after a service's translation, where it is known.
    pub fn expect(&self, pod: &PodIdentity, dst: IpAddr, at_us: i64) -> Expected {
        let Some(pod) = self.pod(pod, at_us) else {
            return unknown(pod);
        };
        let answers = self.answers(&pod, dst);
        let Some((from_us, answer)) = in_force(&answers, at_us) else {
            return unknown(&PodIdentity::uid(pod.uid));
        };
        // A pod's birth is known to the second and may come to light after its first packet.
        let born_us = if pod.born_us <= at_us {
            pod.born_us
        } else {
            ALWAYS_US
        };
        Expected {
            expectation: answer.expectation.clone(),
            policies: answer.policies.clone(),
            since_us: born_us.max(*from_us),
            placement_notes: answer.notes.clone(),
            pod_node: pod.node.map(str::to_owned),
        }
    }

    /// Policies that do not do what their authors meant, by policy.
    pub fn lints(&self) -> Vec<Lint> {
        lints::of(self.history)
    }

    /// Times at which an expectation can change for any pod, ascending.
    pub fn change_times(&self) -> &[i64] {
        &self.change_times
    }

    /// Where the pods run that policies with a demand select, and when.
    pub fn hosts(&self) -> Vec<Host> {
        let keys: BTreeSet<PodKey<'a>> = self
            .history
            .pods
            .all()
            .map(|(name, version)| (name, version.uid.as_str()))
            .collect();
        let mut hosts = Vec::new();
        for key in keys {
            let selections = self.selections(key);
            let (_, last_us) = span(self.versions(key));
            for (index, (from_us, selection)) in selections.iter().enumerate() {
                let Some(node) = &selection.node else {
                    continue;
                };
                let next = selections.get(index + 1);
                hosts.extend(selection.demanding().map(|policy| Host {
                    policy: policy.to_string(),
                    node: node.clone(),
                    pod: key.0.to_string(),
                    from_us: *from_us,
                    until_us: next.map_or(last_us, |(next_us, _)| *next_us),
                }));
            }
        }
        hosts
    }

    fn pod(&self, pod: &PodIdentity, at_us: i64) -> Option<PodAt<'a>> {
        match pod {
            PodIdentity::Uid(uid) => self.history.pod_by_uid(uid, at_us),
            PodIdentity::Name { namespace, name } => {
                self.history.pod_by_name(namespace, name, at_us)
            }
        }
    }

    fn answers(&self, pod: &PodAt<'a>, destination: IpAddr) -> Stretches<Answer> {
        let key = ((pod.name, pod.uid), destination);
        let mut kept = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answers) = kept.get(&key) {
            return Arc::clone(answers);
        }
        let selections = self.selections(key.0);
        let mut times_us: BTreeSet<i64> = selections.iter().map(|(from_us, _)| *from_us).collect();
        let (first_us, last_us) = span(self.versions(key.0));
        for holding in self.history.holdings(destination) {
            let edges = [holding.from_us, holding.until_us];
            times_us.extend(
                edges
                    .into_iter()
                    .filter(|at_us| first_us < *at_us && *at_us < last_us),
            );
        }
        let answers = times_us.into_iter().filter_map(|at_us| {
            let (_, selection) = in_force(&selections, at_us)?;
            Some((at_us, selection.answer(self.history, destination, at_us)))
        });
        let answers = Arc::new(joined(answers));
        kept.insert(key, Arc::clone(&answers));
        answers
    }

    fn selections(&self, key: PodKey<'a>) -> Stretches<Selection> {
        let mut kept = self
            .selections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(selections) = kept.get(&key) {
            return Arc::clone(selections);
        }
        let versions: Vec<&Version<Pod>> = self.versions(key).collect();
        let (first_us, last_us) = span(versions.iter().copied());
        let mut times_us: BTreeSet<i64> = versions.iter().map(|version| version.from_us).collect();
        let within = |at_us: &i64| first_us < *at_us && *at_us < last_us;
        times_us.extend(self.epochs.starts_us().iter().copied().filter(within));
        for endpoint in self.history.cilium_endpoints.of(key.0) {
            times_us.extend(
                [endpoint.from_us, endpoint.until_us]
                    .into_iter()
                    .filter(within),
            );
        }
        let selections = times_us.into_iter().filter_map(|at_us| {
            let version = versions.iter().find(|version| version.holds_at(at_us))?;
            Some((at_us, self.select(key.0, &version.value, at_us)))
        });
        let selections = Arc::new(joined(selections));
        kept.insert(key, Arc::clone(&selections));
        selections
    }

    fn select(&self, name: &ObjectName, pod: &Pod, at_us: i64) -> Selection {
        let rules = self.epochs.at(self.history, &self.options, at_us);
        let subject = Subject::at(self.history, name, pod, at_us);
        let antrea = rules
            .antrea
            .iter()
            .filter(|rule| rule.selects(&subject))
            .cloned()
            .collect();
        let mut cilium: Vec<Arc<cilium::Rule>> = Vec::new();
        if !rules.cilium.is_empty() {
            let identity = identity::labels(&subject);
            let selected = rules
                .cilium
                .iter()
                .filter(|rule| rule.selects(&subject, &identity));
            cilium.extend(selected.cloned());
        }
        let endpoint_uid = subject.endpoint.map(|endpoint| endpoint.uid.clone());
        let endpoint_uid = endpoint_uid.filter(|uid| !uid.is_empty());
        Selection {
            node: pod.node.clone(),
            host_network: pod.host_network,
            cluster: Arc::clone(&rules.cluster),
            antrea,
            cilium: (!cilium.is_empty())
                .then(|| Arc::new(cilium::Routes::new(cilium, endpoint_uid))),
        }
    }

    fn versions(&self, (name, uid): PodKey<'a>) -> impl Iterator<Item = &'a Version<Pod>> {
        self.history
            .pods
            .of(name)
            .iter()
            .filter(move |version| version.uid == uid)
    }
}

impl Answer {
    pub(super) fn of(expectation: Expectation, policies: Vec<PolicyRef>) -> Self {
        Self {
            expectation,
            policies,
            notes: Vec::new(),
        }
    }

    fn demands(&self) -> bool {
        !matches!(self.expectation, Expectation::Bypass { .. })
    }
}

impl Selection {
    /// The policies that select the pod and say where its packets go.
    fn demanding(&self) -> impl Iterator<Item = &PolicyRef> {
        let antrea = self.antrea.iter().filter(|rule| rule.is_realised());
        let cilium = self.cilium.iter().flat_map(|routes| routes.policies());
        antrea.map(|rule| &rule.policy).chain(cilium)
    }

    fn answer(&self, history: &History, destination: IpAddr, at_us: i64) -> Answer {
        // What stays in the cluster leaves by no node, whether or not a policy selects the pod.
        let unless_inside = |reason| {
            let is_inside = self.cluster.holds_for_cilium(history, destination, at_us);
            let reason = match is_inside {
                true => BypassReason::InsideCluster,
                false => reason,
            };
            Answer::of(Expectation::Bypass { reason }, Vec::new())
        };
        if self.host_network {
            return unless_inside(BypassReason::HostNetwork);
        }
        let mut answers = Vec::new();
        if !self.antrea.is_empty() {
            let rules = &self.antrea;
            answers.push(antrea::decide(
                rules,
                history,
                &self.cluster,
                destination,
                at_us,
            ));
        }
        if let Some(routes) = &self.cilium {
            answers.push(routes.decide(history, &self.cluster, destination, at_us));
        }
        if answers.iter().filter(|answer| answer.demands()).count() > 1 {
            let policies = answers
                .into_iter()
                .flat_map(|answer| answer.policies)
                .collect();
            return Answer::of(Expectation::Ambiguous, policies);
        }
        let demanding = answers.iter().position(Answer::demands).unwrap_or(0);
        if answers.is_empty() {
            return unless_inside(BypassReason::NotSelected);
        }
        answers.swap_remove(demanding)
    }
}

/// Joins neighbours with equal values.
fn joined<T: PartialEq>(values: impl Iterator<Item = (i64, T)>) -> Vec<(i64, T)> {
    let mut joined: Vec<(i64, T)> = Vec::new();
    for (from_us, value) in values {
        if joined.last().is_none_or(|(_, last)| *last != value) {
            joined.push((from_us, value));
        }
    }
    joined
}

/// The value in force at a moment.
fn in_force<T>(stretches: &[(i64, T)], at_us: i64) -> Option<&(i64, T)> {
    stretches[..stretches.partition_point(|(from_us, _)| *from_us <= at_us)].last()
}

/// First moment of the first version, and first moment after the last.
fn span<'v>(versions: impl Iterator<Item = &'v Version<Pod>>) -> (i64, i64) {
    versions.fold((STILL_US, ALWAYS_US), |(first_us, last_us), version| {
        (first_us.min(version.from_us), last_us.max(version.until_us))
    })
}

fn unknown(pod: &PodIdentity) -> Expected {
    let pod = match pod {
        PodIdentity::Uid(uid) => format!("with UID {uid}"),
        PodIdentity::Name { namespace, name } => format!("{namespace}/{name}"),
    };
    Expected {
        expectation: Expectation::Unknown {
            reason: format!("the objects have no pod {pod} at that time"),
        },
        policies: Vec::new(),
        since_us: ALWAYS_US,
        placement_notes: Vec::new(),
        pod_node: None,
    }
}
