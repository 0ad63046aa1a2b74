//! What each run of a campaign measured, from the tools' own files, the dataset's tables and
//! Prometheus.
//!
//! The unit that repeats is the run: every metric is one number a run, beside it series within the
//! run for those who want to look inside. What a run does not tell is absent with a reason and never
//! 0. Each number says from which files it was made and by what, so that it can be made again. Failed
//! runs are listed, and no statistic uses them.

mod amount;
mod cost;
mod iperf3;
mod k6;
mod machine;
mod metric;
mod prometheus;
mod series;
mod split;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use serde::Serialize;
use trace_schema::manifest::{RunManifest, RunOutcome};

use crate::input::k6::Loads;
use crate::input::manifest::Run;
use crate::input::one_line;
use crate::input::prometheus::Samples;
use crate::input::traces::{Dataset, DatasetError};
use crate::objects::History;
use crate::stats::Interval;
use crate::verdict::Moment;

pub use amount::{amount, digits};
pub use metric::{Metric, Quantity, Unit, UnknownMetric};

/// What the runs of a dataset measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measurements {
    /// By start.
    pub runs: Vec<RunMeasurements>,
    /// What a reader of all of them should know.
    pub notes: Vec<String>,
}

/// What one run measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunMeasurements {
    /// Name of its folder below `runs/`.
    pub run: String,
    /// Its campaign; empty outside any.
    pub campaign: String,
    /// Its case.
    pub case: String,
    /// What the case sets.
    pub factors: BTreeMap<String, String>,
    /// Repetition, from 1.
    pub repetition: u32,
    /// Block of the randomised order.
    pub block: Option<u32>,
    /// How often this repetition was tried, this time included.
    pub attempt: u32,
    /// How it ended: no statistic uses a failed one.
    pub outcome: RunOutcome,
    /// Why it failed.
    pub failure: Option<String>,
    /// Start.
    pub from: Moment,
    /// End.
    pub to: Moment,
    /// `iperf3`, `k6`, ….
    pub tool: String,
    /// The numbers, by metric, absent ones too where they were looked for.
    #[serde(serialize_with = "as_list")]
    pub measured: BTreeMap<Metric, Measured>,
    /// Values over time within the run, by metric.
    pub series: Vec<Series>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One number of a run, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// What it is.
    pub metric: Metric,
    /// What it counts.
    pub unit: Unit,
    /// The number; never NaN.
    pub value: Option<f64>,
    /// Why there is no number.
    pub absent_because: Option<String>,
    /// Where it is from.
    pub origin: Origin,
}

/// Where a number is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// Files, or folders of tables with a `/` at the end, below the dataset; other files as given.
    pub files: Vec<String>,
    /// The function or query that made it, with what it left out.
    pub by: String,
}

/// Values of a metric over time within a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// What they are.
    pub metric: Metric,
    /// What they count.
    pub unit: Unit,
    /// In order of time.
    pub points: Vec<Point>,
    /// Where they are from.
    pub origin: Origin,
    /// Where its warm-up ends and what its values are worth; absent where it was not looked for.
    pub within: Option<WithinRun>,
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// End of the interval that the value is of; start of a window of shares.
    pub at: Moment,
    /// The value.
    pub value: f64,
}

/// What a series within a run says of itself: its intervals hang together, so that they are fewer
/// observations than they look like. The run's own number is not made from this.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WithinRun {
    /// Values left out at the start as warm-up, by MSER-5.
    pub cut: usize,
    /// Time from the start of the series to the first value kept, seconds.
    pub cut_seconds: f64,
    /// Whether the best cut lies before the middle; else the run had not settled.
    pub settled: bool,
    /// Values kept.
    pub kept: usize,
    /// Their mean.
    pub mean: f64,
    /// 95 % interval of it from ten batches; absent where there are fewer values.
    pub interval: Option<Interval>,
    /// Independent values that would say as much; absent where none differs.
    pub effective: Option<f64>,
}

/// What measurements are made from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The runs.
    pub runs: &'a [Run],
    /// What the runs' files of k6 say.
    pub loads: &'a Loads,
    /// The tables; absent where the dataset has runs alone.
    pub dataset: Option<&'a Dataset>,
    /// The objects that tell pods and routes.
    pub history: &'a History,
    /// Samples of Prometheus for all runs: each file's name with what it holds.
    pub prometheus: &'a [(String, Samples)],
}

impl Measurements {
    /// Reads what every run measured, each file and table once a run at most.
    ///
    /// A tool's file that cannot be read makes its numbers absent, with the refusal as the reason; a
    /// table that cannot be read is an error, since it concerns all runs.
    pub fn read(sources: &Sources<'_>) -> Result<Self, DatasetError> {
        let mut runs: Vec<RunMeasurements> = sources
            .runs
            .iter()
            .map(|run| RunMeasurements::of(&run.manifest))
            .collect();
        let mut notes = Vec::new();
        for (run, into) in sources.runs.iter().zip(&mut runs) {
            if into.counts() {
                iperf3::measure(run, into);
                k6::measure(run, sources.loads, into);
            }
        }
        if let Some(dataset) = sources.dataset {
            notes.extend(machine::measure(dataset, sources.history, &mut runs)?);
            cost::measure(dataset, sources.history, sources.runs, &mut runs)?;
            split::measure(dataset, sources.history, &mut runs)?;
        }
        notes.extend(prometheus::measure(
            sources.runs,
            sources.prometheus,
            &mut runs,
        ));
        Ok(Self { runs, notes })
    }
}

impl RunMeasurements {
    /// A run of which nothing is measured yet.
    pub fn of(manifest: &RunManifest) -> Self {
        Self {
            run: manifest.id.clone(),
            campaign: manifest.campaign.clone(),
            case: manifest.case.clone(),
            factors: manifest.factors.clone(),
            repetition: manifest.repetition,
            block: manifest.block,
            attempt: manifest.attempt,
            outcome: manifest.outcome,
            failure: manifest.failure.clone(),
            from: Moment(manifest.start_us),
            to: Moment(manifest.end_us),
            tool: manifest.tool.clone(),
            measured: BTreeMap::new(),
            series: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether statistics use it.
    pub fn counts(&self) -> bool {
        self.outcome == RunOutcome::Completed
    }

    /// A metric's number.
    pub fn value(&self, metric: &Metric) -> Option<f64> {
        self.measured.get(metric)?.value
    }

    /// The values of a metric over time.
    pub fn series_of(&self, metric: &Metric) -> Option<&Series> {
        self.series.iter().find(|series| series.metric == *metric)
    }

    /// Notes a number, or why there is none. A number that was found before stays.
    pub fn note(&mut self, metric: Metric, value: Result<f64, String>, origin: &Origin) {
        let unit = metric.unit();
        self.note_in(metric, unit, value, origin);
    }

    /// The same in a unit that says more than the metric: whose cycles.
    pub fn note_in(
        &mut self,
        metric: Metric,
        unit: Unit,
        value: Result<f64, String>,
        origin: &Origin,
    ) {
        let measured = Measured {
            unit,
            ..Measured::new(metric, value, origin)
        };
        let known = self.measured.get(&measured.metric);
        if known.is_none_or(|known| known.value.is_none() && measured.value.is_some()) {
            self.measured.insert(measured.metric.clone(), measured);
        }
    }
}

impl Measured {
    /// A number, or why there is none; one that is not finite is none.
    pub fn new(metric: Metric, value: Result<f64, String>, origin: &Origin) -> Self {
        let value = value.and_then(|value| {
            let finite = value.is_finite().then_some(value);
            finite.ok_or_else(|| "its parts do not make a number".to_owned())
        });
        Self {
            unit: metric.unit(),
            metric,
            value: value.as_ref().ok().copied(),
            absent_because: value.err(),
            origin: origin.clone(),
        }
    }
}

fn as_list<S: serde::Serializer>(
    measured: &BTreeMap<Metric, Measured>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(measured.values())
}

/// A file of a run, below the dataset.
fn shown(run: &Run, path: &Path) -> String {
    let relative = path.strip_prefix(&run.folder).unwrap_or(path);
    format!("runs/{}/{}", run.manifest.id, relative.display())
}

/// A refusal of a run's file in one line that names it as in the dataset, wherever that lies.
fn refusal(run: &Run, error: &dyn Error) -> String {
    in_dataset(run, &one_line(error))
}

/// The same of a refusal that is one line already.
fn in_dataset(run: &Run, refusal: &str) -> String {
    let folder = run.folder.display().to_string();
    refusal.replace(&folder, &format!("runs/{}", run.manifest.id))
}
