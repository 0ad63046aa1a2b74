//! The pod that a policy is held against, with everything that selectors ask of it.

use crate::objects::cilium::CiliumEndpoint;
use crate::objects::core::Pod;
use crate::objects::{History, Labels, ObjectName, Version};

/// A pod at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub name: &'a ObjectName,
    pub pod: &'a Pod,
    /// Absent where the namespace is not in the objects.
    pub namespace_labels: Option<&'a Labels>,
    /// Labels of the node it runs on.
    pub node_labels: Option<&'a Labels>,
    /// Its CiliumEndpoint.
    pub endpoint: Option<&'a Version<CiliumEndpoint>>,
}

impl<'a> Subject<'a> {
    pub(super) fn at(history: &'a History, name: &'a ObjectName, pod: &'a Pod, at_us: i64) -> Self {
        let namespace = history
            .namespaces
            .at(&ObjectName::cluster(&name.namespace), at_us);
        let node = pod.node.as_deref().map(ObjectName::cluster);
        Self {
            name,
            pod,
            namespace_labels: namespace.map(|version| &version.value.labels),
            node_labels: node.and_then(|node| node_labels(history, &node, at_us)),
            endpoint: history.cilium_endpoints.at(name, at_us),
        }
    }

    /// Whether a namespace selector takes the pod's namespace. Of a namespace that is not in the
    /// objects, only the label that every namespace has is known.
    pub(super) fn in_namespace(&self, selector: &crate::objects::LabelSelector) -> bool {
        selector.matches_by(|key| match self.namespace_labels {
            Some(labels) => labels.get(key).map(String::as_str),
            None => (key == "kubernetes.io/metadata.name").then_some(&*self.name.namespace),
        })
    }
}

/// Labels of a node: Cilium's copy where it has one, since that is what its agents match.
pub(super) fn node_labels<'a>(
    history: &'a History,
    node: &ObjectName,
    at_us: i64,
) -> Option<&'a Labels> {
    let cilium = history
        .cilium_nodes
        .at(node, at_us)
        .map(|version| &version.value.labels);
    let own = history
        .nodes
        .at(node, at_us)
        .map(|version| &version.value.labels);
    cilium
        .filter(|labels| !labels.is_empty())
        .or(own)
        .or(cilium)
}
