//! What the kernel takes to come to a program and back, for each way in which it calls ours.
//!
//! Before a cgroup_skb program runs, the kernel looks for the socket's cgroup and bends the packet's
//! start to the network header; before a tc program, it leaves the path that packets without one take;
//! before a tracepoint's program, it hands the arguments over. Its statistics begin behind all that
//! (`__bpf_prog_run`, include/linux/filter.h), and a test run comes without. So it is measured:
//! datagrams that nobody reads go over the loopback device of a network namespace of their own, with a
//! program that does nothing in their way and without one, in turns. What a turn takes is the lower
//! quartile of its short batches, which interrupts lengthen; what a program adds is the median of its
//! turns' differences to the turns without one right before and after, since a machine's speed moves.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, SchedClassifier, TcAttachType,
};
use nix::{
    sched::{CloneFlags, CpuSet, sched_getcpu, sched_setaffinity, unshare},
    sys::socket::{setsockopt, sockopt::RcvBuf},
    unistd::Pid,
};

use super::{Hooks, cpu::measure_run_times};
use crate::{
    loader::{
        NOTHING_CGROUP, NOTHING_TC, NOTHING_TRACEPOINT, classifier, load_nothing, program,
        unload_nothing,
    },
    syscall::set_up,
};

const LOOPBACK: &str = "lo";
/// How often every case has its turn.
const ROUNDS: usize = 20;
/// Rounds at most, where turns do not count.
const MOST_ROUNDS: usize = 3 * ROUNDS;
/// Measurements in a turn, and datagrams in one: some hundred microseconds, so that many fall between
/// two ticks of the scheduler.
const BATCHES: usize = 12;
const DATAGRAMS: u32 = 100;
/// Sent before a turn is measured: attaching a program rewrites code of the kernel.
const WARM_UP: u32 = 100;
/// As much as the loads that programs are measured under send.
const PAYLOAD: [u8; 64] = [0; 64];

/// How the kernel comes to a program. Of tc and cgroups the way out is measured, and the way in taken for
/// as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A tc program on an interface, by tcx or by clsact.
    Tc,
    /// A program on a cgroup.
    Cgroup,
    /// A tracepoint's.
    Tracepoint,
}

/// Every way.
const WAYS: [Way; 3] = [Way::Tc, Way::Cgroup, Way::Tracepoint];

/// What a run of a program that does nothing takes, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Nothing {
    /// With the way there and back, while statistics are off.
    pub unmeasured: f64,
    /// The same while they are on.
    pub measured: f64,
    /// Its run time, by these statistics.
    pub run_time: f64,
}

impl Nothing {
    /// What runs of a program that is called in this way take with the way there and back while
    /// statistics are off, by the run time that these give it; both in nanoseconds.
    pub fn as_called(&self, run_time: f64, runs: u64) -> f64 {
        (run_time + runs as f64 * (self.unmeasured - self.run_time)).max(0.0)
    }
}

/// The same for each way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calls {
    /// A tc program.
    pub tc: Nothing,
    /// A cgroup's.
    pub cgroup: Nothing,
    /// A tracepoint's.
    pub tracepoint: Nothing,
}

impl Calls {
    /// That of one way.
    pub fn of(&self, way: Way) -> &Nothing {
        match way {
            Way::Tc => &self.tc,
            Way::Cgroup => &self.cgroup,
            Way::Tracepoint => &self.tracepoint,
        }
    }

    fn of_mut(&mut self, way: Way) -> &mut Nothing {
        match way {
            Way::Tc => &mut self.tc,
            Way::Cgroup => &mut self.cgroup,
            Way::Tracepoint => &mut self.tracepoint,
        }
    }
}

/// The turns of one way, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Turns {
    /// What the program added to a datagram.
    added: Vec<f64>,
    /// Its run time by the kernel's statistics, where they were on.
    run_times: Vec<f64>,
    /// How often it ran for a datagram, by the same: a softirq may serve several.
    runs: Vec<f64>,
}

/// One turn.
struct Turn {
    /// What a datagram took, in nanoseconds.
    took: f64,
    /// What a run of the program took, and how many there were for a datagram; only while statistics
    /// are on.
    ran: Option<(f64, f64)>,
}

impl Hooks {
    /// Measures it, which takes two seconds. `cgroup` is one that this process is in, or one above: the
    /// program there sees what goes on below it meanwhile, and lets it pass. To be called before any
    /// other program is attached, which would count the datagrams.
    pub fn measure_calls(&mut self, cgroup: &Path) -> anyhow::Result<Calls> {
        thread::scope(|scope| {
            let measuring = scope.spawn(|| self.measure_calls_here(cgroup));
            measuring
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .context("cannot measure what calling a program takes")
    }

    /// The same, in a thread that ends with it.
    fn measure_calls_here(&mut self, cgroup: &Path) -> anyhow::Result<Calls> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        set_up(LOOPBACK).context("cannot set its loopback device up")?;
        stay_on_this_cpu()?;
        let cgroup = File::open(cgroup)
            .with_context(|| format!("cannot open the cgroup {}", cgroup.display()))?;
        let datagrams = Datagrams::open().context("cannot open sockets")?;
        load_nothing(&mut self.ebpf)?;
        let both = self.both(&cgroup, &datagrams);
        unload_nothing(&mut self.ebpf)?;
        let (unmeasured, measured) = both?;
        for (way, turns) in WAYS.iter().zip(&measured) {
            anyhow::ensure!(
                turns.run_times.len() == ROUNDS,
                "the program that does nothing did not run ({way:?})"
            );
        }
        Ok(calls(unmeasured, measured))
    }

    /// Without statistics, and with them.
    fn both(
        &mut self,
        cgroup: &File,
        datagrams: &Datagrams,
    ) -> anyhow::Result<([Turns; 3], [Turns; 3])> {
        let unmeasured = self.turns(cgroup, datagrams, false)?;
        let _statistics = measure_run_times()?;
        Ok((unmeasured, self.turns(cgroup, datagrams, true)?))
    }

    fn turns(
        &mut self,
        cgroup: &File,
        datagrams: &Datagrams,
        with_statistics: bool,
    ) -> anyhow::Result<[Turns; 3]> {
        let mut turns = [(); 3].map(|()| Turns::default());
        let without = |hooks: &mut Self| hooks.turn(datagrams, Way::Tc).map(|turn| turn.took);
        let mut before = without(self)?;
        for round in 0..MOST_ROUNDS {
            for (turns, way) in turns.iter_mut().zip(WAYS) {
                if turns.added.len() == ROUNDS {
                    continue;
                }
                let link = self.attach_nothing(way, cgroup)?;
                let turn = self.turn(datagrams, way);
                link.detach(self)?;
                let turn = turn?;
                let after = without(self)?;
                let added = turn.took - f64::midpoint(before, after);
                before = after;
                // Another may have statistics on for a while, or for good: then they are no less on
                // when the programs are measured.
                let is_spoilt = !with_statistics && turn.ran.is_some();
                if is_spoilt && round < MOST_ROUNDS - ROUNDS {
                    continue;
                }
                turns.added.push(added);
                if let Some((run_time, runs)) = turn.ran {
                    turns.run_times.push(run_time);
                    turns.runs.push(runs);
                }
            }
        }
        Ok(turns)
    }

    fn turn(&mut self, datagrams: &Datagrams, way: Way) -> anyhow::Result<Turn> {
        datagrams.send(WARM_UP)?;
        let (mut took, mut run_times) = (Vec::new(), Vec::new());
        let mut all_runs = 0;
        let mut before = self.nothing_ran(way)?;
        for _ in 0..BATCHES {
            let started = Instant::now();
            datagrams.send(DATAGRAMS)?;
            took.push(started.elapsed().as_nanos() as f64 / f64::from(DATAGRAMS));
            let now = self.nothing_ran(way)?;
            let runs = now.1.saturating_sub(before.1);
            if runs > 0 {
                let time = now.0.saturating_sub(before.0);
                run_times.push(time.as_nanos() as f64 / runs as f64);
            }
            all_runs += runs;
            before = now;
        }
        let sent = BATCHES as f64 * f64::from(DATAGRAMS);
        Ok(Turn {
            took: at_quarter(1, &mut took),
            ran: (all_runs > 0).then(|| (at_quarter(1, &mut run_times), all_runs as f64 / sent)),
        })
    }

    fn attach_nothing(&mut self, way: Way, cgroup: &File) -> anyhow::Result<NothingLink> {
        Ok(match way {
            Way::Tc => NothingLink::Tc(self.attach_classifier(
                LOOPBACK,
                NOTHING_TC,
                TcAttachType::Egress,
            )?),
            Way::Cgroup => NothingLink::Cgroup(
                program::<CgroupSkb>(&mut self.ebpf, NOTHING_CGROUP)?
                    .attach(
                        cgroup,
                        CgroupSkbAttachType::Egress,
                        CgroupAttachMode::Single,
                    )
                    .context("cannot attach a program to the cgroup")?,
            ),
            Way::Tracepoint => NothingLink::Tracepoint(
                program::<BtfTracePoint>(&mut self.ebpf, NOTHING_TRACEPOINT)?
                    .attach()
                    .context("cannot attach to the tracepoint softirq_entry")?,
            ),
        })
    }

    /// For how long the program has run, and how often, by statistics where they are on.
    fn nothing_ran(&mut self, way: Way) -> anyhow::Result<(Duration, u64)> {
        let info = match way {
            Way::Tc => classifier(&mut self.ebpf, NOTHING_TC)?.info(),
            Way::Cgroup => program::<CgroupSkb>(&mut self.ebpf, NOTHING_CGROUP)?.info(),
            Way::Tracepoint => program::<BtfTracePoint>(&mut self.ebpf, NOTHING_TRACEPOINT)?.info(),
        }?;
        Ok((info.run_time(), info.run_count()))
    }
}

/// A program that does nothing, attached.
enum NothingLink {
    Tc(aya::programs::tc::SchedClassifierLinkId),
    Cgroup(aya::programs::cgroup_skb::CgroupSkbLinkId),
    Tracepoint(aya::programs::tp_btf::BtfTracePointLinkId),
}

impl NothingLink {
    fn detach(self, hooks: &mut Hooks) -> anyhow::Result<()> {
        let ebpf = &mut hooks.ebpf;
        match self {
            Self::Tc(link) => program::<SchedClassifier>(ebpf, NOTHING_TC)?.detach(link),
            Self::Cgroup(link) => program::<CgroupSkb>(ebpf, NOTHING_CGROUP)?.detach(link),
            Self::Tracepoint(link) => {
                program::<BtfTracePoint>(ebpf, NOTHING_TRACEPOINT)?.detach(link)
            }
        }
        .context("cannot detach the program that does nothing")
    }
}

/// Datagrams from one socket to another that nobody reads: when its buffer is full they are dropped,
/// and each takes the same work.
struct Datagrams {
    from: UdpSocket,
    _to: UdpSocket,
}

impl Datagrams {
    fn open() -> io::Result<Self> {
        let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        // The kernel takes its least, whatever a node's default is.
        setsockopt(&to, RcvBuf, &1)?;
        let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        from.connect(to.local_addr()?)?;
        let datagrams = Self { from, _to: to };
        for _ in 0..BATCHES {
            datagrams.send(DATAGRAMS)?;
        }
        Ok(datagrams)
    }

    fn send(&self, datagrams: u32) -> io::Result<()> {
        for _ in 0..datagrams {
            self.from.send(&PAYLOAD)?;
        }
        Ok(())
    }
}

/// A thread that moves between CPUs would pay for it in one case and not in the other.
fn stay_on_this_cpu() -> anyhow::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("cannot stay on a CPU")
}

fn calls(unmeasured: [Turns; 3], measured: [Turns; 3]) -> Calls {
    let mut calls = Calls::default();
    for ((way, mut unmeasured), mut measured) in WAYS.into_iter().zip(unmeasured).zip(measured) {
        // More than one for a datagram are other processes' packets, or softirqs of other CPUs.
        let runs = at_quarter(2, &mut measured.runs).min(1.0);
        *calls.of_mut(way) = Nothing {
            unmeasured: at_quarter(2, &mut unmeasured.added).max(0.0) / runs,
            measured: at_quarter(2, &mut measured.added).max(0.0) / runs,
            run_time: at_quarter(2, &mut measured.run_times),
        };
    }
    calls
}

/// The value that so many quarters of them do not exceed, which are not none.
fn at_quarter(quarters: usize, values: &mut [f64]) -> f64 {
    let at = values.len() * quarters / 4;
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(added: [f64; 3], run_times: [f64; 3], runs: f64) -> Turns {
        Turns {
            added: added.to_vec(),
            run_times: run_times.to_vec(),
            runs: vec![runs; 3],
        }
    }

    #[test]
    fn a_way_costs_what_a_datagram_takes_longer_in_most_turns() {
        let off = [0.0; 3];
        let unmeasured = [
            turns([45.0, 900.0, 44.0], off, 0.0),
            turns([-300.0, 112.0, 110.0], off, 0.0),
            turns([-8.0, -2.0, 70.0], off, 0.0),
        ];
        let measured = [
            turns([95.0, 94.0, 99.0], [30.0, 29.0, 31.0], 1.0),
            turns([180.0, 7.0, 181.0], [32.0, 99.0, 32.0], 1.4),
            turns([-2.0, 70.0, 71.0], [40.0, 41.0, 42.0], 0.5),
        ];
        let nothing = |unmeasured, measured, run_time| Nothing {
            unmeasured,
            measured,
            run_time,
        };
        assert_eq!(
            calls(unmeasured, measured),
            Calls {
                tc: nothing(45.0, 95.0, 30.0),
                cgroup: nothing(110.0, 180.0, 32.0),
                // A program cannot make a datagram faster, and this one runs for every other.
                tracepoint: nothing(0.0, 140.0, 41.0),
            }
        );
    }
}
