//! `--out json`: a line for each metric when it first appears, and one for each point.
//!
//! A point of a metric that no line declared means that the file's beginning is missing, and a
//! metric that is declared twice that two runs were put into one file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;

use super::points::{Point, Sums};
use super::{Fault, Format, LoadResult, Reader};

/// Adds up points as they come.
#[derive(Debug, Default)]
pub(super) struct Ndjson {
    /// Metrics by name: whether they are counters.
    is_counter: BTreeMap<String, bool>,
    sums: Sums,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    metric: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

/// Of a metric or of a point.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    value: Option<f64>,
    #[serde(borrow)]
    tags: Option<Tags<'a>>,
}

#[derive(Default, Deserialize)]
struct Tags<'a> {
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    proto: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error_code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    backend: Option<Cow<'a, str>>,
}

impl Ndjson {
    fn declare(&mut self, metric: &str, data: &Data<'_>) -> Result<(), Fault> {
        let kind = data.kind.as_deref();
        let kind = kind.ok_or_else(|| malformed("a metric without its type"))?;
        match self.is_counter.insert(metric.to_owned(), kind == "counter") {
            None => Ok(()),
            Some(_) => Err(Fault::SecondRun),
        }
    }

    fn point(&mut self, metric: &str, data: &Data<'_>, line: u64) -> Result<(), Fault> {
        let is_counter = *self
            .is_counter
            .get(metric)
            .ok_or_else(|| Fault::MissingStart {
                metric: metric.to_owned(),
            })?;
        let (Some(time), Some(value)) = (data.time.as_deref(), data.value) else {
            return Err(malformed("a point without time or value"));
        };
        let time =
            DateTime::parse_from_rfc3339(time).map_err(|_| malformed(&format!("time {time:?}")))?;
        let none = Tags::default();
        let tags = data.tags.as_ref().unwrap_or(&none);
        let point = Point {
            metric,
            time_us: time.timestamp_micros(),
            value,
            status: tags.status.as_deref(),
            proto: tags.proto.as_deref(),
            error: tags.error.as_deref(),
            error_code: tags.error_code.as_deref(),
            backend: tags.backend.as_deref().filter(|_| is_counter),
        };
        self.sums.add(&point, line).map_err(|what| malformed(&what))
    }
}

impl Reader for Ndjson {
    fn take(&mut self, text: &str, line: u64) -> Result<(), Fault> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let entry =
            serde_json::from_str::<Entry<'_>>(text).map_err(|error| refused(text, &error))?;
        match entry.kind.as_ref() {
            "Metric" => self.declare(&entry.metric, &entry.data),
            "Point" => self.point(&entry.metric, &entry.data, line),
            other => Err(malformed(&format!("a line of type {other:?}"))),
        }
    }

    fn shows_its_end(&self, text: &str) -> bool {
        text.ends_with('}')
    }

    fn finish(self: Box<Self>, is_cut: bool) -> Result<LoadResult, Fault> {
        self.sums.finish(Format::Ndjson, is_cut)
    }
}

/// Why a line is no entry: cut, another format's, or damaged.
fn refused(text: &str, error: &serde_json::Error) -> Fault {
    if error.is_eof() {
        return Fault::Cut;
    }
    let second = match serde_json::from_str::<Value>(text) {
        Ok(value) if value.get("msg").is_some() => "a log line",
        _ if text.starts_with("time=") => "a log line",
        _ => return malformed(&format!("a line that cannot be read ({error})")),
    };
    Fault::Mixed {
        first: Format::Ndjson,
        second,
    }
}

fn malformed(what: &str) -> Fault {
    Fault::Malformed {
        format: Format::Ndjson,
        what: what.to_owned(),
    }
}
