//! One sitting of a campaign: the runs that are still to come, in the plan's order.
//!
//! A run that fails is kept and tried again at once, so that it stays in its block; after so many
//! attempts the campaign goes on without it. Ctrl-C ends the run at hand, which is kept as well,
//! and the sitting.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use lab::Interruption;

use super::config::{Campaign, Case};
use super::plan::{Plan, PlannedRun};
use super::records::{self, INTERRUPTED, Records};
use super::target::Target;

/// How a sitting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every run is done.
    Complete,
    /// These runs are not, after all attempts.
    Missing(Vec<String>),
    /// Ctrl-C came.
    Interrupted,
}

/// A sitting.
pub struct Session<'a> {
    /// What is to be run.
    pub plan: &'a Plan,
    /// The campaign that it was drawn from.
    pub campaign: &'a Campaign,
    /// The dataset's root.
    pub dataset: &'a Path,
    /// Where it is run.
    pub target: &'a dyn Target,
    /// Whether Ctrl-C was pressed.
    pub interruption: Interruption,
}

impl Session<'_> {
    /// Performs every run that no earlier sitting completed.
    pub fn sit(&self) -> anyhow::Result<Ending> {
        let records = Records::read(self.dataset)?;
        let runs = &self.plan.runs;
        let to_come: Vec<&PlannedRun> = runs
            .iter()
            .filter(|run| records.completed(run).is_none())
            .collect();
        let mut progress = Progress::start(runs.len(), to_come.len(), self)?;
        let mut missing = Vec::new();
        for run in to_come {
            if self.interruption.has_come() {
                return Ok(Ending::Interrupted);
            }
            match self.run(run, &records, &progress)? {
                Attempted::Done => progress.ended(run, "done"),
                Attempted::Failed => {
                    missing.push(run.id.clone());
                    progress.ended(run, "given up");
                }
                Attempted::Interrupted => return Ok(Ending::Interrupted),
            }
        }
        Ok(if missing.is_empty() {
            Ending::Complete
        } else {
            Ending::Missing(missing)
        })
    }

    fn run(
        &self,
        run: &PlannedRun,
        records: &Records,
        progress: &Progress,
    ) -> anyhow::Result<Attempted> {
        let case = self.case(run)?;
        let first = records.next_attempt(run);
        for attempt in first..first + self.campaign.attempts {
            let manifest = records::begin(self.dataset, self.plan, run, attempt)?;
            let id = manifest.id.clone();
            let stage = |stage: &str| progress.stage(&id, stage);
            let Err(error) = self.target.perform(case, manifest, &stage) else {
                return Ok(Attempted::Done);
            };
            let why = format!("{error:#}").replace('\n', "; ");
            records::fail(self.dataset, &id, &why)?;
            if why == INTERRUPTED {
                return Ok(Attempted::Interrupted);
            }
            progress.failed(&id, &why);
        }
        Ok(Attempted::Failed)
    }

    fn case(&self, run: &PlannedRun) -> anyhow::Result<&Case> {
        let mut cases = self.campaign.cases.iter();
        let found = cases.find(|case| (&case.name, &case.factors) == (&run.case, &run.factors));
        found.with_context(|| format!("run {}: the campaign has no such case", run.id))
    }
}

enum Attempted {
    Done,
    Failed,
    Interrupted,
}

/// What so many runs take.
pub fn estimate(load: Duration, beside_load: Duration, runs: usize) -> Duration {
    (load + beside_load) * u32::try_from(runs).unwrap_or(u32::MAX)
}

/// A time as people say it.
pub fn in_words(time: Duration) -> String {
    // To the second, and without seconds where there are hours.
    let seconds = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    let shown = if seconds >= 3600 {
        seconds / 60 * 60
    } else {
        seconds
    };
    humantime::format_duration(Duration::from_secs(shown)).to_string()
}

struct Progress {
    bar: ProgressBar,
    load: Duration,
    beside_load: Duration,
    begun: Instant,
    performed: u32,
    total: usize,
    left: usize,
}

impl Progress {
    fn start(total: usize, left: usize, session: &Session<'_>) -> anyhow::Result<Self> {
        let bar = ProgressBar::new(total as u64).with_position((total - left) as u64);
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {msg}");
        bar.set_style(style.context("progress bar")?);
        if std::io::stderr().is_terminal() {
            bar.enable_steady_tick(Duration::from_secs(1));
        }
        Ok(Self {
            bar,
            load: session.campaign.load(),
            beside_load: session.target.beside_load(),
            begun: Instant::now(),
            performed: 0,
            total,
            left,
        })
    }

    /// What the runs that are left take, by those that were performed.
    fn time_left(&self) -> Duration {
        let each = match self.performed {
            0 => self.load + self.beside_load,
            performed => self.begun.elapsed() / performed,
        };
        each * u32::try_from(self.left).unwrap_or(u32::MAX)
    }

    fn stage(&self, id: &str, stage: &str) {
        let left = in_words(self.time_left());
        self.bar.set_message(format!("{id}: {stage}, {left} left"));
        self.bar.tick();
    }

    fn failed(&self, id: &str, why: &str) {
        self.bar.suspend(|| eprintln!("run {id} failed: {why}"));
    }

    fn ended(&mut self, run: &PlannedRun, how: &str) {
        self.performed += 1;
        self.left -= 1;
        self.bar.inc(1);
        let (position, total) = (self.total - self.left, self.total);
        let left = in_words(self.time_left());
        self.bar.suspend(|| {
            eprintln!(
                "{position:>4}/{total} {}, block {}: {how}, {left} left",
                run.id, run.block
            );
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
