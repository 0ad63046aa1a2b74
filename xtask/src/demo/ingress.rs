//! The ingress half: nginx and Envoy, weights 60 to 40, from one virtual user to a hundred, and one
//! line a run from what `weighbridge split` says of it as JSON.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::ProgressBar;
use lab::{DataPlane, Ingress, IngressConfig, K6Options, ProbeOptions};
use serde_json::Value;

use super::Tools;
use super::cost::{self, Line, Unit};
use super::summary::json;

/// Virtual users of the runs.
const USERS: [u32; 3] = [1, 10, 100];
const SECONDS: u64 = 10;
/// Between runs, so that each has intervals of its own.
const PAUSE: Duration = Duration::from_millis(1200);

const HEADER: [&str; 9] = [
    "data plane",
    "users",
    "requests, k6",
    "responses, probe",
    "echo-v1 of 0.6",
    "95 % interval",
    "distance ÷ expected",
    "verdict ±0.01",
    "account",
];

/// How many steps [`run`] reports.
pub fn steps() -> u64 {
    (DataPlane::ALL.len() * USERS.len()) as u64
}

/// Name of a data plane's dataset.
pub fn dataset_name(data_plane: DataPlane) -> String {
    format!("ingress-{}", data_plane.name())
}

/// Runs k6 against both data planes, each into a dataset of its own.
pub fn run(tools: &Tools, bar: &ProgressBar) -> anyhow::Result<()> {
    for data_plane in DataPlane::ALL {
        let name = data_plane.name();
        bar.set_message(format!("{name}: bringing the Gateway up"));
        bar.tick();
        let config = IngressConfig {
            object: Some(tools.object.clone()),
            ..IngressConfig::new(data_plane, &tools.k6, &tools.envoy)
        };
        let mut ingress = Ingress::up(config)?;
        let dataset = tools.dataset_of(&dataset_name(data_plane));
        let mut probes = ProbeOptions::new(&tools.probe, &dataset);
        probes.arguments.push("--measure-self".to_owned());
        let probes = ingress.lab().start_probes(&probes)?;
        let prober = ingress.start_prober()?;
        for users in USERS {
            bar.set_message(format!("{name}: k6 with {users} virtual users"));
            bar.tick();
            let run = ingress
                .k6(&K6Options::new(users, SECONDS))
                .with_context(|| format!("k6 with {users} virtual users against {name}"))?;
            let case = format!("lab-ingress-{name}-{users}");
            run.write(&dataset, &run_id(data_plane, users), &case)?;
            bar.inc(1);
            thread::sleep(PAUSE);
        }
        prober.stop();
        probes.stop()?;
        ingress.write_objects(&dataset)?;
        ingress.down()?;
    }
    Ok(())
}

/// Prints a line for every run.
pub fn print(tools: &Tools) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    let mut undecided = 0;
    for data_plane in DataPlane::ALL {
        for users in USERS {
            let run = run_id(data_plane, users);
            let dataset = tools.dataset_of(&dataset_name(data_plane));
            let arguments = ["--run", &run, "--format", "json"];
            let report = json(&tools.weighbridge("split", &dataset, &arguments)?)
                .with_context(|| format!("weighbridge split --run {run}"))?;
            let mut row = vec![data_plane.name().to_owned(), users.to_string()];
            row.extend(figures(&report));
            undecided += usize::from(report["result"] == "inconclusive");
            table.add_row(row);
        }
    }
    for column in 1..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    if undecided > 0 {
        println!(
            "{undecided} of {} runs are too short to show ±0.01 by themselves; the verdicts above are of all \
             runs of a data plane together",
            DataPlane::ALL.len() * USERS.len()
        );
    }
    Ok(())
}

/// Prints what each run costs.
pub fn print_costs(tools: &Tools) -> anyhow::Result<u8> {
    let mut lines = Vec::new();
    for data_plane in DataPlane::ALL {
        for users in USERS {
            lines.push(Line {
                labels: vec![data_plane.name().to_owned(), users.to_string()],
                dataset: tools.dataset_of(&dataset_name(data_plane)),
                run: run_id(data_plane, users),
            });
        }
    }
    cost::print(tools, &["data plane", "users"], &lines, Unit::Response)
}

fn figures(report: &Value) -> Vec<String> {
    let stage = &report["rules"][0]["stages"][0];
    let first = &stage["backends"][0];
    let (judgement, run) = (&stage["judgements"][0], &report["runs"][0]);
    let decimal = |value: &Value, digits: usize| match value.as_f64() {
        Some(value) => format!("{value:.digits$}"),
        None => "–".to_owned(),
    };
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    };
    let interval = &first["interval"];
    vec![
        word(&run["requests"]),
        word(&stage["responses"]),
        decimal(&first["share"], 4),
        format!(
            "{}–{}",
            decimal(&interval["low"], 4),
            decimal(&interval["high"], 4)
        ),
        decimal(&judgement["distance"]["ratio"], 2),
        word(&judgement["result"]),
        word(&run["account"]["closure"]),
    ]
}

fn run_id(data_plane: DataPlane, users: u32) -> String {
    format!("{}-{users}", data_plane.name())
}
