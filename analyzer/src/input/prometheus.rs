//! Samples that Prometheus or node_exporter gave: `query_range` JSON, CSV long and wide, exposition
//! text.
//!
//! Told apart by content, never by name. Whatever is not one of these, an error that Prometheus
//! answered with included, is refused with one line. Samples that are NaN, which Prometheus uses for
//! what is stale, are left out.

mod csv;
mod exposition;
mod json;
mod machines;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

pub use machines::{Gap, Machine, Usage, machines};

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// What the file is.
    pub format: Format,
    /// Its series, in the file's order.
    pub series: Vec<Series>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The answer to `query_range`.
    QueryRange,
    /// CSV with a row a sample.
    CsvLong,
    /// CSV with a column a series.
    CsvWide,
    /// What an exporter shows to a scrape.
    Exposition,
}

/// One series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Name of the metric.
    pub name: String,
    /// Its labels, the name not among them.
    pub labels: BTreeMap<String, String>,
    /// Its samples, in order of time.
    pub points: Vec<Sample>,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When, UTC microseconds; absent in exposition text without timestamps.
    pub at_us: Option<i64>,
    /// The value, finite.
    pub value: f64,
}

/// Why a file is not read. Each prints as one line, with its sources (`{:#}`).
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// The operating system refused.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: String,
        /// The refusal.
        source: io::Error,
    },
    /// The file is not one of the formats, or a damaged one.
    #[error("{path}: {fault}")]
    File {
        /// The file.
        path: String,
        /// What and what to do.
        fault: Fault,
    },
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a byte but blanks.
    #[error("empty; repeat the query and save its answer")]
    Empty,
    /// Prometheus answered with an error.
    #[error("Prometheus answered with an error, {kind}: {message}; mend the query and repeat it")]
    Answer {
        /// Prometheus' word for the kind.
        kind: String,
        /// Its text.
        message: String,
    },
    /// An answer of another endpoint.
    #[error("an answer of type {found:?}; ask /api/v1/query_range, which answers with a matrix")]
    NotMatrix {
        /// The type.
        found: String,
    },
    /// JSON that is not Prometheus'.
    #[error(
        "JSON, but not an answer of Prometheus' API ({what}); save that of /api/v1/query_range"
    )]
    OtherJson {
        /// Where and what.
        what: String,
    },
    /// JSON that ends too early.
    #[error("cut off at line {line}; save the whole answer")]
    Cut {
        /// The last line, from 1.
        line: usize,
    },
    /// A value that is no number.
    #[error("{place}: {text:?} is not {wanted}")]
    Value {
        /// Where.
        place: String,
        /// What stands there.
        text: String,
        /// What should.
        wanted: &'static str,
    },
    /// A row with another number of fields than the header.
    #[error("line {line}: {found} fields, the header has {wanted}; the file is damaged")]
    Fields {
        /// From 1.
        line: usize,
        /// How many there are.
        found: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// None of the formats.
    #[error(
        "neither Prometheus' JSON, nor CSV with a column timestamp, nor exposition text: {excerpt:?}"
    )]
    Unknown {
        /// How it begins.
        excerpt: String,
    },
    /// No series at all.
    #[error("no sample in it; see the query and its time range")]
    NoSamples,
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Samples, PrometheusError> {
    let shown = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes), &shown),
        Err(source) => Err(PrometheusError::Io {
            path: shown,
            source,
        }),
    }
}

/// Reads the text of a file; `path` names it in errors.
pub fn parse(text: &str, path: &str) -> Result<Samples, PrometheusError> {
    samples(text).map_err(|fault| PrometheusError::File {
        path: path.to_owned(),
        fault,
    })
}

fn samples(text: &str) -> Result<Samples, Fault> {
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().find(|line| !line.trim().is_empty());
    let Some(first) = first.map(str::trim) else {
        return Err(Fault::Empty);
    };
    let (format, mut series) = if first.starts_with(['{', '[']) {
        (Format::QueryRange, json::series(text)?)
    } else if csv::is_header(first) {
        csv::series(text)?
    } else if exposition::is_line(first) {
        (Format::Exposition, exposition::series(text)?)
    } else {
        return Err(Fault::Unknown {
            excerpt: first.chars().take(60).collect(),
        });
    };
    for one in &mut series {
        one.points.retain(|sample| sample.value.is_finite());
        one.points.sort_by_key(|sample| sample.at_us);
    }
    series.retain(|one| !one.points.is_empty());
    if series.is_empty() {
        return Err(Fault::NoSamples);
    }
    Ok(Samples { format, series })
}

/// A number as Prometheus writes it; its infinities and NaN too.
fn number(text: &str, place: impl Fn() -> String) -> Result<f64, Fault> {
    let text = text.trim();
    text.parse::<f64>().map_err(|_| Fault::Value {
        place: place(),
        text: text.to_owned(),
        wanted: "a number",
    })
}

/// A time in unix seconds, milliseconds or microseconds, which its size tells, or as RFC 3339.
fn time_us(text: &str, place: impl Fn() -> String) -> Result<i64, Fault> {
    const MOST_SECONDS: f64 = 1e11;
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        let scale = match number.abs() {
            size if size < MOST_SECONDS => 1e6,
            size if size < 1e3 * MOST_SECONDS => 1e3,
            _ => 1.0,
        };
        return Ok((number * scale).round() as i64);
    }
    // Grafana writes a blank between date and time, and no zone, which it means as UTC.
    let dashed = text.replacen(' ', "T", 1);
    let zoned = [dashed.clone(), format!("{dashed}Z")];
    let parsed = zoned
        .iter()
        .find_map(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    let parsed = parsed.map(|time| time.timestamp_micros());
    parsed.ok_or_else(|| Fault::Value {
        place: place(),
        text: text.to_owned(),
        wanted: "a time (unix seconds or RFC 3339)",
    })
}
