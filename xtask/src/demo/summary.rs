//! One line a case, from what `weighbridge` says of it as JSON.

use std::path::Path;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::Tools;
use super::egress::Case;

const HEADER: [&str; 10] = [
    "datapath",
    "case",
    "protocol",
    "connections",
    "sent bytes",
    "left as",
    "by node",
    "verdict",
    "iperf3 / probe, payload bytes",
    "books",
];

/// Prints the table of all cases.
pub fn print(tools: &Tools, cases: &[Case]) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    for case in cases {
        let arguments = ["--run", &case.run, "--pod", &case.pod, "--format", "json"];
        let dataset = tools.dataset_of(case.datapath);
        let report = json(&tools.weighbridge("egress", &dataset, &arguments)?)
            .with_context(|| format!("weighbridge egress --run {}", case.run))?;
        table.add_row(row(case, &report, &books(tools, &dataset)?));
    }
    for column in [3, 4, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    Ok(())
}

fn row(case: &Case, report: &Value, books: &str) -> Vec<String> {
    let verdicts: Vec<(&String, &Value)> = report["verdicts"]
        .as_object()
        .into_iter()
        .flatten()
        .collect();
    let total = |field: &str| -> i64 {
        verdicts
            .iter()
            .filter_map(|(_, tally)| tally[field].as_i64())
            .sum()
    };
    let exits = |field: &str| {
        let policies = report["policies"].as_array().into_iter().flatten();
        let exits = policies.flat_map(|policy| policy["exits"].as_array().into_iter().flatten());
        let mut names: Vec<&str> = exits
            .filter_map(|seen| seen["exit"][field].as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            "–".to_owned()
        } else {
            names.join(", ")
        }
    };
    let verdict: Vec<String> = match verdicts.as_slice() {
        [(verdict, _)] => vec![(*verdict).clone()],
        several => several
            .iter()
            .map(|(verdict, tally)| format!("{verdict} {}", tally["connections"]))
            .collect(),
    };
    vec![
        case.datapath.to_owned(),
        case.way.to_owned(),
        case.protocol.to_owned(),
        total("connections").to_string(),
        total("bytes").to_string(),
        exits("address"),
        exits("node"),
        verdict.join(", "),
        payload(report),
        books.to_owned(),
    ]
}

/// iperf3's bytes beside the probe's.
fn payload(report: &Value) -> String {
    let reconciliation = &report["runs"][0]["reconciliation"];
    let totals = reconciliation["totals"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let sum = |field: &str| -> i64 {
        totals
            .iter()
            .filter_map(|total| total["comparison"][field].as_i64())
            .sum()
    };
    format!(
        "{} / {} ({})",
        sum("iperf3_bytes"),
        sum("payload_estimate_bytes"),
        reconciliation["agreement"]
            .as_str()
            .unwrap_or("not compared")
    )
}

fn books(tools: &Tools, dataset: &Path) -> anyhow::Result<String> {
    let report = json(&tools.weighbridge("inspect", dataset, &["--format", "json"])?)
        .context("weighbridge inspect")?;
    Ok(report["books"]["balance"]
        .as_str()
        .unwrap_or("unknown")
        .to_owned())
}

/// What a subcommand printed as JSON.
pub fn json(output: &std::process::Output) -> anyhow::Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        format!("no JSON ({}): {}", output.status, stderr.trim())
    })
}
