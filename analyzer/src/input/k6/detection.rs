//! Which of k6's formats a file is, from its first lines.
//!
//! Names of files say nothing: k6 writes where it is told to. Log lines may stand behind what k6
//! prints to standard output, so the first line that is unmistakable decides.

use serde::Deserialize;
use serde_json::Value;

use super::console::{self, Message};
use super::{Fault, Format, Trouble};

/// Lines among which an unmistakable one must be.
const LOOKED_AT_LINES: u64 = 1000;
const EXCERPT_CHARACTERS: usize = 60;
/// How every CSV file of k6's begins.
pub(super) const CSV_HEADER: &str = "metric_name,timestamp,metric_value";

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    /// Lines of that format, this one too.
    Lines(Format),
    /// One JSON document, from this line on.
    Document,
}

/// Looks at lines until one is unmistakable.
#[derive(Debug, Default)]
pub(super) struct Detection {
    /// Number and excerpt of the first line that is not blank.
    first: Option<(u64, String)>,
    /// The same of the first line that k6 does not print to standard output.
    foreign: Option<(u64, String)>,
    /// The same of the first line that could be a response's and is not whole.
    damaged: Option<(u64, String)>,
}

impl Detection {
    pub(super) fn see(&mut self, text: &str, line: u64) -> Result<Option<Detected>, Fault> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        if text.contains('\u{1b}') || console::is_for_terminal(text) {
            return Err(Fault::Terminal);
        }
        let is_first = self.first.is_none();
        if let Some(detected) = detect(text, is_first)? {
            return Ok(Some(detected));
        }
        self.first.get_or_insert_with(|| (line, excerpt(text)));
        if !console::is_standard_output(text) {
            self.foreign.get_or_insert_with(|| (line, excerpt(text)));
        }
        if Message::of(text).is_err() {
            self.damaged.get_or_insert_with(|| (line, excerpt(text)));
        }
        Ok(None)
    }

    /// Whether enough lines were looked at.
    pub(super) fn gives_up_at(line: u64) -> bool {
        line >= LOOKED_AT_LINES
    }

    /// What it means that no line was unmistakable.
    pub(super) fn none(&self) -> Trouble {
        match self.foreign.as_ref().or(self.first.as_ref()) {
            None => Trouble::File(Fault::Empty),
            Some(found) => not_k6(found),
        }
    }

    /// Refuses lines before the first of the format that are not k6's. Raw messages may be any, but
    /// not half a response.
    pub(super) fn require_preface(&self, format: Format) -> Result<(), Trouble> {
        let refused = match format {
            Format::ConsoleRaw => &self.damaged,
            _ => &self.foreign,
        };
        refused.as_ref().map_or(Ok(()), |found| Err(not_k6(found)))
    }
}

fn not_k6((line, excerpt): &(u64, String)) -> Trouble {
    let fault = Fault::NotK6 {
        excerpt: excerpt.clone(),
    };
    Trouble::At(*line, fault)
}

fn detect(text: &str, is_first: bool) -> Result<Option<Detected>, Fault> {
    if text.starts_with('{') {
        return json(text, is_first).map(Some);
    }
    if is_first && text.starts_with(CSV_HEADER) {
        return Ok(Some(Detected::Lines(Format::Csv)));
    }
    if text.starts_with("time=") && text.contains(" level=") {
        return Ok(Some(Detected::Lines(Format::ConsoleLogfmt)));
    }
    let is_raw = Message::of(text).is_ok_and(|message| message != Message::Other);
    Ok(is_raw.then_some(Detected::Lines(Format::ConsoleRaw)))
}

/// The keys by which k6's lines are known.
#[derive(Deserialize)]
pub(super) struct Keys {
    level: Option<Value>,
    msg: Option<Value>,
    metric: Option<Value>,
    #[serde(rename = "type")]
    kind: Option<Value>,
    metrics: Option<Value>,
}

impl Keys {
    pub(super) fn is_log_line(&self) -> bool {
        self.level.is_some() && self.msg.is_some()
    }

    pub(super) fn is_metric(&self) -> bool {
        self.metric.is_some() && self.kind.is_some()
    }
}

fn json(text: &str, is_first: bool) -> Result<Detected, Fault> {
    match serde_json::from_str::<Keys>(text) {
        Ok(keys) if keys.is_metric() => Ok(Detected::Lines(Format::Ndjson)),
        Ok(keys) if keys.is_log_line() => Ok(Detected::Lines(Format::ConsoleJson)),
        Ok(keys) if keys.metrics.is_some() => Ok(Detected::Document),
        Ok(_) => Err(Fault::OtherJson { key: "metrics" }),
        // A document over several lines, or the only line of a file that was cut.
        Err(error) if error.is_eof() && is_first => Ok(Detected::Document),
        Err(error) if error.is_eof() => Err(Fault::Cut),
        Err(_) => Err(Fault::NotK6 {
            excerpt: excerpt(text),
        }),
    }
}

fn excerpt(text: &str) -> String {
    let mut shown = text.chars().take(EXCERPT_CHARACTERS).collect::<String>();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
