//! The `flows` table: what one five-tuple did at one vantage in one interval.

use crate::ledger::Vantage;

/// Whether the addresses of a row stand before or after source NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NatState {
    /// Seen before any NAT: pod sockets, packets arriving from a tunnel.
    Pre,
    /// Seen after all NAT.
    Post,
    /// Another program runs behind the hook and may still translate; ask `snat`.
    Undetermined,
}

/// Direction from the vantage's viewpoint: `Egress` leaves the pod (pod) or the node (uplink).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Into the pod, the node, or out of the tunnel.
    Ingress,
    /// Out of the pod or the node.
    Egress,
}

/// One row of `flows`.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRow {
    /// Start of the interval, UTC microseconds.
    pub interval_start_us: i64,
    /// End of the interval, UTC microseconds.
    pub interval_end_us: i64,
    /// Name of the node, as the probe was told.
    pub node: String,
    /// The kernel's boot id: nodes that share a kernel share it.
    pub boot_id: String,
    /// Where the flow was seen.
    pub vantage: Vantage,
    /// Where the addresses stand with respect to source NAT.
    pub nat_state: NatState,
    /// Interface name; absent at the `pod` vantage.
    pub interface: Option<String>,
    /// Direction from the vantage's viewpoint.
    pub direction: Direction,
    /// Kubernetes pod UID from the cgroup path (`pod` vantage).
    pub pod_uid: Option<String>,
    /// Container id from the cgroup path (`pod` vantage).
    pub container_id: Option<String>,
    /// cgroup v2 id (`pod` vantage).
    pub cgroup_id: Option<i64>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, else the IANA protocol number in decimal.
    pub protocol: String,
    /// Source address.
    pub src_address: String,
    /// Destination address.
    pub dst_address: String,
    /// Source port; ICMP echo: the identifier; 0 where the protocol has none or in later fragments.
    pub src_port: i32,
    /// Destination port; ICMP: type × 256 + code; 0 as above.
    pub dst_port: i32,
    /// `vxlan`, `geneve`, `ipip`, `wireguard`… where this is the outer packet of a tunnel.
    pub encapsulation: Option<String>,
    /// Layer-3 bytes on the wire: every segment of a GSO buffer with its own headers.
    pub bytes: i64,
    /// Packets on the wire: a GSO buffer counts its segments.
    pub packets: i64,
    /// Buffers (sk_buffs) that the hook saw; fewer than packets under GSO and GRO.
    pub buffers: i64,
    /// Layer-3 bytes of those buffers: one header a buffer.
    pub buffer_bytes: i64,
    /// OR of the TCP flags seen, RFC 9293 order (FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16).
    pub tcp_flags: i32,
    /// Last sampled smoothed round-trip time.
    pub srtt_us: Option<i64>,
    /// Last sampled minimum round-trip time of the kernel's windowed filter.
    pub min_rtt_us: Option<i64>,
    /// Retransmitted segments of the socket since it was opened, as last sampled.
    pub retransmits: Option<i64>,
    /// Congestion window in segments, as last sampled.
    pub cwnd_segments: Option<i64>,
    /// First packet in this interval.
    pub first_seen_us: i64,
    /// Last packet in this interval, to one kernel tick.
    pub last_seen_us: i64,
}
