//! A Gateway with a real data plane, echo backends behind it, and the objects that describe both.
//!
//! As with egress, what the objects say ([`Ingress::announce`]) and what the data plane does
//! ([`Ingress::program`]) are set apart, because the faults worth testing are those where the two
//! differ. What arrived where comes from the access logs of the gateway and of every backend; the
//! lab knows nothing of how the probe counts.

mod access_log;
mod echo;
mod envoy;
mod fault;
mod k6;
mod nginx;
mod objects;
mod prober;
mod route;
mod servers;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::cluster::Lab;
use crate::config::{Config, Datapath, PodConfig};
use crate::error::LabError;
use crate::place::{Place, Process};

pub use access_log::{BackendRequest, GatewayRequest};
pub use fault::{IngressFault, IngressReport, IngressScenario, UnknownIngressFault};
pub use k6::{K6Options, K6Process, K6Run, K6Script};
pub use prober::{Probed, Prober};
pub use route::{BackendRef, DataPlane, Mirror, Retry, Route};

/// Kubernetes namespace of the Gateway, the route and what is behind it.
pub(crate) const NAMESPACE: &str = "ingress";
/// Name of the Gateway.
pub(crate) const GATEWAY: &str = "gw";
/// Pod that the load comes from.
const CLIENT: &str = "k6";
/// Port of the backends' containers.
const PORT: u16 = 8080;
/// Nodes that backends are spread over.
const BACKEND_NODES: [&str; 2] = ["worker", "gateway2"];

/// How the gateway speaks to the backends, and the client to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// HTTP/2 without TLS towards the backends; Envoy alone can do that.
    pub h2c: bool,
    /// Whether connections carry more than one request.
    pub keep_alive: bool,
}

/// What an ingress is to be.
#[derive(Clone, Debug)]
pub struct IngressConfig {
    /// The data plane; NGINX Gateway Fabric comes with the netfilter datapath, Cilium with its own.
    pub data_plane: DataPlane,
    /// The services and how many pods each has.
    pub services: Vec<(String, usize)>,
    /// The route, in objects and data plane.
    pub route: Route,
    /// How the gateway speaks to the backends.
    pub upstream: Upstream,
    /// Requests a second that a backend pod answers at most; others wait for their turn.
    pub rate_per_s: Option<u32>,
    /// The `envoy` program.
    pub envoy: PathBuf,
    /// The `k6` program.
    pub k6: PathBuf,
    /// The eBPF object of the `bpf` datapath, where it is not at its usual place.
    pub object: Option<PathBuf>,
}

impl IngressConfig {
    /// Two services of two pods each, 60 to 40, over HTTP/1.1 with keep-alive.
    pub fn new(data_plane: DataPlane, k6: impl Into<PathBuf>, envoy: impl Into<PathBuf>) -> Self {
        Self {
            data_plane,
            services: vec![("echo-v1".to_owned(), 2), ("echo-v2".to_owned(), 2)],
            route: Route::new(&[("echo-v1", 60), ("echo-v2", 40)]),
            upstream: Upstream {
                h2c: false,
                keep_alive: true,
            },
            rate_per_s: None,
            envoy: envoy.into(),
            k6: k6.into(),
            object: None,
        }
    }

    fn lab(&self) -> Config {
        let (datapath, gateway) = match self.data_plane {
            DataPlane::Nginx => (Datapath::Netfilter, gateway_pod(GATEWAY_NGINX, NAMESPACE)),
            DataPlane::Envoy => {
                let pod = PodConfig {
                    host_network: true,
                    ..gateway_pod(GATEWAY_ENVOY, "kube-system")
                };
                (Datapath::Bpf, pod)
            }
        };
        let mut pods = vec![gateway, labelled(CLIENT, "load", "worker", CLIENT)];
        for (service, count) in &self.services {
            for (position, node) in (1..=*count).zip(BACKEND_NODES.into_iter().cycle()) {
                let name = format!("{service}-{position}");
                pods.push(labelled(&name, NAMESPACE, node, service));
            }
        }
        Config {
            policy: false,
            pods,
            object: self.object.clone(),
            ..Config::new(datapath)
        }
    }
}

const GATEWAY_NGINX: &str = "gw-nginx";
const GATEWAY_ENVOY: &str = "cilium-envoy";

fn gateway_pod(name: &str, namespace: &str) -> PodConfig {
    labelled(name, namespace, "gateway", name)
}

fn labelled(name: &str, namespace: &str, node: &str, app: &str) -> PodConfig {
    let mut labels = vec![("app".to_owned(), app.to_owned())];
    match name {
        GATEWAY_NGINX => labels.push((objects::GATEWAY_LABEL.to_owned(), GATEWAY.to_owned())),
        // As Cilium's own DaemonSet labels it.
        GATEWAY_ENVOY => labels.push(("k8s-app".to_owned(), app.to_owned())),
        _ => {}
    }
    PodConfig {
        namespace: namespace.to_owned(),
        labels: labels.into_iter().collect(),
        ..PodConfig::new(name, node, false)
    }
}

/// A service and the pods behind it.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub name: String,
    pub port: u16,
    pub h2c: bool,
    pub pods: Vec<ServicePod>,
}

/// A pod of a service.
#[derive(Clone, Debug)]
pub(crate) struct ServicePod {
    pub name: String,
    pub node: String,
    pub uid: String,
    pub address: Ipv4Addr,
}

/// A running Gateway; dropping it removes the whole lab.
#[derive(Debug)]
pub struct Ingress {
    config: IngressConfig,
    services: Vec<Service>,
    version: u64,
    /// Ended before the lab is.
    gateway: servers::GatewayServer,
    backends: Vec<(String, Process)>,
    lab: Lab,
}

impl Ingress {
    /// Brings a lab up with backends, objects and a data plane that obeys the route.
    pub fn up(config: IngressConfig) -> Result<Self, LabError> {
        if config.upstream.h2c && config.data_plane == DataPlane::Nginx {
            return Err(LabError::Output {
                what: "the configuration of the gateway".to_owned(),
                message: "nginx speaks no HTTP/2 to backends: use Envoy".to_owned(),
            });
        }
        let mut lab = Lab::up(config.lab())?;
        let services = services(&lab, &config);
        let version = 1;
        let mut backends = Vec::new();
        for service in &services {
            for pod in &service.pods {
                let process = servers::start_backend(&lab, service, pod, &config)?;
                backends.push((pod.name.clone(), process));
            }
        }
        let gateway = servers::GatewayServer::start(&lab, &config, &services, version)?;
        for object in objects::gateway(config.data_plane, gateway_address(&lab, &config)) {
            lab.record(object)?;
        }
        for service in &services {
            lab.record(objects::service(service))?;
            lab.record(objects::endpoint_slice(service))?;
        }
        if config.data_plane == DataPlane::Envoy {
            let address = gateway_address(&lab, &config);
            lab.amend("CiliumNode", None, "gateway", |node| {
                objects::set_ingress_address(node, address);
            })?;
        }
        let mut ingress = Self {
            config,
            services,
            version,
            gateway,
            backends,
            lab,
        };
        let route = ingress.config.route.clone();
        ingress.announce(&route)?;
        Ok(ingress)
    }

    /// The lab that it is in.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// What it was made from.
    pub fn config(&self) -> &IngressConfig {
        &self.config
    }

    /// Address and port of the Gateway's listener.
    pub fn listener(&self) -> (Ipv4Addr, u16) {
        (gateway_address(&self.lab, &self.config), 80)
    }

    /// The pod that load comes from.
    pub fn client(&self) -> &Place {
        self.lab.pod(CLIENT)
    }

    /// Names of the backends' pods with their addresses.
    pub fn backend_pods(&self) -> Vec<(String, Ipv4Addr)> {
        let pods = self.services.iter().flat_map(|service| &service.pods);
        pods.map(|pod| (pod.name.clone(), pod.address)).collect()
    }

    /// Records the route, without touching the data plane.
    pub fn announce(&mut self, route: &Route) -> Result<(), LabError> {
        self.lab.record(objects::http_route(
            self.config.data_plane,
            route,
            &self.services,
        ))
    }

    /// Makes the data plane obey a route and waits until it does; the objects stay.
    pub fn program(&mut self, route: &Route) -> Result<(), LabError> {
        self.version += 1;
        self.gateway
            .program(&self.config, &self.services, route, self.version)
    }

    /// Puts a route in force, in objects and data plane.
    pub fn apply(&mut self, route: &Route) -> Result<(), LabError> {
        self.announce(route)?;
        self.program(route)
    }

    /// Makes a pod answer everything with this status code.
    pub fn answer_with(&mut self, pod: &str, status: u16) -> Result<(), LabError> {
        servers::answer_with(&self.lab, &self.services, &self.config, pod, status)?;
        let reload = nix::sys::signal::Signal::SIGHUP;
        self.backend(pod)?.signal(reload)
    }

    /// Kills whatever runs in a pod, as the kernel does; the objects stay.
    pub fn kill(&mut self, pod: &str) -> Result<(), LabError> {
        self.lab.pod(pod).kill_all()?;
        self.backend(pod)?.wait(Duration::from_secs(5)).map(drop)
    }

    /// Records that no endpoint of a service is ready any more.
    pub fn announce_unready(&mut self, service: &str) -> Result<(), LabError> {
        self.lab.amend(
            "EndpointSlice",
            Some(NAMESPACE),
            &objects::slice_name(service),
            objects::set_unready,
        )
    }

    /// Starts a prober that asks every backend for its health all the while, as kubelets do.
    pub fn start_prober(&self) -> Result<Prober, LabError> {
        prober::start(&self.lab, &self.services)
    }

    /// Requests that the gateway has answered so far.
    pub fn gateway_log(&self) -> Result<Vec<GatewayRequest>, LabError> {
        self.gateway.settle();
        access_log::gateway(self.config.data_plane, &self.gateway.access_log())
    }

    /// Requests that a backend's pod has answered so far.
    pub fn backend_log(&self, pod: &str) -> Result<Vec<BackendRequest>, LabError> {
        access_log::backend(&servers::folder(&self.lab, pod)?.join("access.log"))
    }

    /// Where the gateway writes its access log.
    pub(crate) fn gateway_log_path(&self) -> PathBuf {
        self.gateway.access_log()
    }

    /// Waits until the gateway has written what it knows.
    pub(crate) fn settle(&self) {
        self.gateway.settle();
    }

    /// Records the end of every object and writes the `objects` table.
    pub fn write_objects(&mut self, dataset: &Path) -> Result<PathBuf, LabError> {
        self.lab.delete_objects();
        self.lab.write_objects(dataset)
    }

    /// Takes the lab down and says whether that worked.
    pub fn down(self) -> Result<(), LabError> {
        let Self {
            gateway,
            backends,
            lab,
            ..
        } = self;
        drop((gateway, backends));
        lab.down()
    }

    fn backend(&mut self, pod: &str) -> Result<&mut Process, LabError> {
        self.backends
            .iter_mut()
            .find_map(|(name, process)| (name == pod).then_some(process))
            .ok_or_else(|| LabError::Output {
                what: format!("the pod `{pod}`"),
                message: "it is no backend of this lab".to_owned(),
            })
    }
}

/// Name of the pod that the data plane runs in.
pub(crate) fn gateway_pod_name(data_plane: DataPlane) -> &'static str {
    match data_plane {
        DataPlane::Nginx => GATEWAY_NGINX,
        DataPlane::Envoy => GATEWAY_ENVOY,
    }
}

fn gateway_address(lab: &Lab, config: &IngressConfig) -> Ipv4Addr {
    lab.pod_address(gateway_pod_name(config.data_plane)).v4
}

fn services(lab: &Lab, config: &IngressConfig) -> Vec<Service> {
    let pod = |service: &str, position: usize| {
        let name = format!("{service}-{position}");
        ServicePod {
            node: BACKEND_NODES[(position - 1) % BACKEND_NODES.len()].to_owned(),
            uid: lab.pod_uid(&name).to_owned(),
            address: lab.pod_address(&name).v4,
            name,
        }
    };
    let services = config.services.iter().map(|(name, count)| Service {
        name: name.clone(),
        port: PORT,
        h2c: config.upstream.h2c,
        pods: (1..=*count).map(|position| pod(name, position)).collect(),
    });
    services.collect()
}

/// Waits for what takes a moment; true if it came to pass.
pub(crate) fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    const STEP: Duration = Duration::from_millis(5);
    let started = std::time::Instant::now();
    while started.elapsed() < limit {
        if condition() {
            return true;
        }
        thread::sleep(STEP);
    }
    condition()
}
