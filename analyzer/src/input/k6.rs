//! What a k6 run says of its HTTP requests, from any file that k6 writes.
//!
//! Log lines of the classic script (`[ISO time] Hostname: pod`, in logfmt, JSON or raw), `--out
//! json`, `--out csv`, `--summary-export` and `handleSummary`: told apart by content, never by name.
//! Files are streamed, so memory follows the answer. Each format leaves something out: what it does
//! not carry is absent here, with a note, and never taken for 0. A damaged file, or two runs or
//! formats in one, is refused with one line that names the place. Only a last line without its end
//! is borne, since a killed run leaves one: it is left out, and the result is marked.

mod console;
mod csv;
mod detection;
mod fault;
mod lines;
mod loads;
mod logfmt;
mod ndjson;
mod points;
mod quantiles;
mod summary;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::Serialize;

use console::Console;
use csv::Rows;
use detection::{Detected, Detection};
pub use fault::{Fault, K6Error};
use lines::{Line, Lines};
pub use loads::{KINDS, Loads};
use ndjson::Ndjson;

/// A run as k6 saw it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadResult {
    /// What the file is.
    pub format: Format,
    /// Requests that ended, with a response or without. Where `failed` is absent in log lines, only
    /// those that were logged: a lower bound.
    pub requests: u64,
    /// Requests to which no response came at all.
    pub failed: Option<u64>,
    /// Requests that k6 holds for failed: without a response, or with a status not expected.
    pub unexpected: Option<u64>,
    /// Responses by status.
    pub statuses: Option<BTreeMap<u16, u64>>,
    /// Responses by the backend that they name. Responses that name none, such as a gateway's own
    /// errors, are not here.
    pub backends: Option<BTreeMap<String, u64>>,
    /// The same by UTC second of `time_of`.
    pub by_second: Option<BTreeMap<i64, BTreeMap<String, u64>>>,
    /// Which moment `by_second`, `first_us` and `last_us` are.
    pub time_of: Option<TimeOf>,
    /// The first such moment, UTC microseconds.
    pub first_us: Option<i64>,
    /// The last such moment, UTC microseconds.
    pub last_us: Option<i64>,
    /// Time to first byte (`http_req_waiting`) of requests that got a response.
    pub waiting_us: Option<Quantiles>,
    /// `HTTP/1.1`, `HTTP/2.0`; several are joined by commas.
    pub protocol: Option<String>,
    /// Whether the run did not end by itself, so that the file may lack its last requests.
    pub interrupted: bool,
    /// The first request without a response.
    pub first_failure: Option<Failure>,
    /// What this file cannot tell, and what was odd, a sentence each.
    pub notes: Vec<String>,
}

/// What k6 wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Log lines `time="…" level=info msg="…"`.
    ConsoleLogfmt,
    /// Log lines of `--log-format json`.
    ConsoleJson,
    /// Log lines of `--log-format raw`.
    ConsoleRaw,
    /// `--out json`.
    Ndjson,
    /// `--out csv`.
    Csv,
    /// `--summary-export`.
    SummaryExport,
    /// What `handleSummary` is given.
    HandleSummary,
}

/// Which moment of a request its time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeOf {
    /// The script asked for it.
    RequestStart,
    /// Its response was there: later by the request's duration.
    ResponseEnd,
}

/// A distribution of times, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 90 % quantile.
    pub p90: Option<f64>,
    /// 95 % quantile.
    pub p95: Option<f64>,
    /// 99 % quantile; summaries have it only where `summaryTrendStats` names it.
    pub p99: Option<f64>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// How many were measured.
    pub count: Option<u64>,
}

/// A request without a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Where it stands, from 1.
    pub line: u64,
    /// k6's word for it.
    pub message: String,
}

impl LoadResult {
    /// Responses that k6 got; absent where it is not known how many requests got none.
    pub fn responses(&self) -> Option<u64> {
        Some(self.requests - self.failed?.min(self.requests))
    }

    /// Responses that name no backend; absent where either number is not known.
    pub fn unnamed_responses(&self) -> Option<u64> {
        let named = self.backends.as_ref()?.values().sum();
        Some(self.responses()?.saturating_sub(named))
    }

    /// The error for those to whom a run without a single response is none; `path` names the file.
    pub fn require_responses(&self, path: &Path) -> Result<(), K6Error> {
        if self.failed != Some(self.requests) {
            return Ok(());
        }
        let first = self.first_failure.as_ref();
        let fault = Fault::NoResponse {
            requests: self.requests,
            message: first.map_or_else(
                || "k6 does not say why".to_owned(),
                |one| one.message.clone(),
            ),
        };
        let path = path.display().to_string();
        Err(match first {
            Some(first) => K6Error::Line {
                path,
                line: first.line,
                fault,
            },
            None => K6Error::File { path, fault },
        })
    }
}

/// Reads a file of any of k6's formats.
pub fn read(path: &Path) -> Result<LoadResult, K6Error> {
    let shown = path.display().to_string();
    match File::open(path) {
        Ok(file) => read_from(BufReader::with_capacity(1 << 18, file), &shown),
        Err(source) => Err(K6Error::Io {
            path: shown,
            source,
        }),
    }
}

/// Reads what a file holds; `path` names it in errors.
pub fn read_from(input: impl BufRead, path: &str) -> Result<LoadResult, K6Error> {
    let mut lines = Lines::new(input);
    run(&mut lines).map_err(|trouble| match trouble {
        Trouble::Io(source) => K6Error::Io {
            path: path.to_owned(),
            source,
        },
        Trouble::File(fault) => K6Error::File {
            path: path.to_owned(),
            fault,
        },
        Trouble::Line(fault) => K6Error::Line {
            path: path.to_owned(),
            line: lines.number(),
            fault,
        },
        Trouble::At(line, fault) => K6Error::Line {
            path: path.to_owned(),
            line,
            fault,
        },
    })
}

/// What stops the reading, and where.
#[derive(Debug)]
enum Trouble {
    Io(io::Error),
    /// The file as a whole.
    File(Fault),
    /// The line read last.
    Line(Fault),
    /// That line.
    At(u64, Fault),
}

/// What takes the lines of a format, one by one.
trait Reader {
    /// Takes a line without its end. `Fault::Cut` says that it would be one if it went on.
    fn take(&mut self, text: &str, line: u64) -> Result<(), Fault>;

    /// Whether a last line without its end is whole: its format shows where it ends.
    fn shows_its_end(&self, text: &str) -> bool;

    /// All lines were taken; true where the last one was cut.
    fn finish(self: Box<Self>, is_cut: bool) -> Result<LoadResult, Fault>;
}

fn run<R: BufRead>(lines: &mut Lines<R>) -> Result<LoadResult, Trouble> {
    let mut detection = Detection::default();
    let mut reader = loop {
        let Some(line) = lines.advance()? else {
            return Err(detection.none());
        };
        let detected = detection.see(line.text, line.number);
        match detected.map_err(Trouble::Line)? {
            None if Detection::gives_up_at(line.number) => return Err(detection.none()),
            None => {}
            Some(Detected::Lines(format)) => {
                detection.require_preface(format)?;
                break reader(format);
            }
            Some(Detected::Document) => {
                let (mut text, before) = (line.text.to_owned(), line.number - 1);
                lines.rest(&mut text)?;
                return summary::parse(&text)
                    .map_err(|(line, fault)| Trouble::At(before + line, fault));
            }
        }
    };
    let mut is_cut = false;
    let mut current = lines.current();
    while let Some(line) = current {
        is_cut = take(reader.as_mut(), &line).map_err(Trouble::Line)?;
        current = lines.advance()?;
    }
    reader.finish(is_cut).map_err(|fault| match fault {
        Fault::NoRequests { .. } if is_cut => Trouble::Line(Fault::Cut),
        fault => Trouble::File(fault),
    })
}

/// Takes a line; true where it is the last one and cut, and so left out.
fn take(reader: &mut dyn Reader, line: &Line<'_>) -> Result<bool, Fault> {
    if line.is_ended || reader.shows_its_end(line.text) {
        return match reader.take(line.text, line.number) {
            Err(Fault::Cut) if !line.is_ended => Ok(true),
            taken => taken.map(|()| false),
        };
    }
    Ok(true)
}

fn reader(format: Format) -> Box<dyn Reader> {
    match format {
        Format::Ndjson => Box::new(Ndjson::default()),
        Format::Csv => Box::new(Rows::default()),
        _ => Box::new(Console::new(format)),
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ConsoleLogfmt => "k6's log lines (logfmt)",
            Self::ConsoleJson => "k6's log lines (JSON)",
            Self::ConsoleRaw => "k6's log lines (raw)",
            Self::Ndjson => "k6's --out json",
            Self::Csv => "k6's --out csv",
            Self::SummaryExport => "k6's --summary-export",
            Self::HandleSummary => "k6's handleSummary data",
        })
    }
}
