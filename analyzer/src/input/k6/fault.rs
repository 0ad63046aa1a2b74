//! Why a file of k6's is not read: one line that names the file, the line, what and what to do.

use std::io;

use super::Format;

/// Why a file is not read. Each prints as one line, with its sources (`{:#}`).
#[derive(Debug, thiserror::Error)]
pub enum K6Error {
    /// The operating system refused.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: String,
        /// The refusal.
        source: io::Error,
    },
    /// The whole file is wrong.
    #[error("{path}: {fault}")]
    File {
        /// The file.
        path: String,
        /// What and what to do.
        fault: Fault,
    },
    /// A line is.
    #[error("{path}: line {line}: {fault}")]
    Line {
        /// The file.
        path: String,
        /// From 1.
        line: u64,
        /// What and what to do.
        fault: Fault,
    },
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a byte but blanks.
    #[error(
        "empty; k6 was killed before it wrote, or wrote elsewhere (its log lines go to standard error)"
    )]
    Empty,
    /// Bytes that are not text.
    #[error("not text; give the file as k6 wrote it")]
    Binary,
    /// Compressed by gzip.
    #[error("compressed by gzip; unpack it first (gunzip)")]
    Gzip,
    /// Text of another encoding.
    #[error("UTF-16, as some shells redirect; write it as UTF-8")]
    Utf16,
    /// Longer than any that k6 writes.
    #[error(
        "longer than {limit_bytes} bytes, which no line of k6's is; give the file as k6 wrote it"
    )]
    LongLine {
        /// The most that is read.
        limit_bytes: usize,
    },
    /// Text of another program.
    #[error(
        "not k6's output: {excerpt:?}; give its log lines, --out json, --out csv, --summary-export or handleSummary's data"
    )]
    NotK6 {
        /// How it begins.
        excerpt: String,
    },
    /// JSON of another program.
    #[error(
        "JSON, but not k6's: no {key:?} in it; give --summary-export, handleSummary's data or --out json"
    )]
    OtherJson {
        /// What k6's has.
        key: &'static str,
    },
    /// Log lines as a terminal shows them.
    #[error(
        "log lines as for a terminal; let k6 write them to a file (2>k6.log or --console-output)"
    )]
    Terminal,
    /// A line of another format.
    #[error("{second} in a file of {first}; give one file for each format")]
    Mixed {
        /// What the file is.
        first: Format,
        /// What the line is.
        second: &'static str,
    },
    /// A line that is not as k6 writes it.
    #[error("{what}, in {format}; the file is damaged: copy it again or repeat the run")]
    Malformed {
        /// What the file is.
        format: Format,
        /// What does not fit.
        what: String,
    },
    /// It ends too early for anything to stand.
    #[error("cut off; k6 was killed while it wrote, or the file was not copied whole")]
    Cut,
    /// Its beginning is not there.
    #[error(
        "a point of {metric:?}, which no line before declares; the file's beginning is missing: copy it again"
    )]
    MissingStart {
        /// The metric.
        metric: String,
    },
    /// Two runs in one file.
    #[error("a second run begins; give one file for each run")]
    SecondRun,
    /// Nothing about requests in it.
    #[error("{format}, but not a single HTTP request in it; {advice}")]
    NoRequests {
        /// What the file is.
        format: Format,
        /// What to do.
        advice: &'static str,
    },
    /// Every request failed.
    #[error(
        "none of {requests} requests got a response ({message}); start the gateway before k6, and check its address"
    )]
    NoResponse {
        /// How many.
        requests: u64,
        /// k6's word for the first.
        message: String,
    },
}
