//! A Kubernetes-shaped cluster in network namespaces, for tests and demonstrations.
//!
//! A [`Lab`] has nodes, pods and a host outside, joined by one bridge; a datapath that treats
//! egress policies as Antrea does (netfilter) or as Cilium does (eBPF); kubelet-shaped cgroups;
//! the Kubernetes objects that such a cluster would have; and real load. It knows nothing of how
//! the probe observes or how the analyzer judges: what it says about a connection comes from the
//! server that saw it. Its traffic never leaves its namespaces, and [`teardown`] leaves nothing of
//! it on the machine, whatever killed its owner.

mod bpf;
mod cgroups;
mod cluster;
mod command;
mod config;
mod error;
mod identity;
mod ingress;
mod iperf3;
mod load;
mod namespace;
mod netfilter;
mod network;
mod objects;
mod ownership;
mod place;
mod probes;
mod recorder;
mod routing;
mod scenario;
mod state;
mod topology;

pub use cgroups::{CgroupDriver, CgroupStyle, QosClass, Runtime, cgroup2_mount};
pub use cluster::{Lab, Placement, Queue};
pub use config::{Config, Datapath, PodConfig, ServiceConfig};
pub use error::LabError;
pub use ingress::{
    BackendRef, BackendRequest, DataPlane, GatewayRequest, Ingress, IngressConfig, IngressFault,
    IngressReport, IngressScenario, K6Options, K6Process, K6Run, K6Script, Mirror, Probed, Prober,
    Retry, Route, UnknownIngressFault, Upstream,
};
pub use iperf3::{IperfOptions, IperfPairs, IperfProtocol, IperfRun, PairsRun, iperf3_version};
pub use load::{ConnectionLog, Connections, LoadServer, SeenConnection, SentConnection};
pub use namespace::Namespace;
pub use ownership::Interruption;
pub use place::{Place, Process};
pub use probes::{ProbeOptions, Probes};
pub use recorder::now_us;
pub use scenario::{Fault, ScenarioOptions, ScenarioReport, UnknownFault};
pub use state::{LabState, PlaceState, list, sweep_orphans, teardown};
pub use topology::{Dual, Family};
