//! The lab itself: comes up, takes policies, goes away.
//!
//! What the objects say and what the datapath does are set apart ([`Lab::announce`] and
//! [`Lab::program`]), because the faults worth testing are those where the two differ. The lab ends
//! when it is dropped, also when a test panics, and on SIGINT, SIGTERM and SIGHUP.

mod lookup;
mod wiring;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use trace_schema::objects::ObjectRow;

use crate::bpf;
use crate::cgroups;
use crate::config::{Config, Datapath};
use crate::error::LabError;
use crate::identity::{random_hex, random_uid};
use crate::netfilter;
use crate::network::{self, OUTSIDE_NAME, pod_place};
use crate::objects;
use crate::ownership::{forget, watch_signals};
use crate::place::Place;
use crate::recorder::Recorder;
use crate::routing::Routing;
use crate::state::{self, LabState, PlaceState, namespace_name, sweep_orphans, teardown};
use crate::topology::{self, Dual, EGRESS, Family, Node, OUTSIDE, Pod};

pub use wiring::Queue;

/// A running cluster; dropping it removes it.
#[derive(Debug)]
pub struct Lab {
    id: String,
    config: Config,
    nodes: Vec<Node>,
    pods: Vec<LabPod>,
    node_places: BTreeMap<&'static str, Place>,
    outside: Place,
    recorder: Recorder,
    bpf: Option<bpf::BpfDatapath>,
    placement: Option<Placement>,
    assigned: BTreeMap<IpAddr, String>,
}

/// What the datapath does with the selected pods' packets of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Family of the policy.
    pub family: Family,
    /// Node that they leave by.
    pub gateway: String,
    /// Source address that they get there; none leaves them as they are.
    pub snat: Option<IpAddr>,
}

#[derive(Debug)]
struct LabPod {
    pod: Pod,
    uid: String,
    container_id: String,
    place: Place,
}

impl Lab {
    /// Brings a lab up; what dead labs left behind is removed first.
    pub fn up(config: Config) -> Result<Self, LabError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        sweep_orphans()?;
        let id = match &config.id {
            Some(id) => id.clone(),
            None => random_hex(6)?,
        };
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if id.is_empty() || id.len() > 12 || !id.bytes().all(valid) {
            return Err(LabError::BadId { id });
        }
        let mut state = LabState {
            id: id.clone(),
            owner_pid: std::process::id(),
            owner_start_ticks: state::start_ticks(std::process::id()).unwrap_or_default(),
            datapath: config.datapath.name().to_owned(),
            ready: false,
            places: Vec::new(),
        };
        state::claim(&state)?;
        watch_signals(&id);
        let built = Self::build(id.clone(), config).and_then(|lab| {
            state.ready = true;
            state.places = lab.place_states();
            state::update(&state)?;
            Ok(lab)
        });
        if built.is_err() {
            // The first error is the one to report.
            let _ = teardown(&id);
            forget(&id);
        }
        built
    }

    /// Takes the lab down and says whether that worked; dropping it does the same silently.
    pub fn down(self) -> Result<(), LabError> {
        let id = self.id.clone();
        drop(self);
        teardown(&id)
    }

    /// Id in the names of its namespaces and cgroups.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Every version of every object so far.
    pub fn objects(&self) -> &[ObjectRow] {
        self.recorder.rows()
    }

    /// Writes the `objects` table below a dataset's root; called again, it replaces its file.
    pub fn write_objects(&self, dataset: &Path) -> Result<PathBuf, LabError> {
        self.recorder.write(dataset)
    }

    /// Records that every object is gone, as when the cluster is deleted.
    pub fn delete_objects(&mut self) {
        self.recorder.delete_all();
    }

    /// Records a new object or a new version of one.
    pub fn record(&mut self, object: Value) -> Result<(), LabError> {
        self.recorder.put(object)
    }

    /// Records a new version of an object that is there.
    pub fn amend(
        &mut self,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<(), LabError> {
        let Some(mut object) = self.recorder.latest(kind, namespace, name).cloned() else {
            return Err(LabError::Output {
                what: format!("the {kind} `{name}`"),
                message: "it was never recorded".to_owned(),
            });
        };
        change(&mut object);
        self.recorder.put(object)
    }

    /// Puts the policy in force, in objects and datapath, on a gateway.
    pub fn apply_policy(&mut self, gateway: &str) -> Result<(), LabError> {
        self.announce(gateway)?;
        self.program(Some(self.demanded(gateway)))
    }

    /// Records the policy as placed on a gateway, without touching the datapath.
    pub fn announce(&mut self, gateway: &str) -> Result<(), LabError> {
        for object in objects::policy(self.config.datapath, self.config.family, gateway) {
            self.recorder.put(object)?;
        }
        Ok(())
    }

    /// Records that the policy is gone, without touching the datapath.
    pub fn withdraw(&mut self) {
        self.recorder.delete(
            objects::policy_kind(self.config.datapath),
            None,
            objects::POLICY,
        );
    }

    /// What a datapath that obeys the policy does.
    pub fn demanded(&self, gateway: &str) -> Placement {
        Placement {
            family: self.config.family,
            gateway: gateway.to_owned(),
            snat: Some(EGRESS.of(self.config.family)),
        }
    }

    /// Makes the datapath do this with the selected pods, or treat all pods alike.
    pub fn program(&mut self, placement: Option<Placement>) -> Result<(), LabError> {
        if let Some(Placement {
            gateway,
            snat: Some(address),
            ..
        }) = &placement
        {
            self.assign(*address, gateway)?;
        }
        let pods: Vec<Pod> = self.pods.iter().map(|pod| pod.pod.clone()).collect();
        // Gateways first: what arrives there before its rules would leave as it is.
        let mut nodes: Vec<&Node> = self.nodes.iter().collect();
        nodes.sort_by_key(|node| {
            placement
                .as_ref()
                .is_none_or(|placement| placement.gateway != node.name)
        });
        if let Some(bpf) = &mut self.bpf {
            bpf.program(
                &self.nodes,
                &pods,
                placement.as_ref(),
                self.config.random_ports,
            )?;
        }
        let datapath = self.config.datapath;
        let routing = Routing {
            datapath,
            nodes: &self.nodes,
            pods: &pods,
        };
        for node in nodes {
            let namespace = self.node_places[node.name].namespace();
            if self.config.datapath == Datapath::Netfilter {
                let service = self.config.service.as_ref();
                let random = self.config.random_ports;
                netfilter::program(namespace, node, &pods, placement.as_ref(), random, service)?;
            }
            routing.program(namespace, node, self.placement.as_ref(), placement.as_ref())?;
        }
        self.placement = placement;
        Ok(())
    }

    fn build(id: String, config: Config) -> Result<Self, LabError> {
        let nodes = topology::nodes();
        let pods = topology::pods(&config.pods).map_err(|pod| LabError::Output {
            what: format!("the configuration of pod {pod}"),
            message: format!("its node is none of {}", topology::NODES.join(", ")),
        })?;
        network::build(&id, config.datapath, &nodes, &pods)?;
        let root = cgroups::lab_root(&id)?;
        let mut node_places = BTreeMap::new();
        for node in &nodes {
            let cgroup = root
                .join(node.name)
                .join("system.slice/weighbridge-lab.service");
            cgroups::create(&root.join(node.name).join(config.cgroups.kubepods()))?;
            node_places.insert(node.name, open_place(&id, node.name, node.name, cgroup)?);
        }
        let outside = open_place(&id, OUTSIDE_NAME, OUTSIDE_NAME, root.join(OUTSIDE_NAME))?;
        let pods = pods
            .into_iter()
            .map(|pod| {
                let (uid, container_id) = (random_uid()?, random_hex(64)?);
                let container = config
                    .cgroups
                    .container(pod.config.qos, &uid, &container_id);
                let cgroup = root.join(&pod.config.node).join(container);
                let name = pod.config.name.clone();
                let place = open_place(&id, &pod_place(&name), &name, cgroup)?;
                Ok(LabPod {
                    pod,
                    uid,
                    container_id,
                    place,
                })
            })
            .collect::<Result<Vec<_>, LabError>>()?;
        let bpf = match config.datapath {
            Datapath::Netfilter => None,
            Datapath::Bpf => {
                let places: Vec<(&str, &Place)> = node_places
                    .iter()
                    .map(|(name, place)| (*name, place))
                    .collect();
                Some(bpf::BpfDatapath::attach(config.object.as_deref(), &places)?)
            }
        };
        if let (Some(service), Datapath::Bpf) = (&config.service, config.datapath) {
            for place in node_places.values() {
                netfilter::program_service(place.namespace(), service)?;
            }
        }
        let mut lab = Self {
            id,
            config,
            nodes,
            pods,
            node_places,
            outside,
            recorder: Recorder::new()?,
            bpf,
            placement: None,
            assigned: BTreeMap::new(),
        };
        lab.record_cluster()?;
        if lab.config.policy {
            lab.apply_policy("gateway")?;
        } else {
            lab.program(None)?;
        }
        Ok(lab)
    }

    fn record_cluster(&mut self) -> Result<(), LabError> {
        let pods: Vec<(&Pod, &str, &str)> = self
            .pods
            .iter()
            .map(|pod| (&pod.pod, pod.uid.as_str(), pod.container_id.as_str()))
            .collect();
        let service = self.config.service.as_ref();
        for object in objects::cluster(self.config.datapath, &self.nodes, &pods, service) {
            self.recorder.put(object)?;
        }
        Ok(())
    }

    fn place_states(&self) -> Vec<PlaceState> {
        let state = |kind: &str, place: &Place, address: Dual| PlaceState {
            kind: kind.to_owned(),
            name: place.name().to_owned(),
            namespace: place.namespace().name().to_owned(),
            cgroup: place.cgroup().to_owned(),
            addresses: vec![address.v4.to_string(), address.v6.to_string()],
        };
        let nodes = self
            .nodes
            .iter()
            .map(|node| state("node", &self.node_places[node.name], node.address));
        let pods = self
            .pods
            .iter()
            .map(|pod| state("pod", &pod.place, pod.pod.address));
        nodes
            .chain(pods)
            .chain([state("outside", &self.outside, OUTSIDE)])
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = teardown(&self.id) {
            eprintln!("lab {}: {error}", self.id);
        }
        forget(&self.id);
    }
}

fn open_place(id: &str, place: &str, name: &str, cgroup: PathBuf) -> Result<Place, LabError> {
    cgroups::create(&cgroup)?;
    Ok(Place::new(
        name,
        crate::namespace::Namespace::open(&namespace_name(id, place))?,
        cgroup,
    ))
}
