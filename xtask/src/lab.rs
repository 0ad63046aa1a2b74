//! `cargo xtask lab`: a cluster to look around in, up until it is taken down.
//!
//! `up` leaves a keeper behind that owns the lab; `down` ends the keeper and clears what labs that
//! lost their owner have left. Labs of running tests and demonstrations are not touched.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use comfy_table::{Table, presets};
use lab::{Config, Datapath, Lab, LabState, Place};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::build_ebpf::{self, Kind};
use crate::command::workspace_root;
use crate::setup;

const PATIENCE: Duration = Duration::from_secs(30);

/// Options of `cargo xtask lab`.
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Bring a lab up and leave it running.
    Up(Up),
    /// Take a lab down, and clear what killed labs have left.
    Down(Id),
    /// Show the labs that are up.
    Status,
    /// Run a command in a pod, on a node or on the outside host.
    Exec(Exec),
    /// Own a lab until a signal comes: what `up` leaves behind.
    #[command(hide = true)]
    Keep(Keep),
}

#[derive(clap::Args)]
struct Id {
    /// Id of the lab.
    #[arg(long, default_value = "default")]
    id: String,
}

#[derive(clap::Args)]
struct Up {
    #[command(flatten)]
    id: Id,
    /// How pods' packets are routed and translated.
    #[arg(long, value_enum, default_value = "netfilter")]
    datapath: DatapathName,
}

#[derive(clap::Args)]
struct Keep {
    #[command(flatten)]
    up: Up,
    /// The eBPF object of the datapath.
    #[arg(long)]
    object: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Exec {
    #[command(flatten)]
    id: Id,
    /// Pod, node or `outside`.
    place: String,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// A datapath on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DatapathName {
    /// Marks, policy routing and iptables, as Antrea does it.
    Netfilter,
    /// A tc program of its own, as Cilium does it.
    Bpf,
}

impl From<DatapathName> for Datapath {
    fn from(name: DatapathName) -> Self {
        match name {
            DatapathName::Netfilter => Self::Netfilter,
            DatapathName::Bpf => Self::Bpf,
        }
    }
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    setup::require_root("lab")?;
    match options.action {
        Action::Up(options) => up(&options),
        Action::Down(Id { id }) => down(&id),
        Action::Status => status(),
        Action::Exec(options) => exec(&options),
        Action::Keep(options) => keep(options),
    }
}

fn up(options: &Up) -> anyhow::Result<ExitCode> {
    setup::system_programs()?;
    let id = &options.id.id;
    let datapath = Datapath::from(options.datapath);
    let log = workspace_root()
        .join("target")
        .join(format!("lab-{id}.log"));
    let file = fs::File::create(&log).with_context(|| log.display().to_string())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["lab", "keep", "--id", id, "--datapath", datapath.name()]);
    if datapath == Datapath::Bpf {
        command.arg("--object").arg(build_ebpf::ensure(Kind::Lab)?);
    }
    // A process group of its own: Ctrl-C at this terminal is not meant for the keeper.
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file);
    let mut keeper = command
        .spawn()
        .context("could not start the lab's keeper")?;
    let started = Instant::now();
    while !lab::list()?
        .iter()
        .any(|state| state.id == *id && state.ready && is_of(state, &keeper))
    {
        if keeper.try_wait()?.is_some() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("{}", said.trim().trim_start_matches("xtask: "));
        }
        if started.elapsed() > PATIENCE {
            keeper.kill()?;
            lab::teardown(id)?;
            bail!(
                "the lab was not up within {} s: see {}",
                PATIENCE.as_secs(),
                log.display()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    eprintln!("lab `{id}` is up; `cargo xtask lab down` takes it down");
    status()
}

fn is_of(state: &LabState, keeper: &std::process::Child) -> bool {
    state.owner_pid == keeper.id()
}

fn keep(options: Keep) -> anyhow::Result<ExitCode> {
    let mut config = Config::new(options.up.datapath.into());
    config.id = Some(options.up.id.id);
    config.object = options.object;
    let lab = Lab::up(config)?;
    // The lab ends with this process, which ends by a signal.
    loop {
        thread::park();
        // A wake-up without a signal means nothing.
        let _ = lab.id();
    }
}

fn down(id: &str) -> anyhow::Result<ExitCode> {
    let known = lab::list()?.into_iter().find(|state| state.id == id);
    if let Some(state) = &known
        && state.owner_is_alive()
    {
        let owner = Pid::from_raw(i32::try_from(state.owner_pid)?);
        kill(owner, Signal::SIGTERM).context("could not end the lab's keeper")?;
        let started = Instant::now();
        while state.owner_is_alive() {
            if started.elapsed() > PATIENCE {
                bail!("process {owner}, which owns lab `{id}`, does not end: kill -9 {owner}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    lab::teardown(id)?;
    let swept = lab::sweep_orphans()?;
    for id in swept
        .iter()
        .map(String::as_str)
        .chain(known.as_ref().map(|state| state.id.as_str()))
    {
        eprintln!("lab `{id}` is down");
    }
    if swept.is_empty() && known.is_none() {
        eprintln!("no lab named `{id}` is up, and nothing is left of others");
    }
    Ok(ExitCode::SUCCESS)
}

fn status() -> anyhow::Result<ExitCode> {
    let labs = lab::list()?;
    if labs.is_empty() {
        eprintln!("no lab is up: `cargo xtask lab up` starts one");
    }
    for state in labs {
        let owner = if state.owner_is_alive() {
            "owned by"
        } else {
            "orphan of"
        };
        println!(
            "{} ({}), {owner} process {}",
            state.id, state.datapath, state.owner_pid
        );
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_header(["place", "kind", "addresses", "namespace"]);
        for place in &state.places {
            let addresses = place.addresses.join(" ");
            table.add_row([&place.name, &place.kind, &addresses, &place.namespace]);
        }
        println!("{table}");
    }
    Ok(ExitCode::SUCCESS)
}

fn exec(options: &Exec) -> anyhow::Result<ExitCode> {
    let id = &options.id.id;
    let Some(state) = lab::list()?.into_iter().find(|state| state.id == *id) else {
        bail!("no lab named `{id}` is up: `cargo xtask lab up` starts one");
    };
    let Some(place) = state
        .places
        .iter()
        .find(|place| place.name == options.place)
    else {
        let names: Vec<&str> = state
            .places
            .iter()
            .map(|place| place.name.as_str())
            .collect();
        bail!(
            "lab `{id}` has no `{}`: it has {}",
            options.place,
            names.join(", ")
        );
    };
    let [program, arguments @ ..] = options.command.as_slice() else {
        bail!("no command given: cargo xtask lab exec PLACE COMMAND…");
    };
    let mut command = Place::of_state(place)?.command(program)?;
    let status = command
        .args(arguments)
        .status()
        .with_context(|| format!("could not start `{program}`"))?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code))
}
