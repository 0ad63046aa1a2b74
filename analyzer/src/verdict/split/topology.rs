//! Who answered and who asked: endpoints of Services and the Gateways' data planes, over time.
//!
//! A response is a Service's where its pod, or its address, is an endpoint with that port. Slices
//! are written a little after a pod comes and before its last responses, so an endpoint counts for
//! some seconds around its time. Nothing is guessed from names.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use super::super::evidence::Window;
use crate::objects::{History, Holder, ObjectName};
use crate::policy::gateway_api::{BackendId, Implementation};

/// The label by which a data plane's pod names its Gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// How long around its time an endpoint or a data plane still counts.
const SLACK_US: i64 = 10_000_000;

/// Endpoints and data planes of the cluster.
#[derive(Debug)]
pub(crate) struct Topology<'a> {
    history: &'a History,
    by_uid: HashMap<&'a str, Vec<Endpoint<'a>>>,
    by_address: HashMap<IpAddr, Vec<Endpoint<'a>>>,
    planes: HashMap<IpAddr, Vec<Plane<'a>>>,
    /// The first address of each node's pods: the bridge by which the node asks them.
    bridges: HashSet<IpAddr>,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asker {
    /// The data plane of these Gateways.
    DataPlane(BTreeSet<ObjectName>),
    /// A node: the kubelet's probes, and whatever else runs on its network.
    Node,
    /// The pod itself.
    Loopback,
    /// Anybody else.
    Other,
}

/// A pod's port behind a Service.
#[derive(Clone, Debug)]
struct Endpoint<'a> {
    during: Window,
    backend: BackendId,
    port: Option<u16>,
    node: Option<&'a str>,
}

/// An address from which a Gateway asks.
#[derive(Clone, Debug)]
struct Plane<'a> {
    during: Window,
    gateway: &'a ObjectName,
    host_network: bool,
}

impl<'a> Topology<'a> {
    /// Of a cluster's objects.
    pub fn new(history: &'a History) -> Self {
        let mut topology = Self {
            history,
            by_uid: HashMap::new(),
            by_address: HashMap::new(),
            planes: HashMap::new(),
            bridges: HashSet::new(),
        };
        topology.add_endpoints();
        topology.add_planes();
        for (_, version) in history.nodes.all() {
            let ranges = version.value.pod_cidrs.iter();
            let firsts = ranges.filter_map(|range| range.hosts().next());
            topology.bridges.extend(firsts);
        }
        topology
    }

    /// The backends that a pod's port stands behind at a moment.
    pub fn backends(
        &self,
        uid: Option<&str>,
        address: IpAddr,
        port: u16,
        at_us: i64,
    ) -> BTreeSet<&BackendId> {
        let moment = Window {
            from_us: at_us,
            to_us: at_us,
        };
        let of_uid = uid.and_then(|uid| self.by_uid.get(uid));
        let of_address = self.by_address.get(&address);
        let known = of_uid.into_iter().chain(of_address).flatten();
        known
            .filter(|endpoint| endpoint.port.is_none_or(|own| own == port))
            .filter(|endpoint| endpoint.during.touches(&moment, SLACK_US))
            .map(|endpoint| &endpoint.backend)
            .collect()
    }

    /// Who asks from an address a pod with another, on a node, at a moment.
    pub fn asker(&self, peer: IpAddr, local: IpAddr, at_us: i64) -> Asker {
        if peer.is_loopback() || peer == local {
            return Asker::Loopback;
        }
        let moment = Window {
            from_us: at_us,
            to_us: at_us,
        };
        let planes = self.planes.get(&peer).into_iter().flatten();
        let gateways: BTreeSet<ObjectName> = planes
            .filter(|plane| plane.during.touches(&moment, SLACK_US))
            .map(|plane| plane.gateway.clone())
            .collect();
        if !gateways.is_empty() {
            return Asker::DataPlane(gateways);
        }
        let mut holdings = self.history.holdings(peer).iter();
        let of_node = holdings.any(|holding| {
            matches!(holding.holder, Holder::Node { .. }) && holding.holds_at(at_us)
        });
        if of_node || self.bridges.contains(&peer) {
            return Asker::Node;
        }
        Asker::Other
    }

    /// Nodes on which a backend had endpoints, as far as the objects tell.
    pub fn nodes(&self, backend: &BackendId, during: Window) -> BTreeSet<&'a str> {
        let endpoints = self.by_address.values().flatten();
        endpoints
            .filter(|endpoint| endpoint.backend == *backend && endpoint.during.touches(&during, 0))
            .filter_map(|endpoint| endpoint.node)
            .collect()
    }

    /// Gateways of these whose data plane uses its node's addresses, from which others ask too.
    pub fn on_host_network(&self, gateways: &BTreeSet<ObjectName>) -> BTreeSet<&ObjectName> {
        let planes = self.planes.values().flatten();
        planes
            .filter(|plane| plane.host_network && gateways.contains(plane.gateway))
            .map(|plane| plane.gateway)
            .collect()
    }

    /// Whether any address of a Gateway's data plane is known.
    pub fn has_plane(&self, gateway: &ObjectName) -> bool {
        let mut planes = self.planes.values().flatten();
        planes.any(|plane| plane.gateway == gateway)
    }

    /// Name of a pod.
    pub fn pod_name(&self, uid: Option<&str>, at_us: i64) -> Option<String> {
        let pod = self.history.pod_by_uid(uid?, at_us)?;
        Some(pod.name.to_string())
    }

    fn add_endpoints(&mut self) {
        let mut ports: HashMap<&ObjectName, BTreeSet<(Option<&str>, u16)>> = HashMap::new();
        for (name, version) in self.history.services.all() {
            let named = version.value.ports.iter();
            let named = named.map(|port| (port.name.as_deref(), port.port));
            ports.entry(name).or_default().extend(named);
        }
        for (name, version) in self.history.endpoint_slices.all() {
            let slice = &version.value;
            let Some(service) = &slice.service else {
                continue;
            };
            let service = ObjectName::namespaced(name.namespace.as_str(), service.as_str());
            let during = Window {
                from_us: version.from_us,
                to_us: version.until_us,
            };
            for port in &slice.ports {
                let of_service = ports.get(&service).into_iter().flatten();
                for (_, service_port) in
                    of_service.filter(|(name, _)| *name == port.name.as_deref())
                {
                    for found in &slice.endpoints {
                        let of_pod = found
                            .pod_uid
                            .as_deref()
                            .and_then(|uid| self.history.pod_by_uid(uid, version.from_us)?.node);
                        let endpoint = Endpoint {
                            during,
                            port: port.port,
                            backend: BackendId {
                                service: service.clone(),
                                port: *service_port,
                            },
                            node: found.node.as_deref().or(of_pod),
                        };
                        for address in &found.addresses {
                            let known = self.by_address.entry(*address).or_default();
                            known.push(endpoint.clone());
                        }
                        if let Some(uid) = &found.pod_uid {
                            let known = self.by_uid.entry(uid).or_default();
                            known.push(endpoint.clone());
                        }
                    }
                }
            }
        }
    }

    fn add_planes(&mut self) {
        for (gateway, version) in self.history.gateways.all() {
            for (pod, of_pod) in self.history.pods.all() {
                let label = of_pod.value.labels.get(GATEWAY_NAME);
                if pod.namespace != gateway.namespace || label != Some(&gateway.name) {
                    continue;
                }
                for address in &of_pod.value.addresses {
                    self.planes.entry(*address).or_default().push(Plane {
                        during: Window {
                            from_us: of_pod.from_us,
                            to_us: of_pod.until_us,
                        },
                        gateway,
                        host_network: of_pod.value.host_network,
                    });
                }
            }
            let class = ObjectName::cluster(version.value.class.as_str());
            let mut classes = self.history.gateway_classes.of(&class).iter();
            let is_cilium = classes.any(|class| {
                Implementation::of_controller(&class.value.controller) == Implementation::Cilium
            });
            if !is_cilium {
                continue;
            }
            for (_, node) in self.history.cilium_nodes.all() {
                for address in &node.value.ingress {
                    self.planes.entry(*address).or_default().push(Plane {
                        during: Window {
                            from_us: node.from_us,
                            to_us: node.until_us,
                        },
                        gateway,
                        host_network: false,
                    });
                }
            }
        }
    }
}
