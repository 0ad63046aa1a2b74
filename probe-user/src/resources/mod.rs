//! Memory, CPU time and pressure of the node, of its containers and of its services: rows of
//! `resources`.
//!
//! Everything is read from files that the kernel keeps, at the start and at each interval's end. A
//! cgroup that the look before did not find began at zero. It refuses to fill gaps: what a kernel or
//! hierarchy does not offer, and what a counter that went backwards would say, is absent. What a
//! container did between the last look and its end is in no row.

mod files;
pub mod parse;
mod services;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use trace_schema::resources::{ResourceRow, ResourceScope};
use tracing::warn;

use self::files::{Files, Place, Scratch};
use self::parse::{MachineMemory, Processors};
use self::services::services;
use crate::cgroups::identity::Identity;
use crate::cgroups::{self, index::Index};

/// What every row of an interval says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Start of the interval, UTC microseconds.
    pub start_us: i64,
    /// End of the interval, UTC microseconds.
    pub end_us: i64,
    /// Name of the node.
    pub node: String,
    /// The kernel's boot id.
    pub boot_id: String,
}

/// The readings of the last look, and the files that are kept open for the next.
#[derive(Debug)]
pub struct Resources {
    node_root: PathBuf,
    pods: PathBuf,
    v1_memory: Option<V1Memory>,
    proc: PathBuf,
    tick_ns: u64,
    machine: Machine,
    groups: HashMap<u64, Group>,
    left_out: usize,
    /// How many cgroups' files may be kept open.
    most_kept: usize,
    scratch: Scratch,
}

/// Where a cgroup's memory is accounted for where that is not cgroup v2.
#[derive(Clone, Debug)]
struct V1Memory {
    hierarchy: PathBuf,
    v2_mount: PathBuf,
}

#[derive(Debug)]
struct Group {
    scope: ResourceScope,
    path_below: String,
    identity: Identity,
    place: Place,
    /// Kept open where there are descriptors enough.
    kept: Option<Files>,
    last: Counters,
    is_there: bool,
}

/// What a cgroup's counters said; all of them only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    cpu_us: Option<u64>,
    cpu_user_us: Option<u64>,
    throttled_us: Option<u64>,
    pressure: Pressure,
}

/// Time that tasks waited, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pressure {
    cpu_some_us: Option<u64>,
    memory_some_us: Option<u64>,
    memory_full_us: Option<u64>,
    io_some_us: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Machine {
    processors: Option<Processors>,
    pressure: Pressure,
}

impl Resources {
    /// Takes the start reading of what is there now; `index` holds what is below `pods`, just scanned.
    pub fn start(node_root: &Path, pods: &Path, index: &Index) -> Self {
        let v1_memory = cgroups::v1_mount("memory").zip(cgroups::mount_of(pods).ok());
        let v1_memory = v1_memory.map(|(hierarchy, v2_mount)| V1Memory {
            hierarchy,
            v2_mount,
        });
        let mut resources = Self::of(node_root, pods, Path::new("/proc"), v1_memory);
        resources.look(index);
        for group in resources.groups.values_mut() {
            let counters = match &group.kept {
                Some(files) => files.counters(&mut resources.scratch),
                None => group.place.open().counters(&mut resources.scratch),
            };
            group.last = counters.unwrap_or(group.last);
        }
        resources.machine = resources.read_machine();
        resources
    }

    fn of(node_root: &Path, pods: &Path, proc: &Path, v1_memory: Option<V1Memory>) -> Self {
        Self {
            node_root: node_root.to_owned(),
            pods: pods.to_owned(),
            v1_memory,
            proc: proc.to_owned(),
            tick_ns: parse::user_tick_ns(),
            machine: Machine::default(),
            groups: HashMap::new(),
            left_out: 0,
            most_kept: files::most_kept(),
            scratch: Scratch::default(),
        }
    }

    /// The rows of the interval that ends now; `index` has just been scanned.
    pub fn rows(&mut self, stamp: &Stamp, index: &Index) -> Vec<ResourceRow> {
        self.look(index);
        let mut rows = vec![self.machine_row(stamp)];
        let scratch = &mut self.scratch;
        self.groups.retain(|&id, group| {
            let row = group.row(id, stamp, scratch);
            let is_there = row.is_some();
            rows.extend(row);
            is_there
        });
        rows[1..].sort_by(|one, other| one.cgroup_path.cmp(&other.cgroup_path));
        rows
    }

    /// Opens what is new and forgets what is gone.
    fn look(&mut self, index: &Index) {
        for group in self.groups.values_mut() {
            group.is_there = false;
        }
        for (id, cgroup) in index.containers() {
            self.meet(id, ResourceScope::Container, &cgroup.path, &cgroup.identity);
        }
        let found = services(&self.node_root, &self.pods);
        for (id, path) in &found.chosen {
            self.meet(*id, ResourceScope::Cgroup, path, &Identity::default());
        }
        if found.left_out.len() != self.left_out {
            self.left_out = found.left_out.len();
            if let Some(first) = found.left_out.first() {
                warn!(
                    "{} cgroups of services have no rows in resources, the first of them {}: only so \
                     many are looked at",
                    found.left_out.len(),
                    first.display()
                );
            }
        }
        self.groups.retain(|_, group| group.is_there);
    }

    fn meet(&mut self, id: u64, scope: ResourceScope, path: &Path, identity: &Identity) {
        if let Some(known) = self.groups.get_mut(&id) {
            known.is_there = true;
            return;
        }
        let place = Place {
            path: path.to_owned(),
            v1: self.v1_path(path),
        };
        let kept = self.groups.values().filter(|group| group.kept.is_some());
        let may_keep = kept.count() < self.most_kept;
        let below = path.strip_prefix(&self.node_root).unwrap_or(path);
        let group = Group {
            scope,
            path_below: format!("/{}", below.display()).replace("//", "/"),
            identity: identity.clone(),
            last: Counters::at_birth(),
            kept: may_keep.then(|| place.open()),
            place,
            is_there: true,
        };
        self.groups.insert(id, group);
    }

    /// The same path in cgroup v1's memory hierarchy.
    fn v1_path(&self, path: &Path) -> Option<PathBuf> {
        let v1 = self.v1_memory.as_ref()?;
        Some(v1.hierarchy.join(path.strip_prefix(&v1.v2_mount).ok()?))
    }

    fn machine_row(&mut self, stamp: &Stamp) -> ResourceRow {
        let now = self.read_machine();
        let before = std::mem::replace(&mut self.machine, now.clone());
        let memory = self.read("meminfo").map(|text| MachineMemory::parse(&text));
        let memory = memory.unwrap_or_default();
        let ticks = |of: fn(&Processors) -> u64| {
            let now = now.processors.as_ref().map(of);
            let ticks = change(now, before.processors.as_ref().map(of))?;
            Some(ticks.saturating_mul(self.tick_ns.cast_signed()))
        };
        let pressure = now.pressure.since(&before.pressure);
        ResourceRow {
            cpus: now.processors.as_ref().map(|processors| processors.online),
            cpu_ns: ticks(Processors::used),
            cpu_user_ns: ticks(|processors| processors.user),
            cpu_system_ns: ticks(|processors| processors.system),
            cpu_softirq_ns: ticks(|processors| processors.softirq),
            cpu_steal_ns: ticks(|processors| processors.steal),
            memory_bytes: memory.used_bytes(),
            memory_limit_bytes: memory.total_bytes.map(signed),
            ..pressure.on(empty_row(stamp, ResourceScope::Node))
        }
    }

    fn read_machine(&self) -> Machine {
        let pressure = |name: &str| {
            let text = self.read(&format!("pressure/{name}"))?;
            Some(parse::pressure(&text))
        };
        let memory = pressure("memory");
        Machine {
            processors: self.read("stat").and_then(|text| Processors::parse(&text)),
            pressure: Pressure {
                cpu_some_us: pressure("cpu").and_then(|stall| stall.some_us),
                memory_some_us: memory.and_then(|stall| stall.some_us),
                memory_full_us: memory.and_then(|stall| stall.full_us),
                io_some_us: pressure("io").and_then(|stall| stall.some_us),
            },
        }
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.proc.join(name)).ok()
    }
}

impl Group {
    /// The row of the interval that ends now; none once the cgroup is gone.
    fn row(&mut self, id: u64, stamp: &Stamp, scratch: &mut Scratch) -> Option<ResourceRow> {
        let opened = self.kept.is_none().then(|| self.place.open());
        let files = self.kept.as_ref().or(opened.as_ref())?;
        let now = files.counters(scratch)?;
        let before = std::mem::replace(&mut self.last, now);
        let memory = files.memory(scratch);
        let ns = |now, before| change(now, before).map(|us| us.saturating_mul(1000));
        let pressure = now.pressure.since(&before.pressure);
        Some(ResourceRow {
            cgroup_id: Some(signed(id)),
            cgroup_path: Some(self.path_below.clone()),
            pod_uid: self.identity.pod_uid.clone(),
            container_id: self.identity.container_id.clone(),
            cpu_ns: ns(now.cpu_us, before.cpu_us),
            cpu_user_ns: ns(now.cpu_user_us, before.cpu_user_us),
            cpu_throttled_ns: ns(now.throttled_us, before.throttled_us),
            memory_bytes: memory.used_bytes.map(signed),
            memory_working_set_bytes: memory.working_set_bytes().map(signed),
            memory_limit_bytes: memory.limit_bytes.map(signed),
            ..pressure.on(empty_row(stamp, self.scope))
        })
    }
}

impl Counters {
    /// A cgroup's counters when it is made.
    fn at_birth() -> Self {
        Self {
            cpu_us: Some(0),
            cpu_user_us: Some(0),
            throttled_us: Some(0),
            pressure: Pressure {
                cpu_some_us: Some(0),
                memory_some_us: Some(0),
                memory_full_us: Some(0),
                io_some_us: Some(0),
            },
        }
    }
}

/// What an interval added.
struct Stalls {
    cpu_some_us: Option<i64>,
    memory_some_us: Option<i64>,
    memory_full_us: Option<i64>,
    io_some_us: Option<i64>,
}

impl Pressure {
    fn since(&self, before: &Self) -> Stalls {
        Stalls {
            cpu_some_us: change(self.cpu_some_us, before.cpu_some_us),
            memory_some_us: change(self.memory_some_us, before.memory_some_us),
            memory_full_us: change(self.memory_full_us, before.memory_full_us),
            io_some_us: change(self.io_some_us, before.io_some_us),
        }
    }
}

impl Stalls {
    fn on(self, row: ResourceRow) -> ResourceRow {
        ResourceRow {
            cpu_some_pressure_us: self.cpu_some_us,
            memory_some_pressure_us: self.memory_some_us,
            memory_full_pressure_us: self.memory_full_us,
            io_some_pressure_us: self.io_some_us,
            ..row
        }
    }
}

/// What a counter grew by; absent where it was not read, or went backwards.
fn change(now: Option<u64>, before: Option<u64>) -> Option<i64> {
    now?.checked_sub(before?).map(signed)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn empty_row(stamp: &Stamp, scope: ResourceScope) -> ResourceRow {
    ResourceRow {
        interval_start_us: stamp.start_us,
        interval_end_us: stamp.end_us,
        node: stamp.node.clone(),
        boot_id: stamp.boot_id.clone(),
        scope,
        cgroup_id: None,
        cgroup_path: None,
        pod_uid: None,
        container_id: None,
        cpus: None,
        cpu_ns: None,
        cpu_user_ns: None,
        cpu_system_ns: None,
        cpu_softirq_ns: None,
        cpu_steal_ns: None,
        cpu_throttled_ns: None,
        memory_bytes: None,
        memory_working_set_bytes: None,
        memory_limit_bytes: None,
        cpu_some_pressure_us: None,
        memory_some_pressure_us: None,
        memory_full_pressure_us: None,
        io_some_pressure_us: None,
    }
}
