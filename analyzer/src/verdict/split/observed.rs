//! Rows of the `http` table, with who answered and who asked.
//!
//! Interim responses (1xx) are left out: a final one follows. A response whose status could not be
//! read is one all the same. Rows that are alike are added up, so that memory follows the number of
//! intervals and not of addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use trace_schema::http::{HttpRow, HttpVersion};

use super::super::evidence::Window;
use super::latency::Histogram;
use super::topology::{Asker, Topology};
use crate::policy::gateway_api::BackendId;

/// Everything that was seen of backends.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// By what names them.
    pub samples: BTreeMap<SampleKey, Sample>,
    /// Latency of what the Gateways were answered.
    pub latency: BTreeMap<(Vec<BackendId>, Asker), Histogram>,
    /// Responses of pods' ports that stand behind no Service, by node and who asked.
    pub strangers: BTreeMap<(String, Asker), u64>,
    /// Nodes whose pods answered in HTTP/2.
    pub with_http2: BTreeSet<String>,
    /// Responses without a status, by node: the ledger counts them as not followed.
    pub unread: BTreeMap<String, u64>,
    /// Rows that were read.
    pub rows: u64,
    /// From the first interval to the last.
    pub span: Option<Window>,
    lengths: BTreeMap<i64, u64>,
}

/// Responses that are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// How many.
    pub responses: u64,
    /// The longest that any of them took, as far as requests were seen, microseconds.
    pub slowest_us: i64,
}

/// What responses have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SampleKey {
    /// The interval.
    pub interval: Window,
    /// Backends that the pod's port stands behind.
    pub backends: Vec<BackendId>,
    /// The pod, `namespace/name`, or its address.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Who asked.
    pub asker: Asker,
    /// Status; absent where it could not be read.
    pub status: Option<i32>,
}

/// Why a row is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of table http, node {node}: {text:?} is not an IP address")]
pub struct ResponseError {
    /// Node of the row.
    pub node: String,
    /// What stands there.
    pub text: String,
}

impl Observed {
    /// Takes a row.
    pub fn add(&mut self, row: &HttpRow, topology: &Topology<'_>) -> Result<(), ResponseError> {
        if row
            .status
            .is_some_and(|status| (100..200).contains(&status))
        {
            return Ok(());
        }
        let address = |text: &str| {
            let parsed = text.parse::<IpAddr>().map_err(|_| ResponseError {
                node: row.node.clone(),
                text: text.to_owned(),
            });
            parsed.map(|address| address.to_canonical())
        };
        let (local, peer) = (address(&row.local_address)?, address(&row.peer_address)?);
        let interval = Window {
            from_us: row.interval_start_us,
            to_us: row.interval_end_us,
        };
        let at_us = middle(interval);
        let responses = row.responses.max(0).unsigned_abs();
        let port = u16::try_from(row.local_port).unwrap_or_default();
        let uid = row.pod_uid.as_deref();
        self.rows += 1;
        self.span = Some(self.span.map_or(interval, |span| span.cover(interval)));
        *self.lengths.entry(interval.length_us()).or_default() += 1;
        if row.status.is_none() {
            *self.unread.entry(row.node.clone()).or_default() += responses;
        }
        if row.version == HttpVersion::Http2 {
            self.with_http2.insert(row.node.clone());
        }
        let asker = topology.asker(peer, local, at_us);
        let backends = topology.backends(uid, local, port, at_us);
        if backends.is_empty() {
            let place = (row.node.clone(), asker);
            *self.strangers.entry(place).or_default() += responses;
            return Ok(());
        }
        let backends: Vec<BackendId> = backends.into_iter().cloned().collect();
        let latency = (backends.clone(), asker.clone());
        self.latency.entry(latency).or_default().add(
            &row.latency_lower_us,
            &row.latency_upper_us,
            &row.latency_responses,
        );
        let pod = topology.pod_name(uid, at_us);
        let key = SampleKey {
            interval,
            backends,
            pod: pod.unwrap_or_else(|| local.to_string()),
            node: row.node.clone(),
            asker,
            status: row.status,
        };
        let sample = self.samples.entry(key).or_default();
        sample.responses += responses;
        let slowest_us = row.latency_upper_us.iter().copied().max();
        sample.slowest_us = sample.slowest_us.max(slowest_us.unwrap_or(0));
        Ok(())
    }

    /// The commonest length of an interval: the finest step in time.
    pub fn step_us(&self) -> i64 {
        let commonest = self.lengths.iter().max_by_key(|(_, rows)| **rows);
        // Intervals end when a timer fires: to a few milliseconds.
        let length_us = commonest.map_or(1_000_000, |(length_us, _)| *length_us);
        ((length_us + 50_000) / 100_000 * 100_000).max(100_000)
    }
}

/// The middle of a window.
pub(crate) fn middle(window: Window) -> i64 {
    window.from_us + (window.to_us - window.from_us) / 2
}
