//! A dataset in an object store: listed once, a file fetched when it is read.
//!
//! What is fetched lies in a temporary folder of this process, up to a size; above it files go as
//! soon as they are open. Small files of load runs, and the campaign's plan, are all fetched at once,
//! since many readers want them by path. The rest of the analyzer knows nothing of this and stays synchronous.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::path::Path as Location;
use object_store::{ObjectStoreExt as _, RetryConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trace_schema::store::{Patience, Store, StoreUrl, words};

use super::plan;
use super::traces::{DatasetError, RUNS};

/// Bytes of fetched files that are kept for those who read them again.
const KEPT_BYTES: u64 = 2 << 30;

/// How long a request that fails is tried again: whoever waits for an answer wants to know.
const RETRIED: Duration = Duration::from_secs(30);

/// The dataset in the store.
#[derive(Debug)]
pub(super) struct Remote {
    url: String,
    store: Store,
    runtime: Runtime,
    files: BTreeMap<String, (Location, u64)>,
    cache: TempDir,
    kept_bytes: AtomicU64,
}

/// A fetched file. Dropped, it goes where it is not kept; whoever has it open still reads it.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    is_kept: bool,
}

impl Fetched {
    /// A file that was here already.
    pub(super) fn of_folder(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            is_kept: true,
        }
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if !self.is_kept {
            // The whole folder goes at the end in any case.
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

impl Remote {
    /// Lists the dataset, and fetches the files of its load runs.
    pub(super) fn open(url: &StoreUrl) -> Result<Self, DatasetError> {
        let shown = url.to_string();
        let patience = Patience {
            connect_seconds: 10,
            request_seconds: 300,
            retry: RetryConfig {
                max_retries: 4,
                retry_timeout: RETRIED,
                ..RetryConfig::default()
            },
        };
        let store = url.open(&patience).map_err(|error| {
            let reason = format!("{}; {}", words(&error.source), url.wants());
            failed(&shown, reason)
        })?;
        Self::over(store, shown)
    }

    fn over(store: Store, shown: String) -> Result<Self, DatasetError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(&shown, error))?;
        let cache = tempfile::Builder::new()
            .prefix("weighbridge-")
            .tempdir()
            .map_err(|error| failed(&shown, format!("no temporary folder: {error}")))?;
        let mut remote = Self {
            url: shown,
            store,
            runtime,
            files: BTreeMap::new(),
            cache,
            kept_bytes: AtomicU64::new(0),
        };
        remote.files = remote.listing()?;
        remote.fetch_runs()?;
        Ok(remote)
    }

    /// Its URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Relative paths of all Parquet files of tables, sorted.
    pub(super) fn list(&self) -> Vec<String> {
        let of_tables = |path: &&String| {
            let is_hidden = path.split('/').any(|part| part.starts_with('.'));
            path.ends_with(".parquet") && !is_hidden && !is_of_run(path)
        };
        self.files.keys().filter(of_tables).cloned().collect()
    }

    /// Folder of what is fetched: the load runs' files from the start, the tables' when they are read.
    pub(super) fn folder(&self) -> &Path {
        self.cache.path()
    }

    /// A file, fetched unless it is still there.
    pub(super) fn fetch(&self, relative: &str) -> Result<Fetched, DatasetError> {
        let path = self.cache.path().join(relative);
        if path.exists() {
            let is_kept = true;
            return Ok(Fetched { path, is_kept });
        }
        let Some((location, bytes)) = self.files.get(relative) else {
            return Err(failed(&self.url, format!("{relative} was not listed")));
        };
        self.download(location, &path)?;
        let kept_before = self.kept_bytes.fetch_add(*bytes, Ordering::Relaxed);
        let is_kept = kept_before + bytes <= KEPT_BYTES;
        if !is_kept {
            self.kept_bytes.fetch_sub(*bytes, Ordering::Relaxed);
        }
        Ok(Fetched { path, is_kept })
    }

    fn listing(&self) -> Result<BTreeMap<String, (Location, u64)>, DatasetError> {
        let root = &self.store.root;
        let list = self.store.objects.list(Some(root));
        let found = self.runtime.block_on(list.try_collect::<Vec<_>>());
        let found = found.map_err(|error| failed(&self.url, words(&error)))?;
        let relative = |location: &Location| -> Option<String> {
            let parts = location.prefix_match(root)?;
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            // A store's keys are any text; one that would leave the temporary folder is none of ours.
            let is_plain = |part: &String| !part.is_empty() && part != "." && part != "..";
            parts.iter().all(is_plain).then(|| parts.join("/"))
        };
        let files = found
            .into_iter()
            .filter_map(|file| Some((relative(&file.location)?, (file.location, file.size))));
        Ok(files.collect())
    }

    fn fetch_runs(&self) -> Result<(), DatasetError> {
        for (relative, (location, _)) in &self.files {
            if is_of_run(relative) || relative == plan::FILE_NAME {
                self.download(location, &self.cache.path().join(relative))?;
            }
        }
        Ok(())
    }

    fn download(&self, location: &Location, path: &Path) -> Result<(), DatasetError> {
        let local = |source: io::Error| {
            failed(
                &self.url,
                format!("cannot keep {location} in a temporary folder: {source}"),
            )
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(local)?;
        }
        let half = path.with_extension("half");
        let mut file = File::create(&half).map_err(local)?;
        self.runtime.block_on(async {
            let remote = |error: object_store::Error| failed(&self.url, words(&error));
            let mut parts = self
                .store
                .objects
                .get(location)
                .await
                .map_err(remote)?
                .into_stream();
            while let Some(part) = parts.try_next().await.map_err(remote)? {
                file.write_all(&part).map_err(local)?;
            }
            fs::rename(&half, path).map_err(local)
        })
    }
}

fn is_of_run(relative: &str) -> bool {
    relative
        .split_once('/')
        .is_some_and(|(first, _)| first == RUNS)
}

fn failed(url: &str, reason: impl ToString) -> DatasetError {
    DatasetError::Store {
        url: url.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    fn remote(files: &[(&str, &str)]) -> Remote {
        let objects = InMemory::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for (path, text) in files {
            let location = Location::from(*path);
            let put = objects.put(&location, text.to_string().into());
            runtime.block_on(put).unwrap();
        }
        let store = Store {
            objects: Arc::new(objects),
            root: Location::from("some/campaign"),
        };
        Remote::over(store, "s3://bucket/some/campaign".to_owned()).unwrap()
    }

    #[test]
    fn runs_and_the_plan_are_here_at_once_and_tables_when_they_are_read() {
        let table = "flows/date=2026-01-01/node=worker/1-0-0-0.parquet";
        let remote = remote(&[
            ("some/campaign/campaign.json", "a plan"),
            ("some/campaign/report.html", "not wanted"),
            ("some/campaign/runs/a-01/manifest.json", "a manifest"),
            ("some/campaign/runs/a-01/deep/iperf3.json", "a result"),
            (&format!("some/campaign/{table}"), "rows"),
            ("some/campaign/runs/a-01/kept.parquet", "no table's"),
            ("some/campaigns/campaign.json", "another's"),
        ]);
        assert_eq!(remote.list(), [table]);
        let text = |path: &str| fs::read_to_string(remote.folder().join(path));
        for (path, expected) in [
            ("campaign.json", "a plan"),
            ("runs/a-01/manifest.json", "a manifest"),
            ("runs/a-01/deep/iperf3.json", "a result"),
        ] {
            assert_eq!(text(path).unwrap(), expected, "{path}");
        }
        assert!(text("report.html").is_err() && text(table).is_err());
        let fetched = remote.fetch(table).unwrap();
        assert_eq!(fs::read_to_string(&fetched.path).unwrap(), "rows");
        let refusal = remote.fetch("flows/other.parquet").unwrap_err();
        assert!(refusal.to_string().contains("was not listed"), "{refusal}");
    }
}
