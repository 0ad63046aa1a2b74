//! What an iperf3 run says of itself, from `iperf3 -J` or `--json-stream`.
//!
//! iperf3 exits 0 on errors before 3.14 and writes what it has, so the result carries a [`Status`]
//! and keeps the intervals of a run that broke off. A file that is not iperf3's (empty, cut, other
//! JSON) is refused with one line. Figures that iperf3 prints as 0 because it does not know them
//! (RTT of a receiver, the other side's bytes after an interruption) are absent here.

mod document;
mod summary;

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

/// A run as one of its two ends saw it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Iperf3Result {
    /// `iperf 3.12`; absent in output that broke off early.
    pub version: Option<String>,
    /// Which end wrote it.
    pub role: Role,
    /// Transport; absent where no test began.
    pub protocol: Option<Protocol>,
    /// Start of the test, UTC seconds.
    pub started_s: Option<i64>,
    /// Address and port of the server, as given to the client.
    pub server: Option<Endpoint>,
    /// Maximum segment size of the control connection, TCP options taken off.
    pub mss_bytes: Option<i64>,
    /// Path MTU of the data connections, the largest sampled.
    pub path_mtu_bytes: Option<i64>,
    /// Bytes of a UDP datagram's payload, or of a TCP write.
    pub block_bytes: Option<i64>,
    /// Length of the test as asked for, without the omitted start.
    pub asked_seconds: Option<f64>,
    /// Seconds at the start that the sums leave out.
    pub omitted_seconds: f64,
    /// Data connections, in iperf3's order.
    pub streams: Vec<Stream>,
    /// Sums by direction: one, or two with `--bidir`.
    pub transfers: Vec<Transfer>,
    /// Reports during the run, omitted ones too.
    pub intervals: Vec<Interval>,
    /// Processor time of this end's iperf3 by the time of the test, percent of one CPU.
    pub own_cpu_percent: Option<f64>,
    /// The same of the other end, as it says; absent where it did not report.
    pub other_cpu_percent: Option<f64>,
    /// How the run ended.
    pub status: Status,
}

/// Which end of a run wrote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It connected.
    Client,
    /// It was connected to.
    Server,
}

/// Transport of the data connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Which way data went, from the end that wrote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// This end sent.
    Sent,
    /// This end received (`-R`, and one half of `--bidir`).
    Received,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "message")]
pub enum Status {
    /// It ran to its end, and both ends exchanged their figures.
    Complete,
    /// The connection broke: intervals are there, sums are not. The text is iperf3's.
    ServerDied(String),
    /// One end was told to stop: the sums are those of the end that wrote them. The text is iperf3's.
    Interrupted(String),
    /// Output ends without a word of how the run did: iperf3 was killed.
    Unfinished,
    /// Nothing was measured. The text is iperf3's.
    Error(String),
}

/// Address and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Endpoint {
    /// Address in canonical text, IPv4 also where the socket was an IPv6 one; else a host name.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// One data connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stream {
    /// iperf3's number for it.
    pub socket: i64,
    /// This end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// Which way data went.
    pub way: Way,
    /// What the sending end counted, without the omitted start.
    pub sent: Option<Rate>,
    /// What the receiving end counted, without the omitted start.
    pub received: Option<Rate>,
    /// Bytes that this end counted in all intervals, the omitted ones too.
    pub interval_bytes: i64,
    /// Retransmitted segments, without the omitted start.
    pub retransmits: Option<i64>,
    /// Retransmitted segments in all intervals, the omitted ones too; only a sender knows.
    pub interval_retransmits: Option<i64>,
    /// Largest congestion window of the intervals.
    pub max_cwnd_bytes: Option<i64>,
    /// Round-trip times of the intervals that are not omitted; only a TCP sender knows.
    pub rtt: Option<Rtt>,
    /// What only UDP has.
    pub udp: Option<Datagrams>,
}

/// Bytes over a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Payload bytes.
    pub bytes: i64,
    /// Time.
    pub seconds: f64,
    /// Their ratio as iperf3 states it.
    pub bits_per_second: f64,
}

/// Smoothed round-trip times, recomputed from the intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rtt {
    /// Smallest.
    pub min_us: i64,
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Largest.
    pub max_us: i64,
}

/// What the receiver of datagrams counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Datagrams {
    /// Datagrams sent.
    pub packets: i64,
    /// Datagrams that did not arrive; negative where some arrived twice.
    pub lost: i64,
    /// Datagrams that arrived late.
    pub out_of_order: Option<i64>,
    /// RFC 1889 jitter.
    pub jitter_ms: f64,
}

/// The sums of all streams in one direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transfer {
    /// Which way data went.
    pub way: Way,
    /// What the sending end counted.
    pub sent: Option<Rate>,
    /// What the receiving end counted: goodput.
    pub received: Option<Rate>,
    /// Retransmitted segments.
    pub retransmits: Option<i64>,
    /// What only UDP has.
    pub udp: Option<Datagrams>,
}

/// One report during the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Start, seconds from the start of the test or of its omitted part.
    pub start_s: f64,
    /// End.
    pub end_s: f64,
    /// Whether the sums leave it out.
    pub omitted: bool,
    /// By stream.
    pub streams: Vec<IntervalStream>,
}

/// One stream in one report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IntervalStream {
    /// The stream's number.
    pub socket: i64,
    /// Payload bytes.
    pub bytes: i64,
    /// Rate.
    pub bits_per_second: f64,
    /// Retransmitted segments (TCP sender).
    pub retransmits: Option<i64>,
    /// Smoothed round-trip time (TCP sender).
    pub rtt_us: Option<i64>,
    /// Congestion window (TCP sender).
    pub cwnd_bytes: Option<i64>,
    /// Datagrams (UDP).
    pub packets: Option<i64>,
    /// Datagrams lost (UDP receiver).
    pub lost: Option<i64>,
    /// Jitter (UDP receiver).
    pub jitter_ms: Option<f64>,
}

/// Why a file is not read. Each prints as one line, with its sources (`{:#}`).
#[derive(Debug, thiserror::Error)]
pub enum Iperf3Error {
    /// The operating system refused.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: String,
        /// The refusal.
        source: io::Error,
    },
    /// Not a byte in it.
    #[error("{path}: empty; iperf3 was killed before it wrote its result")]
    Empty {
        /// The file.
        path: String,
    },
    /// JSON that ends too early.
    #[error(
        "{path}: cut off at line {line}; iperf3 was killed while it wrote, or the file was not copied whole"
    )]
    Cut {
        /// The file.
        path: String,
        /// Last line, from 1.
        line: usize,
    },
    /// Something else.
    #[error("{path}: not the JSON of iperf3 (run it with -J or --json-stream)")]
    NotIperf3 {
        /// The file.
        path: String,
        /// Where and what.
        source: serde_json::Error,
    },
    /// JSON of another program.
    #[error("{path}: JSON, but not iperf3's: no {key:?} in it")]
    OtherJson {
        /// The file.
        path: String,
        /// What every result of iperf3 has.
        key: &'static str,
    },
}

impl Iperf3Result {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Iperf3Error> {
        let shown = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &shown),
            Err(source) => Err(Iperf3Error::Io {
                path: shown,
                source,
            }),
        }
    }

    /// Reads the text of a file; `path` names it in errors.
    pub fn parse(text: &str, path: &str) -> Result<Self, Iperf3Error> {
        Ok(summary::summarize(document::parse(text, path)?))
    }

    /// The sum of the streams that went that way.
    pub fn transfer(&self, way: Way) -> Option<&Transfer> {
        self.transfers.iter().find(|transfer| transfer.way == way)
    }

    /// Round-trip times of all streams, intervals that are not omitted.
    pub fn rtt(&self) -> Option<Rtt> {
        summary::rtt(&self.intervals, |_| true)
    }
}

impl Transfer {
    /// What arrived, bit/s; absent where the receiving end did not report.
    pub fn goodput_bits_per_second(&self) -> Option<f64> {
        self.received.map(|rate| rate.bits_per_second)
    }
}
