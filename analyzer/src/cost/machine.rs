//! A kernel's own time, counted once, and its books: tasks + outside + softirqs + idle = CPUs × time.

use std::collections::{BTreeMap, BTreeSet};

use super::Part;
use super::kernel::{Once, Span, count_in_order, count_once, covered};
use super::report::KernelBooks;
use super::span::{Weighted, portion};
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
    /// Tasks of all its nodes.
    pub tasks: Charge,
    /// Its books.
    pub books: Option<KernelBooks>,
}

impl Kernel {
    /// Everything that ran and idled, and the machine's time; none where the processors are not known.
    pub fn recorded_of_capacity(&self) -> Option<(i64, i64)> {
        let capacity = self.books.as_ref()?.capacity_cpu_ns?;
        let charged = self.charged().cpu_ns.amount();
        Some((charged + self.idle_cpu_ns.unwrap_or_default(), capacity))
    }

    /// Everything that ran.
    pub fn charged(&self) -> Charge {
        let mut all = self.softirqs();
        all.join(self.tasks);
        all.join(self.outside);
        all
    }

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
    let mut tasks = Charge::default();
    nodes.values().for_each(|node| tasks.join(node.tasks));
    let mut kernel = Kernel {
        boot_id: boot_id.to_owned(),
        nodes: nodes.keys().map(|name| (*name).to_owned()).collect(),
        outside: seen(nodes, window).less(tasks),
        tasks,
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
    if !once.weights.is_empty() {
        kernel.idle_cpu_ns = Some(idle.amount());
        kernel.books = Some(books(&kernel, nodes, &once, window));
    }
    kernel
}

/// All tasks that nodes saw, their own and those outside them, each moment by one of them.
///
/// Who wrote most of what is kernel-wide is believed first, so that these tasks, softirqs and idle time
/// are of the same intervals and make up the machine's time, however the run cuts them.
fn seen(nodes: &BTreeMap<&str, &NodeTally>, window: &Window) -> Charge {
    let mut seers = Vec::new();
    for (name, node) in nodes {
        let wide: Vec<Span> = node.wide.keys().copied().collect();
        let seen: Vec<Span> = node.seen.keys().copied().collect();
        let rank = (covered(&wide, window), covered(&seen, window));
        seers.push((rank, *name, seen));
    }
    // A stable sort: of two alike, the first by name.
    seers.sort_by_key(|(rank, ..)| std::cmp::Reverse(*rank));
    let order: Vec<(&str, &[Span])> = seers
        .iter()
        .map(|(_, name, seen)| (*name, seen.as_slice()))
        .collect();
    let mut all = Charge::default();
    for ((name, span), weight) in &count_in_order(&order, window).weights {
        let tasks = nodes[name.as_str()].seen[span];
        all.add_amounts(tasks.own, *weight);
        all.add_amounts(tasks.outside, *weight);
    }
    all
}

/// The books, each moment by the node whose kernel-wide rows count for it.
fn books(
    kernel: &Kernel,
    nodes: &BTreeMap<&str, &NodeTally>,
    once: &Once,
    window: &Window,
) -> KernelBooks {
    let mut writers = BTreeSet::new();
    let (mut tasks, mut outside) = (Weighted::default(), Weighted::default());
    for ((name, span), weight) in &once.weights {
        writers.insert(name.as_str());
        let node = nodes.get(name.as_str());
        if let Some(seen) = node.and_then(|node| node.seen.get(span)) {
            tasks.add(seen.own.cpu_ns, *weight);
            outside.add(seen.outside.cpu_ns, *weight);
        }
    }
    let [tasks, outside] = [tasks, outside].map(Weighted::amount);
    let softirqs = kernel.softirqs().cpu_ns.amount();
    let idle = kernel.idle_cpu_ns.unwrap_or_default();
    let cpus = nodes.values().filter_map(|node| node.cpus).max();
    let capacity = cpus.map(|cpus| i64::from(cpus) * once.covered_us * 1_000);
    // Nodes on one kernel tell of the same machine; one may tell of a part of the run alone.
    let stolen = nodes.values().filter_map(|node| node.stolen);
    let stolen = stolen.map(Weighted::amount).max();
    let charged = tasks + outside + softirqs + idle;
    let residual = capacity.filter(|capacity| *capacity > 0);
    let residual = residual.map(|capacity| (capacity - charged) as f64 / capacity as f64);
    KernelBooks {
        boot_id: kernel.boot_id.clone(),
        node: Vec::from_iter(writers).join(", "),
        tasks_cpu_ns: tasks,
        outside_cpu_ns: outside,
        softirq_cpu_ns: softirqs,
        idle_cpu_ns: idle,
        cpus,
        capacity_cpu_ns: capacity,
        stolen_cpu_ns: stolen,
        residual_share: residual,
        covered_share: share(once.covered_us, window),
    }
}

/// A part of a window.
pub(super) fn share(part_us: i64, window: &Window) -> f64 {
    portion(part_us, window.to_us - window.from_us) as f64 / 1e6
}

/// How much of a window intervals cover, and how many of them that takes.
pub(super) fn coverage<'a>(
    intervals: impl IntoIterator<Item = &'a Span>,
    window: &Window,
) -> (f64, f64) {
    let mut spans: Vec<Span> = intervals.into_iter().copied().collect();
    spans.sort_unstable();
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

#[cfg(test)]
mod tests {
    use super::super::span::{overlap, weight};
    use super::super::tally::{Amounts, SeenTasks};
    use super::*;

    const WINDOW: Window = Window {
        from_us: 0,
        to_us: 10_000_000,
    };
    const CPUS: i64 = 2;

    /// A node that saw what runs outside it: intervals of a second that end so much after the full one.
    fn node(late_us: i64, outside_ns: impl Fn(Span) -> i64) -> NodeTally {
        let mut node = NodeTally::default();
        for second in -1..=10 {
            let start_us = second * 1_000_000 + late_us;
            let span = (start_us, start_us + 1_000_000);
            let weight = weight(span.0, span.1, &WINDOW);
            if weight == 0 {
                continue;
            }
            let ns = outside_ns(span);
            node.watched.insert(span);
            let outside = Amounts {
                cpu_ns: ns,
                ..Amounts::default()
            };
            let own = Amounts::default();
            node.seen.insert(span, SeenTasks { own, outside });
            node.outside.add_amounts(outside, weight);
            node.wide.entry(span).or_default().idle_ns = CPUS * 1_000_000_000 - ns;
        }
        node
    }

    #[test]
    fn two_that_cut_a_run_differently_make_up_the_machine_s_time_and_no_more() {
        // One CPU is busy before and after the run, and in the run neither.
        let busy_ns = |span: Span| 1_000 * (span.1 - span.0 - overlap(span.0, span.1, &WINDOW));
        let (even, late) = (node(0, busy_ns), node(500_000, busy_ns));
        assert!(late.outside.cpu_ns.amount() > even.outside.cpu_ns.amount());
        for (first, second) in [(&even, &late), (&late, &even)] {
            let nodes = BTreeMap::from([("a", first), ("b", second)]);
            let kernel = kernel("boot", &nodes, &WINDOW);
            let recorded = kernel.outside.cpu_ns.amount() + kernel.idle_cpu_ns.unwrap();
            assert_eq!(recorded, CPUS * 10 * 1_000_000_000);
        }
    }

    #[test]
    fn own_tasks_that_nobody_saw_are_told() {
        // The writer saw nothing run; another node, whose intervals end later, charges its pod for
        // what ran before the run.
        let mut writer = node(0, |_| 0);
        writer.cpus = Some(CPUS as i32);
        let mut other = NodeTally::default();
        let amounts = Amounts {
            cpu_ns: 1_000_000_000,
            ..Amounts::default()
        };
        let span = (-500_000, 500_000);
        let seen = SeenTasks {
            own: amounts,
            ..SeenTasks::default()
        };
        other.seen.insert(span, seen);
        let cut = weight(span.0, span.1, &WINDOW);
        other.tasks.add_amounts(amounts, cut);
        let nodes = BTreeMap::from([("a", &writer), ("b", &other)]);
        let kernel = kernel("boot", &nodes, &WINDOW);
        assert_eq!(kernel.outside, Charge::default());
        let all = CPUS * 10 * 1_000_000_000;
        let recorded = kernel.recorded_of_capacity();
        assert_eq!(recorded, Some((all + 500_000_000, all)));
    }

    #[test]
    fn a_writer_that_takes_over_goes_on_with_the_books() {
        // One CPU is busy with what is outside both, and the first writes for six seconds only.
        let mut first = node(0, |_| 1_000_000_000);
        let mut second = node(0, |_| 1_000_000_000);
        let handed_over = |(start_us, _): &Span| *start_us >= 6_000_000;
        first.wide.retain(|span, _| !handed_over(span));
        second.wide.retain(|span, _| handed_over(span));
        first.cpus = Some(CPUS as i32);
        let nodes = BTreeMap::from([("a", &first), ("b", &second)]);
        let books = kernel("boot", &nodes, &WINDOW).books.unwrap();
        assert_eq!(books.node, "a, b");
        assert_eq!(books.outside_cpu_ns, 10 * 1_000_000_000);
        assert_eq!(books.capacity_cpu_ns, Some(20 * 1_000_000_000));
        assert_eq!(
            (books.residual_share, books.covered_share),
            (Some(0.0), 1.0)
        );
    }
}
