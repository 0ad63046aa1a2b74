//! Gateways that move: when the old one fell silent, when the new one spoke, who came through.
//!
//! A move is a change of what a policy demands; what the wires saw around it is set beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::egress::Judged;
use super::report::Moment;
use crate::policy::{Exit, Expectation};

/// One move of a policy's exit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Failover {
    /// Policy.
    pub policy: String,
    /// When the objects say it moved.
    pub at: Moment,
    /// Exit before.
    pub from: String,
    /// Exit after.
    pub to: String,
    /// Last packet by the old exit.
    pub last_by_old: Option<Moment>,
    /// First packet by the new one.
    pub first_by_new: Option<Moment>,
    /// Between the two; negative if both carried traffic for a while.
    pub hole_us: Option<i64>,
    /// Connections that left by the old and then by the new exit.
    pub survived: u64,
    /// Connections that left by the old exit, sent on, and never left by the new one.
    pub broken: u64,
    /// Connections that left by the new exit only.
    pub new: u64,
}

/// Finds the moves in what was demanded of `judged`.
pub(crate) fn failovers(judged: &[Judged]) -> Vec<Failover> {
    let mut by_policy: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for one in judged {
        by_policy.entry(&one.spell.policy).or_default().push(one);
    }
    let mut found: Vec<Failover> = by_policy
        .into_iter()
        .flat_map(|(policy, judged)| moves(policy, &judged))
        .collect();
    found.sort();
    found
}

fn moves(policy: &str, judged: &[&Judged]) -> Vec<Failover> {
    let mut demanded: BTreeMap<i64, &Exit> = BTreeMap::new();
    for one in judged {
        if let Expectation::Exactly(exit) = &one.expected.expectation {
            demanded.entry(one.expected.since_us).or_insert(exit);
        }
    }
    let mut steps: Vec<(i64, &Exit)> = Vec::new();
    for (since_us, exit) in demanded {
        if steps.last().is_none_or(|(_, last)| *last != exit) {
            steps.push((since_us, exit));
        }
    }
    (1..steps.len())
        .map(|index| {
            let (at_us, to) = steps[index];
            let from = steps[index - 1].1;
            let until_us = steps.get(index + 1).map_or(i64::MAX, |(next, _)| *next);
            let since_us = if index == 1 {
                i64::MIN
            } else {
                steps[index - 1].0
            };
            one_move(
                policy,
                judged,
                &Move {
                    from,
                    to,
                    since_us,
                    at_us,
                    until_us,
                },
            )
        })
        .collect()
}

/// A change of exit, and the times of the changes around it.
struct Move<'a> {
    from: &'a Exit,
    to: &'a Exit,
    since_us: i64,
    at_us: i64,
    until_us: i64,
}

fn one_move(policy: &str, judged: &[&Judged], change: &Move<'_>) -> Failover {
    let concerned = judged
        .iter()
        .filter(|one| one.spell.last.0 >= change.since_us && one.spell.first.0 < change.until_us);
    let (mut by_old, mut by_new) = (BTreeSet::new(), BTreeSet::new());
    let mut last_seen: BTreeMap<usize, i64> = BTreeMap::new();
    let (mut last_by_old, mut first_by_new): (Option<i64>, Option<i64>) = (None, None);
    for one in concerned {
        let spell = &one.spell;
        let last = last_seen.entry(spell.connection).or_insert(i64::MIN);
        *last = (*last).max(spell.last.0);
        if left_by(one, change.from) {
            by_old.insert(spell.connection);
            last_by_old = last_by_old.max(Some(spell.last.0));
        } else if left_by(one, change.to) {
            by_new.insert(spell.connection);
            first_by_new =
                Some(first_by_new.map_or(spell.first.0, |first| first.min(spell.first.0)));
        }
    }
    let survived = by_old.intersection(&by_new).count() as u64;
    let broken = by_old
        .difference(&by_new)
        .filter(|connection| last_by_old.is_some_and(|silent_us| last_seen[connection] > silent_us))
        .count() as u64;
    Failover {
        policy: policy.to_owned(),
        at: Moment(change.at_us),
        from: change.from.to_string(),
        to: change.to.to_string(),
        last_by_old: last_by_old.map(Moment),
        first_by_new: first_by_new.map(Moment),
        hole_us: last_by_old.zip(first_by_new).map(|(old, new)| new - old),
        survived,
        broken,
        new: (by_new.len() as u64).saturating_sub(survived),
    }
}

fn left_by(one: &Judged, exit: &Exit) -> bool {
    one.spell.exit.as_ref().is_some_and(|seen| {
        exit.node.as_ref().is_none_or(|node| *node == seen.node)
            && exit.address.is_none_or(|address| address == seen.address)
    })
}
