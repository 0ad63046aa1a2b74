//! `cargo xtask bench analyzer`: what the analyzer takes for a dataset, by its rows, beside DuckDB
//! doing the same aggregation over the same files, and for the report of a campaign under load.
//!
//! The datasets are made up, and gone afterwards. Both programs read them from the page cache: they
//! were just written. Totals are held against each other, so that neither is fast by leaving out.

mod campaign;
mod draw;
mod hooks;
mod machine;
mod measure;
mod objects;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;

use self::campaign::Written;
use self::measure::Usage;
use crate::command::{self, workspace_root};
use crate::setup::{self, Wheel};

/// Rows of flows that are measured unless others are asked for.
const ROWS: [u64; 2] = [1_000_000, 10_000_000];
/// What a row takes on disk, and more.
const BYTES_A_ROW_AT_MOST: u64 = 60;

/// Options of `cargo xtask bench analyzer`.
#[derive(clap::Args)]
pub struct Options {
    /// Rows of flows; may be given several times [default: 1000000 and 10000000; 100000000 takes 6 GB]
    #[arg(long, value_name = "N")]
    rows: Vec<u64>,
    /// Measure the report of a campaign instead: 16 runs of k6 with so many virtual users.
    #[arg(long, value_name = "USERS", conflicts_with = "rows", num_args = 0..=1, default_missing_value = "1000")]
    report: Option<u32>,
    /// Responses in each run of that campaign.
    #[arg(long, value_name = "N", default_value_t = 625_000, requires = "report")]
    responses: u32,
    /// Where datasets are made; each is removed after its measurement.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    folder: PathBuf,
    /// Leave the datasets there.
    #[arg(long)]
    keep: bool,
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only write the dataset, there: a process that measures must be small, since what it holds when
    /// it starts a program counts as that program's peak.
    #[arg(long, value_name = "DIR", hide = true)]
    write: Option<PathBuf>,
}

/// One program on one dataset.
#[derive(Serialize)]
struct Figure {
    what: String,
    program: &'static str,
    rows: u64,
    table_bytes: u64,
    wall_seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
}

/// Runs the task. A debug build of it makes datasets slowly and says nothing of the analyzer: it
/// builds both programs optimised and goes on there.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        let build = [
            "build",
            "--release",
            "--bin",
            "weighbridge",
            "--bin",
            "xtask",
        ];
        command::run(&mut command::cargo(build))?;
        let mut again = Command::new(release("xtask"));
        again
            .args(std::env::args_os().skip(1))
            .current_dir(workspace_root());
        return command::run(&mut again);
    }
    if let Some(root) = &options.write {
        let written = match (options.report, &options.rows[..]) {
            (Some(users), _) => campaign::write(root, users, options.responses)?,
            (None, &[rows]) => Written {
                flows: traffic::write(root, rows)?,
                ..Written::default()
            },
            (None, _) => bail!("--write wants one --rows or --report"),
        };
        println!("{}", serde_json::to_string(&written)?);
        return Ok(());
    }
    let figures = match options.report {
        Some(users) => vec![report(options, users)?],
        None => aggregations(options)?,
    };
    print(&figures);
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

fn aggregations(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let python = setup::wheel(Wheel::DuckDb)?;
    let asked = if options.rows.is_empty() {
        &ROWS[..]
    } else {
        &options.rows
    };
    let mut figures = Vec::new();
    for &rows in asked {
        let place = Place::new(
            options,
            &format!("flows-{rows}"),
            rows * BYTES_A_ROW_AT_MOST,
        )?;
        eprintln!("writing {rows} rows of flows to {}", place.root.display());
        let rows = place.write(&["--rows", &rows.to_string()])?.flows;
        let table_bytes = bytes_below(&place.root.join("flows"))?;
        let figure = |program, usage| {
            let what = "flows by hook and interval, against the ledger";
            Figure::new(what.to_owned(), program, rows, table_bytes, usage)
        };
        let mut inspect = Command::new(release("weighbridge"));
        inspect
            .args(["inspect", "--format", "json", "--dataset"])
            .arg(&place.root);
        let (usage, text) = measure::run(&mut inspect, &[0])?;
        figures.push(figure("weighbridge inspect", usage));
        let mut query = Command::new(&python);
        let folder = workspace_root().join("xtask/src/bench/analyzer");
        query
            .arg(folder.join("flow_sums.py"))
            .arg(&place.root)
            .arg(folder.join("flow-sums.sql"));
        let (usage, answer) = measure::run(&mut query, &[0])?;
        figures.push(figure("DuckDB", usage));
        hold_against(&text, &answer).context("weighbridge and DuckDB differ")?;
    }
    Ok(figures)
}

/// Both must have found the same sums, and no interval in which flows and ledger differ.
fn hold_against(inspection: &[u8], answer: &[u8]) -> anyhow::Result<()> {
    let inspection: Value = serde_json::from_slice(inspection)?;
    let answer: Value = serde_json::from_slice(answer)?;
    let sums = inspection["books"]["flow_sums"]
        .as_array()
        .context("no flow_sums")?;
    let rows = answer.as_array().context("no rows")?;
    ensure!(
        sums.len() == rows.len(),
        "{} series and {}",
        sums.len(),
        rows.len()
    );
    for row in rows {
        let keys = ["node", "vantage", "interface", "direction"];
        let same = |sum: &&Value| keys.iter().all(|key| sum["series"][key] == row[key]);
        let sum = sums
            .iter()
            .find(same)
            .with_context(|| format!("no series of {row}"))?;
        for count in ["packets", "bytes", "buffers", "buffer_bytes"] {
            ensure!(
                sum["flows"][count] == row[count],
                "{count}: {sum} and {row}"
            );
        }
        ensure!(row["differing_intervals"] == 0, "{row}");
    }
    Ok(())
}

fn report(options: &Options, users: u32) -> anyhow::Result<Figure> {
    let place = Place::new(options, &format!("report-{users}"), 4 << 30)?;
    eprintln!("writing a campaign to {}", place.root.display());
    let (users, responses) = (users.to_string(), options.responses.to_string());
    let written = place.write(&["--report", &users, "--responses", &responses])?;
    let mut report = Command::new(release("weighbridge"));
    report.args(["report", "--dataset"]).arg(&place.root);
    report.arg("--output").arg(place.root.join("report.html"));
    let (usage, _) = measure::run(&mut report, &[0, 1, 3])?;
    let what = format!(
        "report of {} runs: {} responses in k6's logs, {} rows of flows, {} of snat, {} of other tables",
        written.runs, written.responses, written.flows, written.snat, written.others
    );
    let bytes = bytes_below(&place.root)?;
    Ok(Figure::new(
        what,
        "weighbridge report",
        written.flows,
        bytes,
        usage,
    ))
}

impl Figure {
    fn new(what: String, program: &'static str, rows: u64, table_bytes: u64, usage: Usage) -> Self {
        Self {
            what,
            program,
            rows,
            table_bytes,
            wall_seconds: usage.wall.as_secs_f64(),
            cpu_seconds: usage.cpu.as_secs_f64(),
            peak_bytes: usage.peak_bytes,
        }
    }
}

fn print(figures: &[Figure]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "program",
        "flow rows",
        "bytes a row",
        "wall s",
        "CPU s",
        "peak MiB",
        "rows a second",
        "wall, to DuckDB",
    ]);
    for figure in figures {
        let duckdb = figures.iter().find(|other| {
            other.program == "DuckDB" && other.rows == figure.rows && other.what == figure.what
        });
        let ratio = duckdb.map(|duckdb| figure.wall_seconds / duckdb.wall_seconds);
        table.add_row([
            figure.program.to_owned(),
            figure.rows.to_string(),
            format!("{:.1}", figure.table_bytes as f64 / figure.rows as f64),
            format!("{:.2}", figure.wall_seconds),
            format!("{:.2}", figure.cpu_seconds),
            format!("{:.0}", figure.peak_bytes as f64 / f64::from(1 << 20)),
            format!("{:.0}", figure.rows as f64 / figure.wall_seconds),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\non {cpus} CPUs, files in the page cache, programs' start included:");
    let mut known = Vec::new();
    for figure in figures.iter().filter(|figure| !figure.what.is_empty()) {
        if !known.contains(&&figure.what) {
            println!("  {}", figure.what);
            known.push(&figure.what);
        }
    }
    println!("\n{table}");
}

/// The folder of a dataset, removed when dropped.
struct Place {
    root: PathBuf,
    is_kept: bool,
}

impl Place {
    fn new(options: &Options, name: &str, needed_bytes: u64) -> anyhow::Result<Self> {
        let folder = workspace_root().join(&options.folder);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
        let root = folder.join(name);
        if root.exists() {
            std::fs::remove_dir_all(&root)?;
        }
        let free = nix::sys::statvfs::statvfs(&folder)?;
        let free_bytes = free.blocks_available() * free.fragment_size();
        ensure!(
            free_bytes > needed_bytes,
            "{}: {free_bytes} bytes are free, up to {needed_bytes} are needed: give another --folder",
            folder.display()
        );
        Ok(Self {
            root,
            is_kept: options.keep,
        })
    }

    /// Writes a dataset there, in a process of its own.
    fn write(&self, what: &[&str]) -> anyhow::Result<Written> {
        let mut writer = Command::new(std::env::current_exe()?);
        writer
            .args(["bench", "analyzer", "--write"])
            .arg(&self.root)
            .args(what);
        let (_, text) = measure::run(&mut writer, &[0])?;
        Ok(serde_json::from_slice(&text)?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left after an error can be removed with the target folder.
            std::fs::remove_dir_all(&self.root).unwrap_or_default();
        }
    }
}

/// A program of the release build beside this one.
fn release(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| workspace_root().join("target"));
    target.join("release").join(name)
}

fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => bytes_below(&entry.path())?,
            false => metadata.len(),
        };
    }
    Ok(bytes)
}
