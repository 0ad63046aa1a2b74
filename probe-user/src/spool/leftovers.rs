//! What instances of the probe that died left behind: files half written, and files whose rows a
//! merged file holds. Readers leave both out; they only take room.
//!
//! What they left whole still counts, and still has to be shipped.
//!
//! It refuses to touch what a live instance may still be writing or merging, and other nodes' files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use trace_schema::layout::{FileName, covered_files, node_folder};

use super::stock::Held;
use super::{SpoolError, instance_of, lock, size_of_file};

/// Clears the folders of one table and node, of every date, and returns the files that dead
/// instances left whole.
pub(super) fn clear(root: &Path, table: &'static str, node: &str) -> Result<Vec<Held>, SpoolError> {
    let mut whole = Vec::new();
    for date in entries(&root.join(table))? {
        let folder = date.join(node_folder(node));
        for name in clear_folder(root, &folder)? {
            let path = folder.join(name.to_string());
            let bytes = size_of_file(&path);
            whole.push(Held {
                table,
                path,
                name,
                bytes,
            });
        }
    }
    Ok(whole)
}

fn clear_folder(root: &Path, folder: &Path) -> Result<Vec<FileName>, SpoolError> {
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
    let mut whole = Vec::new();
    let covered = covered_files(&names);
    for (name, is_covered) in names.into_iter().zip(covered) {
        match lock::is_dead(root, &instance_of(&name)) {
            true if is_covered => remove(&folder.join(name.to_string()))?,
            true => whole.push(name),
            false => {}
        }
    }
    Ok(whole)
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
