//! The `http` table: what the backends answered.
//!
//! One row for each backend container, local address and port, peer address, protocol version and
//! status, and interval in which responses ended their head there. Interim responses (1xx) have
//! rows of their own. A response whose status could not be read has no status and is never given
//! one. Addresses are those of the pod's own socket.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::columns::{BatchReader, BatchWriter, ListColumn, at};
use crate::record::{ColumnProblem, Named, Record, SchemaError};

/// Version of the protocol that a response was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.0.
    #[serde(rename = "1.0")]
    Http10,
    /// HTTP/1.1.
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/2 without TLS.
    #[serde(rename = "2")]
    Http2,
}

/// One row of `http`.
///
/// The three lists are one histogram: bucket `i` holds `latency_responses[i]` responses that took
/// at least `latency_lower_us[i]` and less than `latency_upper_us[i]` microseconds from the first
/// byte of their request at the backend's socket to the segment with their status line or
/// HEADERS. A bucket is at most a sixteenth of its lower end wide, below 16 µs one microsecond.
/// Only buckets that hold something are listed, in ascending order. A response whose
/// request was not seen is in none of them, so their sum may be below `responses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRow {
    /// Start of the interval, UTC microseconds.
    pub interval_start_us: i64,
    /// End of the interval, UTC microseconds.
    pub interval_end_us: i64,
    /// Name of the node.
    pub node: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// UID of the backend's pod, where its cgroup names one.
    pub pod_uid: Option<String>,
    /// Container, where its cgroup names one.
    pub container_id: Option<String>,
    /// cgroup v2 id of the container.
    pub cgroup_id: i64,
    /// Address of the backend's socket, canonical text.
    pub local_address: String,
    /// Port of the backend's socket.
    pub local_port: i32,
    /// Address of whoever asked, canonical text.
    pub peer_address: String,
    /// Protocol version.
    pub version: HttpVersion,
    /// Status; absent where it could not be read.
    pub status: Option<i32>,
    /// Responses.
    pub responses: i64,
    /// Lower ends of the latency buckets, microseconds.
    pub latency_lower_us: Vec<i64>,
    /// Upper ends of the latency buckets (not within them), microseconds.
    pub latency_upper_us: Vec<i64>,
    /// Responses in each bucket.
    pub latency_responses: Vec<i64>,
}

impl Record for HttpRow {
    const TABLE: &'static str = "http";
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
        let pod_uid = read.optional_text("pod_uid")?;
        let container_id = read.optional_text("container_id")?;
        let cgroup_id = read.int64("cgroup_id")?;
        let local_address = read.text("local_address")?;
        let local_port = read.int32("local_port")?;
        let peer_address = read.text("peer_address")?;
        let version = read.named("version")?;
        let status = read.optional_int32("status")?;
        let responses = read.int64("responses")?;
        let latency = LatencyColumns::read(&read)?;
        let row = |row: usize| {
            let [latency_lower_us, latency_upper_us, latency_responses] = latency.at(&read, row)?;
            Ok(Self {
                interval_start_us: interval_start_us[row],
                interval_end_us: interval_end_us[row],
                node: node.at(row).to_owned(),
                boot_id: boot_id.at(row).to_owned(),
                pod_uid: pod_uid.owned(row),
                container_id: container_id.owned(row),
                cgroup_id: cgroup_id[row],
                local_address: local_address.at(row).to_owned(),
                local_port: local_port[row],
                peer_address: peer_address.at(row).to_owned(),
                version: version[row],
                status: at(status, row),
                responses: responses[row],
                latency_lower_us,
                latency_upper_us,
                latency_responses,
            })
        };
        (0..batch.num_rows()).map(row).collect()
    }
}

fn columns(rows: &[HttpRow]) -> BatchWriter<'_, HttpRow> {
    BatchWriter::new(HttpRow::TABLE, rows)
        .time("interval_start_us", |row| row.interval_start_us)
        .time("interval_end_us", |row| row.interval_end_us)
        .text("node", |row| &row.node)
        .text("boot_id", |row| &row.boot_id)
        .optional_text("pod_uid", |row| row.pod_uid.as_deref())
        .optional_text("container_id", |row| row.container_id.as_deref())
        .int64("cgroup_id", |row| row.cgroup_id)
        .text("local_address", |row| &row.local_address)
        .int32("local_port", |row| row.local_port)
        .text("peer_address", |row| &row.peer_address)
        .named("version", |row| row.version)
        .optional_int32("status", |row| row.status)
        .int64("responses", |row| row.responses)
        .int64_list("latency_lower_us", |row| &row.latency_lower_us)
        .int64_list("latency_upper_us", |row| &row.latency_upper_us)
        .int64_list("latency_responses", |row| &row.latency_responses)
}

/// The three lists of the histogram: equally long in each row.
struct LatencyColumns<'a> {
    lower_us: ListColumn<'a>,
    upper_us: ListColumn<'a>,
    responses: ListColumn<'a>,
}

impl<'a> LatencyColumns<'a> {
    fn read(read: &BatchReader<'a>) -> Result<Self, SchemaError> {
        Ok(Self {
            lower_us: read.int64_list("latency_lower_us")?,
            upper_us: read.int64_list("latency_upper_us")?,
            responses: read.int64_list("latency_responses")?,
        })
    }

    fn at(&self, read: &BatchReader<'_>, row: usize) -> Result<[Vec<i64>; 3], SchemaError> {
        let lower_us = self.lower_us.at(row);
        let (upper_us, responses) = (self.upper_us.at(row), self.responses.at(row));
        for (column, list) in [
            ("latency_upper_us", upper_us),
            ("latency_responses", responses),
        ] {
            if list.len() != lower_us.len() {
                return Err(read.problem(column, ColumnProblem::Uneven { row }));
            }
        }
        Ok([lower_us.to_vec(), upper_us.to_vec(), responses.to_vec()])
    }
}

impl Named for HttpVersion {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Http10, "1.0"),
        (Self::Http11, "1.1"),
        (Self::Http2, "2"),
    ];
}
