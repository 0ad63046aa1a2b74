//! `weighbridge egress`: reads a dataset, its objects and its runs, and prints the verdicts.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;
use trace_schema::flows::FlowSighting;
use trace_schema::ledger::LedgerRow;
use trace_schema::manifest::RunOutcome;
use trace_schema::objects::ObjectRow;
use trace_schema::snat::SnatRow;

use super::runs::{self, RunFigures};
use crate::cli::{EgressArgs, ReportFormat};
use crate::input::manifest::{Run, read_runs};
use crate::input::objects::read_folder;
use crate::input::traces::{Dataset, Filter};
use crate::objects::History;
use crate::policy::{Engine, EngineOptions};
use crate::report;
use crate::verdict::cluster::Objects;
use crate::verdict::egress::Focus;
use crate::verdict::evidence::Window;
use crate::verdict::peers::{PeerSighting, read_peers};
use crate::verdict::{EgressReport, Evidence, Options, Outcome, assess};

/// Kinds of objects that are egress policies.
const POLICY_KINDS: [&str; 4] = [
    "Egress",
    "CiliumEgressGatewayPolicy",
    "EgressIP",
    "StaticGatewayConfiguration",
];

/// Failed runs that the line about them names.
const NAMED_RUNS: usize = 5;

/// Why there is no verdict.
pub(super) const NOTHING_JUDGED: &str = "no egress connection matches: nothing was judged";

/// Runs the command.
pub fn run(args: &EgressArgs) -> anyhow::Result<u8> {
    let dataset = Dataset::open(&args.dataset)?;
    let all_runs = read_runs(&dataset.runs_dir())?;
    let runs = chosen_runs(&all_runs, &args.runs)?;
    let objects = object_rows(&dataset, args.objects.as_deref())?;
    let has_policies = has_policies(&objects);
    let history = History::new(objects).context("objects")?;
    let options = Options {
        focus: focus(args, &runs),
        pods: args.pods.clone(),
        policies: args.policies.clone(),
        grace_us: i64::try_from(args.grace.as_micros()).unwrap_or(i64::MAX),
        runs: runs.iter().map(|run| window(run)).collect(),
        peers: args.peers.as_deref().map(peer_log).transpose()?,
        list_connections: args.connections,
    };
    let engine = EngineOptions {
        except_cidrs: args.except_cidrs.clone(),
        ..Default::default()
    };
    let judged = judged(&dataset, &history, has_policies, engine, &options)?;
    let Some((report, warnings)) = judged else {
        eprintln!("weighbridge: {NOTHING_JUDGED}, so nothing passes");
        return Ok(super::INCONCLUSIVE);
    };
    for warning in &warnings {
        eprintln!("weighbridge: {warning}");
    }
    let document = Document {
        report,
        warnings,
        runs: runs::read(&dataset, &runs)?,
    };
    super::print(&render(&document, args)?)?;
    match document.runs.iter().find_map(RunFigures::trouble) {
        Some(trouble) if document.report.result != Outcome::Fail => bail!(trouble),
        _ => Ok(document.report.result.exit_code()),
    }
}

/// Whether the objects hold a policy of any kind.
pub(super) fn has_policies(objects: &[ObjectRow]) -> bool {
    let mut kinds = objects.iter().map(|row| row.kind.as_str());
    kinds.any(|kind| POLICY_KINDS.contains(&kind))
}

/// Judges the connections of a dataset and says which policies it cannot judge; `None` if no
/// connection matches the options.
pub(super) fn judged(
    dataset: &Dataset,
    history: &History,
    has_policies: bool,
    engine: EngineOptions,
    options: &Options,
) -> anyhow::Result<Option<(EgressReport, Vec<String>)>> {
    let cluster = Objects::new(history, Engine::new(history, engine)?, has_policies);
    let shown = dataset.root().display();
    let evidence = read_evidence(dataset).with_context(|| format!("dataset {shown}"))?;
    let Some(mut report) = assess(&evidence, &cluster, options) else {
        return Ok(None);
    };
    add_lints(&mut report, &cluster);
    let warnings = unjudged_policies(history);
    if !warnings.is_empty() {
        report.result = report.result.max(Outcome::Inconclusive);
    }
    Ok(Some((report, warnings)))
}

/// What `--format json` prints: the report's fields, then the runs.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(flatten)]
    report: EgressReport,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    runs: Vec<RunFigures>,
}

fn render(document: &Document, args: &EgressArgs) -> anyhow::Result<String> {
    Ok(match args.format {
        ReportFormat::Table => report::table::egress(&document.report, &document.runs),
        ReportFormat::Json => report::json::render(document).context("JSON")?,
        ReportFormat::Junit => report::junit::egress(&document.report).context("JUnit")?,
    })
}

/// Kinds of policy that the objects hold and no verdict knows of: nothing passes beside them.
fn unjudged_policies(history: &History) -> Vec<String> {
    let kinds = POLICY_KINDS
        .iter()
        .filter(|kind| history.ignored.contains_key(**kind));
    kinds
        .map(|kind| format!("policies of kind {kind} are not judged, so nothing passes"))
        .collect()
}

fn add_lints(report: &mut EgressReport, cluster: &Objects<'_>) {
    let mut lints: Vec<String> = cluster
        .engine
        .lints()
        .into_iter()
        .map(|lint| format!("{}: {}", lint.policy, lint.message))
        .collect();
    lints.sort();
    lints.dedup();
    report.anomalies.extend(lints);
}

/// The runs that were asked for; else all that were completed, and a line names those that were not:
/// what a failed run's tool left behind says nothing.
pub(super) fn chosen_runs<'a>(runs: &'a [Run], ids: &[String]) -> anyhow::Result<Vec<&'a Run>> {
    if let Some(id) = ids
        .iter()
        .find(|id| runs.iter().all(|run| run.manifest.id != **id))
    {
        let known: Vec<&str> = runs.iter().map(|run| run.manifest.id.as_str()).collect();
        let known = if known.is_empty() {
            "no runs".to_owned()
        } else {
            known.join(", ")
        };
        bail!("--run {id}: the dataset has {known}");
    }
    if !ids.is_empty() {
        let asked = runs.iter().filter(|run| ids.contains(&run.manifest.id));
        return Ok(asked.collect());
    }
    let is_completed = |run: &&Run| run.manifest.outcome == RunOutcome::Completed;
    let (completed, failed): (Vec<&Run>, Vec<&Run>) = runs.iter().partition(is_completed);
    if !failed.is_empty() {
        eprintln!("weighbridge: {}", left_out(&failed));
    }
    Ok(completed)
}

/// One line, however many there are.
fn left_out(failed: &[&Run]) -> String {
    let names: Vec<&str> = failed.iter().map(|run| run.manifest.id.as_str()).collect();
    match names.as_slice() {
        [only] => format!("the failed run {only} is left out; --run {only} reads it"),
        [first, ..] => format!(
            "{} failed runs are left out: {}; --run {first} reads one",
            names.len(),
            shortened(&names)
        ),
        [] => String::new(),
    }
}

fn shortened(names: &[&str]) -> String {
    match names.get(..NAMED_RUNS) {
        Some(some) if names.len() > NAMED_RUNS => format!("{}, …", some.join(", ")),
        _ => names.join(", "),
    }
}

pub(super) fn window(run: &Run) -> Window {
    Window {
        from_us: run.manifest.start_us,
        to_us: run.manifest.end_us,
    }
}

/// What `--run`, `--from` and `--to` leave; everything if none is given.
fn focus(args: &EgressArgs, runs: &[&Run]) -> Vec<Focus> {
    let from_us = args.from.map_or(i64::MIN, |from| from.0);
    let to_us = args.to.map_or(i64::MAX, |to| to.0);
    let bounded = |window: Window| Window {
        from_us: window.from_us.max(from_us),
        to_us: window.to_us.min(to_us),
    };
    if args.runs.is_empty() {
        let whole = Focus {
            window: Window { from_us, to_us },
            pod: None,
            server: None,
        };
        return if args.from.or(args.to).is_some() {
            vec![whole]
        } else {
            Vec::new()
        };
    }
    runs.iter()
        .map(|run| Focus {
            window: bounded(window(run)),
            pod: run.manifest.client_pod.clone(),
            server: run
                .manifest
                .server_address
                .as_deref()
                .and_then(|text| text.parse().ok()),
        })
        .collect()
}

pub(super) fn object_rows(
    dataset: &Dataset,
    folder: Option<&Path>,
) -> anyhow::Result<Vec<ObjectRow>> {
    let mut rows: Vec<ObjectRow> = dataset
        .rows::<ObjectRow>(&Filter::default())
        .collect::<Result<_, _>>()?;
    if let Some(folder) = folder {
        rows.extend(read_folder(folder)?);
    }
    Ok(rows)
}

fn peer_log(path: &Path) -> anyhow::Result<Vec<PeerSighting>> {
    let text = fs::read_to_string(path).with_context(|| format!("--peers {}", path.display()))?;
    read_peers(&text).with_context(|| format!("--peers {}", path.display()))
}

/// Two passes over the flows: pods first, then what uplinks and tunnels saw of their connections.
fn read_evidence(dataset: &Dataset) -> anyhow::Result<Evidence> {
    let filter = Filter::default();
    let mut evidence = Evidence::default();
    for row in dataset.rows::<LedgerRow>(&filter) {
        evidence.add_ledger(&row?);
    }
    for row in dataset.rows::<SnatRow>(&filter) {
        evidence.add_snat(&row?)?;
    }
    for row in dataset.rows::<FlowSighting>(&filter) {
        evidence.add_flow(&row?)?;
    }
    for row in dataset.rows::<FlowSighting>(&filter) {
        evidence.add_node_flow(&row?)?;
    }
    Ok(evidence)
}
