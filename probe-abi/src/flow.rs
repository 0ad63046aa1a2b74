//! Flows: what is counted for a five-tuple at one hook in one generation.
//!
//! Counters live in two places. Each flow has a [`FlowRecord`] in a hash map, and a busy flow also
//! has a slot in a small direct-mapped per-CPU table in front of it, which takes the additions of
//! the common packet. A flow's total is its record plus every CPU's slot that bears its key.
//!
//! Generations make draining exact: programs write to the generation named in
//! [`crate::params::Control`], user space flips it, waits until no program that saw the old value
//! still runs, and then reads and deletes the old generation, which nobody writes any more.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Hook codes, the `hook` field of the keys. Zero is never a hook, so that an empty slot matches
/// no packet.
pub mod hook {
    /// cgroup_skb egress: a packet leaves a pod's socket.
    pub const POD_EGRESS: u8 = 1;
    /// cgroup_skb ingress: a packet reaches a pod's socket.
    pub const POD_INGRESS: u8 = 2;
    /// tc egress of an uplink.
    pub const UPLINK_EGRESS: u8 = 3;
    /// tc ingress of an uplink.
    pub const UPLINK_INGRESS: u8 = 4;
    /// tc ingress of a tunnel interface: the inner packet.
    pub const TUNNEL_INGRESS: u8 = 5;
    /// tp_btf/net_dev_queue on an uplink.
    pub const WIRE: u8 = 6;
}

/// Generations alternate between 0 and 1.
pub const GENERATIONS: u32 = 2;

/// Maps whose new entries are counted, by generation: where a generation made none, there is nothing
/// to look for, and few are found by their keys.
pub mod made {
    /// IPv4 flows.
    pub const FLOWS4: u32 = 0;
    /// IPv6 flows.
    pub const FLOWS6: u32 = 1;
    /// Flows at the wire.
    pub const WIRE: u32 = 2;
    /// HTTP responses, whose keys are not kept.
    pub const RESPONSES: u32 = 3;
    /// How many there are.
    pub const MAPS: u32 = 4;
    /// Keys that are kept of a generation: as many as cost less to look up one by one than a walk
    /// through the buckets of a map with room for a node's flows.
    pub const KEPT: u32 = 512;
}
/// Slots of one side (tc, pod) of one generation in the per-CPU front tables; a power of two.
pub const FRONT_SLOTS: u32 = 256;
/// Sides of the front tables: tc hooks, which never nest on a CPU, and pod hooks, which may.
pub const FRONT_SIDES: u32 = 2;
/// Entries of a front table on each CPU.
pub const FRONT_ENTRIES: u32 = GENERATIONS * FRONT_SIDES * FRONT_SLOTS;

/// Key of an IPv4 flow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FlowKey4 {
    /// Pod hooks: the socket's cgroup id. tc hooks: the interface index.
    pub scope: u64,
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Source port, or the ICMP echo identifier.
    pub src_port: u16,
    /// Destination port, or ICMP type × 256 + code.
    pub dst_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// One of [`hook`].
    pub hook: u8,
    /// Generation that this entry belongs to.
    pub generation: u8,
    /// Zero.
    pub reserved: u8,
}

/// Key of an IPv6 flow; fields as in [`FlowKey4`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FlowKey6 {
    /// As in [`FlowKey4`].
    pub scope: u64,
    /// Source address.
    pub src: [u32; 4],
    /// Destination address.
    pub dst: [u32; 4],
    /// As in [`FlowKey4`].
    pub src_port: u16,
    /// As in [`FlowKey4`].
    pub dst_port: u16,
    /// As in [`FlowKey4`].
    pub protocol: u8,
    /// As in [`FlowKey4`].
    pub hook: u8,
    /// As in [`FlowKey4`].
    pub generation: u8,
    /// Zero.
    pub reserved: u8,
}

/// What has been counted for a flow, and the last sample of its socket.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FlowRecord {
    /// Packets on the wire: a GSO buffer counts its segments.
    pub packets: u64,
    /// Layer-3 bytes on the wire.
    pub bytes: u64,
    /// sk_buffs.
    pub buffers: u64,
    /// Layer-3 bytes of the sk_buffs.
    pub buffer_bytes: u64,
    /// CLOCK_MONOTONIC nanoseconds of the packet that made the entry.
    pub first_ns: u64,
    /// Low half of the kernel's tick counter at that packet.
    pub first_jiffies: u32,
    /// The same at the last packet.
    pub last_jiffies: u32,
    /// OR of TCP flags.
    pub tcp_flags: u32,
    /// 1 when the TCP fields below hold a sample.
    pub tcp_sampled: u32,
    /// Smoothed round-trip time, microseconds.
    pub srtt_us: u32,
    /// Minimum round-trip time, microseconds.
    pub min_rtt_us: u32,
    /// Segments retransmitted since the socket opened.
    pub retransmits: u32,
    /// Congestion window, segments.
    pub cwnd_segments: u32,
    /// Not zero when no more of the flow's packets need a closer look in this generation. At an
    /// uplink's egress the wire hook says so; at the pod hooks it is the mark of a TCP flow that is no
    /// HTTP connection's.
    pub looked: u32,
    /// Zero.
    pub reserved: u32,
}

/// Slot of the IPv4 front table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Slot4 {
    /// The flow that owns the slot.
    pub key: FlowKey4,
    /// What it did since it took the slot.
    pub tally: Tally,
}

/// Slot of the IPv6 front table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Slot6 {
    /// The flow that owns the slot.
    pub key: FlowKey6,
    /// What it did since it took the slot.
    pub tally: Tally,
}

/// Counters of a slot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Tally {
    /// As in [`FlowRecord`].
    pub packets: u64,
    /// As in [`FlowRecord`].
    pub bytes: u64,
    /// As in [`FlowRecord`].
    pub buffers: u64,
    /// As in [`FlowRecord`].
    pub buffer_bytes: u64,
    /// As in [`FlowRecord`].
    pub last_jiffies: u32,
    /// As in [`FlowRecord`].
    pub tcp_flags: u32,
    /// Collisions that the owner still survives; granted anew by each of its own packets.
    pub credit: u32,
    /// As in [`FlowRecord`].
    pub looked: u32,
    /// 1 while a program is inside the slot (pod side only, where programs may nest).
    pub busy: u64,
}
