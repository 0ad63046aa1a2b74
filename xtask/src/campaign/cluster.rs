//! A cluster as a target: load from its pods, watched by the probes that `deploy-probe` put there.
//!
//! The scenario is set up once and stays; a run is a command in a pod, whose output goes into the
//! run's folder. What the probes recorded is fetched at the end, as `cargo xtask collect` does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use lab::{Interruption, now_us};
use trace_schema::manifest::{RunManifest, RunOutcome};

use super::config::{Campaign, Case, Setting};
use super::file::Study;
use super::records::{self, INTERRUPTED};
use super::target::Target;
use crate::cluster::Setup;
use crate::provision::{self, Action, Pick, Plan, Words, words};
use crate::scenario::{self, egress, ingress};
use crate::{collect, deploy_probe};

/// What a run takes beside its load.
pub const BESIDE_LOAD: Duration = Duration::from_secs(3);
/// Where the kernel's version is kept among the names that steps find out.
const KERNEL: &str = "kernel";

/// A cluster with the study's scenario on it.
pub struct Cluster {
    campaign: Campaign,
    dataset: PathBuf,
    setup: Setup,
    known: BTreeMap<String, String>,
    interruption: Interruption,
}

impl Cluster {
    /// Sets the scenario up.
    pub fn prepare(
        campaign: &Campaign,
        setup: &Setup,
        dataset: PathBuf,
        interruption: Interruption,
    ) -> anyhow::Result<Self> {
        let plan = preparation(campaign.study, setup);
        let known = provision::execute(&plan)?;
        Ok(Self {
            campaign: campaign.clone(),
            dataset,
            setup: setup.clone(),
            known,
            interruption,
        })
    }

    /// Fetches what the probes and the recorder wrote.
    pub fn collect(&self) -> anyhow::Result<()> {
        let mut plan = collect::plan(&self.setup, &self.dataset);
        if self.setup.target == deploy_probe::Target::Aks {
            let wait = provision::Step {
                about: "probes merge and ship their files every five minutes".to_owned(),
                action: Action::Run(words("sleep 330")),
            };
            plan.steps.insert(0, wait);
        }
        provision::execute(&plan)?;
        Ok(())
    }

    fn command(&self, setting: Setting, seconds: u64) -> Vec<(Words, &'static str, &'static str)> {
        match setting {
            Setting::Egress { gateway, udp, .. } => {
                let egress = if gateway { "gateway" } else { "base" };
                let arguments = self.iperf3(udp);
                let client = egress::client(&self.setup, egress, seconds, &arguments);
                vec![(client, "iperf3.json", "iperf3-json")]
            }
            Setting::Ingress { users, .. } => {
                let fresh = self.campaign.no_connection_reuse;
                let arguments: Vec<String> = fresh
                    .then(|| "--no-connection-reuse".to_owned())
                    .into_iter()
                    .collect();
                let commands = ingress::k6(&self.setup, users, seconds, &arguments);
                let files = commands.into_iter().zip(ingress::FILES);
                files
                    .map(|(words, (name, kind))| (words, name, kind))
                    .collect()
            }
        }
    }

    fn iperf3(&self, udp: bool) -> Vec<String> {
        let mut arguments = Vec::new();
        if udp {
            let rate = format!("{}M", self.campaign.iperf3.udp_mbit);
            arguments.extend(["--udp".to_owned(), "--bitrate".to_owned(), rate]);
        }
        // The plan's own come last, where they have the last word.
        arguments.extend(self.campaign.iperf3_arguments());
        arguments
    }

    /// Load before the run that is not kept; iperf3 leaves its own out by itself.
    fn warm_up(&self, setting: Setting) -> anyhow::Result<()> {
        let seconds = self.campaign.warm_up.as_secs();
        if seconds == 0 || self.campaign.study == Study::Egress {
            return Ok(());
        }
        let mut plan = self.steps("warming up");
        if let Some((words, _, _)) = self.command(setting, seconds).into_iter().next() {
            let file = "/dev/null".to_owned();
            plan.step("load that no figure uses", Action::Save { words, file });
        }
        plan.run("so that the run shares no interval with it", "sleep 2");
        self.perform_steps(&plan)
    }

    /// A plan that knows what the preparation found out.
    fn steps(&self, title: &str) -> Plan {
        let mut plan = Plan::new(title, &[]);
        plan.known = self.known.clone();
        plan
    }

    fn perform_steps(&self, plan: &Plan) -> anyhow::Result<()> {
        let performed = provision::execute(plan);
        // Ctrl-C reaches the running command as well, which then failed for no reason of its own.
        if self.interruption.has_come() {
            bail!(INTERRUPTED);
        }
        performed.map(drop)
    }
}

impl Target for Cluster {
    fn beside_load(&self) -> Duration {
        BESIDE_LOAD
    }

    fn perform(
        &self,
        case: &Case,
        mut manifest: RunManifest,
        stage: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        stage("warming up");
        self.warm_up(case.setting)?;
        stage("load");
        let folder = records::folder(&self.dataset, &manifest.id);
        let mut plan = self.steps(&manifest.id);
        for (words, name, kind) in self.command(case.setting, self.campaign.duration.as_secs()) {
            let file = folder.join(name).display().to_string();
            plan.step(format!("its {kind}"), Action::Save { words, file });
            manifest.files.insert(name.to_owned(), kind.to_owned());
        }
        manifest.start_us = now_us();
        let performed = self.perform_steps(&plan);
        manifest.end_us = now_us();
        self.describe(case.setting, &mut manifest);
        if let Err(error) = &performed {
            manifest.outcome = RunOutcome::Failed;
            manifest.failure = Some(format!("{error:#}").replace('\n', "; "));
        }
        manifest.write(&folder)?;
        performed
    }
}

impl Cluster {
    fn describe(&self, setting: Setting, manifest: &mut RunManifest) {
        let (pod, address, port) = match setting {
            Setting::Egress { gateway, .. } => {
                let egress = if gateway { "gateway" } else { "base" };
                let pod = format!("{}/client-{egress}", egress::NAMESPACE);
                (pod, "server", egress::PORT)
            }
            Setting::Ingress { .. } => {
                let pod = format!("{}/k6", ingress::NAMESPACE);
                (pod, "gateway_address", ingress::PORT)
            }
        };
        manifest.client_pod = Some(pod);
        manifest.server_address = self.known.get(address).cloned();
        manifest.server_port = Some(port);
        manifest.versions.extend(self.setup.cni.versions());
        manifest.kernel = self.known.get(KERNEL).cloned().unwrap_or_default();
    }
}

/// What must be there before the first run.
fn preparation(study: Study, setup: &Setup) -> Plan {
    let title = format!("the {} study's scenario", study.name());
    let mut plan = scenario::begin(setup, &title);
    let words = words(&format!(
        "{} get nodes --output=jsonpath='{{.items[0].status.nodeInfo.kernelVersion}}'",
        setup.kubectl()
    ));
    let (name, pick) = (KERNEL, Pick::All);
    plan.step("the nodes' kernel", Action::Set { name, words, pick });
    match study {
        Study::Egress => egress::prepare(setup, &mut plan),
        Study::Ingress => ingress::prepare(setup, &mut plan),
    }
    plan
}
