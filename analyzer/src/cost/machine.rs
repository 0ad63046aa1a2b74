//! A kernel's own time, counted once, and its books: tasks + outside + softirqs + idle = CPUs × time.

use std::collections::BTreeMap;

use super::Part;
use super::kernel::{Once, Span, count_once};
use super::report::KernelBooks;
use super::span::{Weighted, overlap, portion, weight};
use super::tally::{Charge, NodeTally, Place, RunTally};
use crate::verdict::evidence::Window;

/// What nodes on one kernel share.
#[derive(Clone, Debug, Default)]
pub(super) struct Kernel {
    /// Boot id.
    pub boot_id: String,
    /// The nodes of the dataset on it, by name.
    pub nodes: Vec<String>,
    /// Softirqs by vector, counted once.
    pub vectors: BTreeMap<String, (Part, Charge)>,
    /// Idle time, counted once; absent where no row said.
    pub idle_cpu_ns: Option<i64>,
    /// Tasks outside all its nodes.
    pub outside: Charge,
    /// Its books.
    pub books: Option<KernelBooks>,
}

impl Kernel {
    /// All softirq time.
    pub fn softirqs(&self) -> Charge {
        let mut sum = Charge::default();
        self.vectors
            .values()
            .for_each(|(_, charge)| sum.join(*charge));
        sum
    }
}

/// The kernels of a run, by boot id.
pub(super) fn kernels(run: &RunTally) -> Vec<Kernel> {
    let mut by_boot: BTreeMap<&str, BTreeMap<&str, &NodeTally>> = BTreeMap::new();
    for (place, node) in &run.nodes {
        if !node.watched.is_empty() {
            let nodes = by_boot.entry(place.boot_id.as_str()).or_default();
            nodes.insert(place.node.as_str(), node);
        }
    }
    let window = &run.scope.window;
    let kernels = by_boot.into_iter();
    kernels
        .map(|(boot_id, nodes)| kernel(boot_id, &nodes, window))
        .collect()
}

fn kernel(boot_id: &str, nodes: &BTreeMap<&str, &NodeTally>, window: &Window) -> Kernel {
    let spans: BTreeMap<String, Vec<Span>> = nodes
        .iter()
        .map(|(name, node)| ((*name).to_owned(), node.wide.keys().copied().collect()))
        .collect();
    let once = count_once(&spans, window);
    let mut kernel = Kernel {
        boot_id: boot_id.to_owned(),
        nodes: nodes.keys().map(|name| (*name).to_owned()).collect(),
        outside: outside(nodes),
        books: books(boot_id, nodes, &once, window),
        ..Kernel::default()
    };
    let mut idle = Weighted::default();
    for ((name, span), weight) in &once.weights {
        let Some(wide) = nodes
            .get(name.as_str())
            .and_then(|node| node.wide.get(span))
        else {
            continue;
        };
        idle.add(wide.idle_ns, *weight);
        for (vector, (part, cpu_ns, cycles, events)) in &wide.vectors {
            let known = kernel.vectors.entry(vector.clone());
            let (_, sum) = known.or_insert((*part, Charge::default()));
            sum.add_raw(*cpu_ns, *cycles, *events, *weight);
        }
    }
    kernel.idle_cpu_ns = (!once.weights.is_empty()).then(|| idle.amount());
    kernel
}

/// Tasks outside all nodes: what one node sees outside itself less the tasks of the others.
fn outside(nodes: &BTreeMap<&str, &NodeTally>) -> Charge {
    let seen = |node: &NodeTally| node.tasks.cpu_ns.amount() + node.outside.cpu_ns.amount();
    let with_outside = nodes
        .iter()
        .filter(|(_, node)| node.outside != Charge::default());
    // The node that was watched longest sees most; of two that see as much, the first by name.
    let main = with_outside.max_by_key(|(name, node)| (seen(node), std::cmp::Reverse(**name)));
    let Some((main, seer)) = main else {
        return Charge::default();
    };
    let mut others = Charge::default();
    for (name, node) in nodes {
        if name != main {
            others.join(node.tasks);
        }
    }
    seer.outside.less(others)
}

/// The books by the rows of the node that wrote most of what is kernel-wide.
fn books(
    boot_id: &str,
    nodes: &BTreeMap<&str, &NodeTally>,
    once: &Once,
    window: &Window,
) -> Option<KernelBooks> {
    let name = once.main.as_ref()?;
    let node = nodes.get(name.as_str())?;
    let (mut softirqs, mut idle) = (Weighted::default(), Weighted::default());
    let mut covered_us = 0;
    for (span, wide) in &node.wide {
        let weight = weight(span.0, span.1, window);
        covered_us += overlap(span.0, span.1, window);
        idle.add(wide.idle_ns, weight);
        for (_, cpu_ns, _, _) in wide.vectors.values() {
            softirqs.add(*cpu_ns, weight);
        }
    }
    let cpus = nodes.values().filter_map(|node| node.cpus).max();
    let [tasks, outside] = [node.tasks, node.outside].map(|charge| charge.cpu_ns.amount());
    let capacity = cpus.map(|cpus| i64::from(cpus) * covered_us * 1_000);
    let charged = tasks + outside + softirqs.amount() + idle.amount();
    let residual = capacity.filter(|capacity| *capacity > 0);
    let residual = residual.map(|capacity| (capacity - charged) as f64 / capacity as f64);
    Some(KernelBooks {
        boot_id: boot_id.to_owned(),
        node: name.clone(),
        tasks_cpu_ns: tasks,
        outside_cpu_ns: outside,
        softirq_cpu_ns: softirqs.amount(),
        idle_cpu_ns: idle.amount(),
        cpus,
        capacity_cpu_ns: capacity,
        residual_share: residual,
        covered_share: share(once.covered_us, window),
    })
}

/// A part of a window.
pub(super) fn share(part_us: i64, window: &Window) -> f64 {
    portion(part_us, window.to_us - window.from_us) as f64 / 1e6
}

/// How much of a window a node's processor time was watched, and in how many intervals.
pub(super) fn watched(node: &NodeTally, window: &Window) -> (f64, f64) {
    let spans: Vec<Span> = node.watched.iter().copied().collect();
    let one = BTreeMap::from([(String::new(), spans)]);
    let once = count_once(&one, window);
    let intervals: i64 = once.weights.values().sum();
    (share(once.covered_us, window), intervals as f64 / 1e6)
}

/// The kernel of a node.
pub(super) fn kernel_of<'a>(kernels: &'a [Kernel], place: &Place) -> Option<&'a Kernel> {
    kernels
        .iter()
        .find(|kernel| kernel.boot_id == place.boot_id)
}
