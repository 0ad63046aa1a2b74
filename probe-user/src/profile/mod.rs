//! Samples of what the processors run, by kernel stack: rows of `profile`.
//!
//! One event a CPU writes samples into a ring, which a thread empties often enough that it does not
//! run full; what the kernel could not write all the same is counted. Stacks are turned into names
//! while the code that they lead through is still there. It refuses to invent names: where the kernel
//! hides its symbols the stack says so.

pub mod commands;
mod rings;
mod samples;
pub mod symbols;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::profile::{ProfileEvent, ProfileMode, ProfileRow};
use tracing::{info, warn};

use self::rings::{RING_BYTES, Rings};
use self::samples::Samples;
use self::symbols::Visibility;
use crate::resources::Stamp;

/// Samples a second and CPU where none are named: not in step with timers of 100 Hz.
pub const DEFAULT_HZ: u32 = 99;
/// Most samples a second and CPU: ten times what profilers use.
pub const MOST_HZ: u32 = 9_999;
/// Bytes of the longest sample: 127 frames (sysctl kernel.perf_event_max_stack) and its head.
const LONGEST_SAMPLE: u64 = 1_100;
/// The ring is emptied at least this often, so that short-lived tasks still have a name.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Why there are no samples.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The kernel refuses events.
    #[error(
        "--profile {hz}: the kernel samples at most {most} times a second: give less, or sysctl -w \
         kernel.perf_event_max_sample_rate={hz}"
    )]
    TooOften {
        /// What was asked for.
        hz: u32,
        /// What the kernel allows.
        most: u32,
    },
    /// The kernel refuses events for another reason.
    #[error(
        "--profile: cannot open a sampling event on CPU {cpu}{}",
        crate::perf::advice(.source).map(|advice| format!("; {advice}")).unwrap_or_default()
    )]
    Open {
        /// The CPU.
        cpu: usize,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// There is no thread to empty the rings.
    #[error("--profile: cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Where samples were taken, with how many there were.
pub(crate) type Folded = HashMap<Place, u64>;

/// What samples are added up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub mode: ProfileMode,
    pub cgroup_id: Option<u64>,
    pub command: String,
    pub stack: String,
}

/// Whose a cgroup is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// Path below the node's root.
    pub cgroup_path: Option<String>,
    /// UID of the pod.
    pub pod_uid: Option<String>,
    /// The container's id.
    pub container_id: Option<String>,
}

/// The running profiler.
#[derive(Debug)]
pub struct Profiler {
    hz: u32,
    shared: Arc<Mutex<Option<Running>>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Running {
    rings: Rings,
    samples: Samples,
}

/// What an interval gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiled {
    /// Rows of `profile`.
    pub rows: Vec<ProfileRow>,
    /// The row of `ledger`, where samples were taken.
    pub ledger: Option<LedgerRow>,
}

impl Profiler {
    /// Begins to sample at so many Hz, if this probe is the one that writes what is kernel-wide; else
    /// it waits until [`Profiler::rows`] is told that it is.
    pub fn start(hz: u32, writes_kernel_wide: bool) -> Result<Self, ProfileError> {
        let mut profiler = Self {
            hz,
            shared: Arc::new(Mutex::new(None)),
            thread: None,
        };
        if writes_kernel_wide {
            profiler.begin()?;
        }
        Ok(profiler)
    }

    /// The rows of the interval that ends now. Sampling begins or ends where this probe has become
    /// the one that writes what is kernel-wide, or is no longer.
    pub fn rows(
        &mut self,
        stamp: &Stamp,
        writes_kernel_wide: bool,
        mut whose: impl FnMut(u64) -> Whose,
    ) -> Profiled {
        let mut running = lock(&self.shared);
        let Some(open) = running.as_mut() else {
            drop(running);
            if writes_kernel_wide && let Err(error) = self.begin() {
                warn!("no profile for now: {:#}", anyhow::Error::from(error));
            }
            return Profiled::default();
        };
        open.empty();
        if let Err(error) = open.rings.follow_cpus() {
            warn!("cannot follow the CPUs: {:#}", anyhow::Error::from(error));
        }
        let (folded, lost) = open.samples.take();
        let event = open.rings.event();
        if !writes_kernel_wide {
            *running = None;
        }
        drop(running);
        if !writes_kernel_wide {
            self.end();
        }
        let interval_us = (stamp.start_us, stamp.end_us);
        let mut ledger =
            LedgerRow::idle(interval_us, &stamp.node, &stamp.boot_id, Vantage::Profile);
        ledger.ring_drops = signed(lost);
        ledger.counted.buffers = signed(folded.values().sum());
        Profiled {
            rows: rows(stamp, event, self.hz, folded, &mut whose),
            ledger: Some(ledger),
        }
    }

    fn begin(&mut self) -> Result<(), ProfileError> {
        let rings = Rings::open(self.hz)?;
        let samples = Samples::new();
        advise(samples.visibility());
        info!(hz = self.hz, event = ?rings.event(), "sampling kernel stacks");
        let mut running = Running { rings, samples };
        // What was sampled while symbols were read is of no interval.
        running.empty();
        running.samples.take();
        *lock(&self.shared) = Some(running);
        let shared = Arc::clone(&self.shared);
        let pause = pause(self.hz);
        let empty = move || {
            loop {
                thread::park_timeout(pause);
                match lock(&shared).as_mut() {
                    None => return,
                    Some(running) => running.empty(),
                }
            }
        };
        let thread = thread::Builder::new()
            .name("profile".to_owned())
            .spawn(empty);
        self.thread = Some(thread.map_err(ProfileError::Thread)?);
        Ok(())
    }

    fn end(&mut self) {
        *lock(&self.shared) = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    fn empty(&mut self) {
        let Self { rings, samples } = self;
        rings.empty(|record, misc| samples.take_in(record, misc));
        samples.settle();
    }
}

/// So often that a ring is at most half full where every sample is as long as can be.
fn pause(hz: u32) -> Duration {
    let bytes_per_second = u64::from(hz) * LONGEST_SAMPLE;
    let half = Duration::from_millis(RING_BYTES as u64 / 2 * 1000 / bytes_per_second.max(1));
    half.min(LONGEST_PAUSE)
}

fn advise(visibility: Visibility) {
    match visibility {
        Visibility::Shown => {}
        Visibility::NeedsSyslog => warn!(
            "kernel symbols are hidden, stacks of the profile are [hidden]: add capability SYSLOG \
             (securityContext.capabilities.add), which nothing else needs"
        ),
        Visibility::Restricted => warn!(
            "kernel symbols are hidden, stacks of the profile are [hidden]: sysctl -w \
             kernel.kptr_restrict=1"
        ),
        Visibility::Unreadable => warn!(
            "no /proc/kallsyms, stacks of the profile are [hidden]: a kernel with CONFIG_KALLSYMS=y \
             has it"
        ),
    }
}

fn rows(
    stamp: &Stamp,
    event: ProfileEvent,
    hz: u32,
    folded: Folded,
    whose: &mut impl FnMut(u64) -> Whose,
) -> Vec<ProfileRow> {
    let mut rows: Vec<ProfileRow> = folded
        .into_iter()
        .map(|(place, samples)| {
            let whose = place.cgroup_id.map(&mut *whose).unwrap_or_default();
            ProfileRow {
                interval_start_us: stamp.start_us,
                interval_end_us: stamp.end_us,
                node: stamp.node.clone(),
                boot_id: stamp.boot_id.clone(),
                event,
                frequency_hz: i32::try_from(hz).unwrap_or(i32::MAX),
                mode: place.mode,
                cgroup_id: place.cgroup_id.map(signed),
                cgroup_path: whose.cgroup_path,
                pod_uid: whose.pod_uid,
                container_id: whose.container_id,
                command: place.command,
                stack: place.stack,
                samples: signed(samples),
            }
        })
        .collect();
    rows.sort_by(|one, other| {
        let key = |row: &ProfileRow| (row.mode, row.cgroup_id);
        key(one)
            .cmp(&key(other))
            .then_with(|| one.command.cmp(&other.command))
            .then_with(|| one.stack.cmp(&other.stack))
    });
    rows
}

/// What a thread that panicked left is as good as what it would have left later.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
