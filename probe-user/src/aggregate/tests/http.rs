//! Rows of `http` from counts, and what the ledger says of those that are none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use probe_abi::{
    http::{HttpKey, NO_LATENCY, bucket_of, version},
    loss::{LossCount, LossKey, reason},
};
use trace_schema::http::{HttpRow, HttpVersion};

use super::*;
use crate::aggregate::{
    books::{Sources, ledger_rows},
    http::http_rows,
};

fn key(status: u16, bucket: u16) -> HttpKey {
    HttpKey {
        scope: 77,
        local: [u32::from_ne_bytes([10, 244, 1, 5]), 0, 0, 0],
        peer: [u32::from_ne_bytes([10, 244, 0, 9]), 0, 0, 0],
        local_port: 8080_u16.to_be(),
        status,
        bucket,
        version: version::HTTP11,
        family: 4,
        ..HttpKey::default()
    }
}

#[test]
fn buckets_of_a_place_are_one_row() {
    let six = HttpKey {
        local: [u32::from_be(0x2001_0db8), 0, 0, u32::from_be(5)],
        peer: [u32::from_be(0x2001_0db8), 0, 0, u32::from_be(9)],
        version: version::HTTP2,
        family: 6,
        ..key(0, NO_LATENCY)
    };
    let counts = [
        (key(200, bucket_of(1000)), 2),
        (six, 1),
        (key(200, NO_LATENCY), 5),
        (key(503, bucket_of(3)), 1),
        (key(200, bucket_of(70)), 4),
    ];
    let owner = |id| Owner {
        pod_uid: Some(format!("uid-{id}")),
        container_id: None,
    };
    let ok = HttpRow {
        interval_start_us: 1_000_000_000,
        interval_end_us: 1_001_000_000,
        node: "worker".to_owned(),
        boot_id: "b0071d00".to_owned(),
        pod_uid: Some("uid-77".to_owned()),
        container_id: None,
        cgroup_id: 77,
        local_address: "10.244.1.5".to_owned(),
        local_port: 8080,
        peer_address: "10.244.0.9".to_owned(),
        version: HttpVersion::Http11,
        status: Some(200),
        responses: 11,
        latency_lower_us: vec![68, 992],
        latency_upper_us: vec![72, 1024],
        latency_responses: vec![4, 2],
    };
    let unavailable = HttpRow {
        status: Some(503),
        responses: 1,
        latency_lower_us: vec![3],
        latency_upper_us: vec![4],
        latency_responses: vec![1],
        ..ok.clone()
    };
    let unread = HttpRow {
        local_address: "2001:db8::5".to_owned(),
        peer_address: "2001:db8::9".to_owned(),
        version: HttpVersion::Http2,
        status: None,
        responses: 1,
        latency_lower_us: Vec::new(),
        latency_upper_us: Vec::new(),
        latency_responses: Vec::new(),
        ..ok.clone()
    };
    let rows = http_rows(&interval(), &counts, owner);
    assert_eq!(rows, [ok, unavailable, unread]);
}

#[test]
fn what_could_not_be_followed_stands_with_the_pods_egress() {
    let lost = |hook, reason, buffers| {
        let key = LossKey {
            hook,
            reason,
            ..LossKey::default()
        };
        let count = LossCount {
            buffers,
            ..LossCount::default()
        };
        (key, count)
    };
    let drained = Drained {
        losses: vec![
            lost(hook::POD_EGRESS, reason::HTTP_UNPARSED, 3),
            lost(hook::POD_INGRESS, reason::HTTP_OVERFLOW, 2),
            lost(hook::POD_EGRESS, reason::OVERFLOW, 9),
        ],
        ..Drained::default()
    };
    let sources = Sources {
        start: &BTreeMap::new(),
        end: &BTreeMap::new(),
        hooks: &[(hook::POD_EGRESS, 0), (hook::POD_INGRESS, 0)],
        fresh: &BTreeSet::new(),
        wire_buffers: &HashMap::new(),
        doubted: &HashMap::new(),
        disagreements: 0,
        ring_drops: 0,
        misses: &HashMap::new(),
        wire_entries: 0,
        capacity: 10,
    };
    let rows = ledger_rows(&interval(), &drained, &sources);
    let unparsed = rows.iter().map(|row| row.http_unparsed);
    assert_eq!(unparsed.collect::<Vec<_>>(), [5, 0]);
}
