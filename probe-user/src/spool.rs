//! The dataset on disk: one small complete file a table and interval, merged into larger ones.
//!
//! It holds the numbering of files, merging, and clearing up after instances that died. It refuses
//! to leave a reader in doubt: the `ledger` file of an interval is written last and only if the
//! other tables were, so that an interval whose rows are lost has no books and shows as a gap.

mod leftovers;
mod lock;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use trace_schema::cpu::CpuRow;
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::FlowRow;
use trace_schema::http::HttpRow;
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::LedgerRow;
use trace_schema::profile::ProfileRow;
use trace_schema::record::{Record, SchemaError};
use trace_schema::resources::ResourceRow;
use trace_schema::snat::SnatRow;

pub use self::lock::LockError;

/// The rows of one interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// Start, UTC microseconds; names the files and their date.
    pub start_us: i64,
    /// Rows of `flows`.
    pub flows: Vec<FlowRow>,
    /// Rows of `http`.
    pub http: Vec<HttpRow>,
    /// Rows of `snat`.
    pub snat: Vec<SnatRow>,
    /// Rows of `cpu`.
    pub cpu: Vec<CpuRow>,
    /// Rows of `resources`.
    pub resources: Vec<ResourceRow>,
    /// Rows of `profile`.
    pub profile: Vec<ProfileRow>,
    /// Rows of `ledger`.
    pub ledger: Vec<LedgerRow>,
}

impl Interval {
    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        let of_network = self.flows.len() + self.http.len() + self.snat.len();
        let of_machine = self.cpu.len() + self.resources.len() + self.profile.len();
        (of_network + of_machine + self.ledger.len()) as u64
    }
}

/// Who writes, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Root of the dataset.
    pub root: PathBuf,
    /// Name of the node.
    pub node: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Tells this run of the probe from others within the boot: monotonic start time.
    pub instance: u64,
    /// How times were taken, in words.
    pub clock: String,
}

/// What was written so far, and what was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows of `flows` on disk.
    pub flow_rows: u64,
    /// Rows of `http` on disk.
    pub http_rows: u64,
    /// Rows of `snat` on disk.
    pub snat_rows: u64,
    /// Rows of `cpu` on disk.
    pub cpu_rows: u64,
    /// Rows of `resources` on disk.
    pub resource_rows: u64,
    /// Rows of `profile` on disk.
    pub profile_rows: u64,
    /// Rows of `ledger` on disk.
    pub ledger_rows: u64,
    /// Rows of any table that could not be written.
    pub lost_rows: u64,
    /// Intervals of which something could not be written.
    pub lost_intervals: u64,
    /// Failed attempts to write or merge.
    pub errors: u64,
    /// Files of this instance on disk.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
}

/// Why the spool failed. The operating system's own words follow as the source.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The directory cannot be used.
    #[error("--output {}: cannot {action}; give a directory that can be written to", path.display())]
    Unusable {
        /// The directory or what is in it.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The lock of node or instance could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk is full.
    #[error("no space left for the dataset in {}: {lost_rows} rows lost; free some", root.display())]
    Full {
        /// Root of the dataset.
        root: PathBuf,
        /// Rows of the interval that were not written.
        lost_rows: u64,
        /// The failed write.
        #[source]
        source: Box<SchemaError>,
    },
    /// Rows could not be written.
    #[error("{lost_rows} rows of {table} and later tables lost")]
    Write {
        /// The table.
        table: &'static str,
        /// Rows of the interval that were not written.
        lost_rows: u64,
        /// The failed write.
        #[source]
        source: Box<SchemaError>,
    },
    /// Files could not be merged; they stay as they are, and nothing is lost.
    #[error("files of {table} in {} were not merged; they stay as they are", folder.display())]
    Merge {
        /// The table.
        table: &'static str,
        /// Their folder.
        folder: PathBuf,
        /// What failed.
        #[source]
        source: Box<SchemaError>,
    },
}

/// Every table that the probe writes.
const TABLES: [&str; 7] = [
    FlowRow::TABLE,
    HttpRow::TABLE,
    SnatRow::TABLE,
    CpuRow::TABLE,
    ResourceRow::TABLE,
    ProfileRow::TABLE,
    LedgerRow::TABLE,
];

/// Files of one table in one folder that wait to be merged, with no file of the table between them
/// elsewhere: else, when UTC is set back over midnight, a merged file would cover what is not in it.
#[derive(Debug)]
struct Waiting {
    table: &'static str,
    folder: PathBuf,
    names: Vec<FileName>,
}

/// The dataset as this instance of the probe writes it.
#[derive(Debug)]
pub struct Spool {
    origin: Origin,
    metadata: FileMetadata,
    next_seq: u64,
    waiting: Vec<Waiting>,
    written: Written,
    _locks: [lock::Lock; 2],
}

impl Spool {
    /// Makes the root if need be, takes the locks of node and instance, and clears up after dead instances.
    pub fn open(origin: Origin) -> Result<Self, SpoolError> {
        fs::create_dir_all(&origin.root).map_err(|source| SpoolError::Unusable {
            path: origin.root.clone(),
            action: "make the directory",
            source,
        })?;
        let locks = [
            lock::Lock::take_node(&origin.root, &origin.node)?,
            lock::Lock::take(&origin.root, &instance_name(&origin))?,
        ];
        for table in TABLES {
            leftovers::clear(&origin.root, table, &origin.node)?;
        }
        lock::forget_dead(&origin.root)?;
        let metadata = FileMetadata {
            node: origin.node.clone(),
            boot_id: origin.boot_id.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: origin.clock.clone(),
        };
        let written = Written::default();
        Ok(Self {
            origin,
            metadata,
            next_seq: 0,
            waiting: Vec::new(),
            written,
            _locks: locks,
        })
    }

    /// What was written and lost so far.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Writes the tables of an interval that have rows, `ledger` last. What could not be written is
    /// counted and lost; the next interval may be written again.
    pub fn write(&mut self, interval: &Interval) -> Result<(), SpoolError> {
        let seq = self.next_seq;
        self.next_seq += 1;
        let mut lost_rows = interval.rows();
        let result = self.write_tables(interval, seq, &mut lost_rows);
        result.map_err(|(table, source)| {
            self.written.errors += 1;
            self.written.lost_intervals += 1;
            self.written.lost_rows += lost_rows;
            let root = self.origin.root.clone();
            let is_full = is_full(&source);
            let source = Box::new(source);
            match is_full {
                true => SpoolError::Full {
                    root,
                    lost_rows,
                    source,
                },
                false => SpoolError::Write {
                    table,
                    lost_rows,
                    source,
                },
            }
        })
    }

    /// Merges what waits into one file a table and folder, and removes what was merged. Every table
    /// is tried; the first failure is returned.
    pub fn merge(&mut self) -> Result<(), SpoolError> {
        let mut first_failure = Ok(());
        for waiting in std::mem::take(&mut self.waiting) {
            let Waiting {
                table,
                folder,
                names,
            } = &waiting;
            let merged = match *table {
                FlowRow::TABLE => self.merge_files::<FlowRow>(folder, names),
                HttpRow::TABLE => self.merge_files::<HttpRow>(folder, names),
                SnatRow::TABLE => self.merge_files::<SnatRow>(folder, names),
                CpuRow::TABLE => self.merge_files::<CpuRow>(folder, names),
                ResourceRow::TABLE => self.merge_files::<ResourceRow>(folder, names),
                ProfileRow::TABLE => self.merge_files::<ProfileRow>(folder, names),
                _ => self.merge_files::<LedgerRow>(folder, names),
            };
            if let Err(source) = merged {
                self.written.errors += 1;
                if first_failure.is_ok() {
                    let folder = folder.clone();
                    first_failure = Err(SpoolError::Merge {
                        table,
                        folder,
                        source: Box::new(source),
                    });
                }
                self.waiting.push(waiting);
            }
        }
        first_failure
    }

    fn write_tables(
        &mut self,
        interval: &Interval,
        seq: u64,
        lost_rows: &mut u64,
    ) -> Result<(), (&'static str, SchemaError)> {
        let start_us = interval.start_us;
        let lost = lost_rows;
        self.written.flow_rows += self.write_table(&interval.flows, start_us, seq, lost)?;
        self.written.http_rows += self.write_table(&interval.http, start_us, seq, lost)?;
        self.written.snat_rows += self.write_table(&interval.snat, start_us, seq, lost)?;
        self.written.cpu_rows += self.write_table(&interval.cpu, start_us, seq, lost)?;
        self.written.resource_rows += self.write_table(&interval.resources, start_us, seq, lost)?;
        self.written.profile_rows += self.write_table(&interval.profile, start_us, seq, lost)?;
        self.written.ledger_rows += self.write_table(&interval.ledger, start_us, seq, lost)?;
        Ok(())
    }

    fn write_table<R: Record>(
        &mut self,
        rows: &[R],
        start_us: i64,
        seq: u64,
        lost_rows: &mut u64,
    ) -> Result<u64, (&'static str, SchemaError)> {
        if rows.is_empty() {
            return Ok(0);
        }
        let Origin {
            root,
            node,
            boot_id,
            instance,
            ..
        } = &self.origin;
        let folder = partition_dir(root, R::TABLE, start_us, node);
        let name = FileName::of_interval(start_us, boot_id, *instance, seq);
        let path = folder.join(name.to_string());
        file::write(&path, rows, &self.metadata).map_err(|source| (R::TABLE, source))?;
        self.written.files += 1;
        self.written.bytes += size_of_file(&path);
        self.wait_for_merge(R::TABLE, folder, name);
        *lost_rows -= rows.len() as u64;
        Ok(rows.len() as u64)
    }

    fn wait_for_merge(&mut self, table: &'static str, folder: PathBuf, name: FileName) {
        let last = self
            .waiting
            .iter_mut()
            .rfind(|waiting| waiting.table == table);
        match last {
            Some(waiting) if waiting.folder == folder => waiting.names.push(name),
            _ => self.waiting.push(Waiting {
                table,
                folder,
                names: vec![name],
            }),
        }
    }

    fn merge_files<R: Record>(
        &mut self,
        folder: &Path,
        names: &[FileName],
    ) -> Result<(), SchemaError> {
        let [first, .., last] = names else {
            return Ok(());
        };
        let inputs: Vec<PathBuf> = names
            .iter()
            .map(|name| folder.join(name.to_string()))
            .collect();
        let output = folder.join(first.merged_with(last).to_string());
        let input_bytes: u64 = inputs.iter().map(|path| size_of_file(path)).sum();
        file::merge::<R>(&inputs, &output)?;
        for input in &inputs {
            // One that cannot be removed is left out by readers and cleared at the next start.
            if let Err(error) = fs::remove_file(input) {
                tracing::warn!(path = %input.display(), %error, "merged file not removed");
            }
        }
        self.written.files = self.written.files + 1 - inputs.len() as u64;
        self.written.bytes =
            (self.written.bytes + size_of_file(&output)).saturating_sub(input_bytes);
        Ok(())
    }
}

/// The part of file names that belongs to one run of the probe, `<boot8>-<instance>`.
fn instance_name(origin: &Origin) -> String {
    instance_of(&FileName::of_interval(
        0,
        &origin.boot_id,
        origin.instance,
        0,
    ))
}

fn instance_of(name: &FileName) -> String {
    format!("{}-{:x}", name.boot8, name.instance)
}

fn size_of_file(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Whether disk or quota is what ended the write.
fn is_full(error: &SchemaError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
