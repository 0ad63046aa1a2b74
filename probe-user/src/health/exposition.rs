//! [`Stats`] as Prometheus metrics: names, help texts, labels.

use std::fmt;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Health, Stats};
use crate::ship::Shipped;
use crate::spool::Written;

/// What one scrape shows.
#[derive(Debug)]
pub(super) struct Snapshot {
    stats: Stats,
    is_healthy: bool,
}

impl Snapshot {
    pub(super) fn of(health: &Health) -> Self {
        let is_healthy = health.complaint(Instant::now()).is_none();
        Self {
            stats: health.stats(),
            is_healthy,
        }
    }

    fn counters(&self) -> [(&'static str, &'static str, u64); 13] {
        let Stats { written, .. } = &self.stats;
        [
            ("intervals", "Intervals ended", self.stats.intervals),
            (
                "overflow_packets",
                "Packets that a full map turned away",
                self.stats.overflow_packets,
            ),
            (
                "non_ip_packets",
                "Frames that are not IP",
                self.stats.non_ip_packets,
            ),
            (
                "ip_unparsed_packets",
                "IP packets whose headers could not be followed",
                self.stats.ip_unparsed_packets,
            ),
            (
                "pairing_missed",
                "Wire flows never found before NAT",
                self.stats.pairing_missed,
            ),
            (
                "pairing_ambiguous",
                "Fingerprints shared by two sources",
                self.stats.pairing_ambiguous,
            ),
            (
                "pairing_overflow",
                "Wire flows that the full pairing map turned away",
                self.stats.pairing_overflow,
            ),
            (
                "http_unparsed",
                "HTTP byte streams and responses that could not be followed",
                self.stats.http_unparsed,
            ),
            (
                "cpu_overflow",
                "Charges of processor time that the full map of accounts turned away",
                self.stats.cpu_overflow,
            ),
            (
                "ring_drops",
                "Records that did not fit the ring buffer",
                self.stats.ring_drops,
            ),
            (
                "lost_rows",
                "Rows that did not reach the disk",
                written.lost_rows,
            ),
            (
                "lost_intervals",
                "Intervals of which something did not reach the disk",
                written.lost_intervals,
            ),
            (
                "spool_errors",
                "Failed attempts to write or merge files",
                written.errors,
            ),
        ]
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in self.counters() {
            let labels: [Labels<'_, 0>; 1] = [([], value)];
            counter(&mut encoder, name, help, &labels)?;
        }
        let Stats {
            written,
            hooks,
            maps,
            ..
        } = &self.stats;
        let rows = [
            ([("table", "flows")], written.flow_rows),
            ([("table", "http")], written.http_rows),
            ([("table", "snat")], written.snat_rows),
            ([("table", "cpu")], written.cpu_rows),
            ([("table", "resources")], written.resource_rows),
            ([("table", "profile")], written.profile_rows),
            ([("table", "ledger")], written.ledger_rows),
        ];
        counter(&mut encoder, "rows_written", "Rows on disk", &rows)?;

        let maps = || maps.iter().map(|map| ([("map", map.map.as_str())], map));
        let entries: Vec<_> = maps().map(|(labels, map)| (labels, map.entries)).collect();
        gauge(&mut encoder, "map_entries", "Flows in the map", &entries)?;
        let capacity: Vec<_> = maps().map(|(labels, map)| (labels, map.capacity)).collect();
        gauge(
            &mut encoder,
            "map_capacity",
            "Flows that fit the map",
            &capacity,
        )?;
        let hooks: Vec<_> = hooks
            .iter()
            .map(|hook| {
                let labels = [
                    ("vantage", hook.vantage.as_str()),
                    ("interface", hook.interface.as_str()),
                ];
                (labels, 1)
            })
            .collect();
        gauge(
            &mut encoder,
            "hook_attached",
            "1 for each attached hook",
            &hooks,
        )?;

        if let Some((source, reason)) = &self.stats.cycle_source {
            let labels = [("source", *source), ("reason", reason.as_str())];
            let help = "1, labelled with what cycles are and why";
            gauge(&mut encoder, "cycle_source", help, &[(labels, 1)])?;
        }

        self.encode_shipping(&mut encoder)?;
        let single = |value| -> [Labels<'_, 0>; 1] { [([], value)] };
        gauge(
            &mut encoder,
            "spool_files",
            "Files on disk",
            &single(written.files),
        )?;
        gauge(
            &mut encoder,
            "spool_bytes",
            "Bytes of those files",
            &single(written.bytes),
        )?;
        let healthy = u64::from(self.is_healthy);
        gauge(
            &mut encoder,
            "healthy",
            "1 as long as /healthz says ok",
            &single(healthy),
        )?;

        let end_seconds = self.stats.last_interval_end_us as f64 / 1e6;
        let end = ConstGauge::new(end_seconds);
        end.encode(encoder.encode_descriptor(
            "last_interval_end_seconds",
            "End of the last interval, UTC",
            None,
            end.metric_type(),
        )?)
    }
}

impl Snapshot {
    fn encode_shipping(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        shipping(encoder, &self.stats.written, self.stats.shipped)
    }
}

/// What the full spool gave up, and what left for the store.
pub(crate) fn shipping(
    encoder: &mut DescriptorEncoder<'_>,
    written: &Written,
    shipped: Option<Shipped>,
) -> fmt::Result {
    let single = |value| -> [Labels<'_, 0>; 1] { [([], value)] };
    for (name, help, value) in [
        (
            "spool_dropped_files",
            "Files that went because the spool was full",
            written.dropped_files,
        ),
        (
            "spool_dropped_rows",
            "Rows that went because the spool was full",
            written.dropped_rows,
        ),
        (
            "spool_dropped_bytes",
            "Bytes that went because the spool was full",
            written.dropped_bytes,
        ),
    ] {
        counter(encoder, name, help, &single(value))?;
    }
    let Some(shipped) = shipped else {
        return Ok(());
    };
    for (name, help, value) in [
        (
            "shipped_files",
            "Files that the store confirmed",
            shipped.files,
        ),
        (
            "shipped_bytes",
            "Bytes that the store confirmed",
            shipped.bytes,
        ),
        (
            "ship_failures",
            "Failed attempts to ship a file",
            shipped.failures,
        ),
    ] {
        counter(encoder, name, help, &single(value))?;
    }
    for (name, help, value) in [
        (
            "ship_waiting_files",
            "Files that wait for the store",
            shipped.waiting_files,
        ),
        (
            "ship_waiting_bytes",
            "Bytes of those files",
            shipped.waiting_bytes,
        ),
        (
            "ship_failing",
            "1 as long as the store takes no files",
            u64::from(shipped.is_failing),
        ),
        (
            "ship_last_success_seconds",
            "When the store confirmed a file last, UTC; 0 before the first",
            shipped.last_success_us.cast_unsigned() / 1_000_000,
        ),
    ] {
        gauge(encoder, name, help, &single(value))?;
    }
    Ok(())
}

/// A sample: its labels and its value.
pub(crate) type Labels<'a, const N: usize> = ([(&'static str, &'a str); N], u64);

pub(crate) fn counter<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: &[Labels<'_, N>],
) -> fmt::Result
where
    for<'a> [(&'static str, &'a str); N]: EncodeLabelSet,
{
    let kind = ConstCounter::new(0u64).metric_type();
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in samples {
        let value = ConstCounter::new(*value);
        if labels.is_empty() {
            return value.encode(metric);
        }
        value.encode(metric.encode_family(labels)?)?;
    }
    Ok(())
}

pub(crate) fn gauge<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: &[Labels<'_, N>],
) -> fmt::Result
where
    for<'a> [(&'static str, &'a str); N]: EncodeLabelSet,
{
    let kind = ConstGauge::new(0u64).metric_type();
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in samples {
        let value = ConstGauge::new(*value);
        if labels.is_empty() {
            return value.encode(metric);
        }
        value.encode(metric.encode_family(labels)?)?;
    }
    Ok(())
}
