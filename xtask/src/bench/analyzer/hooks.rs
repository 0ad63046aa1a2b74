//! Every flow of a node at each hook that sees it, without what differs by interval.

use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::ledger::Vantage;

use super::campaign::{BACKENDS, GATEWAY_POD, NODES, boot_id};

/// Connections that the Gateway keeps to each pod of a backend.
const KEPT: i32 = 16;

/// The hooks of a node.
pub const HOOKS: [(Vantage, Direction); 4] = [
    (Vantage::Pod, Direction::Ingress),
    (Vantage::Pod, Direction::Egress),
    (Vantage::Uplink, Direction::Ingress),
    (Vantage::Uplink, Direction::Egress),
];

/// Every flow of a node at each of its hooks, without what differs by interval.
pub fn templates(node: usize, users: i32) -> Vec<FlowRow> {
    let mut flows = Vec::new();
    let mut both = |asker: (&str, i32), answerer: (&str, i32), pod: Option<&str>| {
        let hooks = match pod {
            Some(_) => &HOOKS[..2],
            None => &HOOKS[2..],
        };
        for &(vantage, direction) in hooks {
            // Seen from who is asked.
            let asks_here = node == 0 && answerer.1 == 8080;
            let comes_from_asker = (direction == Direction::Ingress) != asks_here;
            let (src, dst) = match comes_from_asker {
                true => (asker, answerer),
                false => (answerer, asker),
            };
            flows.push(flow(node, (vantage, direction), pod, src, dst));
        }
    };
    if node == 0 {
        for user in 0..users {
            let client = format!("198.51.100.{}", 1 + user / 250);
            let asker = (client.as_str(), 20_000 + user);
            both(asker, (GATEWAY_POD.1, 80), Some(GATEWAY_POD.0));
            both(asker, (GATEWAY_POD.1, 80), None);
        }
    }
    for (name, address, of_node) in BACKENDS {
        for kept in 0..KEPT {
            let asker = (GATEWAY_POD.1, 40_000 + kept);
            match node {
                0 => both(asker, (address, 8080), Some(GATEWAY_POD.0)),
                _ if of_node == node => both(asker, (address, 8080), Some(name)),
                _ => {}
            }
        }
    }
    flows
}

fn flow(
    node: usize,
    (vantage, direction): (Vantage, Direction),
    pod: Option<&str>,
    src: (&str, i32),
    dst: (&str, i32),
) -> FlowRow {
    FlowRow {
        interval_start_us: 0,
        interval_end_us: 0,
        node: NODES[node].0.to_owned(),
        boot_id: boot_id(node),
        vantage,
        nat_state: match pod {
            Some(_) => NatState::Pre,
            None => NatState::Undetermined,
        },
        interface: pod.is_none().then(|| "eth0".to_owned()),
        direction,
        pod_uid: pod.map(str::to_owned),
        container_id: None,
        cgroup_id: pod.map(|name| name.len() as i64),
        protocol: "tcp".to_owned(),
        src_address: src.0.to_owned(),
        dst_address: dst.0.to_owned(),
        src_port: src.1,
        dst_port: dst.1,
        encapsulation: None,
        bytes: 0,
        packets: 0,
        buffers: 0,
        buffer_bytes: 0,
        tcp_flags: 0,
        srtt_us: pod.map(|_| 300),
        min_rtt_us: pod.map(|_| 200),
        retransmits: pod.map(|_| 0),
        cwnd_segments: pod.map(|_| 10),
        first_seen_us: 0,
        last_seen_us: 0,
    }
}
