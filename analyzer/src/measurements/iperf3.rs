//! What iperf3's files say of a run: goodput, round-trip times, retransmits, loss, jitter.
//!
//! A run of several client and server pairs has a file each: bytes and counts add up, round-trip
//! times are one pool. Omitted intervals count nowhere, which iperf3's own `mean_rtt` does not keep
//! to. With `-R` the client receives and knows no round-trip time: absent, not 0.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Metric, Origin, Point, Quantity, RunMeasurements, Series};
use crate::input::iperf3::{Interval, Iperf3Result, Role, Status};
use crate::input::manifest::Run;
use crate::stats::order::sample_quantile;
use crate::verdict::Moment;

/// Kind under which manifests list iperf3's output.
const KIND: &str = "iperf3-json";

/// Notes what the run's files of iperf3 say; nothing where it has none.
pub(super) fn measure(run: &Run, into: &mut RunMeasurements) {
    let mut files = Vec::new();
    let mut results = Vec::new();
    for path in run.files_of_kind(KIND) {
        files.push(super::shown(run, &path));
        match read(run, &path) {
            Ok(result) => results.push(result),
            Err(refusal) => {
                into.notes.push(refusal.clone());
                results.clear();
                note_all(into, &files, &refusal);
                return;
            }
        }
    }
    if files.is_empty() {
        return;
    }
    let noted = Noted {
        results: &results,
        files: &files,
    };
    noted.rates(into);
    noted.round_trips(into);
    noted.datagrams(into);
    noted.tool(into);
    noted.goodput_over_time(into);
    noted.rtt_over_time(into);
}

/// A result that a number can be made of, or why not: one line.
fn read(run: &Run, path: &Path) -> Result<Iperf3Result, String> {
    let result = Iperf3Result::read(path).map_err(|error| super::refusal(run, &error))?;
    let what = match &result.status {
        Status::Complete | Status::Interrupted(_) => return Ok(result),
        Status::ServerDied(text) => format!("the server died: {text}"),
        Status::Unfinished => "iperf3 was killed before it ended".to_owned(),
        Status::Error(text) => text.clone(),
    };
    Err(format!("{}: iperf3: {what}", super::shown(run, path)))
}

fn note_all(into: &mut RunMeasurements, files: &[String], refusal: &str) {
    let origin = Origin {
        files: files.to_vec(),
        by: "iperf3".to_owned(),
    };
    for quantity in [Quantity::Goodput, Quantity::RttMean, Quantity::Retransmits] {
        into.note(Metric::whole(quantity), Err(refusal.to_owned()), &origin);
    }
}

/// The results of a run's files.
struct Noted<'a> {
    results: &'a [Iperf3Result],
    files: &'a [String],
}

impl Noted<'_> {
    fn origin(&self, by: &str) -> Origin {
        Origin {
            files: self.files.to_vec(),
            by: by.to_owned(),
        }
    }

    /// The sum over files and directions; `None` as soon as one does not tell.
    fn sum(&self, of: impl Fn(&Iperf3Result) -> Option<f64>) -> Option<f64> {
        let parts: Option<Vec<f64>> = self.results.iter().map(of).collect();
        parts.map(|parts| parts.iter().sum())
    }

    fn rates(&self, into: &mut RunMeasurements) {
        let goodput = self.sum(|result| {
            let ways = result.transfers.iter();
            let parts: Option<Vec<f64>> = ways
                .map(|transfer| transfer.goodput_bits_per_second())
                .collect();
            let parts = parts.filter(|parts| !parts.is_empty())?;
            Some(parts.iter().sum())
        });
        into.note(
            Metric::whole(Quantity::Goodput),
            goodput.ok_or_else(|| "the receiving end did not report what arrived".to_owned()),
            &self.origin("sum of iperf3's end.sum_received.bits_per_second (UDP: end.sum less lost datagrams), both ways, omitted intervals left out"),
        );
        let retransmits = self.sum(|result| {
            let counts = result.transfers.iter().filter_map(|one| one.retransmits);
            counts
                .reduce(|one, other| one + other)
                .map(|sum| sum as f64)
        });
        into.note(
            Metric::whole(Quantity::Retransmits),
            retransmits.ok_or_else(|| "only a TCP sender on this end knows retransmits".to_owned()),
            &self.origin("sum of iperf3's end.sum_sent.retransmits, omitted intervals left out"),
        );
    }

    fn round_trips(&self, into: &mut RunMeasurements) {
        let counted = self.results.iter().flat_map(counted);
        let streams = counted.flat_map(|interval| &interval.streams);
        let samples: Vec<f64> = streams
            .filter_map(|stream| stream.rtt_us)
            .map(|rtt_us| rtt_us as f64)
            .collect();
        let why = "iperf3 gives round-trip times to a TCP sender only, and this end was none";
        let mean = (!samples.is_empty()).then(|| {
            samples
                .iter()
                .map(|value| value / samples.len() as f64)
                .sum()
        });
        into.note(
            Metric::whole(Quantity::RttMean),
            mean.ok_or_else(|| why.to_owned()),
            &self.origin("mean of iperf3's intervals[].streams[].rtt with omitted = false"),
        );
        let quantiles = [
            (Quantity::RttP50, 0.5),
            (Quantity::RttP95, 0.95),
            (Quantity::RttP99, 0.99),
        ];
        for (quantity, probability) in quantiles {
            let value = sample_quantile(&samples, probability);
            into.note(
                Metric::whole(quantity),
                value.ok_or_else(|| why.to_owned()),
                &self.origin(&format!(
                    "{probability} quantile (linear, type 7) of iperf3's intervals[].streams[].rtt with omitted = false"
                )),
            );
        }
    }

    fn datagrams(&self, into: &mut RunMeasurements) {
        let transfers = self.results.iter().flat_map(|result| &result.transfers);
        let udp: Vec<_> = transfers.filter_map(|transfer| transfer.udp).collect();
        if udp.is_empty() {
            return;
        }
        let (lost, sent) = udp.iter().fold((0, 0), |(lost, sent), one| {
            (lost + one.lost, sent + one.packets)
        });
        let loss = (sent > 0).then(|| 100.0 * lost as f64 / sent as f64);
        into.note(
            Metric::whole(Quantity::UdpLoss),
            loss.ok_or_else(|| "no datagram was sent".to_owned()),
            &self.origin("iperf3's lost_packets ÷ packets of end.sum, all files"),
        );
        let jitter = udp.iter().map(|one| one.jitter_ms * 1e3).sum::<f64>() / udp.len() as f64;
        into.note(
            Metric::whole(Quantity::UdpJitter),
            Ok(jitter),
            &self.origin("mean over files and ways of iperf3's end.sum.jitter_ms"),
        );
    }

    fn tool(&self, into: &mut RunMeasurements) {
        let ends = |client: bool| {
            self.sum(|result| match (result.role == Role::Client) == client {
                true => result.own_cpu_percent,
                false => result.other_cpu_percent,
            })
        };
        for (part, value) in [("client", ends(true)), ("server", ends(false))] {
            into.note(
                Metric::of(Quantity::ToolCpu, part),
                value.ok_or_else(|| format!("iperf3 does not say its {part}'s CPU use")),
                &self.origin("sum of iperf3's end.cpu_utilization_percent, of one CPU"),
            );
        }
    }

    fn goodput_over_time(&self, into: &mut RunMeasurements) {
        let rate = |interval: &Interval| {
            let rates = interval.streams.iter().map(|one| one.bits_per_second);
            (!interval.streams.is_empty()).then(|| rates.sum())
        };
        let by = "iperf3's intervals[].streams[].bits_per_second added up, omitted = false, as the end that wrote the file counted them";
        self.over_time(into, Quantity::Goodput, by, rate, |rates| {
            Some(rates.iter().sum())
        });
    }

    fn rtt_over_time(&self, into: &mut RunMeasurements) {
        let mean = |values: &[f64]| -> Option<f64> {
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let rtt = |interval: &Interval| {
            let samples = interval.streams.iter().filter_map(|one| one.rtt_us);
            mean(&samples.map(|rtt_us| rtt_us as f64).collect::<Vec<_>>())
        };
        let by = "mean of iperf3's intervals[].streams[].rtt, omitted = false";
        self.over_time(into, Quantity::RttMean, by, rtt, mean);
    }

    /// A series of what all files have at a time.
    fn over_time(
        &self,
        into: &mut RunMeasurements,
        quantity: Quantity,
        by: &str,
        value: impl Fn(&Interval) -> Option<f64>,
        join: impl Fn(&[f64]) -> Option<f64>,
    ) {
        let mut by_end = BTreeMap::<i64, Vec<f64>>::new();
        for result in self.results {
            for interval in counted(result) {
                if let Some(value) = value(interval) {
                    by_end
                        .entry(tenths(interval.end_s))
                        .or_default()
                        .push(value);
                }
            }
        }
        let start_us = self.start_us(into);
        let whole = by_end
            .into_iter()
            .filter(|(_, values)| values.len() == self.results.len());
        let points = whole.filter_map(|(end, values)| {
            Some(Point {
                at: Moment(start_us + end * 100_000),
                value: join(&values)?,
            })
        });
        let series = Series::new(
            Metric::whole(quantity),
            points.collect(),
            self.origin(by),
            into.from,
        );
        into.series.extend(series);
    }

    /// When the part of the test began that counts, by the first file.
    fn start_us(&self, into: &RunMeasurements) -> i64 {
        let first = &self.results[0];
        let started = first.started_s.map(|seconds| seconds * 1_000_000);
        let omitted_us = (first.omitted_seconds * 1e6).round() as i64;
        started.unwrap_or(into.from.0) + omitted_us
    }
}

/// Intervals that the sums do not leave out.
fn counted(result: &Iperf3Result) -> impl Iterator<Item = &Interval> {
    result.intervals.iter().filter(|interval| !interval.omitted)
}

/// Ends of intervals are exact to some milliseconds: tenths of a second name them.
fn tenths(seconds: f64) -> i64 {
    (seconds * 10.0).round() as i64
}
