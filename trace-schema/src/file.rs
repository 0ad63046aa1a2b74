//! One Parquet file of a table: written whole or not at all, and checked before it is read.
//!
//! A file appears under its name only when it is complete and on disk: it is written under a name
//! that starts with a dot, synced and renamed. Reading refuses files of another schema version or
//! table, since columns of the same name may have meant something else. Files of other engines, which
//! cannot write a probe's metadata, state the version in a column instead.

mod derived;
mod output;

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use self::output::Output;
use crate::SCHEMA_VERSION;
use crate::columns::{first_null, same_text};
use crate::record::{ColumnProblem, Record, SchemaError};

const VERSION_KEY: &str = "weighbridge.schema_version";
const TOOL_VERSION_KEY: &str = "weighbridge.tool_version";
const TABLE_KEY: &str = "weighbridge.table";
const NODE_KEY: &str = "weighbridge.node";
const BOOT_ID_KEY: &str = "weighbridge.boot_id";
const CLOCK_KEY: &str = "weighbridge.clock";

const NODE_COLUMN: &str = "node";

const BATCH_ROWS: usize = 8192;

/// Who wrote a file; stands in its Parquet key-value metadata beside schema version and table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMetadata {
    /// Name of the node.
    pub node: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Version of the program that wrote the file.
    pub tool_version: String,
    /// How times were taken, in words.
    pub clock: String,
}

/// Writes rows as a file at `path`, making its folder; an existing file is replaced.
pub fn write<R: Record>(
    path: &Path,
    rows: &[R],
    metadata: &FileMetadata,
) -> Result<(), SchemaError> {
    let batch = R::to_batch(rows).map_err(|error| error.in_file(path))?;
    let mut output = Output::create::<R>(path, metadata, rows.len())?;
    output.append(&batch)?;
    output.finish()
}

/// Writes the rows of `inputs`, in their order, as one file at `output`, and returns their number.
///
/// The inputs stay: a reader leaves them out once the merged file is there (see
/// [`crate::layout::covered_files`]), so that removing them afterwards needs no lock.
pub fn merge<R: Record>(inputs: &[PathBuf], output: &Path) -> Result<u64, SchemaError> {
    let Some(first) = inputs.first() else {
        return Err(SchemaError::MergeEmpty { path: text(output) });
    };
    let metadata = open::<R>(first)?.metadata().clone();
    // However few rows they hold, what is merged is to be kept and shipped.
    let mut writer = Output::create::<R>(output, &metadata, usize::MAX)?;
    let mut rows = 0;
    for path in inputs {
        let file = open::<R>(path)?;
        let found = file.metadata();
        if (&found.node, &found.boot_id) != (&metadata.node, &metadata.boot_id) {
            return Err(SchemaError::MergeMismatch {
                path: text(path),
                first: text(first),
            });
        }
        for batch in file.batches()? {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            writer.append(&batch)?;
        }
    }
    writer.finish()?;
    Ok(rows)
}

/// Opens a file of the table of `R`: checks schema version, table and columns, reads no rows yet.
pub fn open<R: Record>(path: &Path) -> Result<TableFile<R>, SchemaError> {
    let file = File::open(path).map_err(|source| io_error("open", path, source))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|source| SchemaError::Damaged {
            path: text(path),
            source,
        })?;
    let parquet = builder.metadata();
    let (metadata, filled_node) = if derived::is_derived(parquet) {
        let metadata = derived::metadata(path, parquet)?;
        let has_node = builder.schema().field_with_name(NODE_COLUMN).is_ok();
        let filled_node = (!has_node).then(|| metadata.node.clone());
        (metadata, filled_node)
    } else {
        (check_metadata::<R>(path, parquet)?, None)
    };
    check_columns::<R>(path, builder.schema(), filled_node.is_some())?;
    let groups = (0..parquet.num_row_groups()).collect();
    Ok(TableFile {
        path: path.to_owned(),
        metadata,
        builder,
        groups,
        filled_node,
        record: PhantomData,
    })
}

/// A file that may be read.
#[derive(Debug)]
pub struct TableFile<R> {
    path: PathBuf,
    metadata: FileMetadata,
    builder: ParquetRecordBatchReaderBuilder<File>,
    groups: Vec<usize>,
    /// The node of all rows, where the file leaves it to its folder's name.
    filled_node: Option<String>,
    record: PhantomData<R>,
}

impl<R: Record> TableFile<R> {
    /// Who wrote it.
    pub fn metadata(&self) -> &FileMetadata {
        &self.metadata
    }

    /// Number of rows in the file.
    pub fn row_count(&self) -> u64 {
        u64::try_from(self.builder.metadata().file_metadata().num_rows()).unwrap_or_default()
    }

    /// First and last [`Record::TIME_COLUMN`], where the file's statistics tell.
    pub fn time_span_us(&self) -> Option<(i64, i64)> {
        let metadata = self.builder.metadata();
        let spans = (0..metadata.num_row_groups()).map(|group| time_span::<R>(metadata, group));
        spans
            .reduce(|one, other| Some((one?.0.min(other?.0), one?.1.max(other?.1))))
            .flatten()
    }

    /// Leaves out row groups in which no [`Record::TIME_COLUMN`] lies in `start_us..end_us`.
    /// Rows outside may remain: this saves reading and is no filter.
    #[must_use]
    pub fn pruned_to(mut self, start_us: i64, end_us: i64) -> Self {
        let metadata = Arc::clone(self.builder.metadata());
        self.groups
            .retain(|&group| match time_span::<R>(&metadata, group) {
                Some((first_us, last_us)) => first_us < end_us && last_us >= start_us,
                None => true,
            });
        self
    }

    /// The batches, each with exactly the columns of [`Record::arrow_schema`].
    pub fn batches(self) -> Result<Batches<R>, SchemaError> {
        let schema = R::arrow_schema();
        let roots = schema
            .fields()
            .iter()
            .filter_map(|field| self.builder.schema().index_of(field.name()).ok());
        let mask = ProjectionMask::roots(self.builder.parquet_schema(), roots.collect::<Vec<_>>());
        let reader = self
            .builder
            .with_projection(mask)
            .with_row_groups(self.groups)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|source| SchemaError::Damaged {
                path: text(&self.path),
                source,
            })?;
        Ok(Batches {
            path: self.path,
            schema,
            reader,
            filled_node: self.filled_node,
            record: PhantomData,
        })
    }

    /// The rows, a batch at a time.
    pub fn rows(self) -> Result<impl Iterator<Item = Result<Vec<R>, SchemaError>>, SchemaError> {
        let path = self.path.clone();
        let batches = self.batches()?;
        Ok(batches.map(move |batch| R::from_batch(&batch?).map_err(|error| error.in_file(&path))))
    }
}

/// Batches of a file, from its first row to its last.
#[derive(Debug)]
pub struct Batches<R> {
    path: PathBuf,
    schema: SchemaRef,
    reader: ParquetRecordBatchReader,
    filled_node: Option<String>,
    record: PhantomData<R>,
}

impl<R: Record> Iterator for Batches<R> {
    type Item = Result<RecordBatch, SchemaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(match batch {
            Ok(batch) => self.conform(&batch),
            Err(error) => {
                let source = ParquetError::External(Box::new(error));
                Err(SchemaError::Damaged {
                    path: text(&self.path),
                    source,
                })
            }
        })
    }
}

impl<R> Batches<R> {
    /// Other writers of the same schema (DuckDB, Spark) do not store dictionaries as Arrow types:
    /// their text is given the type that the schema names.
    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, SchemaError> {
        let place = || text(&self.path);
        let column = |field: &Arc<arrow::datatypes::Field>| -> Result<ArrayRef, SchemaError> {
            let problem = |problem| SchemaError::Column {
                place: place(),
                column: field.name().clone(),
                problem,
            };
            if let Some(node) = self
                .filled_node
                .as_deref()
                .filter(|_| field.name() == NODE_COLUMN)
            {
                return Ok(same_text(node, batch.num_rows()));
            }
            let found = batch.column_by_name(field.name());
            let found = found.ok_or_else(|| problem(ColumnProblem::Missing))?;
            if let Some(row) = first_null(found).filter(|_| !field.is_nullable()) {
                return Err(problem(ColumnProblem::Null { row }));
            }
            if found.data_type() == field.data_type() {
                return Ok(Arc::clone(found));
            }
            cast(found, field.data_type()).map_err(|source| SchemaError::Batch {
                place: place(),
                source,
            })
        };
        let columns = self
            .schema
            .fields()
            .iter()
            .map(column)
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|source| {
            SchemaError::Batch {
                place: place(),
                source,
            }
        })
    }
}

fn check_metadata<R: Record>(
    path: &Path,
    parquet: &ParquetMetaData,
) -> Result<FileMetadata, SchemaError> {
    let pairs = parquet.file_metadata().key_value_metadata();
    let value = |key: &'static str| -> Result<String, SchemaError> {
        let found = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == key));
        found
            .and_then(|pair| pair.value.clone())
            .ok_or_else(|| SchemaError::Metadata {
                path: text(path),
                key,
                found: "missing".to_owned(),
            })
    };
    let version = value(VERSION_KEY)?;
    if version != SCHEMA_VERSION.to_string() {
        return Err(SchemaError::Version {
            path: text(path),
            found: version,
            known: SCHEMA_VERSION,
        });
    }
    let table = value(TABLE_KEY)?;
    if table != R::TABLE {
        return Err(SchemaError::Table {
            path: text(path),
            found: table,
            expected: R::TABLE,
        });
    }
    Ok(FileMetadata {
        node: value(NODE_KEY)?,
        boot_id: value(BOOT_ID_KEY)?,
        tool_version: value(TOOL_VERSION_KEY)?,
        clock: value(CLOCK_KEY)?,
    })
}

fn check_columns<R: Record>(
    path: &Path,
    found: &SchemaRef,
    fills_node: bool,
) -> Result<(), SchemaError> {
    for field in R::arrow_schema().fields() {
        let problem = match found.field_with_name(field.name()) {
            Err(_) if fills_node && field.name() == NODE_COLUMN => continue,
            Err(_) => ColumnProblem::Missing,
            Ok(other) if readable_as(other.data_type(), field.data_type()) => continue,
            Ok(other) => ColumnProblem::Type {
                expected: field.data_type().to_string(),
                found: other.data_type().to_string(),
            },
        };
        return Err(SchemaError::Column {
            place: text(path),
            column: field.name().clone(),
            problem,
        });
    }
    Ok(())
}

/// Whether values keep their meaning when read as the expected type.
fn readable_as(found: &DataType, expected: &DataType) -> bool {
    let is_text = |kind: &DataType| match kind {
        DataType::Dictionary(_, values) => values.is_string(),
        kind => kind.is_string(),
    };
    match (found, expected) {
        // Other writers give the element another name, or leave open that it may be absent.
        (DataType::List(found), DataType::List(expected)) => {
            found.data_type() == expected.data_type()
        }
        _ => found == expected || (is_text(found) && is_text(expected)),
    }
}

/// First and last time in a row group, from its statistics.
fn time_span<R: Record>(metadata: &ParquetMetaData, group: usize) -> Option<(i64, i64)> {
    let columns = metadata.row_group(group).columns();
    let column = columns
        .iter()
        .find(|column| column.column_path().string() == R::TIME_COLUMN)?;
    match column.statistics()? {
        Statistics::Int64(span) => Some((*span.min_opt()?, *span.max_opt()?)),
        _ => None,
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> SchemaError {
    SchemaError::Io {
        action,
        path: text(path),
        source,
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
