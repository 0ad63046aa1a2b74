//! iperf3's JSON as it stands in the file, one document or a stream of events.
//!
//! Only keys that the result needs are here; unknown ones pass, because each version adds some.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Iperf3Error;

/// A whole run.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) start: Start,
    #[serde(default)]
    pub(super) intervals: Vec<RawInterval>,
    #[serde(default)]
    pub(super) end: End,
    pub(super) error: Option<String>,
    /// False for a stream of events that stops before its last one.
    #[serde(skip)]
    pub(super) is_ended: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    pub(super) connected: Vec<Connected>,
    pub(super) version: Option<String>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) connecting_to: Option<Host>,
    pub(super) accepted_connection: Option<Host>,
    pub(super) tcp_mss_default: Option<i64>,
    pub(super) tcp_mss: Option<i64>,
    pub(super) test_start: Option<TestStart>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Connected {
    pub(super) socket: i64,
    pub(super) local_host: String,
    pub(super) local_port: u16,
    pub(super) remote_host: String,
    pub(super) remote_port: u16,
}

#[derive(Debug, Deserialize)]
pub(super) struct Timestamp {
    pub(super) timesecs: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Host {
    pub(super) host: String,
    pub(super) port: u16,
}

#[derive(Debug, Deserialize)]
pub(super) struct TestStart {
    pub(super) protocol: Option<String>,
    pub(super) blksize: Option<f64>,
    pub(super) omit: Option<f64>,
    pub(super) duration: Option<f64>,
    pub(super) reverse: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawInterval {
    #[serde(default)]
    pub(super) streams: Vec<Figures>,
}

/// Sums of one stream or of all, over an interval or the run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Figures {
    pub(super) socket: Option<i64>,
    pub(super) start: Option<f64>,
    pub(super) end: Option<f64>,
    pub(super) seconds: Option<f64>,
    #[serde(default)]
    pub(super) bytes: f64,
    #[serde(default)]
    pub(super) bits_per_second: f64,
    pub(super) retransmits: Option<i64>,
    pub(super) snd_cwnd: Option<i64>,
    pub(super) rtt: Option<i64>,
    pub(super) pmtu: Option<i64>,
    pub(super) packets: Option<i64>,
    pub(super) lost_packets: Option<i64>,
    pub(super) out_of_order: Option<i64>,
    pub(super) jitter_ms: Option<f64>,
    #[serde(default)]
    pub(super) omitted: bool,
    pub(super) sender: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct End {
    #[serde(default)]
    pub(super) streams: Vec<EndStream>,
    pub(super) sum: Option<Figures>,
    pub(super) sum_sent: Option<Figures>,
    pub(super) sum_received: Option<Figures>,
    pub(super) sum_bidir_reverse: Option<Figures>,
    pub(super) sum_sent_bidir_reverse: Option<Figures>,
    pub(super) sum_received_bidir_reverse: Option<Figures>,
    pub(super) cpu_utilization_percent: Option<CpuUse>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CpuUse {
    pub(super) host_total: Option<f64>,
    pub(super) remote_total: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct EndStream {
    pub(super) sender: Option<Figures>,
    pub(super) receiver: Option<Figures>,
    pub(super) udp: Option<Figures>,
}

/// One line of `--json-stream`.
#[derive(Debug, Deserialize)]
struct Event {
    event: String,
    data: Value,
}

/// Reads either form; `path` names the file in errors.
pub(super) fn parse(text: &str, path: &str) -> Result<Document, Iperf3Error> {
    if text.trim().is_empty() {
        return Err(Iperf3Error::Empty {
            path: path.to_owned(),
        });
    }
    match text.lines().next().map(serde_json::from_str::<Event>) {
        Some(Ok(_)) => parse_events(text, path),
        _ => parse_document(text, path),
    }
}

fn parse_document(text: &str, path: &str) -> Result<Document, Iperf3Error> {
    let refused = |source: serde_json::Error| match source.classify() {
        serde_json::error::Category::Eof => Iperf3Error::Cut {
            path: path.to_owned(),
            line: source.line(),
        },
        _ => Iperf3Error::NotIperf3 {
            path: path.to_owned(),
            source,
        },
    };
    let value = serde_json::from_str::<Value>(text).map_err(refused)?;
    for key in ["start", "intervals", "end"] {
        if value.get(key).is_none() {
            return Err(Iperf3Error::OtherJson {
                path: path.to_owned(),
                key,
            });
        }
    }
    let document = serde_json::from_str::<Document>(text).map_err(refused)?;
    Ok(Document {
        is_ended: true,
        ..document
    })
}

/// A last line that is cut is what a killed iperf3 leaves; the lines before it stand.
fn parse_events(text: &str, path: &str) -> Result<Document, Iperf3Error> {
    let not_iperf3 = |source| Iperf3Error::NotIperf3 {
        path: path.to_owned(),
        source,
    };
    let mut document = Document::default();
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect::<Vec<_>>();
    for (at, line) in lines.iter().enumerate() {
        let event = match serde_json::from_str::<Event>(line) {
            Ok(event) => event,
            Err(error) if error.is_eof() && at + 1 == lines.len() => break,
            Err(error) => return Err(not_iperf3(error)),
        };
        document.take(event).map_err(not_iperf3)?;
    }
    Ok(document)
}

impl Document {
    fn take(&mut self, event: Event) -> Result<(), serde_json::Error> {
        match event.event.as_str() {
            "start" => self.start = decode(event.data)?,
            "interval" => self.intervals.push(decode(event.data)?),
            "end" => {
                self.end = decode(event.data)?;
                self.is_ended = true;
            }
            "error" => self.error = Some(decode(event.data)?),
            _ => {}
        }
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(data: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(data)
}
