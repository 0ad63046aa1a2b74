//! The arguments of `weighbridge compare`.

use std::path::PathBuf;
use std::str::FromStr as _;

use clap::Args;

use super::InspectFormat;
use crate::compare::MetricChoice;

/// Arguments of `weighbridge compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Folder of the dataset or campaign, or its URL (s3://, az://, gs://, file://).
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Kubernetes objects as YAML or JSON files, beside those of the dataset.
    #[arg(long, value_name = "DIR")]
    pub objects: Option<PathBuf>,
    /// Only the runs of this campaign.
    #[arg(long, value_name = "NAME")]
    pub campaign: Option<String>,
    /// Compare every case with this one, and no others with each other.
    #[arg(long, value_name = "CASE")]
    pub baseline: Option<String>,
    /// Only this metric, such as goodput, cpu_percent[worker] or split_share[*]; may be given several
    /// times. All that are given are one family of tests, whatever the campaign declared.
    #[arg(long = "metric", value_name = "METRIC", value_parser = MetricChoice::from_str)]
    pub metrics: Vec<MetricChoice>,
    /// Only this case; may be given several times.
    #[arg(long = "case", value_name = "CASE")]
    pub cases: Vec<String>,
    /// Up to which difference, in percent of the second case's mean, two cases count as equivalent.
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = read_percent)]
    pub margin: f64,
    /// Probability of saying any false difference in a family of tests: those of the metrics that the
    /// campaign declared primary, and all others.
    #[arg(long, value_name = "P", default_value = "0.05", value_parser = read_alpha)]
    pub alpha: f64,
    /// Samples of Prometheus or node_exporter for all runs (query_range JSON, CSV, exposition text);
    /// may be given several times.
    #[arg(long = "prometheus", value_name = "FILE")]
    pub prometheus: Vec<PathBuf>,
    /// Seed of random splits, drawn where there are too many to count.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How to print.
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
}

fn read_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(percent / 100.0),
        _ => Err("want percent between 0 and 100, such as 5%".to_owned()),
    }
}

fn read_alpha(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(alpha) if alpha > 0.0 && alpha < 0.5 => Ok(alpha),
        _ => Err("want a probability between 0 and 0.5, such as 0.05".to_owned()),
    }
}
