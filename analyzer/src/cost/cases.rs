//! Means over the completed runs of a case; the unit that repeats is the run.

use std::collections::BTreeMap;

use super::report::{CaseCost, Cost, CycleBasis, Mean, MeanCost, MeanPart, RunCost};
use super::{CONFIDENCE, Part};
use crate::stats::mean::mean;
use crate::verdict::Outcome;

/// The cases of these runs, by name; runs without a case, and those that failed, are in none.
pub(super) fn cases(runs: &[RunCost]) -> Vec<CaseCost> {
    let mut by_case: BTreeMap<&str, Vec<&RunCost>> = BTreeMap::new();
    let counted = runs
        .iter()
        .filter(|run| run.completed && !run.case.is_empty());
    for run in counted {
        by_case.entry(run.case.as_str()).or_default().push(run);
    }
    let cases = by_case.into_iter();
    cases.map(|(case, runs)| case_cost(case, &runs)).collect()
}

fn case_cost(case: &str, runs: &[&RunCost]) -> CaseCost {
    let cycle_source = CycleBasis::joined(runs.iter().map(|run| run.cycle_source));
    let charged: Vec<Cost> = runs.iter().map(|run| run.charged).collect();
    let of_part = |part: Part| {
        let costs = runs.iter().map(|run| {
            let mut parts = run.parts.iter();
            let found = parts.find(|found| found.part == part);
            found.map(|found| found.cost)
        });
        costs.map(Option::unwrap_or_default).collect::<Vec<Cost>>()
    };
    let in_any = |part: &Part| {
        let mut parts = runs.iter().flat_map(|run| &run.parts);
        parts.any(|found| found.part == *part)
    };
    let parts = Part::ALL.into_iter().filter(in_any);
    let parts = parts.map(|part| MeanPart {
        part,
        cost: means(&of_part(part), cycle_source),
    });
    CaseCost {
        case: case.to_owned(),
        runs: runs.iter().map(|run| run.run.clone()).collect(),
        inconclusive_runs: runs
            .iter()
            .filter(|run| run.result == Outcome::Inconclusive)
            .map(|run| run.run.clone())
            .collect(),
        cycle_source,
        parts: parts.collect(),
        charged: means(&charged, cycle_source),
    }
}

fn means(costs: &[Cost], basis: CycleBasis) -> MeanCost {
    let of = |figure: fn(&Cost) -> Option<f64>| mean_of(costs.iter().map(figure));
    let cycles = |figure: fn(&Cost) -> Option<f64>| {
        if basis.counts() {
            of(figure)
        } else {
            Mean::default()
        }
    };
    MeanCost {
        cpu_ns: of(|cost| Some(cost.cpu_ns as f64)),
        cycles_per_wire_packet: cycles(|cost| cost.per_wire_packet.cycles),
        cpu_ns_per_wire_packet: of(|cost| cost.per_wire_packet.cpu_ns),
        cycles_per_buffer: cycles(|cost| cost.per_buffer.cycles),
        cpu_ns_per_buffer: of(|cost| cost.per_buffer.cpu_ns),
        cycles_per_byte: cycles(|cost| cost.per_byte.cycles),
        cpu_ns_per_byte: of(|cost| cost.per_byte.cpu_ns),
        cycles_per_client_packet: cycles(|cost| cost.per_client_packet.cycles),
        cpu_ns_per_client_packet: of(|cost| cost.per_client_packet.cpu_ns),
        cycles_per_response: cycles(|cost| cost.per_response.cycles),
        cpu_ns_per_response: of(|cost| cost.per_response.cpu_ns),
        cpu_seconds_per_gbit: of(|cost| cost.cpu_seconds_per_gbit),
        cpu_seconds_per_client_gbit: of(|cost| cost.cpu_seconds_per_client_gbit),
    }
}

fn mean_of(figures: impl Iterator<Item = Option<f64>>) -> Mean {
    let Some(sample) = figures.collect::<Option<Vec<f64>>>() else {
        return Mean::default();
    };
    let sum: f64 = sample.iter().sum();
    Mean {
        value: (!sample.is_empty()).then(|| sum / sample.len() as f64),
        estimate: mean(&sample, CONFIDENCE),
    }
}
