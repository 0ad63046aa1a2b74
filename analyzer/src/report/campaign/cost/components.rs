//! Bars by component of the network stack, from a profile's samples: the kernel's components, and
//! user space by whose processes they are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bar, Denominator, Measure, bar};
use crate::cost::{Components, Part, RunCost};

/// A kernel's component below this part of every bar is told with the rest.
const LEGIBLE: f64 = 0.02;
/// The kernel's components that are told apart at most.
const MOST: usize = 9;
/// What the rest is called.
const REST: &str = "rest of the kernel";
/// The group of samples in user space.
const USER: &str = "user";

/// What the kernel's components are called, in the order of a packet's way up.
const KERNEL: [(&str, &str); 18] = [
    ("driver", "drivers"),
    ("gro/gso", "GRO and GSO"),
    ("bridge", "bridge"),
    ("ovs", "Open vSwitch"),
    ("tunnel", "tunnel"),
    ("veth", "veth"),
    ("netfilter", "netfilter"),
    ("bpf", "eBPF programs"),
    ("ip", "IP"),
    ("tcp", "TCP"),
    ("udp", "UDP"),
    ("qdisc", "queueing"),
    ("socket", "sockets"),
    ("softirq", "softirq machinery"),
    ("scheduler", "switching tasks"),
    ("memory", "copying and buffers"),
    ("other kernel", REST),
    ("hidden kernel", "kernel without symbols"),
];

/// The bar of some runs; `None` where none of them has samples and such packets.
pub(super) fn sampled(
    name: &str,
    runs: &[&RunCost],
    measure: Measure,
    by: Denominator,
) -> Option<Bar> {
    let total = |run: &RunCost| (measure.pick)((by.of_cost)(&run.charged));
    let counted = runs.iter().filter_map(|run| {
        let (profile, total) = (run.profile.as_ref()?, total(run)?);
        Some((*run, shares(profile), total))
    });
    let counted: Vec<(&RunCost, BTreeMap<String, f64>, f64)> = counted.collect();
    let mean = |part: &str| {
        let values = counted.iter().map(|(_, shares, total)| {
            let share = shares.get(part).copied().unwrap_or(0.0);
            share * total
        });
        values.sum::<f64>() / counted.len() as f64
    };
    let parts = names().into_iter().map(|part| {
        let value = mean(&part);
        (part, value)
    });
    let runs: Vec<&RunCost> = counted.iter().map(|(run, ..)| *run).collect();
    bar(name, &runs, parts.collect(), total)
}

/// All components in their order, each once.
fn names() -> Vec<String> {
    let kernel = KERNEL.iter().map(|(_, title)| (*title).to_owned());
    kernel.chain(Part::ALL.map(of_user_space)).collect()
}

fn of_user_space(part: Part) -> String {
    format!("user space: {}", part.title())
}

/// Shares of everything that was charged, by the names above.
fn shares(profile: &Components) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    for found in profile.components.iter().filter(|one| one.group != USER) {
        let mut known = KERNEL.iter();
        let title = known.find(|(group, _)| *group == found.group);
        let title = title.map_or(REST, |(_, title)| title);
        *shares.entry(title.to_owned()).or_default() += found.share;
    }
    for found in &profile.user_space {
        *shares.entry(of_user_space(found.part)).or_default() += found.share;
    }
    shares
}

/// The same bars with what is too small to be seen in any of them added to the rest.
pub(super) fn legible(mut bars: Vec<Bar>) -> Vec<Bar> {
    let kernel = KERNEL.iter().map(|(_, title)| *title);
    let mut largest: Vec<(f64, &str)> = kernel
        .filter(|title| *title != REST)
        .map(|title| {
            let parts = bars.iter().map(|bar| {
                let whole: f64 = bar.parts.iter().map(|(_, value)| value).sum();
                bar.value(title) / whole
            });
            (parts.fold(0.0, f64::max), title)
        })
        .filter(|(part, _)| *part >= LEGIBLE)
        .collect();
    largest.sort_by(|one, other| other.0.total_cmp(&one.0));
    let kept: BTreeSet<&str> = largest.iter().take(MOST).map(|(_, title)| *title).collect();
    for bar in &mut bars {
        let is_small = |part: &str| {
            let mut kernel = KERNEL.iter();
            kernel.any(|(_, title)| *title == part) && part != REST && !kept.contains(part)
        };
        let small = bar.parts.iter().filter(|(part, _)| is_small(part));
        let sum: f64 = small.map(|(_, value)| value).sum();
        bar.parts.retain(|(part, _)| !is_small(part));
        if let Some((_, rest)) = bar.parts.iter_mut().find(|(part, _)| part == REST) {
            *rest += sum;
        }
    }
    bars
}
