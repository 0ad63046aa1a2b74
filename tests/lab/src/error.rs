//! What can go wrong while a lab is built, used or taken down.
//!
//! Every variant names the thing it happened to. A missing prerequisite is an error with the
//! command that installs it, never a reason to skip.

use std::io;
use std::path::PathBuf;

/// An error of the lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The process lacks the rights to make namespaces.
    #[error("the lab makes network namespaces and needs root: run it with sudo")]
    NotRoot,
    /// A system tool is not installed.
    #[error("`{program}` is not on PATH: apt-get install {package}")]
    MissingTool {
        /// Name of the program.
        program: String,
        /// Debian package that has it.
        package: String,
    },
    /// A system tool answered with a failure.
    #[error("`{command}` failed: {message}")]
    Command {
        /// Command line.
        command: String,
        /// What it wrote, on one line.
        message: String,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A namespace could not be entered.
    #[error("cannot enter network namespace {name}: {source}")]
    Namespace {
        /// Name below `/run/netns`.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No unified cgroup hierarchy is mounted.
    #[error("no cgroup v2 hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")]
    NoCgroup2,
    /// A lab of that name runs already.
    #[error("a lab named `{id}` is already there: `cargo xtask lab down` removes it")]
    AlreadyUp {
        /// Its id.
        id: String,
    },
    /// No lab of that name.
    #[error("no lab named `{id}` is up: `cargo xtask lab up` starts one")]
    NotUp {
        /// Its id.
        id: String,
    },
    /// The id cannot be part of a namespace's name.
    #[error("lab id `{id}`: use up to 12 lower-case letters, digits or `-`")]
    BadId {
        /// The id as given.
        id: String,
    },
    /// The eBPF object of the `bpf` datapath is missing or unusable.
    #[error(
        "lab datapath object {}: {message}; `cargo xtask build-ebpf` builds it", path.display()
    )]
    Object {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Something did not happen in time.
    #[error("{what} within {seconds} s")]
    Timeout {
        /// What did not happen, as a clause: "the probe on worker was not ready".
        what: String,
        /// How long it was awaited.
        seconds: u64,
    },
    /// A process of the lab ended badly.
    #[error("{what} ended with {status}: {message}")]
    Process {
        /// Which one.
        what: String,
        /// Its exit status.
        status: String,
        /// The end of what it wrote, on one line.
        message: String,
    },
    /// A tool's output could not be read.
    #[error("cannot read {what}: {message}")]
    Output {
        /// Which output.
        what: String,
        /// What is wrong with it.
        message: String,
    },
    /// The dataset could not be written.
    #[error("cannot write the objects table below {}: {message}", path.display())]
    Dataset {
        /// Root of the dataset.
        path: PathBuf,
        /// Why not.
        message: String,
    },
}

impl LabError {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
