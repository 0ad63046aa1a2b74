//! The `snat` table: how a flow that left a node looked before and after source NAT.
//!
//! One row for each flow at a `wire` vantage and interval in which it sent packets. A row is
//! written also when nothing was translated, so that "not paired" is a state of its own: such a
//! row has [`Method::Unpaired`] and no `pre`.

use arrow::array::{Array, Int32Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::columns::{BatchReader, BatchWriter, Text, at};
use crate::record::{ColumnProblem, Named, Record, SchemaError};

/// How a row was paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The same packet was seen before NAT: its SNAT-invariant fingerprint matched.
    Fingerprint,
    /// The kernel's conntrack entry of the packet names the original tuple.
    Conntrack,
    /// No packet of the flow was seen before NAT (yet): `pre` is absent.
    Unpaired,
}

/// What the second witness, the packet's conntrack entry, says of a fingerprint pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// It names the same source address and port.
    Agrees,
    /// It names another: neither is believed.
    Disagrees,
    /// There was none, or it did not describe the packet as it left.
    Absent,
}

/// Addresses and ports of one side of a pairing, in the flow's direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Packets of the flow in this interval, by the uplink's egress hook; where that hook has no such
    /// flow, what the wire hook looked at.
    pub packets: i64,
    /// sk_buffs, as `packets`.
    pub buffers: i64,
    /// Buffers of the flow that the wire hook had looked at when it was paired.
    pub packets_until_paired: Option<i32>,
}

impl Record for SnatRow {
    const TABLE: &'static str = "snat";
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
        let interface = read.text("interface")?;
        let protocol = read.text("protocol")?;
        let pre = PreColumns::read(&read)?;
        let post_src_address = read.text("post_src_address")?;
        let post_dst_address = read.text("post_dst_address")?;
        let post_src_port = read.int32("post_src_port")?;
        let post_dst_port = read.int32("post_dst_port")?;
        let translated = read.optional_flag("translated")?;
        let method = read.named("method")?;
        let witness = read.named("witness")?;
        let first_seen_us = read.time("first_seen_us")?;
        let last_seen_us = read.time("last_seen_us")?;
        let packets = read.int64("packets")?;
        let buffers = read.int64("buffers")?;
        let packets_until_paired = read.optional_int32("packets_until_paired")?;
        let row = |row: usize| {
            Ok(Self {
                interval_start_us: interval_start_us[row],
                interval_end_us: interval_end_us[row],
                node: node.at(row).to_owned(),
                boot_id: boot_id.at(row).to_owned(),
                interface: interface.at(row).to_owned(),
                protocol: protocol.at(row).to_owned(),
                pre: pre.at(&read, row)?,
                post: Tuple {
                    src_address: post_src_address.at(row).to_owned(),
                    dst_address: post_dst_address.at(row).to_owned(),
                    src_port: post_src_port[row],
                    dst_port: post_dst_port[row],
                },
                translated: translated.is_valid(row).then(|| translated.value(row)),
                method: method[row],
                witness: witness[row],
                first_seen_us: first_seen_us[row],
                last_seen_us: last_seen_us[row],
                packets: packets[row],
                buffers: buffers[row],
                packets_until_paired: at(packets_until_paired, row),
            })
        };
        (0..batch.num_rows()).map(row).collect()
    }
}

fn columns(rows: &[SnatRow]) -> BatchWriter<'_, SnatRow> {
    BatchWriter::new(SnatRow::TABLE, rows)
        .time("interval_start_us", |row| row.interval_start_us)
        .time("interval_end_us", |row| row.interval_end_us)
        .text("node", |row| &row.node)
        .text("boot_id", |row| &row.boot_id)
        .text("interface", |row| &row.interface)
        .text("protocol", |row| &row.protocol)
        .optional_text("pre_src_address", |row| {
            Some(row.pre.as_ref()?.src_address.as_str())
        })
        .optional_text("pre_dst_address", |row| {
            Some(row.pre.as_ref()?.dst_address.as_str())
        })
        .optional_int32("pre_src_port", |row| Some(row.pre.as_ref()?.src_port))
        .optional_int32("pre_dst_port", |row| Some(row.pre.as_ref()?.dst_port))
        .text("post_src_address", |row| &row.post.src_address)
        .text("post_dst_address", |row| &row.post.dst_address)
        .int32("post_src_port", |row| row.post.src_port)
        .int32("post_dst_port", |row| row.post.dst_port)
        .optional_flag("translated", |row| row.translated)
        .named("method", |row| row.method)
        .named("witness", |row| row.witness)
        .time("first_seen_us", |row| row.first_seen_us)
        .time("last_seen_us", |row| row.last_seen_us)
        .int64("packets", |row| row.packets)
        .int64("buffers", |row| row.buffers)
        .optional_int32("packets_until_paired", |row| row.packets_until_paired)
}

/// The four columns of `pre`: all of them have a value in a row, or none.
struct PreColumns<'a> {
    src_address: Text<'a>,
    dst_address: Text<'a>,
    src_port: &'a Int32Array,
    dst_port: &'a Int32Array,
}

impl<'a> PreColumns<'a> {
    fn read(read: &BatchReader<'a>) -> Result<Self, SchemaError> {
        Ok(Self {
            src_address: read.optional_text("pre_src_address")?,
            dst_address: read.optional_text("pre_dst_address")?,
            src_port: read.optional_int32("pre_src_port")?,
            dst_port: read.optional_int32("pre_dst_port")?,
        })
    }

    fn at(&self, read: &BatchReader<'_>, row: usize) -> Result<Option<Tuple>, SchemaError> {
        let (src_address, dst_address) = (self.src_address.owned(row), self.dst_address.owned(row));
        let (src_port, dst_port) = (at(self.src_port, row), at(self.dst_port, row));
        match (src_address, dst_address, src_port, dst_port) {
            (Some(src_address), Some(dst_address), Some(src_port), Some(dst_port)) => {
                Ok(Some(Tuple {
                    src_address,
                    dst_address,
                    src_port,
                    dst_port,
                }))
            }
            (None, None, None, None) => Ok(None),
            (src_address, dst_address, src_port, _) => {
                let absent = [
                    ("pre_src_address", src_address.is_none()),
                    ("pre_dst_address", dst_address.is_none()),
                    ("pre_src_port", src_port.is_none()),
                ];
                let column = absent.iter().find(|(_, absent)| *absent);
                let column = column.map_or("pre_dst_port", |(column, _)| column);
                Err(read.problem(column, ColumnProblem::Incomplete { row }))
            }
        }
    }
}

impl Named for Method {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Fingerprint, "fingerprint"),
        (Self::Conntrack, "conntrack"),
        (Self::Unpaired, "unpaired"),
    ];
}

impl Named for Witness {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Agrees, "agrees"),
        (Self::Disagrees, "disagrees"),
        (Self::Absent, "absent"),
    ];
}
