//! The command line as typed text.
//!
//! It names the flags and their defaults and refuses only what is not even the right kind of text
//! (a duration that is none). What values mean together is checked in [`crate::config`].

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Counts what leaves a node, before and after source NAT, and writes it as Parquet.
#[derive(Debug, Parser)]
#[command(name = "weighbridge-probe", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this node until the duration ends or SIGTERM or SIGINT arrives.
    Run(Box<RunArgs>),
    /// Record the Kubernetes objects that verdicts rest on, every version with its time.
    Record(Box<RecordArgs>),
    /// Check that this machine has what `run` needs, and say what to do where it has not.
    Preflight(PreflightArgs),
}

/// Flags of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Name of the node in every row (default: the machine's host name).
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node: Option<String>,
    /// Directory of the dataset; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Length of an interval: one row a flow and interval.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub interval: Duration,
    /// Stop after this time (default: run until told to stop).
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// cgroup v2 directory whose sockets are the pods' (default: the kubepods directory).
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// cgroup v2 directory below which the node's own tasks are (default: the mount's root).
    #[arg(long, value_name = "PATH")]
    pub cgroup_root: Option<PathBuf>,
    /// Interface by which traffic leaves the node; may be repeated (default: found).
    #[arg(long = "uplink", value_name = "IF")]
    pub uplinks: Vec<String>,
    /// Tunnel interface from which other nodes' pods arrive; may be repeated (default: found).
    #[arg(long = "tunnel", value_name = "IF")]
    pub tunnels: Vec<String>,
    /// Capacity of each flow map, in flows.
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    pub max_flows: u32,
    /// UDP port of a tunnel protocol, as vxlan=8472 or geneve=6081; may be repeated.
    #[arg(long = "tunnel-port", value_name = "KIND=PORT")]
    pub tunnel_ports: Vec<String>,
    /// Write memory, CPU time and pressure of the node, its containers and services.
    #[arg(long, value_name = "SWITCH", default_value = "on")]
    pub resources: Switch,
    /// Sample kernel stacks so many times a second and CPU, 99 where no number is given (default:
    /// not at all).
    #[arg(long, value_name = "HZ", num_args = 0..=1, default_missing_value = "99")]
    pub profile: Option<u32>,
    /// Count HTTP responses at the pods' sockets.
    #[arg(long, value_name = "SWITCH", default_value = "on")]
    pub http: Switch,
    /// Charge processor time to cgroups, commands and network softirqs.
    #[arg(long, value_name = "SWITCH", default_value = "on")]
    pub cpu: Switch,
    /// What to count as cycles beside time; auto takes hardware, else reference, else none.
    #[arg(long, value_name = "SOURCE", default_value = "auto")]
    pub cycles: Cycles,
    /// Measure what the probe's own eBPF programs cost, in the last twentieth of each interval; what the
    /// kernel takes to call them is measured for some two seconds at the start, with programs that do
    /// nothing on the probe's cgroup and on a tracepoint. While it measures, every eBPF program of the
    /// machine costs some 50 ns a run more. Needs CAP_SYS_ADMIN.
    #[arg(long)]
    pub measure_self: bool,
    /// Whether this probe writes what concerns the whole kernel (softirqs, idle time). Where several
    /// nodes share a kernel, auto leaves it to the one that holds the lock.
    #[arg(long, value_name = "WHO", default_value = "auto")]
    pub kernel_wide: KernelWide,
    /// Directory to lock for that, one that the nodes of a kernel share; where it is not there,
    /// every probe writes.
    #[arg(long, value_name = "DIR", default_value = "/lib/modules")]
    pub kernel_wide_lock: PathBuf,
    /// Serve /metrics and /healthz at this address.
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Make this file once every hook is attached; it goes when the probe stops.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Merge the intervals' small files into larger ones this often.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub merge_every: Duration,
    /// Where files go.
    #[command(flatten)]
    pub shipping: ShippingArgs,
    /// Form of the log on standard error.
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub log_format: LogFormat,
}

/// Flags of what ships files, shared by `run` and `record`.
#[derive(Args, Debug)]
pub struct ShippingArgs {
    /// Ship files to this store and remove them from --output: file:///FOLDER, s3://BUCKET/PREFIX,
    /// az://CONTAINER/PREFIX or gs://BUCKET/PREFIX. Credentials come from the environment
    /// (AWS_…, AZURE_…, GOOGLE_…) or a workload identity.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Let --output grow to this size; above, the oldest files go, and the books say how many rows
    /// (default: 1GiB where files are shipped, else no limit).
    #[arg(long, value_name = "SIZE", value_parser = read_size)]
    pub spool_limit: Option<u64>,
    /// Ship no faster than this, in bytes a second.
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = read_size)]
    pub ship_rate: u64,
}

/// Flags of `record`.
#[derive(Args, Debug)]
pub struct RecordArgs {
    /// Directory of the dataset; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Name of the recorder in the dataset, where several clusters share one.
    #[arg(long, value_name = "NAME", default_value = "recorder")]
    pub name: String,
    /// Record what is in this namespace only; may be repeated (default: all). What is in no
    /// namespace is recorded in any case.
    #[arg(long = "namespace", value_name = "NAME")]
    pub namespaces: Vec<String>,
    /// Stop after this time (default: run until told to stop).
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Look this often for kinds that the cluster did not have.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub discover_every: Duration,
    /// Serve /metrics and /healthz at this address.
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Make this file once every kind that the cluster has is listed; it goes at the end.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Merge small files into larger ones this often.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub merge_every: Duration,
    /// Where files go.
    #[command(flatten)]
    pub shipping: ShippingArgs,
    /// Form of the log on standard error.
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub log_format: LogFormat,
}

/// Flags of `preflight`.
#[derive(Args, Debug)]
pub struct PreflightArgs {
    /// Form of the answer on standard output.
    #[arg(long, value_name = "FORM", default_value = "table")]
    pub format: ReportFormat,
    /// cgroup v2 directory to check instead of the kubepods directory.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Uplink to check instead of those that are found; may be repeated.
    #[arg(long = "uplink", value_name = "IF")]
    pub uplinks: Vec<String>,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is done.
    On,
    /// It is left out.
    Off,
}

/// Where cycles come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cycles {
    /// The first of hardware, reference and none that this machine has.
    Auto,
    /// The processors' own counters.
    Hardware,
    /// CPU time times the rate of the time-stamp counter.
    Reference,
    /// Time alone.
    None,
    /// A software counter in the place of the hardware's, to try its path.
    Software,
}

/// Who writes what concerns the whole kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KernelWide {
    /// One probe of a kernel.
    Auto,
    /// This one.
    On,
    /// Another one.
    Off,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A table for people.
    Table,
    /// One JSON document.
    Json,
}

/// What parsing the command line came to, where it did not come to a [`Cli`].
#[derive(Debug)]
pub enum Stop {
    /// Help or version was asked for: text for standard output.
    Answer(String),
    /// Bad use, in one line.
    BadUse(String),
}

/// Parses the arguments, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Stop> {
    Cli::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Stop::Answer(error.render().to_string())
        }
        _ => Stop::BadUse(one_line(&error.render().to_string())),
    })
}

/// A size as `64MiB`, `500MB`, `1GiB` or a number of bytes.
fn read_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (number, factor) = match unit {
        Some((unit, factor)) => (text.trim_end_matches(unit), *factor),
        None => (text, 1),
    };
    let bytes = number.trim().parse::<u64>().ok();
    let bytes = bytes.and_then(|number| number.checked_mul(factor));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "give a size as 512MiB or 1GiB".to_owned())
}

/// clap's message up to its usage text, on one line.
fn one_line(message: &str) -> String {
    let words: Vec<&str> = message
        .trim_start_matches("error: ")
        .lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .take_while(|line| !line.starts_with("For more information"))
        .flat_map(str::split_whitespace)
        .collect();
    format!("{}; see --help", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_bad_use(arguments: &[&str], names: &str) {
        let all = ["weighbridge-probe"]
            .iter()
            .chain(arguments)
            .map(OsString::from);
        match parse(all) {
            Err(Stop::BadUse(line)) => {
                assert!(line.contains(names), "{line:?} does not name {names:?}");
                assert_eq!(line.lines().count(), 1, "{line:?}");
            }
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    #[test]
    fn bad_use_is_one_line_that_names_the_flag() {
        check_bad_use(
            &["run", "--output", "/d", "--interval", "soon"],
            "--interval",
        );
        check_bad_use(&["run", "--output", "/d", "--duration", "5"], "--duration");
        check_bad_use(
            &["run", "--output", "/d", "--metrics-listen", "here"],
            "--metrics-listen",
        );
        check_bad_use(&["run", "--output", "/d", "--max-flows", "-1"], "-1");
        check_bad_use(
            &["run", "--output", "/d", "--spool-limit", "2GiG"],
            "--spool-limit",
        );
        check_bad_use(
            &["run", "--output", "/d", "--ship-rate", "0"],
            "--ship-rate",
        );
        check_bad_use(&["record"], "--output");
        check_bad_use(&["run"], "--output");
        check_bad_use(&["run", "--output", "/d", "--upling", "eth0"], "--upling");
        check_bad_use(&["walk"], "walk");
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [
            ("7", 7),
            ("512B", 512),
            ("2KiB", 2048),
            ("3GB", 3_000_000_000),
        ] {
            assert_eq!(read_size(text), Ok(bytes), "{text}");
        }
        assert!(read_size("99999999999TiB").is_err());
    }

    #[test]
    fn help_and_version_are_answers() {
        for flag in ["--help", "--version"] {
            let all = ["weighbridge-probe", flag].map(OsString::from);
            assert!(matches!(parse(all), Err(Stop::Answer(_))));
        }
    }
}
