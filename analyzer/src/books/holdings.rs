//! What a dataset holds: tables, files, rows, nodes and the span of time.

use std::collections::BTreeSet;

use serde::Serialize;
use trace_schema::file::FileMetadata;

/// One table of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableHolding {
    /// Its name.
    pub table: String,
    /// Whether this build knows it; the files of others are counted and not opened.
    pub is_known: bool,
    /// Files that are read.
    pub files: usize,
    /// Files left out, because a merged file holds their rows.
    pub superseded_files: usize,
    /// Rows in the files that are read; a filter on time does not lessen it.
    pub rows: u64,
    /// First time in it, UTC microseconds.
    pub first_us: Option<i64>,
    /// Last time in it: where rows have an interval, its start.
    pub last_us: Option<i64>,
    /// Nodes.
    pub nodes: BTreeSet<String>,
    /// Boot ids.
    pub boot_ids: BTreeSet<String>,
    /// Versions of the programs that wrote it.
    pub tool_versions: BTreeSet<String>,
    /// How times were taken.
    pub clocks: BTreeSet<String>,
}

impl TableHolding {
    /// A table without files yet.
    pub fn new(table: &str, is_known: bool) -> Self {
        Self {
            table: table.to_owned(),
            is_known,
            ..Self::default()
        }
    }

    /// Takes in a file that is read.
    pub fn add_file(&mut self, metadata: &FileMetadata, rows: u64, span_us: Option<(i64, i64)>) {
        self.files += 1;
        self.rows += rows;
        if let Some((first_us, last_us)) = span_us {
            self.first_us = Some(self.first_us.map_or(first_us, |known| known.min(first_us)));
            self.last_us = Some(self.last_us.map_or(last_us, |known| known.max(last_us)));
        }
        self.nodes.insert(metadata.node.clone());
        self.boot_ids.insert(metadata.boot_id.clone());
        self.tool_versions.insert(metadata.tool_version.clone());
        self.clocks.insert(metadata.clock.clone());
    }
}
