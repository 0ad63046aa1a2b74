//! What every case costs: one line a run, from what `weighbridge cost` says of it as JSON.

use std::path::PathBuf;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::Tools;
use super::summary::json;

/// What a half's costs are divided by.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Wire packets of the client pod, both directions, each once.
    ClientPacket,
    /// HTTP responses that the Gateway got from its backends.
    Response,
}

/// A run to show, with what its line begins with.
pub struct Line {
    /// The first columns.
    pub labels: Vec<String>,
    /// The dataset.
    pub dataset: PathBuf,
    /// Id of the run.
    pub run: String,
}

/// Parts with a column of their own.
const PARTS: [(&str, &str); 6] = [
    ("kernel_receive", "net_rx"),
    ("kernel_transmit", "net_tx"),
    ("application", "pods"),
    ("gateway", "gateway"),
    ("probe", "probe"),
    ("outside", "outside host"),
];

impl Unit {
    fn key(self) -> &'static str {
        match self {
            Self::ClientPacket => "per_client_packet",
            Self::Response => "per_response",
        }
    }

    fn described(self) -> &'static str {
        match self {
            Self::ClientPacket => {
                "wire packet of the client pod (both directions, each packet once)"
            }
            Self::Response => "HTTP response that the gateway got from its backends",
        }
    }
}

/// Prints a table of the runs; the result is the worst exit code of `weighbridge cost`.
pub fn print(tools: &Tools, labels: &[&str], lines: &[Line], unit: Unit) -> anyhow::Result<u8> {
    let mut table = Table::new();
    let mut header: Vec<&str> = labels.to_vec();
    header.extend(["CPU s", "all"]);
    header.extend(PARTS.map(|(_, title)| title));
    header.extend(["rest", "probe's eBPF", "by uplink packet", "by buffer"]);
    let columns = header.len();
    table.load_style(presets::NOTHING).set_header(header);
    let (mut code, mut sources, mut remarks) = (0, Vec::new(), Vec::new());
    for line in lines {
        let output = tools.weighbridge(
            "cost",
            &line.dataset,
            &["--run", &line.run, "--format", "json"],
        )?;
        let report =
            json(&output).with_context(|| format!("weighbridge cost --run {}", line.run))?;
        let own = output
            .status
            .code()
            .and_then(|code| u8::try_from(code).ok());
        code = super::worse(code, own.unwrap_or(2));
        let run = &report["runs"][0];
        table.add_row(row(line, run, unit));
        sources.push(run["cycle_source"].as_str().unwrap_or("unknown").to_owned());
        let because = run["inconclusive_because"].as_array().into_iter().flatten();
        remarks.extend(
            because.filter_map(|reason| Some(format!("{}: {}", line.run, reason.as_str()?))),
        );
    }
    for column in labels.len()..columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    sources.sort_unstable();
    sources.dedup();
    println!("Costs: {} by {}", counted(&sources), unit.described());
    println!("{table}");
    println!(
        "net_rx and net_tx are the whole machine's, which all nodes and the outside host share"
    );
    remarks
        .iter()
        .for_each(|remark| println!("inconclusive: {remark}"));
    Ok(code)
}

/// What the figures are.
fn counted(sources: &[String]) -> &'static str {
    match sources {
        [one] if one == "hardware" => "cycles",
        [one] if one == "reference" => {
            "reference cycles (CPU time × the time-stamp counter's rate, not the processor's own)"
        }
        [one] if one == "software" => "events of a software counter",
        _ => "nanoseconds of CPU time",
    }
}

fn row(line: &Line, run: &Value, unit: Unit) -> Vec<String> {
    let of = |cost: &Value, key: &str| {
        let (cycles, cpu_ns) = (&cost[key]["cycles"], &cost[key]["cpu_ns"]);
        cycles.as_f64().or(cpu_ns.as_f64())
    };
    let part = |name: &str| {
        let parts = run["parts"].as_array().into_iter().flatten();
        let mut parts = parts.filter(|part| part["part"] == name);
        parts.next().and_then(|part| of(part, unit.key()))
    };
    let all = of(&run["charged"], unit.key());
    let named: f64 = PARTS.iter().filter_map(|(name, _)| part(name)).sum();
    let mut row = line.labels.clone();
    let cpu_s = run["charged"]["cpu_ns"].as_f64().map(|ns| ns / 1e9);
    row.push(cpu_s.map_or_else(dash, |seconds| format!("{seconds:.2}")));
    row.push(shown(all));
    row.extend(PARTS.map(|(name, _)| shown(part(name))));
    row.push(shown(all.map(|all| (all - named).max(0.0))));
    row.push(shown(of(&run["probe_programs"], unit.key())));
    row.push(shown(of(&run["charged"], "per_wire_packet")));
    row.push(shown(of(&run["charged"], "per_buffer")));
    row
}

fn shown(figure: Option<f64>) -> String {
    figure.map_or_else(dash, |figure| format!("{figure:.0}"))
}

fn dash() -> String {
    "–".to_owned()
}
