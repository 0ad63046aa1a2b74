//! From sums to a report: parts, subjects, nodes, books, and what they are worth.

use std::collections::{BTreeMap, BTreeSet};

use super::Part;
use super::cases::cases;
use super::components::{components, sampled};
use super::doubts;
use super::evidence::CostEvidence;
use super::machine::{Kernel, kernel_of, kernels};
use super::ratios::Divisors;
use super::report::{
    CostLoss, CostReport, CycleBasis, Denominators, Memory, NodeCost, PartCost, RunCost,
    SubjectCost,
};
use super::tally::{Charge, RunTally, Subject, TrafficSum};
use crate::verdict::{Moment, Outcome};

impl CostEvidence<'_> {
    /// What the runs cost.
    pub fn report(&self) -> CostReport {
        let twice = self.charged_twice.as_ref();
        let charged: Vec<(&RunTally, Charges)> =
            self.runs.iter().map(|run| (run, charges(run))).collect();
        let parts: BTreeSet<Part> = charged
            .iter()
            .flat_map(|(run, charges)| parts_of(run, charges))
            .collect();
        let runs = charged.iter();
        let runs = runs.map(|(run, charges)| assess(run, charges, &parts, twice));
        let runs: Vec<RunCost> = runs.collect();
        let results = runs.iter().map(|run| run.result);
        // A run of which nothing was recorded counts no other cycles than the rest do.
        let recorded = runs.iter().filter(|run| run.charged.cpu_ns > 0);
        let cycle_source = CycleBasis::joined(recorded.map(|run| run.cycle_source));
        CostReport {
            result: results.max().unwrap_or(Outcome::Inconclusive),
            cycle_source,
            notes: doubts::notes_of_all(&runs, cycle_source),
            cases: cases(&runs),
            runs,
        }
    }
}

/// Everything charged in a run, by whom.
struct Charges {
    kernels: Vec<Kernel>,
    /// What is kernel-wide: vectors and what lies outside the nodes.
    wide: BTreeMap<(Part, String), Charge>,
    total: Charge,
}

fn assess(
    run: &RunTally,
    charges: &Charges,
    of_all_runs: &BTreeSet<Part>,
    charged_twice: Option<&(String, String)>,
) -> RunCost {
    let basis = CycleBasis::joined(sources(run));
    let denominators = denominators(run);
    let divisors = Divisors::of(&denominators);
    let charged_cpu_ns = charges.total.cpu_ns.amount();
    let cost = |charge: Charge| divisors.cost(charge, basis, charged_cpu_ns);
    let idle: Vec<i64> = charges
        .kernels
        .iter()
        .filter_map(|kernel| kernel.idle_cpu_ns)
        .collect();
    let window = run.scope.window;
    let charged = cost(charges.total);
    let mut report = RunCost {
        run: run.scope.run.clone(),
        case: run.scope.case.clone(),
        from: Moment(window.from_us),
        to: Moment(window.to_us),
        seconds: (window.to_us - window.from_us) as f64 / 1e6,
        completed: run.scope.completed,
        result: Outcome::Pass,
        inconclusive_because: Vec::new(),
        notes: Vec::new(),
        cycle_source: basis,
        charged,
        parts: parts(run, charges, of_all_runs, cost),
        probe_programs: run
            .programs
            .map(|charge| programs(charge, basis, &divisors, charged_cpu_ns)),
        idle_cpu_ns: (!idle.is_empty()).then(|| idle.iter().sum()),
        subjects: subjects(run, charges, cost),
        nodes: nodes(run, charges, &divisors, charged_cpu_ns),
        books: charges
            .kernels
            .iter()
            .filter_map(|kernel| kernel.books.clone())
            .collect(),
        losses: losses(run),
        profile: components(
            &run.profile,
            &run.user_samples,
            &charged,
            sampled(run, &charges.kernels, charges.total),
        ),
        denominators,
    };
    doubts::weigh(&mut report, run, &charges.kernels, charged_twice);
    report
}

/// The probe's own programs: where their rows have no cycles, time alone is known.
fn programs(
    charge: Charge,
    basis: CycleBasis,
    divisors: &Divisors,
    charged_cpu_ns: i64,
) -> super::Cost {
    let counted = charge.cycles.amount() > 0;
    let basis = if counted { basis } else { CycleBasis::None };
    divisors.cost(charge, basis, charged_cpu_ns)
}

fn charges(run: &RunTally) -> Charges {
    let kernels = kernels(run);
    let mut wide: BTreeMap<(Part, String), Charge> = BTreeMap::new();
    for kernel in &kernels {
        for (vector, (part, charge)) in &kernel.vectors {
            let key = (*part, format!("softirq {vector}"));
            wide.entry(key).or_default().join(*charge);
        }
        if kernel.outside != Charge::default() {
            let key = (Part::Outside, "tasks outside the nodes".to_owned());
            wide.entry(key).or_default().join(kernel.outside);
        }
    }
    let mut total = Charge::default();
    wide.values().for_each(|charge| total.join(*charge));
    run.subjects.values().for_each(|charge| total.join(*charge));
    Charges {
        kernels,
        wide,
        total,
    }
}

fn sources(run: &RunTally) -> impl Iterator<Item = CycleBasis> {
    run.nodes
        .values()
        .flat_map(|node| node.sources.iter().copied())
}

/// The parts that something was charged to, or that have memory.
fn parts_of(run: &RunTally, charges: &Charges) -> BTreeSet<Part> {
    let wide = charges.wide.keys().map(|(part, _)| *part);
    let charged = run.subjects.keys().map(|subject| subject.part);
    let held = run.part_memory.keys().map(|(part, _)| *part);
    wide.chain(charged).chain(held).collect()
}

/// The parts of a run. Where nothing was charged to one that another run has, it cost nothing here; but
/// softirqs have rows wherever they are measured.
fn parts(
    run: &RunTally,
    charges: &Charges,
    of_all_runs: &BTreeSet<Part>,
    cost: impl Fn(Charge) -> super::Cost,
) -> Vec<PartCost> {
    let mut sums: BTreeMap<Part, Charge> = BTreeMap::new();
    for ((part, _), charge) in &charges.wide {
        sums.entry(*part).or_default().join(*charge);
    }
    for (subject, charge) in &run.subjects {
        sums.entry(subject.part).or_default().join(*charge);
    }
    let mut memory: BTreeMap<Part, Memory> = BTreeMap::new();
    for ((part, _), watermark) in &run.part_memory {
        if let Some(of_node) = watermark.memory() {
            let sum = memory.entry(*part).or_default();
            sum.mean_bytes += of_node.mean_bytes;
            sum.peak_bytes += of_node.peak_bytes;
        }
    }
    let own = parts_of(run, charges);
    let is_known = |part: &&Part| {
        let is_of_softirqs = matches!(part, Part::KernelReceive | Part::KernelTransmit);
        own.contains(part) || (!is_of_softirqs && charges.total.cpu_ns.amount() > 0)
    };
    let known = of_all_runs.iter().filter(is_known);
    known
        .map(|part| PartCost {
            part: *part,
            cost: cost(sums.get(part).copied().unwrap_or_default()),
            memory: memory.get(part).copied(),
        })
        .collect()
}

fn subjects(
    run: &RunTally,
    charges: &Charges,
    cost: impl Fn(Charge) -> super::Cost,
) -> Vec<SubjectCost> {
    let mut found: Vec<SubjectCost> = Vec::new();
    for ((part, name), charge) in &charges.wide {
        found.push(SubjectCost {
            node: None,
            name: name.clone(),
            is_pod: false,
            part: *part,
            cost: cost(*charge),
            memory: None,
        });
    }
    // A pod's memory is the whole pod's, whatever the parts that its commands are of.
    let mut memories: BTreeMap<(&str, &str), Memory> = BTreeMap::new();
    for (subject, watermark) in &run.memory {
        let key = (subject.node.as_str(), subject.name.as_str());
        memories.extend(watermark.memory().map(|memory| (key, memory)));
    }
    let quiet = run
        .memory
        .keys()
        .filter(|subject| !is_charged(run, subject));
    let quiet = quiet.map(|subject| (subject, Charge::default()));
    let charged = run
        .subjects
        .iter()
        .map(|(subject, charge)| (subject, *charge));
    for (subject, charge) in charged.chain(quiet) {
        let key = (subject.node.as_str(), subject.name.as_str());
        found.push(SubjectCost {
            node: Some(subject.node.clone()),
            name: subject.name.clone(),
            is_pod: subject.is_pod,
            part: subject.part,
            cost: cost(charge),
            memory: memories.get(&key).copied(),
        });
    }
    found.sort_by(|one, other| {
        let key =
            |subject: &SubjectCost| (subject.part, subject.name.clone(), subject.node.clone());
        let dearest = other.cost.cpu_ns.cmp(&one.cost.cpu_ns);
        dearest.then_with(|| key(one).cmp(&key(other)))
    });
    found
}

fn is_charged(run: &RunTally, subject: &Subject) -> bool {
    let mut charged = run.subjects.keys();
    charged.any(|known| (&known.node, &known.name) == (&subject.node, &subject.name))
}

fn nodes(
    run: &RunTally,
    charges: &Charges,
    divisors: &Divisors,
    charged_cpu_ns: i64,
) -> Vec<NodeCost> {
    let watched = run
        .nodes
        .iter()
        .filter(|(_, node)| !node.watched.is_empty());
    let cost = watched.map(|(place, node)| {
        let kernel = kernel_of(&charges.kernels, place);
        let basis = node.basis();
        let softirqs = kernel.map(Kernel::softirqs).unwrap_or_default();
        NodeCost {
            node: place.node.clone(),
            boot_id: place.boot_id.clone(),
            cycle_source: basis,
            tasks: divisors.cost(node.tasks, basis, charged_cpu_ns),
            softirqs: divisors.cost(softirqs, basis, charged_cpu_ns),
            nodes_on_kernel: kernel.map_or(1, |kernel| kernel.nodes.len()),
            uplinks: node.uplinks.total(),
            memory: node.memory.memory(),
        }
    });
    let mut nodes: Vec<NodeCost> = cost.collect();
    nodes.sort_by(|one, other| one.node.cmp(&other.node));
    nodes
}

fn denominators(run: &RunTally) -> Denominators {
    let mut uplinks = TrafficSum::default();
    let mut names = Vec::new();
    for (place, node) in &run.nodes {
        if !node.watched.is_empty() && !node.uplinks_watched.is_empty() {
            uplinks.join(node.uplinks);
            names.push(place.node.as_str());
        }
    }
    names.sort_unstable();
    names.dedup();
    let mut described = vec![match names.as_slice() {
        [] => "no wire packets, buffers and bytes: no uplink's books".to_owned(),
        names => format!(
            "wire packets, buffers and bytes: all flows at the uplinks of {}, both directions; a packet counts at every uplink that it passes",
            names.join(", ")
        ),
    }];
    described.extend(run.scope.offloads.iter().map(|(interface, offloads)| {
        let offloads = match offloads.as_slice() {
            [] => "none".to_owned(),
            offloads => offloads.join(", "),
        };
        format!("offloads of {interface}: {offloads}")
    }));
    let client_pod = run.has_client.then(|| run.client.total());
    if let (Some(name), Some(_)) = (&run.scope.client_pod, client_pod) {
        described.push(format!(
            "client packets: all flows at the sockets of pod {name}, both directions, each packet once"
        ));
    }
    let (by_gateway, all) = (run.responses.0.amount(), run.responses.1.amount());
    let responses = if by_gateway > 0 { by_gateway } else { all };
    if by_gateway > 0 {
        described.push("responses: those that Gateways' data planes got from pods".to_owned());
    } else if all > 0 {
        described.push("responses: all that pods gave, since no Gateway asked".to_owned());
    }
    Denominators {
        uplinks: uplinks.total(),
        client_pod,
        responses: (responses > 0).then_some(responses),
        described,
    }
}

fn losses(run: &RunTally) -> Vec<CostLoss> {
    let lost = run.losses.iter().filter(|(_, sums)| {
        let any = [sums.overflow, sums.ring_drops, sums.hook_misses];
        any != [0; 3]
    });
    lost.map(|((node, vantage), sums)| CostLoss {
        node: node.clone(),
        vantage: *vantage,
        overflow: sums.overflow,
        ring_drops: sums.ring_drops,
        hook_misses: sums.hook_misses,
    })
    .collect()
}
