//! The lab as a target: a cluster of its own for every run.
//!
//! A cluster is up in about a second, so no run inherits caches, conntrack entries or warm buffers
//! from the one before it, and datapaths can alternate from run to run. All runs go into one
//! dataset: their clusters follow one another, the objects of each end with it, and the time
//! between two is unwatched, which concerns no run.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use lab::{
    BackendRef, Config, DataPlane, Datapath, Ingress, IngressConfig, Interruption, IperfOptions,
    IperfProtocol, K6Options, K6Script, Lab, LabError, ProbeOptions, Probes, Route,
};
use trace_schema::manifest::{RunManifest, RunOutcome};

use super::config::{Campaign, Case, Setting};
use super::file::Script;
use super::records::INTERRUPTED;
use super::target::Target;
use super::{Programs, environment};

/// What a run takes beside its load: a cluster, the probes' coming and going, their files.
pub const BESIDE_LOAD: Duration = Duration::from_secs(7);
/// Until the last interval with traffic of a run has ended.
const SETTLE: Duration = Duration::from_millis(1200);
/// What a tool may take over its load.
const PATIENCE: Duration = Duration::from_secs(45);
/// How often a running tool is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Pods behind each service.
const PODS: usize = 2;

/// The lab.
pub struct Laboratory {
    /// What is run.
    pub campaign: Campaign,
    /// The dataset's root.
    pub dataset: PathBuf,
    /// What it is run with.
    pub programs: Programs,
    /// Whether Ctrl-C was pressed.
    pub interruption: Interruption,
}

impl Target for Laboratory {
    fn beside_load(&self) -> Duration {
        BESIDE_LOAD
    }

    fn perform(
        &self,
        case: &Case,
        manifest: RunManifest,
        stage: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        let performed = match case.setting {
            Setting::Egress {
                datapath,
                gateway,
                udp,
                pairs,
            } => {
                let options = self.iperf3(gateway, udp);
                self.egress(datapath, &IperfLoad { options, pairs }, manifest, stage)
            }
            Setting::Ingress { data_plane, users } => {
                self.ingress(data_plane, users, manifest, stage)
            }
        };
        // What was half done when Ctrl-C came may have failed in any way.
        performed.map_err(|error| self.uninterrupted().err().unwrap_or(error))
    }
}

impl Laboratory {
    fn egress(
        &self,
        datapath: Datapath,
        load: &IperfLoad,
        manifest: RunManifest,
        stage: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        stage("bringing the lab up");
        let mut config = Config::new(datapath);
        config.object = Some(self.programs.object.clone());
        let mut lab = Lab::up(config)?;
        let probes = self.start_probes(&lab)?;
        stage("iperf3");
        let driven = self.drive_iperf3(&lab, load, manifest);
        stage("writing the dataset");
        let watched = end_of_watch(probes);
        lab.delete_objects();
        lab.write_objects(&self.dataset)?;
        lab.down()?;
        driven.and(watched)
    }

    fn drive_iperf3(
        &self,
        lab: &Lab,
        load: &IperfLoad,
        mut manifest: RunManifest,
    ) -> anyhow::Result<()> {
        environment::describe(&mut manifest, lab, lab.pod(&load.options.pod));
        let mut running = lab.start_iperf3(&load.options, load.pairs)?;
        let cut = self.await_end(|| running.is_running())?;
        if cut.is_some() {
            running.interrupt()?;
        }
        let run = running.finish()?;
        let failure = cut.or_else(|| run.failure.clone());
        mark(&mut manifest, failure.as_deref());
        run.write_as(&self.dataset, manifest)?;
        failure.map_or(Ok(()), |failure| bail!(failure))
    }

    fn ingress(
        &self,
        data_plane: DataPlane,
        users: u32,
        manifest: RunManifest,
        stage: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        stage("bringing the Gateway up");
        let mut ingress = Ingress::up(self.ingress_config(data_plane))?;
        let probes = self.start_probes(ingress.lab())?;
        let prober = ingress.start_prober()?;
        let options = self.k6(users);
        let driven = self
            .warm_up(&ingress, &options, stage)
            .and_then(|()| self.drive_k6(&ingress, &options, manifest, stage));
        stage("writing the dataset");
        let watched = end_of_watch(probes);
        prober.stop();
        ingress.write_objects(&self.dataset)?;
        ingress.down()?;
        driven.and(watched)
    }

    fn warm_up(
        &self,
        ingress: &Ingress,
        options: &K6Options,
        stage: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        if self.campaign.warm_up.is_zero() {
            return Ok(());
        }
        stage("warming up");
        let options = K6Options {
            duration: self.campaign.warm_up,
            ..options.clone()
        };
        let mut running = ingress.start_k6(&options)?;
        if let Some(cut) = self.await_end(|| running.is_running())? {
            bail!(cut);
        }
        running.finish(ingress)?;
        // So that the run shares no interval with it.
        thread::sleep(SETTLE);
        Ok(())
    }

    fn drive_k6(
        &self,
        ingress: &Ingress,
        options: &K6Options,
        mut manifest: RunManifest,
        stage: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        stage("k6");
        environment::describe(&mut manifest, ingress.lab(), ingress.client());
        let mut running = ingress.start_k6(options)?;
        let cut = self.await_end(|| running.is_running())?;
        if cut.is_some() {
            running.interrupt()?;
        }
        let run = running.gather(ingress)?;
        let failure = cut.or_else(|| run.failure());
        mark(&mut manifest, failure.as_deref());
        run.write_as(&self.dataset, manifest)?;
        failure.map_or(Ok(()), |failure| bail!(failure))
    }

    fn start_probes(&self, lab: &Lab) -> anyhow::Result<Probes> {
        self.uninterrupted()?;
        let options = ProbeOptions {
            interval: humantime::format_duration(self.campaign.interval).to_string(),
            arguments: self.campaign.probe_arguments.clone(),
            ..ProbeOptions::new(&self.programs.probe, &self.dataset)
        };
        let probes = lab.start_probes(&options)?;
        self.uninterrupted()?;
        Ok(probes)
    }

    fn uninterrupted(&self) -> anyhow::Result<()> {
        if self.interruption.has_come() {
            bail!(INTERRUPTED);
        }
        Ok(())
    }

    /// Waits for a tool; gives the reason where it has to be ended before its time.
    fn await_end(
        &self,
        mut is_running: impl FnMut() -> Result<bool, LabError>,
    ) -> anyhow::Result<Option<String>> {
        let started = Instant::now();
        let limit = self.campaign.load() + PATIENCE;
        while is_running()? {
            if self.interruption.has_come() {
                return Ok(Some(INTERRUPTED.to_owned()));
            }
            if started.elapsed() > limit {
                return Ok(Some(format!(
                    "the load did not end within {} s",
                    limit.as_secs()
                )));
            }
            thread::sleep(LOOK);
        }
        Ok(None)
    }

    fn iperf3(&self, gateway: bool, udp: bool) -> IperfOptions {
        let options = &self.campaign.iperf3;
        let arguments = self.campaign.iperf3_arguments();
        let seconds = u32::try_from(self.campaign.duration.as_secs()).unwrap_or(u32::MAX);
        IperfOptions {
            protocol: match udp {
                false => IperfProtocol::Tcp,
                true => IperfProtocol::Udp {
                    rate_mbit: options.udp_mbit,
                },
            },
            arguments,
            ..IperfOptions::tcp(if gateway { "client" } else { "base" }, seconds)
        }
    }

    fn k6(&self, users: u32) -> K6Options {
        K6Options {
            duration: self.campaign.duration,
            script: match self.campaign.script {
                Script::Classic => K6Script::Classic,
                Script::Counter => K6Script::Counter,
            },
            no_connection_reuse: self.campaign.no_connection_reuse,
            ..K6Options::new(users, 0)
        }
    }

    fn ingress_config(&self, data_plane: DataPlane) -> IngressConfig {
        let weights = &self.campaign.weights;
        let backends = weights.iter().map(|(service, weight)| BackendRef {
            service: service.clone(),
            weight: Some(*weight),
        });
        let route = Route {
            backends: backends.collect(),
            ..Route::default()
        };
        let services = weights.iter().map(|(service, _)| (service.clone(), PODS));
        IngressConfig {
            route,
            services: services.collect(),
            object: Some(self.programs.object.clone()),
            ..IngressConfig::new(data_plane, &self.programs.k6, &self.programs.envoy)
        }
    }
}

/// What runs in the client pod.
struct IperfLoad {
    options: IperfOptions,
    pairs: u16,
}

/// Lets the probes write the last interval with traffic, and ends them.
fn end_of_watch(mut probes: Probes) -> anyhow::Result<()> {
    thread::sleep(SETTLE);
    probes.check()?;
    Ok(probes.stop()?)
}

fn mark(manifest: &mut RunManifest, failure: Option<&str>) {
    if let Some(failure) = failure {
        manifest.outcome = RunOutcome::Failed;
        manifest.failure = Some(failure.to_owned());
    }
}
