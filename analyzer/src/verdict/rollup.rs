//! Sums over judged spells: by policy, by pod, leak windows; and what doubts do to a pass.
//!
//! Doubts take passes away; they never make a failure better. A policy whose pods nobody watched is
//! listed although none of its connections was seen.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::doubts::{Doubts, peer_doubts};
use super::egress::{Bench, Judged, Options};
use super::evidence::Window;
use super::failover::failovers;
use super::loss::Loss;
use super::peers::PeerCheck;
use super::report::{
    EgressReport, ExitTally, LeakWindow, Moment, NotJudged, PodRollup, PolicyRollup, SeenExit,
    Tally,
};
use super::{Outcome, Verdict};
use crate::policy::Expectation;

/// Version of the report document.
const REPORT_VERSION: u32 = 1;

/// Spells that fail alike and lie closer than this are one leak window.
const WINDOW_PAUSE_US: i64 = 5_000_000;

pub(crate) fn report(
    mut judged: Vec<Judged>,
    not_judged: NotJudged,
    peers: Option<PeerCheck>,
    bench: &Bench<'_>,
    options: &Options,
) -> EgressReport {
    judged.sort_by(|a, b| order(a).cmp(&order(b)));
    number_connections(&mut judged);
    let losses: Vec<Loss> = bench
        .coverage
        .losses
        .iter()
        .filter(|loss| {
            options.focus.is_empty()
                || options
                    .focus
                    .iter()
                    .any(|focus| focus.window.touches(&loss.window(), 0))
        })
        .cloned()
        .collect();
    let doubts = Doubts::new(&losses, bench, options);
    let mut groups = grouped(&judged, |one| one.spell.policy.clone());
    for policy in doubts.unseen_policies(groups.keys().map(String::as_str)) {
        groups.insert(policy, Vec::new());
    }
    let policies: Vec<PolicyRollup> = groups
        .into_iter()
        .map(|(policy, judged)| policy_rollup(policy, &judged, &doubts, peers.as_ref()))
        .collect();
    let pods = grouped(&judged, |one| {
        (one.spell.pod.clone(), one.spell.node.clone())
    })
    .into_iter()
    .map(|((pod, node), judged)| pod_rollup(pod, node, &judged))
    .collect();
    EgressReport {
        schema_version: REPORT_VERSION,
        result: policies
            .iter()
            .map(|policy| policy.result)
            .max()
            .unwrap_or(Outcome::Inconclusive),
        verdicts: tallies(&judged.iter().collect::<Vec<_>>()),
        policies,
        pods,
        leak_windows: leak_windows(&judged),
        failovers: failovers(&judged),
        anomalies: restless_exits(&judged, bench.demands.cluster.change_times()),
        not_judged,
        losses,
        peers,
        connections: options
            .list_connections
            .then(|| judged.into_iter().map(|one| one.spell).collect()),
    }
}

/// Reports list spells in order of time, then by what names them.
fn order(one: &Judged) -> impl Ord {
    let spell = &one.spell;
    (
        spell.first,
        spell.pod.clone(),
        one.tuple,
        spell.last,
        spell.verdict,
        spell.exit.clone(),
        spell.connection,
    )
}

/// Numbers connections in the order of the report, from 1.
fn number_connections(judged: &mut [Judged]) {
    let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
    for one in judged {
        let next = numbers.len() + 1;
        one.spell.connection = *numbers.entry(one.spell.connection).or_insert(next);
    }
}

fn grouped<K: Ord>(judged: &[Judged], key: impl Fn(&Judged) -> K) -> BTreeMap<K, Vec<&Judged>> {
    let mut groups: BTreeMap<K, Vec<&Judged>> = BTreeMap::new();
    for one in judged {
        groups.entry(key(one)).or_default().push(one);
    }
    groups
}

fn tallies(judged: &[&Judged]) -> BTreeMap<&'static str, Tally> {
    let mut counted: HashSet<(Verdict, usize)> = HashSet::new();
    let mut tallies: BTreeMap<&'static str, Tally> = BTreeMap::new();
    for one in judged {
        let tally = tallies.entry(one.spell.verdict.name()).or_default();
        tally.add(one.spell.bytes, one.spell.packets);
        tally.connections += u64::from(counted.insert((one.spell.verdict, one.spell.connection)));
    }
    tallies
}

fn span(judged: &[&Judged]) -> Window {
    judged
        .iter()
        .map(|one| Window {
            from_us: one.spell.first.0,
            to_us: one.spell.last.0,
        })
        .reduce(Window::cover)
        .unwrap_or(Window {
            from_us: 0,
            to_us: 0,
        })
}

fn policy_rollup(
    policy: String,
    judged: &[&Judged],
    doubts: &Doubts<'_>,
    peers: Option<&PeerCheck>,
) -> PolicyRollup {
    let seen = if judged.is_empty() {
        doubts.overall
    } else {
        span(judged)
    };
    let mut because = doubts.of(&policy, judged, seen);
    because.extend(peer_doubts(judged, peers));
    let worst = judged.iter().map(|one| one.spell.verdict.outcome()).max();
    let result = worst.unwrap_or(Outcome::Inconclusive);
    let expected: BTreeSet<(i64, &String)> = judged
        .iter()
        .map(|one| (one.expected.since_us, &one.spell.expected))
        .collect();
    let mut expected: Vec<String> = expected.into_iter().map(|(_, text)| text.clone()).collect();
    let mut listed = HashSet::new();
    expected.retain(|text| listed.insert(text.clone()));
    PolicyRollup {
        policy,
        result: if because.is_empty() {
            result
        } else {
            result.max(Outcome::Inconclusive)
        },
        inconclusive_because: because,
        expected,
        exits: exit_tallies(judged),
        verdicts: tallies(judged),
        first: Moment(seen.from_us),
        last: Moment(seen.to_us),
    }
}

fn exit_tallies(judged: &[&Judged]) -> Vec<ExitTally> {
    let mut groups: BTreeMap<(Verdict, Option<&SeenExit>), Vec<&Judged>> = BTreeMap::new();
    for one in judged {
        groups
            .entry((one.spell.verdict, one.spell.exit.as_ref()))
            .or_default()
            .push(one);
    }
    groups
        .into_iter()
        .map(|((verdict, exit), judged)| ExitTally {
            verdict,
            exit: exit.cloned(),
            tally: tallies(&judged).remove(verdict.name()).unwrap_or_default(),
        })
        .collect()
}

fn pod_rollup(pod: String, node: String, judged: &[&Judged]) -> PodRollup {
    let seen = span(judged);
    let policies: BTreeSet<&String> = judged.iter().map(|one| &one.spell.policy).collect();
    PodRollup {
        pod,
        node,
        policies: policies.into_iter().cloned().collect(),
        verdicts: tallies(judged),
        first: Moment(seen.from_us),
        last: Moment(seen.to_us),
    }
}

fn leak_windows(judged: &[Judged]) -> Vec<LeakWindow> {
    let failing = |one: &&Judged| one.spell.verdict.outcome() == Outcome::Fail;
    let mut windows: Vec<(LeakWindow, HashSet<usize>)> = Vec::new();
    let mut open: BTreeMap<(&str, &str, Verdict), usize> = BTreeMap::new();
    for one in judged.iter().filter(failing) {
        let spell = &one.spell;
        let key = (spell.pod.as_str(), spell.policy.as_str(), spell.verdict);
        let current = open
            .get(&key)
            .copied()
            .filter(|&index| spell.first.0 - windows[index].0.last.0 <= WINDOW_PAUSE_US);
        let index = current.unwrap_or_else(|| {
            windows.push((new_window(one), HashSet::new()));
            open.insert(key, windows.len() - 1);
            windows.len() - 1
        });
        let (window, connections) = &mut windows[index];
        window.last = window.last.max(spell.last);
        window.tally.add(spell.bytes, spell.packets);
        if connections.insert(spell.connection) {
            window.tally.connections += 1;
            window.in_grace += u64::from(spell.in_grace);
        }
        if window.exit != spell.exit {
            window.exit = None;
        }
    }
    windows.into_iter().map(|(window, _)| window).collect()
}

fn new_window(one: &Judged) -> LeakWindow {
    LeakWindow {
        pod: one.spell.pod.clone(),
        policy: one.spell.policy.clone(),
        verdict: one.spell.verdict,
        exit: one.spell.exit.clone(),
        first: one.spell.first,
        last: one.spell.last,
        tally: Tally::default(),
        in_grace: 0,
    }
}

/// Pods that several policies select keep one exit while nothing changes; those that do not.
fn restless_exits(judged: &[Judged], changes: &[i64]) -> Vec<String> {
    let mut last: BTreeMap<(&str, &str), (&SeenExit, Moment)> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for one in judged {
        let several = matches!(one.expected.expectation, Expectation::OneOf(_));
        let Some(exit) = one.spell.exit.as_ref().filter(|_| several) else {
            continue;
        };
        let key = (one.spell.pod.as_str(), one.spell.policy.as_str());
        if let Some((before, at)) = last.insert(key, (exit, one.spell.first)) {
            let no_event = changes.partition_point(|&change| change <= at.0)
                == changes.partition_point(|&change| change <= one.spell.first.0);
            if before != exit && no_event {
                found.insert(format!(
                    "{}: exit changed from {before} to {exit} at {} without a change of policy",
                    one.spell.pod, one.spell.first
                ));
            }
        }
    }
    found.into_iter().collect()
}
