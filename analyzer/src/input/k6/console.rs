//! Log lines of the classic script: one `[ISO time] Hostname: pod` for each response.
//!
//! The inner time is when the script asked; the logger's own is later and coarser. Where no response
//! came, k6 warns `Request Failed`, and the script, which reads the body that is not there, then
//! ends its iteration with a `TypeError`: one request, not two. A `TypeError` beyond those is a
//! response that names no backend, such as a gateway's own error. A file of `--console-output` has
//! neither, and no `source=console` either, by which it is known.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;

use super::detection::CSV_HEADER;
use super::logfmt::{self, Broken};
use super::points::{CUT_NOTE, is_no_name, no_response_note};
use super::{Failure, Fault, Format, LoadResult, Reader, TimeOf};

const MARK: &str = "Hostname:";
const LONGEST_NAME: usize = 253;
const ADVICE: &str =
    "let the script log `[${start.toISOString()}] Hostname: ${pod}` for each response";

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A response, and when it was asked for.
    Response {
        at_us: Option<i64>,
        backend: &'a str,
    },
    /// A response or none, but no name.
    Nameless,
    /// The script stumbled over a response without a name, or over none.
    Stumbled,
    /// No response.
    Failed,
    /// No response, by an exception that holds k6's word for it.
    Thrown(&'a str),
    /// k6 was told to stop.
    Aborted,
    /// Nothing of a request.
    Other,
}

impl<'a> Message<'a> {
    /// Reads a message; the error says what is wrong with one that could be a response's.
    pub(super) fn of(text: &'a str) -> Result<Self, &'static str> {
        let text = text.trim_end();
        if text == "Request Failed" {
            return Ok(Self::Failed);
        }
        if text.starts_with("TypeError: ") {
            return Ok(Self::Stumbled);
        }
        if text.starts_with("test run was aborted") {
            return Ok(Self::Aborted);
        }
        if let Some(thrown) = text.strip_prefix("GoError: ")
            && thrown.contains(" \"http")
        {
            let first_line = thrown.lines().next().unwrap_or_default();
            return Ok(Self::Thrown(first_line));
        }
        let is_dated = text.starts_with("[2") && text.as_bytes().get(5) == Some(&b'-');
        if !is_dated && !text.contains(MARK) {
            return Ok(Self::Other);
        }
        Self::response(text)
    }

    fn response(text: &'a str) -> Result<Self, &'static str> {
        let (at_us, named) = match text.strip_prefix('[') {
            None => (None, text),
            Some(text) => {
                let (time, named) = text.split_once("] ").ok_or("a time without its end")?;
                let time = DateTime::parse_from_rfc3339(time);
                let time = time.map_err(|_| "a time that is not ISO 8601")?;
                (Some(time.timestamp_micros()), named)
            }
        };
        let name = named.strip_prefix(MARK);
        let name = name.ok_or("not `[ISO time] Hostname: pod`")?.trim();
        if is_no_name(name) {
            return Ok(Self::Nameless);
        }
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if name.len() > LONGEST_NAME || !name.chars().all(is_of_name) {
            return Err("a host name that is none");
        }
        Ok(Self::Response {
            at_us,
            backend: name,
        })
    }
}

/// Whether k6 prints such a line to standard output: its banner, progress and summary are indented
/// or name virtual users.
pub(super) fn is_standard_output(text: &str) -> bool {
    let is_part_of_log = ["msg=", "\"msg\"", "level=", "source=", MARK]
        .iter()
        .any(|part| text.contains(part));
    let is_progress = [" VUs", "% ]", "iters", "--]"]
        .iter()
        .any(|part| text.contains(part));
    !is_part_of_log && (is_progress || text.trim().is_empty() || text.starts_with([' ', '\t']))
}

/// Whether the line is one that k6 writes to a terminal: `INFO[0001] …`.
pub(super) fn is_for_terminal(text: &str) -> bool {
    ["INFO[", "WARN[", "ERRO[", "DEBU["]
        .iter()
        .filter_map(|level| text.strip_prefix(level))
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// A log line's fields that matter.
#[derive(Debug, Default, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    level: Option<Cow<'a, str>>,
    #[serde(borrow)]
    msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    metric: Option<Cow<'a, str>>,
}

/// Counts what log lines say.
#[derive(Debug)]
pub(super) struct Console {
    format: Format,
    backends: BTreeMap<String, u64>,
    by_second: BTreeMap<i64, BTreeMap<String, u64>>,
    first_us: Option<i64>,
    last_us: Option<i64>,
    untimed: u64,
    nameless: u64,
    /// Requests that a warning says had no response.
    warned: u64,
    /// Requests that an exception of k6's says had none; no `TypeError` follows those.
    thrown: u64,
    first_failure: Option<Failure>,
    /// Something is in it that no file of `--console-output` has.
    is_standard_error: bool,
    is_aborted: bool,
}

impl Console {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            backends: BTreeMap::new(),
            by_second: BTreeMap::new(),
            first_us: None,
            last_us: None,
            untimed: 0,
            nameless: 0,
            warned: 0,
            thrown: 0,
            first_failure: None,
            is_standard_error: false,
            is_aborted: false,
        }
    }

    fn malformed(&self, what: &str) -> Fault {
        Fault::Malformed {
            format: self.format,
            what: what.to_owned(),
        }
    }

    fn mixed(&self, second: &'static str) -> Fault {
        Fault::Mixed {
            first: self.format,
            second,
        }
    }

    /// A line that does not begin as the format's lines do.
    fn foreign(&self, text: &str) -> Result<(), Fault> {
        if text.starts_with('{') {
            return Err(self.mixed("a line of JSON"));
        }
        if text.starts_with("time=") {
            return Err(self.mixed("a line of logfmt"));
        }
        if text.starts_with(CSV_HEADER) {
            return Err(self.mixed("a line of CSV"));
        }
        match Message::of(text) {
            Ok(Message::Other) | Err(_) if is_standard_output(text) => Ok(()),
            Ok(Message::Other) | Err(_) => {
                Err(self.malformed("neither a log line nor what k6 prints beside them"))
            }
            Ok(_) => Err(self.mixed("a raw log line")),
        }
    }

    fn message(&mut self, text: &str, error: Option<&str>, line: u64) -> Result<(), Fault> {
        match Message::of(text).map_err(|what| self.malformed(what))? {
            Message::Response { at_us, backend } => self.response(at_us, backend),
            Message::Nameless => self.nameless += 1,
            Message::Stumbled => {
                self.nameless += 1;
                self.is_standard_error = true;
            }
            Message::Failed => {
                self.warned += 1;
                self.failure(error.unwrap_or("Request Failed"), line);
            }
            Message::Thrown(thrown) => {
                self.thrown += 1;
                self.failure(thrown, line);
            }
            Message::Aborted => {
                self.is_aborted = true;
                self.is_standard_error = true;
            }
            Message::Other => {}
        }
        Ok(())
    }

    fn response(&mut self, at_us: Option<i64>, backend: &str) {
        add(&mut self.backends, backend);
        let Some(at_us) = at_us else {
            self.untimed += 1;
            return;
        };
        let second = self.by_second.entry(at_us.div_euclid(1_000_000));
        add(second.or_default(), backend);
        self.first_us = Some(self.first_us.map_or(at_us, |first| first.min(at_us)));
        self.last_us = self.last_us.max(Some(at_us));
    }

    fn failure(&mut self, message: &str, line: u64) {
        self.is_standard_error = true;
        self.first_failure.get_or_insert_with(|| Failure {
            line,
            message: message.to_owned(),
        });
    }

    fn notes(&self, result: &LoadResult, is_cut: bool) -> Vec<String> {
        let mut notes = vec!["Log lines carry no status, protocol or latency.".to_owned()];
        notes.extend(no_response_note(result));
        if result.backends.is_none() {
            let missing = "No line names a backend: where k6 ran with --console-output, that file has the responses.";
            notes.push(missing.to_owned());
        } else if result.failed.is_none() {
            let missing = "Neither --console-output nor raw lines without a warning tell whether requests got no response or one that names no backend: the requests are at least the logged ones.";
            notes.push(missing.to_owned());
        }
        if self.untimed > 0 {
            notes.push(format!(
                "{} responses are logged without `[ISO time]`: there are no windows.",
                self.untimed
            ));
        }
        if self.is_aborted {
            notes.push("k6 was told to stop: requests that were under way are missing.".to_owned());
        }
        if is_cut {
            notes.push(CUT_NOTE.to_owned());
        }
        notes
    }
}

impl Reader for Console {
    fn take(&mut self, text: &str, line: u64) -> Result<(), Fault> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let entry = match self.format {
            Format::ConsoleLogfmt if text.starts_with("time=") => logfmt_entry(text),
            Format::ConsoleJson if text.starts_with('{') => json_entry(text),
            Format::ConsoleRaw if !is_structured(text) => return self.message(text, None, line),
            _ => return self.foreign(text),
        };
        let entry = entry.map_err(|broken| match broken {
            Broken::Open => Fault::Cut,
            Broken::NoKey | Broken::Escape => self.malformed("a line that cannot be read"),
        })?;
        if entry.metric.is_some() {
            return Err(self.mixed("a line of --out json"));
        }
        let (Some(_), Some(message)) = (entry.level, entry.msg) else {
            return Err(self.malformed("a line without level or message"));
        };
        self.is_standard_error |= entry.source.is_some();
        self.message(&message, entry.error.as_deref(), line)
    }

    fn shows_its_end(&self, text: &str) -> bool {
        match self.format {
            // Fields behind the message may be cut without harm.
            Format::ConsoleLogfmt => {
                text.contains(" msg=\"") && logfmt::fields(text).all(|field| field.is_ok())
            }
            Format::ConsoleJson => text.ends_with('}'),
            _ => false,
        }
    }

    fn finish(self: Box<Self>, is_cut: bool) -> Result<LoadResult, Fault> {
        let named = self.backends.values().sum::<u64>();
        let failed = self.warned + self.thrown;
        let requests = named + self.thrown + self.warned.max(self.nameless);
        if requests == 0 {
            return Err(Fault::NoRequests {
                format: self.format,
                advice: ADVICE,
            });
        }
        // Where nobody is named but some should be, the names may have gone to --console-output.
        let has_names = named > 0 || self.nameless <= self.warned;
        let is_whole = self.is_standard_error && has_names;
        let is_timed = self.untimed == 0 && self.first_us.is_some();
        let result = LoadResult {
            format: self.format,
            requests,
            failed: is_whole.then_some(failed),
            unexpected: None,
            statuses: None,
            by_second: is_timed.then(|| self.by_second.clone()),
            time_of: is_timed.then_some(TimeOf::RequestStart),
            first_us: self.first_us.filter(|_| is_timed),
            last_us: self.last_us.filter(|_| is_timed),
            waiting_us: None,
            protocol: None,
            interrupted: is_cut || self.is_aborted,
            first_failure: self.first_failure.clone(),
            notes: Vec::new(),
            backends: has_names.then(|| self.backends.clone()),
        };
        let notes = self.notes(&result, is_cut);
        Ok(LoadResult { notes, ..result })
    }
}

fn add(counts: &mut BTreeMap<String, u64>, backend: &str) {
    match counts.get_mut(backend) {
        Some(count) => *count += 1,
        None => {
            counts.insert(backend.to_owned(), 1);
        }
    }
}

/// Whether the line is one of a format with fields.
fn is_structured(text: &str) -> bool {
    let is_json =
        text.starts_with('{') && (text.contains("\"msg\"") || text.contains("\"metric\""));
    is_json || text.starts_with("time=") && text.contains(" level=") || text.starts_with(CSV_HEADER)
}

fn logfmt_entry(text: &str) -> Result<Entry<'_>, Broken> {
    let mut entry = Entry::default();
    for field in logfmt::fields(text) {
        let (key, value) = field?;
        match key {
            "level" => entry.level = Some(value),
            "msg" => entry.msg = Some(value),
            "source" => entry.source = Some(value),
            "error" => entry.error = Some(value),
            _ => {}
        }
    }
    Ok(entry)
}

fn json_entry(text: &str) -> Result<Entry<'_>, Broken> {
    serde_json::from_str(text).map_err(|error| match error.is_eof() {
        true => Broken::Open,
        false => Broken::NoKey,
    })
}
