//! The time of the machine's processors by /proc/stat, as a witness of what is charged.
//!
//! Idle time, without the interrupts that come meanwhile, and stolen time are accounted exactly, to a
//! tick; the rest may be sampled at ticks (kernel/sched/cputime.c), so it is not read: what was not
//! idle is the clock's.

use std::fs;

use anyhow::Context;
use nix::time::{ClockId, clock_gettime};

/// A tick of /proc/stat and of /proc/PID/stat: USER_HZ is 100 (times(2)).
pub const TICK_NS: f64 = 1e7;

/// Time of all processors since the machine started, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    /// Not idle.
    pub awake_ns: f64,
    /// Taken by the hypervisor. The clock goes on meanwhile, for whatever was running or idle; the kernel
    /// leaves it out of what it says a task or cgroup used (CONFIG_PARAVIRT_TIME_ACCOUNTING).
    pub stolen_ns: f64,
}

impl Processors {
    /// As it is now.
    pub fn read() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let cpus = stat
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with("cpu"))
            .count() as f64;
        let fields: Vec<f64> = stat
            .lines()
            .next()
            .context("an empty /proc/stat")?
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let [_, _, _, idle, io_wait, _, _, stolen, ..] = fields[..] else {
            anyhow::bail!("/proc/stat does not begin with the times of all CPUs");
        };
        let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
        let uptime_ns = uptime.tv_sec() as f64 * 1e9 + uptime.tv_nsec() as f64;
        Ok(Self {
            awake_ns: uptime_ns * cpus - (idle + io_wait) * TICK_NS,
            stolen_ns: stolen * TICK_NS,
        })
    }
}
