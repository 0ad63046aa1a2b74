//! A file in the making: encoded under a temporary name, then synced and renamed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::{
    BOOT_ID_KEY, CLOCK_KEY, FileMetadata, NODE_KEY, TABLE_KEY, TOOL_VERSION_KEY, VERSION_KEY,
    io_error, text,
};
use crate::SCHEMA_VERSION;
use crate::columns::time_type;
use crate::record::{Record, SchemaError};

const ZSTD_LEVEL: i32 = 3;
/// Rows up to which a file is not compressed: each column takes a compressor, which costs more CPU
/// time than the rows, and merging compresses them later.
const PLAIN_ROWS: usize = 4096;
const ROW_GROUP_ROWS: usize = 1 << 20;

/// A file in the making, under its temporary name; dropped before the end, it is removed.
pub(super) struct Output {
    path: PathBuf,
    temporary: PathBuf,
    writer: Option<ArrowWriter<File>>,
}

impl Output {
    /// Begins a file of about so many rows.
    pub(super) fn create<R: Record>(
        path: &Path,
        metadata: &FileMetadata,
        rows: usize,
    ) -> Result<Self, SchemaError> {
        let temporary = temporary_path(path)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| io_error("create", folder, source))?;
        }
        let file =
            File::create(&temporary).map_err(|source| io_error("create", &temporary, source))?;
        let properties = properties::<R>(path, metadata, rows)?;
        let writer = ArrowWriter::try_new(file, R::arrow_schema(), Some(properties));
        let writer = writer.map_err(|source| encode_error(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            temporary,
            writer: Some(writer),
        })
    }

    pub(super) fn append(&mut self, batch: &RecordBatch) -> Result<(), SchemaError> {
        match &mut self.writer {
            Some(writer) => writer
                .write(batch)
                .map_err(|source| encode_error(&self.path, source)),
            None => Ok(()),
        }
    }

    pub(super) fn finish(mut self) -> Result<(), SchemaError> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let renamed = self.complete(writer);
        if renamed.is_err() {
            self.discard();
        }
        renamed
    }

    fn complete(&self, writer: ArrowWriter<File>) -> Result<(), SchemaError> {
        let file = writer
            .into_inner()
            .map_err(|source| encode_error(&self.path, source))?;
        file.sync_all()
            .map_err(|source| io_error("write", &self.temporary, source))?;
        fs::rename(&self.temporary, &self.path)
            .map_err(|source| io_error("rename to", &self.path, source))
    }

    fn discard(&self) {
        // The error that led here is the one to report; a leftover is skipped by every reader.
        fs::remove_file(&self.temporary).unwrap_or_default();
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            self.discard();
        }
    }
}

fn temporary_path(path: &Path) -> Result<PathBuf, SchemaError> {
    let Some(name) = path.file_name() else {
        let source = io::Error::from(io::ErrorKind::InvalidFilename);
        return Err(io_error("create", path, source));
    };
    Ok(path.with_file_name(format!(".{}.tmp", name.to_string_lossy())))
}

fn properties<R: Record>(
    path: &Path,
    metadata: &FileMetadata,
    rows: usize,
) -> Result<WriterProperties, SchemaError> {
    let compression = if rows <= PLAIN_ROWS {
        Compression::UNCOMPRESSED
    } else {
        let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(|source| encode_error(path, source))?;
        Compression::ZSTD(level)
    };
    let pairs = [
        (VERSION_KEY, SCHEMA_VERSION.to_string()),
        (TOOL_VERSION_KEY, metadata.tool_version.clone()),
        (TABLE_KEY, R::TABLE.to_owned()),
        (NODE_KEY, metadata.node.clone()),
        (BOOT_ID_KEY, metadata.boot_id.clone()),
        (CLOCK_KEY, metadata.clock.clone()),
    ];
    let pairs = pairs
        .map(|(key, value)| KeyValue::new(key.to_owned(), value))
        .to_vec();
    let mut builder = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_key_value_metadata(Some(pairs));
    for field in R::arrow_schema().fields() {
        if *field.data_type() == time_type() {
            let column = ColumnPath::from(field.name().clone());
            builder = builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(builder.build())
}

fn encode_error(path: &Path, source: ParquetError) -> SchemaError {
    SchemaError::Encode {
        path: text(path),
        source,
    }
}
