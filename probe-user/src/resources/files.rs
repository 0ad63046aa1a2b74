//! A cgroup's accounting files, kept open and read again at each interval's end.
//!
//! Opening costs several times what reading does. Files that cannot be opened, be it for want of
//! descriptors, are absent.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::parse::{self, Stall};
use super::{Counters, Pressure};

/// Larger than any of the files: `memory.stat` has about fifty lines.
const LARGEST: usize = 16 * 1024;

/// Files of a cgroup.
const FILES: u64 = 7;

/// Where a cgroup's files are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub path: PathBuf,
    /// In cgroup v1's memory hierarchy.
    pub v1: Option<PathBuf>,
}

impl Place {
    pub fn open(&self) -> Files {
        Files::open(&self.path, self.v1.as_deref())
    }
}

/// For how many cgroups files may be kept open, leaving half of the descriptors to everything else.
/// The limit is raised as far as it may be: what systemd and runtimes give at first is meant for
/// programs that use select(2).
pub(super) fn most_kept() -> usize {
    let limit = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, most)) if setrlimit(Resource::RLIMIT_NOFILE, most, most).is_ok() => most,
        Ok((now, _)) => now,
        Err(_) => 0,
    };
    usize::try_from(limit / 2 / FILES).unwrap_or(usize::MAX)
}

/// Room for one file's text.
#[derive(Debug)]
pub(super) struct Scratch(Vec<u8>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; LARGEST])
    }
}

/// The open files.
#[derive(Debug)]
pub(super) struct Files {
    cpu: Option<File>,
    cpu_pressure: Option<File>,
    memory_pressure: Option<File>,
    io_pressure: Option<File>,
    memory_used: Option<File>,
    memory_stat: Option<File>,
    memory_limit: Option<File>,
    inactive_key: &'static str,
}

/// Memory of a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub used_bytes: Option<u64>,
    pub inactive_file_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
}

impl Memory {
    /// As the kubelet has it: never below zero, since both are read one after the other.
    pub fn working_set_bytes(&self) -> Option<u64> {
        Some(self.used_bytes?.saturating_sub(self.inactive_file_bytes?))
    }
}

impl Files {
    /// Opens what is there; memory below `v1` where cgroup v2 does not account for it.
    fn open(path: &Path, v1: Option<&Path>) -> Self {
        let here = |name: &str| File::open(path.join(name)).ok();
        let mut files = Self {
            cpu: here("cpu.stat"),
            cpu_pressure: here("cpu.pressure"),
            memory_pressure: here("memory.pressure"),
            io_pressure: here("io.pressure"),
            memory_used: here("memory.current"),
            memory_stat: here("memory.stat"),
            memory_limit: here("memory.max"),
            inactive_key: "inactive_file",
        };
        if files.memory_used.is_none()
            && let Some(v1) = v1
        {
            let there = |name: &str| File::open(v1.join(name)).ok();
            files.memory_used = there("memory.usage_in_bytes");
            files.memory_stat = there("memory.stat");
            files.memory_limit = there("memory.limit_in_bytes");
            files.inactive_key = "total_inactive_file";
        }
        files
    }

    /// The counters as they are now; none once the cgroup is gone.
    pub fn counters(&self, scratch: &mut Scratch) -> Option<Counters> {
        let cpu = match &self.cpu {
            // Every cgroup has cpu.stat: one that does not answer is gone.
            Some(file) => Some(scratch.text(file)?),
            None => None,
        };
        let of = |key| cpu.and_then(|text| parse::keyed(text, key));
        let (cpu_us, cpu_user_us) = (of("usage_usec"), of("user_usec"));
        let throttled_us = of("throttled_usec");
        let memory = scratch.stall(self.memory_pressure.as_ref());
        Some(Counters {
            cpu_us,
            cpu_user_us,
            throttled_us,
            pressure: Pressure {
                cpu_some_us: scratch.stall(self.cpu_pressure.as_ref()).some_us,
                memory_some_us: memory.some_us,
                memory_full_us: memory.full_us,
                io_some_us: scratch.stall(self.io_pressure.as_ref()).some_us,
            },
        })
    }

    /// Memory as it is now.
    pub fn memory(&self, scratch: &mut Scratch) -> Memory {
        let mut read = |file: &Option<File>, parse: &dyn Fn(&str) -> Option<u64>| {
            file.as_ref().and_then(|file| parse(scratch.text(file)?))
        };
        Memory {
            used_bytes: read(&self.memory_used, &parse::limit),
            inactive_file_bytes: read(&self.memory_stat, &|text| {
                parse::keyed(text, self.inactive_key)
            }),
            limit_bytes: read(&self.memory_limit, &parse::limit),
        }
    }
}

impl Scratch {
    fn text(&mut self, file: &File) -> Option<&str> {
        let length = file.read_at(&mut self.0, 0).ok()?;
        std::str::from_utf8(&self.0[..length]).ok()
    }

    fn stall(&mut self, file: Option<&File>) -> Stall {
        let text = file.and_then(|file| self.text(file));
        text.map(parse::pressure).unwrap_or_default()
    }
}
