//! `weighbridge report`: everything that a dataset tells, as one file.
//!
//! Each part is what its own command computes. A part that the dataset cannot answer is left out
//! with its reason; a file that cannot be read ends the command, since a report would else claim to
//! be of all of them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use trace_schema::Record;
use trace_schema::cpu::CpuRow;
use trace_schema::flows::FlowRow;
use trace_schema::http::HttpRow;
use trace_schema::manifest::{RunManifest, RunOutcome};
use trace_schema::store::StoreUrl;

use super::{egress, loads, split};
use crate::books::{Books, BooksReport};
use crate::cli::{DocumentFormat, ReportArgs};
use crate::compare::{Options as CompareOptions, compare};
use crate::cost::{CostReport, RunScope};
use crate::input::cost::{read_cost, recorded, scope_of};
use crate::input::inspection::read_books;
use crate::input::k6::Loads;
use crate::input::manifest::Run;
use crate::input::one_line;
use crate::input::plan::read_declaration;
use crate::input::traces::{Dataset, Filter};
use crate::input::workers::both;
use crate::measurements::{Measurements, Sources};
use crate::objects::History;
use crate::policy::EngineOptions;
use crate::report::campaign::{self, Findings, InputFile, InputGroup};
use crate::report::{html, json};
use crate::verdict::egress::Focus;
use crate::verdict::evidence::Window;
use crate::verdict::split::{Options as SplitOptions, SplitReport, assess};
use crate::verdict::{EgressReport, Options as EgressOptions};

/// Runs the command.
pub fn run(args: &ReportArgs) -> anyhow::Result<u8> {
    let (dataset, runs) = super::with_runs(&args.dataset)?;
    let document = campaign::compose(findings(args, &dataset, &runs)?);
    let text = match args.format {
        DocumentFormat::Html => html::render(&document),
        DocumentFormat::Json => json::render(&document).context("JSON")?,
        DocumentFormat::Junit => campaign::junit(&document).context("JUnit")?,
    };
    match &args.output {
        Some(path) => write(path, &text)?,
        None => super::print(&text)?,
    }
    Ok(document.result.exit_code())
}

fn findings(args: &ReportArgs, dataset: &Dataset, runs: &[Run]) -> anyhow::Result<Findings> {
    let tables = super::tables_of(dataset);
    let objects = egress::object_rows(dataset, args.objects.as_deref())?;
    let has_policies = egress::has_policies(&objects);
    let history = History::new(objects).context("objects")?;
    let options = CompareOptions {
        declared: read_declaration(dataset.local_root())?,
        ..CompareOptions::default()
    };
    // Connections take most of the time where there are many: all else is done beside them, except
    // where both would fetch the same files.
    let (judged, others) = both(
        !StoreUrl::is_meant(&args.dataset.to_string_lossy()),
        || connections(tables, &history, has_policies, runs),
        || Others::find(dataset, &history, runs),
    );
    let ((egress, mut notes), others) = (judged?, others?);
    notes.extend(others.notes);
    let compared = compare(&others.measurements, &options);
    Ok(Findings {
        name: name(&args.dataset, runs),
        measurements: others.measurements,
        egress,
        split: others.split,
        cost: others.cost,
        compared: compared.map_err(|error| error.to_string()),
        books: others.books,
        manifests: runs.iter().map(|run| run.manifest.clone()).collect(),
        notes,
        inputs: others.inputs,
    })
}

/// What is found beside the connections.
struct Others {
    measurements: Measurements,
    split: Result<SplitReport, String>,
    cost: Result<CostReport, String>,
    books: BooksReport,
    notes: Vec<String>,
    inputs: Vec<InputGroup>,
}

impl Others {
    fn find(dataset: &Dataset, history: &History, runs: &[Run]) -> anyhow::Result<Self> {
        let tables = super::tables_of(dataset);
        let mut notes = Vec::new();
        let completed = |run: &&Run| run.manifest.outcome == RunOutcome::Completed;
        let loads = Loads::of(runs.iter().filter(completed));
        let measurements = Measurements::read(&Sources {
            runs,
            loads: &loads,
            dataset: tables,
            history,
            prometheus: &[],
        })?;
        let (split, cost, books) = match tables {
            None => (
                Err(no_tables()),
                Err(no_tables()),
                Books::default().report(),
            ),
            Some(tables) => (
                responses(tables, history, runs, &loads, &mut notes)?,
                charges(tables, history, runs)?,
                kept_books(tables)?,
            ),
        };
        Ok(Self {
            measurements,
            split,
            cost,
            books,
            notes,
            inputs: inputs(dataset, runs)?,
        })
    }
}

fn no_tables() -> String {
    "the dataset has runs and no tables".to_owned()
}

/// The campaign's name, or that of the folder.
fn name(root: &Path, runs: &[Run]) -> String {
    let mut campaigns: Vec<&str> = runs
        .iter()
        .map(|run| run.manifest.campaign.as_str())
        .filter(|campaign| !campaign.is_empty())
        .collect();
    campaigns.sort_unstable();
    campaigns.dedup();
    if !campaigns.is_empty() {
        return campaigns.join(", ");
    }
    let folder = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let folder = folder.file_name().map(|name| name.display().to_string());
    folder.unwrap_or_else(|| "a dataset".to_owned())
}

/// Times of a campaign's completed runs: between them nobody need be watching, and a run that was cut
/// says nothing. None outside any campaign, where all that was recorded is judged.
fn of_campaign(runs: &[Run]) -> Vec<Window> {
    let is_campaign = runs.iter().any(|run| !run.manifest.campaign.is_empty());
    let runs = runs.iter().filter(|_| is_campaign);
    runs.filter(is_completed).map(egress::window).collect()
}

fn is_completed(run: &&Run) -> bool {
    run.manifest.outcome == RunOutcome::Completed
}

fn connections(
    dataset: Option<&Dataset>,
    history: &History,
    has_policies: bool,
    runs: &[Run],
) -> anyhow::Result<(Result<EgressReport, String>, Vec<String>)> {
    let Some(dataset) = dataset else {
        return Ok((Err(no_tables()), Vec::new()));
    };
    if dataset.files(FlowRow::TABLE).is_empty() {
        let missing = "the dataset has no table flows".to_owned();
        return Ok((Err(missing), Vec::new()));
    }
    let focus = of_campaign(runs).into_iter().map(|window| Focus {
        window,
        pod: None,
        server: None,
    });
    let options = EgressOptions {
        focus: focus.collect(),
        runs: runs
            .iter()
            .filter(is_completed)
            .map(egress::window)
            .collect(),
        ..EgressOptions::default()
    };
    let engine = EngineOptions::default();
    let judged = egress::judged(dataset, history, has_policies, engine, &options)?;
    Ok(match judged {
        Some((report, warnings)) => (Ok(report), warnings),
        None => (Err(egress::NOTHING_JUDGED.to_owned()), Vec::new()),
    })
}

fn responses(
    dataset: &Dataset,
    history: &History,
    runs: &[Run],
    files: &Loads,
    notes: &mut Vec<String>,
) -> anyhow::Result<Result<SplitReport, String>> {
    if dataset.files(HttpRow::TABLE).is_empty() {
        return Ok(Err("the dataset has no table http".to_owned()));
    }
    let evidence = split::read_evidence(dataset, history, of_campaign(runs))?;
    let options = SplitOptions {
        runs: of_campaign(runs),
        ..SplitOptions::default()
    };
    let mut report = match assess(&evidence, &options) {
        Ok(Some(report)) => report,
        Ok(None) => return Ok(Err(split::nothing_judged(&evidence))),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut figures = Vec::new();
    for run in runs {
        if run.manifest.outcome == RunOutcome::Completed {
            match loads::read(&[run], files) {
                Ok(read) => figures.extend(read),
                Err(error) => notes.push(one_line(error.as_ref())),
            }
        }
    }
    loads::weigh(&mut report, &mut figures, &evidence);
    Ok(Ok(report))
}

fn charges(
    dataset: &Dataset,
    history: &History,
    runs: &[Run],
) -> anyhow::Result<Result<CostReport, String>> {
    if dataset.files(CpuRow::TABLE).is_empty() {
        return Ok(Err("the dataset has no table cpu".to_owned()));
    }
    let mut scopes: Vec<RunScope> = runs.iter().filter(is_completed).map(scope_of).collect();
    if runs.is_empty() {
        let Some(window) = recorded(dataset)? else {
            return Ok(Err("the table cpu has no rows".to_owned()));
        };
        scopes.push(RunScope::without_run(window));
    }
    Ok(Ok(read_cost(dataset, history, scopes)?))
}

fn kept_books(dataset: &Dataset) -> anyhow::Result<BooksReport> {
    Ok(read_books(dataset, &Filter::default())?)
}

/// The files that were read, hashed: those of the tables, and the runs' manifests with what they list.
fn inputs(dataset: &Dataset, runs: &[Run]) -> anyhow::Result<Vec<InputGroup>> {
    let mut groups = Vec::new();
    for table in dataset.tables() {
        let files = dataset.files(table).iter();
        let files = files
            .map(|file| dataset.with_file(file, |path| hashed(path, file.relative.clone()))?);
        groups.push(InputGroup::new(table, files.collect::<Result<_, _>>()?));
    }
    let mut files = Vec::new();
    for run in runs {
        let listed = run.manifest.files.keys().map(String::as_str);
        for name in [RunManifest::FILE_NAME].into_iter().chain(listed) {
            let path = run.folder.join(name);
            let below = path.strip_prefix(dataset.local_root()).unwrap_or(&path);
            // A failed run may lack what its tool did not come to write.
            if path.is_file() {
                files.push(hashed(&path, below.display().to_string())?);
            }
        }
    }
    if !files.is_empty() {
        groups.push(InputGroup::new("runs", files));
    }
    Ok(groups)
}

fn hashed(path: &Path, shown: String) -> anyhow::Result<InputFile> {
    let read = || -> io::Result<(u64, String)> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok((bytes, campaign::hex(&hash.finalize())));
            }
            hash.update(&buffer[..count]);
            bytes += count as u64;
        }
    };
    let (bytes, sha256) = read().with_context(|| format!("cannot read {}", path.display()))?;
    Ok(InputFile {
        path: shown,
        bytes,
        sha256,
    })
}

/// Writes the file; it appears when it is complete.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let Some(name) = path.file_name() else {
        bail!("--output {}: want a file", path.display());
    };
    let temporary: PathBuf = path.with_file_name(format!(".{}.tmp", name.display()));
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("--output {}: cannot write", path.display()))
}
