//! A connection's life as spells: stretches in which neither its exit nor its expectation changed,
//! and the holes in which its packets reached no wire.
//!
//! Times of first and last packets are exact, so that a change within an interval still cuts at the
//! right place; bytes are known by interval, and one that two spells share is divided by time. It
//! refuses to call a single missing packet a hole: the wire's hook misses one in some thousands, and
//! queues drop.

use std::net::IpAddr;
use std::rc::Rc;

use super::cluster::PodLabel;
use super::connections::Connection;
use super::demands::{Demands, is_inside};
use super::evidence::{Sample, Window};
use super::services::ServiceUse;
use crate::pairing::{Crossing, Exits, JOIN_SLACK_US};
use crate::policy::{Expectation, Expected};

/// One spell, before it is judged.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    pub windows: Vec<Window>,
    /// Where it left; `None` is a hole.
    pub exit: Option<&'a Crossing>,
    pub dst: IpAddr,
    pub expected: Rc<Expected>,
    pub bytes: i64,
    pub packets: i64,
}

/// How far a pod's packet and the same packet on a wire may lie apart: clocks, queues, one tick.
const SIGHT_US: i64 = 100_000;

/// Packets that must be missing before a connection that otherwise leaves counts as dropped.
const HOLE_PACKETS: i64 = 2;

/// The spells of a connection in order of time; none if all of it stayed in the cluster.
pub(crate) fn spells<'a>(
    connection: &Connection,
    pod: &PodLabel,
    service: &ServiceUse,
    exits: &'a Exits,
    demands: &Demands<'_>,
) -> Vec<Part<'a>> {
    let seen = connection.seen();
    let tuple = connection.key.tuple;
    let crossings: Vec<&Crossing> = std::iter::once(&tuple)
        .chain(&service.translated)
        .flat_map(|tuple| exits.of(tuple))
        .filter(|crossing| crossing.seen.touches(&seen, JOIN_SLACK_US))
        .filter(|crossing| crossing.seen.touches(&connection.reach, 0))
        .filter(|crossing| {
            // What this node used to hand to a gateway tells of an exit only where none is asked.
            !crossing.was_hop || {
                let expected = demands.at(pod, crossing.post.dst, crossing.seen.from_us);
                matches!(expected.expectation, Expectation::Bypass { .. })
            }
        })
        .collect();
    if crossings.is_empty() && is_inside(&demands.at(pod, tuple.dst, seen.from_us)) {
        return service
            .leads_outside
            .then(|| untied(connection))
            .into_iter()
            .collect();
    }
    let holes = holes(&connection.samples, &crossings);
    let mut pieces: Vec<(Window, Option<&Crossing>)> = crossings
        .iter()
        .map(|crossing| (crossing.seen, Some(*crossing)))
        .collect();
    pieces.extend(holes.into_iter().map(|hole| (hole, None)));
    pieces.sort_by_key(|(window, exit)| (*window, exit.is_some()));
    let dst = crossings
        .first()
        .map_or(tuple.dst, |crossing| crossing.post.dst);
    let mut parts: Vec<Part<'a>> = Vec::new();
    for (window, exit) in pieces {
        let dst = exit.map_or(dst, |crossing| crossing.post.dst);
        for part in demands.cut(window) {
            let expected = demands.of_part(pod, dst, part);
            match parts
                .last_mut()
                .filter(|last| last.continues(exit, dst, &expected))
            {
                Some(last) => last.windows.push(part),
                None => parts.push(Part {
                    windows: vec![part],
                    exit,
                    dst,
                    expected,
                    bytes: 0,
                    packets: 0,
                }),
            }
        }
    }
    divide(&connection.samples, &mut parts);
    parts
}

/// A connection to a service that may lead out of the cluster, with no wire flow to tell.
fn untied<'a>(connection: &Connection) -> Part<'a> {
    let reason = "the service has endpoints outside the cluster, and no wire flow could be tied to \
                  the connection";
    Part {
        windows: vec![connection.seen()],
        exit: None,
        dst: connection.key.tuple.dst,
        expected: Rc::new(Expected {
            expectation: Expectation::Unknown {
                reason: reason.to_owned(),
            },
            policies: Vec::new(),
            since_us: i64::MIN,
            placement_notes: Vec::new(),
            pod_node: None,
        }),
        bytes: connection.samples.iter().map(|sample| sample.bytes).sum(),
        packets: connection.samples.iter().map(|sample| sample.packets).sum(),
    }
}

impl Part<'_> {
    /// First to last packet.
    pub fn seen(&self) -> Window {
        self.windows
            .iter()
            .copied()
            .reduce(Window::cover)
            .unwrap_or(Window {
                from_us: 0,
                to_us: 0,
            })
    }

    fn continues(&self, exit: Option<&Crossing>, dst: IpAddr, expected: &Expected) -> bool {
        let place = |crossing: &Crossing| {
            (
                crossing.node.clone(),
                crossing.interface.clone(),
                crossing.post.src,
            )
        };
        self.exit.map(place) == exit.map(place)
            && self.dst == dst
            && self.expected.expectation == expected.expectation
            && self.expected.policies == expected.policies
    }
}

/// Stretches in which the pod sent and no wire saw it.
fn holes(samples: &[Sample], crossings: &[&Crossing]) -> Vec<Window> {
    let mut covered: Vec<Window> = Vec::new();
    let mut sorted: Vec<Window> = crossings.iter().map(|crossing| crossing.seen).collect();
    sorted.sort_unstable();
    for seen in sorted {
        let seen = Window {
            from_us: seen.from_us - SIGHT_US,
            to_us: seen.to_us + SIGHT_US,
        };
        match covered.last_mut() {
            Some(last) if seen.from_us <= last.to_us => *last = last.cover(seen),
            _ => covered.push(seen),
        }
    }
    // Gap `i` lies before `covered[i]`.
    let gap_of = |at_us: i64| {
        let next = covered.partition_point(|window| window.to_us < at_us);
        let inside = covered
            .get(next)
            .is_some_and(|window| window.from_us <= at_us);
        (!inside).then_some(next)
    };
    let mut missing: Vec<Option<(Window, i64)>> = vec![None; covered.len() + 1];
    let mut miss = |gap: usize, seen: Window, packets: i64| {
        missing[gap] = Some(match missing[gap] {
            Some((before, count)) => (before.cover(seen), count + packets),
            None => (seen, packets),
        });
    };
    for sample in samples {
        let (first, last) = (gap_of(sample.seen.from_us), gap_of(sample.seen.to_us));
        if let (Some(gap), true) = (first, first == last) {
            miss(gap, sample.seen, sample.packets);
            continue;
        }
        for (gap, at_us) in [(first, sample.seen.from_us), (last, sample.seen.to_us)] {
            if let Some(gap) = gap {
                miss(
                    gap,
                    Window {
                        from_us: at_us,
                        to_us: at_us,
                    },
                    1,
                );
            }
        }
    }
    missing
        .into_iter()
        .flatten()
        .filter(|(_, packets)| crossings.is_empty() || *packets >= HOLE_PACKETS)
        .map(|(seen, _)| seen)
        .collect()
}

/// Gives each sample's bytes and packets to the spells that it overlaps, by time; to the nearest
/// where it overlaps none. Sums are kept.
fn divide(samples: &[Sample], parts: &mut [Part<'_>]) {
    for sample in samples {
        let mut weights: Vec<i64> = parts
            .iter()
            .map(|part| overlap(part, sample.seen))
            .collect();
        if weights.iter().all(|&weight| weight == 0) {
            let nearest = parts
                .iter()
                .enumerate()
                .min_by_key(|(_, part)| distance(part.seen(), sample.seen))
                .map(|(index, _)| index);
            if let Some(nearest) = nearest {
                weights[nearest] = 1;
            }
        }
        let total: i64 = weights.iter().sum();
        let (mut weight_before, mut bytes_before, mut packets_before) = (0, 0, 0);
        for (part, weight) in parts.iter_mut().zip(weights) {
            weight_before += weight;
            let bytes = share(sample.bytes, weight_before, total);
            let packets = share(sample.packets, weight_before, total);
            part.bytes += bytes - bytes_before;
            part.packets += packets - packets_before;
            (bytes_before, packets_before) = (bytes, packets);
        }
    }
}

fn share(amount: i64, weight: i64, total: i64) -> i64 {
    let share = i128::from(amount) * i128::from(weight) / i128::from(total.max(1));
    i64::try_from(share).unwrap_or(amount)
}

fn overlap(part: &Part<'_>, seen: Window) -> i64 {
    part.windows
        .iter()
        .map(|window| window.to_us.min(seen.to_us) - window.from_us.max(seen.from_us) + 1)
        .filter(|&length| length > 0)
        .sum()
}

fn distance(a: Window, b: Window) -> i64 {
    (a.from_us - b.to_us).max(b.from_us - a.to_us).max(0)
}
