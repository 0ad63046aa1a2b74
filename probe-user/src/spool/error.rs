//! Why the spool failed, with what was lost by it.

use std::io;
use std::path::PathBuf;

use trace_schema::record::SchemaError;

use super::LockError;

/// Why the spool failed. The operating system's own words follow as the source.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The directory cannot be used.
    #[error("--output {}: cannot {action}; give a directory that can be written to", path.display())]
    Unusable {
        /// The directory or what is in it.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The lock of node or instance could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk is full.
    #[error("no space left for the dataset in {}: {lost_rows} rows lost; free some", root.display())]
    Full {
        /// Root of the dataset.
        root: PathBuf,
        /// Rows of the interval that were not written.
        lost_rows: u64,
        /// The failed write.
        #[source]
        source: Box<SchemaError>,
    },
    /// Rows could not be written.
    #[error("{lost_rows} rows of {table} and later tables lost")]
    Write {
        /// The table.
        table: &'static str,
        /// Rows of the interval that were not written.
        lost_rows: u64,
        /// The failed write.
        #[source]
        source: Box<SchemaError>,
    },
    /// Files could not be merged; they stay as they are, and nothing is lost.
    #[error("files of {table} in {} were not merged; they stay as they are", folder.display())]
    Merge {
        /// The table.
        table: &'static str,
        /// Their folder.
        folder: PathBuf,
        /// What failed.
        #[source]
        source: Box<SchemaError>,
    },
}

/// Whether disk or quota is what ended the write.
pub(super) fn is_full(error: &SchemaError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        {
            return true;
        }
        cause = error.source();
    }
    false
}
