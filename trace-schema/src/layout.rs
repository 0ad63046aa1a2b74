//! Where files stand in a dataset, and which of them a reader leaves out.
//!
//! `<root>/<table>/date=YYYY-MM-DD/node=<node>/<start-ms>-<boot8>-<instance>-<first>[-<last>].parquet`
//! with the instance in hexadecimal. A probe writes one file a table and interval, numbered from its
//! start, and later merges runs of them: the merged file carries the first and the last number.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use arrow::temporal_conversions::timestamp_us_to_datetime;

const EXTENSION: &str = ".parquet";
const BOOT_ID_CHARACTERS: usize = 8;
const INSTANCE_DIGITS: usize = 8;

/// Folder of the files of a table that start at that time (UTC microseconds) on that node.
pub fn partition_dir(root: &Path, table: &str, start_us: i64, node: &str) -> PathBuf {
    let start = timestamp_us_to_datetime(start_us).unwrap_or_default();
    root.join(table)
        .join(format!("date={}", start.date()))
        .join(node_folder(node))
}

/// Name of a node's folder: `node=` and the name, percent-encoded where a path needs it.
pub fn node_folder(node: &str) -> String {
    let mut folder = String::from("node=");
    for byte in node.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            folder.push(char::from(byte));
        } else {
            folder.push_str(&format!("%{byte:02X}"));
        }
    }
    folder
}

/// The node of a folder that [`node_folder`] named, or none where the name is not of that form.
pub fn node_of_folder(folder: &str) -> Option<String> {
    let mut rest = folder.strip_prefix("node=")?.as_bytes();
    let mut node = Vec::with_capacity(rest.len());
    loop {
        match rest {
            [] => return String::from_utf8(node).ok(),
            [b'%', high, low, tail @ ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let byte = digit(*high)? * 16 + digit(*low)?;
                node.push(u8::try_from(byte).ok()?);
                rest = tail;
            }
            [b'%', ..] => return None,
            [byte, tail @ ..] => {
                node.push(*byte);
                rest = tail;
            }
        }
    }
}

/// The name of a file. Files order by start, then by instance and number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName {
    /// Start of the first interval in it, UTC milliseconds.
    pub start_ms: i64,
    /// Beginning of the kernel's boot id.
    pub boot8: String,
    /// Tells apart the runs of a probe within one boot.
    pub instance: u64,
    /// Number of the first interval in it.
    pub first_seq: u64,
    /// Number of the last interval in it; equal to the first in a file that is not merged.
    pub last_seq: u64,
}

impl FileName {
    /// Name of the file of one interval.
    pub fn of_interval(start_us: i64, boot_id: &str, instance: u64, seq: u64) -> Self {
        let kept = boot_id
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(BOOT_ID_CHARACTERS);
        Self {
            start_ms: start_us.div_euclid(1000),
            boot8: kept.collect(),
            instance,
            first_seq: seq,
            last_seq: seq,
        }
    }

    /// Name of the file that holds this one to `last`.
    #[must_use]
    pub fn merged_with(&self, last: &Self) -> Self {
        Self {
            last_seq: last.last_seq,
            ..self.clone()
        }
    }

    /// Whether it holds everything that the other holds.
    pub fn covers(&self, other: &Self) -> bool {
        self != other
            && self.is_same_run(other)
            && (self.first_seq..=self.last_seq).contains(&other.first_seq)
            && other.last_seq <= self.last_seq
            && (self.first_seq, self.last_seq) != (other.first_seq, other.last_seq)
    }

    /// Whether both hold some interval, and neither covers the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        self != other
            && self.is_same_run(other)
            && self.first_seq <= other.last_seq
            && other.first_seq <= self.last_seq
            && !self.covers(other)
            && !other.covers(self)
    }

    fn is_same_run(&self, other: &Self) -> bool {
        (&self.boot8, self.instance) == (&other.boot8, other.instance)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            start_ms,
            boot8,
            instance,
            first_seq,
            last_seq,
        } = self;
        write!(
            out,
            "{start_ms}-{boot8}-{instance:0INSTANCE_DIGITS$x}-{first_seq}"
        )?;
        if first_seq != last_seq {
            write!(out, "-{last_seq}")?;
        }
        out.write_str(EXTENSION)
    }
}

/// A file name that is not of the dataset's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: not <start-ms>-<boot>-<instance>-<number>[-<number>].parquet")]
pub struct FileNameError {
    /// The name.
    pub name: String,
}

impl FromStr for FileName {
    type Err = FileNameError;

    fn from_str(name: &str) -> Result<Self, FileNameError> {
        parse(name).ok_or_else(|| FileNameError {
            name: name.to_owned(),
        })
    }
}

fn parse(name: &str) -> Option<FileName> {
    let stem = name.strip_suffix(EXTENSION)?;
    let parts = stem.split('-').collect::<Vec<_>>();
    let (start, boot8, instance, first, last) = match parts[..] {
        [start, boot8, instance, first] => (start, boot8, instance, first, first),
        [start, boot8, instance, first, last] => (start, boot8, instance, first, last),
        _ => return None,
    };
    let parsed = FileName {
        start_ms: start.parse().ok()?,
        boot8: boot8.to_owned(),
        instance: u64::from_str_radix(instance, 16).ok()?,
        first_seq: first.parse().ok()?,
        last_seq: last.parse().ok()?,
    };
    (parsed.first_seq <= parsed.last_seq).then_some(parsed)
}

/// Which of the files of one table and node a reader leaves out, because a merged file among them
/// holds their rows: one answer a name, in the order given.
pub fn covered_files(names: &[FileName]) -> Vec<bool> {
    let mut merged = BTreeMap::<_, Vec<&FileName>>::new();
    for name in names.iter().filter(|name| name.first_seq != name.last_seq) {
        merged
            .entry((&name.boot8, name.instance))
            .or_default()
            .push(name);
    }
    let is_covered = |name: &FileName| {
        let same_run = merged.get(&(&name.boot8, name.instance));
        same_run.is_some_and(|same_run| same_run.iter().any(|other| other.covers(name)))
    };
    names.iter().map(is_covered).collect()
}
