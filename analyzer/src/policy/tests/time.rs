//! Expectations over the versions of objects in time.

use std::collections::BTreeMap;

use trace_schema::objects::{ObjectEvent, ObjectRow};

use super::{OUTSIDE, rows};
use crate::objects::{History, PodLookup};
use crate::policy::{Engine, EngineOptions, PodIdentity};

/// 2026-01-31T12:00:00Z.
const NOON_US: i64 = 1_769_860_800_000_000;

fn seconds(count: i64) -> i64 {
    NOON_US + count * 1_000_000
}

/// A recorder's row: what it saw, `at` seconds after noon.
fn seen(at: i64, event: ObjectEvent, yaml: &str) -> ObjectRow {
    let mut row = rows(yaml).remove(0);
    row.observed_at_us = seconds(at);
    row.event = event;
    row
}

fn pod(created: &str, status: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: prod, uid: pod-1, \
         creationTimestamp: \"2026-01-31T{created}Z\", labels: {{app: web}}}}\n\
         spec: {{nodeName: worker}}\nstatus: {status}\n"
    )
}

fn egress(node: &str) -> String {
    format!(
        "apiVersion: crd.antrea.io/v1beta1\nkind: Egress\nmetadata: {{name: web, uid: egress-1, \
         creationTimestamp: \"2026-01-31T12:00:20Z\", resourceVersion: \"1\"}}\n\
         spec: {{appliedTo: {{podSelector: {{}}}}, egressIP: 10.10.0.100}}\n\
         status: {{egressNode: \"{node}\", egressIP: 10.10.0.100}}\n"
    )
}

const RUNNING: &str = "{phase: Running, podIP: 10.244.1.5, startTime: \"2026-01-31T12:00:10Z\"}";

fn moving() -> History {
    History::new(vec![
        seen(
            0,
            ObjectEvent::Added,
            "{apiVersion: v1, kind: Namespace, metadata: {name: prod}}",
        ),
        seen(9, ObjectEvent::Added, &pod("12:00:08", "{phase: Pending}")),
        seen(13, ObjectEvent::Modified, &pod("12:00:08", RUNNING)),
        seen(21, ObjectEvent::Added, &egress("gateway")),
        // Only a field that nothing rests on differs.
        seen(
            25,
            ObjectEvent::Modified,
            &egress("gateway").replace("\"1\"", "\"2\""),
        ),
        seen(40, ObjectEvent::Modified, &egress("gateway2")),
        seen(50, ObjectEvent::Deleted, &egress("gateway2")),
        seen(60, ObjectEvent::Deleted, &pod("12:00:08", RUNNING)),
    ])
    .unwrap()
}

#[test]
fn expectation_follows_the_placement_and_says_since_when() {
    let history = moving();
    let engine = Engine::new(&history, EngineOptions::default()).unwrap();
    let bypass = "no gateway: no policy selects the pod";
    for (at, expected, since) in [
        (12, bypass, 10),
        (20, bypass, 10),
        (21, "10.10.0.100 on gateway", 21),
        (39, "10.10.0.100 on gateway", 21),
        (40, "10.10.0.100 on gateway2", 40),
        (50, bypass, 50),
        (59, bypass, 50),
    ] {
        let found = engine.expect(
            &PodIdentity::uid("pod-1"),
            OUTSIDE.parse().unwrap(),
            seconds(at),
        );
        assert_eq!(found.expectation.to_string(), expected, "at {at} s");
        assert_eq!(
            (found.since_us - NOON_US) / 1_000_000,
            since,
            "since, at {at} s"
        );
    }
    for at in [7, 60] {
        let found = engine.expect(
            &PodIdentity::uid("pod-1"),
            OUTSIDE.parse().unwrap(),
            seconds(at),
        );
        let expected = "unknown: the objects have no pod with UID pod-1 at that time";
        assert_eq!(found.expectation.to_string(), expected, "at {at} s");
    }
    assert!(!engine.change_times().contains(&seconds(25)));
    for at in [21, 40, 50, 60] {
        assert!(engine.change_times().contains(&seconds(at)), "{at} s");
    }
}

#[test]
fn destination_that_becomes_a_pod_is_inside_from_then() {
    let mut rows = vec![
        seen(0, ObjectEvent::Added, &pod("12:00:00", RUNNING)),
        seen(21, ObjectEvent::Added, &egress("gateway")),
    ];
    let other = pod("12:00:30", "{phase: Running, podIP: 203.0.113.9}");
    let other = other
        .replace("name: web", "name: other")
        .replace("pod-1", "pod-2");
    rows.push(seen(31, ObjectEvent::Added, &other));
    let history = History::new(rows).unwrap();
    let engine = Engine::new(&history, EngineOptions::default()).unwrap();
    let at = |at| {
        let pod = PodIdentity::name("prod", "web");
        engine
            .expect(&pod, OUTSIDE.parse().unwrap(), seconds(at))
            .expectation
            .to_string()
    };
    assert_eq!(at(29), "10.10.0.100 on gateway");
    assert_eq!(at(30), "no gateway: the destination is inside the cluster");
}

#[test]
fn pod_addresses_count_from_the_start_of_the_pod_and_no_earlier() {
    let history = moving();
    let by_ip = |at| history.pod_by_ip("10.244.1.5".parse().unwrap(), seconds(at));
    assert_eq!(by_ip(9), PodLookup::None);
    for at in [10, 13, 59] {
        let PodLookup::One(pod) = by_ip(at) else {
            panic!("no pod at {at} s")
        };
        assert_eq!(
            (pod.uid, pod.node, pod.born_us),
            ("pod-1", Some("worker"), seconds(10))
        );
    }
    assert_eq!(by_ip(60), PodLookup::None);
    assert!(history.pod_by_uid("pod-1", seconds(7)).is_none());
    assert!(history.pod_by_uid("pod-1", seconds(8)).is_some());
}

#[test]
fn address_of_two_pods_at_once_is_ambiguous() {
    let second = pod("12:00:20", "{phase: Running, podIP: 10.244.1.5}").replace("pod-1", "pod-2");
    let second = second.replace("name: web", "name: api");
    let ended = pod("12:00:08", "{phase: Succeeded, podIP: 10.244.1.5}");
    let history = History::new(vec![
        seen(9, ObjectEvent::Added, &pod("12:00:08", RUNNING)),
        seen(21, ObjectEvent::Added, &second),
        seen(30, ObjectEvent::Modified, &ended),
    ])
    .unwrap();
    let by_ip = |at| history.pod_by_ip("10.244.1.5".parse().unwrap(), seconds(at));
    assert!(matches!(by_ip(19), PodLookup::One(pod) if pod.uid == "pod-1"));
    assert!(matches!(by_ip(25), PodLookup::Ambiguous(pods) if pods.len() == 2));
    assert!(matches!(by_ip(30), PodLookup::One(pod) if pod.uid == "pod-2"));
}

#[test]
fn host_network_pods_hold_no_address_of_their_own() {
    let on_host = pod("12:00:08", RUNNING).replace("nodeName", "hostNetwork: true, nodeName");
    let history = History::new(vec![seen(9, ObjectEvent::Added, &on_host)]).unwrap();
    let found = history.pod_by_ip("10.244.1.5".parse().unwrap(), seconds(20));
    assert_eq!(found, PodLookup::None);
}

#[test]
fn policy_that_was_there_before_recording_counts_from_its_last_writing() {
    let managed = "managedFields: [{manager: a, time: \"2026-01-31T12:00:25Z\"}], resourceVersion";
    let old = egress("gateway").replace("resourceVersion", managed);
    let history = History::new(vec![
        seen(30, ObjectEvent::Added, &old),
        seen(30, ObjectEvent::Added, &pod("12:00:00", RUNNING)),
    ])
    .unwrap();
    let engine = Engine::new(&history, EngineOptions::default()).unwrap();
    let at = |at| {
        let pod = PodIdentity::uid("pod-1");
        engine
            .expect(&pod, OUTSIDE.parse().unwrap(), seconds(at))
            .expectation
            .to_string()
    };
    assert_eq!(at(24), "no gateway: no policy selects the pod");
    assert_eq!(at(25), "10.10.0.100 on gateway");
}

#[test]
fn policy_that_comes_back_unchanged_was_gone_in_between() {
    let history = History::new(vec![
        seen(0, ObjectEvent::Added, &pod("12:00:00", RUNNING)),
        seen(21, ObjectEvent::Added, &egress("gateway")),
        seen(30, ObjectEvent::Deleted, &egress("gateway")),
        seen(35, ObjectEvent::Added, &egress("gateway")),
    ])
    .unwrap();
    let engine = Engine::new(&history, EngineOptions::default()).unwrap();
    let at = |at| {
        let pod = PodIdentity::uid("pod-1");
        let found = engine.expect(&pod, OUTSIDE.parse().unwrap(), seconds(at));
        (
            found.expectation.to_string(),
            (found.since_us - NOON_US) / 1_000_000,
        )
    };
    assert_eq!(at(29), ("10.10.0.100 on gateway".into(), 21));
    assert_eq!(at(34), ("no gateway: no policy selects the pod".into(), 30));
    assert_eq!(at(36), ("10.10.0.100 on gateway".into(), 35));
}

/// A second way to the same answers: an engine built of only the versions that hold at a moment.
#[test]
fn any_moment_answers_like_its_own_snapshot() {
    let history = moving();
    let engine = Engine::new(&history, EngineOptions::default()).unwrap();
    let mut answers = BTreeMap::new();
    for at in 10..60 {
        let mut snapshot = vec![seen(0, ObjectEvent::Added, &pod("11:00:00", RUNNING))];
        if (21..50).contains(&at) {
            let node = if at < 40 { "gateway" } else { "gateway2" };
            snapshot.push(seen(0, ObjectEvent::Added, &egress(node)));
        }
        let snapshot = History::new(snapshot).unwrap();
        let alone = Engine::new(&snapshot, EngineOptions::default()).unwrap();
        let pod = PodIdentity::uid("pod-1");
        let found = engine
            .expect(&pod, OUTSIDE.parse().unwrap(), seconds(at))
            .expectation;
        assert_eq!(
            found,
            alone
                .expect(&pod, OUTSIDE.parse().unwrap(), seconds(at))
                .expectation
        );
        *answers.entry(found.to_string()).or_insert(0) += 1;
    }
    assert_eq!(answers.len(), 3, "{answers:?}");
}
