//! The `objects` table: every version of the Kubernetes objects that verdicts rest on.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::columns::{BatchReader, BatchWriter};
use crate::record::{Named, Record, SchemaError};

/// What happened to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectEvent {
    /// It appeared, or was there when recording began.
    Added,
    /// A new version.
    Modified,
    /// It is gone; `object` is its last version.
    Deleted,
}

/// One row of `objects`.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectRow {
    /// When the recorder saw this version, UTC microseconds.
    pub observed_at_us: i64,
    /// What happened.
    pub event: ObjectEvent,
    /// `v1`, `crd.antrea.io/v1beta1`, …
    pub api_version: String,
    /// `Pod`, `Egress`, …
    pub kind: String,
    /// Namespace; absent for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Resource version, opaque.
    pub resource_version: String,
    /// The whole object as JSON text.
    pub object: String,
}

impl Record for ObjectRow {
    const TABLE: &'static str = "objects";
    const TIME_COLUMN: &'static str = "observed_at_us";

    fn time_us(&self) -> i64 {
        self.observed_at_us
    }

    fn arrow_schema() -> SchemaRef {
        columns(&[]).schema()
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        columns(rows).finish()
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let read = BatchReader::new(Self::TABLE, batch);
        let observed_at_us = read.time("observed_at_us")?;
        let event = read.named("event")?;
        let api_version = read.text("api_version")?;
        let kind = read.text("kind")?;
        let namespace = read.optional_text("namespace")?;
        let name = read.text("name")?;
        let uid = read.text("uid")?;
        let resource_version = read.unique_text("resource_version")?;
        let object = read.unique_text("object")?;
        let row = |row: usize| Self {
            observed_at_us: observed_at_us[row],
            event: event[row],
            api_version: api_version.at(row).to_owned(),
            kind: kind.at(row).to_owned(),
            namespace: namespace.owned(row),
            name: name.at(row).to_owned(),
            uid: uid.at(row).to_owned(),
            resource_version: resource_version.value(row).to_owned(),
            object: object.value(row).to_owned(),
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

fn columns(rows: &[ObjectRow]) -> BatchWriter<'_, ObjectRow> {
    BatchWriter::new(ObjectRow::TABLE, rows)
        .time("observed_at_us", |row| row.observed_at_us)
        .named("event", |row| row.event)
        .text("api_version", |row| &row.api_version)
        .text("kind", |row| &row.kind)
        .optional_text("namespace", |row| row.namespace.as_deref())
        .text("name", |row| &row.name)
        .text("uid", |row| &row.uid)
        .unique_text("resource_version", |row| &row.resource_version)
        .unique_text("object", |row| &row.object)
}

impl Named for ObjectEvent {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Added, "added"),
        (Self::Modified, "modified"),
        (Self::Deleted, "deleted"),
    ];
}
