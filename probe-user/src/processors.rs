//! The `cpu` vantage: processor time by cgroup, command and network softirq.
//!
//! At an interval's end every CPU is settled: what runs there right now is charged, so that a task
//! that is never switched counts as well. Where several nodes share a kernel, tasks that are not
//! below this node's cgroup root stand in one row, `outside`, and one probe writes what concerns the
//! whole kernel, see [`kernel_wide`]. Where cycles come from is in [`cycles`].
//!
//! Time in hardware interrupts, and in softirqs other than the network's, stays with the task that
//! was interrupted. What the hypervisor took counts as the running task's. On kernels whose softirqs
//! are preemptible (PREEMPT_RT) they run as tasks, and are charged as such.

pub mod cycles;
pub mod kernel_wide;
mod online;
pub mod own_cost;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use trace_schema::{cpu::CpuRow, ledger::LedgerRow};
use tracing::{info, warn};

use self::{cycles::Cycles, own_cost::OwnCost};
use crate::{
    aggregate::{
        Interval,
        cpu::{CgroupPlace, Terms, cpu_ledger_row, cpu_rows},
    },
    attach::{
        Hooks,
        cpu::{NoStatistics, Settled},
    },
    cgroups::{
        self,
        index::{Index, cgroup_id},
    },
    config::Config,
    drain::cpu::CpuMaps,
};

/// id of the kernel's root cgroup: kernfs gives its root the first (`kernfs_create_root`).
const KERNEL_ROOT: u64 = 1;
/// How far apart CPUs' books may end before they are settled once more, and how often.
const SETTLE_WITHIN: Duration = Duration::from_millis(1);
const SETTLE_ATTEMPTS: usize = 5;
/// Says 1 where softirqs are preemptible.
const REALTIME: &str = "/sys/kernel/realtime";

/// The running vantage.
pub struct Processors {
    maps: CpuMaps,
    cycles: Cycles,
    root: PathBuf,
    own_cost: Option<OwnCost>,
    misses: u64,
    online: BTreeSet<u32>,
    has_stale_counters: bool,
    charges_softirqs: bool,
}

/// What the vantage gives for an interval.
#[derive(Clone, Debug)]
pub struct Charged {
    /// Rows of `cpu`.
    pub rows: Vec<CpuRow>,
    /// Its row of `ledger`.
    pub ledger: LedgerRow,
}

impl Processors {
    /// Takes what the loaded object and the machine offer; `root` is the node's cgroup root.
    pub fn new(
        config: &Config,
        cycles: Cycles,
        maps: CpuMaps,
        root: PathBuf,
    ) -> anyhow::Result<Self> {
        if config.measure_self {
            OwnCost::check()?;
        }
        Ok(Self {
            maps,
            cycles,
            root,
            own_cost: None,
            misses: 0,
            online: BTreeSet::new(),
            has_stale_counters: false,
            charges_softirqs: true,
        })
    }

    /// Tells the programs which tasks are the node's and, where the probe's own cost is to be measured,
    /// learns what calling a program takes: to be called before anything is attached.
    pub fn prepare(&mut self, hooks: &mut Hooks, measures_self: bool) -> anyhow::Result<()> {
        self.place(hooks)?;
        if measures_self {
            self.own_cost = Some(OwnCost::calibrate(hooks, &self.root)?);
        }
        Ok(())
    }

    /// Attaches, and opens every CPU's books.
    pub fn start(&mut self, hooks: &mut Hooks) -> anyhow::Result<()> {
        self.follow_cpus()?;
        let is_realtime = std::fs::read_to_string(REALTIME).is_ok_and(|text| text.trim() == "1");
        self.charges_softirqs = !is_realtime;
        hooks.attach_processors(self.charges_softirqs)?;
        if let Some(own_cost) = &mut self.own_cost {
            own_cost.open();
        }
        self.settle(hooks)?;
        info!(cycles = %self.cycles, root = %self.root.display(), "charging processor time");
        if is_realtime {
            info!("softirqs are preemptible here: they are charged as the tasks that they run as");
        }
        Ok(())
    }

    /// Begins to measure what the probe's programs cost, where that was asked for: until the CPUs are
    /// settled.
    pub fn measure_self(&mut self, hooks: &Hooks) -> Result<(), NoStatistics> {
        match &mut self.own_cost {
            Some(own_cost) => own_cost.begin(hooks),
            None => Ok(()),
        }
    }

    /// Charges what runs right now: to be called just before the epoch ends. On a busy machine this
    /// process may be held up in between: then once more, so that all CPUs' books end together.
    pub fn settle(&mut self, hooks: &mut Hooks) -> anyhow::Result<()> {
        if let Some(own_cost) = &mut self.own_cost {
            own_cost.end(hooks);
        }
        let mut missed = BTreeMap::new();
        for _ in 0..SETTLE_ATTEMPTS {
            let started = Instant::now();
            let mut off = BTreeSet::new();
            missed.clear();
            for &cpu in &self.online {
                match hooks.settle(cpu)? {
                    Settled::Done => {}
                    Settled::Off => {
                        off.insert(cpu);
                    }
                    Settled::Missed(reason) => {
                        missed.insert(cpu, reason);
                    }
                }
            }
            for cpu in off {
                info!(cpu, "CPU is off");
                self.online.remove(&cpu);
                // Its counter counts no more, not even when it is back.
                self.has_stale_counters = true;
            }
            if started.elapsed() < SETTLE_WITHIN {
                break;
            }
        }
        for (cpu, reason) in missed {
            warn!(
                cpu,
                reason,
                "cannot end the CPU's books: what it did without an account, and its running task, \
                 count in the next interval"
            );
        }
        Ok(())
    }

    /// The rows of the closed epoch, with those that hold for the whole kernel or without.
    pub fn collect(
        &mut self,
        interval: &Interval,
        epoch: u32,
        hooks: &Hooks,
        index: &mut Index,
        kernel_wide: bool,
    ) -> anyhow::Result<Charged> {
        let drained = self.maps.collect(epoch, &self.online)?;
        if drained.totals.unread > 0 {
            warn!(
                readings = drained.totals.unread,
                "the cycle counter could not be read: cycles of this interval are too few"
            );
            // A CPU that was off for a moment left its counter dead.
            self.cycles.close();
            self.has_stale_counters = true;
        }
        let terms = Terms {
            source: self.cycles.source(),
            reference_hz: self.cycles.reference_hz(),
            kernel_wide,
            softirqs: self.charges_softirqs,
        };
        let root = &self.root;
        let place = |id: u64| place_of(index, root, id);
        let programs = self.own_cost.as_mut().map(OwnCost::take);
        let programs = programs.unwrap_or_default();
        let rows = cpu_rows(interval, &terms, &drained, &programs, place);
        let misses = hooks.processor_misses();
        let new_misses = misses.map(|misses| misses.saturating_sub(self.misses));
        self.misses = misses.unwrap_or(self.misses);
        let ledger = cpu_ledger_row(interval, &drained, new_misses);
        if let Err(error) = self.follow_cpus() {
            warn!("cannot follow the CPUs, will try again: {error:#}");
        }
        Ok(Charged { rows, ledger })
    }

    /// Where cycles come from.
    pub fn cycles(&self) -> &Cycles {
        &self.cycles
    }

    /// Opens counters on CPUs that came online, so that they are there before the next interval.
    fn follow_cpus(&mut self) -> anyhow::Result<()> {
        let online = online::cpus()?;
        if online == self.online && !self.has_stale_counters {
            return Ok(());
        }
        self.cycles.follow(&online)?;
        for (cpu, counter) in self.cycles.counters() {
            self.maps.set_counter(cpu, counter)?;
        }
        self.has_stale_counters = false;
        self.online = online;
        Ok(())
    }

    /// Tells the programs the node's root and its depth in the kernel's hierarchy, which a cgroup
    /// namespace hides: then it is found among this process's own ancestors.
    fn place(&mut self, hooks: &mut Hooks) -> anyhow::Result<()> {
        let id = |path: &Path| {
            cgroup_id(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let root = id(&self.root)?;
        let mount = cgroups::mount_of(&self.root)?;
        let depth = |path: &Path| path.components().count() as u32;
        let below = depth(&self.root) - depth(&mount);
        let mount_id = id(&mount)?;
        let level = if mount_id == KERNEL_ROOT {
            Some(below)
        } else {
            self.maps.set_place(root, 0)?;
            let own = hooks.cgroup_level()?;
            self.maps.set_place(mount_id, 0)?;
            own.or(hooks.cgroup_level()?.map(|level| level + below))
        };
        let level = level.with_context(|| {
            format!(
                "cannot tell where {} is in the kernel's cgroup hierarchy, since this process is \
                 not below it: give --cgroup-root, mount the host's /sys/fs/cgroup, or --cpu off",
                self.root.display()
            )
        })?;
        self.maps.set_place(root, level)
    }
}

fn place_of(index: &mut Index, root: &Path, id: u64) -> CgroupPlace {
    let Some(cgroup) = index.get(id, Instant::now()) else {
        return CgroupPlace::default();
    };
    let path = cgroup.path.strip_prefix(root).ok();
    CgroupPlace {
        path: path.map(|path| format!("/{}", path.display())),
        pod_uid: cgroup.identity.pod_uid.clone(),
        container_id: cgroup.identity.container_id.clone(),
    }
}
