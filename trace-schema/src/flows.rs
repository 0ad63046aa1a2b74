//! The `flows` table: what one five-tuple did at one vantage in one interval.

mod views;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::columns::{BatchReader, BatchWriter, at};
use crate::ledger::Vantage;
use crate::record::{Named, Record, SchemaError};

pub use views::{FlowCount, FlowSighting};

/// Whether the addresses of a row stand before or after source NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NatState {
    /// Seen before any NAT: pod sockets, packets arriving from a tunnel.
    Pre,
    /// Seen after all NAT.
    Post,
    /// Another program runs behind the hook and may still translate; ask `snat`.
    Undetermined,
}

/// Direction from the vantage's viewpoint: `Egress` leaves the pod (pod) or the node (uplink).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

impl Record for FlowRow {
    const TABLE: &'static str = "flows";
    const TIME_COLUMN: &'static str = "interval_start_us";

    fn time_us(&self) -> i64 {
        self.interval_start_us
    }

    fn arrow_schema() -> SchemaRef {
        columns(&[]).schema()
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        columns(rows).finish()
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let read = BatchReader::new(Self::TABLE, batch);
        let interval_start_us = read.time("interval_start_us")?;
        let interval_end_us = read.time("interval_end_us")?;
        let node = read.text("node")?;
        let boot_id = read.text("boot_id")?;
        let vantage = read.named("vantage")?;
        let nat_state = read.named("nat_state")?;
        let interface = read.optional_text("interface")?;
        let direction = read.named("direction")?;
        let pod_uid = read.optional_text("pod_uid")?;
        let container_id = read.optional_text("container_id")?;
        let cgroup_id = read.optional_int64("cgroup_id")?;
        let protocol = read.text("protocol")?;
        let src_address = read.text("src_address")?;
        let dst_address = read.text("dst_address")?;
        let src_port = read.int32("src_port")?;
        let dst_port = read.int32("dst_port")?;
        let encapsulation = read.optional_text("encapsulation")?;
        let bytes = read.int64("bytes")?;
        let packets = read.int64("packets")?;
        let buffers = read.int64("buffers")?;
        let buffer_bytes = read.int64("buffer_bytes")?;
        let tcp_flags = read.int32("tcp_flags")?;
        let srtt_us = read.optional_int64("srtt_us")?;
        let min_rtt_us = read.optional_int64("min_rtt_us")?;
        let retransmits = read.optional_int64("retransmits")?;
        let cwnd_segments = read.optional_int64("cwnd_segments")?;
        let first_seen_us = read.time("first_seen_us")?;
        let last_seen_us = read.time("last_seen_us")?;
        let row = |row: usize| Self {
            interval_start_us: interval_start_us[row],
            interval_end_us: interval_end_us[row],
            node: node.at(row).to_owned(),
            boot_id: boot_id.at(row).to_owned(),
            vantage: vantage[row],
            nat_state: nat_state[row],
            interface: interface.owned(row),
            direction: direction[row],
            pod_uid: pod_uid.owned(row),
            container_id: container_id.owned(row),
            cgroup_id: at(cgroup_id, row),
            protocol: protocol.at(row).to_owned(),
            src_address: src_address.at(row).to_owned(),
            dst_address: dst_address.at(row).to_owned(),
            src_port: src_port[row],
            dst_port: dst_port[row],
            encapsulation: encapsulation.owned(row),
            bytes: bytes[row],
            packets: packets[row],
            buffers: buffers[row],
            buffer_bytes: buffer_bytes[row],
            tcp_flags: tcp_flags[row],
            srtt_us: at(srtt_us, row),
            min_rtt_us: at(min_rtt_us, row),
            retransmits: at(retransmits, row),
            cwnd_segments: at(cwnd_segments, row),
            first_seen_us: first_seen_us[row],
            last_seen_us: last_seen_us[row],
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

fn columns(rows: &[FlowRow]) -> BatchWriter<'_, FlowRow> {
    BatchWriter::new(FlowRow::TABLE, rows)
        .time("interval_start_us", |row| row.interval_start_us)
        .time("interval_end_us", |row| row.interval_end_us)
        .text("node", |row| &row.node)
        .text("boot_id", |row| &row.boot_id)
        .named("vantage", |row| row.vantage)
        .named("nat_state", |row| row.nat_state)
        .optional_text("interface", |row| row.interface.as_deref())
        .named("direction", |row| row.direction)
        .optional_text("pod_uid", |row| row.pod_uid.as_deref())
        .optional_text("container_id", |row| row.container_id.as_deref())
        .optional_int64("cgroup_id", |row| row.cgroup_id)
        .text("protocol", |row| &row.protocol)
        .text("src_address", |row| &row.src_address)
        .text("dst_address", |row| &row.dst_address)
        .int32("src_port", |row| row.src_port)
        .int32("dst_port", |row| row.dst_port)
        .optional_text("encapsulation", |row| row.encapsulation.as_deref())
        .int64("bytes", |row| row.bytes)
        .int64("packets", |row| row.packets)
        .int64("buffers", |row| row.buffers)
        .int64("buffer_bytes", |row| row.buffer_bytes)
        .int32("tcp_flags", |row| row.tcp_flags)
        .optional_int64("srtt_us", |row| row.srtt_us)
        .optional_int64("min_rtt_us", |row| row.min_rtt_us)
        .optional_int64("retransmits", |row| row.retransmits)
        .optional_int64("cwnd_segments", |row| row.cwnd_segments)
        .time("first_seen_us", |row| row.first_seen_us)
        .time("last_seen_us", |row| row.last_seen_us)
}

impl Named for NatState {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Pre, "pre"),
        (Self::Post, "post"),
        (Self::Undetermined, "undetermined"),
    ];
}

impl Named for Direction {
    const NAMES: &'static [(Self, &'static str)] =
        &[(Self::Ingress, "ingress"), (Self::Egress, "egress")];
}
