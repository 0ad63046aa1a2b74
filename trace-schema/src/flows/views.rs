//! Parts of a row of `flows` for readers that need no more of it: other columns are not decoded, and
//! text is shared by the rows that have it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Direction, FlowRow};
use crate::columns::{BatchReader, BatchWriter};
use crate::ledger::{Count, Vantage};
use crate::record::{Record, SchemaError};

/// What adding up needs of a row of `flows`: read as this, no other column is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowCount {
    /// As in [`FlowRow`].
    pub interval_start_us: i64,
    /// As in [`FlowRow`].
    pub interval_end_us: i64,
    /// As in [`FlowRow`].
    pub node: Arc<str>,
    /// As in [`FlowRow`].
    pub vantage: Vantage,
    /// As in [`FlowRow`].
    pub interface: Option<Arc<str>>,
    /// As in [`FlowRow`].
    pub direction: Direction,
    /// As in [`FlowRow`], with the next three.
    pub count: Count,
}

impl Record for FlowCount {
    const TABLE: &'static str = FlowRow::TABLE;
    const TIME_COLUMN: &'static str = FlowRow::TIME_COLUMN;

    fn time_us(&self) -> i64 {
        self.interval_start_us
    }

    fn arrow_schema() -> SchemaRef {
        count_columns(&[]).schema()
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        count_columns(rows).finish()
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let read = BatchReader::new(Self::TABLE, batch);
        let interval_start_us = read.time("interval_start_us")?;
        let interval_end_us = read.time("interval_end_us")?;
        let node = read.shared_text("node")?;
        let vantage = read.named("vantage")?;
        let interface = read.optional_shared_text("interface")?;
        let direction = read.named("direction")?;
        let bytes = read.int64("bytes")?;
        let packets = read.int64("packets")?;
        let buffers = read.int64("buffers")?;
        let buffer_bytes = read.int64("buffer_bytes")?;
        let row = |row: usize| Self {
            interval_start_us: interval_start_us[row],
            interval_end_us: interval_end_us[row],
            node: node.at(row),
            vantage: vantage[row],
            interface: interface.get(row),
            direction: direction[row],
            count: Count {
                packets: packets[row],
                bytes: bytes[row],
                buffers: buffers[row],
                buffer_bytes: buffer_bytes[row],
            },
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

fn count_columns(rows: &[FlowCount]) -> BatchWriter<'_, FlowCount> {
    BatchWriter::new(FlowCount::TABLE, rows)
        .time("interval_start_us", |row| row.interval_start_us)
        .time("interval_end_us", |row| row.interval_end_us)
        .text("node", |row| row.node.as_ref())
        .named("vantage", |row| row.vantage)
        .optional_text("interface", |row| row.interface.as_deref())
        .named("direction", |row| row.direction)
        .int64("bytes", |row| row.count.bytes)
        .int64("packets", |row| row.count.packets)
        .int64("buffers", |row| row.count.buffers)
        .int64("buffer_bytes", |row| row.count.buffer_bytes)
}

/// What following a connection needs of a row of `flows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSighting {
    /// As in [`FlowRow`], with all that follows.
    pub interval_start_us: i64,
    /// Name of the node.
    pub node: Arc<str>,
    /// Where the flow was seen.
    pub vantage: Vantage,
    /// Interface name; absent at the `pod` vantage.
    pub interface: Option<Arc<str>>,
    /// Direction from the vantage's viewpoint.
    pub direction: Direction,
    /// Kubernetes pod UID.
    pub pod_uid: Option<Arc<str>>,
    /// Protocol.
    pub protocol: Arc<str>,
    /// Source address.
    pub src_address: Arc<str>,
    /// Destination address.
    pub dst_address: Arc<str>,
    /// Source port.
    pub src_port: i32,
    /// Destination port.
    pub dst_port: i32,
    /// Whether this is the outer packet of a tunnel.
    pub is_encapsulation: bool,
    /// Layer-3 bytes on the wire.
    pub bytes: i64,
    /// Packets on the wire.
    pub packets: i64,
    /// OR of the TCP flags seen.
    pub tcp_flags: i32,
    /// First packet in this interval.
    pub first_seen_us: i64,
    /// Last packet in this interval.
    pub last_seen_us: i64,
}

impl From<&FlowRow> for FlowSighting {
    fn from(row: &FlowRow) -> Self {
        let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
        Self {
            interval_start_us: row.interval_start_us,
            node: row.node.as_str().into(),
            vantage: row.vantage,
            interface: shared(&row.interface),
            direction: row.direction,
            pod_uid: shared(&row.pod_uid),
            protocol: row.protocol.as_str().into(),
            src_address: row.src_address.as_str().into(),
            dst_address: row.dst_address.as_str().into(),
            src_port: row.src_port,
            dst_port: row.dst_port,
            is_encapsulation: row.encapsulation.is_some(),
            bytes: row.bytes,
            packets: row.packets,
            tcp_flags: row.tcp_flags,
            first_seen_us: row.first_seen_us,
            last_seen_us: row.last_seen_us,
        }
    }
}

impl Record for FlowSighting {
    const TABLE: &'static str = FlowRow::TABLE;
    const TIME_COLUMN: &'static str = FlowRow::TIME_COLUMN;

    fn time_us(&self) -> i64 {
        self.interval_start_us
    }

    fn arrow_schema() -> SchemaRef {
        sighting_columns(&[]).schema()
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        sighting_columns(rows).finish()
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let read = BatchReader::new(Self::TABLE, batch);
        let interval_start_us = read.time("interval_start_us")?;
        let node = read.shared_text("node")?;
        let vantage = read.named("vantage")?;
        let interface = read.optional_shared_text("interface")?;
        let direction = read.named("direction")?;
        let pod_uid = read.optional_shared_text("pod_uid")?;
        let protocol = read.shared_text("protocol")?;
        let src_address = read.shared_text("src_address")?;
        let dst_address = read.shared_text("dst_address")?;
        let src_port = read.int32("src_port")?;
        let dst_port = read.int32("dst_port")?;
        let encapsulation = read.optional_text("encapsulation")?;
        let bytes = read.int64("bytes")?;
        let packets = read.int64("packets")?;
        let tcp_flags = read.int32("tcp_flags")?;
        let first_seen_us = read.time("first_seen_us")?;
        let last_seen_us = read.time("last_seen_us")?;
        let row = |row: usize| Self {
            interval_start_us: interval_start_us[row],
            node: node.at(row),
            vantage: vantage[row],
            interface: interface.get(row),
            direction: direction[row],
            pod_uid: pod_uid.get(row),
            protocol: protocol.at(row),
            src_address: src_address.at(row),
            dst_address: dst_address.at(row),
            src_port: src_port[row],
            dst_port: dst_port[row],
            is_encapsulation: encapsulation.get(row).is_some(),
            bytes: bytes[row],
            packets: packets[row],
            tcp_flags: tcp_flags[row],
            first_seen_us: first_seen_us[row],
            last_seen_us: last_seen_us[row],
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

fn sighting_columns(rows: &[FlowSighting]) -> BatchWriter<'_, FlowSighting> {
    BatchWriter::new(FlowSighting::TABLE, rows)
        .time("interval_start_us", |row| row.interval_start_us)
        .text("node", |row| row.node.as_ref())
        .named("vantage", |row| row.vantage)
        .optional_text("interface", |row| row.interface.as_deref())
        .named("direction", |row| row.direction)
        .optional_text("pod_uid", |row| row.pod_uid.as_deref())
        .text("protocol", |row| row.protocol.as_ref())
        .text("src_address", |row| row.src_address.as_ref())
        .text("dst_address", |row| row.dst_address.as_ref())
        .int32("src_port", |row| row.src_port)
        .int32("dst_port", |row| row.dst_port)
        .optional_text("encapsulation", |row| {
            row.is_encapsulation.then_some("tunnel")
        })
        .int64("bytes", |row| row.bytes)
        .int64("packets", |row| row.packets)
        .int32("tcp_flags", |row| row.tcp_flags)
        .time("first_seen_us", |row| row.first_seen_us)
        .time("last_seen_us", |row| row.last_seen_us)
}
