//! Room in a spool that is full: the oldest whole files go, with the books of their time, and the
//! next interval's books say how many rows went.
//!
//! It refuses to write half a file over what is there, and to go on without a word.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use trace_schema::file;
use trace_schema::ledger::LedgerRow;
use trace_schema::record::{Record, SchemaError};

use super::stock::Held;
use super::{Spool, table};

/// Time between two lines of the log that say that files went.
const REMINDER: Duration = Duration::from_secs(60);

/// What the log knows of files that went.
#[derive(Debug, Default)]
pub(super) struct Said {
    at: Option<Instant>,
    files: u64,
    rows: u64,
}

impl Spool {
    /// Gives up the oldest files until the rest is within the limit.
    pub(super) fn make_room(&mut self) {
        let Some(limit_bytes) = self.limit_bytes else {
            return;
        };
        while self.stock.bytes() > limit_bytes {
            let gone = self.stock.give_up_oldest();
            if gone.is_empty() {
                break;
            }
            gone.iter().for_each(|file| self.drop_file(file));
        }
        self.say_what_went(limit_bytes);
    }

    fn drop_file(&mut self, file: &Held) {
        let count_rows = table::named(file.table).map(|table| table.count_rows);
        let rows = count_rows.and_then(|count_rows| count_rows(&file.path).ok());
        let rows = rows.unwrap_or_default();
        if file.table == LedgerRow::TABLE {
            // What these books told of has to be told again.
            let told = told_dropped_rows(&file.path).unwrap_or_default();
            self.told_dropped_rows = self.told_dropped_rows.saturating_sub(told);
        }
        if let Err(error) = fs::remove_file(&file.path) {
            tracing::warn!(path = %file.path.display(), %error, "file not removed from the full spool");
        }
        for waiting in &mut self.waiting {
            if file.path.parent() == Some(&waiting.folder) {
                waiting.names.retain(|name| *name != file.name);
            }
        }
        self.waiting.retain(|waiting| !waiting.names.is_empty());
        self.written.dropped_files += 1;
        self.written.dropped_rows += rows;
        self.written.dropped_bytes += file.bytes;
    }

    fn say_what_went(&mut self, limit_bytes: u64) {
        let (files, rows) = (self.written.dropped_files, self.written.dropped_rows);
        let is_due = self.said.at.is_none_or(|at| at.elapsed() >= REMINDER);
        if files == self.said.files || !is_due {
            return;
        }
        tracing::warn!(
            files = files - self.said.files,
            rows = rows - self.said.rows,
            limit_bytes,
            "the spool is full: its oldest files went; the ledger says how many rows"
        );
        self.said = Said {
            at: Some(Instant::now()),
            files,
            rows,
        };
    }
}

/// What the books in a file say went before them.
fn told_dropped_rows(path: &Path) -> Result<u64, SchemaError> {
    let mut told = 0;
    for rows in file::open::<LedgerRow>(path)?.rows()? {
        told += rows?
            .iter()
            .map(|row| row.spool_dropped_rows.cast_unsigned())
            .sum::<u64>();
    }
    Ok(told)
}
