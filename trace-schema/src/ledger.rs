//! The `ledger` table: the books of one vantage, interface and direction in one interval.
//!
//! A row is written for every interval of every hook, with traffic or without: a gap between rows
//! means that nobody was watching. Columns are differences within the interval, so that sums over
//! rows are totals. For an uplink,
//! `counted + overflow + non_ip + ip_unparsed = kernel + dropped_behind` (egress), in packets or
//! in buffers, whichever of the two the interface's driver counts.

use crate::flows::Direction;

/// Where a packet is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vantage {
    /// A pod's own sockets, before any NAT.
    Pod,
    /// The node's network interfaces, at the head of the tc chain.
    Uplink,
    /// Where a packet is handed to a driver, after all NAT.
    Wire,
    /// A tunnel interface, inner packets arriving.
    Tunnel,
}

/// Packets (as on the wire), buffers (sk_buffs) and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets on the wire.
    pub packets: i64,
    /// Layer-3 bytes on the wire.
    pub bytes: i64,
    /// sk_buffs.
    pub buffers: i64,
    /// Layer-3 bytes of the sk_buffs.
    pub buffer_bytes: i64,
}

/// One row of `ledger`. Columns of a [`Count`] are `<name>_packets`, `<name>_bytes`,
/// `<name>_buffers`, `<name>_buffer_bytes`.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    /// Start of the interval, UTC microseconds.
    pub interval_start_us: i64,
    /// End of the interval, UTC microseconds.
    pub interval_end_us: i64,
    /// Name of the node.
    pub node: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The hook's vantage.
    pub vantage: Vantage,
    /// Interface; absent at the `pod` vantage.
    pub interface: Option<String>,
    /// Direction; absent at `wire`.
    pub direction: Option<Direction>,
    /// What the rows of `flows` hold. At `wire`: buffers looked at.
    pub counted: Count,
    /// What a full map turned away: counted here, in no flow.
    pub overflow: Count,
    /// Frames that are not IP. Bytes without the link header.
    pub non_ip: Count,
    /// IP packets whose headers could not be followed.
    pub ip_unparsed: Count,
    /// Length of the link-layer header that kernel counters include and `bytes` leave out.
    pub link_header_bytes: i32,
    /// The kernel's own interface counter (rtnl_link_stats64), packets; absent without an interface.
    pub kernel_packets: Option<i64>,
    /// The same in bytes, link headers included.
    pub kernel_bytes: Option<i64>,
    /// How far the kernel's counter moved while this row's end was being taken: the uncertainty of
    /// the boundary under load, zero when traffic paused.
    pub boundary_packets: Option<i64>,
    /// The same in bytes.
    pub boundary_bytes: Option<i64>,
    /// Packets dropped behind the hook: queueing disciplines, tc, the driver's tx_dropped (egress);
    /// absent on ingress.
    pub dropped_behind_packets: Option<i64>,
    /// Wire flows whose packets were looked up and never found before NAT.
    pub pairing_missed: i64,
    /// Fingerprints that two sources shared: not paired.
    pub pairing_ambiguous: i64,
    /// Wire flows that the full pairing map turned away.
    pub pairing_overflow: i64,
    /// Records that did not fit the ring buffer.
    pub ring_drops: i64,
    /// Runs that the kernel skipped because the program was already running on that CPU.
    pub hook_misses: Option<i64>,
    /// Flows in the map at the interval's end.
    pub map_entries: i64,
    /// Capacity of that map.
    pub map_capacity: i64,
}
