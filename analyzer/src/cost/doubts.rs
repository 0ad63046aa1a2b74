//! What the numbers are worth: reasons for which a run is inconclusive, and notes for its reader.
//!
//! A loss is a reason only where it could change a number by more than the tolerance; it is listed
//! either way.

use trace_schema::ledger::Vantage;

use super::components;
use super::machine::{self, Kernel};
use super::report::{CostLoss, CycleBasis, KernelBooks, RunCost};
use super::tally::RunTally;
use super::{ENOUGH_INTERVALS, NAMELESS, TOLERANCE};
use crate::verdict::{Outcome, vantage_name};

/// Adds to a run's report why it is not sure, and what to know.
pub(super) fn weigh(
    report: &mut RunCost,
    run: &RunTally,
    kernels: &[Kernel],
    charged_twice: Option<&(String, String)>,
) {
    let mut because = Vec::new();
    if report.charged.cpu_ns == 0 {
        because.push(
            "no processor time was recorded in this time: run the probe with --cpu on".to_owned(),
        );
    }
    if let Some((one, other)) = charged_twice {
        because.push(format!(
            "nodes {one} and {other} share a kernel and both charge the same cgroups, which counts them twice: give each probe its own node's cgroup root"
        ));
    }
    coverage(run, kernels, &mut because);
    for books in &report.books {
        if let Some(residual) = books
            .residual_share
            .filter(|residual| residual.abs() > TOLERANCE)
        {
            because.push(format!(
                "the books of node {}'s processor time are off by {:.1} %",
                books.node,
                residual * 100.0
            ));
        }
    }
    because.extend(kernels.iter().filter_map(overdrawn));
    let nameless = report
        .subjects
        .iter()
        .filter(|subject| subject.name == NAMELESS);
    let nameless: f64 = nameless.filter_map(|subject| subject.cost.share).sum();
    if nameless > TOLERANCE {
        because.push(format!(
            "{:.1} % of the time was charged without a name, since the probe's map was full",
            nameless * 100.0
        ));
    }
    let losses = report.losses.iter();
    because.extend(losses.filter_map(|loss| reason_of(loss, run, report)));
    if !because.is_empty() {
        report.result = Outcome::Inconclusive;
    }
    report.inconclusive_because = because;
    report.notes = notes(report, run, kernels);
}

/// Whether nodes that share a kernel were charged more together than it ran, though its books
/// balance: each takes what lies at a run's edges as even, for intervals of its own.
fn overdrawn(kernel: &Kernel) -> Option<String> {
    let residual = kernel.books.as_ref()?.residual_share?;
    let (recorded, capacity) = kernel.recorded_of_capacity()?;
    let share = (recorded - capacity) as f64 / capacity.max(1) as f64;
    (share > TOLERANCE && residual.abs() <= TOLERANCE).then(|| {
        format!(
            "{} were charged {:.1} % more together than the machine ran, since their intervals end at different times: run longer, or give their probes a shorter --interval",
            kernel.nodes.join(", "),
            share * 100.0
        )
    })
}

/// Whether the hypervisor took processors away: the clock goes on meanwhile, and so does what is
/// charged. A processor that is woken and has to wait is still idle, so not all of it need be tasks'.
fn stolen(kernel: &Kernel) -> Option<String> {
    let books = kernel.books.as_ref()?;
    let share = books.stolen_share().filter(|share| *share > TOLERANCE)?;
    Some(format!(
        "up to {:.1} % of what was charged on {} was not used: the hypervisor took {:.2} CPU s, which are charged to what was running or idle then",
        share * 100.0,
        kernel.nodes.join(", "),
        books.stolen_cpu_ns? as f64 / 1e9
    ))
}

/// What readers of any of the runs should know, each once.
pub(super) fn notes_of_all(runs: &[RunCost], basis: CycleBasis) -> Vec<String> {
    let mut notes = Vec::new();
    match basis {
        CycleBasis::Hardware => {}
        CycleBasis::Reference => notes.push(
            "cycles are reference cycles: CPU time × the rate of the time-stamp counter, not the processor's own cycles".to_owned(),
        ),
        CycleBasis::Software => notes.push(
            "cycles are a software event's count in the place of cycles: a test of the probe, no measure of cost".to_owned(),
        ),
        CycleBasis::None => notes.push("no cycles were counted: costs are CPU time".to_owned()),
        CycleBasis::Mixed => notes.push(
            "sources of cycles differ: they are not added up, and costs are CPU time".to_owned(),
        ),
    }
    notes.extend(stolen_of_all(runs));
    let mut before: Option<&RunCost> = None;
    for run in runs {
        if let Some(earlier) = before.filter(|earlier| run.from.0 < earlier.to.0) {
            notes.push(format!(
                "runs {} and {} overlap: each is charged all of that time",
                earlier.run, run.run
            ));
        }
        let later = |earlier: &RunCost| earlier.to.0 <= run.to.0;
        if before.is_none_or(later) {
            before = Some(run);
        }
    }
    notes
}

/// In how many runs the hypervisor took much, and where it took most.
fn stolen_of_all(runs: &[RunCost]) -> Option<String> {
    let shares = runs.iter().filter_map(|run| {
        let shares = run.books.iter().filter_map(KernelBooks::stolen_share);
        let most = shares.max_by(f64::total_cmp)?;
        (most > TOLERANCE).then_some((most, &run.run))
    });
    let shares: Vec<(f64, &String)> = shares.collect();
    let (share, run) = shares
        .iter()
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    let of_run = if run.is_empty() {
        String::new()
    } else {
        format!(" in run {run}")
    };
    Some(format!(
        "a hypervisor took processors away in {} of {} runs, for more than {:.0} % of what was charged: on one machine{of_run} up to {:.1} % of what was charged was not used",
        shares.len(),
        runs.len(),
        TOLERANCE * 100.0,
        share * 100.0
    ))
}

fn coverage(run: &RunTally, kernels: &[Kernel], because: &mut Vec<String>) {
    let window = &run.scope.window;
    let mut fewest = f64::INFINITY;
    for (place, node) in &run.nodes {
        if node.watched.is_empty() {
            continue;
        }
        let (covered, intervals) = machine::coverage(&node.watched, window);
        fewest = fewest.min(intervals);
        if covered < 1.0 - TOLERANCE {
            because.push(format!(
                "processor time of node {} was watched for {:.1} % of the run",
                place.node,
                covered * 100.0
            ));
        }
    }
    uplinks(run, because);
    for place in &run.client_nodes {
        let node = run.nodes.get(place);
        let watched = node.into_iter().flat_map(|node| &node.pods_watched);
        let (covered, _) = machine::coverage(watched, window);
        if covered < 1.0 - TOLERANCE {
            because.push(format!(
                "the books of node {}'s pods, the client's among them, cover {:.1} % of the run",
                place.node,
                covered * 100.0
            ));
        }
    }
    for kernel in kernels {
        let covered = kernel
            .books
            .as_ref()
            .map_or(0.0, |books| books.covered_share);
        if covered < 1.0 - TOLERANCE {
            because.push(format!(
                "softirq time of {} was recorded for {:.1} % of the run",
                kernel.nodes.join(", "),
                covered * 100.0
            ));
        }
    }
    if fewest < ENOUGH_INTERVALS {
        because.push(format!(
            "the run lasted {fewest:.1} intervals: fewer than {ENOUGH_INTERVALS} leave its edges too much weight"
        ));
    }
}

/// Nodes whose packets are missing from what costs are divided by.
fn uplinks(run: &RunTally, because: &mut Vec<String>) {
    let mut nodes = run.nodes.values();
    // Where no uplink was watched, nothing is divided by its packets.
    if nodes.all(|node| node.uplinks_watched.is_empty()) {
        return;
    }
    for (place, node) in &run.nodes {
        if node.watched.is_empty() {
            continue;
        }
        let (covered, _) = machine::coverage(&node.uplinks_watched, &run.scope.window);
        if covered < 1.0 - TOLERANCE {
            because.push(format!(
                "the books of node {}'s uplinks cover {:.1} % of the run: other packets there are missing",
                place.node,
                covered * 100.0
            ));
        }
    }
}

fn reason_of(loss: &CostLoss, run: &RunTally, report: &RunCost) -> Option<String> {
    let (lost, of) = match loss.vantage {
        Vantage::Cpu => {
            let nodes = run
                .nodes
                .iter()
                .filter(|(place, _)| place.node == loss.node);
            let events = nodes.map(|(_, node)| {
                let wide = node.wide.values().flat_map(|wide| wide.vectors.values());
                let softirqs: i64 = wide.map(|(_, _, _, events)| events).sum();
                softirqs + node.tasks.events.amount() + node.outside.events.amount()
            });
            // What overflowed is charged, without a name.
            (loss.ring_drops + loss.hook_misses, events.sum::<i64>())
        }
        Vantage::Pod => {
            let client = report.denominators.client_pod?;
            (loss.overflow, client.packets)
        }
        Vantage::Profile => {
            let samples = report
                .profile
                .as_ref()
                .map_or(0, |profile| profile.busy_samples + profile.idle_samples);
            (loss.ring_drops + loss.overflow, samples.cast_signed())
        }
        Vantage::Uplink => (loss.hook_misses, report.denominators.uplinks.packets),
        _ => return None,
    };
    let share = lost as f64 / (lost + of).max(1) as f64;
    (share > TOLERANCE).then(|| {
        format!(
            "node {} lost {:.1} % of what it saw at vantage {}",
            loss.node,
            share * 100.0,
            vantage_name(loss.vantage)
        )
    })
}

fn notes(report: &RunCost, run: &RunTally, kernels: &[Kernel]) -> Vec<String> {
    let mut notes = Vec::new();
    if !report.completed {
        notes.push("the load tool failed: no mean uses this run".to_owned());
    }
    for kernel in kernels.iter().filter(|kernel| kernel.nodes.len() > 1) {
        notes.push(format!(
            "{} share one kernel: softirq and idle time and nodes' memory are the whole machine's, and cannot be told apart by node; they include whatever else runs on it",
            kernel.nodes.join(", ")
        ));
    }
    notes.extend(kernels.iter().filter_map(stolen));
    let without_softirqs = kernels
        .iter()
        .filter(|kernel| kernel.idle_cpu_ns.is_some() && kernel.vectors.is_empty());
    for kernel in without_softirqs {
        notes.push(format!(
            "softirqs of {} have no rows, since they run as threads there (PREEMPT_RT): what the kernel receives and sends is part of other",
            kernel.nodes.join(", ")
        ));
    }
    let unwatched = run.nodes.iter().filter(|(_, node)| node.watched.is_empty());
    for (place, _) in unwatched {
        notes.push(format!(
            "node {} has no processor time: its packets and memory are left out",
            place.node
        ));
    }
    let by_node: Vec<String> = report
        .nodes
        .iter()
        .map(|node| format!("{}: {}", node.node, node.cycle_source.title()))
        .collect();
    if report.cycle_source == CycleBasis::Mixed {
        notes.push(format!(
            "nodes count different cycles ({}), which are not added up",
            by_node.join(", ")
        ));
    }
    if report.parts.iter().all(|part| part.memory.is_none())
        && report.nodes.iter().all(|node| node.memory.is_none())
    {
        notes.push(
            "no memory: the dataset has no table resources for this time (probe: --resources on)"
                .to_owned(),
        );
    }
    let of_profile = report.profile.iter();
    notes.extend(of_profile.flat_map(|profile| components::notes(profile, report.cycle_source)));
    if report.probe_programs.is_none() {
        notes.push(
            "what the probe's own programs cost in the kernel is part of the other lines and was not measured (probe: --measure-self)".to_owned(),
        );
    }
    notes
}
