//! The files that a report is made from, with their hashes.
//!
//! A group's hash is that of its listing as `sha256sum` prints it, files in the order of their
//! names, so that anyone can make it again:
//! `find flows -type f -name '*.parquet' | LC_ALL=C sort | xargs sha256sum | sha256sum`.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Files that are read together: a table, or the runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputGroup {
    /// Its name: the table's folder, or `runs`.
    pub name: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// Hash of the listing.
    pub sha256: String,
    /// The files.
    pub files: Vec<InputFile>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct InputFile {
    /// Path below the dataset.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
}

impl InputGroup {
    /// A group of files.
    pub fn new(name: &str, mut files: Vec<InputFile>) -> Self {
        files.sort();
        let mut listing = String::new();
        for file in &files {
            let _ = writeln!(listing, "{}  {}", file.sha256, file.path);
        }
        Self {
            name: name.to_owned(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            sha256: hex(&Sha256::digest(listing.as_bytes())),
            files,
        }
    }
}

/// A hash as it is written.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_the_hash_of_what_sha256sum_lists() {
        let file = |path: &str| InputFile {
            path: path.to_owned(),
            bytes: 1,
            sha256: hex(&Sha256::digest(b"x")),
        };
        let group = InputGroup::new("flows", vec![file("flows/b"), file("flows/a")]);
        // printf x > flows/a; printf x > flows/b; sha256sum flows/a flows/b | sha256sum
        assert_eq!(
            group.sha256,
            "4c9c2a4db3d9b8e76224e23dd1510570f6980bfe99090419e062e73aa0a6cb45"
        );
        assert_eq!((group.bytes, group.files[0].path.as_str()), (2, "flows/a"));
    }
}
