//! The `snat` table: how a flow that left a node looked before and after source NAT.
//!
//! One row for each flow at a `wire` vantage and interval in which it sent packets. A row is
//! written also when nothing was translated, so that "not paired" is a state of its own: such a
//! row has [`Method::Unpaired`] and no `pre`.

/// How a row was paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The same packet was seen before NAT: its SNAT-invariant fingerprint matched.
    Fingerprint,
    /// The kernel's conntrack entry of the packet names the original tuple.
    Conntrack,
    /// No packet of the flow was seen before NAT (yet): `pre` is absent.
    Unpaired,
}

/// What the second witness, the packet's conntrack entry, says of a fingerprint pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Witness {
    /// It names the same source address and port.
    Agrees,
    /// It names another: neither is believed.
    Disagrees,
    /// There was none, or it did not describe the packet as it left.
    Absent,
}

/// Addresses and ports of one side of a pairing, in the flow's direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Source address, canonical text.
    pub src_address: String,
    /// Destination address, canonical text.
    pub dst_address: String,
    /// Source port; ICMP echo: the identifier.
    pub src_port: i32,
    /// Destination port; ICMP: type × 256 + code.
    pub dst_port: i32,
}

/// One row of `snat`. Columns of the tuples are `pre_src_address` … `post_dst_port`.
#[derive(Clone, Debug, PartialEq)]
pub struct SnatRow {
    /// Start of the interval, UTC microseconds.
    pub interval_start_us: i64,
    /// End of the interval, UTC microseconds.
    pub interval_end_us: i64,
    /// Node whose interface the packet left by.
    pub node: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Interface the packet left by.
    pub interface: String,
    /// As in `flows`.
    pub protocol: String,
    /// Before NAT; absent when unpaired. The destination differs from `post` after a DNAT.
    pub pre: Option<Tuple>,
    /// After all NAT, as it left.
    pub post: Tuple,
    /// Whether the source address or port changed; absent when unpaired.
    pub translated: Option<bool>,
    /// How it was paired.
    pub method: Method,
    /// What conntrack says of it.
    pub witness: Witness,
    /// First packet of the flow at this wire.
    pub first_seen_us: i64,
    /// Last packet of the flow at this wire up to the interval's end, to one kernel tick.
    pub last_seen_us: i64,
    /// Buffers seen at the wire in this interval; evidence, not accounting (the hook may miss some).
    pub buffers: i64,
    /// Buffers of the flow that had passed the wire when it was paired.
    pub packets_until_paired: Option<i32>,
}
