//! `cargo xtask cluster up|down`: a cluster with its CNI, egress gateways on, and a Gateway.
//!
//! On kind in containers of this machine, on AKS with Terraform. Versions stand in
//! `deploy/versions.yaml`. Only plans are made here; `provision` prints and runs them.

mod network;
#[cfg(test)]
mod terraform;

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::deploy_probe::Target;
use crate::provision::versions::Versions;
use crate::provision::{self, Action, Pick, Plan, Tool, words};

/// Name of a cluster unless another is given.
pub const NAME: &str = "weighbridge";
/// Where Terraform's files are.
pub const TERRAFORM: &str = "terraform -chdir=deploy/aks";

/// Options of `cargo xtask cluster`.
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Make the cluster, its CNI and its Gateway; on AKS this costs money until `down`.
    Up(Which),
    /// Delete it with all that is in it.
    Down(Which),
}

#[derive(clap::Args)]
struct Which {
    #[command(flatten)]
    setup: Setup,
    /// Print the commands and run none.
    #[arg(long)]
    plan: bool,
}

/// Which cluster is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct Setup {
    /// Kind of cluster.
    #[arg(long, value_enum)]
    pub target: Target,
    /// Its network.
    #[arg(long, value_enum)]
    pub cni: Cni,
    /// Name of the cluster.
    #[arg(long, value_name = "NAME", default_value = NAME)]
    pub name: String,
}

/// A cluster's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Cni {
    /// Antrea, with NGINX Gateway Fabric.
    Antrea,
    /// Cilium, with its own gateway.
    Cilium,
}

impl Cni {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Antrea => "antrea",
            Self::Cilium => "cilium",
        }
    }

    /// Who implements the Gateway beside it, as campaigns name it.
    pub fn gateway(self) -> &'static str {
        match self {
            Self::Antrea => "nginx",
            Self::Cilium => "cilium",
        }
    }

    /// Versions of what is under test.
    pub fn versions(self) -> BTreeMap<String, String> {
        let pinned = Versions::pinned();
        let named = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        match self {
            Self::Antrea => BTreeMap::from([
                named("antrea", &pinned.antrea),
                named("nginx-gateway-fabric", &pinned.nginx_gateway_fabric),
            ]),
            Self::Cilium => BTreeMap::from([named("cilium", &pinned.cilium)]),
        }
    }
}

impl Setup {
    /// The cluster that a context of ours leads to.
    pub fn of_context(context: &str, cni: Cni) -> Option<Self> {
        let (target, name) = context.split_once('-')?;
        let target = Target::ALL
            .into_iter()
            .find(|known| known.name() == target)?;
        (!name.is_empty()).then(|| Self {
            target,
            cni,
            name: name.to_owned(),
        })
    }

    /// The context that leads to the cluster.
    pub fn context(&self) -> String {
        format!("{}-{}", self.target.name(), self.name)
    }

    /// `kubectl` at the cluster.
    pub fn kubectl(&self) -> String {
        format!("kubectl --context={}", self.context())
    }

    /// What tells the setup from the other three.
    pub fn title(&self) -> String {
        format!("{} with {}", self.target.name(), self.cni.name())
    }

    /// Nodes of a kind cluster as `deploy/kind` makes them.
    pub fn kind_nodes(&self) -> Vec<String> {
        ["control-plane", "worker", "worker2"]
            .iter()
            .map(|role| format!("{}-{role}", self.name))
            .collect()
    }

    fn tools(&self) -> Vec<Tool> {
        match self.target {
            Target::Kind => vec![Tool::Docker, Tool::Kind, Tool::Kubectl, Tool::Helm],
            Target::Aks => vec![Tool::Az, Tool::Terraform, Tool::Kubectl, Tool::Helm],
        }
    }
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let (which, plan) = match &options.verb {
        Verb::Up(which) => (which, up(&which.setup)),
        Verb::Down(which) => (which, down(&which.setup)),
    };
    if which.plan {
        print!("{}", plan.script());
    } else {
        provision::execute(&plan)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How a cluster is made.
fn up(setup: &Setup) -> Plan {
    let mut plan = Plan::new(
        format!("a cluster on {}, named {}", setup.title(), setup.name),
        &setup.tools(),
    );
    match setup.target {
        Target::Kind => kind_machines(setup, &mut plan),
        Target::Aks => aks_machines(setup, &mut plan),
    }
    network::install(setup, &mut plan);
    let deploy = match setup.target {
        Target::Kind => format!(
            "cargo xtask deploy-probe --target=kind --context={}",
            setup.context()
        ),
        Target::Aks => format!(
            "cargo xtask deploy-probe --target=aks --context={} --image=${{registry}}/weighbridge-probe:{} --azure-account=${{account}} --azure-client-id=${{identity}}",
            setup.context(),
            env!("CARGO_PKG_VERSION")
        ),
    };
    plan.afterwards.push(deploy);
    plan
}

fn kind_machines(setup: &Setup, plan: &mut Plan) {
    let image = &Versions::pinned().kind_node_image;
    let (name, cni) = (&setup.name, setup.cni.name());
    plan.step(
        "one control plane and two workers, without a CNI",
        Action::RunUnless {
            words: words(&format!(
                "kind create cluster --name={name} --config=deploy/kind/{cni}.yaml --image={image}"
            )),
            listing: words("kind get clusters"),
            line: name.clone(),
        },
    );
}

fn aks_machines(setup: &Setup, plan: &mut Plan) {
    let (name, version) = (&setup.name, &Versions::pinned().kubernetes);
    plan.run(
        "somebody is logged in, to the subscription in ARM_SUBSCRIPTION_ID",
        "az account show --output=none",
    );
    let providers = &Versions::pinned().terraform_providers;
    plan.run(
        format!(
            "providers azurerm {} and tls {}",
            providers.azurerm, providers.tls
        ),
        &format!("{TERRAFORM} init -input=false"),
    );
    plan.run(
        "two nodes without a CNI, a server outside, a registry, a store",
        &format!(
            "{TERRAFORM} apply -input=false -auto-approve -var=name={name} -var=kubernetes_version={version}"
        ),
    );
    for (variable, output) in [
        ("group", "resource_group"),
        ("api_server", "api_server"),
        ("registry", "registry"),
        ("account", "storage_account"),
        ("identity", "client_id"),
    ] {
        plan.step(
            format!("what Terraform made: {}", output.replace('_', " ")),
            Action::Set {
                name: variable,
                words: words(&format!("{TERRAFORM} output -raw {output}")),
                pick: Pick::All,
            },
        );
    }
    plan.run(
        "the context",
        &format!(
            "az aks get-credentials --resource-group=${{group}} --name={name} --context={} --overwrite-existing",
            setup.context()
        ),
    );
    plan.run("leave to push images", "az acr login --name=${registry}");
}

/// How a cluster is deleted.
fn down(setup: &Setup) -> Plan {
    let name = &setup.name;
    let title = format!("the cluster {name} on {} goes", setup.title());
    match setup.target {
        Target::Kind => {
            let mut plan = Plan::new(title, &[Tool::Docker, Tool::Kind]);
            plan.run(
                "the server outside, if a scenario started one",
                &format!("docker rm --force {name}-outside"),
            );
            plan.run("the nodes", &format!("kind delete cluster --name={name}"));
            plan
        }
        Target::Aks => {
            let mut plan = Plan::new(title, &[Tool::Az, Tool::Terraform, Tool::Kubectl]);
            let version = &Versions::pinned().kubernetes;
            plan.run(
                "everything that Terraform made, the store with its recordings as well",
                &format!(
                    "{TERRAFORM} destroy -input=false -auto-approve -var=name={name} -var=kubernetes_version={version}"
                ),
            );
            plan.run(
                "the context",
                &format!("kubectl config delete-context {}", setup.context()),
            );
            plan
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The four setups.
    fn setups() -> Vec<Setup> {
        let each = |target| {
            [Cni::Antrea, Cni::Cilium].map(|cni| Setup {
                target,
                cni,
                name: NAME.to_owned(),
            })
        };
        Target::ALL.into_iter().flat_map(each).collect()
    }

    #[test]
    fn the_plans_of_the_four_setups() {
        for setup in setups() {
            let name = format!("up_{}_{}", setup.target.name(), setup.cni.name());
            insta::assert_snapshot!(name, up(&setup).script());
        }
        for target in Target::ALL {
            let setup = Setup {
                target,
                cni: Cni::Antrea,
                name: NAME.to_owned(),
            };
            insta::assert_snapshot!(format!("down_{}", target.name()), down(&setup).script());
        }
    }

    #[test]
    fn every_command_of_every_plan_is_checked_for() {
        for setup in setups() {
            for plan in [up(&setup), down(&setup)] {
                plan.require_tools_of_every_step();
            }
        }
    }
}
