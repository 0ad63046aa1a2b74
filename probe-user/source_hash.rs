//! The hash that ties the committed eBPF object to the sources it was built from.
//!
//! `build.rs` includes this file to refuse a stale object, and `cargo xtask build-ebpf` to write
//! the hash beside a fresh one. It covers what the object is made of and nothing else: every `.rs`
//! file below `src` and the `Cargo.toml` of the crates it is built from, [`PROBE_CRATES`]. Dependencies' versions are left
//! out, so that an unrelated `cargo update` does not ask every contributor for an eBPF toolchain.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Folders of the crates that the probe's object is built from, relative to the workspace's root.
pub const PROBE_CRATES: [&str; 2] = ["probe-abi", "probe-ebpf"];

/// SHA-256, in lower-case hex, over the sorted source files: for each its path relative to `root`
/// with `/` between the parts, a NUL, its length in decimal, a NUL, and its bytes.
pub fn source_hash(root: &Path, crates: &[&str]) -> io::Result<String> {
    let mut hasher = Sha256::new();
    for path in source_files(root, crates)? {
        let content = fs::read(root.join(&path))?;
        hasher.update(path.as_bytes());
        hasher.update([0]);
        hasher.update(content.len().to_string());
        hasher.update([0]);
        hasher.update(&content);
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// The hashed files, sorted, relative to `root`.
fn source_files(root: &Path, crates: &[&str]) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for name in crates {
        let folder = root.join(name);
        files.push(relative(root, &folder.join("Cargo.toml")));
        rust_files(root, &folder.join("src"), &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn rust_files(root: &Path, folder: &Path, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path: PathBuf = entry.path();
        if entry.file_type()?.is_dir() {
            rust_files(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(relative(root, &path));
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside
        .iter()
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}
