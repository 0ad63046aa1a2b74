//! The load runs of a dataset: each folder below `runs/` that holds a manifest.
//!
//! A folder without a manifest is a run that was cut off before it ended; it is left out, and a
//! manifest that cannot be read is refused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use trace_schema::manifest::{ManifestError, RunManifest};

/// A run and the folder of its files.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What was run.
    pub manifest: RunManifest,
    /// The folder.
    pub folder: PathBuf,
}

impl Run {
    /// Paths of the run's files of a kind (`iperf3-json`, `peers-tsv`, …).
    pub fn files_of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        let files = self
            .manifest
            .files
            .iter()
            .filter(move |(_, found)| *found == kind);
        files.map(|(relative, _)| self.folder.join(relative))
    }
}

/// The runs below a folder, by start and then by id; none where the folder is not there.
pub fn read_runs(runs_dir: &Path) -> Result<Vec<Run>, ManifestError> {
    let io_error = |source| ManifestError::Io {
        action: "list",
        path: runs_dir.display().to_string(),
        source,
    };
    let entries = match fs::read_dir(runs_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error(error)),
    };
    let mut runs = Vec::new();
    for entry in entries {
        let folder = entry.map_err(io_error)?.path();
        if folder.join(RunManifest::FILE_NAME).is_file() {
            runs.push(Run {
                manifest: RunManifest::read(&folder)?,
                folder,
            });
        }
    }
    runs.sort_by(|one, other| {
        let key = |run: &Run| (run.manifest.start_us, run.folder.clone());
        key(one).cmp(&key(other))
    });
    Ok(runs)
}
