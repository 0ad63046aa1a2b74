//! The tables that are spooled: their rows of one interval, and what is done to files by table.

use std::path::{Path, PathBuf};

use trace_schema::cpu::CpuRow;
use trace_schema::file;
use trace_schema::flows::FlowRow;
use trace_schema::http::HttpRow;
use trace_schema::ledger::LedgerRow;
use trace_schema::objects::ObjectRow;
use trace_schema::profile::ProfileRow;
use trace_schema::record::{Record, SchemaError};
use trace_schema::resources::ResourceRow;
use trace_schema::snat::SnatRow;

/// The rows of one interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// Start, UTC microseconds; names the files and their date.
    pub start_us: i64,
    /// Rows of `flows`.
    pub flows: Vec<FlowRow>,
    /// Rows of `http`.
    pub http: Vec<HttpRow>,
    /// Rows of `snat`.
    pub snat: Vec<SnatRow>,
    /// Rows of `cpu`.
    pub cpu: Vec<CpuRow>,
    /// Rows of `resources`.
    pub resources: Vec<ResourceRow>,
    /// Rows of `profile`.
    pub profile: Vec<ProfileRow>,
    /// Rows of `objects`, which the recorder alone writes.
    pub objects: Vec<ObjectRow>,
    /// Rows of `ledger`.
    pub ledger: Vec<LedgerRow>,
}

impl Interval {
    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        let of_network = self.flows.len() + self.http.len() + self.snat.len();
        let of_machine = self.cpu.len() + self.resources.len() + self.profile.len();
        (of_network + of_machine + self.objects.len() + self.ledger.len()) as u64
    }
}

/// A table that is spooled.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name.
    pub name: &'static str,
    /// Merges files of it into one and returns the number of rows.
    pub merge: fn(&[PathBuf], &Path) -> Result<u64, SchemaError>,
    /// Number of rows in a file of it.
    pub count_rows: fn(&Path) -> Result<u64, SchemaError>,
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Every table, the books last.
pub(super) static TABLES: [Table; 8] = [
    table::<FlowRow>(),
    table::<HttpRow>(),
    table::<SnatRow>(),
    table::<CpuRow>(),
    table::<ResourceRow>(),
    table::<ProfileRow>(),
    table::<ObjectRow>(),
    table::<LedgerRow>(),
];

/// The table of that name; all that this crate writes are there.
pub(super) fn named(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

const fn table<R: Record>() -> Table {
    Table {
        name: R::TABLE,
        merge: file::merge::<R>,
        count_rows: count_rows::<R>,
    }
}

fn count_rows<R: Record>(path: &Path) -> Result<u64, SchemaError> {
    Ok(file::open::<R>(path)?.row_count())
}
