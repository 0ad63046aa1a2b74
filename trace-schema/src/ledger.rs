//! The `ledger` table: the books of one vantage, interface and direction in one interval.
//!
//! A row is written for every interval of every hook, with traffic or without: a gap between rows
//! means that nobody was watching. Columns are differences within the interval, so that sums over
//! rows are totals. For an uplink,
//! `counted + overflow + non_ip + ip_unparsed = kernel + dropped_behind` (egress), in packets or
//! in buffers, whichever of the two the interface's driver counts.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::columns::{BatchReader, BatchWriter, at};
use crate::flows::Direction;
use crate::record::{Named, Record, SchemaError};

/// Where a packet is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vantage {
    /// A pod's own sockets, before any NAT.
    Pod,
    /// The node's network interfaces, at the head of the tc chain.
    Uplink,
    /// Where a packet is handed to a driver, after all NAT.
    Wire,
    /// A tunnel interface, inner packets arriving.
    Tunnel,
    /// The scheduler's and the network softirqs' tracepoints: processor time, no packets.
    Cpu,
    /// Samples of kernel stacks: `counted_buffers` holds how many.
    Profile,
}

/// Packets (as on the wire), buffers (sk_buffs) and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The virtual function behind the interface, where there is one: `hv_netvsc` counts the buffers
    /// that it receives by it without their link header (`netvsc_vf_handle_frame`,
    /// drivers/net/hyperv/netvsc_drv.c), so that `kernel_bytes` may lack as many.
    pub virtual_function: Option<String>,
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
    /// HTTP byte streams and responses that could not be followed at the `pod` vantage.
    pub http_unparsed: i64,
    /// Records that did not fit the ring buffer.
    pub ring_drops: i64,
    /// Runs that the kernel skipped because the program was already running on that CPU.
    pub hook_misses: Option<i64>,
    /// Flows in the map at the interval's end.
    pub map_entries: i64,
    /// Capacity of that map.
    pub map_capacity: i64,
    /// Rows of any table that were on disk and went, with the books of their intervals, because the
    /// spool was full: as many as went since the row before. Stands in one row of an interval.
    pub spool_dropped_rows: i64,
}

impl LedgerRow {
    /// The row of a hook that nothing passed, of which the kernel's own counters are not known.
    /// The interval is its start and end, UTC microseconds.
    pub fn idle(interval_us: (i64, i64), node: &str, boot_id: &str, vantage: Vantage) -> Self {
        Self {
            interval_start_us: interval_us.0,
            interval_end_us: interval_us.1,
            node: node.to_owned(),
            boot_id: boot_id.to_owned(),
            vantage,
            interface: None,
            direction: None,
            counted: Count::default(),
            overflow: Count::default(),
            non_ip: Count::default(),
            ip_unparsed: Count::default(),
            link_header_bytes: 0,
            virtual_function: None,
            kernel_packets: None,
            kernel_bytes: None,
            boundary_packets: None,
            boundary_bytes: None,
            dropped_behind_packets: None,
            pairing_missed: 0,
            pairing_ambiguous: 0,
            pairing_overflow: 0,
            http_unparsed: 0,
            ring_drops: 0,
            hook_misses: None,
            map_entries: 0,
            map_capacity: 0,
            spool_dropped_rows: 0,
        }
    }
}

impl Record for LedgerRow {
    const TABLE: &'static str = "ledger";
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
        let interface = read.optional_text("interface")?;
        let direction = read.optional_named("direction")?;
        let counted = CountColumns::read(&read, "counted")?;
        let overflow = CountColumns::read(&read, "overflow")?;
        let non_ip = CountColumns::read(&read, "non_ip")?;
        let ip_unparsed = CountColumns::read(&read, "ip_unparsed")?;
        let link_header_bytes = read.int32("link_header_bytes")?;
        let virtual_function = read.optional_text("virtual_function")?;
        let kernel_packets = read.optional_int64("kernel_packets")?;
        let kernel_bytes = read.optional_int64("kernel_bytes")?;
        let boundary_packets = read.optional_int64("boundary_packets")?;
        let boundary_bytes = read.optional_int64("boundary_bytes")?;
        let dropped_behind_packets = read.optional_int64("dropped_behind_packets")?;
        let pairing_missed = read.int64("pairing_missed")?;
        let pairing_ambiguous = read.int64("pairing_ambiguous")?;
        let pairing_overflow = read.int64("pairing_overflow")?;
        let http_unparsed = read.int64("http_unparsed")?;
        let ring_drops = read.int64("ring_drops")?;
        let hook_misses = read.optional_int64("hook_misses")?;
        let map_entries = read.int64("map_entries")?;
        let map_capacity = read.int64("map_capacity")?;
        let spool_dropped_rows = read.int64("spool_dropped_rows")?;
        let row = |row: usize| Self {
            interval_start_us: interval_start_us[row],
            interval_end_us: interval_end_us[row],
            node: node.at(row).to_owned(),
            boot_id: boot_id.at(row).to_owned(),
            vantage: vantage[row],
            interface: interface.owned(row),
            direction: direction[row],
            counted: counted.at(row),
            overflow: overflow.at(row),
            non_ip: non_ip.at(row),
            ip_unparsed: ip_unparsed.at(row),
            link_header_bytes: link_header_bytes[row],
            virtual_function: virtual_function.owned(row),
            kernel_packets: at(kernel_packets, row),
            kernel_bytes: at(kernel_bytes, row),
            boundary_packets: at(boundary_packets, row),
            boundary_bytes: at(boundary_bytes, row),
            dropped_behind_packets: at(dropped_behind_packets, row),
            pairing_missed: pairing_missed[row],
            pairing_ambiguous: pairing_ambiguous[row],
            pairing_overflow: pairing_overflow[row],
            http_unparsed: http_unparsed[row],
            ring_drops: ring_drops[row],
            hook_misses: at(hook_misses, row),
            map_entries: map_entries[row],
            map_capacity: map_capacity[row],
            spool_dropped_rows: spool_dropped_rows[row],
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

fn columns(rows: &[LedgerRow]) -> BatchWriter<'_, LedgerRow> {
    let write = BatchWriter::new(LedgerRow::TABLE, rows)
        .time("interval_start_us", |row| row.interval_start_us)
        .time("interval_end_us", |row| row.interval_end_us)
        .text("node", |row| &row.node)
        .text("boot_id", |row| &row.boot_id)
        .named("vantage", |row| row.vantage)
        .optional_text("interface", |row| row.interface.as_deref())
        .optional_named("direction", |row| row.direction);
    let write = count_columns(write, "counted", |row| row.counted);
    let write = count_columns(write, "overflow", |row| row.overflow);
    let write = count_columns(write, "non_ip", |row| row.non_ip);
    let write = count_columns(write, "ip_unparsed", |row| row.ip_unparsed);
    write
        .int32("link_header_bytes", |row| row.link_header_bytes)
        .optional_text("virtual_function", |row| row.virtual_function.as_deref())
        .optional_int64("kernel_packets", |row| row.kernel_packets)
        .optional_int64("kernel_bytes", |row| row.kernel_bytes)
        .optional_int64("boundary_packets", |row| row.boundary_packets)
        .optional_int64("boundary_bytes", |row| row.boundary_bytes)
        .optional_int64("dropped_behind_packets", |row| row.dropped_behind_packets)
        .int64("pairing_missed", |row| row.pairing_missed)
        .int64("pairing_ambiguous", |row| row.pairing_ambiguous)
        .int64("pairing_overflow", |row| row.pairing_overflow)
        .int64("http_unparsed", |row| row.http_unparsed)
        .int64("ring_drops", |row| row.ring_drops)
        .optional_int64("hook_misses", |row| row.hook_misses)
        .int64("map_entries", |row| row.map_entries)
        .int64("map_capacity", |row| row.map_capacity)
        .int64("spool_dropped_rows", |row| row.spool_dropped_rows)
}

fn count_columns<'a>(
    write: BatchWriter<'a, LedgerRow>,
    name: &str,
    get: impl Fn(&LedgerRow) -> Count,
) -> BatchWriter<'a, LedgerRow> {
    write
        .int64(&format!("{name}_packets"), |row| get(row).packets)
        .int64(&format!("{name}_bytes"), |row| get(row).bytes)
        .int64(&format!("{name}_buffers"), |row| get(row).buffers)
        .int64(&format!("{name}_buffer_bytes"), |row| get(row).buffer_bytes)
}

/// The four columns of a [`Count`].
struct CountColumns<'a> {
    packets: &'a [i64],
    bytes: &'a [i64],
    buffers: &'a [i64],
    buffer_bytes: &'a [i64],
}

impl<'a> CountColumns<'a> {
    fn read(read: &BatchReader<'a>, name: &str) -> Result<Self, SchemaError> {
        Ok(Self {
            packets: read.int64(&format!("{name}_packets"))?,
            bytes: read.int64(&format!("{name}_bytes"))?,
            buffers: read.int64(&format!("{name}_buffers"))?,
            buffer_bytes: read.int64(&format!("{name}_buffer_bytes"))?,
        })
    }

    fn at(&self, row: usize) -> Count {
        Count {
            packets: self.packets[row],
            bytes: self.bytes[row],
            buffers: self.buffers[row],
            buffer_bytes: self.buffer_bytes[row],
        }
    }
}

impl Named for Vantage {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Pod, "pod"),
        (Self::Uplink, "uplink"),
        (Self::Wire, "wire"),
        (Self::Tunnel, "tunnel"),
        (Self::Cpu, "cpu"),
        (Self::Profile, "profile"),
    ];
}
