//! Network namespaces: open, enter, run something inside.
//!
//! A namespace is entered by a thread of its own or by a child before exec, never by a thread that
//! the caller keeps, so that nobody is left in the wrong network.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::error::LabError;

/// A named network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Opens `/run/netns/<name>`.
    pub fn open(name: &str) -> Result<Self, LabError> {
        let file = File::open(Self::path(name)).map_err(|source| LabError::Namespace {
            name: name.to_owned(),
            source,
        })?;
        Ok(Self {
            name: name.to_owned(),
            file,
        })
    }

    /// Name below `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure on a thread inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let outcome = thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                    Ok(work())
                })
                .join()
        });
        match outcome {
            Ok(result) => result.map_err(|source| LabError::Namespace {
                name: self.name.clone(),
                source,
            }),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Makes the command's child start inside the namespace and, where given, in the cgroup whose
    /// `cgroup.procs` is open for writing.
    pub(crate) fn place(&self, command: &mut Command, procs: Option<File>) -> Result<(), LabError> {
        let namespace = self
            .file
            .try_clone()
            .map_err(|source| LabError::Namespace {
                name: self.name.clone(),
                source,
            })?;
        // SAFETY: between fork and exec the closure makes only the system calls write and setns,
        // on descriptors that it owns, and neither allocates nor locks.
        unsafe {
            command.pre_exec(move || {
                if let Some(procs) = &procs
                    && libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) != 1
                {
                    return Err(io::Error::last_os_error());
                }
                if libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// Writes sysctls inside the namespace; paths are below `/proc/sys/net`.
    pub(crate) fn set_sysctls(&self, values: &[(&str, &str)]) -> Result<(), LabError> {
        self.run(|| {
            for (name, value) in values {
                let path = PathBuf::from("/proc/sys/net").join(name);
                std::fs::write(&path, value).map_err(LabError::file("write", &path))?;
            }
            Ok(())
        })?
    }

    pub(crate) fn path(name: &str) -> PathBuf {
        PathBuf::from("/run/netns").join(name)
    }
}
