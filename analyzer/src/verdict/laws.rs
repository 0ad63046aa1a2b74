//! Laws that hold for any traffic: the order of rows does not matter, and losing evidence never
//! makes anything pass.

use proptest::prelude::*;
use trace_schema::ledger::Vantage;

use super::scene::{EGRESS_IP, POD_IP, Scene, exactly, node_ip, tcp, udp};
use super::{EgressReport, Outcome};

/// How one connection fares.
#[derive(Clone, Debug)]
struct Fate {
    tcp: bool,
    from: f64,
    length: f64,
    left: Vec<(usize, usize, f64, f64)>,
    unpaired: bool,
}

const NODES: [&str; 3] = ["worker", "gateway", "gateway2"];

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let seconds = |most: u32| (0..most * 4).prop_map(|quarters| f64::from(quarters) / 4.0);
    let left = prop::collection::vec((0..3_usize, 0..4_usize, seconds(8), seconds(4)), 0..3);
    let fate = (
        any::<bool>(),
        seconds(6),
        seconds(4),
        left,
        prop::bool::weighted(0.2),
    )
        .prop_map(|(tcp, from, length, left, unpaired)| Fate {
            tcp,
            from,
            length,
            left,
            unpaired,
        });
    prop::collection::vec(fate, 1..6)
}

fn scene(fates: &[Fate], moved: bool) -> Scene {
    let mut scene = Scene::with_policy();
    if moved {
        scene.demand_from(4.25, exactly("gateway2"));
    }
    for (index, fate) in fates.iter().enumerate() {
        let port = 40000 + index as u16;
        let conn = if fate.tcp { tcp(port) } else { udp(port) };
        scene.sends(conn, fate.from, fate.from + fate.length);
        for &(node, address, from, length) in &fate.left {
            let node = NODES[node];
            let address = [EGRESS_IP, POD_IP, node_ip(node), "172.18.0.101"][address];
            let from = from.max(fate.from);
            if fate.unpaired {
                scene.leaves_unpaired(conn, node, address, from, from + length);
            } else {
                scene.leaves(conn, node, address, from, from + length);
            }
        }
    }
    scene
}

/// One way to lose evidence, at one of the nodes and seconds.
fn lose(scene: &mut Scene, kind: usize, node: usize, second: i64) {
    let node = NODES[node];
    match kind {
        0 => scene.amend(node, Vantage::Pod, second, |row| row.overflow.packets = 1),
        1 => scene.amend(node, Vantage::Wire, second, |row| row.overflow.packets = 1),
        2 => scene.amend(node, Vantage::Wire, second, |row| row.pairing_overflow = 1),
        3 => scene.amend(node, Vantage::Wire, second, |row| row.pairing_ambiguous = 1),
        4 => scene.amend(node, Vantage::Tunnel, second, |row| row.ring_drops = 1),
        5 => scene.unwatch(node, second, second + 1),
        6 => scene.ledger.retain(|row| row.node != node),
        7 => scene.ledger.clear(),
        _ => scene.amend(node, Vantage::Wire, second, |row| {
            row.interval_end_us += 500_000
        }),
    }
}

fn better(one: Outcome, other: Outcome) -> bool {
    one == Outcome::Pass && other != Outcome::Pass
}

/// Spells that are in order in `after` and were not in `before`.
fn newly_ok(before: &EgressReport, after: &EgressReport) -> usize {
    let pass = |report: &EgressReport| -> usize {
        report
            .connections
            .iter()
            .flatten()
            .filter(|spell| spell.verdict.outcome() == Outcome::Pass)
            .count()
    };
    pass(after).saturating_sub(pass(before))
}

proptest! {
    #[test]
    fn the_order_of_rows_does_not_matter(
        fates in fates(),
        moved: bool,
        seed in any::<prop::sample::Index>(),
    ) {
        let ordered = scene(&fates, moved);
        let mut mixed = ordered.clone();
        let turn = |length: usize| if length == 0 { 0 } else { seed.index(length) };
        mixed.flows.reverse();
        let by = turn(mixed.flows.len());
        mixed.flows.rotate_left(by);
        mixed.snats.reverse();
        let by = turn(mixed.snats.len());
        mixed.snats.rotate_left(by);
        let by = turn(mixed.ledger.len());
        mixed.ledger.rotate_left(by);
        mixed.ledger.swap(0, 7);
        prop_assert_eq!(ordered.report(), mixed.report());
    }

    #[test]
    fn a_loss_never_makes_a_pass(
        fates in fates(),
        moved: bool,
        kind in 0..9_usize,
        node in 0..3_usize,
        second in 0..10_i64,
    ) {
        let whole = scene(&fates, moved);
        let mut damaged = whole.clone();
        lose(&mut damaged, kind, node, second);
        let (before, after) = (whole.report(), damaged.report());
        prop_assert!(!better(after.result, before.result), "{:?} -> {:?}", before.result, after.result);
        prop_assert_eq!(newly_ok(&before, &after), 0);
    }

    #[test]
    fn every_byte_of_every_connection_is_judged_once(fates in fates(), moved: bool) {
        let scene = scene(&fates, moved);
        let report = scene.report();
        let judged: i64 = report.connections.iter().flatten().map(|spell| spell.bytes).sum();
        let sent: i64 = scene.flows.iter().map(|row| row.bytes).sum();
        prop_assert_eq!(judged, sent);
    }
}
