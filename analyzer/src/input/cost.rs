//! Reads a dataset for `weighbridge cost`: processor time, resources, traffic, file by file.

use trace_schema::cpu::CpuRow;
use trace_schema::flows::FlowRow;
use trace_schema::http::HttpRow;
use trace_schema::ledger::LedgerRow;
use trace_schema::manifest::RunOutcome;
use trace_schema::profile::ProfileRow;
use trace_schema::resources::ResourceRow;

use super::manifest::Run;
use super::traces::{Dataset, DatasetError, Filter};
use crate::cost::{CostEvidence, CostReport, RunScope};
use crate::objects::History;
use crate::verdict::evidence::Window;

/// The longest interval that a probe takes: a row that starts so long before a run may reach into it.
const LONGEST_INTERVAL_US: i64 = 3_600_000_000;

/// The cost of some stretches of a dataset's time.
pub fn read_cost(
    dataset: &Dataset,
    history: &History,
    scopes: Vec<RunScope>,
) -> Result<CostReport, DatasetError> {
    Ok(read_evidence(dataset, history, scopes)?.report())
}

/// What the cost of some stretches of a dataset's time rests on.
pub fn read_evidence<'a>(
    dataset: &Dataset,
    history: &'a History,
    scopes: Vec<RunScope>,
) -> Result<CostEvidence<'a>, DatasetError> {
    let mut evidence = CostEvidence::new(history, scopes);
    let Some((from_us, to_us)) = evidence.span_us() else {
        return Ok(evidence);
    };
    let filter = Filter {
        from_us: Some(from_us.saturating_sub(LONGEST_INTERVAL_US)),
        until_us: Some(to_us),
        nodes: None,
    };
    for row in dataset.rows::<CpuRow>(&filter) {
        evidence.add_cpu(&row?);
    }
    for row in dataset.rows::<ResourceRow>(&filter) {
        evidence.add_resources(&row?);
    }
    for row in dataset.rows::<ProfileRow>(&filter) {
        evidence.add_profile(&row?);
    }
    for row in dataset.rows::<LedgerRow>(&filter) {
        evidence.add_ledger(&row?);
    }
    if evidence.asks_for_flows() {
        for row in dataset.rows::<FlowRow>(&filter) {
            evidence.add_flow(&row?);
        }
    }
    for row in dataset.rows::<HttpRow>(&filter) {
        evidence.add_responses(&row?);
    }
    Ok(evidence)
}

/// A run's time and what is known of it.
pub fn scope_of(run: &Run) -> RunScope {
    let manifest = &run.manifest;
    RunScope {
        run: manifest.id.clone(),
        case: manifest.case.clone(),
        completed: manifest.outcome == RunOutcome::Completed,
        window: Window {
            from_us: manifest.start_us,
            to_us: manifest.end_us,
        },
        client_pod: manifest.client_pod.clone(),
        offloads: manifest.offloads.clone(),
    }
}

/// The time that the rows of `cpu` cover.
pub fn recorded(dataset: &Dataset) -> Result<Option<Window>, DatasetError> {
    let mut covered: Option<Window> = None;
    for batch in dataset.batches::<CpuRow>(&Filter::default()) {
        for row in batch? {
            let known = covered.get_or_insert(Window {
                from_us: row.interval_start_us,
                to_us: row.interval_end_us,
            });
            known.from_us = known.from_us.min(row.interval_start_us);
            known.to_us = known.to_us.max(row.interval_end_us);
        }
    }
    Ok(covered)
}
