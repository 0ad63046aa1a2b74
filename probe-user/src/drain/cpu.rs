//! Draining what was charged: each CPU's accounts at hand, those in the map, and the totals.
//!
//! Accounts of an epoch that is over have no writer and are read once. Totals only grow: what each
//! CPU kept of them when it was settled is taken as a difference from the time before.

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::{AsFd, BorrowedFd},
};

use anyhow::Context;
use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
    util::nr_cpus,
};
use probe_abi::cpu::{
    CPU_FRONT_SIDES, CPU_FRONT_SLOTS, CpuCharge, CpuKey, CpuPlace, CpuSlot, CpuState, CpuTotals,
};

use super::{closed_entries, made::Keys};
use crate::{
    loader::take_map,
    syscall::{lookup_all, set_descriptor},
};

/// The maps that processor time is charged in.
pub struct CpuMaps {
    state: MapData,
    front: MapData,
    accounts: MapData,
    place: Array<MapData, CpuPlace>,
    counters: MapData,
    books: Books,
    capacity: u32,
}

/// What each CPU's totals were when it was last settled.
#[derive(Clone, Debug, Default)]
struct Books {
    cpus: Vec<Known>,
    /// When the last interval ended.
    boundary_ns: u64,
}

/// What was read of a CPU the last time.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    totals: CpuTotals,
    settled_ns: u64,
    /// The end of the last interval before which it was not yet found off.
    off_since_ns: Option<u64>,
}

/// What an interval was charged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuDrained {
    /// By cgroup id and command.
    pub accounts: HashMap<(u64, String), CpuCharge>,
    /// What has no account, of all CPUs.
    pub totals: CpuTotals,
    /// Entries of the map of accounts.
    pub entries: usize,
    /// Its capacity.
    pub capacity: u32,
}

impl CpuMaps {
    /// Takes the maps out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let cpus = nr_cpus()
            .map_err(|(_, error)| error)
            .context("possible CPUs")?;
        let accounts = take_map(ebpf, "CPU_ACCOUNTS")?;
        let capacity = accounts
            .info()
            .context("the map of accounts")?
            .max_entries();
        Ok(Self {
            state: take_map(ebpf, "CPU")?,
            front: take_map(ebpf, "CPU_FRONT")?,
            accounts,
            place: Array::try_from(Map::Array(take_map(ebpf, "CPU_PLACE")?))?,
            counters: take_map(ebpf, "CYCLES")?,
            books: Books {
                cpus: vec![Known::default(); cpus],
                boundary_ns: 0,
            },
            capacity,
        })
    }

    /// Says which cgroup the node's tasks are below, and at which depth it is.
    pub fn set_place(&mut self, root: u64, level: u32) -> anyhow::Result<()> {
        let place = CpuPlace {
            root,
            level,
            reserved: 0,
        };
        self.place
            .set(0, place, 0)
            .context("cannot write the cgroup root")
    }

    /// Hands a CPU's cycle counter to the programs.
    pub fn set_counter(&self, cpu: u32, counter: BorrowedFd<'_>) -> anyhow::Result<()> {
        set_descriptor(self.counters.fd().as_fd(), cpu, counter)
            .with_context(|| format!("cannot hand over the cycle counter of CPU {cpu}"))
    }

    /// Reads a closed epoch, before whose end the CPUs that are `online` were settled. What has no
    /// account on one that could not be settled counts in the interval in which it next is.
    pub fn collect(&mut self, epoch: u32, online: &BTreeSet<u32>) -> anyhow::Result<CpuDrained> {
        let cpus = self.books.cpus.len();
        let mut drained = CpuDrained {
            capacity: self.capacity,
            ..CpuDrained::default()
        };
        let entries = closed_entries::<CpuKey, CpuCharge>(&self.accounts, &Keys::Many, |key| {
            key.epoch == epoch
        })
        .context("cannot drain the accounts of processor time")?;
        drained.entries = entries.len();
        for (key, charge) in entries {
            drained.charge(&key, charge);
        }
        let first = (epoch % CPU_FRONT_SIDES) * CPU_FRONT_SLOTS;
        let (_, slots) = lookup_all::<u32, CpuSlot>(
            self.front.fd().as_fd(),
            cpus,
            first.checked_sub(1),
            CPU_FRONT_SLOTS as usize,
        )
        .context("cannot read the accounts that CPUs have at hand")?;
        let of_epoch = |slot: &&CpuSlot| slot.key.epoch == epoch && slot.key.cgroup != 0;
        for slot in slots.iter().filter(of_epoch) {
            drained.charge(&slot.key, slot.charge);
        }
        let (_, states) = lookup_all::<u32, CpuState>(self.state.fd().as_fd(), cpus, None, 1)
            .context("cannot read the CPUs' totals")?;
        drained.totals = self.books.advance(&states, online);
        Ok(drained)
    }
}

impl Books {
    /// What the totals grew by.
    fn advance(&mut self, states: &[CpuState], online: &BTreeSet<u32>) -> CpuTotals {
        let mut totals = CpuTotals::default();
        let mut boundary_ns = self.boundary_ns;
        for ((cpu, known), state) in (0..).zip(&mut self.cpus).zip(states) {
            if state.settled_ns == known.settled_ns {
                if !online.contains(&cpu) {
                    known.off_since_ns.get_or_insert(self.boundary_ns);
                }
                continue;
            }
            let mut news = since(&state.settled, &known.totals);
            // A CPU that comes back finds the time that it was off as idle time of its own.
            if let Some(since_ns) = known.off_since_ns
                && known.settled_ns != 0
            {
                let away_ns = self.boundary_ns.saturating_sub(since_ns);
                news.idle.ns = news.idle.ns.saturating_sub(away_ns);
            }
            totals = sum(&totals, &news);
            boundary_ns = boundary_ns.max(state.settled_ns);
            *known = Known {
                totals: state.settled,
                settled_ns: state.settled_ns,
                off_since_ns: None,
            };
        }
        self.boundary_ns = boundary_ns;
        totals
    }
}

impl CpuDrained {
    fn charge(&mut self, key: &CpuKey, charge: CpuCharge) {
        let account = self
            .accounts
            .entry((key.cgroup, command(key.command)))
            .or_default();
        *account = add(account, &charge);
    }
}

/// A command up to its first zero byte.
fn command(words: [u64; 2]) -> String {
    let bytes: Vec<u8> = words
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn since(now: &CpuTotals, then: &CpuTotals) -> CpuTotals {
    let less = |now: &CpuCharge, then: &CpuCharge| CpuCharge {
        ns: now.ns.wrapping_sub(then.ns),
        cycles: now.cycles.wrapping_sub(then.cycles),
        events: now.events.wrapping_sub(then.events),
    };
    CpuTotals {
        net_rx: less(&now.net_rx, &then.net_rx),
        net_tx: less(&now.net_tx, &then.net_tx),
        idle: less(&now.idle, &then.idle),
        outside: less(&now.outside, &then.outside),
        overflow: less(&now.overflow, &then.overflow),
        unread: now.unread.wrapping_sub(then.unread),
    }
}

fn sum(one: &CpuTotals, other: &CpuTotals) -> CpuTotals {
    CpuTotals {
        net_rx: add(&one.net_rx, &other.net_rx),
        net_tx: add(&one.net_tx, &other.net_tx),
        idle: add(&one.idle, &other.idle),
        outside: add(&one.outside, &other.outside),
        overflow: add(&one.overflow, &other.overflow),
        unread: one.unread + other.unread,
    }
}

/// Wrapping, since a part may be a few nanoseconds below zero until its next part is added.
fn add(one: &CpuCharge, other: &CpuCharge) -> CpuCharge {
    CpuCharge {
        ns: one.ns.wrapping_add(other.ns),
        cycles: one.cycles.wrapping_add(other.cycles),
        events: one.events.wrapping_add(other.events),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A CPU that did nothing, settled at this second.
    fn idle_until(second: u64) -> CpuState {
        let mut settled = CpuTotals::default();
        settled.idle.ns = second * SECOND;
        CpuState {
            settled,
            settled_ns: second * SECOND,
            ..CpuState::default()
        }
    }

    fn idle_seconds(books: &mut Books, settled: [u64; 2], online: &[u32]) -> f64 {
        let online = online.iter().copied().collect();
        let totals = books.advance(&settled.map(idle_until), &online);
        totals.idle.ns as f64 / SECOND as f64
    }

    fn two_cpus() -> Books {
        let mut books = Books {
            cpus: vec![Known::default(); 2],
            boundary_ns: 0,
        };
        assert_eq!(idle_seconds(&mut books, [1, 1], &[0, 1]), 2.0);
        books
    }

    #[test]
    fn the_time_of_a_cpu_that_was_not_settled_counts_in_the_next_interval() {
        let mut books = two_cpus();
        assert_eq!(idle_seconds(&mut books, [2, 1], &[0, 1]), 1.0);
        assert_eq!(idle_seconds(&mut books, [3, 1], &[0, 1]), 1.0);
        assert_eq!(idle_seconds(&mut books, [4, 4], &[0, 1]), 4.0);
    }

    #[test]
    fn the_time_that_a_cpu_was_off_is_no_idle_time() {
        let mut books = two_cpus();
        assert_eq!(idle_seconds(&mut books, [2, 1], &[0]), 1.0);
        assert_eq!(idle_seconds(&mut books, [3, 1], &[0]), 1.0);
        // It is online, and was not yet settled.
        assert_eq!(idle_seconds(&mut books, [4, 1], &[0, 1]), 1.0);
        assert_eq!(idle_seconds(&mut books, [5, 5], &[0, 1]), 2.0);
        assert_eq!(idle_seconds(&mut books, [6, 6], &[0, 1]), 2.0);
        // Not settled in one interval and off in the next.
        assert_eq!(idle_seconds(&mut books, [7, 6], &[0, 1]), 1.0);
        assert_eq!(idle_seconds(&mut books, [8, 6], &[0]), 1.0);
        assert_eq!(idle_seconds(&mut books, [9, 9], &[0, 1]), 3.0);
    }

    #[test]
    fn what_stands_behind_a_commands_end_means_nothing() {
        let words = |bytes: &[u8; 16]| {
            let half = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
            [half(0), half(8)]
        };
        assert_eq!(command(words(b"iperf3\0junk\0\0\0\0\0")), "iperf3");
        assert_eq!(command(words(b"weighbridge-pro\0")), "weighbridge-pro");
        assert_eq!(command(words(b"0123456789abcdef")), "0123456789abcdef");
        assert_eq!(command([0, 7]), "");
    }
}
