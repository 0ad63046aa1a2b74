//! `cargo xtask tidy`: the rules of this repository that no compiler or lint checks.
//!
//! Each rule is a function from what is tracked to a list of complaints; it refuses to mend
//! anything. The same check runs as a unit test.

mod dependencies;
mod documents;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::build_ebpf::source_hash;
use crate::command::{self, workspace_root};

/// Options of `cargo xtask tidy`.
#[derive(clap::Args)]
pub struct Options {}

/// Runs the task.
pub fn run(_options: Options) -> anyhow::Result<ExitCode> {
    match check_workspace() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Checks every rule; the error names each breach on a line of its own.
pub fn check_workspace() -> anyhow::Result<()> {
    let root = workspace_root();
    let files = tracked_files(root)?;
    let mut breaches = dependencies::check(root)?;
    breaches.extend(sources::check(&files));
    breaches.extend(documents::check(&files));
    breaches.extend(stale_object(root)?);
    if breaches.is_empty() {
        eprintln!("tidy: {} files keep the rules", files.len());
        return Ok(());
    }
    for breach in &breaches {
        eprintln!("{breach}");
    }
    bail!("{} breaches of the repository's rules", breaches.len());
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    place: String,
    rule: String,
}

impl Breach {
    fn new(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            rule: rule.into(),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.rule)
    }
}

/// A text file of the repository.
struct TextFile {
    /// Relative to the root, with `/` between the parts.
    path: String,
    text: String,
}

/// Every text file that git knows or would add.
fn tracked_files(root: &Path) -> anyhow::Result<Vec<TextFile>> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root);
    let names = command::output_of(&mut list).context("`git ls-files` failed: tidy needs git")?;
    let read = |path: &str| {
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        Some(TextFile {
            path: path.to_owned(),
            text,
        })
    };
    Ok(names.lines().filter_map(read).collect())
}

/// The committed object belongs to the sources beside it.
fn stale_object(root: &Path) -> anyhow::Result<Option<Breach>> {
    const HASH: &str = "probe-user/ebpf/weighbridge.bpf.o.sha256";
    let hash = source_hash::source_hash(root, &source_hash::PROBE_CRATES)
        .context("could not hash the eBPF sources")?;
    let path: PathBuf = root.join(HASH);
    let built_from = std::fs::read_to_string(path).unwrap_or_default();
    let stale = built_from.trim() != hash;
    Ok(stale.then(|| {
        Breach::new(
            HASH,
            "not of the sources here: run `cargo xtask build-ebpf`",
        )
    }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_keeps_its_rules() {
        super::check_workspace().unwrap();
    }
}
