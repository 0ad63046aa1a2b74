//! The sampling events, one a CPU, and their rings.
//!
//! Hardware cycles where the machine has a counter for them, else the CPU clock; what is asked for
//! besides is the same. It refuses to wait for records: whoever has time empties the rings.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use perf_event::data::Record;
use perf_event::events::{Event, Hardware, Software};
use perf_event::{Builder, SampleFlag, Sampler};
use trace_schema::profile::ProfileEvent;

use super::ProfileError;

/// Bytes of a ring: with its first page as much as a user without CAP_IPC_LOCK may have for each CPU
/// (sysctl kernel.perf_event_mlock_kb).
pub(super) const RING_BYTES: usize = 512 * 1024;
/// CPUs that are online, as `0-3,8`.
const ONLINE: &str = "/sys/devices/system/cpu/online";
const MOST_SAMPLES: &str = "/proc/sys/kernel/perf_event_max_sample_rate";

/// The open events.
#[derive(Debug)]
pub(super) struct Rings {
    hz: u32,
    event: ProfileEvent,
    cgroups: bool,
    by_cpu: BTreeMap<usize, Ring>,
}

struct Ring(Sampler);

impl std::fmt::Debug for Ring {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Ring")
    }
}

impl Rings {
    /// Opens an event on every CPU that is online.
    pub fn open(hz: u32) -> Result<Self, ProfileError> {
        let cgroups = cgroup2_has_perf_events();
        let mut refusal = None;
        let ways = [ProfileEvent::Cycles, ProfileEvent::CpuClock]
            .into_iter()
            .flat_map(|event| [(event, cgroups), (event, false)]);
        for (event, cgroups) in ways {
            let mut rings = Self {
                hz,
                event,
                cgroups,
                by_cpu: BTreeMap::new(),
            };
            match rings.follow_cpus() {
                Ok(()) => return Ok(rings),
                Err(error) => refusal = Some(error),
            }
        }
        let most = fs::read_to_string(MOST_SAMPLES).ok();
        match most.and_then(|text| text.trim().parse().ok()) {
            Some(most) if most < hz => Err(ProfileError::TooOften { hz, most }),
            _ => Err(refusal.unwrap_or(ProfileError::Open {
                cpu: 0,
                source: io::ErrorKind::Unsupported.into(),
            })),
        }
    }

    /// What a sample stands for.
    pub fn event(&self) -> ProfileEvent {
        self.event
    }

    /// Opens events on CPUs that came online, and closes those of CPUs that went.
    pub fn follow_cpus(&mut self) -> Result<(), ProfileError> {
        let online = fs::read_to_string(ONLINE).ok();
        let online = online.map_or_else(|| vec![0], |text| cpus(&text));
        self.by_cpu.retain(|cpu, _| online.contains(cpu));
        for cpu in online {
            if !self.by_cpu.contains_key(&cpu) {
                let ring = match self.event {
                    ProfileEvent::Cycles => self.ring(cpu, Hardware::CPU_CYCLES),
                    ProfileEvent::CpuClock => self.ring(cpu, Software::CPU_CLOCK),
                };
                let ring = ring.map_err(|source| ProfileError::Open { cpu, source })?;
                self.by_cpu.insert(cpu, Ring(ring));
            }
        }
        Ok(())
    }

    /// Hands every record to `take`, with the `misc` field of its header.
    pub fn empty(&mut self, mut take: impl FnMut(Record<'_>, u16)) {
        for ring in self.by_cpu.values_mut() {
            while let Some(record) = ring.0.next_record() {
                // A record that this build cannot read is no sample of its own asking.
                if let Ok(parsed) = record.parse_record() {
                    take(parsed, record.misc());
                }
            }
        }
    }

    fn ring(&self, cpu: usize, event: impl Event) -> io::Result<Sampler> {
        let mut sample =
            SampleFlag::TID | SampleFlag::TIME | SampleFlag::CPU | SampleFlag::CALLCHAIN;
        if self.cgroups {
            sample |= SampleFlag::CGROUP;
        }
        let mut counter = Builder::new(event)
            .any_pid()
            .one_cpu(cpu)
            .include_kernel()
            .include_hv()
            .sample_frequency(u64::from(self.hz))
            .sample(sample)
            .exclude_callchain_user(true)
            .comm(true)
            .ksymbol(true)
            .build()?;
        counter.enable()?;
        counter.sampled(RING_BYTES)
    }
}

/// Whether sampled cgroup ids are those of cgroup v2: not where v1 has taken the controller.
fn cgroup2_has_perf_events() -> bool {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_v1 = |line: &str| {
        let controllers = line.split(':').nth(1).unwrap_or_default();
        controllers.split(',').any(|name| name == "perf_event")
    };
    !text.lines().any(is_v1)
}

/// Numbers in a list such as `0-3,8`.
fn cpus(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpus("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(cpus("0\n"), [0]);
        assert_eq!(cpus(""), [0usize; 0]);
    }
}
