//! Finding a lab's pods, nodes and addresses by name.

use std::path::PathBuf;

use super::{Lab, LabPod};
use crate::place::Place;
use crate::topology::{Dual, EGRESS, OUTSIDE, SERVICE, STRAY};

impl Lab {
    /// A pod, as a place to run things.
    ///
    /// # Panics
    /// When the configuration has no pod of that name.
    pub fn pod(&self, name: &str) -> &Place {
        &self.find_pod(name).place
    }

    /// Addresses of a pod.
    ///
    /// # Panics
    /// When the configuration has no pod of that name.
    pub fn pod_address(&self, name: &str) -> Dual {
        self.find_pod(name).pod.address
    }

    /// `namespace/name` of a pod.
    ///
    /// # Panics
    /// When the configuration has no pod of that name.
    pub fn qualified_name(&self, pod: &str) -> String {
        let config = &self.find_pod(pod).pod.config;
        format!("{}/{}", config.namespace, config.name)
    }

    /// Kubernetes UID of a pod.
    ///
    /// # Panics
    /// When the configuration has no pod of that name.
    pub fn pod_uid(&self, name: &str) -> &str {
        &self.find_pod(name).uid
    }

    /// A node, as a place to run things.
    ///
    /// # Panics
    /// When there is no node of that name.
    pub fn node(&self, name: &str) -> &Place {
        let Some(place) = self.node_places.get(name) else {
            panic!("the lab has no node `{name}`");
        };
        place
    }

    /// Names of the nodes.
    pub fn node_names(&self) -> Vec<&'static str> {
        self.nodes.iter().map(|node| node.name).collect()
    }

    /// Addresses of a node: what its pods' packets leave with when no policy takes them.
    ///
    /// # Panics
    /// When there is no node of that name.
    pub fn node_address(&self, name: &str) -> Dual {
        let Some(node) = self.nodes.iter().find(|node| node.name == name) else {
            panic!("the lab has no node `{name}`");
        };
        node.address
    }

    /// The host outside.
    pub fn outside(&self) -> &Place {
        &self.outside
    }

    /// Addresses of the host outside.
    pub fn outside_address(&self) -> Dual {
        OUTSIDE
    }

    /// The addresses that the policy demands.
    pub fn egress_address(&self) -> Dual {
        EGRESS
    }

    /// Other addresses of the pool, which no policy names.
    pub fn stray_address(&self) -> Dual {
        STRAY
    }

    /// Virtual addresses of the service.
    pub fn service_address(&self) -> Dual {
        SERVICE
    }

    /// The cgroup of a node's pods, for a probe.
    pub fn kubepods(&self, node: &str) -> PathBuf {
        self.node_root(node).join(self.config.cgroups.kubepods())
    }

    fn find_pod(&self, name: &str) -> &LabPod {
        let Some(pod) = self.pods.iter().find(|pod| pod.pod.config.name == name) else {
            panic!("the lab has no pod `{name}`");
        };
        pod
    }

    pub(crate) fn node_root(&self, node: &str) -> PathBuf {
        // system.slice/weighbridge-lab.service lies two levels below the node's root.
        let cgroup = self.node(node).cgroup();
        cgroup.ancestors().nth(2).unwrap_or(cgroup).to_owned()
    }
}
