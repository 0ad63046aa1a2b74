//! How each run's responses were split: shares by backend, their distance to the reference, windows.
//!
//! The figures are those of `weighbridge split` for the run's time, whatever verdict it gave: a
//! verdict judges, a measurement counts. Where the weights changed within a run it has no one
//! reference, and no distance.

use trace_schema::Record;
use trace_schema::http::HttpRow;
use trace_schema::ledger::LedgerRow;

use super::{Metric, Origin, Point, Quantity, RunMeasurements, Series};
use crate::input::traces::{Dataset, DatasetError, Filter};
use crate::objects::History;
use crate::verdict::Moment;
use crate::verdict::evidence::Window;
use crate::verdict::split::{
    Options, ResponseError, RuleReport, SplitEvidence, StageReport, assess,
};

/// Rows that start so long before a run may still reach into it.
const MARGIN_US: i64 = 60_000_000;

/// Notes how responses were split during each run; nothing where the dataset has none.
pub(super) fn measure(
    dataset: &Dataset,
    history: &History,
    runs: &mut [RunMeasurements],
) -> Result<(), DatasetError> {
    if dataset.files(HttpRow::TABLE).is_empty() {
        return Ok(());
    }
    for run in runs.iter_mut().filter(|run| run.counts()) {
        let window = Window {
            from_us: run.from.0,
            to_us: run.to.0,
        };
        let evidence = match evidence(dataset, history, window)? {
            Ok(evidence) => evidence,
            Err(error) => {
                run.notes.push(error.to_string());
                continue;
            }
        };
        if evidence.rows() == 0 {
            continue;
        }
        let options = Options {
            runs: vec![window],
            ..Options::default()
        };
        match assess(&evidence, &options) {
            Ok(Some(report)) => note(&report.rules, run),
            Ok(None) => run.notes.push(
                "no backend of a route answered a Gateway in that time: there is no split"
                    .to_owned(),
            ),
            Err(error) => run.notes.push(error.to_string()),
        }
    }
    Ok(())
}

fn evidence<'a>(
    dataset: &Dataset,
    history: &'a History,
    window: Window,
) -> Result<Result<SplitEvidence<'a>, ResponseError>, DatasetError> {
    let filter = Filter {
        from_us: Some(window.from_us.saturating_sub(MARGIN_US)),
        until_us: Some(window.to_us),
        nodes: None,
    };
    let mut evidence = SplitEvidence::new(history, vec![window]);
    for row in dataset.rows::<LedgerRow>(&filter) {
        evidence.add_ledger(&row?);
    }
    for row in dataset.rows::<HttpRow>(&filter) {
        if let Err(error) = evidence.add_response(&row?) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(evidence))
}

fn origin(by: &str) -> Origin {
    Origin {
        files: vec![
            format!("{}/", HttpRow::TABLE),
            format!("{}/", LedgerRow::TABLE),
            "objects/".to_owned(),
        ],
        by: by.to_owned(),
    }
}

fn note(rules: &[RuleReport], run: &mut RunMeasurements) {
    let is_alone = rules.len() == 1;
    for rule in rules {
        let prefix = match is_alone {
            true => String::new(),
            false => format!("{} ", rule.rule),
        };
        shares(rule, &prefix, run);
        distances(rule, (!is_alone).then(|| rule.rule.to_string()), run);
        windows(rule, &prefix, run);
        latencies(rule, &prefix, run);
    }
}

fn shares(rule: &RuleReport, prefix: &str, run: &mut RunMeasurements) {
    let all: u64 = rule.stages.iter().map(|stage| stage.responses).sum();
    let Some(first) = rule.stages.first() else {
        return;
    };
    for backend in &first.backends {
        let name = &backend.backend.service;
        let of_stages = rule.stages.iter().flat_map(|stage| &stage.backends);
        let own = of_stages.filter(|other| other.backend == backend.backend);
        let own: u64 = own.map(|one| one.responses).sum();
        let share = (all > 0).then(|| own as f64 / all as f64);
        run.note(
            Metric::of(Quantity::SplitShare, format!("{prefix}{name}")),
            share.ok_or_else(|| "no response is judged".to_owned()),
            &origin("responses of the backend ÷ those of all, only to the Gateway, as `weighbridge split` counts them"),
        );
        let due = single(rule).map(|stage| {
            let configured = backend.configured_share.unwrap_or(backend.spec_share);
            let judged = stage.judgements.first().and_then(|judgement| {
                let place = stage
                    .backends
                    .iter()
                    .position(|one| one.backend == backend.backend)?;
                judgement.shares.get(place).copied()
            });
            judged.unwrap_or(configured)
        });
        run.note(
            Metric::of(Quantity::SplitDue, format!("{prefix}{name}")),
            due,
            &origin("share of the backends' responses that the implementation configures, else the specification's"),
        );
    }
}

/// The only stage of a rule, or why there is not one.
fn single(rule: &RuleReport) -> Result<&StageReport, String> {
    match rule.stages.as_slice() {
        [stage] => Ok(stage),
        [] => Err("no response is judged".to_owned()),
        stages => Err(format!(
            "the weights changed within the run: {} references",
            stages.len()
        )),
    }
}

fn distances(rule: &RuleReport, part: Option<String>, run: &mut RunMeasurements) {
    let distance = single(rule).and_then(|stage| {
        let judgement = stage.judgements.first();
        let distance = judgement.and_then(|judgement| judgement.distance);
        distance.ok_or_else(|| "there is no reference to be distant from".to_owned())
    });
    let metric = |quantity| Metric {
        quantity,
        part: part.clone(),
    };
    let of = "½ Σ |share − reference| over the run's responses";
    run.note(
        metric(Quantity::SplitDistance),
        distance.clone().map(|distance| distance.distance),
        &origin(of),
    );
    run.note(
        metric(Quantity::SplitExpectedDistance),
        distance.clone().map(|distance| distance.expected),
        &origin("½ Σ E|share − reference| of independent requests, exact binomial"),
    );
    let ratio = distance.and_then(|distance| {
        let ratio = distance.ratio;
        ratio.ok_or_else(|| "the reference leaves nothing to chance".to_owned())
    });
    run.note(
        metric(Quantity::SplitDistanceRatio),
        ratio,
        &origin("distance ÷ expected distance"),
    );
}

fn windows(rule: &RuleReport, prefix: &str, run: &mut RunMeasurements) {
    let backends = rule.stages.first().map_or(&[][..], |stage| &stage.backends);
    let windows = || rule.stages.iter().flat_map(|stage| &stage.windows);
    let of_windows = "by windows of 5 s, as `weighbridge split --windows` lists them";
    for (place, backend) in backends.iter().enumerate() {
        let points = windows().filter_map(|window| {
            Some(Point {
                at: window.from,
                value: *window.shares.get(place)?,
            })
        });
        let metric = Metric::of(
            Quantity::SplitShare,
            format!("{prefix}{}", backend.backend.service),
        );
        let series = Series::new(metric, points.collect(), origin(of_windows), run.from);
        run.series.extend(series);
    }
    let mut distances = |quantity: Quantity, pick: fn((f64, f64)) -> f64| {
        let points = windows().filter_map(|window| {
            let distance = window.distance.as_ref()?;
            Some(Point {
                at: window.from,
                value: pick((distance.distance, distance.expected)),
            })
        });
        let metric = Metric {
            quantity,
            part: (!prefix.is_empty()).then(|| prefix.trim_end().to_owned()),
        };
        let series = Series::new(
            metric,
            points.collect(),
            origin(of_windows),
            Moment(run.from.0),
        );
        run.series.extend(series);
    };
    distances(Quantity::SplitDistance, |(distance, _)| distance);
    distances(Quantity::SplitExpectedDistance, |(_, expected)| expected);
}

fn latencies(rule: &RuleReport, prefix: &str, run: &mut RunMeasurements) {
    for (backend, latency) in &rule.latency {
        let by = format!(
            "histogram of table http, the middle of the quantile's bucket, off by at most {:.1} %",
            100.0 * latency.relative_error
        );
        let values = [
            (Quantity::BackendLatencyP50, latency.p50_us),
            (Quantity::BackendLatencyP90, latency.p90_us),
            (Quantity::BackendLatencyP99, latency.p99_us),
        ];
        for (quantity, us) in values {
            let metric = Metric::of(quantity, format!("{prefix}{backend}"));
            run.note(metric, Ok(us), &origin(&by));
        }
    }
}
