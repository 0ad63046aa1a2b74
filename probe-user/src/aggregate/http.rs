//! The rows of `http`: counts of responses, gathered by backend, peer, version and status.

use std::collections::BTreeMap;
use std::net::IpAddr;

use probe_abi::http::{HttpKey, NO_LATENCY, bounds_of, version};
use trace_schema::http::{HttpRow, HttpVersion};

use super::{Interval, Owner, address};

/// What one row is of, in the order of the rows.
type Place = (u64, IpAddr, u16, IpAddr, HttpVersion, Option<u16>);

/// The rows of `http`, in a fixed order.
pub fn http_rows(
    interval: &Interval,
    counts: &[(HttpKey, u64)],
    mut owner: impl FnMut(u64) -> Owner,
) -> Vec<HttpRow> {
    let mut places: BTreeMap<Place, BTreeMap<u16, u64>> = BTreeMap::new();
    for (key, count) in counts {
        if let Some(place) = place(key) {
            *places
                .entry(place)
                .or_default()
                .entry(key.bucket)
                .or_default() += count;
        }
    }
    let rows = places.iter();
    rows.map(|(place, buckets)| row(interval, *place, buckets, &mut owner))
        .collect()
}

/// Where a count belongs; none for a version that this build does not know.
fn place(key: &HttpKey) -> Option<Place> {
    let version = match key.version {
        version::HTTP10 => HttpVersion::Http10,
        version::HTTP11 => HttpVersion::Http11,
        version::HTTP2 => HttpVersion::Http2,
        _ => return None,
    };
    Some((
        key.scope,
        address(key.family, key.local),
        u16::from_be(key.local_port),
        address(key.family, key.peer),
        version,
        (key.status != 0).then_some(key.status),
    ))
}

fn row(
    interval: &Interval,
    (scope, local, port, peer, version, status): Place,
    buckets: &BTreeMap<u16, u64>,
    owner: &mut impl FnMut(u64) -> Owner,
) -> HttpRow {
    let owner = owner(scope);
    let known = || buckets.iter().filter(|(bucket, _)| **bucket != NO_LATENCY);
    let bounds = || known().map(|(bucket, _)| bounds_of(*bucket));
    HttpRow {
        interval_start_us: interval.start_us,
        interval_end_us: interval.end_us,
        node: interval.node.clone(),
        boot_id: interval.boot_id.clone(),
        pod_uid: owner.pod_uid,
        container_id: owner.container_id,
        cgroup_id: scope as i64,
        local_address: local.to_string(),
        local_port: i32::from(port),
        peer_address: peer.to_string(),
        version,
        status: status.map(i32::from),
        responses: buckets.values().sum::<u64>() as i64,
        latency_lower_us: bounds().map(|(lower, _)| lower as i64).collect(),
        latency_upper_us: bounds().map(|(_, upper)| upper as i64).collect(),
        latency_responses: known().map(|(_, count)| *count as i64).collect(),
    }
}
