//! `--summary-export`, and the data of `handleSummary`: one JSON document at a run's end.
//!
//! They differ in depth only: the one has a metric's figures beside its name, the other below
//! `values`. In both `passes` of `http_req_failed` counts failures, since the rate that passes is
//! that of being failed. Neither has times, and what a tag adds only where the script set a
//! threshold on it (`http_reqs{status:200}`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::points::is_no_name;
use super::{Failure, Fault, Format, LoadResult, Quantiles};

const ADVICE: &str = "give the summary of a run that sends HTTP requests";

/// Reads a document; the error names the line.
pub(super) fn parse(text: &str) -> Result<LoadResult, (u64, Fault)> {
    let document = serde_json::from_str::<Value>(text).map_err(|error| {
        let fault = if error.is_eof() {
            Fault::Cut
        } else {
            let what = format!("a line that cannot be read ({error})");
            malformed(Format::SummaryExport, what)
        };
        (error.line() as u64, fault)
    })?;
    let Some(metrics) = document.get("metrics").and_then(Value::as_object) else {
        return Err((1, Fault::OtherJson { key: "metrics" }));
    };
    let is_nested = metrics
        .values()
        .any(|metric| metric.get("values").is_some());
    let format = match is_nested {
        true => Format::HandleSummary,
        false => Format::SummaryExport,
    };
    Summary { metrics, format }
        .result()
        .map_err(|fault| (1, fault))
}

struct Summary<'a> {
    metrics: &'a Map<String, Value>,
    format: Format,
}

impl Summary<'_> {
    fn result(&self) -> Result<LoadResult, Fault> {
        let requests = self.count("http_reqs", "count")?.unwrap_or_default();
        if requests == 0 {
            return Err(Fault::NoRequests {
                format: self.format,
                advice: ADVICE,
            });
        }
        let unexpected = self.count("http_req_failed", "passes")?;
        if unexpected.is_some_and(|unexpected| unexpected > requests) {
            let what = "more failed requests than requests".to_owned();
            return Err(malformed(self.format, what));
        }
        let waiting_us = self.waiting();
        // A response takes time: where even the longest wait is none, none came.
        let longest_us = waiting_us.and_then(|waiting| waiting.max);
        let mut statuses = self.statuses(requests)?;
        // k6 gives a request without a response the status 0.
        let counted = statuses
            .as_mut()
            .map(|by| by.remove(&0).unwrap_or_default());
        let failed = match (counted, unexpected) {
            (Some(counted), _) => Some(counted),
            (None, Some(0)) => Some(0),
            (None, Some(all)) if all == requests && longest_us == Some(0.0) => Some(all),
            (None, _) => None,
        };
        let backends = self.backends()?;
        let mut notes = vec!["Summaries carry no times.".to_owned()];
        notes.extend(self.notes(requests, unexpected, failed, backends.is_some()));
        let is_silent = failed == Some(requests);
        Ok(LoadResult {
            format: self.format,
            requests,
            failed,
            unexpected,
            statuses,
            backends,
            by_second: None,
            time_of: None,
            first_us: None,
            last_us: None,
            waiting_us: waiting_us.filter(|_| !is_silent),
            protocol: None,
            interrupted: false,
            first_failure: is_silent.then(|| Failure {
                line: 1,
                message: "a summary does not say why".to_owned(),
            }),
            notes,
        })
    }

    /// The figures of a metric.
    fn figures(&self, metric: &str) -> Option<&Map<String, Value>> {
        let metric = self.metrics.get(metric)?;
        metric.get("values").unwrap_or(metric).as_object()
    }

    fn count(&self, metric: &str, key: &str) -> Result<Option<u64>, Fault> {
        let Some(value) = self.figures(metric).and_then(|figures| figures.get(key)) else {
            return Ok(None);
        };
        let whole = value
            .as_f64()
            .filter(|value| value.fract() == 0.0 && *value >= 0.0);
        let whole =
            whole.ok_or_else(|| malformed(self.format, format!("{key} of {metric} is {value}")));
        whole.map(|value| Some(value as u64))
    }

    /// Sums of a metric by the values of a tag, as far as thresholds made k6 keep them.
    fn by_tag(&self, metric: &str, tag: &str) -> Result<BTreeMap<String, u64>, Fault> {
        let mut sums = BTreeMap::new();
        for name in self.metrics.keys() {
            let tagged = name
                .strip_prefix(metric)
                .and_then(|rest| rest.strip_prefix('{'));
            let tagged = tagged.and_then(|rest| rest.strip_suffix('}'));
            let value = tagged.and_then(|tagged| tagged.strip_prefix(tag)?.strip_prefix(':'));
            let Some(value) = value.filter(|value| !value.contains(',')) else {
                continue;
            };
            if let Some(count) = self.count(name, "count")? {
                sums.insert(value.trim().to_owned(), count);
            }
        }
        Ok(sums)
    }

    /// Only where they add up to the requests.
    fn statuses(&self, requests: u64) -> Result<Option<BTreeMap<u16, u64>>, Fault> {
        let by_status = self.by_tag("http_reqs", "status")?;
        if by_status.values().sum::<u64>() != requests {
            return Ok(None);
        }
        let numbered = by_status.iter().map(|(status, count)| {
            let number = status
                .parse()
                .map_err(|_| malformed(self.format, format!("status {status:?}")))?;
            Ok((number, *count))
        });
        numbered.collect::<Result<_, _>>().map(Some)
    }

    /// Of the one counter whose sums by backend add up to it.
    fn backends(&self) -> Result<Option<BTreeMap<String, u64>>, Fault> {
        let mut found = None;
        for name in self.metrics.keys().filter(|name| !name.contains('{')) {
            let by_backend = self.by_tag(name, "backend")?;
            let is_whole = Some(by_backend.values().sum()) == self.count(name, "count")?;
            if !is_whole || by_backend.is_empty() {
                continue;
            }
            let named = by_backend.into_iter().filter(|(name, _)| !is_no_name(name));
            if found.replace(named.collect()).is_some() {
                return Ok(None);
            }
        }
        Ok(found)
    }

    fn waiting(&self) -> Option<Quantiles> {
        let figures = self.figures("http_req_waiting")?;
        let microseconds = |key| Some(figures.get(key)?.as_f64()? * 1000.0);
        Some(Quantiles {
            p50: microseconds("med").or_else(|| microseconds("p(50)")),
            p90: microseconds("p(90)"),
            p95: microseconds("p(95)"),
            p99: microseconds("p(99)"),
            mean: microseconds("avg"),
            max: microseconds("max"),
            count: figures.get("count").and_then(Value::as_u64),
        })
    }

    fn notes(
        &self,
        requests: u64,
        unexpected: Option<u64>,
        failed: Option<u64>,
        has_backends: bool,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        match (failed, unexpected) {
            (Some(all), _) if all == requests => {
                notes.push(format!("None of {requests} requests got a response."));
            }
            (None, Some(unexpected)) => notes.push(format!(
                "{unexpected} requests got no response or a status not expected: which of both is not known."
            )),
            (None, None) => notes.push("Whether requests failed is not known.".to_owned()),
            (Some(_), _) => {}
        }
        if !has_backends {
            notes.push(
                "Which backend answered is not known: thresholds on a counter's tag `backend` would keep it."
                    .to_owned(),
            );
        }
        notes
    }
}

fn malformed(format: Format, what: String) -> Fault {
    Fault::Malformed { format, what }
}
