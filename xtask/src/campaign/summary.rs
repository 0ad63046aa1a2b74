//! The end of a campaign: one line a case from what `weighbridge` says of its runs, then its
//! comparison and its report.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use trace_schema::manifest::{RunManifest, RunOutcome};

use super::file::Study;
use super::plan::{Plan, PlannedRun};
use super::records::Records;
use crate::command::display;
use crate::demo::json;

/// Columns that say which case a line is of, and then what of it.
const FIGURES: [&str; 3] = ["done", "failed attempts", "verdicts"];

/// What one run gave.
struct Outcome {
    figure: Option<f64>,
    result: String,
}

/// Prints the table of cases, the comparison and where the report is; false where there is none.
pub fn print(plan: &Plan, dataset: &Path, weighbridge: &Path) -> anyhow::Result<bool> {
    let records = Records::read(dataset)?;
    let mut cases: BTreeMap<Vec<&str>, Vec<&PlannedRun>> = BTreeMap::new();
    for run in &plan.runs {
        let factors = run.factors.values().map(String::as_str);
        let key = [run.case.as_str()].into_iter().chain(factors).collect();
        cases.entry(key).or_default().push(run);
    }
    let factors = plan
        .runs
        .first()
        .map(|run| run.factors.keys().map(String::as_str));
    let mut header = vec!["case"];
    header.extend(factors.into_iter().flatten());
    header.extend([figure_name(plan.study), "least–most"]);
    header.extend(FIGURES);
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(&header);
    for (key, runs) in cases {
        let mut row: Vec<String> = key.into_iter().map(str::to_owned).collect();
        row.extend(case_figures(
            plan.study,
            dataset,
            weighbridge,
            &records,
            &runs,
        ));
        table.add_row(row);
    }
    let first_figure = header.len() - FIGURES.len() - 2;
    for column in first_figure..header.len() - 1 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    // Too few runs to compare is an answer too, and the report is made of them all the same.
    analyse(weighbridge, dataset, "compare", &[])?;
    let report = dataset.join("report.html");
    let output = ["-o".to_owned(), report.display().to_string()];
    let reported = analyse(weighbridge, dataset, "report", &output)?;
    println!("dataset: {}", dataset.display());
    if reported {
        println!("report: {}", report.display());
    }
    Ok(reported)
}

fn figure_name(study: Study) -> &'static str {
    match study {
        Study::Egress => "goodput, mean, Gbit/s",
        Study::Ingress => "share of the first backend, mean",
    }
}

fn case_figures(
    study: Study,
    dataset: &Path,
    weighbridge: &Path,
    records: &Records,
    runs: &[&PlannedRun],
) -> Vec<String> {
    let done: Vec<&RunManifest> = runs
        .iter()
        .filter_map(|run| records.completed(run))
        .collect();
    let failed = runs
        .iter()
        .flat_map(|run| records.attempts(run))
        .filter(|manifest| manifest.outcome == RunOutcome::Failed)
        .count();
    let outcomes: Vec<Outcome> = done
        .iter()
        .map(|run| outcome(study, dataset, weighbridge, &run.id))
        .collect();
    let figures: Vec<f64> = outcomes
        .iter()
        .filter_map(|outcome| outcome.figure)
        .collect();
    let mut verdicts = BTreeMap::<&str, usize>::new();
    for outcome in &outcomes {
        *verdicts.entry(&outcome.result).or_default() += 1;
    }
    let verdicts = verdicts
        .iter()
        .map(|(result, runs)| format!("{result} {runs}"));
    let (mean, range) = mean_and_range(&figures, if study == Study::Egress { 2 } else { 4 });
    vec![
        mean,
        range,
        format!("{}/{}", done.len(), runs.len()),
        failed.to_string(),
        verdicts.collect::<Vec<_>>().join(", "),
    ]
}

fn mean_and_range(figures: &[f64], digits: usize) -> (String, String) {
    if figures.is_empty() {
        return ("–".to_owned(), "–".to_owned());
    }
    let mean = figures.iter().sum::<f64>() / figures.len() as f64;
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (
        format!("{mean:.digits$}"),
        format!("{least:.digits$}–{most:.digits$}"),
    )
}

fn outcome(study: Study, dataset: &Path, weighbridge: &Path, run: &str) -> Outcome {
    let subcommand = match study {
        Study::Egress => "egress",
        Study::Ingress => "split",
    };
    let mut command = Command::new(weighbridge);
    command.args([subcommand, "--format", "json", "--run", run, "--dataset"]);
    command.arg(dataset).stdin(Stdio::null());
    let answered = command.output().map_err(anyhow::Error::from);
    let report = match answered.and_then(|output| json(&output)) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("`{}`: {error:#}", display(&command));
            Value::Null
        }
    };
    Outcome {
        figure: match study {
            Study::Egress => goodput_gbit(&report),
            Study::Ingress => report["rules"][0]["stages"][0]["backends"][0]["share"].as_f64(),
        },
        result: report["result"].as_str().unwrap_or("not judged").to_owned(),
    }
}

/// Of all clients of the run.
fn goodput_gbit(report: &Value) -> Option<f64> {
    let files = report["runs"].as_array()?;
    let goodput = files
        .iter()
        .map(|file| file["goodput_bits_per_second"].as_f64());
    let sum: Option<f64> = goodput.sum();
    sum.filter(|_| !files.is_empty()).map(|sum| sum / 1e9)
}

/// Runs a subcommand of `weighbridge` on all runs, for the user to read; false where it could not
/// do its work. Failures and too little evidence are results.
fn analyse(
    weighbridge: &Path,
    dataset: &Path,
    subcommand: &str,
    arguments: &[String],
) -> anyhow::Result<bool> {
    let mut command = Command::new(weighbridge);
    command.arg(subcommand).arg("--dataset").arg(dataset);
    command.args(arguments).stdin(Stdio::null());
    eprintln!("$ {}", display(&command));
    let status = command
        .status()
        .with_context(|| format!("could not start `{}`", display(&command)))?;
    Ok(matches!(status.code(), Some(0 | 1 | 3)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn goodput_is_that_of_all_clients_or_none() {
        let of = |goodput: &[Option<f64>]| {
            let files = goodput
                .iter()
                .map(|one| json!({"goodput_bits_per_second": one}));
            goodput_gbit(&json!({"runs": files.collect::<Vec<_>>()}))
        };
        assert_eq!(of(&[Some(2e9)]), Some(2.0));
        assert_eq!(of(&[Some(2e9), Some(1e9)]), Some(3.0));
        assert_eq!(of(&[Some(2e9), None]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(goodput_gbit(&Value::Null), None);
    }

    #[test]
    fn no_runs_have_no_mean() {
        assert_eq!(mean_and_range(&[], 2).0, "–");
        let (mean, range) = mean_and_range(&[1.0, 2.0], 2);
        assert_eq!((mean.as_str(), range.as_str()), ("1.50", "1.00–2.00"));
    }
}
