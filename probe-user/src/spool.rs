//! The dataset on disk: one small complete file a table and interval, merged into larger ones.
//!
//! It holds the numbering of files, merging, and clearing up after instances that died. It refuses
//! to leave a reader in doubt: the `ledger` file of an interval is written last and only if the
//! other tables were, so that an interval whose rows are lost has no books and shows as a gap.

mod error;
mod leftovers;
mod lock;
mod room;
pub mod stock;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trace_schema::file::{self, FileMetadata};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::record::{Record, SchemaError};

pub use self::error::SpoolError;
pub use self::lock::LockError;
pub use self::table::Interval;

use self::error::is_full;
use self::stock::{Held, Stock};
use self::table::{TABLES, Table};

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
    /// Rows of `objects` on disk.
    pub object_rows: u64,
    /// Rows of `ledger` on disk.
    pub ledger_rows: u64,
    /// Rows of any table that could not be written.
    pub lost_rows: u64,
    /// Intervals of which something could not be written.
    pub lost_intervals: u64,
    /// Failed attempts to write or merge.
    pub errors: u64,
    /// Files that went because the spool was full.
    pub dropped_files: u64,
    /// Rows of those files.
    pub dropped_rows: u64,
    /// Bytes of those files.
    pub dropped_bytes: u64,
    /// Files of this node on disk, those of earlier runs included.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
}

/// Files of one table in one folder that wait to be merged, with no file of the table between them
/// elsewhere: else, when UTC is set back over midnight, a merged file would cover what is not in it.
#[derive(Debug)]
struct Waiting {
    table: &'static Table,
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
    stock: Arc<Stock>,
    limit_bytes: Option<u64>,
    written: Written,
    /// What of [`Written::dropped_rows`] stands in the ledger.
    told_dropped_rows: u64,
    said: room::Said,
    _locks: [lock::Lock; 2],
}

impl Spool {
    /// Makes the root if need be, takes the locks of node and instance, and clears up after dead instances.
    /// Above the limit, the oldest files go.
    pub fn open(origin: Origin, limit_bytes: Option<u64>) -> Result<Self, SpoolError> {
        fs::create_dir_all(&origin.root).map_err(|source| SpoolError::Unusable {
            path: origin.root.clone(),
            action: "make the directory",
            source,
        })?;
        let locks = [
            lock::Lock::take_node(&origin.root, &origin.node)?,
            lock::Lock::take(&origin.root, &instance_name(&origin))?,
        ];
        let stock = Arc::new(Stock::default());
        for table in &TABLES {
            for file in leftovers::clear(&origin.root, table.name, &origin.node)? {
                stock.add_final(file);
            }
        }
        lock::forget_dead(&origin.root)?;
        let metadata = FileMetadata {
            node: origin.node.clone(),
            boot_id: origin.boot_id.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: origin.clock.clone(),
        };
        Ok(Self {
            origin,
            metadata,
            next_seq: 0,
            waiting: Vec::new(),
            stock,
            limit_bytes,
            written: Written::default(),
            told_dropped_rows: 0,
            said: room::Said::default(),
            _locks: locks,
        })
    }

    /// What was written and lost so far.
    pub fn written(&self) -> Written {
        Written {
            files: self.stock.files(),
            bytes: self.stock.bytes(),
            ..self.written
        }
    }

    /// The files that are there, those of earlier runs included.
    pub fn stock(&self) -> Arc<Stock> {
        Arc::clone(&self.stock)
    }

    /// Bytes that wait to be merged.
    pub fn waiting_bytes(&self) -> u64 {
        self.stock.growing_bytes()
    }

    /// Writes the tables of an interval that have rows, `ledger` last, and then makes room where the
    /// spool is over its limit. What could not be written is counted and lost; the next interval
    /// may be written again.
    pub fn write(&mut self, mut interval: Interval) -> Result<(), SpoolError> {
        let seq = self.next_seq;
        self.next_seq += 1;
        let untold = self.written.dropped_rows - self.told_dropped_rows;
        if let Some(books) = interval.ledger.first_mut() {
            books.spool_dropped_rows = untold.cast_signed();
        }
        let has_books = !interval.ledger.is_empty();
        let mut lost_rows = interval.rows();
        let result = self.write_tables(&interval, seq, &mut lost_rows);
        if result.is_ok() && has_books {
            self.told_dropped_rows += untold;
        }
        self.make_room();
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
            if let Err(source) = self.merge_files(&waiting) {
                self.written.errors += 1;
                if first_failure.is_ok() {
                    first_failure = Err(SpoolError::Merge {
                        table: waiting.table.name,
                        folder: waiting.folder.clone(),
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
        self.written.object_rows += self.write_table(&interval.objects, start_us, seq, lost)?;
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
        let bytes = size_of_file(&path);
        self.stock.add_growing(Held {
            table: R::TABLE,
            path,
            name: name.clone(),
            bytes,
        });
        self.wait_for_merge(R::TABLE, folder, name);
        *lost_rows -= rows.len() as u64;
        Ok(rows.len() as u64)
    }

    fn wait_for_merge(&mut self, name_of_table: &str, folder: PathBuf, name: FileName) {
        let Some(table) = table::named(name_of_table) else {
            return;
        };
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

    fn merge_files(&mut self, waiting: &Waiting) -> Result<(), SchemaError> {
        let Waiting {
            table,
            folder,
            names,
        } = waiting;
        let inputs: Vec<PathBuf> = names
            .iter()
            .map(|name| folder.join(name.to_string()))
            .collect();
        let [first, .., last] = &names[..] else {
            inputs.iter().for_each(|path| self.stock.finish(path));
            return Ok(());
        };
        let name = first.merged_with(last);
        let path = folder.join(name.to_string());
        (table.merge)(&inputs, &path)?;
        for input in &inputs {
            // One that cannot be removed is left out by readers and cleared at the next start.
            if let Err(error) = fs::remove_file(input) {
                tracing::warn!(path = %input.display(), %error, "merged file not removed");
            }
            self.stock.remove(input);
        }
        let bytes = size_of_file(&path);
        self.stock.add_final(Held {
            table: table.name,
            path,
            name,
            bytes,
        });
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

#[cfg(test)]
mod tests;
