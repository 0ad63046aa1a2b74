//! What every table offers: its name, its Arrow schema, and rows to batches and back.
//!
//! It refuses a batch that lacks a column, holds one of another type, or has no value where a row
//! needs one, because a default put in its place would be read as a measurement.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

/// A row of a table. Every column has the name of the field that it comes from.
pub trait Record: Sized {
    /// Name of the table: its folder in the dataset and `weighbridge.table` in its files.
    const TABLE: &'static str;

    /// Column by which files are pruned when a reader asks for a span of time.
    const TIME_COLUMN: &'static str;

    /// The value of [`Record::TIME_COLUMN`], UTC microseconds.
    fn time_us(&self) -> i64;

    /// The columns, in the order in which they are written.
    fn arrow_schema() -> SchemaRef;

    /// Rows as one batch of [`Record::arrow_schema`].
    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError>;

    /// The rows of a batch; columns are found by name, and unknown ones ignored.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError>;
}

/// An enum whose values are stored by name.
pub trait Named: Copy + PartialEq + 'static {
    /// Every value with its name in the dataset.
    const NAMES: &'static [(Self, &'static str)];

    /// The name in the dataset.
    fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(value, _)| *value == self);
        found.map_or("", |(_, name)| name)
    }

    /// The value of that name.
    fn from_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(value, _)| *value)
    }
}

/// Why rows could not be written or read. Each prints as one line, with its
/// sources (`{:#}`) where it has one.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: String,
        /// The refusal.
        source: std::io::Error,
    },
    /// No Parquet footer, or a page that cannot be decoded.
    #[error("{path}: not a complete Parquet file (remove it or copy it again)")]
    Damaged {
        /// The file.
        path: String,
        /// What the Parquet reader met.
        source: parquet::errors::ParquetError,
    },
    /// Rows could not be encoded.
    #[error("{path}: cannot write Parquet")]
    Encode {
        /// The file.
        path: String,
        /// What the Parquet writer met.
        source: parquet::errors::ParquetError,
    },
    /// A key that every file of a dataset carries is missing or not what it must be.
    #[error("{path}: Parquet metadata {key} is {found}; not a file of a weighbridge dataset?")]
    Metadata {
        /// The file.
        path: String,
        /// The key.
        key: &'static str,
        /// `missing`, or its text.
        found: String,
    },
    /// A schema version that this build does not know.
    #[error(
        "{path}: schema version {found} is unknown, this build reads {known}; use the weighbridge that wrote it"
    )]
    Version {
        /// The file.
        path: String,
        /// The version it carries.
        found: String,
        /// The version of this build.
        known: u32,
    },
    /// The file holds another table.
    #[error("{path}: holds table {found:?} where {expected:?} belongs")]
    Table {
        /// The file.
        path: String,
        /// Its table.
        found: String,
        /// The table asked for.
        expected: &'static str,
    },
    /// A column is not what the schema says.
    #[error("{place}: column {column} {problem}")]
    Column {
        /// The file, or the table where there is no file yet.
        place: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: ColumnProblem,
    },
    /// Files of one merge differ in what they were written by.
    #[error("{path}: written by another node or boot than {first}; they cannot be merged")]
    MergeMismatch {
        /// The file that differs.
        path: String,
        /// The first file of the merge.
        first: String,
    },
    /// Nothing to merge.
    #[error("cannot write {path}: no files to merge")]
    MergeEmpty {
        /// The file that was to be written.
        path: String,
    },
    /// Arrow refused to build the batch.
    #[error("{place}: cannot build a batch")]
    Batch {
        /// The file, or the table where there is no file yet.
        place: String,
        /// The refusal.
        source: arrow::error::ArrowError,
    },
}

impl SchemaError {
    /// The same error, placed in a file.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        let place = path.display().to_string();
        match self {
            Self::Column {
                column, problem, ..
            } => Self::Column {
                place,
                column,
                problem,
            },
            Self::Batch { source, .. } => Self::Batch { place, source },
            other => other,
        }
    }
}

/// What is wrong with a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnProblem {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It has another type.
    #[error("is {found}, not {expected}")]
    Type {
        /// Arrow type of the schema.
        expected: String,
        /// Arrow type found.
        found: String,
    },
    /// A value is absent where each row needs one.
    #[error("has no value in row {row}, where every row needs one")]
    Null {
        /// First such row, from 0.
        row: usize,
    },
    /// A name that the enum does not know.
    #[error("holds the unknown name {name:?} in row {row}")]
    Name {
        /// The row, from 0.
        row: usize,
        /// The name.
        name: String,
    },
    /// A list is not as long as those of the columns that go with it.
    #[error("holds a list in row {row} that is not as long as those of the columns beside it")]
    Uneven {
        /// The row, from 0.
        row: usize,
    },
    /// Part of a group of columns that go together is absent.
    #[error("has no value in row {row}, where the columns beside it have one")]
    Incomplete {
        /// The row, from 0.
        row: usize,
    },
}
