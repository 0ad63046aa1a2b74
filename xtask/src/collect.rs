//! `cargo xtask collect`: what the nodes of a cluster recorded, in one dataset on this machine.
//!
//! Where probes ship to a store the analyzer reads that itself, and this saves a copy; on kind the
//! files lie on the nodes, which are containers. The runs of scenarios are in the dataset already.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::cluster::{Setup, TERRAFORM};
use crate::command::workspace_root;
use crate::deploy_probe::Target;
use crate::deploy_probe::manifests::DATA_FOLDER;
use crate::deploy_probe::settings::AKS_STORE;
use crate::provision::{self, Action, Pick, Plan, Tool, words};
use crate::scenario::usual_dataset;

/// Options of `cargo xtask collect`.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    setup: Setup,
    /// Where to (default: target/cluster/NAME, where scenarios put their runs).
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
    /// Print the commands and run none.
    #[arg(long)]
    plan: bool,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let dataset = match &options.dataset {
        Some(given) => std::path::absolute(given).context("--dataset")?,
        None => usual_dataset(&options.setup.name),
    };
    let plan = plan(&options.setup, &dataset);
    if options.plan {
        print!("{}", plan.script());
    } else {
        provision::execute(&plan)?;
        println!("dataset: {}", workspace_root().join(dataset).display());
    }
    Ok(ExitCode::SUCCESS)
}

/// How the recordings of a cluster come into a dataset.
pub fn plan(setup: &Setup, dataset: &Path) -> Plan {
    let shown = dataset.display().to_string();
    let tools: &[Tool] = match setup.target {
        Target::Kind => &[Tool::Docker],
        Target::Aks => &[Tool::Az, Tool::Terraform],
    };
    let title = format!("recordings of {} on {}", setup.name, setup.title());
    let mut plan = Plan::new(title, tools);
    plan.step(
        "the dataset",
        Action::Begin {
            folder: shown.clone(),
        },
    );
    match setup.target {
        Target::Kind => {
            for node in setup.kind_nodes() {
                let copy = format!("docker cp {node}:{DATA_FOLDER}/. {shown}");
                plan.run(format!("what lies on {node}"), &copy);
            }
        }
        Target::Aks => {
            plan.step(
                "the storage account",
                Action::Set {
                    name: "account",
                    words: words(&format!("{TERRAFORM} output -raw storage_account")),
                    pick: Pick::All,
                },
            );
            let container = AKS_STORE.trim_start_matches("az://");
            plan.run(
                "what the probes shipped",
                &format!(
                    "az storage blob download-batch --auth-mode=login --account-name=${{account}} --source={container} --destination={shown} --overwrite=true --output=none"
                ),
            );
        }
    }
    plan.afterwards
        .push(format!("weighbridge inspect --dataset={shown}"));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cni, NAME};

    #[test]
    fn the_plans_of_both_targets() {
        for target in Target::ALL {
            let setup = Setup {
                target,
                cni: Cni::Antrea,
                name: NAME.to_owned(),
            };
            let plan = plan(&setup, Path::new("target/cluster/weighbridge"));
            plan.require_tools_of_every_step();
            insta::assert_snapshot!(format!("collect_{}", target.name()), plan.script());
        }
    }
}
