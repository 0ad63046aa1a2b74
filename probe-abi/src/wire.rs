//! Pairing: fingerprints of packets before NAT, and flows as they left.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Fields of a packet that source NAT leaves alone (after Duffield & Grossglauser 2001, who call
/// it the packet's invariant content).
///
/// TCP: `words` = sequence and acknowledgement number, 0, 0. UDP: the first payload bytes in the
/// linear part, mixed into 16, `id` = IPv4 identification (0 in IPv6), `length` = UDP length. ICMP
/// echo: `dst_port` = type × 256 + code, `id` = echo sequence, `words` = payload as in UDP; the
/// identifier is left out, since NAT may rewrite it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Fingerprint {
    /// Destination address; IPv4 in the first word.
    pub dst: [u32; 4],
    /// As above.
    pub words: [u32; 4],
    /// Destination port.
    pub dst_port: u16,
    /// As above.
    pub id: u16,
    /// As above.
    pub length: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
}

/// The source that a fingerprint was seen with before NAT.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Before {
    /// Source address; IPv4 in the first word.
    pub src: [u32; 4],
    /// Source port, or the ICMP echo identifier.
    pub src_port: u16,
    /// 1 when two live sources shared the fingerprint.
    pub ambiguous: u16,
    /// Low half of the kernel's tick counter when it was stored.
    pub jiffies: u32,
}

/// A flow as it left by an uplink.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct WireKey {
    /// Source address after NAT; IPv4 in the first word.
    pub src: [u32; 4],
    /// Destination address.
    pub dst: [u32; 4],
    /// Interface index.
    pub ifindex: u32,
    /// Source port, or the ICMP echo identifier.
    pub src_port: u16,
    /// Destination port, or ICMP type × 256 + code.
    pub dst_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: u16,
}

/// States of [`WireRecord::conntrack`].
pub mod conntrack {
    /// The packet carried no conntrack entry.
    pub const ABSENT: u8 = 0;
    /// The entry's tuples describe the packet as it left: `ct_*` is the tuple before NAT.
    pub const DESCRIBES: u8 = 1;
    /// There is an entry, but another translation came after it.
    pub const CONTRADICTED: u8 = 2;
}

/// What is known of a wire flow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct WireRecord {
    /// CLOCK_MONOTONIC nanoseconds of the first packet.
    pub first_ns: u64,
    /// sk_buffs looked at.
    pub buffers: u64,
    /// Source before NAT by fingerprint; IPv4 in the first word.
    pub before_src: [u32; 4],
    /// Source before NAT by conntrack.
    pub ct_src: [u32; 4],
    /// Destination before NAT by conntrack.
    pub ct_dst: [u32; 4],
    /// Low half of the kernel's tick counter at the first packet.
    pub first_jiffies: u32,
    /// The same at the last packet.
    pub last_jiffies: u32,
    /// Look-ups made in `epoch`.
    pub lookups: u32,
    /// Epoch that `lookups` belongs to.
    pub epoch: u32,
    /// Buffers that had passed when the flow was paired; 0 while it is not.
    pub paired_after: u32,
    /// Source port before NAT by fingerprint.
    pub before_src_port: u16,
    /// Source port before NAT by conntrack.
    pub ct_src_port: u16,
    /// Destination port before NAT by conntrack.
    pub ct_dst_port: u16,
    /// One of [`conntrack`].
    pub conntrack: u8,
    /// OR of TCP flags.
    pub tcp_flags: u8,
    /// How many times a SYN or another pairing began the flow anew.
    pub restarts: u32,
}

/// Look-ups that a wire flow gets in each epoch.
pub const LOOKUPS_PER_EPOCH: u32 = 1024;
/// Life of a fingerprint, nanoseconds.
pub const FINGERPRINT_LIFE_NS: u64 = 2_000_000_000;
