//! Faults: what goes wrong in real clusters, made to happen on purpose.
//!
//! Each scenario brings up a lab, watches it with probes, makes one thing go wrong under traffic
//! and writes the dataset. What the verdict ought to be is known from how the fault is made; the
//! servers' logs say what really arrived.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use crate::cluster::{Lab, Placement};
use crate::config::{Config, Datapath};
use crate::error::LabError;
use crate::load::{Connections, LoadServer, SeenConnection, SentConnection};
use crate::probes::{ProbeOptions, Probes};
use crate::recorder::now_us;
use crate::topology::Family;

const PORT: u16 = 9000;
const POD: &str = "client";
/// Far fewer flows than the scenario opens.
const FEW_FLOWS: u32 = 64;
/// Long enough that every flow of before is in an interval that has ended.
const SETTLE: Duration = Duration::from_millis(1500);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Connections begin after the policy was made and before the datapath follows.
    EarlyFlow,
    /// The gateway translates to another address.
    WrongIp,
    /// Another node than the policy's gateway translates, to the right address.
    WrongNode,
    /// The gateway does not translate at all.
    NoSnat,
    /// The gateway dies under load; after a hole a second one takes over.
    GatewayDown,
    /// The probes' maps hold far fewer flows than there are.
    FullMap,
    /// The gateway's probe is killed in mid-run.
    ProbeKilled,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::EarlyFlow,
        Self::WrongIp,
        Self::WrongNode,
        Self::NoSnat,
        Self::GatewayDown,
        Self::FullMap,
        Self::ProbeKilled,
    ];

    /// The name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::EarlyFlow => "early-flow",
            Self::WrongIp => "wrong-ip",
            Self::WrongNode => "wrong-node",
            Self::NoSnat => "no-snat",
            Self::GatewayDown => "gateway-down",
            Self::FullMap => "full-map",
            Self::ProbeKilled => "probe-killed",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A name that no fault has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no fault `{0}`: one of early-flow, wrong-ip, wrong-node, no-snat, gateway-down, full-map, probe-killed"
)]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

/// Where and how a fault is made.
#[derive(Clone, Debug)]
pub struct ScenarioOptions {
    /// The datapath.
    pub datapath: Datapath,
    /// Address family of policy and traffic.
    pub family: Family,
    /// The `weighbridge-probe` binary.
    pub probe: PathBuf,
    /// Root of the dataset to write.
    pub dataset: PathBuf,
    /// The datapath's eBPF object, where it is not at its usual place.
    pub object: Option<PathBuf>,
}

/// What happened, as far as the lab knows it for certain.
#[derive(Clone, Debug)]
pub struct ScenarioReport {
    /// The fault.
    pub fault: Fault,
    /// Start and end of the time in which connections were at fault, UTC microseconds.
    pub window_us: (i64, i64),
    /// What the client says.
    pub sent: Vec<SentConnection>,
    /// What the server saw.
    pub seen: Vec<SeenConnection>,
    /// The pod that sent, as `namespace/name`.
    pub pod: String,
}

impl Fault {
    /// Makes the fault happen and writes the dataset.
    pub fn run(self, options: &ScenarioOptions) -> Result<ScenarioReport, LabError> {
        let mut lab = Lab::up(Config {
            family: options.family,
            policy: self != Self::EarlyFlow,
            object: options.object.clone(),
            ..Config::new(options.datapath)
        })?;
        let server = lab.start_server(PORT)?;
        let mut probe_options = ProbeOptions::new(&options.probe, &options.dataset);
        if self == Self::FullMap {
            probe_options.max_flows = Some(FEW_FLOWS);
        }
        let mut probes = lab.start_probes(&probe_options)?;
        let mut scene = Scene {
            lab: &mut lab,
            server: &server,
            probes: &mut probes,
        };
        let (window_us, sent) = match self {
            Self::EarlyFlow => scene.early_flow()?,
            Self::WrongIp | Self::WrongNode | Self::NoSnat => scene.wrong_placement(self)?,
            Self::GatewayDown => scene.gateway_down()?,
            Self::FullMap => scene.full_map()?,
            Self::ProbeKilled => scene.probe_killed()?,
        };
        thread::sleep(SETTLE);
        probes.stop()?;
        let seen = server.seen()?;
        lab.write_objects(&options.dataset)?;
        let pod = lab.qualified_name(POD);
        lab.down()?;
        Ok(ScenarioReport {
            fault: self,
            window_us,
            sent,
            seen,
            pod,
        })
    }
}

struct Scene<'a> {
    lab: &'a mut Lab,
    server: &'a LoadServer,
    probes: &'a mut Probes,
}

/// The faulty window and what the client says of it.
type Played = ((i64, i64), Vec<SentConnection>);

impl Scene<'_> {
    fn early_flow(&mut self) -> Result<Played, LabError> {
        let start_us = now_us();
        self.lab.announce("gateway")?;
        let early = self.connections(100, 100.0);
        let mut sent = self.lab.connect(&early)?;
        let end_us = now_us();
        let placement = self.lab.demanded("gateway");
        self.lab.program(Some(placement))?;
        sent.extend(self.lab.connect(&self.connections(100, 100.0))?);
        Ok(((start_us, end_us), sent))
    }

    fn wrong_placement(&mut self, fault: Fault) -> Result<Played, LabError> {
        let demanded = self.lab.demanded("gateway");
        let stray = self.lab.stray_address().of(demanded.family);
        let wrong = match fault {
            Fault::WrongIp => Placement {
                snat: Some(stray),
                ..demanded
            },
            Fault::WrongNode => Placement {
                gateway: "gateway2".to_owned(),
                ..demanded
            },
            _ => Placement {
                snat: None,
                ..demanded
            },
        };
        if wrong.snat.is_none() {
            self.lab.route_back(POD, "gateway")?;
        }
        self.lab.program(Some(wrong))?;
        let start_us = now_us();
        let sent = self.lab.connect(&self.connections(200, 200.0))?;
        Ok(((start_us, now_us()), sent))
    }

    fn gateway_down(&mut self) -> Result<Played, LabError> {
        let long = Connections {
            hold: Duration::from_secs(8),
            every: Duration::from_millis(50),
            patience: Duration::from_millis(300),
            ..self.connections(5, 50.0)
        };
        let short = Connections {
            patience: Duration::from_millis(500),
            ..self.connections(160, 20.0)
        };
        let long = self.lab.start_connections(&long)?;
        let short = self.lab.start_connections(&short)?;
        thread::sleep(Duration::from_secs(2));
        let start_us = now_us();
        self.lab.set_connected("gateway", false)?;
        thread::sleep(Duration::from_secs(2));
        self.lab.apply_policy("gateway2")?;
        let end_us = now_us();
        let mut sent = short.finish()?;
        sent.extend(long.finish()?);
        Ok(((start_us, end_us), sent))
    }

    fn full_map(&mut self) -> Result<Played, LabError> {
        let start_us = now_us();
        let sent = self.lab.connect(&self.connections(20 * FEW_FLOWS, 800.0))?;
        Ok(((start_us, now_us()), sent))
    }

    fn probe_killed(&mut self) -> Result<Played, LabError> {
        let load = self.lab.start_connections(&self.connections(600, 100.0))?;
        thread::sleep(Duration::from_secs(2));
        let start_us = now_us();
        self.probes.kill("gateway")?;
        let sent = load.finish()?;
        Ok(((start_us, now_us()), sent))
    }

    fn connections(&self, count: u32, rate_per_s: f64) -> Connections {
        let server = self.server.socket(self.lab.config().family);
        Connections {
            rate_per_s,
            ..Connections::short(POD, "tcp", server, count)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name_and_named_in_the_refusal() {
        let refusal = "nothing".parse::<Fault>().unwrap_err().to_string();
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
            assert!(refusal.contains(fault.name()), "{refusal}");
        }
    }
}
