//! Rows become sums: each goes to the runs in whose time it lies, by the part of it that does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use trace_schema::cpu::{CpuRow, CpuScope};
use trace_schema::flows::FlowRow;
use trace_schema::http::HttpRow;
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::profile::{ProfileMode, ProfileRow};
use trace_schema::resources::{ResourceRow, ResourceScope};

use super::components;
use super::part::{ClusterFacts, PodFacts, Task, part_of, part_of_pod, part_of_task};
use super::report::{CycleBasis, Traffic};
use super::span::weight;
use super::tally::{LossSum, NodeTally, Place, RunTally, Subject, TrafficSum};
use super::{NAMELESS, Part, RunScope};
use crate::objects::{History, ObjectName};
use crate::policy::gateway_api::Implementation;
use crate::profile::Profile;
use crate::verdict::split::{Asker, Topology};

/// Everything that the cost of some runs rests on.
#[derive(Debug)]
pub struct CostEvidence<'a> {
    pub(super) runs: Vec<RunTally>,
    /// Cgroups that two nodes of one kernel both charge.
    pub(super) charged_twice: Option<(String, String)>,
    topology: Topology<'a>,
    cluster: ClusterFacts,
    pods: HashMap<String, PodFacts>,
    /// Who charges a cgroup of a kernel, and whose it is.
    chargers: HashMap<(String, i64), Charger>,
    /// Kernels on which tasks run outside a node.
    with_outside: HashSet<String>,
}

/// Who charged a cgroup, and what its rows say of it.
#[derive(Debug)]
struct Charger {
    node: String,
    pod_uid: Option<String>,
    cgroup_path: Option<String>,
}

impl<'a> CostEvidence<'a> {
    /// Nothing yet, of these stretches of time.
    pub fn new(history: &'a History, runs: Vec<RunScope>) -> Self {
        Self {
            runs: runs.into_iter().map(tally).collect(),
            charged_twice: None,
            topology: Topology::new(history),
            cluster: cluster_facts(history),
            pods: pod_facts(history),
            chargers: HashMap::new(),
            with_outside: HashSet::new(),
        }
    }

    /// The earliest start and the latest end of all runs.
    pub fn span_us(&self) -> Option<(i64, i64)> {
        let windows = || self.runs.iter().map(|run| run.scope.window);
        let from = windows().map(|window| window.from_us).min()?;
        Some((from, windows().map(|window| window.to_us).max()?))
    }

    /// Takes in a row of `cpu`.
    pub fn add_cpu(&mut self, row: &CpuRow) {
        let pod = row.pod_uid.as_deref().and_then(|uid| self.pods.get(uid));
        let part = part_of(row, pod, self.cluster);
        let interval = (row.interval_start_us, row.interval_end_us);
        let mut touched = false;
        for run in &mut self.runs {
            let weight = weight(interval.0, interval.1, &run.scope.window);
            if weight == 0 {
                continue;
            }
            touched = true;
            let node = run.nodes.entry(place(&row.node, &row.boot_id)).or_default();
            node.watched.insert(interval);
            if !matches!(row.scope, CpuScope::Idle | CpuScope::Program) {
                node.sources.insert(CycleBasis::from(row.cycle_source));
            }
            match (row.scope, part) {
                (CpuScope::Idle, _) => {
                    node.wide.entry(interval).or_default().idle_ns += row.cpu_ns;
                }
                (CpuScope::Program, _) => {
                    run.programs.get_or_insert_default().add(row, weight);
                }
                (CpuScope::Softirq, Some(part)) => {
                    let vector = row.vector.as_deref().unwrap_or("softirq");
                    let wide = node.wide.entry(interval).or_default();
                    wide.add(vector, part, row);
                }
                (CpuScope::Outside, _) => {
                    node.outside.add(row, weight);
                    node.see_outside(interval, row);
                }
                (CpuScope::Cgroup, Some(part)) => {
                    node.tasks.add(row, weight);
                    node.see_own(interval, row);
                    let subject = subject_of(row, pod, part);
                    run.subjects.entry(subject).or_default().add(row, weight);
                }
                (CpuScope::Softirq | CpuScope::Cgroup, None) => {}
            }
        }
        match row.scope {
            CpuScope::Cgroup if touched => self.note_charger(row),
            CpuScope::Outside if touched => {
                self.with_outside.insert(row.boot_id.clone());
            }
            _ => {}
        }
    }

    /// Takes in a row of `resources`.
    pub fn add_resources(&mut self, row: &ResourceRow) {
        let interval = (row.interval_start_us, row.interval_end_us);
        let pod = row.pod_uid.as_deref().and_then(|uid| self.pods.get(uid));
        let owner = memory_owner(row, pod, self.cluster);
        let bytes = row.memory_working_set_bytes.or(row.memory_bytes);
        for run in &mut self.runs {
            let weight = weight(interval.0, interval.1, &run.scope.window);
            if weight == 0 {
                continue;
            }
            if row.scope == ResourceScope::Node {
                let node = run.nodes.entry(place(&row.node, &row.boot_id)).or_default();
                node.cpus = node.cpus.max(row.cpus);
                if let Some(stolen_ns) = row.cpu_steal_ns {
                    node.stolen.get_or_insert_default().add(stolen_ns, weight);
                }
                if let Some(bytes) = row.memory_bytes {
                    node.memory.add(interval, bytes, weight);
                }
            } else if let (Some(owner), Some(bytes)) = (&owner, bytes) {
                let of_part = (owner.part, owner.node.clone());
                let of_part = run.part_memory.entry(of_part).or_default();
                of_part.add(interval, bytes, weight);
                let of_subject = run.memory.entry(owner.clone()).or_default();
                of_subject.add(interval, bytes, weight);
            }
        }
    }

    /// Takes in a row of `profile`, after all rows of `cpu`.
    pub fn add_profile(&mut self, row: &ProfileRow) {
        let owner = self.sampled_part(row);
        let samples = u64::try_from(row.samples).unwrap_or(0);
        for run in &mut self.runs {
            let is_taken = components::add(&mut run.profile, row, &run.scope.window);
            if is_taken && row.mode == ProfileMode::User {
                *run.user_samples.entry(owner).or_default() += samples;
            }
        }
    }

    /// The runs' stacks in the form that flame graph tools read.
    pub fn folded_stacks(&self) -> Vec<String> {
        let runs = self.runs.iter();
        runs.flat_map(|run| run.profile.folded()).collect()
    }

    /// Takes in a row of `ledger`.
    pub fn add_ledger(&mut self, row: &LedgerRow) {
        let interval = (row.interval_start_us, row.interval_end_us);
        for run in &mut self.runs {
            let weight = weight(interval.0, interval.1, &run.scope.window);
            if weight == 0 {
                continue;
            }
            match row.vantage {
                Vantage::Cpu => {
                    let node = run.nodes.entry(place(&row.node, &row.boot_id)).or_default();
                    node.watched.insert(interval);
                }
                Vantage::Pod => {
                    let node = run.nodes.entry(place(&row.node, &row.boot_id)).or_default();
                    node.pods_watched.insert(interval);
                }
                Vantage::Profile => {
                    let node = run.nodes.entry(place(&row.node, &row.boot_id)).or_default();
                    node.sampled.insert(interval);
                }
                Vantage::Uplink => {
                    let node = run.nodes.entry(place(&row.node, &row.boot_id)).or_default();
                    node.uplinks_watched.insert(interval);
                    for count in [row.counted, row.overflow, row.non_ip, row.ip_unparsed] {
                        let traffic = Traffic {
                            packets: count.packets,
                            bytes: count.bytes,
                            buffers: count.buffers,
                        };
                        node.uplinks.add(traffic, weight);
                    }
                }
                _ => {}
            }
            let sums = run.losses.entry((row.node.clone(), row.vantage));
            let sums = sums.or_default();
            sums.overflow += match row.vantage {
                Vantage::Cpu | Vantage::Profile => row.overflow.buffers.max(row.overflow.packets),
                _ => row.overflow.packets,
            };
            sums.ring_drops += row.ring_drops;
            sums.hook_misses += row.hook_misses.unwrap_or_default();
        }
    }

    /// Whether any run names a client pod, whose flows then count.
    pub fn asks_for_flows(&self) -> bool {
        let mut runs = self.runs.iter();
        runs.any(|run| run.scope.client_pod.is_some())
    }

    /// Takes in a row of `flows`: those of the runs' client pods count.
    pub fn add_flow(&mut self, row: &FlowRow) {
        let pod = row.pod_uid.as_deref().and_then(|uid| self.pods.get(uid));
        let Some(pod) = pod.filter(|_| row.vantage == Vantage::Pod) else {
            return;
        };
        for run in &mut self.runs {
            if run.scope.client_pod.as_deref() != Some(pod.name.as_str()) {
                continue;
            }
            let weight = weight(
                row.interval_start_us,
                row.interval_end_us,
                &run.scope.window,
            );
            let traffic = Traffic {
                packets: row.packets,
                bytes: row.bytes,
                buffers: row.buffers,
            };
            if weight > 0 {
                run.client.add(traffic, weight);
                run.has_client = true;
                run.client_nodes.insert(place(&row.node, &row.boot_id));
            }
        }
    }

    /// Takes in a row of `http`.
    pub fn add_responses(&mut self, row: &HttpRow) {
        let addresses = (
            row.peer_address.parse::<IpAddr>(),
            row.local_address.parse::<IpAddr>(),
        );
        let by_gateway = match addresses {
            (Ok(peer), Ok(local)) => {
                let asker = self.topology.asker(peer, local, row.interval_start_us);
                matches!(asker, Asker::DataPlane(_))
            }
            _ => false,
        };
        for run in &mut self.runs {
            let weight = weight(
                row.interval_start_us,
                row.interval_end_us,
                &run.scope.window,
            );
            run.responses.1.add(row.responses, weight);
            if by_gateway {
                run.responses.0.add(row.responses, weight);
            }
        }
    }

    fn note_charger(&mut self, row: &CpuRow) {
        let Some(cgroup_id) = row.cgroup_id else {
            return;
        };
        let key = (row.boot_id.clone(), cgroup_id);
        let known = self.chargers.entry(key).or_insert_with(|| Charger {
            node: row.node.clone(),
            pod_uid: None,
            cgroup_path: None,
        });
        // A row of a cgroup that had gone when it was read names less.
        if known.cgroup_path.is_none() {
            known.pod_uid.clone_from(&row.pod_uid);
            known.cgroup_path.clone_from(&row.cgroup_path);
        }
        if known.node != row.node && self.charged_twice.is_none() {
            let mut both = [known.node.clone(), row.node.clone()];
            both.sort_unstable();
            self.charged_twice = Some(both.into());
        }
    }

    /// Whose the processes are that were sampled. One probe samples a kernel that several nodes share
    /// and knows its own node's cgroups alone: the others' are known by what they were charged.
    fn sampled_part(&self, row: &ProfileRow) -> Part {
        let charger = row.cgroup_id.and_then(|cgroup_id| {
            let key = (row.boot_id.clone(), cgroup_id);
            self.chargers.get(&key)
        });
        let charged =
            |of: fn(&Charger) -> &Option<String>| charger.and_then(|it| of(it).as_deref());
        let pod_uid = row.pod_uid.as_deref();
        let path = row.cgroup_path.as_deref();
        let task = Task {
            command: &row.command,
            pod_uid: pod_uid.or_else(|| charged(|charger| &charger.pod_uid)),
            cgroup_path: path.or_else(|| charged(|charger| &charger.cgroup_path)),
        };
        let is_known = charger.is_some() || task.pod_uid.is_some() || task.cgroup_path.is_some();
        if !is_known && row.cgroup_id.is_some() && self.with_outside.contains(&row.boot_id) {
            return Part::Outside;
        }
        let pod = task.pod_uid.and_then(|uid| self.pods.get(uid));
        part_of_task(&task, pod, self.cluster)
    }
}

fn tally(scope: RunScope) -> RunTally {
    RunTally {
        scope,
        nodes: BTreeMap::<Place, NodeTally>::new(),
        subjects: BTreeMap::new(),
        programs: None,
        memory: BTreeMap::new(),
        part_memory: BTreeMap::new(),
        client: TrafficSum::default(),
        has_client: false,
        client_nodes: BTreeSet::new(),
        responses: Default::default(),
        losses: BTreeMap::<_, LossSum>::new(),
        profile: Profile::default(),
        user_samples: BTreeMap::new(),
    }
}

fn place(node: &str, boot_id: &str) -> Place {
    Place {
        boot_id: boot_id.to_owned(),
        node: node.to_owned(),
    }
}

/// The pod that a row names, else the unit or command.
fn subject_of(row: &CpuRow, pod: Option<&PodFacts>, part: Part) -> Subject {
    let (name, is_pod) = match (pod, &row.pod_uid) {
        (Some(pod), _) => (pod.name.clone(), true),
        (None, Some(uid)) => (format!("pod {uid}"), true),
        (None, None) => {
            let unit = row.cgroup_path.as_deref().and_then(unit_of);
            let command = row.command.as_deref().unwrap_or(NAMELESS);
            (unit.unwrap_or(command).to_owned(), false)
        }
    };
    Subject {
        node: row.node.clone(),
        part,
        name,
        is_pod,
    }
}

/// Whose memory a row is; slices and pods hold what stands in rows of their own.
fn memory_owner(
    row: &ResourceRow,
    pod: Option<&PodFacts>,
    cluster: ClusterFacts,
) -> Option<Subject> {
    let (part, name, is_pod) = match (row.scope, &row.pod_uid) {
        (ResourceScope::Container, Some(uid)) => match pod {
            Some(pod) => (part_of_pod(pod, "", cluster), pod.name.clone(), true),
            None => (Part::Application, format!("pod {uid}"), true),
        },
        (ResourceScope::Cgroup, None) => {
            let unit = row.cgroup_path.as_deref().and_then(unit_of)?;
            let part = if unit.starts_with("weighbridge") {
                Part::Probe
            } else {
                Part::NodeServices
            };
            (part, unit.to_owned(), false)
        }
        _ => return None,
    };
    Some(Subject {
        node: row.node.clone(),
        part,
        name,
        is_pod,
    })
}

/// The service that a cgroup belongs to, by its path.
fn unit_of(path: &str) -> Option<&str> {
    path.rsplit('/').find(|unit| unit.ends_with(".service"))
}

fn pod_facts(history: &History) -> HashMap<String, PodFacts> {
    let all = history.pods.all();
    let named = all.filter(|(_, version)| !version.uid.is_empty());
    let facts = named.flat_map(|(name, version)| {
        let facts = PodFacts {
            name: name.to_string(),
            namespace: name.namespace.clone(),
            labels: version.value.labels.clone(),
        };
        // What the API shows of a static pod has a UID of its own.
        let hash = version.value.manifest_hash.clone();
        let of_hash = hash.map(|hash| (hash, facts.clone()));
        of_hash.into_iter().chain([(version.uid.clone(), facts)])
    });
    facts.collect()
}

/// Cilium's Envoy serves Gateways where there are any of a class of Cilium's.
fn cluster_facts(history: &History) -> ClusterFacts {
    let of_cilium = |class: &str| {
        let name = ObjectName::cluster(class);
        let mut versions = history.gateway_classes.of(&name).iter();
        versions.any(|version| {
            Implementation::of_controller(&version.value.controller) == Implementation::Cilium
        })
    };
    let mut gateways = history.gateways.all();
    ClusterFacts {
        cilium_envoy_is_gateway: gateways.any(|(_, version)| of_cilium(&version.value.class)),
    }
}
