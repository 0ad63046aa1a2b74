//! k6's files of some runs, each read once however many figures are made of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{K6Error, LoadResult, read};
use crate::input::manifest::Run;
use crate::input::one_line;
use crate::input::workers::of_each;

/// Kinds under which manifests list k6's output, those that tell most first.
pub const KINDS: [&str; 5] = [
    "k6-ndjson",
    "k6-csv",
    "k6-console",
    "k6-summary",
    "k6-summary-export",
];

/// What files say, or why they could not be read.
#[derive(Debug, Default)]
pub struct Loads(BTreeMap<PathBuf, Result<LoadResult, K6Error>>);

impl Loads {
    /// Reads the files of these runs.
    pub fn of<'r>(runs: impl IntoIterator<Item = &'r Run>) -> Self {
        let kinds = |run: &'r Run| KINDS.iter().flat_map(|kind| run.files_of_kind(kind));
        let paths: Vec<PathBuf> = runs.into_iter().flat_map(kinds).collect();
        let loads = of_each(paths.into_iter(), |path| {
            let load = read(&path);
            (path, load)
        });
        Self(loads.into_iter().collect())
    }

    /// A file of one of the runs; one without a single response counts as an error.
    pub fn get(&self, path: &Path) -> Result<&LoadResult, String> {
        let load = match self.0.get(path) {
            Some(Ok(load)) => load,
            Some(Err(error)) => return Err(one_line(error)),
            None => return Err(format!("{}: was not read", path.display())),
        };
        let answered = load.require_responses(path);
        answered.map_err(|error| one_line(&error))?;
        Ok(load)
    }
}
