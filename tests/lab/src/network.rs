//! Builds the network of a lab: fabric, nodes, tunnels, pods.
//!
//! One `ip -batch` a namespace, since starting processes is what takes the time. Devices are made
//! inside namespaces from the start: nothing of the lab ever appears in the machine's own network.

use std::fmt::Write;

use crate::command::ip_batch;
use crate::config::Datapath;
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::state::namespace_name;
use crate::topology::{Node, OUTSIDE, Pod, TUNNEL};

/// Name of the namespace that holds the bridge.
pub(crate) const FABRIC: &str = "fabric";
/// Name of the host outside.
pub(crate) const OUTSIDE_NAME: &str = "outside";

/// Room that VXLAN over IPv4 leaves in an Ethernet frame.
const POD_MTU: u32 = 1450;

/// What every namespace is told before it has a device.
const SYSCTLS: [(&str, &str); 8] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
];

/// Name of a pod's namespace, before the lab's prefix.
pub(crate) fn pod_place(name: &str) -> String {
    format!("pod-{name}")
}

/// Makes all namespaces and everything in them; what fails half-way is the caller's to tear down.
pub(crate) fn build(
    id: &str,
    datapath: Datapath,
    nodes: &[Node],
    pods: &[Pod],
) -> Result<(), LabError> {
    let pod_places: Vec<String> = pods.iter().map(|pod| pod_place(&pod.config.name)).collect();
    let places = [FABRIC, OUTSIDE_NAME]
        .into_iter()
        .chain(nodes.iter().map(|node| node.name))
        .chain(pod_places.iter().map(String::as_str));
    let mut lines = String::new();
    for place in places.clone() {
        let _ = writeln!(lines, "netns add {}", namespace_name(id, place));
    }
    ip_batch(None, &lines)?;
    for place in places {
        open(id, place)?.set_sysctls(&SYSCTLS)?;
    }

    ip_batch(Some(&open(id, FABRIC)?), &fabric(id, nodes))?;
    ip_batch(Some(&open(id, OUTSIDE_NAME)?), &outside())?;
    for node in nodes {
        let local: Vec<&Pod> = pods
            .iter()
            .filter(|pod| pod.node_index == node.index)
            .collect();
        ip_batch(
            Some(&open(id, node.name)?),
            &node_lines(id, datapath, node, nodes, &local),
        )?;
        for pod in local {
            let place = pod_place(&pod.config.name);
            ip_batch(Some(&open(id, &place)?), &pod_lines(node, pod))?;
        }
    }
    for node in nodes {
        let script: String = nodes
            .iter()
            .filter(|peer| peer.index != node.index)
            .map(|peer| {
                format!(
                    "fdb append {} dev {TUNNEL} dst {}\n",
                    peer.tunnel_link_address(),
                    peer.address.v4
                )
            })
            .collect();
        bridge_batch(&open(id, node.name)?, &script)?;
    }
    Ok(())
}

/// Opens a namespace of a lab.
pub(crate) fn open(id: &str, place: &str) -> Result<Namespace, LabError> {
    Namespace::open(&namespace_name(id, place))
}

fn fabric(id: &str, nodes: &[Node]) -> String {
    let mut lines = String::from("link add br0 type bridge\nlink set br0 up\n");
    for name in nodes.iter().map(|node| node.name).chain([OUTSIDE_NAME]) {
        let peer = namespace_name(id, name);
        let _ = writeln!(
            lines,
            "link add {name} type veth peer name eth0 netns {peer}"
        );
        let _ = writeln!(lines, "link set {name} master br0 up");
    }
    lines
}

fn outside() -> String {
    format!(
        "link set lo up\nlink set eth0 up\n\
         addr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\n",
        OUTSIDE.v4, OUTSIDE.v6
    )
}

fn node_lines(id: &str, datapath: Datapath, node: &Node, nodes: &[Node], pods: &[&Pod]) -> String {
    // The ports that Antrea and Cilium use for VXLAN.
    let port = match datapath {
        Datapath::Netfilter => 4789,
        Datapath::Bpf => 8472,
    };
    let own = node.tunnel_address();
    let link_address = node.tunnel_link_address();
    let mut lines = format!(
        "link set lo up\nlink set eth0 up\n\
         addr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\n\
         link add {TUNNEL} mtu {POD_MTU} address {link_address} type vxlan id 1 dstport {port} \
         local {} dev eth0 nolearning\n\
         link set {TUNNEL} up\n\
         addr add {}/32 dev {TUNNEL}\naddr add {}/64 dev {TUNNEL} nodad\n",
        node.address.v4, node.address.v6, node.address.v4, own.v4, own.v6
    );
    // A node has a way out, and its default route is how its uplink is known.
    let _ = writeln!(lines, "route add default via {} dev eth0", OUTSIDE.v4);
    let _ = writeln!(lines, "route add default via {} dev eth0", OUTSIDE.v6);
    for peer in nodes.iter().filter(|peer| peer.index != node.index) {
        let hop = peer.tunnel_address();
        let address = peer.tunnel_link_address();
        let (network_v4, network_v6) = peer.pod_networks();
        let _ = writeln!(
            lines,
            "neigh add {} lladdr {address} dev {TUNNEL} nud permanent",
            hop.v4
        );
        let _ = writeln!(
            lines,
            "neigh add {} lladdr {address} dev {TUNNEL} nud permanent",
            hop.v6
        );
        let _ = writeln!(
            lines,
            "route add {network_v4} via {} dev {TUNNEL} onlink",
            hop.v4
        );
        let _ = writeln!(lines, "route add {network_v6} via {} dev {TUNNEL}", hop.v6);
    }
    for pod in pods {
        // What the node itself asks of a pod comes from the node's own address.
        let interface = &pod.host_interface;
        let peer = namespace_name(id, &pod_place(&pod.config.name));
        let _ = write!(
            lines,
            "link add {interface} mtu {POD_MTU} type veth peer name eth0 mtu {POD_MTU} netns {peer}\n\
             link set {interface} up\n\
             addr add {}/32 dev {interface}\naddr add fe80::1/64 dev {interface} nodad\n\
             route add {}/32 dev {interface} src {}\nroute add {}/128 dev {interface} src {}\n",
            node.pod_gateway(),
            pod.address.v4,
            node.address.v4,
            pod.address.v6,
            node.address.v6
        );
    }
    lines
}

fn pod_lines(node: &Node, pod: &Pod) -> String {
    format!(
        "link set lo up\nlink set eth0 up\n\
         addr add {}/32 dev eth0\naddr add {}/128 dev eth0 nodad\n\
         route add default via {} dev eth0 onlink\nroute add default via fe80::1 dev eth0\n",
        pod.address.v4,
        pod.address.v6,
        node.pod_gateway()
    )
}

fn bridge_batch(namespace: &Namespace, lines: &str) -> Result<(), LabError> {
    let mut command = std::process::Command::new("bridge");
    command.args(["-n", namespace.name(), "-batch", "-"]);
    crate::command::feed(command, lines).map(|_| ())
}
