//! Changes to a running lab's network: addresses that move, cables that break, queues that drop.

use std::net::IpAddr;
use std::process::Command;

use super::Lab;
use crate::command::{feed, ip_batch};
use crate::error::LabError;
use crate::network::{self, FABRIC};

/// A token-bucket queue on a node's uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Rate, kilobits a second.
    pub rate_kbit: u32,
    /// Bytes that may leave at once.
    pub burst_bytes: u32,
    /// Bytes that may wait; what comes on top is dropped.
    pub limit_bytes: u32,
}

impl Lab {
    /// Cuts a node off from the fabric, as when its machine dies, or joins it again.
    pub fn set_connected(&self, node: &str, connected: bool) -> Result<(), LabError> {
        let fabric = network::open(&self.id, FABRIC)?;
        let state = if connected { "up" } else { "down" };
        ip_batch(Some(&fabric), &format!("link set {node} {state}\n"))
    }

    /// Routes a pod's own addresses from the outside host to a node, so that packets that leave
    /// untranslated are answered.
    pub fn route_back(&self, pod: &str, node: &str) -> Result<(), LabError> {
        let (pod, node) = (self.pod_address(pod), self.node_address(node));
        let lines = format!(
            "route replace {}/32 via {}\nroute replace {}/128 via {}\n",
            pod.v4, node.v4, pod.v6, node.v6
        );
        ip_batch(Some(self.outside.namespace()), &lines)
    }

    /// Puts a queue that drops on a node's uplink.
    pub fn limit_uplink(&self, node: &str, queue: Queue) -> Result<(), LabError> {
        let mut command = Command::new("tc");
        command.args(["-n", self.node(node).namespace().name(), "-batch", "-"]);
        let line = format!(
            "qdisc replace dev eth0 root tbf rate {}kbit burst {} limit {}\n",
            queue.rate_kbit, queue.burst_bytes, queue.limit_bytes
        );
        feed(command, &line).map(|_| ())
    }

    /// Gives an address to one node and takes it from the one that had it.
    pub(super) fn assign(&mut self, address: IpAddr, node: &str) -> Result<(), LabError> {
        if self
            .assigned
            .get(&address)
            .is_some_and(|holder| holder == node)
        {
            return Ok(());
        }
        let length = if address.is_ipv4() { 32 } else { 128 };
        if let Some(holder) = self.assigned.remove(&address) {
            let line = format!("addr del {address}/{length} dev eth0\n");
            ip_batch(Some(self.node(&holder).namespace()), &line)?;
        }
        let nodad = if address.is_ipv4() { "" } else { " nodad" };
        let place = self.node(node);
        ip_batch(
            Some(place.namespace()),
            &format!("addr add {address}/{length} dev eth0{nodad}\n"),
        )?;
        let link_address = place.namespace().run(|| {
            // Only sysfs of the caller's network is mounted; the kernel's list is per thread.
            nix::ifaddrs::getifaddrs().ok()?.find_map(|interface| {
                (interface.interface_name == "eth0")
                    .then_some(interface.address?)
                    .and_then(|address| address.as_link_addr()?.addr())
            })
        })?;
        let link_address = link_address
            .unwrap_or_default()
            .map(|byte| format!("{byte:02x}"));
        // What the new holder's gratuitous ARP or neighbour advertisement does.
        let line = format!(
            "neigh replace {address} lladdr {} dev eth0 nud reachable\n",
            link_address.join(":")
        );
        ip_batch(Some(self.outside.namespace()), &line)?;
        self.assigned.insert(address, node.to_owned());
        Ok(())
    }
}
