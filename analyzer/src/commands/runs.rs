//! Load runs beside the verdicts: iperf3's own figures and what the probe counted for them.
//!
//! A run that failed says nothing of the traffic it did not make, so its error is kept and the
//! command does not end as a pass.

use std::collections::HashSet;

use serde::Serialize;
use trace_schema::flows::{Direction, FlowRow};
use trace_schema::ledger::{LedgerRow, Vantage};

use crate::input::iperf3::{Iperf3Result, Status};
use crate::input::manifest::Run;
use crate::input::traces::{Dataset, Filter};
use crate::reconcile::{Reconciliation, reconcile};
use crate::verdict::Moment;

/// One file of a run of iperf3.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunFigures {
    /// The run.
    pub run: String,
    /// Its case.
    pub case: String,
    /// The client pod.
    pub client_pod: Option<String>,
    /// File in the run's folder.
    pub file: String,
    /// Start.
    pub from: Moment,
    /// End.
    pub to: Moment,
    /// How iperf3 ended.
    pub status: Status,
    /// What arrived, by iperf3, of all directions; absent where an end did not report.
    pub goodput_bits_per_second: Option<f64>,
    /// Its bytes against the pod's flows.
    pub reconciliation: Reconciliation,
}

/// Kind under which manifests list iperf3's output.
const KIND: &str = "iperf3-json";

/// A run's clock and the probes' intervals differ by less.
const MARGIN_US: i64 = 2_000_000;

impl RunFigures {
    /// What went wrong, as one line; `None` for a run that ended well.
    pub fn trouble(&self) -> Option<String> {
        let what = match &self.status {
            Status::Complete | Status::Interrupted(_) => return None,
            Status::ServerDied(text) => format!("the server died: {text}"),
            Status::Unfinished => "iperf3 was killed before it ended".to_owned(),
            Status::Error(text) => text.clone(),
        };
        Some(format!("run {}, {}: iperf3: {what}", self.run, self.file))
    }
}

/// Reads the iperf3 files of `runs` and holds each against the flows of its time.
pub fn read(dataset: &Dataset, runs: &[&Run]) -> anyhow::Result<Vec<RunFigures>> {
    let mut figures = Vec::new();
    for run in runs.iter().filter(|run| run.manifest.tool == "iperf3") {
        for path in run.files_of_kind(KIND) {
            let result = Iperf3Result::read(&path)?;
            let file = path
                .strip_prefix(&run.folder)
                .unwrap_or(&path)
                .display()
                .to_string();
            figures.push(RunFigures {
                run: run.manifest.id.clone(),
                case: run.manifest.case.clone(),
                client_pod: run.manifest.client_pod.clone(),
                file,
                from: Moment(run.manifest.start_us),
                to: Moment(run.manifest.end_us),
                status: result.status.clone(),
                goodput_bits_per_second: goodput(&result),
                reconciliation: held_against_flows(dataset, run, &result)?,
            });
        }
    }
    Ok(figures)
}

fn goodput(result: &Iperf3Result) -> Option<f64> {
    let parts: Option<Vec<f64>> = result
        .transfers
        .iter()
        .map(|transfer| transfer.goodput_bits_per_second())
        .collect();
    parts
        .filter(|parts| !parts.is_empty())
        .map(|parts| parts.iter().sum())
}

fn held_against_flows(
    dataset: &Dataset,
    run: &Run,
    result: &Iperf3Result,
) -> anyhow::Result<Reconciliation> {
    let filter = Filter {
        from_us: Some(run.manifest.start_us.saturating_sub(MARGIN_US)),
        until_us: Some(run.manifest.end_us.saturating_add(MARGIN_US)),
        nodes: None,
    };
    let mut servers: HashSet<(String, i32)> = result
        .streams
        .iter()
        .map(|stream| (stream.remote.address.clone(), i32::from(stream.remote.port)))
        .collect();
    servers.extend(
        result
            .server
            .iter()
            .map(|end| (end.address.clone(), i32::from(end.port))),
    );
    let mut flows = Vec::new();
    for row in dataset.rows::<FlowRow>(&filter) {
        let row = row?;
        let server = match row.direction {
            Direction::Egress => (row.dst_address.clone(), row.dst_port),
            Direction::Ingress => (row.src_address.clone(), row.src_port),
        };
        if row.vantage == Vantage::Pod && servers.contains(&server) {
            flows.push(row);
        }
    }
    let mut lost_packets = 0;
    for row in dataset.rows::<LedgerRow>(&filter) {
        let row = row?;
        if row.vantage == Vantage::Pod {
            lost_packets += row.overflow.packets;
        }
    }
    Ok(reconcile(result, &flows, lost_packets))
}
