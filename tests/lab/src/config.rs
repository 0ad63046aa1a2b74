//! What a lab is to be: its datapath, pods, policy and oddities.
//!
//! A [`Config`] is plain data with a default for everything. It refuses nothing itself; the
//! cluster checks it when it comes up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cgroups::{CgroupStyle, QosClass};
use crate::topology::Family;

/// How pods' packets are routed and translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datapath {
    /// Antrea's way: marks, policy routing into VXLAN, iptables SNAT.
    Netfilter,
    /// Cilium's way: VXLAN, SNAT by a tc program that ends the chain, no conntrack.
    Bpf,
}

impl Datapath {
    /// The name used on command lines and in case names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Netfilter => "netfilter",
            Self::Bpf => "bpf",
        }
    }
}

/// A pod of the lab.
#[derive(Clone, Debug)]
pub struct PodConfig {
    /// Name, unique in the lab; at most 20 characters.
    pub name: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Node that it runs on.
    pub node: String,
    /// Whether the egress policy selects it: it then carries the label `egress: gateway`.
    pub selected: bool,
    /// Labels; none are the pod's name as `app`.
    pub labels: BTreeMap<String, String>,
    /// Whether it shares its node's network: that is what its object says, while the lab gives it
    /// the address that Cilium's Envoy uses.
    pub host_network: bool,
    /// Quality-of-service class, which decides its cgroup's parent.
    pub qos: QosClass,
}

impl PodConfig {
    /// A best-effort pod in namespace `demo`.
    pub fn new(name: &str, node: &str, selected: bool) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "demo".to_owned(),
            node: node.to_owned(),
            selected,
            labels: BTreeMap::new(),
            host_network: false,
            qos: QosClass::BestEffort,
        }
    }
}

/// A service whose virtual address is translated to the outside host by iptables on every node.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Port of the virtual address.
    pub port: u16,
    /// Port on the outside host.
    pub target_port: u16,
}

/// What a lab is to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// Id in the names of namespaces; a random one where it is not given.
    pub id: Option<String>,
    /// The datapath.
    pub datapath: Datapath,
    /// Address family of the egress policy; pods always have both families.
    pub family: Family,
    /// Whether the policy is there, in objects and datapath, when the lab comes up.
    pub policy: bool,
    /// Whether the SNAT picks random source ports; otherwise it keeps the port where it is free.
    pub random_ports: bool,
    /// The pods.
    pub pods: Vec<PodConfig>,
    /// How the kubelet of this cluster names cgroups.
    pub cgroups: CgroupStyle,
    /// A service towards the outside host.
    pub service: Option<ServiceConfig>,
    /// The eBPF object of the `bpf` datapath; else `WEIGHBRIDGE_LAB_OBJECT`, else
    /// `target/ebpf/lab.o` of the workspace.
    pub object: Option<PathBuf>,
}

impl Config {
    /// The usual lab: `client`, which the policy selects, and `base`, which it does not, both on
    /// `worker`; the policy in force.
    pub fn new(datapath: Datapath) -> Self {
        Self {
            id: None,
            datapath,
            family: Family::V4,
            policy: true,
            random_ports: false,
            pods: vec![
                PodConfig::new("client", "worker", true),
                PodConfig::new("base", "worker", false),
            ],
            cgroups: CgroupStyle::default(),
            service: None,
            object: None,
        }
    }
}
