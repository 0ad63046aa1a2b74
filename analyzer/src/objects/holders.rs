//! Who held an address when: pods, nodes, services, the API server.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{History, ObjectName, Version, core::Pod};

/// The service by which pods reach the API server.
const API_SERVER: (&str, &str) = ("default", "kubernetes");

/// What an address belonged to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A pod with a network of its own.
    Pod {
        /// Its name.
        name: ObjectName,
        /// Its UID.
        uid: String,
    },
    /// A node.
    Node {
        /// Its name.
        name: String,
        /// Whether other nodes reach its pods by this address.
        transport: bool,
    },
    /// A service: its ClusterIP.
    Service(ObjectName),
    /// The API server.
    ApiServer,
}

/// An address belonged to something in `[from_us, until_us)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// First moment.
    pub from_us: i64,
    /// First moment after it.
    pub until_us: i64,
    /// To what.
    pub holder: Holder,
}

/// All holdings, by address.
#[derive(Debug, Default)]
pub(super) struct Holders(HashMap<IpAddr, Vec<Holding>>);

impl Holding {
    /// Whether the address belonged to the holder at `at_us`.
    pub fn holds_at(&self, at_us: i64) -> bool {
        self.from_us <= at_us && at_us < self.until_us
    }
}

impl Holders {
    pub(super) fn of(history: &History) -> Self {
        let mut holders = Self::default();
        holders.add_pods(history);
        for (name, version) in history.nodes.all() {
            let node = &version.value;
            let transport = if node.transport.is_empty() {
                &node.internal
            } else {
                &node.transport
            };
            for address in node
                .internal
                .iter()
                .chain(&node.other)
                .chain(&node.transport)
            {
                let transport = transport.contains(address);
                holders.add(
                    *address,
                    version,
                    Holder::Node {
                        name: name.name.clone(),
                        transport,
                    },
                );
            }
        }
        for (name, version) in history.cilium_nodes.all() {
            for address in version.value.internal.iter().chain(&version.value.other) {
                let holder = Holder::Node {
                    name: name.name.clone(),
                    transport: true,
                };
                holders.add(*address, version, holder);
            }
        }
        for (name, version) in history.services.all() {
            for address in &version.value.cluster_ips {
                holders.add(*address, version, Holder::Service(name.clone()));
            }
        }
        for (name, version) in history.endpoint_slices.all() {
            let service = version.value.service.as_deref().unwrap_or(&name.name);
            if (name.namespace.as_str(), service) == API_SERVER {
                for address in &version.value.addresses {
                    holders.add(*address, version, Holder::ApiServer);
                }
            }
        }
        for holdings in holders.0.values_mut() {
            holdings.sort_by_key(|holding| (holding.from_us, holding.until_us));
        }
        holders
    }

    pub(super) fn of_address(&self, address: IpAddr) -> &[Holding] {
        self.0.get(&address).map_or(&[], Vec::as_slice)
    }

    pub(super) fn at(&self, address: IpAddr, at_us: i64) -> impl Iterator<Item = &Holding> {
        self.of_address(address)
            .iter()
            .filter(move |holding| holding.holds_at(at_us))
    }

    fn add_pods(&mut self, history: &History) {
        for (name, version) in history.pods.all() {
            if version.value.host_network || version.value.terminated {
                continue;
            }
            for &address in &version.value.addresses {
                let holder = Holder::Pod {
                    name: name.clone(),
                    uid: version.uid.clone(),
                };
                self.add_pod(
                    address,
                    version,
                    holder,
                    history.born_us(name, &version.uid),
                );
            }
        }
    }

    /// Versions of a pod come in order of time: the first one with an address may begin at the
    /// pod's birth, later ones lengthen it.
    fn add_pod(&mut self, address: IpAddr, version: &Version<Pod>, holder: Holder, born_us: i64) {
        let holdings = self.0.entry(address).or_default();
        let mut same = holdings
            .iter_mut()
            .rev()
            .filter(|holding| holding.holder == holder);
        if let Some(last) = same.next() {
            if last.until_us == version.from_us {
                last.until_us = version.until_us;
                return;
            }
            return holdings.push(Holding::of(version, version.from_us, holder));
        }
        holdings.push(Holding::of(version, version.from_us.min(born_us), holder));
    }

    fn add<T>(&mut self, address: IpAddr, version: &Version<T>, holder: Holder) {
        self.0
            .entry(address)
            .or_default()
            .push(Holding::of(version, version.from_us, holder));
    }
}

impl Holding {
    fn of<T>(version: &Version<T>, from_us: i64, holder: Holder) -> Self {
        Self {
            from_us,
            until_us: version.until_us,
            holder,
        }
    }
}
