//! What instances of the probe that died left behind: files half written, and files whose rows a
//! merged file holds. Readers leave both out; they only take room.
//!
//! It refuses to touch what a live instance may still be writing or merging, and other nodes' files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use trace_schema::layout::{FileName, covered_files, node_folder};

use super::{SpoolError, instance_of, lock};

/// Clears the folders of one table and node, of every date.
pub(super) fn clear(root: &Path, table: &str, node: &str) -> Result<(), SpoolError> {
    for date in entries(&root.join(table))? {
        clear_folder(root, &date.join(node_folder(node)))?;
    }
    Ok(())
}

fn clear_folder(root: &Path, folder: &Path) -> Result<(), SpoolError> {
    let mut names = Vec::new();
    for path in entries(folder)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        match temporary_of(name) {
            Some(of) if lock::is_dead(root, &instance_of(&of)) => remove(&path)?,
            Some(_) => {}
            None => names.extend(name.parse::<FileName>()),
        }
    }
    for (name, is_covered) in names.iter().zip(covered_files(&names)) {
        if is_covered && lock::is_dead(root, &instance_of(name)) {
            remove(&folder.join(name.to_string()))?;
        }
    }
    Ok(())
}

/// The file that a temporary name is for: a dot, the name, and whatever tells attempts apart.
fn temporary_of(name: &str) -> Option<FileName> {
    const EXTENSION: &str = ".parquet";
    let rest = name.strip_prefix('.')?;
    let end = rest.find(EXTENSION)? + EXTENSION.len();
    rest[..end].parse().ok()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let failed = |source| SpoolError::Unusable {
        path: folder.to_owned(),
        action: "list the directory",
        source,
    };
    match fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
            .collect(),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(SpoolError::Unusable {
            path: path.to_owned(),
            action: "remove what a dead probe left",
            source: error,
        }),
        _ => Ok(()),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
