//! What the probe's own eBPF programs cost, from the kernel's statistics in a part of each interval.
//!
//! Statistics read the clock twice for every run of every program, which can cost several times what
//! the programs do: left on, they would measure themselves. So they are on in the last twentieth of
//! an interval ([`part`]), and what the programs cost is extrapolated to all of it, less the clock
//! readings that the kernel's run times hold and with the call, which they do not: programs that do
//! nothing tell both at the start ([`crate::attach::calling`]). Work that comes and goes in step with
//! the intervals is counted too much or too little.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use trace_schema::cpu::MEASURING;
use tracing::info;

use crate::{
    aggregate::cpu::ProgramCost,
    attach::{
        Hooks,
        calling::{Calls, Nothing},
        cpu::{NoStatistics, RunTime, measure_run_times},
    },
    cgroups,
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
    calls: Calls,
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

impl OwnCost {
    /// Fails where the kernel gives no statistics.
    pub fn check() -> Result<(), NoStatistics> {
        measure_run_times().map(drop)
    }

    /// Measures what calling takes, before any other program is attached; `root` is the node's cgroup
    /// root.
    pub fn calibrate(hooks: &mut Hooks, root: &Path) -> anyhow::Result<Self> {
        let calls = hooks
            .measure_calls(&cgroups::own(root)?)
            .context("without --measure-self it need not be measured")?;
        let of = |nothing: &Nothing| {
            let Nothing {
                unmeasured,
                measured,
                run_time,
            } = nothing;
            format!(
                "{unmeasured:.0} ns, measured {measured:.0} ns, of it run time {run_time:.0} ns"
            )
        };
        info!(
            tc = of(&calls.tc),
            cgroup = of(&calls.cgroup),
            tracepoint = of(&calls.tracepoint),
            "calling a program that does nothing takes"
        );
        Ok(Self {
            calls,
            window: None,
            known_until: Instant::now(),
            costs: Vec::new(),
        })
    }

    /// To be called when the programs are attached: they cost something from now on.
    pub fn open(&mut self) {
        self.known_until = Instant::now();
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
        if let Some(costs) = costs(&runs, &self.calls, whole, measured) {
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
        way: now.way,
        time: now.time.saturating_sub(then.time),
        runs: now.runs.saturating_sub(then.runs),
    }
}

/// What programs that ran so in the measured part cost in the whole, and the measuring.
fn costs(
    runs: &[RunTime],
    calls: &Calls,
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
            let ns = calls
                .of(run.way)
                .as_called(run.time.as_nanos() as f64, run.runs);
            ProgramCost {
                program: run.program.clone(),
                ns: (ns * parts).round() as u64,
                runs: (run.runs as f64 * parts).round() as u64,
            }
        })
        .collect();
    let measuring = runs.iter().map(|run| {
        let nothing = calls.of(run.way);
        run.runs as f64 * (nothing.measured - nothing.unmeasured).max(0.0)
    });
    costs.push(ProgramCost {
        program: MEASURING.to_owned(),
        ns: measuring.sum::<f64>().round() as u64,
        runs: runs.iter().map(|run| run.runs).sum(),
    });
    Some(costs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::calling::Way;

    const NOTHING: Nothing = Nothing {
        unmeasured: 20.0,
        measured: 80.0,
        run_time: 45.0,
    };
    const CALLS: Calls = Calls {
        tc: NOTHING,
        cgroup: Nothing {
            unmeasured: 110.0,
            measured: 190.0,
            run_time: 50.0,
        },
        tracepoint: NOTHING,
    };

    fn run(program: &str, ns: u64, runs: u64) -> RunTime {
        RunTime {
            program: program.to_owned(),
            way: Way::Tc,
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
        let found = costs(&[run("wire", 12_700, 100)], &CALLS, second, part);
        assert_eq!(
            found,
            Some(vec![
                cost("wire", 204_000, 2_000),
                cost(MEASURING, 6_000, 100)
            ])
        );
    }

    #[test]
    fn a_call_costs_what_its_way_takes() {
        let second = Duration::from_secs(1);
        let pod = RunTime {
            way: Way::Cgroup,
            ..run("pod_egress", 12_700, 100)
        };
        let found = costs(&[run("wire", 12_700, 100), pod], &CALLS, second, second);
        assert_eq!(
            found,
            Some(vec![
                cost("wire", 10_200, 100),
                cost("pod_egress", 18_700, 100),
                cost(MEASURING, 14_000, 200)
            ])
        );
    }

    #[test]
    fn what_is_cheaper_than_nothing_costs_nothing() {
        let second = Duration::from_secs(1);
        let found = costs(&[run("wire", 100, 10)], &CALLS, second, second);
        assert_eq!(
            found,
            Some(vec![cost("wire", 0, 10), cost(MEASURING, 600, 10)])
        );
    }

    #[test]
    fn of_a_window_too_short_nothing_is_concluded() {
        let second = Duration::from_secs(1);
        for measured in [Duration::ZERO, Duration::from_micros(999)] {
            let found = costs(&[run("wire", 12_700, 100)], &CALLS, second, measured);
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
