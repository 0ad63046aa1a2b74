//! The policy routing of a node: selected pods' packets into the tunnel, all else as it was.
//!
//! Both datapaths use the same routing table and differ in what leads there: netfilter's mark, or
//! the pod's own address.

use std::fmt::Write;

use crate::cluster::Placement;
use crate::command::ip_family_batch;
use crate::config::Datapath;
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::netfilter;
use crate::topology::{CLUSTER_PODS, Family, Node, Pod, TUNNEL};

/// Routing table of packets for the gateway.
const TABLE: u32 = 100;

/// The cluster whose nodes are routed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routing<'a> {
    pub datapath: Datapath,
    pub nodes: &'a [Node],
    pub pods: &'a [Pod],
}

impl Routing<'_> {
    /// Moves a node from one placement to the next.
    pub fn program(
        &self,
        namespace: &Namespace,
        node: &Node,
        before: Option<&Placement>,
        after: Option<&Placement>,
    ) -> Result<(), LabError> {
        for family in [Family::V4, Family::V6] {
            let directs = |placement: &&Placement| {
                placement.family == family && placement.gateway != node.name
            };
            let lines = self.change(family, node, before.filter(directs), after.filter(directs));
            if !lines.is_empty() {
                ip_family_batch(namespace, family, &lines)?;
            }
        }
        Ok(())
    }

    fn change(
        &self,
        family: Family,
        node: &Node,
        before: Option<&Placement>,
        after: Option<&Placement>,
    ) -> String {
        let gateway =
            after.and_then(|after| self.nodes.iter().find(|peer| peer.name == after.gateway));
        let mut lines = gateway
            .map(|gateway| self.table(family, gateway))
            .unwrap_or_default();
        let change = match (before, after) {
            (None, Some(_)) => "add",
            (Some(_), None) => "del",
            _ => return lines,
        };
        for selector in self.selectors(family, node) {
            let _ = writeln!(lines, "rule {change} {selector} lookup {TABLE}");
        }
        lines
    }

    fn selectors(&self, family: Family, node: &Node) -> Vec<String> {
        let length = if family == Family::V4 { 32 } else { 128 };
        match self.datapath {
            Datapath::Netfilter => vec![format!("fwmark {}", netfilter::TO_GATEWAY)],
            Datapath::Bpf => self
                .pods
                .iter()
                .filter(|pod| pod.config.selected && pod.node_index == node.index)
                .map(|pod| format!("from {}/{length}", pod.address.of(family)))
                .collect(),
        }
    }

    fn table(&self, family: Family, gateway: &Node) -> String {
        let (pods, onlink) = match family {
            Family::V4 => (CLUSTER_PODS.0, " onlink"),
            Family::V6 => (CLUSTER_PODS.1, ""),
        };
        let mut lines = format!("route replace throw {pods} table {TABLE}\n");
        for node in self.nodes {
            let address = node.address.of(family);
            let _ = writeln!(lines, "route replace throw {address} table {TABLE}");
        }
        let hop = gateway.tunnel_address().of(family);
        let _ = writeln!(
            lines,
            "route replace default via {hop} dev {TUNNEL}{onlink} table {TABLE}"
        );
        lines
    }
}
