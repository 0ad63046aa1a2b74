//! The programs that charge processor time: their tracepoints, and the test runs that settle CPUs.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::Context;
use aya::{
    programs::{
        BtfTracePoint, Program, ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun,
    },
    sys::{Stats, enable_stats},
};
use probe_abi::cpu::settled;

use super::{Hooks, calling::Way};
use crate::loader::{PROCESSOR_PROGRAMS, program};

/// Times that settling a CPU is tried; what is in the way lasts some hundred nanoseconds.
const ATTEMPTS: usize = 1000;

/// The kernel does not give run-time statistics.
#[derive(Debug, thiserror::Error)]
#[error(
    "--measure-self: the kernel keeps its statistics of eBPF programs from this process: add CAP_SYS_ADMIN, or leave the flag out"
)]
pub struct NoStatistics(#[source] pub aya::sys::SyscallError);

/// What one of the probe's programs cost since it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTime {
    /// Its name.
    pub program: String,
    /// How the kernel comes to it.
    pub way: Way,
    /// Time, as long as statistics are on.
    pub time: Duration,
    /// Runs, as long as statistics are on.
    pub runs: u64,
}

/// How settling a CPU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Everything up to now is charged.
    Done,
    /// The CPU is not online.
    Off,
    /// It is, and its books stay open, for this reason.
    Missed(&'static str),
}

impl Hooks {
    /// Attaches the programs that charge processor time. Nothing is charged on a CPU before it is
    /// settled for the first time.
    pub fn attach_processors(&mut self, with_softirqs: bool) -> anyhow::Result<()> {
        for (name, tracepoint) in PROCESSOR_PROGRAMS {
            if with_softirqs || tracepoint == "sched_switch" {
                program::<BtfTracePoint>(&mut self.ebpf, name)?
                    .attach()
                    .with_context(|| format!("cannot attach to the tracepoint {tracepoint}"))?;
            }
        }
        Ok(())
    }

    /// Charges what runs on a CPU right now.
    pub fn settle(&mut self, cpu: u32) -> anyhow::Result<Settled> {
        let settle = program::<RawTracePoint>(&mut self.ebpf, "cpu_settle")?;
        let mut returned = 0;
        for _ in 0..ATTEMPTS {
            let options = RawTracePointRunOptions {
                cpu: Some(cpu),
                ..RawTracePointRunOptions::new()
            };
            match settle.test_run(options) {
                Ok(result) if result.return_value == settled::DONE => return Ok(Settled::Done),
                Ok(result) => returned = result.return_value,
                Err(ProgramError::SyscallError(error))
                    if error.io_error.raw_os_error() == Some(libc::ENXIO) =>
                {
                    return Ok(Settled::Off);
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot settle CPU {cpu}"));
                }
            }
        }
        Ok(match returned {
            settled::BUSY => Settled::Missed("a softirq was in the way each time"),
            _ => Settled::Missed("the program gave no result"),
        })
    }

    /// Depth of the cgroup root that the maps were told among this thread's ancestors.
    pub fn cgroup_level(&mut self) -> anyhow::Result<Option<u32>> {
        let result = program::<RawTracePoint>(&mut self.ebpf, "cpu_level")?
            .test_run(RawTracePointRunOptions::new())
            .context("cannot find the cgroup root's depth")?;
        Ok(result.return_value.checked_sub(1))
    }

    /// Runs of the programs that charge processor time which the kernel skipped since they were
    /// loaded, because the program was already running on that CPU; nothing where it does not say.
    pub fn processor_misses(&self) -> Option<u64> {
        let misses = PROCESSOR_PROGRAMS.iter().map(|(name, _)| self.misses(name));
        misses.sum()
    }

    /// What each program of the probe cost since it was loaded.
    pub fn run_times(&self) -> Vec<RunTime> {
        let programs = self.ebpf.programs();
        programs
            .filter_map(|(name, found)| {
                let info = found.info().ok()?;
                Some(RunTime {
                    program: name.to_owned(),
                    way: way(found),
                    time: info.run_time(),
                    runs: info.run_count(),
                })
            })
            .collect()
    }
}

/// Those that only test runs call are few, and are called as a tracepoint's are.
fn way(program: &Program) -> Way {
    match program {
        Program::SchedClassifier(_) => Way::Tc,
        Program::CgroupSkb(_) => Way::Cgroup,
        _ => Way::Tracepoint,
    }
}

/// Has the kernel measure the run time of every eBPF program until the descriptor is closed.
pub fn measure_run_times() -> Result<OwnedFd, NoStatistics> {
    enable_stats(Stats::RunTime).map_err(NoStatistics)
}
