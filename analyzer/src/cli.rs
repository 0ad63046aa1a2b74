//! The command line of `weighbridge` as typed; commands check what the types do not.

use std::path::PathBuf;
use std::time::Duration;

use chrono::DateTime;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::objects::ObjectName;
use crate::verdict::Moment;

mod compare;
mod recipes;

pub use compare::CompareArgs;
pub use recipes::RecipesArgs;

/// Holds recorded traffic against what Kubernetes policies demand.
#[derive(Debug, Parser)]
#[command(name = "weighbridge", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say of every connection whether it left by the address and node that its policy demands.
    Egress(EgressArgs),
    /// Say whether backends get the shares that Gateway API routes give them.
    Split(SplitArgs),
    /// Say what the traffic costs: processor time, cycles and memory, by part, packet and byte.
    Cost(CostArgs),
    /// Compare the cases of a campaign: means with intervals, differences, tests, equivalence.
    Compare(CompareArgs),
    /// Write all of it as one file: verdicts, comparisons, figures, books, environment.
    Report(ReportArgs),
    /// Say what a dataset holds and whether its books balance.
    Inspect(InspectArgs),
    /// Print SQL for DuckDB or Spark: sums over a dataset, and a smaller dataset that says the same.
    Recipes(RecipesArgs),
}

/// Arguments of `weighbridge egress`.
#[derive(Debug, Args)]
pub struct EgressArgs {
    /// Folder of the dataset, or its URL (s3://, az://, gs://, file://).
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Kubernetes objects as YAML or JSON files, beside those of the dataset.
    #[arg(long, value_name = "DIR")]
    pub objects: Option<PathBuf>,
    /// Only the traffic of this load run; may be given several times.
    #[arg(long = "run", value_name = "ID")]
    pub runs: Vec<String>,
    /// Only this pod; may be given several times.
    #[arg(long = "pod", value_name = "NAMESPACE/NAME", value_parser = read_pod)]
    pub pods: Vec<String>,
    /// Only connections of this policy; may be given several times.
    #[arg(long = "policy", value_name = "NAME")]
    pub policies: Vec<String>,
    /// Only what was up at or after this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    pub from: Option<Moment>,
    /// Only what was up at or before this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    pub to: Option<Moment>,
    /// Label failures that began so soon after their pod or policy appeared; forgives nothing.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// Destinations that the Antrea agent's `egress.exceptCIDRs` excludes; may be given several
    /// times.
    #[arg(long = "except-cidr", value_name = "CIDR")]
    pub except_cidrs: Vec<IpNet>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub format: ReportFormat,
    /// List every connection.
    #[arg(long)]
    pub connections: bool,
    /// Peer addresses that a server outside saw, as tab-separated text: a further witness.
    #[arg(long, value_name = "FILE")]
    pub peers: Option<PathBuf>,
}

/// Arguments of `weighbridge split`.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Folder of the dataset, or its URL (s3://, az://, gs://, file://).
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Kubernetes objects as YAML or JSON files, beside those of the dataset.
    #[arg(long, value_name = "DIR")]
    pub objects: Option<PathBuf>,
    /// Only the time of this load run, with its k6 files; may be given several times.
    #[arg(long = "run", value_name = "ID")]
    pub runs: Vec<String>,
    /// Only this HTTPRoute or GRPCRoute.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = read_name)]
    pub route: Option<ObjectName>,
    /// Only this rule of the route, from 1: the others were not asked.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rule: Option<u16>,
    /// Only the rule that requests for this path hit: the others were not asked.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Host of those requests.
    #[arg(long, value_name = "HOST", requires = "path", default_value = "")]
    pub host: String,
    /// Method of those requests.
    #[arg(long, value_name = "METHOD", requires = "path", default_value = "GET")]
    pub method: String,
    /// Only responses at or after this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    pub from: Option<Moment>,
    /// Only responses at or before this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    pub to: Option<Moment>,
    /// Length of a window.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = read_window)]
    pub window: Duration,
    /// How far a share may be from its reference and still pass.
    #[arg(long, value_name = "SHARE", default_value = "0.01", value_parser = read_margin)]
    pub margin: f64,
    /// What the result stands for.
    #[arg(long, value_enum, default_value_t = SplitReference::Configured)]
    pub against: SplitReference,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub format: ReportFormat,
    /// List every window.
    #[arg(long)]
    pub windows: bool,
}

/// What the result of `split` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitReference {
    /// The shares that the implementation configures, where they are known.
    Configured,
    /// The shares that the Gateway API's specification says.
    Spec,
}

/// Arguments of `weighbridge cost`.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// Folder of the dataset, or its URL (s3://, az://, gs://, file://).
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Kubernetes objects as YAML or JSON files, beside those of the dataset.
    #[arg(long, value_name = "DIR")]
    pub objects: Option<PathBuf>,
    /// Only this load run; may be given several times.
    #[arg(long = "run", value_name = "ID")]
    pub runs: Vec<String>,
    /// Only the runs of this case; may be given several times.
    #[arg(long = "case", value_name = "NAME")]
    pub cases: Vec<String>,
    /// Only what was at or after this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    pub from: Option<Moment>,
    /// Only what was at or before this time (RFC 3339).
    #[arg(long, visible_alias = "until", value_name = "TIME", value_parser = read_time)]
    pub to: Option<Moment>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
    /// Draw what the probe sampled with --profile as a flame graph, an SVG file.
    #[arg(long, value_name = "FILE")]
    pub flamegraph: Option<PathBuf>,
}

/// Arguments of `weighbridge report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder of the dataset or campaign, or its URL (s3://, az://, gs://, file://).
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Where to write; standard output unless given.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Kubernetes objects as YAML or JSON files, beside those of the dataset.
    #[arg(long, value_name = "DIR")]
    pub objects: Option<PathBuf>,
    /// What to write.
    #[arg(long, value_enum, default_value_t = DocumentFormat::Html)]
    pub format: DocumentFormat,
}

/// Arguments of `weighbridge inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Folder of the dataset, or its URL (s3://, az://, gs://, file://).
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
}

/// How verdicts are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For a CI's test report.
    Junit,
}

/// What `report` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DocumentFormat {
    /// One page for people, with figures.
    Html,
    /// The same data for programs.
    Json,
    /// The verdicts for a CI's test report.
    Junit,
}

/// How `cost` and `inspect` print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InspectFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

fn read_time(text: &str) -> Result<Moment, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| Moment(time.timestamp_micros()))
        .map_err(|_| "want an RFC 3339 time such as 2026-11-22T02:00:00Z".to_owned())
}

fn read_pod(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err("want NAMESPACE/NAME".to_owned()),
    }
}

fn read_name(text: &str) -> Result<ObjectName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(ObjectName::namespaced(namespace, name))
        }
        _ => Err("want NAMESPACE/NAME".to_owned()),
    }
}

fn read_window(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(window) if window >= Duration::from_millis(100) => Ok(window),
        Ok(_) => Err("want 100ms or more".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn read_margin(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(margin) if margin > 0.0 && margin < 1.0 => Ok(margin),
        _ => Err("want a share between 0 and 1, such as 0.01".to_owned()),
    }
}
