//! What the probe's own eBPF programs cost, from the kernel's statistics in a part of each interval.
//!
//! Statistics read the clock twice for every run of every program, which can cost several times what
//! the programs do: left on, they would measure themselves. So they are on in the last twentieth of
//! an interval ([`part`]), and what the programs cost is extrapolated to all of it, less the clock
//! readings that the kernel's run times hold and with the call, which they do not: a program that
//! does nothing tells both at the start. Work that comes and goes in step with the intervals is
//! counted too much or too little.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::Context;
use trace_schema::cpu::MEASURING;

use crate::{
    aggregate::cpu::ProgramCost,
    attach::{
        Hooks,
        cpu::{NoStatistics, RunTime, measure_run_times},
    },
};

/// How much of an interval is measured.
const PART: u32 = 20;
/// Of less than this too little is learnt.
const LEAST: Duration = Duration::from_millis(1);

/// The end of an interval in which statistics are to be on.
pub fn part(interval: Duration) -> Duration {
    interval / PART
}

/// The measurement, from interval to interval.
pub struct OwnCost {
    nothing: Nothing,
    window: Option<Window>,
    /// Until when costs are known.
    known_until: Instant,
    costs: Vec<ProgramCost>,
}

/// A part of an interval that is being measured.
struct Window {
    statistics: OwnedFd,
    /// Others may have statistics on as well: what ran before is not of this window.
    before: HashMap<String, RunTime>,
    since: Instant,
}

/// What a run of a program that does nothing takes, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nothing {
    /// With its call, while statistics are off.
    pub unmeasured: f64,
    /// The same while they are on.
    pub measured: f64,
    /// Its run time, by these statistics.
    pub run_time: f64,
}

impl OwnCost {
    /// Fails where the kernel gives no statistics.
    pub fn check() -> Result<(), NoStatistics> {
        measure_run_times().map(drop)
    }

    /// Measures what nothing takes.
    pub fn calibrate(hooks: &mut Hooks) -> anyhow::Result<Self> {
        let failed = "cannot measure what calling a program takes";
        let (unmeasured, _) = hooks.run_nothing().context(failed)?;
        let statistics = measure_run_times()?;
        let (measured, run_time) = hooks.run_nothing().context(failed)?;
        drop(statistics);
        Ok(Self {
            nothing: Nothing {
                unmeasured,
                measured,
                run_time,
            },
            window: None,
            known_until: Instant::now(),
            costs: Vec::new(),
        })
    }

    /// Turns statistics on.
    pub fn begin(&mut self, hooks: &Hooks) -> Result<(), NoStatistics> {
        self.window = Some(Window {
            statistics: measure_run_times()?,
            before: by_name(hooks.run_times()),
            since: Instant::now(),
        });
        Ok(())
    }

    /// Turns them off.
    pub fn end(&mut self, hooks: &Hooks) {
        let Some(window) = self.window.take() else {
            return;
        };
        let now = Instant::now();
        let runs: Vec<RunTime> = hooks
            .run_times()
            .iter()
            .map(|run| since(run, window.before.get(&run.program)))
            .filter(|run| run.runs > 0)
            .collect();
        drop(window.statistics);
        let (whole, measured) = (now - self.known_until, now - window.since);
        if let Some(costs) = costs(&runs, &self.nothing, whole, measured) {
            self.costs = costs;
            self.known_until = now;
        }
    }

    /// What programs cost since the last measurement, where one has ended: what was not measured in an
    /// interval is in the next one's costs.
    pub fn take(&mut self) -> Vec<ProgramCost> {
        std::mem::take(&mut self.costs)
    }
}

fn by_name(runs: Vec<RunTime>) -> HashMap<String, RunTime> {
    runs.into_iter()
        .map(|run| (run.program.clone(), run))
        .collect()
}

fn since(now: &RunTime, then: Option<&RunTime>) -> RunTime {
    let Some(then) = then else { return now.clone() };
    RunTime {
        program: now.program.clone(),
        time: now.time.saturating_sub(then.time),
        runs: now.runs.saturating_sub(then.runs),
    }
}

/// What programs that ran so in the measured part cost in the whole, and the measuring.
fn costs(
    runs: &[RunTime],
    nothing: &Nothing,
    whole: Duration,
    measured: Duration,
) -> Option<Vec<ProgramCost>> {
    if measured < LEAST {
        return None;
    }
    let parts = whole.as_secs_f64() / measured.as_secs_f64();
    let mut costs: Vec<ProgramCost> = runs
        .iter()
        .map(|run| {
            let calls = run.runs as f64 * (nothing.unmeasured - nothing.run_time);
            let ns = (run.time.as_nanos() as f64 + calls).max(0.0);
            ProgramCost {
                program: run.program.clone(),
                ns: (ns * parts).round() as u64,
                runs: (run.runs as f64 * parts).round() as u64,
            }
        })
        .collect();
    let runs = runs.iter().map(|run| run.runs).sum();
    let ns = runs as f64 * (nothing.measured - nothing.unmeasured).max(0.0);
    costs.push(ProgramCost {
        program: MEASURING.to_owned(),
        ns: ns.round() as u64,
        runs,
    });
    Some(costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Nothing = Nothing {
        unmeasured: 20.0,
        measured: 80.0,
        run_time: 45.0,
    };

    fn run(program: &str, ns: u64, runs: u64) -> RunTime {
        RunTime {
            program: program.to_owned(),
            time: Duration::from_nanos(ns),
            runs,
        }
    }

    fn cost(program: &str, ns: u64, runs: u64) -> ProgramCost {
        ProgramCost {
            program: program.to_owned(),
            ns,
            runs,
        }
    }

    #[test]
    fn a_run_costs_its_work_and_its_call_and_no_reading_of_the_clock() {
        let (second, part) = (Duration::from_secs(1), Duration::from_millis(50));
        // 127 ns of run time hold 45 that nothing takes as well; called and unmeasured, that is 20.
        let found = costs(&[run("wire", 12_700, 100)], &NOTHING, second, part);
        assert_eq!(
            found,
            Some(vec![
                cost("wire", 204_000, 2_000),
                cost(MEASURING, 6_000, 100)
            ])
        );
    }

    #[test]
    fn what_is_cheaper_than_nothing_costs_nothing() {
        let second = Duration::from_secs(1);
        let found = costs(&[run("wire", 100, 10)], &NOTHING, second, second);
        assert_eq!(
            found,
            Some(vec![cost("wire", 0, 10), cost(MEASURING, 600, 10)])
        );
    }

    #[test]
    fn of_a_window_too_short_nothing_is_concluded() {
        let second = Duration::from_secs(1);
        for measured in [Duration::ZERO, Duration::from_micros(999)] {
            let found = costs(&[run("wire", 12_700, 100)], &NOTHING, second, measured);
            assert_eq!(found, None);
        }
    }

    #[test]
    fn runs_are_those_since_the_last_measurement() {
        let then = run("wire", 100, 10);
        assert_eq!(
            since(&run("wire", 350, 30), Some(&then)),
            run("wire", 250, 20)
        );
        assert_eq!(since(&then, None), then);
    }
}
