//! The command line of `weighbridge` as typed; commands check what the types do not.

use std::path::PathBuf;
use std::time::Duration;

use chrono::DateTime;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::verdict::Moment;

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
    /// Say what a dataset holds and whether its books balance.
    Inspect(InspectArgs),
}

/// Arguments of `weighbridge egress`.
#[derive(Debug, Args)]
pub struct EgressArgs {
    /// Folder of the dataset.
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
    #[arg(long, value_enum, default_value_t = EgressFormat::Table)]
    pub format: EgressFormat,
    /// List every connection.
    #[arg(long)]
    pub connections: bool,
    /// Peer addresses that a server outside saw, as tab-separated text: a further witness.
    #[arg(long, value_name = "FILE")]
    pub peers: Option<PathBuf>,
}

/// Arguments of `weighbridge inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Folder of the dataset.
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
}

/// How `egress` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EgressFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For a CI's test report.
    Junit,
}

/// How `inspect` prints.
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
