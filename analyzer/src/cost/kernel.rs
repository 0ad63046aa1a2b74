//! Kernel-wide rows counted once: nodes that share a boot id all see the whole machine's softirqs.
//!
//! Probes on one kernel end their intervals at different moments, and the one that writes may die
//! and leave the rest to another. So time is what counts once, not rows: the node that covers most
//! of it is believed, and others only for what it left open, each interval by the part of it that
//! nobody before it covered.

use std::collections::BTreeMap;

use super::span::{overlap, portion};
use crate::verdict::evidence::Window;

/// An interval: start and end, UTC microseconds.
pub(super) type Span = (i64, i64);

/// What counts of a kernel's intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Once {
    /// Weight of each interval of each node, in millionths; those without any are left out.
    pub weights: BTreeMap<(String, Span), i64>,
    /// How much of the window is covered, microseconds.
    pub covered_us: i64,
}

/// How long intervals lie in a window.
pub(super) fn covered(spans: &[Span], window: &Window) -> i64 {
    let each = spans.iter().map(|span| overlap(span.0, span.1, window));
    each.sum()
}

/// Says how much each interval counts within a window, so that no moment counts twice.
pub(super) fn count_once(nodes: &BTreeMap<String, Vec<Span>>, window: &Window) -> Once {
    let mut order: Vec<(&str, &[Span])> = nodes
        .iter()
        .map(|(node, spans)| (node.as_str(), spans.as_slice()))
        .collect();
    // A stable sort: of two that cover as much, the first by name.
    order.sort_by_key(|(_, spans)| -covered(spans, window));
    count_in_order(&order, window)
}

/// The same, where it is known whom to believe first.
pub(super) fn count_in_order(order: &[(&str, &[Span])], window: &Window) -> Once {
    let mut once = Once::default();
    let mut free = vec![(window.from_us, window.to_us)];
    for (node, spans) in order {
        let mut spans = spans.to_vec();
        spans.sort_unstable();
        for span in spans {
            let taken_us = take(&mut free, span);
            let weight = portion(taken_us, span.1 - span.0);
            if weight > 0 {
                once.covered_us += taken_us;
                *once.weights.entry(((*node).to_owned(), span)).or_default() += weight;
            }
        }
    }
    once
}

/// Takes a span out of what is free and says how long the part is that was.
fn take(free: &mut Vec<Span>, span: Span) -> i64 {
    let mut taken_us = 0;
    let first = free.partition_point(|open| open.1 <= span.0);
    let last = free.partition_point(|open| open.0 < span.1);
    if first >= last {
        return 0;
    }
    let mut left = Vec::new();
    for open in free.drain(first..last) {
        let (from, to) = (open.0.max(span.0), open.1.min(span.1));
        if from >= to {
            left.push(open);
            continue;
        }
        taken_us += to - from;
        left.extend((open.0 < from).then_some((open.0, from)));
        left.extend((to < open.1).then_some((to, open.1)));
    }
    free.splice(first..first, left);
    taken_us
}

#[cfg(test)]
mod tests {
    use super::super::span::WHOLE;
    use super::*;

    const WINDOW: Window = Window {
        from_us: 0,
        to_us: 10_000,
    };

    fn seconds(offset_us: i64, range: std::ops::Range<i64>) -> Vec<Span> {
        let start = |number: i64| offset_us + number * 1_000;
        range
            .map(|number| (start(number), start(number + 1)))
            .collect()
    }

    fn nodes(spans: &[(&str, Vec<Span>)]) -> BTreeMap<String, Vec<Span>> {
        let named = spans.iter();
        named
            .map(|(node, spans)| ((*node).to_owned(), spans.clone()))
            .collect()
    }

    /// How much of the machine counts, in whole intervals of a second of the window.
    fn counted(once: &Once) -> i64 {
        once.weights.values().sum()
    }

    #[test]
    fn two_nodes_that_write_the_same_count_once() {
        let both = nodes(&[("a", seconds(0, 0..10)), ("b", seconds(0, 0..10))]);
        let once = count_once(&both, &WINDOW);
        assert_eq!(counted(&once), 10 * WHOLE);
        assert!(once.weights.keys().all(|(node, _)| node == "a"));
        assert_eq!(once.covered_us, 10_000);
    }

    #[test]
    fn one_node_alone_counts_whole() {
        let one = nodes(&[("a", Vec::new()), ("b", seconds(0, 0..10))]);
        let once = count_once(&one, &WINDOW);
        assert_eq!(counted(&once), 10 * WHOLE);
        assert!(once.weights.keys().all(|(node, _)| node == "b"));
    }

    #[test]
    fn another_node_fills_what_the_first_left_open() {
        // b ends its intervals 300 µs later, and a stops after six.
        let handed_over = nodes(&[("a", seconds(0, 0..6)), ("b", seconds(300, 4..10))]);
        let once = count_once(&handed_over, &WINDOW);
        assert_eq!(once.covered_us, 10_000);
        assert_eq!(once.weights[&("b".to_owned(), (5_300, 6_300))], 300_000);
        assert_eq!(once.weights[&("b".to_owned(), (6_300, 7_300))], WHOLE);
        assert_eq!(once.weights[&("b".to_owned(), (9_300, 10_300))], 700_000);
        assert!(!once.weights.contains_key(&("b".to_owned(), (4_300, 5_300))));
    }

    #[test]
    fn what_nobody_covers_is_not_covered() {
        let gap = nodes(&[("a", seconds(0, 0..3)), ("b", seconds(0, 7..10))]);
        let once = count_once(&gap, &WINDOW);
        assert_eq!((once.covered_us, counted(&once)), (6_000, 6 * WHOLE));
        assert_eq!(count_once(&nodes(&[]), &WINDOW), Once::default());
    }
}
