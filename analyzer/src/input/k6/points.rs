//! What the points of k6's metrics add up to, whichever format they came in.
//!
//! A request is one point of `http_reqs` and of each `http_req_…`, all at the time of its response's
//! end. Which backend answered only the script knows: it adds to a counter of its own, tagged
//! `backend`. Where two counters carry that tag, neither is believed.

use std::collections::{BTreeMap, BTreeSet};

use super::quantiles::Times;
use super::{Failure, Fault, Format, LoadResult, TimeOf};

/// Beside a result whose file ends within a line.
pub(super) const CUT_NOTE: &str =
    "The last line is cut and left out: k6 was killed, or the file was not copied whole.";
const ADVICE: &str = "give the output of a run that sends HTTP requests";
/// What scripts put where a response names no backend.
const NO_NAMES: [&str; 5] = ["", "none", "null", "undefined", "unknown"];
/// k6's own metrics, by how their names begin.
const OWN_METRICS: [&str; 11] = [
    "http_req",
    "data_",
    "iteration",
    "vus",
    "checks",
    "group_duration",
    "dropped_",
    "ws_",
    "grpc_",
    "browser_",
    "webvital",
];

/// One value of one metric.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Point<'a> {
    pub(super) metric: &'a str,
    pub(super) time_us: i64,
    pub(super) value: f64,
    pub(super) status: Option<&'a str>,
    pub(super) proto: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    pub(super) error_code: Option<&'a str>,
    pub(super) backend: Option<&'a str>,
}

/// Responses by backend that one counter of the script's counts.
#[derive(Clone, Debug, Default)]
struct Hits {
    by_backend: BTreeMap<String, u64>,
    by_second: BTreeMap<i64, BTreeMap<String, u64>>,
}

/// Sums of points.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    points: u64,
    requests: u64,
    failed: u64,
    unexpected: u64,
    judged: u64,
    without_status: u64,
    statuses: BTreeMap<u16, u64>,
    protocols: BTreeSet<String>,
    first_us: Option<i64>,
    last_us: Option<i64>,
    longest_us: f64,
    timed: u64,
    waiting: Times,
    first_failure: Option<Failure>,
    hits: BTreeMap<String, Hits>,
}

impl Sums {
    /// Adds a point; the error says what is wrong with its value.
    pub(super) fn add(&mut self, point: &Point<'_>, line: u64) -> Result<(), String> {
        self.points += 1;
        match point.metric {
            "http_reqs" => self.request(point, line)?,
            "http_req_duration" => {
                self.timed += 1;
                self.longest_us = self.longest_us.max(microseconds(point)?);
            }
            // A request without a response waited for nothing; k6 says 0.
            "http_req_waiting" if !is_failed(point) => {
                self.waiting.record_us(microseconds(point)?);
            }
            "http_req_failed" => {
                self.judged += 1;
                self.unexpected += u64::from(point.value != 0.0);
            }
            metric => {
                if let Some(backend) = point.backend.filter(|_| !is_own(metric)) {
                    self.hit(metric, backend, point)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, format: Format, is_cut: bool) -> Result<LoadResult, Fault> {
        if self.requests == 0 {
            return Err(Fault::NoRequests {
                format,
                advice: ADVICE,
            });
        }
        let has_statuses = self.without_status == 0;
        let has_judgements = self.judged > 0;
        let protocols = self.protocols.iter().map(String::as_str);
        let protocol = protocols.collect::<Vec<_>>().join(", ");
        let is_torn = has_judgements && self.judged != self.requests
            || self.timed > 0 && self.timed != self.requests;
        let hits = match self.hits.len() {
            1 => self.hits.values().next().cloned(),
            _ => None,
        };
        let result = LoadResult {
            format,
            requests: self.requests,
            failed: has_statuses.then_some(self.failed),
            unexpected: has_judgements.then_some(self.unexpected),
            statuses: has_statuses.then(|| self.statuses.clone()),
            by_second: hits.as_ref().map(|hits| hits.by_second.clone()),
            backends: hits.map(|hits| hits.by_backend),
            time_of: Some(TimeOf::ResponseEnd),
            first_us: self.first_us,
            last_us: self.last_us,
            waiting_us: self.waiting.quantiles(),
            protocol: Some(protocol).filter(|names| !names.is_empty()),
            interrupted: is_cut || is_torn,
            first_failure: self.first_failure.clone(),
            notes: Vec::new(),
        };
        let notes = self.notes(&result, is_cut);
        Ok(LoadResult { notes, ..result })
    }

    fn request(&mut self, point: &Point<'_>, line: u64) -> Result<(), String> {
        let count = count(point)?;
        self.requests += count;
        self.first_us = Some(
            self.first_us
                .map_or(point.time_us, |first| first.min(point.time_us)),
        );
        self.last_us = self.last_us.max(Some(point.time_us));
        if let Some(protocol) = point.proto.filter(|name| !self.protocols.contains(*name)) {
            self.protocols.insert(protocol.to_owned());
        }
        match point.status {
            None => self.without_status += count,
            Some(_) if is_failed(point) => {
                self.failed += count;
                self.first_failure.get_or_insert_with(|| Failure {
                    line,
                    message: failure(point),
                });
            }
            Some(status) => {
                let number = status
                    .parse()
                    .ok()
                    .filter(|number| (100..1000).contains(number));
                let number = number.ok_or_else(|| format!("status {status:?}"))?;
                *self.statuses.entry(number).or_default() += count;
            }
        }
        Ok(())
    }

    fn hit(&mut self, metric: &str, backend: &str, point: &Point<'_>) -> Result<(), String> {
        let count = count(point)?;
        if !self.hits.contains_key(metric) {
            self.hits.insert(metric.to_owned(), Hits::default());
        }
        let Some(hits) = self.hits.get_mut(metric).filter(|_| !is_no_name(backend)) else {
            return Ok(());
        };
        add(&mut hits.by_backend, backend, count);
        let second = hits.by_second.entry(point.time_us.div_euclid(1_000_000));
        add(second.or_default(), backend, count);
        Ok(())
    }

    fn notes(&self, result: &LoadResult, is_cut: bool) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(no_response_note(result));
        if self.without_status > 0 {
            notes.push(format!(
                "{} requests have no tag `status`: which of them got no response is not known.",
                self.without_status
            ));
        }
        match self.hits.len() {
            0 => notes.push(
                "No counter is tagged `backend`: which backend answered is not known.".to_owned(),
            ),
            1 => notes.push(format!(
                "Times are those of the responses' ends; the longest request began {:.0} ms before.",
                self.longest_us / 1000.0
            )),
            _ => notes.push(format!(
                "Several counters are tagged `backend` ({}): which of them counts responses is not known.",
                self.hits.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
            )),
        }
        if is_cut {
            notes.push(CUT_NOTE.to_owned());
        } else if result.interrupted {
            notes.push("The last request's points are not all there: k6 was killed.".to_owned());
        }
        notes
    }
}

/// Whether a script says so that the response named no backend.
pub(super) fn is_no_name(name: &str) -> bool {
    NO_NAMES.contains(&name)
}

/// The sentence for a run in which nothing answered.
pub(super) fn no_response_note(result: &LoadResult) -> Option<String> {
    let first = result.first_failure.as_ref()?;
    let is_all = result.failed == Some(result.requests);
    is_all.then(|| {
        format!(
            "None of {} requests got a response (line {}: {}).",
            result.requests, first.line, first.message
        )
    })
}

fn add(counts: &mut BTreeMap<String, u64>, backend: &str, count: u64) {
    match counts.get_mut(backend) {
        Some(sum) => *sum += count,
        None => {
            counts.insert(backend.to_owned(), count);
        }
    }
}

/// k6 gives a request without a response the status 0.
fn is_failed(point: &Point<'_>) -> bool {
    point.status == Some("0")
}

fn failure(point: &Point<'_>) -> String {
    match (point.error, point.error_code) {
        (Some(error), Some(code)) => format!("{error}, k6's error {code}"),
        (Some(error), None) => error.to_owned(),
        (None, Some(code)) => format!("k6's error {code}"),
        (None, None) => "k6 does not say why".to_owned(),
    }
}

fn is_own(metric: &str) -> bool {
    OWN_METRICS.iter().any(|own| metric.starts_with(own))
}

fn microseconds(point: &Point<'_>) -> Result<f64, String> {
    let is_time = point.value.is_finite() && point.value >= 0.0;
    let microseconds = is_time.then_some(point.value * 1000.0);
    microseconds.ok_or_else(|| format!("{} of {} ms", point.metric, point.value))
}

fn count(point: &Point<'_>) -> Result<u64, String> {
    let value = point.value;
    let is_count = value.fract() == 0.0 && (0.0..9e15).contains(&value);
    let count = is_count.then_some(value as u64);
    count.ok_or_else(|| format!("{} points of {} in one", value, point.metric))
}
