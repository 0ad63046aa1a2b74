//! Files that another engine wrote from a dataset: no metadata of a probe, and a column instead that
//! states by which schema version the rows are to be read.
//!
//! Engines differ in what they can write into a file's metadata, and all can write a column. Without
//! it such a file is refused: that its columns have the right names does not say that they mean the
//! same. The version must be the same in all rows, by the file's statistics; who wrote it, is what the
//! engine says of itself. A file holds one node's rows, whose column may be left to the folder's name.

use std::path::Path;

use parquet::data_type::AsBytes;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use super::{FileMetadata, NODE_COLUMN, NODE_KEY, VERSION_KEY, text};
use crate::SCHEMA_VERSION;
use crate::layout::node_of_folder;
use crate::record::SchemaError;

/// The column that stands for the metadata; unknown to the tables' own schemas.
const VERSION_COLUMN: &str = "schema_version";
const OWN_KEYS: &str = "weighbridge.";
const CLOCK: &str = "that of the files from which it was made";
const SEVERAL: &str = "several";

/// Whether a file has none of a probe's metadata, and states its version in a column.
pub(super) fn is_derived(parquet: &ParquetMetaData) -> bool {
    let file = parquet.file_metadata();
    let mut pairs = file.key_value_metadata().into_iter().flatten();
    let mut columns = file.schema_descr().columns().iter();
    !pairs.any(|pair| pair.key.starts_with(OWN_KEYS))
        && columns.any(|column| column.path().string() == VERSION_COLUMN)
}

/// What is known of such a file.
pub(super) fn metadata(
    path: &Path,
    parquet: &ParquetMetaData,
) -> Result<FileMetadata, SchemaError> {
    match only_value(parquet, VERSION_COLUMN, number_of) {
        Found::Nothing => {}
        Found::Only(version) if version == i64::from(SCHEMA_VERSION) => {}
        Found::Only(version) => return Err(unknown_version(path, version.to_string())),
        Found::Several => {
            return Err(unknown_version(
                path,
                "that differs between rows".to_owned(),
            ));
        }
        Found::Unknown => {
            return Err(SchemaError::Metadata {
                path: text(path),
                key: VERSION_KEY,
                found: "missing, and the column schema_version has no statistics".to_owned(),
            });
        }
    }
    let folders = path.ancestors().filter_map(Path::file_name);
    let of_folder = folders
        .filter_map(|folder| node_of_folder(&folder.to_string_lossy()))
        .next();
    let node = match (of_folder, only_value(parquet, NODE_COLUMN, text_of)) {
        (Some(node), _) | (None, Found::Only(node)) => node,
        (None, _) => {
            return Err(SchemaError::Metadata {
                path: text(path),
                key: NODE_KEY,
                found: "missing, and neither its folder nor its column node names one node"
                    .to_owned(),
            });
        }
    };
    let boot_id = match only_value(parquet, "boot_id", text_of) {
        Found::Only(boot_id) => boot_id,
        Found::Nothing | Found::Several | Found::Unknown => SEVERAL.to_owned(),
    };
    let writer = parquet
        .file_metadata()
        .created_by()
        .unwrap_or("an unknown engine");
    Ok(FileMetadata {
        node,
        boot_id,
        tool_version: writer.to_owned(),
        clock: CLOCK.to_owned(),
    })
}

/// What the statistics of a column say of its values.
enum Found<T> {
    /// There are no rows.
    Nothing,
    /// All are this one.
    Only(T),
    Several,
    Unknown,
}

fn only_value<T: PartialEq>(
    parquet: &ParquetMetaData,
    column: &str,
    ends: impl Fn(&Statistics) -> Option<(T, T)>,
) -> Found<T> {
    let mut found = Found::Nothing;
    for group in parquet.row_groups() {
        let mut columns = group.columns().iter();
        let chunk = columns.find(|chunk| chunk.column_path().string() == column);
        let spread = chunk.and_then(|chunk| chunk.statistics()).and_then(&ends);
        let Some((least, greatest)) = spread else {
            return Found::Unknown;
        };
        let is_same = match &found {
            Found::Only(known) => *known == least,
            _ => true,
        };
        if least != greatest || !is_same {
            return Found::Several;
        }
        found = Found::Only(least);
    }
    found
}

fn number_of(statistics: &Statistics) -> Option<(i64, i64)> {
    match statistics {
        Statistics::Int32(span) => Some(((*span.min_opt()?).into(), (*span.max_opt()?).into())),
        Statistics::Int64(span) => Some((*span.min_opt()?, *span.max_opt()?)),
        _ => None,
    }
}

fn text_of(statistics: &Statistics) -> Option<(String, String)> {
    let Statistics::ByteArray(span) = statistics else {
        return None;
    };
    let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some((
        read(span.min_opt()?.as_bytes())?,
        read(span.max_opt()?.as_bytes())?,
    ))
}

fn unknown_version(path: &Path, found: String) -> SchemaError {
    SchemaError::Version {
        path: text(path),
        found,
        known: SCHEMA_VERSION,
    }
}
