//! Where cycles come from: the processors' counters, a reference, or nowhere.
//!
//! A counter is opened on each CPU, pinned, so that it counts all the time or says that it does not;
//! the programs read it. The reference is CPU time times the rate of the time-stamp counter, which
//! runs at one rate whatever the processor does. The rate is measured against CLOCK_MONOTONIC_RAW,
//! which the kernel derives from that counter, so that it is the rate which the kernel found. arm64's
//! timer is no such reference: it ticks some tens of times slower than any processor.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::Context;
use perf_event_open_sys::{
    bindings::{
        PERF_COUNT_HW_CPU_CYCLES, PERF_COUNT_SW_CPU_CLOCK, PERF_FLAG_FD_CLOEXEC,
        PERF_TYPE_HARDWARE, PERF_TYPE_SOFTWARE, perf_event_attr,
    },
    perf_event_open,
};
use trace_schema::cpu::CycleSource;

use super::online;
use crate::{cli, perf};

/// How long the reference's rate is measured.
const CALIBRATION: Duration = Duration::from_millis(100);
/// How long a counter is given to move.
const TRIAL: Duration = Duration::from_millis(2);

/// The source that was asked for is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("--cycles {wish}: {reason}; --cycles auto takes what there is")]
pub struct NoCycles {
    wish: &'static str,
    reason: String,
}

/// The source of cycles.
#[derive(Debug)]
pub struct Cycles {
    source: CycleSource,
    reason: String,
    reference_hz: Option<f64>,
    event: Event,
    counters: BTreeMap<u32, OwnedFd>,
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
enum Event {
    Hardware,
    Software,
}

impl Cycles {
    /// Finds the source that was asked for, or the best there is.
    pub fn choose(wish: cli::Cycles) -> Result<Self, NoCycles> {
        let hardware = || Self::counting(CycleSource::Hardware, Event::Hardware);
        let refuse = |wish, reason| NoCycles { wish, reason };
        match wish {
            cli::Cycles::None => Ok(Self::without("asked for time alone".to_owned())),
            cli::Cycles::Hardware => hardware().map_err(|reason| refuse("hardware", reason)),
            cli::Cycles::Reference => {
                Self::reference("asked for").map_err(|reason| refuse("reference", reason))
            }
            cli::Cycles::Software => Self::counting(CycleSource::Software, Event::Software)
                .map_err(|reason| refuse("software", reason)),
            cli::Cycles::Auto => Ok(hardware().unwrap_or_else(|missing| {
                Self::reference(&missing).unwrap_or_else(|no_reference| {
                    Self::without(format!("{missing}, {no_reference}"))
                })
            })),
        }
    }

    /// What `cycles` counts in every row.
    pub fn source(&self) -> CycleSource {
        self.source
    }

    /// Its name in rows and metrics.
    pub fn name(&self) -> &'static str {
        match self.source {
            CycleSource::Hardware => "hardware",
            CycleSource::Reference => "reference",
            CycleSource::Software => "software",
            CycleSource::None => "none",
        }
    }

    /// Why it is this one.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Rate of the reference.
    pub fn reference_hz(&self) -> Option<f64> {
        self.reference_hz
    }

    /// Whether the programs have counters to read.
    pub fn has_counters(&self) -> bool {
        matches!(self.source, CycleSource::Hardware | CycleSource::Software)
    }

    /// Opens counters on CPUs that have none, and closes those of CPUs that are off, which count no
    /// more.
    pub fn follow(&mut self, online: &BTreeSet<u32>) -> anyhow::Result<()> {
        self.counters.retain(|cpu, _| online.contains(cpu));
        if self.has_counters() {
            for &cpu in online {
                if !self.counters.contains_key(&cpu) {
                    let counter = open(self.event, cpu)
                        .with_context(|| format!("cannot open a cycle counter on CPU {cpu}"))?;
                    self.counters.insert(cpu, counter);
                }
            }
        }
        Ok(())
    }

    /// Closes every counter; [`Cycles::follow`] opens them anew.
    pub fn close(&mut self) {
        self.counters.clear();
    }

    /// The counters, by CPU.
    pub fn counters(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        let counters = self.counters.iter();
        counters.map(|(&cpu, counter)| (cpu, counter.as_fd()))
    }

    fn counting(source: CycleSource, event: Event) -> Result<Self, String> {
        let absent = |error: io::Error| match (event, perf::advice(&error)) {
            (_, Some(advice)) => format!("perf_event_open: {error}; {advice}"),
            (Event::Hardware, None) => format!(
                "no hardware cycle counter here, as on most virtual machines (perf_event_open: {error})"
            ),
            (Event::Software, None) => format!("perf_event_open: {error}"),
        };
        let online = online::cpus().map_err(|error| format!("{error:#}"))?;
        let mut counters = BTreeMap::new();
        for cpu in online {
            counters.insert(cpu, open(event, cpu).map_err(absent)?);
        }
        if !counters.values().any(moves) {
            return Err("the hardware cycle counter stands still".to_owned());
        }
        let reason = match event {
            Event::Hardware => "counted by the processors",
            Event::Software => "asked for the CPU clock in the place of cycles",
        };
        Ok(Self {
            source,
            reason: reason.to_owned(),
            reference_hz: None,
            event,
            counters,
        })
    }

    fn reference(why: &str) -> Result<Self, String> {
        let hz = time_stamp_hz()?;
        Ok(Self {
            source: CycleSource::Reference,
            reason: format!("{why}: time-stamp counter at {:.1} MHz", hz / 1e6),
            reference_hz: Some(hz),
            event: Event::Hardware,
            counters: BTreeMap::new(),
        })
    }

    fn without(reason: String) -> Self {
        Self {
            source: CycleSource::None,
            reason,
            reference_hz: None,
            event: Event::Hardware,
            counters: BTreeMap::new(),
        }
    }
}

impl fmt::Display for Cycles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name(), self.reason)
    }
}

/// Whether this process may open events at all: one that every machine has.
pub fn permission() -> io::Result<()> {
    open(Event::Software, 0).map(drop)
}

/// A counter of everything that runs on a CPU.
fn open(event: Event, cpu: u32) -> io::Result<OwnedFd> {
    let (kind, config) = match event {
        Event::Hardware => (PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES),
        Event::Software => (PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK),
    };
    let mut attributes = perf_event_attr {
        size: size_of::<perf_event_attr>() as u32,
        type_: kind,
        config: u64::from(config),
        ..perf_event_attr::default()
    };
    attributes.set_pinned(1);
    // SAFETY: the attributes live through the call.
    let number = unsafe {
        perf_event_open(
            &raw mut attributes,
            -1,
            cpu.cast_signed(),
            -1,
            libc::c_ulong::from(PERF_FLAG_FD_CLOEXEC),
        )
    };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether a counter counts: one that has no room on its CPU has nothing to read, and some virtual
/// machines offer one that stands still.
fn moves(counter: &OwnedFd) -> bool {
    let Ok(copy) = counter.try_clone() else {
        return false;
    };
    let mut file = File::from(copy);
    let mut value = [0; 8];
    let mut read = move || {
        file.read_exact(&mut value)
            .map(|()| u64::from_ne_bytes(value))
    };
    let Ok(first) = read() else {
        return false;
    };
    let started = Instant::now();
    while started.elapsed() < TRIAL {
        std::hint::spin_loop();
    }
    read().is_ok_and(|second| second > first)
}

#[cfg(target_arch = "x86_64")]
fn time_stamp_hz() -> Result<f64, String> {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let is_constant = flags
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split_whitespace().any(|flag| flag == "constant_tsc"));
    if !is_constant {
        return Err(
            "no time-stamp counter of constant rate (/proc/cpuinfo: constant_tsc)".to_owned(),
        );
    }
    let failed = |error: nix::Error| format!("CLOCK_MONOTONIC_RAW: {error}");
    let first = time_stamp().map_err(failed)?;
    std::thread::sleep(CALIBRATION);
    let second = time_stamp().map_err(failed)?;
    Ok((second.0 - first.0) as f64 * 1e9 / (second.1 - first.1) as f64)
}

/// The counter and the clock at one moment: of several readings the one that took least.
#[cfg(target_arch = "x86_64")]
fn time_stamp() -> nix::Result<(u64, u64)> {
    use nix::time::{ClockId, clock_gettime};
    use std::arch::x86_64::_rdtsc;
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..16 {
        // SAFETY: every processor of this architecture has the instruction.
        let before = unsafe { _rdtsc() };
        let clock = clock_gettime(ClockId::CLOCK_MONOTONIC_RAW)?;
        // SAFETY: as above.
        let after = unsafe { _rdtsc() };
        let clock_ns = (clock.tv_sec() * 1_000_000_000 + clock.tv_nsec()).cast_unsigned();
        let took = after.wrapping_sub(before);
        if took < best.0 {
            best = (took, before + took / 2, clock_ns);
        }
    }
    Ok((best.1, best.2))
}

#[cfg(not(target_arch = "x86_64"))]
fn time_stamp_hz() -> Result<f64, String> {
    Err("no time-stamp counter at the processor's pace".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_had_or_refused_by_name() {
        assert_eq!(
            Cycles::choose(cli::Cycles::None).unwrap().source(),
            CycleSource::None
        );
        let auto = Cycles::choose(cli::Cycles::Auto).unwrap();
        match Cycles::choose(cli::Cycles::Hardware) {
            Ok(found) => assert_eq!(
                (found.source(), auto.source()),
                (CycleSource::Hardware, CycleSource::Hardware)
            ),
            Err(refusal) => {
                assert!(
                    refusal.to_string().starts_with("--cycles hardware: "),
                    "{refusal}"
                );
                assert_ne!(auto.source(), CycleSource::Hardware);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_rate_is_the_same_each_time() {
        let (one, other) = (time_stamp_hz().unwrap(), time_stamp_hz().unwrap());
        assert!(((one - other) / one).abs() < 1e-3, "{one} and {other}");
        assert!((5e8..1e10).contains(&one), "{one}");
    }
}
