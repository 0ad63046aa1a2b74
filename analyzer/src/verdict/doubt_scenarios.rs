//! Each way in which evidence that is missing, or evidence of something else, takes a pass away.

use trace_schema::ledger::Vantage;

use super::scene::{Conn, EGRESS_IP, POD_IP, Scene, node_ip, tcp, udp};
use super::{Outcome, Verdict};
use crate::policy::{Exit, Expectation};

/// A connection from second 1 to second 4 that leaves as demanded.
fn passing() -> Scene {
    let mut scene = Scene::with_policy();
    scene.sends(tcp(40000), 1.0, 4.5);
    scene.leaves(tcp(40000), "gateway", EGRESS_IP, 1.0, 4.5);
    scene
}

/// The scene passes no more, and one of the policy's reasons names why.
#[track_caller]
fn check_doubt(scene: &Scene, reason: &str) {
    let report = scene.check(Outcome::Inconclusive, &[Verdict::Ok]);
    let reasons = report.policies[0].inconclusive_because.join("\n");
    assert!(reasons.contains(reason), "{reasons}");
}

#[test]
fn a_silent_node_with_selected_pods_takes_the_pass_away() {
    let mut scene = passing();
    scene.pod_on("app/second", "10.0.2.6", "gateway2");
    scene.check(Outcome::Pass, &[Verdict::Ok]);
    let mut gap = scene.clone();
    gap.unwatch("gateway2", 6, 8);
    check_doubt(&gap, "node gateway2 were not watching for 2.0 s");
    let mut overflow = scene.clone();
    overflow.amend("gateway2", Vantage::Pod, 8, |row| row.overflow.packets = 9);
    check_doubt(&overflow, "9 packets at pod");
    scene.unwatch("gateway2", 0, 10);
    check_doubt(&scene, "node gateway2 has no books");
    // A question about one pod does not ask for the others.
    scene.options.pods = vec!["app/client".into()];
    scene.check(Outcome::Pass, &[Verdict::Ok]);
}

#[test]
fn a_policy_whose_pods_nobody_watched_is_listed() {
    let mut scene = passing();
    scene.cluster.other_policy = Some(("app/dark".into(), "node9".into()));
    let report = scene.check(Outcome::Inconclusive, &[Verdict::Ok]);
    let results: Vec<(&str, Outcome)> = report
        .policies
        .iter()
        .map(|policy| (policy.policy.as_str(), policy.result))
        .collect();
    assert_eq!(
        results,
        [
            ("Egress/dark", Outcome::Inconclusive),
            ("Egress/web", Outcome::Pass)
        ]
    );
    // With the node's books complete its silence says that nothing was sent.
    scene.books("node9", 0, 10);
    let report = scene.check(Outcome::Pass, &[Verdict::Ok]);
    assert_eq!(report.policies.len(), 1);
}

#[test]
fn an_address_that_objects_leave_open_is_one_of_the_nodes() {
    let leaving = |address: &str| {
        let mut scene = Scene::new();
        let any_address = Exit {
            address: None,
            node: Some("gateway".into()),
        };
        scene.demand_from(0.0, Expectation::Exactly(any_address));
        scene.sends(tcp(40000), 1.0, 4.5);
        scene.leaves(tcp(40000), "gateway", address, 1.0, 4.5);
        scene
    };
    leaving(node_ip("gateway")).check(Outcome::Pass, &[Verdict::Ok]);
    leaving("172.18.0.101").check(Outcome::Fail, &[Verdict::WrongEgressIp]);
    let mut untold = leaving("172.18.0.101");
    untold.cluster.addresses_untold = true;
    untold.check(Outcome::Inconclusive, &[Verdict::Unknown]);
    let mut untold = leaving(POD_IP);
    untold.cluster.addresses_untold = true;
    untold.check(Outcome::Fail, &[Verdict::PodIpLeak]);
}

#[test]
fn packets_that_could_not_be_read_take_the_pass_away() {
    for (node, vantage) in [
        ("worker", Vantage::Pod),
        ("gateway", Vantage::Tunnel),
        ("gateway", Vantage::Wire),
    ] {
        let mut scene = passing();
        scene.amend(node, vantage, 2, |row| row.ip_unparsed.buffers = 5);
        check_doubt(&scene, "up to 5 IP packets");
        // ARP and the like are no connections.
        let mut scene = passing();
        scene.amend(node, vantage, 2, |row| row.non_ip.packets = 5);
        scene.check(Outcome::Pass, &[Verdict::Ok]);
    }
    let mut hole = Scene::with_policy();
    hole.sends(udp(40000), 2.0, 4.5);
    hole.amend("gateway2", Vantage::Wire, 3, |row| {
        row.ip_unparsed.buffers = 1;
    });
    hole.check(Outcome::Inconclusive, &[Verdict::Unknown]);
}

#[test]
fn a_run_that_the_wire_skipped_matters_only_to_what_no_wire_saw() {
    let skip = |scene: &mut Scene| {
        scene.amend("gateway", Vantage::Wire, 3, |row| row.hook_misses = Some(1));
    };
    let mut paired = passing();
    skip(&mut paired);
    paired.check(Outcome::Pass, &[Verdict::Ok]);
    let mut dropped = Scene::with_policy();
    dropped.sends(udp(40000), 2.0, 4.5);
    skip(&mut dropped);
    dropped.check(Outcome::Inconclusive, &[Verdict::Unknown]);
    let mut blocked = Scene::new();
    let reason = "no gateway".into();
    blocked.demand_from(0.0, Expectation::Drop { reason });
    blocked.sends(udp(40000), 2.0, 4.5);
    blocked.check(Outcome::Pass, &[Verdict::Ok]);
    skip(&mut blocked);
    blocked.check(Outcome::Inconclusive, &[Verdict::Unknown]);
}

#[test]
fn an_unpaired_flow_to_the_same_service_takes_the_pass_away() {
    for (node, address) in [
        ("worker", node_ip("worker")),
        ("worker", POD_IP),
        ("gateway", EGRESS_IP),
    ] {
        let mut scene = passing();
        scene.leaves_unpaired(tcp(50000), node, address, 2.0, 3.5);
        check_doubt(
            &scene,
            &format!("node {node}: 1 unpaired flows to the same service"),
        );
    }
}

#[test]
fn unpaired_flows_of_others_do_not_matter() {
    let mut elsewhere = passing();
    elsewhere.leaves_unpaired(tcp(50000), "gateway2", node_ip("gateway2"), 2.0, 3.5);
    elsewhere.check(Outcome::Pass, &[Verdict::Ok]);
    let mut later = passing();
    later.leaves_unpaired(tcp(50000), "worker", node_ip("worker"), 7.0, 8.5);
    later.check(Outcome::Pass, &[Verdict::Ok]);
    let mut other_service = passing();
    let dns = Conn {
        destination: "192.0.2.9:53".parse().unwrap(),
        ..tcp(50000)
    };
    other_service.leaves_unpaired(dns, "worker", node_ip("worker"), 2.0, 3.5);
    other_service.check(Outcome::Pass, &[Verdict::Ok]);
    // The last packets of the connection itself, in a flow that the probe took up anew.
    let mut tail = passing();
    tail.leaves_unpaired(tcp(40000), "gateway", EGRESS_IP, 5.0, 5.1);
    tail.check(Outcome::Pass, &[Verdict::Ok]);
    // The policy is not the other pod's.
    let mut other_pod = passing();
    other_pod.pod_on("app/other", "10.0.1.6", "worker");
    other_pod.cluster.unselected = vec!["app/other".into()];
    other_pod.leaves_unpaired(tcp(50000), "worker", "10.0.1.6", 2.0, 3.5);
    other_pod.check(Outcome::Pass, &[Verdict::Ok]);
}

#[test]
fn what_an_uplink_sent_past_its_hook_takes_a_drop_away() {
    let mut scene = Scene::with_policy();
    scene.sends(udp(40000), 2.0, 4.5);
    scene.hook("gateway", Vantage::Uplink, "eth1", 0, 10);
    scene.hook("gateway", Vantage::Wire, "eth1", 0, 10);
    let mut sent = |second: i64, kernel_packets: i64, boundary_packets: i64| {
        scene.amend("gateway", Vantage::Uplink, second, |row| {
            row.counted.packets = 20;
            row.counted.buffers = 20;
            row.kernel_packets = Some(kernel_packets);
            row.kernel_bytes = Some(0);
            row.boundary_packets = Some(boundary_packets);
        });
        scene.clone()
    };
    for second in 0..10 {
        sent(second, 20, 0);
    }
    let explained = sent(3, 25, 5);
    explained.check(Outcome::Fail, &[Verdict::Dropped]);
    sent(2, 5, 0);
    let drained = sent(3, 35, 0);
    drained.check(Outcome::Fail, &[Verdict::Dropped]);
    sent(2, 20, 0);
    sent(3, 20, 0);
    let elsewhere = sent(8, 50, 5);
    elsewhere.check(Outcome::Fail, &[Verdict::Dropped]);
    let report = sent(3, 50, 5).check(Outcome::Inconclusive, &[Verdict::Unknown]);
    let notes = report.connections.unwrap()[0].notes.join("\n");
    assert!(
        notes.contains("node gateway: eth1 sent 25 packets that its hook did not see"),
        "{notes}"
    );
}

#[test]
fn a_driver_that_counts_buffers_may_count_their_packets_too() {
    let mut scene = Scene::with_policy();
    scene.sends(udp(40000), 2.0, 4.5);
    scene.hook("gateway", Vantage::Uplink, "eth1", 0, 10);
    scene.hook("gateway", Vantage::Wire, "eth1", 0, 10);
    let mut sent = |second: i64, kernel_packets: i64| {
        scene.amend("gateway", Vantage::Uplink, second, |row| {
            row.counted.packets = 200;
            row.counted.buffers = 20;
            row.kernel_packets = Some(kernel_packets);
            row.kernel_bytes = Some(0);
        });
        scene.clone()
    };
    for second in 0..10 {
        sent(second, 20);
    }
    // Segmented by the kernel, below the hook; then more than any counting makes of it.
    sent(3, 200).check(Outcome::Fail, &[Verdict::Dropped]);
    sent(3, 201).check(Outcome::Inconclusive, &[Verdict::Unknown]);
}

#[test]
fn an_uplink_without_a_watched_wire_takes_a_drop_away() {
    let mut scene = Scene::with_policy();
    scene.sends(udp(40000), 2.0, 4.5);
    scene.hook("gateway", Vantage::Uplink, "eth1", 0, 10);
    scene.check(Outcome::Inconclusive, &[Verdict::Unknown]);
    scene.hook("gateway", Vantage::Wire, "eth1", 0, 10);
    scene.check(Outcome::Fail, &[Verdict::Dropped]);
    let at_three = |row: &trace_schema::ledger::LedgerRow| {
        row.interface.as_deref() == Some("eth1")
            && row.vantage == Vantage::Wire
            && row.interval_start_us == super::scene::at(3.0)
    };
    scene.ledger.retain(|row| !at_three(row));
    scene.check(Outcome::Inconclusive, &[Verdict::Unknown]);
}
