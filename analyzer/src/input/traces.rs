//! A dataset: which files hold which table, and their rows in an order that never changes.
//!
//! Files are listed once and opened one after another, so memory follows the answer and not the
//! input. Files in the making (a leading dot) and files whose rows a merged file holds are left
//! out; files that hold the same interval twice are refused, since their sums would be too large.
//! All access to storage is in [`Folder`], a folder of this machine or one in an object store. In a
//! store, files are left unread whose names say that they hold nothing of the time asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::pruning::may_hold;
use super::store::{Fetched, Remote};
use trace_schema::file::{self, TableFile};
use trace_schema::layout::{self, FileName};
use trace_schema::store::{StoreUrl, StoreUrlError};
use trace_schema::{Record, SchemaError};

pub(super) const RUNS: &str = "runs";

/// A dataset whose files are listed.
#[derive(Debug)]
pub struct Dataset {
    folder: Folder,
    root: PathBuf,
    tables: BTreeMap<String, Vec<TraceFile>>,
    superseded: BTreeMap<String, usize>,
}

/// A file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFile {
    /// Path below the dataset's root, with `/` between its parts.
    pub relative: String,
    /// Node of its partition; absent where another program wrote files without one.
    pub node: Option<String>,
    /// Its name, where it is of a probe's form.
    pub name: Option<FileName>,
    /// Where to open it.
    pub path: PathBuf,
}

/// Which rows to read; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Leave out rows whose interval starts before, UTC microseconds.
    pub from_us: Option<i64>,
    /// Leave out rows whose interval starts then or later.
    pub until_us: Option<i64>,
    /// Only these nodes.
    pub nodes: Option<BTreeSet<String>>,
}

/// Why a dataset cannot be read. Each prints as one line, with its sources (`{:#}`).
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// Nothing at that path.
    #[error(
        "no dataset at {path}: there is no such folder; give the folder that `weighbridge-probe run --output` wrote"
    )]
    Absent {
        /// The path.
        path: String,
    },
    /// A file where a folder is expected.
    #[error("no dataset at {path}: it is not a folder; give the folder that holds the tables")]
    NotFolder {
        /// The path.
        path: String,
    },
    /// A folder without tables.
    #[error(
        "no dataset in {path}: no table (flows/, snat/, ledger/, …) with a .parquet file in it"
    )]
    NoTables {
        /// The path.
        path: String,
    },
    /// The folder could not be listed.
    #[error("cannot list {path}")]
    List {
        /// The folder.
        path: String,
        /// The refusal.
        source: io::Error,
    },
    /// The URL is not that of a store.
    #[error("--dataset: {0}")]
    Url(#[from] StoreUrlError),
    /// The store refused, or is not there.
    #[error("cannot read {url}: {reason}")]
    Store {
        /// The dataset.
        url: String,
        /// What its library says.
        reason: String,
    },
    /// Two files of a probe hold the same interval.
    #[error("{second} repeats intervals of {first}: remove one of them, or their sums count twice")]
    Overlap {
        /// The file that starts first.
        first: String,
        /// The file that starts within it.
        second: String,
    },
    /// A file of the dataset.
    #[error(transparent)]
    File(#[from] SchemaError),
}

impl Dataset {
    /// Lists the files of a dataset in a folder, or in a store where `root` is a URL; opens none.
    pub fn open(root: &Path) -> Result<Self, DatasetError> {
        let dataset = Self::open_for_runs(root)?;
        if dataset.tables.is_empty() {
            let path = shown(&dataset.root);
            return Err(DatasetError::NoTables { path });
        }
        Ok(dataset)
    }

    /// The same for those whom load runs without tables serve too.
    pub fn open_for_runs(root: &Path) -> Result<Self, DatasetError> {
        let (folder, root) = Folder::open(root)?;
        let mut tables = BTreeMap::<String, Vec<TraceFile>>::new();
        let mut superseded = BTreeMap::new();
        for relative in folder.list()? {
            let Some((table, _)) = relative.split_once('/') else {
                continue;
            };
            let of_table = tables.entry(table.to_owned()).or_default();
            of_table.push(folder.file(relative));
        }
        for (table, files) in &mut tables {
            let before = files.len();
            *files = without_superseded(std::mem::take(files))?;
            superseded.insert(table.clone(), before - files.len());
        }
        Ok(Self {
            folder,
            root,
            tables,
            superseded,
        })
    }

    /// The folder or URL that was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Names of the tables that have files.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Files of a table, in the order in which they are read.
    pub fn files(&self, table: &str) -> &[TraceFile] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    /// Number of files of a table that were left out, because a merged file holds their rows.
    pub fn superseded_files(&self, table: &str) -> usize {
        self.superseded.get(table).copied().unwrap_or_default()
    }

    /// Folder of the load runs, there or not.
    pub fn runs_dir(&self) -> PathBuf {
        self.local_root().join(RUNS)
    }

    /// The folder of this machine that has the load runs and the campaign's plan.
    pub fn local_root(&self) -> &Path {
        match &self.folder {
            Folder::Local(root) => root,
            Folder::Remote(remote) => remote.folder(),
        }
    }

    /// What `read` makes of a file's bytes, which are on this machine as long as it reads.
    pub fn with_file<T>(
        &self,
        file: &TraceFile,
        read: impl FnOnce(&Path) -> T,
    ) -> Result<T, DatasetError> {
        let fetched = self.folder.fetch(file)?;
        Ok(read(&fetched.path))
    }

    /// Opens the files of the table of `R` one after another, with rows in them or without.
    pub fn open_files<'a, R: Record + 'a>(
        &'a self,
        filter: &'a Filter,
    ) -> impl Iterator<Item = Result<TableFile<R>, DatasetError>> + 'a {
        let files = self.files(R::TABLE);
        let is_remote = matches!(self.folder, Folder::Remote(_));
        let of_time = move |file: &&TraceFile| !is_remote || filter.may_take(file, files);
        let of_partition = files
            .iter()
            .filter(|file| filter.takes_node(file.node.as_deref()));
        let opened = of_partition.filter(of_time).map(move |file| {
            // Kept until it is open.
            let fetched = self.folder.fetch(file)?;
            Ok::<_, DatasetError>((file::open::<R>(&fetched.path)?, fetched))
        });
        opened.filter_map(|opened| match opened {
            Ok((opened, _)) if filter.takes_node(Some(&opened.metadata().node)) => {
                Some(Ok(opened.pruned_to(filter.first_us(), filter.end_us())))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// The rows of the table of `R` that the filter takes, some at a time; a table that is not
    /// there has none. The first error ends the reading of its file.
    pub fn batches<'a, R: Record + 'a>(
        &'a self,
        filter: &'a Filter,
    ) -> impl Iterator<Item = Result<Vec<R>, DatasetError>> + 'a {
        self.open_files::<R>(filter).flat_map(|file| {
            let (batches, error) = match file.and_then(|file| Ok(file.rows()?)) {
                Ok(batches) => (Some(batches), None),
                Err(error) => (None, Some(Err(error))),
            };
            let batches = batches.into_iter().flatten().map(|batch| {
                let mut rows = batch?;
                rows.retain(|row| filter.takes_time(row.time_us()));
                Ok(rows)
            });
            error.into_iter().chain(batches)
        })
    }

    /// The rows of [`Dataset::batches`], one at a time.
    pub fn rows<'a, R: Record + 'a>(
        &'a self,
        filter: &'a Filter,
    ) -> impl Iterator<Item = Result<R, DatasetError>> + 'a {
        self.batches::<R>(filter).flat_map(|batch| {
            let (rows, error) = match batch {
                Ok(rows) => (rows, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            rows.into_iter().map(Ok).chain(error)
        })
    }
}

impl Filter {
    pub(super) fn takes_time(&self, time_us: i64) -> bool {
        self.from_us.is_none_or(|from_us| time_us >= from_us)
            && self.until_us.is_none_or(|until_us| time_us < until_us)
    }

    fn takes_node(&self, node: Option<&str>) -> bool {
        match (&self.nodes, node) {
            (Some(nodes), Some(node)) => nodes.contains(node),
            (Some(_) | None, _) => true,
        }
    }

    /// Whether a file may hold rows that the filter takes, by the names of its table's files:
    /// opening it would cost a transfer.
    fn may_take(&self, file: &TraceFile, all: &[TraceFile]) -> bool {
        let of_node = all.iter().filter(|other| other.node == file.node);
        let names = of_node.filter_map(|other| other.name.as_ref());
        file.name
            .as_ref()
            .is_none_or(|name| may_hold(name, names, self.first_us(), self.end_us()))
    }

    fn first_us(&self) -> i64 {
        self.from_us.unwrap_or(i64::MIN)
    }

    fn end_us(&self) -> i64 {
        self.until_us.unwrap_or(i64::MAX)
    }
}

/// Where files lie.
#[derive(Debug)]
enum Folder {
    Local(PathBuf),
    Remote(Box<Remote>),
}

impl Folder {
    /// Opens a folder, and returns it as it is to be shown.
    fn open(root: &Path) -> Result<(Self, PathBuf), DatasetError> {
        let text = root.to_string_lossy();
        if !StoreUrl::is_meant(&text) {
            return Self::local(root);
        }
        let url: StoreUrl = text.parse()?;
        if let Some(folder) = url.local_folder() {
            return Self::local(&folder);
        }
        let remote = Remote::open(&url)?;
        let root = PathBuf::from(remote.url());
        Ok((Self::Remote(Box::new(remote)), root))
    }

    fn local(root: &Path) -> Result<(Self, PathBuf), DatasetError> {
        match fs::metadata(root) {
            Ok(metadata) if metadata.is_dir() => {
                Ok((Self::Local(root.to_owned()), root.to_owned()))
            }
            Ok(_) => Err(DatasetError::NotFolder { path: shown(root) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(DatasetError::Absent { path: shown(root) })
            }
            Err(source) => Err(DatasetError::List {
                path: shown(root),
                source,
            }),
        }
    }

    /// Relative paths of all Parquet files of tables, sorted.
    fn list(&self) -> Result<Vec<String>, DatasetError> {
        let root = match self {
            Self::Local(root) => root,
            Self::Remote(remote) => return Ok(remote.list()),
        };
        let mut found = Vec::new();
        for (table, kind) in entries(root)? {
            if kind.is_dir() && table != RUNS {
                let path = root.join(&table);
                list_below(&path, &table, &mut found)?;
            }
        }
        found.sort();
        Ok(found)
    }

    fn file(&self, relative: String) -> TraceFile {
        let path = match self {
            Self::Local(root) => root.join(&relative),
            Self::Remote(remote) => PathBuf::from(format!("{}/{relative}", remote.url())),
        };
        let mut parts = relative.split('/').rev();
        let name = parts.next().and_then(|name| name.parse().ok());
        let node = parts.find_map(layout::node_of_folder);
        TraceFile {
            relative,
            node,
            name,
            path,
        }
    }

    /// The file on this machine.
    fn fetch(&self, file: &TraceFile) -> Result<Fetched, DatasetError> {
        match self {
            Self::Local(_) => Ok(Fetched::of_folder(&file.path)),
            Self::Remote(remote) => remote.fetch(&file.relative),
        }
    }
}

fn list_below(folder: &Path, prefix: &str, found: &mut Vec<String>) -> Result<(), DatasetError> {
    for (name, kind) in entries(folder)? {
        let relative = format!("{prefix}/{name}");
        if kind.is_dir() {
            list_below(&folder.join(&name), &relative, found)?;
        } else if name.ends_with(".parquet") {
            found.push(relative);
        }
    }
    Ok(())
}

/// Names in a folder but those that start with a dot, which are in the making or not ours.
fn entries(folder: &Path) -> Result<Vec<(String, fs::FileType)>, DatasetError> {
    let list_error = |source| DatasetError::List {
        path: shown(folder),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(list_error)? {
        let entry = entry.map_err(list_error)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let mut kind = entry.file_type().map_err(list_error)?;
        if kind.is_symlink() {
            kind = fs::metadata(entry.path()).map_err(list_error)?.file_type();
        }
        found.push((name, kind));
    }
    Ok(found)
}

/// The files of a table whose rows count, each once.
fn without_superseded(files: Vec<TraceFile>) -> Result<Vec<TraceFile>, DatasetError> {
    let mut by_node = BTreeMap::<Option<String>, Vec<TraceFile>>::new();
    let (named, mut kept): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.name.is_some());
    for file in named {
        by_node.entry(file.node.clone()).or_default().push(file);
    }
    for files in by_node.into_values() {
        let names = files
            .iter()
            .filter_map(|file| file.name.clone())
            .collect::<Vec<_>>();
        let covered = layout::covered_files(&names);
        let files = files.into_iter().zip(covered);
        let files = files.filter(|(_, covered)| !covered).map(|(file, _)| file);
        let files = files.collect::<Vec<_>>();
        refuse_overlap(&files)?;
        kept.extend(files);
    }
    kept.sort_by(|one, other| one.relative.cmp(&other.relative));
    Ok(kept)
}

fn refuse_overlap(files: &[TraceFile]) -> Result<(), DatasetError> {
    let key = |name: &FileName| (name.boot8.clone(), name.instance, name.first_seq);
    let named = files
        .iter()
        .filter_map(|file| Some((file.name.as_ref()?, file)));
    let mut named = named.collect::<Vec<_>>();
    named.sort_by_key(|(name, _)| key(name));
    for pair in named.windows(2) {
        let [(first, first_file), (second, second_file)] = pair else {
            continue;
        };
        let same_run = (&first.boot8, first.instance) == (&second.boot8, second.instance);
        if same_run && second.first_seq <= first.last_seq {
            return Err(DatasetError::Overlap {
                first: shown(&first_file.path),
                second: shown(&second_file.path),
            });
        }
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
