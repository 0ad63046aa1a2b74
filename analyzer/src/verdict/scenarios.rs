//! Each verdict and each reason not to pass, from rows written by hand.

use trace_schema::ledger::Vantage;
use trace_schema::snat::{Method, Tuple, Witness};

use super::evidence::Window;
use super::scene::{
    BYTES_PER_SECOND, Conn, EGRESS_IP, POD_IP, Scene, at, exactly, exit, flow_row, logged, node_ip,
    tcp, udp,
};
use super::{LossKind, Outcome, Verdict};
use crate::policy::Expectation;

/// A connection from second 1 to second 4 that leaves as told.
fn leaving(node: &str, address: &str) -> Scene {
    let mut scene = Scene::with_policy();
    scene.sends(tcp(40000), 1.0, 4.5);
    scene.leaves(tcp(40000), node, address, 1.0, 4.5);
    scene
}

/// A passing scene with one loss; the reason that a pass is refused must name it.
#[track_caller]
fn check_loss(mut scene: Scene, damage: impl Fn(&mut Scene), reason: &str) {
    scene.check(Outcome::Pass, &[Verdict::Ok]);
    damage(&mut scene);
    let report = scene.report();
    assert_eq!(
        report.result,
        Outcome::Inconclusive,
        "{:#?}",
        report.policies
    );
    let reasons = report.policies[0].inconclusive_because.join("\n");
    assert!(reasons.contains(reason), "{reasons}");
}

#[test]
fn the_demanded_address_and_node_is_ok() {
    let report = leaving("gateway", EGRESS_IP).check(Outcome::Pass, &[Verdict::Ok]);
    let spell = &report.connections.unwrap()[0];
    assert_eq!(spell.bytes, 4 * BYTES_PER_SECOND);
    assert_eq!(spell.pod, "app/client");
    assert_eq!(spell.policy, "Egress/web");
    assert_eq!(spell.exit.as_ref().unwrap().node, "gateway");
    assert_eq!((spell.first.0, spell.last.0), (at(1.0), at(4.5)));
}

#[test]
fn the_workers_own_address_is_a_node_ip_leak() {
    let report = leaving("worker", node_ip("worker")).check(Outcome::Fail, &[Verdict::NodeIpLeak]);
    let window = &report.leak_windows[0];
    assert_eq!(
        (window.pod.as_str(), window.policy.as_str()),
        ("app/client", "Egress/web")
    );
    assert_eq!(
        (window.tally.connections, window.tally.bytes),
        (1, 4 * BYTES_PER_SECOND)
    );
    assert_eq!((window.first.0, window.last.0), (at(1.0), at(4.5)));
}

#[test]
fn the_pods_own_address_is_a_pod_ip_leak() {
    leaving("worker", POD_IP).check(Outcome::Fail, &[Verdict::PodIpLeak]);
    leaving("gateway", POD_IP).check(Outcome::Fail, &[Verdict::PodIpLeak]);
}

#[test]
fn an_untranslated_flow_needs_no_pairing() {
    let mut scene = Scene::with_policy();
    scene.sends(tcp(40000), 1.0, 4.5);
    scene.leaves_unpaired(tcp(40000), "worker", POD_IP, 1.0, 4.5);
    scene.check(Outcome::Fail, &[Verdict::PodIpLeak]);
}

#[test]
fn another_address_is_a_wrong_egress_ip() {
    leaving("gateway", "172.18.0.101").check(Outcome::Fail, &[Verdict::WrongEgressIp]);
}

#[test]
fn the_right_address_by_another_node_is_a_wrong_node() {
    leaving("gateway2", EGRESS_IP).check(Outcome::Fail, &[Verdict::WrongNode]);
}

#[test]
fn what_reaches_no_wire_is_dropped() {
    let mut scene = Scene::with_policy();
    scene.sends(udp(40000), 1.0, 4.5);
    scene.check(Outcome::Fail, &[Verdict::Dropped]);
}

#[test]
fn what_should_be_dropped_and_is_passes() {
    let mut scene = Scene::new();
    scene.demand_from(
        0.0,
        Expectation::Drop {
            reason: "no gateway".into(),
        },
    );
    scene.sends(udp(40000), 1.0, 4.5);
    scene.check(Outcome::Pass, &[Verdict::Ok]);
    scene.leaves(udp(40000), "worker", node_ip("worker"), 1.0, 4.5);
    scene.check(Outcome::Fail, &[Verdict::NodeIpLeak]);
}

#[test]
fn without_a_policy_the_own_node_is_ok_and_another_is_not() {
    let through = |node: &str, address: &str| {
        let mut scene = Scene::new();
        scene.sends(tcp(40000), 1.0, 4.5);
        scene.leaves(tcp(40000), node, address, 1.0, 4.5);
        scene
    };
    through("worker", node_ip("worker")).check(Outcome::Pass, &[Verdict::Ok]);
    through("worker", POD_IP).check(Outcome::Pass, &[Verdict::Ok]);
    through("gateway", EGRESS_IP).check(Outcome::Fail, &[Verdict::UnexpectedGateway]);
    let report =
        through("gateway", node_ip("gateway")).check(Outcome::Fail, &[Verdict::UnexpectedGateway]);
    assert_eq!(report.policies[0].policy, "no policy");
}

#[test]
fn contradictory_policies_are_ambiguous() {
    let mut scene = Scene::new();
    scene.demand_from(0.0, Expectation::Ambiguous);
    scene.sends(tcp(40000), 1.0, 4.5);
    scene.leaves(tcp(40000), "gateway", EGRESS_IP, 1.0, 4.5);
    scene.check(Outcome::Inconclusive, &[Verdict::Ambiguous]);
}

#[test]
fn a_drop_is_unknown_while_a_probe_is_blind() {
    let dropped = || {
        let mut scene = Scene::with_policy();
        scene.sends(udp(40000), 2.0, 4.5);
        scene.check(Outcome::Fail, &[Verdict::Dropped]);
        scene
    };
    let mut gap = dropped();
    gap.unwatch("gateway2", 3, 4);
    gap.check(Outcome::Inconclusive, &[Verdict::Unknown]);
    let mut overflow = dropped();
    overflow.amend("gateway2", Vantage::Wire, 3, |row| row.pairing_overflow = 1);
    overflow.check(Outcome::Inconclusive, &[Verdict::Unknown]);
    let mut unwatched = dropped();
    unwatched.unwatched_node("gateway3");
    let report = unwatched.check(Outcome::Inconclusive, &[Verdict::Unknown]);
    assert!(report.connections.unwrap()[0].notes[0].contains("gateway3"));
}

#[test]
fn a_drop_is_unknown_while_an_unpaired_flow_could_be_it() {
    let mut scene = Scene::with_policy();
    scene.sends(udp(40000), 2.0, 4.5);
    scene.leaves_unpaired(udp(1024), "worker", node_ip("worker"), 2.0, 4.5);
    scene.check(Outcome::Inconclusive, &[Verdict::Unknown]);
    // One that ended before could not.
    let mut scene = Scene::with_policy();
    scene.sends(udp(40000), 4.0, 4.5);
    scene.leaves_unpaired(udp(1024), "worker", node_ip("worker"), 1.0, 2.0);
    scene.check(Outcome::Fail, &[Verdict::Dropped]);
}

#[test]
fn a_packet_that_only_the_wire_missed_is_unknown() {
    let mut scene = Scene::with_policy();
    scene.sends_one(udp(40000), 2.5, 0);
    let mut row = flow_row("gateway", Vantage::Uplink, udp(40000), 2.0, 2.5, 2.5);
    row.packets = 1;
    row.src_address = EGRESS_IP.into();
    row.interface = Some("eth0".into());
    scene.flows.push(row);
    scene.check(Outcome::Inconclusive, &[Verdict::Unknown]);
}

#[test]
fn a_pairing_that_conntrack_contradicts_is_not_believed() {
    let mut scene = Scene::with_policy();
    scene.sends(tcp(40000), 1.0, 4.5);
    scene.leaves_with(tcp(40000), "gateway", EGRESS_IP, 1.0, 4.5, |row| {
        row.witness = Witness::Disagrees;
    });
    scene.check(Outcome::Inconclusive, &[Verdict::Unknown]);
}

#[test]
fn rows_before_the_pairing_belong_to_the_same_flow() {
    let mut scene = Scene::with_policy();
    scene.sends(tcp(40000), 1.0, 4.5);
    scene.leaves_with(tcp(40000), "gateway", EGRESS_IP, 1.0, 4.5, |row| {
        if row.interval_start_us < at(3.0) {
            row.pre = None;
            row.method = Method::Unpaired;
            row.first_seen_us += 7;
        }
    });
    scene.check(Outcome::Pass, &[Verdict::Ok]);
}

#[test]
fn a_hop_under_native_routing_is_no_exit() {
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.leaves(tcp(40000), "worker", POD_IP, 1.0, 4.5);
    let report = scene.check(Outcome::Pass, &[Verdict::Ok]);
    assert_eq!(report.policies[0].exits.len(), 1);
}

#[test]
fn a_gateway_that_moves_gives_dropped_for_the_hole_and_ok_after_it() {
    let mut scene = Scene::with_policy();
    scene.demand_from(6.0, exactly("gateway2"));
    for port in [40000, 40001] {
        scene.sends(tcp(port), 1.0, 9.5);
        scene.leaves(tcp(port), "gateway", EGRESS_IP, 1.0, 2.9);
    }
    scene.leaves(tcp(40000), "gateway2", EGRESS_IP, 7.2, 9.5);
    scene.sends(tcp(40002), 8.0, 9.5);
    scene.leaves(tcp(40002), "gateway2", EGRESS_IP, 8.0, 9.5);
    let report = scene.report();
    let spells: Vec<(u16, Verdict)> = report
        .connections
        .iter()
        .flatten()
        .map(|spell| (spell.source.port(), spell.verdict))
        .collect();
    let of = |port: u16| -> Vec<Verdict> {
        spells
            .iter()
            .filter(|(at, _)| *at == port)
            .map(|(_, verdict)| *verdict)
            .collect()
    };
    assert_eq!(
        of(40000),
        [Verdict::Ok, Verdict::Dropped, Verdict::Dropped, Verdict::Ok]
    );
    assert_eq!(of(40001), [Verdict::Ok, Verdict::Dropped, Verdict::Dropped]);
    assert_eq!(of(40002), [Verdict::Ok]);
    assert_eq!(report.result, Outcome::Fail);
    assert_eq!(report.leak_windows.len(), 1);
    assert_eq!(report.leak_windows[0].tally.connections, 2);
    let moved = &report.failovers[0];
    assert_eq!((moved.survived, moved.broken, moved.new), (1, 1, 1));
    assert_eq!(moved.hole_us, Some(4_300_000));
    // No byte is lost or counted twice between the spells.
    let bytes: i64 = report
        .connections
        .iter()
        .flatten()
        .map(|spell| spell.bytes)
        .sum();
    let sent: i64 = scene.flows.iter().map(|row| row.bytes).sum();
    assert_eq!(bytes, sent);
}

#[test]
fn a_leak_before_the_datapath_follows_the_policy_ends_with_it() {
    let mut scene = Scene::new();
    scene.demand_from(2.0, exactly("gateway"));
    scene.sends(udp(40000), 1.0, 9.5);
    scene.leaves(udp(40000), "worker", node_ip("worker"), 1.0, 4.2);
    scene.leaves(udp(40000), "gateway", EGRESS_IP, 4.3, 9.5);
    let report = scene.check(
        Outcome::Fail,
        &[Verdict::Ok, Verdict::NodeIpLeak, Verdict::Ok],
    );
    let window = &report.leak_windows[0];
    assert_eq!((window.first.0, window.last.0), (at(2.0), at(4.2)));
}

#[test]
fn grace_labels_and_forgives_nothing() {
    let mut scene = leaving("worker", node_ip("worker"));
    scene.options.grace_us = 2_000_000;
    let report = scene.check(Outcome::Fail, &[Verdict::NodeIpLeak]);
    assert_eq!(report.leak_windows[0].in_grace, 1);
    scene.options.grace_us = 500_000;
    assert_eq!(scene.report().leak_windows[0].in_grace, 0);
}

#[test]
fn a_syn_that_is_answered_late_was_dropped_before() {
    let mut scene = Scene::with_policy();
    for when in [1.0, 2.0, 4.0] {
        scene.sends_one(tcp(40000), when, 2);
    }
    scene.sends(tcp(40000), 8.0, 9.5);
    scene.leaves(tcp(40000), "gateway", EGRESS_IP, 8.0, 9.5);
    let report = scene.check(Outcome::Fail, &[Verdict::Dropped, Verdict::Ok]);
    let spells = report.connections.unwrap();
    assert_eq!(spells[0].connection, spells[1].connection);
    assert_eq!(spells[0].packets, 3);
}

#[test]
fn a_single_lost_packet_is_no_hole() {
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.sends_one(tcp(40000), 8.0, 16);
    scene.check(Outcome::Pass, &[Verdict::Ok]);
}

#[test]
fn a_port_that_is_used_again_is_another_connection() {
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.sends(tcp(40000), 7.0, 8.5);
    scene.leaves(tcp(40000), "worker", node_ip("worker"), 7.0, 8.5);
    let report = scene.check(Outcome::Fail, &[Verdict::Ok, Verdict::NodeIpLeak]);
    let spells = report.connections.unwrap();
    assert_ne!(spells[0].connection, spells[1].connection);
    assert_eq!(spells[1].bytes, 2 * BYTES_PER_SECOND);
}

#[test]
fn a_port_of_a_handshake_without_answer_that_is_used_again_is_another_connection() {
    let mut scene = Scene::with_policy();
    // The next try would have come after a second.
    scene.sends_one(tcp(40000), 1.5, 2);
    scene.sends(tcp(40000), 4.0, 5.5);
    scene.leaves(tcp(40000), "gateway", EGRESS_IP, 4.0, 5.5);
    let report = scene.check(Outcome::Fail, &[Verdict::Dropped, Verdict::Ok]);
    let spells = report.connections.unwrap();
    assert_ne!(spells[0].connection, spells[1].connection);
    assert_eq!(spells[0].packets, 1);
    assert_eq!(spells[1].bytes, 2 * BYTES_PER_SECOND);
}

#[test]
fn answers_to_others_are_not_judged() {
    let served = Conn {
        source: "10.0.1.5:80".parse().unwrap(),
        ..tcp(0)
    };
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.receives(served, 2.0, 3.5);
    scene.sends(served, 2.001, 3.5);
    scene.leaves(served, "worker", node_ip("worker"), 2.001, 3.5);
    let report = scene.check(Outcome::Pass, &[Verdict::Ok]);
    assert_eq!(report.not_judged.answers.connections, 1);
}

#[test]
fn an_own_connection_with_answers_is_judged() {
    let mut scene = leaving("worker", node_ip("worker"));
    scene.receives(tcp(40000), 1.001, 4.5);
    scene.check(Outcome::Fail, &[Verdict::NodeIpLeak]);
}

#[test]
fn destinations_inside_the_cluster_are_counted_apart() {
    let inside = Conn {
        destination: "10.0.2.7:53".parse().unwrap(),
        ..udp(40000)
    };
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.sends(inside, 1.0, 1.5);
    let report = scene.check(Outcome::Pass, &[Verdict::Ok]);
    assert_eq!(report.not_judged.inside.connections, 1);
    assert_eq!(report.not_judged.inside.bytes, BYTES_PER_SECOND);
}

#[test]
fn a_service_is_judged_by_the_backend_that_conntrack_names() {
    let service = Conn {
        destination: "10.96.0.1:80".parse().unwrap(),
        ..tcp(40000)
    };
    let to_backend = |row: &mut trace_schema::snat::SnatRow| {
        row.method = Method::Conntrack;
        row.post = Tuple {
            src_address: node_ip("worker").into(),
            dst_address: "192.0.2.77".into(),
            src_port: 40000,
            dst_port: 8080,
        };
    };
    let mut scene = Scene::with_policy();
    scene.sends(service, 1.0, 2.5);
    scene.leaves_with(service, "worker", "", 1.0, 2.5, to_backend);
    let report = scene.check(Outcome::Fail, &[Verdict::NodeIpLeak]);
    let spell = &report.connections.unwrap()[0];
    assert_eq!(
        spell.translated_destination,
        Some("192.0.2.77:8080".parse().unwrap())
    );
}

#[test]
fn a_service_that_leads_outside_is_tied_by_the_pods_port_or_unknown() {
    let service = Conn {
        destination: "10.96.0.1:80".parse().unwrap(),
        ..tcp(40000)
    };
    let backend = Conn {
        destination: "192.0.2.77:8080".parse().unwrap(),
        ..tcp(40000)
    };
    let mut scene = Scene::with_policy();
    scene.cluster.service = Some((
        service.destination.ip(),
        vec![backend.destination.ip(), "10.0.2.7".parse().unwrap()],
    ));
    scene.sends(service, 1.0, 2.5);
    scene.check(Outcome::Inconclusive, &[Verdict::Unknown]);
    scene.leaves(backend, "gateway", EGRESS_IP, 1.0, 2.5);
    let report = scene.check(Outcome::Pass, &[Verdict::Ok]);
    assert_eq!(report.connections.unwrap()[0].bytes, 2 * BYTES_PER_SECOND);
    assert_eq!(report.not_judged.inside.connections, 0);
    // Two connections that could be meant leave both in doubt.
    let twin = Conn {
        destination: "10.96.0.1:81".parse().unwrap(),
        ..service
    };
    scene.sends(twin, 1.0, 2.5);
    let report = scene.report();
    let unknown = report.verdicts["unknown"].connections;
    assert_eq!((unknown, report.result), (2, Outcome::Inconclusive));
    // Endpoints inside the cluster only: nothing to judge.
    let mut scene = Scene::with_policy();
    scene.cluster.service = Some((service.destination.ip(), vec!["10.0.2.7".parse().unwrap()]));
    scene.sends(service, 1.0, 2.5);
    assert!(scene.try_report().is_none());
}

#[test]
fn a_connection_that_only_the_gateway_saw_is_judged_by_its_address() {
    let mut scene = Scene::with_policy();
    scene.ledger.retain(|row| row.node != "worker");
    scene.arrives(tcp(40000), "gateway", 1.0, 4.5);
    scene.leaves(tcp(40000), "gateway", "172.18.0.101", 1.0, 4.5);
    let report = scene.check(Outcome::Fail, &[Verdict::WrongEgressIp]);
    let spell = &report.connections.unwrap()[0];
    assert_eq!(spell.bytes, 4 * BYTES_PER_SECOND);
    assert!(
        spell
            .notes
            .iter()
            .any(|note| note.contains("not seen at the pod"))
    );
}

#[test]
fn a_node_without_books_cannot_pass() {
    let mut scene = Scene::with_policy();
    scene.ledger.retain(|row| row.node != "worker");
    scene.arrives(tcp(40000), "gateway", 1.0, 4.5);
    scene.leaves(tcp(40000), "gateway", EGRESS_IP, 1.0, 4.5);
    let report = scene.check(Outcome::Inconclusive, &[Verdict::Ok]);
    assert!(report.policies[0].inconclusive_because[0].contains("worker has no books"));
}

#[test]
fn losses_that_could_hide_a_failure_take_the_pass_away() {
    let passing = || leaving("gateway", EGRESS_IP);
    check_loss(
        passing(),
        |scene| scene.amend("worker", Vantage::Pod, 8, |row| row.overflow.packets = 17),
        "up to 17 packets at pod",
    );
    check_loss(
        passing(),
        |scene| scene.amend("worker", Vantage::Wire, 2, |row| row.overflow.packets = 3),
        "up to 3 packets at wire",
    );
    check_loss(
        passing(),
        |scene| {
            scene.amend("gateway", Vantage::Tunnel, 2, |row| {
                row.overflow.packets = 4
            })
        },
        "up to 4 packets at tunnel",
    );
    check_loss(
        passing(),
        |scene| scene.amend("gateway", Vantage::Wire, 2, |row| row.pairing_overflow = 5),
        "up to 5 flows at wire",
    );
    check_loss(
        passing(),
        |scene| scene.amend("worker", Vantage::Wire, 2, |row| row.ring_drops = 6),
        "up to 6 records of wire",
    );
    check_loss(
        passing(),
        |scene| scene.amend("worker", Vantage::Pod, 2, |row| row.hook_misses = Some(2)),
        "skipped pod for 2 packets",
    );
    check_loss(
        passing(),
        |scene| scene.unwatch("worker", 6, 8),
        "not watching for 2.0 s",
    );
    check_loss(
        passing(),
        |scene| {
            scene.amend("worker", Vantage::Pod, 3, |row| {
                row.interval_start_us -= 300_000
            });
        },
        "the clock was set back",
    );
}

#[test]
fn ambiguous_fingerprints_matter_where_a_flow_stayed_unpaired() {
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.amend("gateway", Vantage::Wire, 2, |row| row.pairing_ambiguous = 3);
    scene.check(Outcome::Pass, &[Verdict::Ok]);
    scene.leaves_unpaired(tcp(50000), "gateway", "172.18.0.101", 2.0, 2.5);
    let report = scene.check(Outcome::Inconclusive, &[Verdict::Ok]);
    assert!(report.policies[0].inconclusive_because[0].contains("3 fingerprints"));
}

#[test]
fn a_killed_probe_takes_the_pass_away() {
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.books("gateway", 10, 20);
    scene.books("gateway2", 10, 20);
    check_loss_of(&scene, "not watching for 10.0 s");
    // Within a run a shorter silence counts too.
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.options.runs = vec![Window {
        from_us: at(1.0),
        to_us: at(12.0),
    }];
    check_loss_of(&scene, "not watching for 2.0 s");
}

#[track_caller]
fn check_loss_of(scene: &Scene, reason: &str) {
    let report = scene.report();
    assert_eq!(
        report.result,
        Outcome::Inconclusive,
        "{:#?}",
        report.policies
    );
    let reasons = report.policies[0].inconclusive_because.join("\n");
    assert!(reasons.contains(reason), "{reasons}");
    assert!(report.losses.iter().any(|loss| loss.kind == LossKind::Gap));
}

#[test]
fn losses_elsewhere_or_at_another_time_do_not_matter() {
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.amend("gateway2", Vantage::Pod, 2, |row| row.overflow.packets = 9);
    scene.amend("gateway", Vantage::Wire, 8, |row| row.overflow.packets = 9);
    scene.check(Outcome::Pass, &[Verdict::Ok]);
}

#[test]
fn an_outside_server_confirms_or_takes_the_pass_away() {
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.options.peers = Some(vec![logged(1.1, "172.18.0.100:40000")]);
    let report = scene.check(Outcome::Pass, &[Verdict::Ok]);
    assert_eq!(report.peers.unwrap().confirmed, 1);
    scene.options.peers = Some(vec![logged(1.1, "172.18.0.2:40000")]);
    let report = scene.check(Outcome::Inconclusive, &[Verdict::Ok]);
    let peers = report.peers.unwrap();
    assert_eq!(
        (peers.confirmed, peers.contradicted, peers.unexplained),
        (0, 1, 1)
    );
    assert_eq!(peers.examples.len(), 2);
}

#[test]
fn one_of_several_exits_is_ok_but_changing_it_is_noted() {
    let mut scene = Scene::new();
    scene.demand_from(
        0.0,
        Expectation::OneOf(vec![exit("gateway"), exit("gateway2")]),
    );
    for (port, node, start) in [(40000, "gateway", 1.0), (40001, "gateway2", 3.0)] {
        scene.sends(tcp(port), start, start + 1.5);
        scene.leaves(tcp(port), node, EGRESS_IP, start, start + 1.5);
    }
    let report = scene.check(Outcome::Pass, &[Verdict::Ok, Verdict::Ok]);
    assert_eq!(report.anomalies.len(), 1, "{:?}", report.anomalies);
}

#[test]
fn filters_leave_what_they_name_and_nothing_is_no_pass() {
    let mut scene = leaving("gateway", EGRESS_IP);
    scene.options.policies = vec!["web".into()];
    scene.options.pods = vec!["app/client".into()];
    scene.check(Outcome::Pass, &[Verdict::Ok]);
    scene.options.pods = vec!["app/other".into()];
    assert!(scene.try_report().is_none());
}

#[test]
fn an_unpaired_flow_with_another_pods_address_is_that_pods() {
    let other = |port: u16| Conn {
        source: format!("10.0.1.6:{port}").parse().unwrap(),
        ..udp(0)
    };
    let mut scene = Scene::with_policy();
    scene.sends(udp(40000), 2.0, 4.5);
    scene.sends(other(50000), 2.0, 4.5);
    scene.leaves(other(50000), "gateway", EGRESS_IP, 2.0, 4.5);
    scene.leaves_unpaired(other(50001), "worker", "10.0.1.6", 2.0, 4.5);
    scene.check(Outcome::Fail, &[Verdict::Dropped, Verdict::Ok]);
}

#[test]
fn a_datagram_port_after_a_long_pause_is_another_connection() {
    let mut scene = Scene::with_policy();
    for node in ["worker", "gateway", "gateway2"] {
        scene.books(node, 10, 160);
    }
    for from in [1.0, 101.0, 140.0] {
        scene.sends(udp(40000), from, from + 0.5);
        scene.leaves(udp(40000), "gateway", EGRESS_IP, from, from + 0.5);
    }
    assert_eq!(scene.report().verdicts["ok"].connections, 1);
    scene.flows.retain(|row| row.interval_start_us != at(101.0));
    scene.snats.retain(|row| row.interval_start_us != at(101.0));
    assert_eq!(scene.report().verdicts["ok"].connections, 2);
}

#[test]
fn what_a_gateway_took_and_did_not_send_on_is_dropped() {
    let mut scene = Scene::with_policy();
    scene.sends(tcp(40000), 1.0, 4.5);
    scene.leaves(tcp(40000), "worker", POD_IP, 1.0, 4.5);
    scene.check(Outcome::Fail, &[Verdict::PodIpLeak]);
    scene.arrives(tcp(40000), "gateway", 1.0, 4.5);
    scene.check(Outcome::Fail, &[Verdict::Dropped]);
}
