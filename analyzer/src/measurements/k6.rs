//! What k6's files say of a run: request rate, failures, time to first byte, and shares over time
//! where the probe saw none.
//!
//! The files of one run tell of the same requests, each another part: what one leaves out is taken
//! from the next.

use std::collections::BTreeMap;

use super::{Metric, Origin, Point, Quantity, RunMeasurements, Series};
use crate::input::k6::{self, KINDS, LoadResult, Loads};
use crate::input::manifest::Run;
use crate::verdict::Moment;

/// Length of a window of shares.
const WINDOW_S: i64 = 5;

/// Notes what the run's files of k6 say; nothing where it has none.
pub(super) fn measure(run: &Run, read: &Loads, into: &mut RunMeasurements) {
    let mut loads = Vec::new();
    for path in KINDS.iter().flat_map(|kind| run.files_of_kind(kind)) {
        let file = super::shown(run, &path);
        match read.get(&path) {
            Ok(load) => loads.push((file, load)),
            Err(refusal) => {
                let refusal = super::in_dataset(run, &refusal);
                into.notes.push(refusal.clone());
                let origin = origin(&file, "k6");
                into.note(Metric::whole(Quantity::RequestRate), Err(refusal), &origin);
            }
        }
    }
    if loads.is_empty() {
        return;
    }
    rate(&loads, into);
    failures(&loads, into);
    waiting(&loads, into);
    shares_over_time(&loads, into);
}

fn origin(file: &str, by: &str) -> Origin {
    Origin {
        files: vec![file.to_owned()],
        by: by.to_owned(),
    }
}

/// Requests over the time between the first and the last of them; a file without times is taken over
/// the manifest's span, which includes k6's own start and end.
fn rate(loads: &[(String, &LoadResult)], into: &mut RunMeasurements) {
    let timed = loads.iter().find_map(|(file, load)| {
        let span_us = load.last_us? - load.first_us?;
        let exact = load.failed.is_some() && span_us > 0;
        exact.then(|| (file, load.requests as f64 * 1e6 / span_us as f64))
    });
    let metric = Metric::whole(Quantity::RequestRate);
    if let Some((file, rate)) = timed {
        let by = "requests of k6 ÷ the time from the first to the last";
        return into.note(metric, Ok(rate), &origin(file, by));
    }
    let most = loads.iter().max_by_key(|(_, load)| load.requests);
    let span_us = into.to.0 - into.from.0;
    if let Some((file, load)) = most {
        let by = "requests of k6 ÷ the run's span in its manifest";
        let rate = (span_us > 0).then(|| load.requests as f64 * 1e6 / span_us as f64);
        let rate = rate.ok_or_else(|| "the manifest's end is not behind its start".to_owned());
        into.note(metric, rate, &origin(file, by));
    }
}

fn failures(loads: &[(String, &LoadResult)], into: &mut RunMeasurements) {
    let known = loads.iter().find_map(|(file, load)| {
        let failed = load.failed? as f64;
        (load.requests > 0).then(|| (file, failed / load.requests as f64))
    });
    let metric = Metric::whole(Quantity::RequestFailures);
    match known {
        Some((file, share)) => {
            let by = "k6's requests without a response ÷ all";
            into.note(metric, Ok(share), &origin(file, by));
        }
        None => {
            let why = "no file of k6's tells requests without a response".to_owned();
            into.note(metric, Err(why), &origin(&loads[0].0, "k6"));
        }
    }
}

fn waiting(loads: &[(String, &LoadResult)], into: &mut RunMeasurements) {
    let by = "k6's http_req_waiting of requests that got a response (three digits from points, as printed from summaries)";
    for (quantity, pick) in QUANTILES {
        let known = loads.iter().find_map(|(file, load)| {
            let quantiles = load.waiting_us.as_ref()?;
            Some((file, pick(quantiles)?))
        });
        match known {
            Some((file, us)) => into.note(Metric::whole(quantity), Ok(us), &origin(file, by)),
            None => {
                let why = "no file of k6's has this quantile of http_req_waiting".to_owned();
                into.note(Metric::whole(quantity), Err(why), &origin(&loads[0].0, by));
            }
        }
    }
}

type Pick = fn(&k6::Quantiles) -> Option<f64>;

const QUANTILES: [(Quantity, Pick); 4] = [
    (Quantity::WaitingP50, |times| times.p50),
    (Quantity::WaitingP90, |times| times.p90),
    (Quantity::WaitingP95, |times| times.p95),
    (Quantity::WaitingP99, |times| times.p99),
];

/// Shares by pod in windows of five seconds from the run's start.
fn shares_over_time(loads: &[(String, &LoadResult)], into: &mut RunMeasurements) {
    let known = loads.iter().find_map(|(file, load)| {
        let by_second = load.by_second.as_ref()?;
        Some((file, by_second))
    });
    let Some((file, by_second)) = known else {
        return;
    };
    let start_s = into.from.0.div_euclid(1_000_000);
    let mut windows = BTreeMap::<i64, BTreeMap<&str, u64>>::new();
    let mut pods = BTreeMap::<&str, u64>::new();
    for (second, counts) in by_second {
        let window = windows
            .entry((second - start_s).div_euclid(WINDOW_S))
            .or_default();
        for (pod, count) in counts {
            *window.entry(pod).or_default() += count;
            *pods.entry(pod).or_default() += count;
        }
    }
    let by = "responses that name the pod ÷ those that name any, by k6, in windows of 5 s from the run's start";
    for pod in pods.keys() {
        let points = windows.iter().map(|(window, counts)| {
            let all: u64 = counts.values().sum();
            let own = counts.get(pod).copied().unwrap_or(0);
            Point {
                at: Moment((start_s + window * WINDOW_S) * 1_000_000),
                value: own as f64 / all as f64,
            }
        });
        let metric = Metric::of(Quantity::SplitShare, format!("pod {pod}"));
        let series = Series::new(metric, points.collect(), origin(file, by), into.from);
        into.series.extend(series);
    }
}
