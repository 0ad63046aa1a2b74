//! Faults of an ingress: what goes wrong between a route and its data plane, made to happen.
//!
//! Each scenario brings an ingress up, watches it with probes and a prober, and makes one thing go
//! wrong under load. What the verdict ought to be is known from how the fault is made; the access
//! logs say what really arrived.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use super::route::{DataPlane, Mirror, Retry, Route};
use super::{Ingress, IngressConfig, K6Options, K6Run, Probed};
use crate::error::LabError;
use crate::probes::ProbeOptions;
use crate::recorder::now_us;

/// Of the probes; short beside the stages of a canary.
const INTERVAL: &str = "500ms";
/// Long enough that every response of before is in an interval that has ended.
const SETTLE: Duration = Duration::from_millis(1500);
/// How late the data plane of [`IngressFault::StaleRoute`] is.
const STALE: Duration = Duration::from_secs(3);

/// Something that goes wrong, or at least does not stay as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IngressFault {
    /// The data plane splits 64 to 36 under a route of 70 to 30.
    SkewedSplit,
    /// The pods of one service are killed, one after the other; the gateway is not told.
    DeadBackend,
    /// The route names a service that is not there.
    InvalidBackend,
    /// The weights change during the run and the data plane follows some seconds later.
    StaleRoute,
    /// A service's pods answer 503 for a while; the gateway tries again where it was told to.
    Retries,
    /// Every second request is mirrored to a service of its own.
    Mirror,
    /// A canary's stages: 5, 25, 50, 75, 100 percent.
    Canary,
}

impl IngressFault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SkewedSplit,
        Self::DeadBackend,
        Self::InvalidBackend,
        Self::StaleRoute,
        Self::Retries,
        Self::Mirror,
        Self::Canary,
    ];

    /// The name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::SkewedSplit => "skewed-split",
            Self::DeadBackend => "dead-backend",
            Self::InvalidBackend => "invalid-backend",
            Self::StaleRoute => "stale-route",
            Self::Retries => "retries",
            Self::Mirror => "mirror",
            Self::Canary => "canary",
        }
    }
}

impl fmt::Display for IngressFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A name that no fault of an ingress has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no ingress fault `{0}`: one of skewed-split, dead-backend, invalid-backend, stale-route, \
     retries, mirror, canary"
)]
pub struct UnknownIngressFault(String);

impl FromStr for IngressFault {
    type Err = UnknownIngressFault;

    fn from_str(name: &str) -> Result<Self, UnknownIngressFault> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| UnknownIngressFault(name.to_owned()))
    }
}

/// Where and how a fault is made.
#[derive(Clone, Debug)]
pub struct IngressScenario {
    /// The data plane.
    pub data_plane: DataPlane,
    /// The `weighbridge-probe` binary.
    pub probe: PathBuf,
    /// Root of the dataset to write.
    pub dataset: PathBuf,
    /// The `k6` program.
    pub k6: PathBuf,
    /// The `envoy` program.
    pub envoy: PathBuf,
    /// The datapath's eBPF object, where it is not at its usual place.
    pub object: Option<PathBuf>,
    /// Virtual users.
    pub users: u32,
}

/// What happened, as far as the lab knows it for certain.
#[derive(Clone, Debug)]
pub struct IngressReport {
    /// The fault.
    pub fault: IngressFault,
    /// Id of the run in the dataset.
    pub run: String,
    /// Start and end of the time in which the data plane was at odds with the objects, UTC
    /// microseconds; the whole run where it never agreed, nothing where it always did.
    pub window_us: Option<(i64, i64)>,
    /// Answers of backends to the gateway by pod and status, from the backends' logs.
    pub answers: BTreeMap<(String, u16), u64>,
    /// Console lines of k6 by pod.
    pub hostnames: BTreeMap<String, u64>,
    /// Requests by the status that k6 got, from the gateway's log.
    pub statuses: BTreeMap<u16, u64>,
    /// What the prober was answered.
    pub probed: Probed,
}

impl IngressFault {
    /// Makes the fault happen and writes the dataset.
    pub fn run(self, scenario: &IngressScenario) -> Result<IngressReport, LabError> {
        let mut ingress = Ingress::up(self.config(scenario))?;
        let probes = ProbeOptions {
            interval: INTERVAL.to_owned(),
            // Where the backends are.
            nodes: super::BACKEND_NODES.map(str::to_owned).to_vec(),
            ..ProbeOptions::new(&scenario.probe, &scenario.dataset)
        };
        let probes = ingress.lab().start_probes(&probes)?;
        let prober = ingress.start_prober()?;
        let mut stage = Stage {
            ingress: &mut ingress,
            users: scenario.users,
        };
        let (window_us, run) = stage.play(self)?;
        thread::sleep(SETTLE);
        let probed = prober.stop();
        probes.stop()?;
        let id = format!("{}-{}", scenario.data_plane.name(), self.name());
        let case = format!("lab-{}-ingress-{}", scenario.data_plane.name(), self.name());
        run.write(&scenario.dataset, &id, &case)?;
        ingress.write_objects(&scenario.dataset)?;
        let mut statuses = BTreeMap::new();
        for request in ingress.gateway_log()? {
            *statuses.entry(request.status).or_default() += 1;
        }
        let hostnames = run.hostnames()?;
        let answers = answers(&ingress)?;
        ingress.down()?;
        Ok(IngressReport {
            fault: self,
            run: id,
            window_us,
            answers,
            hostnames,
            statuses,
            probed,
        })
    }

    fn config(self, scenario: &IngressScenario) -> IngressConfig {
        let mut config = IngressConfig::new(scenario.data_plane, &scenario.k6, &scenario.envoy);
        config.object = scenario.object.clone();
        match self {
            Self::SkewedSplit | Self::StaleRoute => {
                config.route = Route::new(&[("echo-v1", 70), ("echo-v2", 30)]);
            }
            Self::InvalidBackend => {
                config.route = Route::new(&[("echo-v1", 50), ("echo-v2", 30), ("echo-v3", 20)]);
            }
            Self::Retries => {
                config.route.retry = Some(Retry {
                    codes: vec![503],
                    attempts: 2,
                });
            }
            Self::Mirror => {
                config.services.push(("echo-mirror".to_owned(), 1));
                config.route.mirror = Some(Mirror {
                    service: "echo-mirror".to_owned(),
                    percent: Some(50),
                });
            }
            Self::Canary => config.route = Route::canary(5),
            Self::DeadBackend => {}
        }
        config
    }
}

fn answers(ingress: &Ingress) -> Result<BTreeMap<(String, u16), u64>, LabError> {
    let (gateway, _) = ingress.listener();
    let mut counts = BTreeMap::new();
    for (pod, _) in ingress.backend_pods() {
        for request in ingress.backend_log(&pod)? {
            if request.peer.ip() == gateway {
                *counts.entry((pod.clone(), request.status)).or_default() += 1;
            }
        }
    }
    Ok(counts)
}

struct Stage<'a> {
    ingress: &'a mut Ingress,
    users: u32,
}

/// The time at odds and the load.
type Played = (Option<(i64, i64)>, K6Run);

impl Stage<'_> {
    fn play(&mut self, fault: IngressFault) -> Result<Played, LabError> {
        match fault {
            IngressFault::SkewedSplit => self.skewed_split(),
            IngressFault::DeadBackend => self.dead_backend(),
            IngressFault::StaleRoute => self.stale_route(),
            IngressFault::Retries => self.retries(),
            IngressFault::Canary => self.canary(),
            IngressFault::InvalidBackend | IngressFault::Mirror => {
                Ok((None, self.ingress.k6(&self.load(6))?))
            }
        }
    }

    fn skewed_split(&mut self) -> Result<Played, LabError> {
        self.ingress
            .program(&Route::new(&[("echo-v1", 64), ("echo-v2", 36)]))?;
        let run = self.ingress.k6(&self.load(6))?;
        Ok((Some((run.start_us, run.end_us)), run))
    }

    fn dead_backend(&mut self) -> Result<Played, LabError> {
        let load = self.ingress.start_k6(&self.load(9))?;
        thread::sleep(Duration::from_secs(3));
        self.ingress.kill("echo-v2-1")?;
        thread::sleep(Duration::from_secs(2));
        let start_us = now_us();
        self.ingress.kill("echo-v2-2")?;
        thread::sleep(Duration::from_secs(1));
        self.ingress.announce_unready("echo-v2")?;
        let run = load.finish(self.ingress)?;
        Ok((Some((start_us, run.end_us)), run))
    }

    fn stale_route(&mut self) -> Result<Played, LabError> {
        let load = self.ingress.start_k6(&self.load(14))?;
        thread::sleep(Duration::from_secs(4));
        let route = Route::new(&[("echo-v1", 30), ("echo-v2", 70)]);
        let start_us = now_us();
        self.ingress.announce(&route)?;
        thread::sleep(STALE);
        self.ingress.program(&route)?;
        let end_us = now_us();
        Ok((Some((start_us, end_us)), load.finish(self.ingress)?))
    }

    fn retries(&mut self) -> Result<Played, LabError> {
        let load = self.ingress.start_k6(&self.load(7))?;
        thread::sleep(Duration::from_secs(2));
        self.ingress.answer_with("echo-v2-1", 503)?;
        thread::sleep(Duration::from_secs(2));
        self.ingress.answer_with("echo-v2-1", 200)?;
        Ok((None, load.finish(self.ingress)?))
    }

    fn canary(&mut self) -> Result<Played, LabError> {
        const STAGE: Duration = Duration::from_secs(4);
        const LATER_STAGES: [u32; 4] = [25, 50, 75, 100];
        let load = self.ingress.start_k6(&self.load(20))?;
        for percent in LATER_STAGES {
            thread::sleep(STAGE);
            self.ingress.apply(&Route::canary(percent))?;
        }
        Ok((None, load.finish(self.ingress)?))
    }

    fn load(&self, seconds: u64) -> K6Options {
        K6Options::new(self.users, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name_and_named_in_the_refusal() {
        let refusal = "nothing".parse::<IngressFault>().unwrap_err().to_string();
        for fault in IngressFault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
            assert!(refusal.contains(fault.name()), "{refusal}");
        }
    }
}
