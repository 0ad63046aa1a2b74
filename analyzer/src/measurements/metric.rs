//! What can be measured of a run: its name, its unit, and what it is of.
//!
//! A metric is a quantity, of the whole run or of a part of it (a node, a pod, a backend). Its name is
//! what `--metric` takes and what JSON carries: `goodput`, `cpu_percent[worker]`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantity {
    /// Payload that arrived, of all streams and both ways.
    Goodput,
    /// Mean of iperf3's own round-trip times, omitted intervals left out.
    RttMean,
    /// Median of the same samples.
    RttP50,
    /// Their 95 % quantile.
    RttP95,
    /// Their 99 % quantile.
    RttP99,
    /// TCP segments that the sender sent again.
    Retransmits,
    /// Share of the datagrams that did not arrive.
    UdpLoss,
    /// RFC 1889 jitter at the receiver.
    UdpJitter,
    /// Processor time of the load tool itself, not of the datapath.
    ToolCpu,
    /// Requests that ended, by the time between the first and the last of them.
    RequestRate,
    /// Share of the requests to which no response came.
    RequestFailures,
    /// Median time to first byte, as k6 saw it.
    WaitingP50,
    /// Its 90 % quantile.
    WaitingP90,
    /// Its 95 % quantile.
    WaitingP95,
    /// Its 99 % quantile.
    WaitingP99,
    /// Median time that backends took to answer, as the probe saw it.
    BackendLatencyP50,
    /// Its 90 % quantile.
    BackendLatencyP90,
    /// Its 99 % quantile.
    BackendLatencyP99,
    /// Processor time used, of machines or of a part.
    CpuSeconds,
    /// Share of the machines' processors that were busy.
    CpuPercent,
    /// Memory in use, averaged over the run.
    Memory,
    /// Cycles for each wire packet.
    CyclesPerPacket,
    /// Cycles for each layer-3 byte.
    CyclesPerByte,
    /// Cycles for each packet of the client pod, counted once however many uplinks it passed.
    CyclesPerClientPacket,
    /// Processor time for each wire packet.
    CpuNsPerPacket,
    /// Processor time for each layer-3 byte.
    CpuNsPerByte,
    /// A backend's part of the responses.
    SplitShare,
    /// The part that it was due.
    SplitDue,
    /// Distance of the shares from their reference over the whole run.
    SplitDistance,
    /// What a perfect splitter shows on average with as many responses.
    SplitExpectedDistance,
    /// The distance ÷ the expected one.
    SplitDistanceRatio,
}

/// A quantity, of the whole run or of a part.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric {
    /// What is measured.
    pub quantity: Quantity,
    /// Of what: a node, a component, a backend, a verdict; absent for the whole run.
    pub part: Option<String>,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Unit {
    /// Bit/s.
    #[serde(rename = "bit/s")]
    BitsPerSecond,
    /// Microseconds.
    #[serde(rename = "µs")]
    Microseconds,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// A number of things.
    #[serde(rename = "count")]
    Count,
    /// Hundredths.
    #[serde(rename = "%")]
    Percent,
    /// Seconds of processor time.
    #[serde(rename = "CPU-s")]
    CpuSeconds,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// Requests a second.
    #[serde(rename = "requests/s")]
    RequestsPerSecond,
    /// Cycles of the processors' own counter a packet.
    #[serde(rename = "cycles/packet")]
    CyclesPerPacket,
    /// The same a byte.
    #[serde(rename = "cycles/B")]
    CyclesPerByte,
    /// Reference cycles a packet: CPU time times the rate of the time-stamp counter.
    #[serde(rename = "reference cycles/packet")]
    ReferenceCyclesPerPacket,
    /// The same a byte.
    #[serde(rename = "reference cycles/B")]
    ReferenceCyclesPerByte,
    /// Software events in the place of cycles, a packet.
    #[serde(rename = "software events/packet")]
    SoftwareEventsPerPacket,
    /// The same a byte.
    #[serde(rename = "software events/B")]
    SoftwareEventsPerByte,
    /// Nanoseconds of processor time a packet.
    #[serde(rename = "CPU-ns/packet")]
    CpuNsPerPacket,
    /// Nanoseconds of processor time a byte.
    #[serde(rename = "CPU-ns/B")]
    CpuNsPerByte,
    /// A part of one.
    #[serde(rename = "share")]
    Share,
    /// A number without a unit.
    #[serde(rename = "ratio")]
    Ratio,
}

/// One quantity as it is listed: name in options and JSON, words in sentences, unit, and whether
/// `compare` takes it by default.
struct Entry {
    quantity: Quantity,
    name: &'static str,
    words: &'static str,
    unit: Unit,
    headline: bool,
}

const fn entry(
    quantity: Quantity,
    name: &'static str,
    words: &'static str,
    unit: Unit,
    headline: bool,
) -> Entry {
    Entry {
        quantity,
        name,
        words,
        unit,
        headline,
    }
}

#[rustfmt::skip]
const ENTRIES: &[Entry] = &[
    entry(Quantity::Goodput, "goodput", "goodput", Unit::BitsPerSecond, true),
    entry(Quantity::RttMean, "rtt_mean", "mean round-trip time", Unit::Microseconds, true),
    entry(Quantity::RttP50, "rtt_p50", "median round-trip time", Unit::Microseconds, false),
    entry(Quantity::RttP95, "rtt_p95", "95 % quantile of the round-trip time", Unit::Microseconds, false),
    entry(Quantity::RttP99, "rtt_p99", "99 % quantile of the round-trip time", Unit::Microseconds, true),
    entry(Quantity::Retransmits, "retransmits", "number of retransmits", Unit::Count, true),
    entry(Quantity::UdpLoss, "udp_loss", "UDP loss", Unit::Percent, true),
    entry(Quantity::UdpJitter, "udp_jitter", "UDP jitter", Unit::Microseconds, true),
    entry(Quantity::ToolCpu, "tool_cpu", "load tool's own CPU use", Unit::Percent, false),
    entry(Quantity::RequestRate, "request_rate", "request rate", Unit::RequestsPerSecond, true),
    entry(Quantity::RequestFailures, "request_failures", "share of failed requests", Unit::Share, false),
    entry(Quantity::WaitingP50, "waiting_p50", "median time to first byte", Unit::Microseconds, true),
    entry(Quantity::WaitingP90, "waiting_p90", "90 % quantile of the time to first byte", Unit::Microseconds, false),
    entry(Quantity::WaitingP95, "waiting_p95", "95 % quantile of the time to first byte", Unit::Microseconds, false),
    entry(Quantity::WaitingP99, "waiting_p99", "99 % quantile of the time to first byte", Unit::Microseconds, true),
    entry(Quantity::BackendLatencyP50, "backend_latency_p50", "median time of the backends", Unit::Microseconds, false),
    entry(Quantity::BackendLatencyP90, "backend_latency_p90", "90 % quantile of the backends' time", Unit::Microseconds, false),
    entry(Quantity::BackendLatencyP99, "backend_latency_p99", "99 % quantile of the backends' time", Unit::Microseconds, false),
    entry(Quantity::CpuSeconds, "cpu_seconds", "processor time", Unit::CpuSeconds, false),
    entry(Quantity::CpuPercent, "cpu_percent", "CPU use", Unit::Percent, true),
    entry(Quantity::Memory, "memory", "memory in use", Unit::Bytes, true),
    entry(Quantity::CyclesPerPacket, "cycles_per_packet", "cycles per packet at the uplinks", Unit::CyclesPerPacket, true),
    entry(Quantity::CyclesPerByte, "cycles_per_byte", "cycles per byte at the uplinks", Unit::CyclesPerByte, true),
    entry(Quantity::CyclesPerClientPacket, "cycles_per_client_packet", "cycles per packet of the client pod", Unit::CyclesPerPacket, false),
    entry(Quantity::CpuNsPerPacket, "cpu_ns_per_packet", "processor time per packet at the uplinks", Unit::CpuNsPerPacket, false),
    entry(Quantity::CpuNsPerByte, "cpu_ns_per_byte", "processor time per byte at the uplinks", Unit::CpuNsPerByte, false),
    entry(Quantity::SplitShare, "split_share", "share of the responses", Unit::Share, false),
    entry(Quantity::SplitDue, "split_due", "share that was due", Unit::Share, false),
    entry(Quantity::SplitDistance, "split_distance", "distance to the reference", Unit::Share, true),
    entry(Quantity::SplitExpectedDistance, "split_expected_distance", "expected distance of a perfect splitter", Unit::Share, false),
    entry(Quantity::SplitDistanceRatio, "split_distance_ratio", "distance to the reference over the expected one", Unit::Ratio, false),
];

/// A name that is no metric's. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no metric {name:?}; want one of {known}, each alone or with a part as in cpu_percent[worker]"
)]
pub struct UnknownMetric {
    name: String,
    known: String,
}

impl Quantity {
    /// All of them, in the order in which they are listed.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|entry| entry.quantity)
    }

    /// The name in options and JSON.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// What a sentence calls it.
    pub fn words(self) -> &'static str {
        self.entry().words
    }

    /// What its values count.
    pub fn unit(self) -> Unit {
        self.entry().unit
    }

    /// Whether cases are compared by it where nobody says by what.
    pub fn is_headline(self) -> bool {
        self.entry().headline
    }

    fn entry(self) -> &'static Entry {
        let mut entries = ENTRIES.iter();
        entries
            .find(|entry| entry.quantity == self)
            .expect("every quantity is listed, which a test checks")
    }
}

impl Metric {
    /// A quantity of the whole run.
    pub fn whole(quantity: Quantity) -> Self {
        Self {
            quantity,
            part: None,
        }
    }

    /// A quantity of a part of it.
    pub fn of(quantity: Quantity, part: impl Into<String>) -> Self {
        Self {
            quantity,
            part: Some(part.into()),
        }
    }

    /// What its values count.
    pub fn unit(&self) -> Unit {
        self.quantity.unit()
    }

    /// What a sentence calls it.
    pub fn words(&self) -> String {
        match &self.part {
            None => self.quantity.words().to_owned(),
            Some(part) => format!("{} of {part}", self.quantity.words()),
        }
    }

    /// The same with whose cycles they are, where it is cycles that the values count.
    pub fn words_in(&self, unit: Unit) -> String {
        let words = self.words();
        match unit {
            Unit::CyclesPerPacket | Unit::CyclesPerByte => format!("processor {words}"),
            Unit::ReferenceCyclesPerPacket | Unit::ReferenceCyclesPerByte => {
                format!("reference {words}")
            }
            Unit::SoftwareEventsPerPacket | Unit::SoftwareEventsPerByte => {
                words.replacen("cycles", "software events in the place of cycles", 1)
            }
            _ => words,
        }
    }
}

impl Unit {
    /// How it is written behind a number.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::BitsPerSecond => "bit/s",
            Self::Microseconds => "µs",
            Self::Nanoseconds => "ns",
            Self::Count | Self::Share | Self::Ratio => "",
            Self::Percent => "%",
            Self::CpuSeconds => "CPU-s",
            Self::Bytes => "B",
            Self::RequestsPerSecond => "requests/s",
            Self::CyclesPerPacket => "cycles/packet",
            Self::CyclesPerByte => "cycles/B",
            Self::ReferenceCyclesPerPacket => "ref. cycles/packet",
            Self::ReferenceCyclesPerByte => "ref. cycles/B",
            Self::SoftwareEventsPerPacket => "software events/packet",
            Self::SoftwareEventsPerByte => "software events/B",
            Self::CpuNsPerPacket => "CPU-ns/packet",
            Self::CpuNsPerByte => "CPU-ns/B",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            None => out.write_str(self.quantity.name()),
            Some(part) => write!(out, "{}[{part}]", self.quantity.name()),
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let (name, part) = match text.split_once('[') {
            Some((name, part)) => (name, part.strip_suffix(']')),
            None => (text, None),
        };
        let is_whole = part.is_some() || !text.contains('[');
        let mut entries = ENTRIES.iter();
        let found = entries.find(|entry| entry.name == name && is_whole);
        match found {
            Some(entry) => Ok(Self {
                quantity: entry.quantity,
                part: part.map(str::to_owned),
            }),
            None => Err(UnknownMetric {
                name: text.to_owned(),
                known: Quantity::all()
                    .map(Quantity::name)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ENTRIES, Metric, Quantity, Unit};

    #[test]
    fn every_quantity_is_listed_once_in_order() {
        let listed: Vec<Quantity> = Quantity::all().collect();
        let ordered: BTreeSet<Quantity> = listed.iter().copied().collect();
        assert_eq!(listed, ordered.into_iter().collect::<Vec<_>>());
        assert_eq!(listed.len(), Quantity::SplitDistanceRatio as usize + 1);
        let names: BTreeSet<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), listed.len());
    }

    #[test]
    fn cycles_are_called_by_what_counted_them() {
        let metric = Metric::of(Quantity::CyclesPerPacket, "probe");
        for (unit, words) in [
            (
                Unit::CyclesPerPacket,
                "processor cycles per packet at the uplinks of probe",
            ),
            (
                Unit::ReferenceCyclesPerPacket,
                "reference cycles per packet at the uplinks of probe",
            ),
            (
                Unit::SoftwareEventsPerPacket,
                "software events in the place of cycles per packet at the uplinks of probe",
            ),
        ] {
            assert_eq!(metric.words_in(unit), words);
        }
        let goodput = Metric::whole(Quantity::Goodput);
        assert_eq!(goodput.words_in(goodput.unit()), "goodput");
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for metric in [
            Metric::whole(Quantity::RttP99),
            Metric::of(Quantity::CpuPercent, "worker"),
            Metric::of(Quantity::SplitShare, "app/backend-a:80"),
        ] {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
        for odd in ["", "goodputs", "goodput[", "goodput[a", "goodput]"] {
            assert!(odd.parse::<Metric>().is_err(), "{odd}");
        }
    }
}
