//! From records to places: names for addresses, commands for threads.

use std::time::Instant;

use perf_event::data::{KSymbolFlags, Record, Sample};
use trace_schema::profile::ProfileMode;

use super::commands::{self, Commands};
use super::symbols::{Symbols, Visibility};
use super::{Folded, Place};

/// `misc & CPUMODE_MASK` of a record's header (include/uapi/linux/perf_event.h).
const CPUMODE_MASK: u16 = 7;
const CPUMODE_KERNEL: u16 = 1;
const CPUMODE_HYPERVISOR: u16 = 3;
/// Addresses from here on mark whose the following are (`PERF_CONTEXT_MAX`).
const FIRST_MARK: u64 = -4095i64 as u64;
const HIDDEN: &str = "[hidden]";
const UNKNOWN_FUNCTION: &str = "[unknown]";
/// Functions of the idle task.
const IDLE: [&str; 3] = ["do_idle", "cpu_startup_entry", "cpuidle_enter"];
/// Functions that run softirqs, whoever was interrupted.
const SOFTIRQ: [&str; 3] = [
    "handle_softirqs",
    "__do_softirq",
    "__softirqentry_text_start",
];

/// What records have told so far.
#[derive(Debug)]
pub(super) struct Samples {
    symbols: Symbols,
    commands: Commands,
    folded: Folded,
    lost: u64,
    /// Programs that went, to be forgotten once the samples before are named.
    gone: Vec<u64>,
    /// Samples of this turn; names follow once all registrations are read.
    pending: Vec<Raw>,
    may_reread: bool,
    /// Whether records were lost, which may have told of functions.
    is_doubtful: bool,
    sees_all_threads: bool,
}

/// A sample as it came.
#[derive(Debug)]
struct Raw {
    is_kernel: bool,
    pid: u32,
    tid: u32,
    cgroup_id: Option<u64>,
    /// Innermost first.
    addresses: Vec<u64>,
}

impl Samples {
    /// Reads the kernel's symbols and the commands of all threads. The events ought to be open
    /// already: what comes and goes from then on is in the rings.
    pub fn new() -> Self {
        Self {
            symbols: Symbols::read(),
            commands: Commands::read(Instant::now()),
            folded: Folded::new(),
            lost: 0,
            gone: Vec::new(),
            pending: Vec::new(),
            may_reread: true,
            is_doubtful: false,
            sees_all_threads: commands::sees_all_threads(),
        }
    }

    pub fn visibility(&self) -> Visibility {
        self.symbols.visibility()
    }

    pub fn take_in(&mut self, record: Record<'_>, misc: u16) {
        match record {
            Record::Sample(sample) => self.pending.push(raw(&sample, misc)),
            Record::Comm(comm) => self.commands.learn(comm.tid, &comm.comm, Instant::now()),
            Record::KSymbol(symbol) if symbol.flags.contains(KSymbolFlags::UNREGISTER) => {
                self.gone.push(symbol.addr);
            }
            Record::KSymbol(symbol) => {
                self.symbols
                    .add(symbol.addr, u64::from(symbol.len), &symbol.name);
            }
            Record::Lost(lost) => {
                self.lost += lost.lost;
                self.is_doubtful = true;
            }
            Record::LostSamples(lost) => self.lost += lost.lost,
            _ => {}
        }
    }

    /// Names what was taken in, then forgets programs that went.
    pub fn settle(&mut self) {
        if self.is_doubtful && self.may_reread {
            (self.is_doubtful, self.may_reread) = (false, false);
            self.symbols.reread();
        }
        for sample in std::mem::take(&mut self.pending) {
            let place = self.place(&sample);
            *self.folded.entry(place).or_default() += 1;
        }
        for address in self.gone.drain(..) {
            self.symbols.remove(address);
        }
    }

    /// What the interval gave: places, and how many records were lost.
    pub fn take(&mut self) -> (Folded, u64) {
        self.may_reread = true;
        self.commands.forget_old(Instant::now());
        (
            std::mem::take(&mut self.folded),
            std::mem::take(&mut self.lost),
        )
    }

    fn place(&mut self, sample: &Raw) -> Place {
        let cgroup_id = sample.cgroup_id;
        if !sample.is_kernel {
            return Place {
                mode: ProfileMode::User,
                cgroup_id,
                command: self.commands.of(sample.tid, sample.pid, Instant::now()),
                stack: String::new(),
            };
        }
        // Threads outside of our process namespace have no number either.
        let may_be_idle = sample.tid == 0;
        if self.symbols.visibility() != Visibility::Shown {
            let is_idle = may_be_idle && self.sees_all_threads;
            return Place {
                mode: if is_idle {
                    ProfileMode::Idle
                } else {
                    ProfileMode::Kernel
                },
                cgroup_id,
                command: self.command(sample, is_idle),
                stack: HIDDEN.to_owned(),
            };
        }
        self.reread_for(&sample.addresses);
        let frames: Vec<&str> = name(&sample.addresses, &self.symbols);
        let is_idle_task = may_be_idle && frames.iter().any(|frame| IDLE.contains(frame));
        let in_softirq = frames.iter().any(|frame| SOFTIRQ.contains(frame));
        let stack = frames.join(";");
        Place {
            mode: if is_idle_task && !in_softirq {
                ProfileMode::Idle
            } else {
                ProfileMode::Kernel
            },
            cgroup_id,
            command: self.command(sample, is_idle_task),
            stack,
        }
    }

    fn command(&mut self, sample: &Raw, is_idle_task: bool) -> String {
        if is_idle_task || (sample.tid == 0 && self.sees_all_threads) {
            return commands::IDLE.to_owned();
        }
        self.commands.of(sample.tid, sample.pid, Instant::now())
    }

    /// Modules come without a record: an address that is unknown is worth one more look an interval.
    fn reread_for(&mut self, addresses: &[u64]) {
        let is_unknown = |(depth, &address): (usize, &u64)| {
            self.symbols.name(called_from(depth, address)).is_none()
        };
        if self.may_reread && addresses.iter().enumerate().any(is_unknown) {
            self.may_reread = false;
            self.symbols.reread();
        }
    }
}

fn raw(sample: &Sample<'_>, misc: u16) -> Raw {
    let mode = misc & CPUMODE_MASK;
    let is_address = |address: &&u64| **address < FIRST_MARK;
    let chain = sample.callchain().unwrap_or_default();
    Raw {
        // A guest's kernel is none of ours.
        is_kernel: mode == CPUMODE_KERNEL || mode == CPUMODE_HYPERVISOR,
        pid: sample.pid().unwrap_or_default(),
        tid: sample.tid().unwrap_or_default(),
        cgroup_id: sample.cgroup().filter(|&id| id != 0),
        addresses: chain.iter().filter(is_address).copied().collect(),
    }
}

/// Names, outermost first.
fn name<'a>(addresses: &[u64], symbols: &'a Symbols) -> Vec<&'a str> {
    let named = addresses.iter().enumerate().map(|(depth, &address)| {
        symbols
            .name(called_from(depth, address))
            .unwrap_or(UNKNOWN_FUNCTION)
    });
    let mut frames: Vec<&str> = named.collect();
    frames.reverse();
    frames
}

/// All but the innermost are addresses to return to, which may be the next function's first.
fn called_from(depth: usize, address: u64) -> u64 {
    if depth == 0 {
        address
    } else {
        address.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 6] = [
        "ffffffff81000000 T cpu_startup_entry",
        "ffffffff81001000 t do_idle",
        "ffffffff81002000 T handle_softirqs",
        "ffffffff81003000 T net_rx_action",
        "ffffffff81004000 T tcp_sendmsg",
        "ffffffff81005000 T behind",
    ];
    const ENTRY: u64 = 0xffffffff81000010;
    const DO_IDLE: u64 = 0xffffffff81001010;
    const SOFTIRQS: u64 = 0xffffffff81002010;
    const NET_RX: u64 = 0xffffffff81003010;
    const SEND: u64 = 0xffffffff81004010;

    fn samples(symbols: Symbols) -> Samples {
        Samples {
            symbols,
            commands: Commands::default(),
            folded: Folded::new(),
            lost: 0,
            gone: Vec::new(),
            pending: Vec::new(),
            may_reread: false,
            is_doubtful: false,
            sees_all_threads: true,
        }
    }

    fn kernel(tid: u32, addresses: &[u64]) -> Raw {
        Raw {
            is_kernel: true,
            pid: tid,
            tid,
            cgroup_id: Some(7),
            addresses: addresses.to_vec(),
        }
    }

    fn check(sample: &Raw, mode: ProfileMode, command: &str, stack: &str) {
        let symbols = Symbols::of_lines(LIST.iter().map(|line| (*line).to_owned()));
        let place = samples(symbols).place(sample);
        assert_eq!((place.mode, place.command.as_str()), (mode, command));
        assert_eq!(place.stack, stack);
        assert_eq!(place.cgroup_id, Some(7));
    }

    #[test]
    fn idle_is_the_idle_task_outside_softirqs() {
        use ProfileMode::{Idle, Kernel};
        check(
            &kernel(0, &[DO_IDLE, ENTRY]),
            Idle,
            "swapper",
            "cpu_startup_entry;do_idle",
        );
        check(
            &kernel(0, &[NET_RX, SOFTIRQS, DO_IDLE, ENTRY]),
            Kernel,
            "swapper",
            "cpu_startup_entry;do_idle;handle_softirqs;net_rx_action",
        );
        // Beyond what pid_max can be.
        check(
            &kernel(1 << 30, &[SEND]),
            Kernel,
            commands::UNKNOWN,
            "tcp_sendmsg",
        );
    }

    #[test]
    fn callers_are_found_by_the_call_and_not_by_what_follows_it() {
        // A call that ends its function returns to the first byte of the next one.
        let call_at_the_end = SEND - 0x10;
        check(
            &kernel(1 << 30, &[NET_RX, call_at_the_end]),
            ProfileMode::Kernel,
            commands::UNKNOWN,
            "net_rx_action;net_rx_action",
        );
        check(
            &kernel(1 << 30, &[0x10, SEND]),
            ProfileMode::Kernel,
            commands::UNKNOWN,
            "tcp_sendmsg;[unknown]",
        );
    }

    #[test]
    fn user_space_has_no_stack() {
        let sample = Raw {
            is_kernel: false,
            ..kernel(1 << 30, &[])
        };
        check(&sample, ProfileMode::User, commands::UNKNOWN, "");
    }

    #[test]
    fn hidden_symbols_leave_the_modes() {
        let mut hidden = Symbols::default();
        hidden.hide(Visibility::NeedsSyslog);
        let mut samples = samples(hidden);
        let mode_and_stack = |samples: &mut Samples, raw: &Raw| {
            let place = samples.place(raw);
            (place.mode, place.stack)
        };
        let hidden = |mode| (mode, HIDDEN.to_owned());
        let idle = kernel(0, &[DO_IDLE]);
        assert_eq!(
            mode_and_stack(&mut samples, &idle),
            hidden(ProfileMode::Idle)
        );
        let busy = kernel(1 << 30, &[SEND]);
        assert_eq!(
            mode_and_stack(&mut samples, &busy),
            hidden(ProfileMode::Kernel)
        );
        // Without a view of all threads, number 0 may be anybody's.
        samples.sees_all_threads = false;
        assert_eq!(
            mode_and_stack(&mut samples, &idle),
            hidden(ProfileMode::Kernel)
        );
    }
}
