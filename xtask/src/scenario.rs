//! `cargo xtask scenario egress|ingress`: the studies' workloads on a cluster, set up and driven.
//!
//! Egress: iperf3 from a pod that a policy sends through the gateway node, and from one that none
//! selects, to a server outside. Ingress: k6 against a Gateway whose route splits 60 to 40. Each run
//! leaves its folder below `runs/` of the dataset, as a campaign on the lab does.

pub mod egress;
pub mod ingress;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cluster::Setup;
use crate::deploy_probe::Target;
use crate::provision::versions::Versions;
use crate::provision::{self, Action, Pick, Plan, Run, Tool, words};

/// Options of `cargo xtask scenario`.
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(clap::Subcommand)]
enum Scenario {
    /// iperf3 to a server outside, through an egress gateway and without one.
    Egress(egress::Options),
    /// k6 against a Gateway whose route splits 60 to 40.
    Ingress(ingress::Options),
}

/// What both scenarios take.
#[derive(Clone, Debug, clap::Args)]
struct Shared {
    #[command(flatten)]
    setup: Setup,
    /// Load of a run, in whole seconds.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// The dataset that run folders go to (default: target/cluster/NAME).
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
    /// Print the commands and run none.
    #[arg(long)]
    plan: bool,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let (shared, plan) = match &options.scenario {
        Scenario::Egress(options) => (&options.shared, egress::plan(options)?),
        Scenario::Ingress(options) => (&options.shared, ingress::plan(options)?),
    };
    if shared.plan {
        print!("{}", plan.script());
    } else {
        provision::execute(&plan)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the dataset of a cluster is, as a path from the repository's root or an absolute one.
pub fn usual_dataset(name: &str) -> PathBuf {
    PathBuf::from("target/cluster").join(name)
}

/// Names in the scenarios' files that are settled before.
fn images() -> BTreeMap<String, String> {
    let images = &Versions::pinned().images;
    BTreeMap::from([
        ("iperf3_image".to_owned(), images.iperf3.clone()),
        ("echo_image".to_owned(), images.echo.clone()),
        ("k6_image".to_owned(), images.k6.clone()),
    ])
}

impl Shared {
    fn seconds(&self) -> anyhow::Result<u64> {
        match self.duration.as_secs() {
            0 => bail!(
                "--duration {}: at least 1s",
                humantime::format_duration(self.duration)
            ),
            seconds => Ok(seconds),
        }
    }

    /// The next run of a case that has no folder yet.
    fn claim(&self, case: &str) -> anyhow::Result<(String, String)> {
        let dataset = match &self.dataset {
            Some(given) => given.clone(),
            None => usual_dataset(&self.setup.name),
        };
        let mut taken = dataset.clone();
        if taken.is_relative() && self.dataset.is_none() {
            taken = crate::command::workspace_root().join(taken);
        }
        let id = next_id(&taken.join("runs"), case);
        let folder = match &self.dataset {
            // Commands run in the repository's root, wherever this was typed.
            Some(given) => std::path::absolute(given).context("--dataset")?,
            None => dataset,
        };
        let folder = folder.join("runs").join(&id);
        Ok((id, folder.display().to_string()))
    }

    fn finish(&self, plan: &mut Plan, judge: &str) {
        let setup = &self.setup;
        plan.afterwards.push(format!(
            "cargo xtask collect --target={} --cni={} --name={}",
            setup.target.name(),
            setup.cni.name(),
            setup.name
        ));
        plan.afterwards.push(judge.to_owned());
    }
}

/// A plan for a cluster, without steps.
pub fn begin(setup: &Setup, title: &str) -> Plan {
    let mut tools = vec![Tool::Kubectl];
    match setup.target {
        Target::Kind => tools.push(Tool::Docker),
        Target::Aks => tools.push(Tool::Terraform),
    }
    let mut plan = Plan::new(format!("{title} on {}", setup.title()), &tools);
    plan.known = images();
    plan
}

fn apply(setup: &Setup, plan: &mut Plan, about: &str, file: &'static str) {
    let command = format!("{} apply --server-side --filename=-", setup.kubectl());
    let words = words(&command);
    plan.step(about, Action::Pipe { file, words });
}

fn set(plan: &mut Plan, about: &str, name: &'static str, command: &str) {
    let words = words(command);
    let pick = Pick::All;
    plan.step(about, Action::Set { name, words, pick });
}

fn next_id(runs: &Path, case: &str) -> String {
    let mut names = (1u32..).map(|number| format!("{case}-{number}"));
    names
        .find(|name| !runs.join(name).exists())
        .unwrap_or_else(|| case.to_owned())
}

/// A run of load: its commands between beginning and end.
fn drive(plan: &mut Plan, about: &str, commands: Vec<(String, Action)>, run: Run) {
    let folder = run.folder.clone();
    plan.step(format!("{about}: its folder"), Action::Begin { folder });
    for (about, action) in commands {
        plan.step(about, action);
    }
    plan.step(format!("{about}: its manifest"), Action::End(Box::new(run)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cni, NAME};

    fn shared(target: Target, cni: Cni) -> Shared {
        Shared {
            setup: Setup {
                target,
                cni,
                name: NAME.to_owned(),
            },
            duration: Duration::from_secs(60),
            dataset: Some("/nowhere".into()),
            plan: true,
        }
    }

    #[test]
    fn the_plans_of_the_four_setups() {
        for target in Target::ALL {
            for cni in [Cni::Antrea, Cni::Cilium] {
                let of = format!("{}_{}", target.name(), cni.name());
                let egress = egress::Options::of(shared(target, cni));
                let egress = egress::plan(&egress).unwrap();
                egress.require_tools_of_every_step();
                insta::assert_snapshot!(format!("egress_{of}"), egress.script());
                let ingress = ingress::Options::of(shared(target, cni));
                let ingress = ingress::plan(&ingress).unwrap();
                ingress.require_tools_of_every_step();
                insta::assert_snapshot!(format!("ingress_{of}"), ingress.script());
            }
        }
    }

    #[test]
    fn a_run_never_takes_the_folder_of_another() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(next_id(folder.path(), "a"), "a-1");
        std::fs::create_dir(folder.path().join("a-1")).unwrap();
        assert_eq!(next_id(folder.path(), "a"), "a-2");
    }

    #[test]
    fn every_name_in_the_files_is_one_that_a_plan_sets() {
        for cni in [Cni::Antrea, Cni::Cilium] {
            let shared = shared(Target::Kind, cni);
            let egress = egress::plan(&egress::Options::of(shared.clone())).unwrap();
            let ingress = ingress::plan(&ingress::Options::of(shared)).unwrap();
            for plan in [egress, ingress] {
                plan.require_names_of_every_file();
            }
        }
    }
}
