//! Processor time and memory of machines and pods during each run, from the tables `resources` and
//! `cpu`.
//!
//! A row counts for the part of its interval that lies within the run. Rows of machines are
//! kernel-wide: nodes of one boot id are one machine and count once. A run that its rows do not
//! cover has no number, for half a run's processor time is not a small one.

use std::collections::{BTreeMap, BTreeSet};

use trace_schema::Record;
use trace_schema::cpu::{CpuRow, CpuScope};
use trace_schema::resources::{ResourceRow, ResourceScope};

use super::{Metric, Origin, Point, Quantity, RunMeasurements, Series};
use crate::input::traces::{Dataset, DatasetError, Filter};
use crate::objects::History;
use crate::verdict::Moment;

/// The part of a run that rows must cover.
const COVERED: f64 = 0.9;

/// Notes what machines and pods used during each run; the result is what a reader should know of
/// all runs.
pub(super) fn measure(
    dataset: &Dataset,
    history: &History,
    runs: &mut [RunMeasurements],
) -> Result<Vec<String>, DatasetError> {
    let mut uses: Vec<Uses> = runs.iter().map(|_| Uses::default()).collect();
    let filter = Filter::default();
    let has_resources = !dataset.files(ResourceRow::TABLE).is_empty();
    for row in dataset.rows::<ResourceRow>(&filter) {
        let row = row?;
        let span = (row.interval_start_us, row.interval_end_us);
        each_run(runs, &mut uses, span, |uses, part| {
            uses.add_resource(&row, history, part);
        });
    }
    // The table of processor time has a row a command and interval: read only where it is needed.
    if !has_resources {
        for row in dataset.rows::<CpuRow>(&filter) {
            let row = row?;
            let span = (row.interval_start_us, row.interval_end_us);
            each_run(runs, &mut uses, span, |uses, part| {
                uses.add_cpu(&row, history, part);
            });
        }
    }
    let table = match has_resources {
        true => ResourceRow::TABLE,
        false => CpuRow::TABLE,
    };
    let mut shared = BTreeSet::new();
    for (run, uses) in runs.iter_mut().zip(uses) {
        shared.extend(uses.shared_kernels());
        uses.note(table, run);
    }
    Ok(shared.into_iter().collect())
}

/// Calls back for each run that a span touches, with the part of the run in it.
fn each_run(
    runs: &[RunMeasurements],
    uses: &mut [Uses],
    (from_us, to_us): (i64, i64),
    mut take: impl FnMut(&mut Uses, Part),
) {
    for (run, uses) in runs.iter().zip(uses) {
        let (start_us, end_us) = (from_us.max(run.from.0), to_us.min(run.to.0));
        if run.counts() && end_us > start_us {
            let length_us = end_us - start_us;
            take(
                uses,
                Part {
                    end_us,
                    length_us,
                    of_row: length_us as f64 / (to_us - from_us) as f64,
                },
            );
        }
    }
}

/// The part of a row's interval that lies within a run.
#[derive(Clone, Copy)]
struct Part {
    end_us: i64,
    length_us: i64,
    of_row: f64,
}

/// What machines and pods used during one run.
#[derive(Default)]
struct Uses {
    /// By boot id and node.
    machines: BTreeMap<(String, String), Use>,
    pods: BTreeMap<String, Use>,
}

/// What one machine or pod used.
#[derive(Default)]
struct Use {
    cpu_ns: f64,
    /// CPUs times time, where it is known.
    capacity_ns: f64,
    memory_byte_us: f64,
    /// Ends of the intervals seen, with their length and processor time.
    intervals: BTreeMap<i64, Slice>,
    lacks_cpu: bool,
}

#[derive(Default)]
struct Slice {
    length_us: i64,
    cpu_ns: f64,
    capacity_ns: f64,
    memory_bytes: Option<i64>,
}

impl Use {
    fn slice(&mut self, part: Part) -> &mut Slice {
        let slice = self.intervals.entry(part.end_us).or_default();
        slice.length_us = slice.length_us.max(part.length_us);
        slice
    }

    fn add_cpu(&mut self, cpu_ns: Option<i64>, capacity_ns: f64, part: Part) {
        let Some(cpu_ns) = cpu_ns else {
            self.lacks_cpu = true;
            return;
        };
        let cpu_ns = cpu_ns as f64 * part.of_row;
        self.cpu_ns += cpu_ns;
        self.capacity_ns += capacity_ns;
        let slice = self.slice(part);
        slice.cpu_ns += cpu_ns;
        slice.capacity_ns += capacity_ns;
    }

    fn add_memory(&mut self, bytes: Option<i64>, part: Part) {
        if let Some(bytes) = bytes {
            self.memory_byte_us += bytes as f64 * part.length_us as f64;
            *self.slice(part).memory_bytes.get_or_insert(0) += bytes;
        }
    }

    fn covered_us(&self) -> i64 {
        self.intervals.values().map(|slice| slice.length_us).sum()
    }

    /// Mean memory; of a pod with several containers the sum of theirs, since they share intervals.
    fn memory_bytes(&self) -> Option<f64> {
        let with = self
            .intervals
            .values()
            .filter(|slice| slice.memory_bytes.is_some());
        let us: i64 = with.map(|slice| slice.length_us).sum();
        (us > 0).then(|| self.memory_byte_us / us as f64)
    }
}

impl Uses {
    fn add_resource(&mut self, row: &ResourceRow, history: &History, part: Part) {
        match row.scope {
            ResourceScope::Node => {
                let key = (row.boot_id.clone(), row.node.clone());
                let machine = self.machines.entry(key).or_default();
                let cpus = f64::from(row.cpus.unwrap_or(0));
                machine.add_cpu(row.cpu_ns, cpus * part.length_us as f64 * 1e3, part);
                machine.add_memory(row.memory_bytes, part);
            }
            ResourceScope::Container => {
                let Some(pod) = pod(history, row.pod_uid.as_deref(), part.end_us) else {
                    return;
                };
                let pod = self.pods.entry(pod).or_default();
                pod.add_cpu(row.cpu_ns, 0.0, part);
                let memory = row.memory_working_set_bytes.or(row.memory_bytes);
                pod.add_memory(memory, part);
            }
            ResourceScope::Cgroup => {}
        }
    }

    /// One node's rows tell the whole kernel's time: its own tasks, those outside, softirqs, idle.
    fn add_cpu(&mut self, row: &CpuRow, history: &History, part: Part) {
        if row.scope == CpuScope::Program {
            return;
        }
        let key = (row.boot_id.clone(), row.node.clone());
        let machine = self.machines.entry(key).or_default();
        let time_ns = row.cpu_ns as f64 * part.of_row;
        match row.scope {
            CpuScope::Idle => machine.add_cpu(Some(0), time_ns, part),
            _ => machine.add_cpu(Some(row.cpu_ns), time_ns, part),
        }
        let pod = pod(history, row.pod_uid.as_deref(), part.end_us);
        if let Some(pod) = pod.filter(|_| row.scope == CpuScope::Cgroup) {
            let pod = self.pods.entry(pod).or_default();
            pod.add_cpu(Some(row.cpu_ns), 0.0, part);
        }
    }

    /// Nodes that are one machine, a sentence a machine.
    fn shared_kernels(&self) -> Vec<String> {
        let mut nodes = BTreeMap::<&str, Vec<&str>>::new();
        for (boot_id, node) in self.machines.keys() {
            nodes.entry(boot_id).or_default().push(node);
        }
        let shared = nodes.values().filter(|nodes| nodes.len() > 1);
        shared
            .map(|nodes| {
                format!(
                    "nodes {} share one kernel: their processors and memory are one machine's and count once",
                    nodes.join(", ")
                )
            })
            .collect()
    }

    /// One entry a machine: that of the node whose rows cover most, the first by name where two do.
    fn distinct(&self) -> BTreeMap<&str, &Use> {
        let mut best = BTreeMap::<&str, (&str, &Use)>::new();
        for ((boot_id, node), used) in &self.machines {
            let known = best.get(boot_id.as_str());
            if known.is_none_or(|(_, known)| used.covered_us() > known.covered_us()) {
                best.insert(boot_id, (node, used));
            }
        }
        best.into_values().collect()
    }

    fn note(&self, table: &str, run: &mut RunMeasurements) {
        let machines = self.distinct();
        if machines.is_empty() {
            return;
        }
        let origin = |by: &str| Origin {
            files: vec![format!("{table}/")],
            by: by.to_owned(),
        };
        let length_us = (run.to.0 - run.from.0).max(1) as f64;
        let uncovered = |used: &Use| {
            let covered = used.covered_us() as f64 / length_us;
            (covered < COVERED).then(|| {
                format!(
                    "rows of {table} cover {:.0} % of the run only",
                    covered * 100.0
                )
            })
        };
        let refused = machines.iter().find_map(|(node, used)| {
            let why = uncovered(used)?;
            Some(format!("node {node}: {why}"))
        });
        let all: Vec<&Use> = machines.values().copied().collect();
        note_cpu(run, None, &all, refused.clone(), &origin);
        note_memory(run, None, &all, refused, &origin);
        for (node, used) in &machines {
            note_cpu(run, Some(node), &[used], uncovered(used), &origin);
            note_memory(run, Some(node), &[used], uncovered(used), &origin);
        }
        for (pod, used) in &self.pods {
            note_cpu(run, Some(pod), &[used], uncovered(used), &origin);
            note_memory(run, Some(pod), &[used], uncovered(used), &origin);
        }
        over_time(run, &all, &origin);
    }
}

fn metric(quantity: Quantity, part: Option<&str>) -> Metric {
    Metric {
        quantity,
        part: part.map(str::to_owned),
    }
}

fn note_cpu(
    run: &mut RunMeasurements,
    part: Option<&str>,
    uses: &[&Use],
    refused: Option<String>,
    origin: &impl Fn(&str) -> Origin,
) {
    let lacks = uses.iter().any(|used| used.lacks_cpu);
    let lacks = lacks.then(|| "the kernel does not offer processor time there".to_owned());
    let refused = refused.or(lacks);
    let cpu_ns: f64 = uses.iter().map(|used| used.cpu_ns).sum();
    let capacity_ns: f64 = uses.iter().map(|used| used.capacity_ns).sum();
    let seconds = refused.clone().map_or(Ok(cpu_ns / 1e9), Err);
    run.note(
        metric(Quantity::CpuSeconds, part),
        seconds,
        &origin("cpu_ns added up over the run, each machine once, intervals at its ends in part"),
    );
    if part.is_some() && capacity_ns == 0.0 {
        return;
    }
    let percent = match refused {
        Some(why) => Err(why),
        None if capacity_ns <= 0.0 => Err("the number of CPUs is not known".to_owned()),
        None => Ok(100.0 * cpu_ns / capacity_ns),
    };
    run.note(
        metric(Quantity::CpuPercent, part),
        percent,
        &origin("cpu_ns ÷ (CPUs × time), each machine once: idle, iowait and steal are not in use"),
    );
}

fn note_memory(
    run: &mut RunMeasurements,
    part: Option<&str>,
    uses: &[&Use],
    refused: Option<String>,
    origin: &impl Fn(&str) -> Origin,
) {
    let parts: Option<Vec<f64>> = uses.iter().map(|used| used.memory_bytes()).collect();
    let value = match (refused, parts) {
        (Some(why), _) => Err(why),
        (None, None) => Err("no row tells memory".to_owned()),
        (None, Some(parts)) => Ok(parts.iter().sum()),
    };
    let by = match part {
        None => "mean over time of MemTotal − MemAvailable at intervals' ends, machines added up",
        Some(_) => "mean over time of memory at intervals' ends (of pods the working set)",
    };
    run.note(metric(Quantity::Memory, part), value, &origin(by));
}

/// Processor use and memory of all machines by interval, where all of them have one that ends within
/// the same second.
fn over_time(run: &mut RunMeasurements, uses: &[&Use], origin: &impl Fn(&str) -> Origin) {
    let mut seconds = BTreeMap::<i64, Vec<&Slice>>::new();
    for used in uses {
        for (end_us, slice) in &used.intervals {
            seconds
                .entry(end_us.div_euclid(1_000_000))
                .or_default()
                .push(slice);
        }
    }
    let whole = |slices: &Vec<&Slice>| slices.len() >= uses.len();
    let at = |second: i64| Moment((second + 1) * 1_000_000);
    let percent = seconds.iter().filter(|(_, slices)| whole(slices));
    let percent = percent.filter_map(|(&second, slices)| {
        let capacity_ns: f64 = slices.iter().map(|slice| slice.capacity_ns).sum();
        let cpu_ns: f64 = slices.iter().map(|slice| slice.cpu_ns).sum();
        (capacity_ns > 0.0).then(|| Point {
            at: at(second),
            value: 100.0 * cpu_ns / capacity_ns,
        })
    });
    let metric = |quantity| Metric::whole(quantity);
    let by = "cpu_ns ÷ (CPUs × time) by interval, all machines";
    let cpu = Series::new(
        metric(Quantity::CpuPercent),
        percent.collect(),
        origin(by),
        run.from,
    );
    run.series.extend(cpu);
    let memory = seconds
        .iter()
        .filter(|(_, slices)| slices.len() == uses.len());
    let memory = memory.filter_map(|(&second, slices)| {
        let bytes: Option<i64> = slices.iter().map(|slice| slice.memory_bytes).sum();
        Some(Point {
            at: at(second),
            value: bytes? as f64,
        })
    });
    let by = "memory at intervals' ends, all machines added up";
    let memory = Series::new(
        metric(Quantity::Memory),
        memory.collect(),
        origin(by),
        run.from,
    );
    run.series.extend(memory);
}

/// The pod of a row, by what names it whatever run it is in.
fn pod(history: &History, uid: Option<&str>, at_us: i64) -> Option<String> {
    let uid = uid?;
    let pod = history.pod_by_uid(uid, at_us);
    Some(pod.map_or_else(
        || "pods not in the objects".to_owned(),
        |pod| pod.name.to_string(),
    ))
}
