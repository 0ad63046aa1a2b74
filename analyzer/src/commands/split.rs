//! `weighbridge split`: reads a dataset, its routes and its runs, and prints whether the traffic is
//! split as the weights say.

use anyhow::{Context, bail};
use serde::Serialize;
use trace_schema::Record;
use trace_schema::http::HttpRow;
use trace_schema::ledger::LedgerRow;

use super::egress::{chosen_runs, object_rows, window};
use super::loads::{self, LoadFigures};
use crate::cli::{ReportFormat, SplitArgs, SplitReference};
use crate::input::k6::Loads;
use crate::input::manifest::{Run, read_runs};
use crate::input::traces::{Dataset, Filter};
use crate::objects::History;
use crate::policy::gateway_api::Request;
use crate::report;
use crate::verdict::evidence::Window;
use crate::verdict::split::{Options, Reference, SplitEvidence, SplitReport, assess};

/// Runs the command.
pub fn run(args: &SplitArgs) -> anyhow::Result<u8> {
    let dataset = Dataset::open(&args.dataset)?;
    let all_runs = read_runs(&dataset.runs_dir())?;
    let runs = chosen_runs(&all_runs, &args.runs)?;
    let history =
        History::new(object_rows(&dataset, args.objects.as_deref())?).context("objects")?;
    let shown = args.dataset.display();
    if dataset.files(HttpRow::TABLE).is_empty() {
        bail!(
            "dataset {shown} has no table http: record the backends' nodes with `weighbridge-probe run`"
        );
    }
    let focus = focus(args, &runs)?;
    let options = options(args, &focus);
    let evidence =
        read_evidence(&dataset, &history, focus).with_context(|| format!("dataset {shown}"))?;
    let judged = assess(&evidence, &options)?;
    let files = Loads::of(runs.iter().copied());
    let mut runs = loads::read(&runs, &files)?;
    let Some(mut report) = judged else {
        eprintln!("weighbridge: {}", nothing_judged(&evidence));
        return Ok(super::INCONCLUSIVE);
    };
    loads::weigh(&mut report, &mut runs, &evidence);
    let document = Document { report, runs };
    super::print(&render(&document, args)?)?;
    Ok(document.report.result.exit_code())
}

/// What `--format json` prints: the report's fields, then the runs.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(flatten)]
    report: SplitReport,
    runs: Vec<LoadFigures>,
}

fn render(document: &Document, args: &SplitArgs) -> anyhow::Result<String> {
    Ok(match args.format {
        ReportFormat::Table => report::split::table(&document.report, &document.runs, args.windows),
        ReportFormat::Json => report::json::render(document).context("JSON")?,
        ReportFormat::Junit => report::split::junit(&document.report).context("JUnit")?,
    })
}

pub(super) fn nothing_judged(evidence: &SplitEvidence<'_>) -> String {
    let why = match evidence.rows() {
        0 => "there is no response in that time".to_owned(),
        _ => "no backend of these routes answered a Gateway's data plane in that time (which the objects tell by pods with the label gateway.networking.k8s.io/gateway-name, CiliumNodes and EndpointSlices)".to_owned(),
    };
    format!("{why}: nothing was judged, so nothing passes")
}

fn options(args: &SplitArgs, focus: &[Window]) -> Options {
    Options {
        route: args.route.clone(),
        rule: args.rule.map(|rule| usize::from(rule) - 1),
        request: args.path.as_ref().map(|path| Request {
            host: args.host.clone(),
            path: path.clone(),
            method: args.method.clone(),
            ..Request::default()
        }),
        runs: if args.runs.is_empty() {
            Vec::new()
        } else {
            focus.to_vec()
        },
        window_us: i64::try_from(args.window.as_micros()).unwrap_or(i64::MAX),
        margin: args.margin,
        against: match args.against {
            SplitReference::Configured => Reference::Configured,
            SplitReference::Spec => Reference::Specification,
        },
        ..Options::default()
    }
}

/// What `--run`, `--from` and `--to` leave; everything if none is given.
fn focus(args: &SplitArgs, runs: &[&Run]) -> anyhow::Result<Vec<Window>> {
    let asked = Window {
        from_us: args.from.map_or(i64::MIN, |from| from.0),
        to_us: args.to.map_or(i64::MAX, |to| to.0),
    };
    if args.runs.is_empty() {
        return Ok(vec![asked]);
    }
    let bounded = |run: &&Run| {
        let whole = window(run);
        if !whole.touches(&asked, 0) {
            bail!("--run {}: it lies outside --from and --to", run.manifest.id);
        }
        Ok(Window {
            from_us: whole.from_us.max(asked.from_us),
            to_us: whole.to_us.min(asked.to_us),
        })
    };
    runs.iter().map(bounded).collect()
}

pub(super) fn read_evidence<'a>(
    dataset: &Dataset,
    history: &'a History,
    focus: Vec<Window>,
) -> anyhow::Result<SplitEvidence<'a>> {
    let filter = Filter::default();
    let mut evidence = SplitEvidence::new(history, focus);
    for row in dataset.rows::<LedgerRow>(&filter) {
        evidence.add_ledger(&row?);
    }
    for row in dataset.rows::<HttpRow>(&filter) {
        evidence.add_response(&row?)?;
    }
    Ok(evidence)
}
