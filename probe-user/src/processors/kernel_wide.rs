//! Which of several probes on one kernel writes what concerns all of it.
//!
//! Nodes that share a kernel (kind) have little else in common. What they do share is the directory
//! of the kernel's modules, which their containers mount read-only: whoever holds a lock on it
//! writes, and when that probe dies another gets the lock at its next interval. Where the directory
//! is not there everybody writes, and readers count rows of one boot id once.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use tracing::info;

use crate::cli::KernelWide;

/// The lock, held or not.
#[derive(Debug)]
pub struct KernelWideLock {
    who: KernelWide,
    directory: PathBuf,
    held: Option<File>,
    was_ours: Option<bool>,
}

impl KernelWideLock {
    /// Nothing is locked yet.
    pub fn new(who: KernelWide, directory: PathBuf) -> Self {
        Self {
            who,
            directory,
            held: None,
            was_ours: None,
        }
    }

    /// Whether it is this probe that writes. Once it is, it remains so.
    pub fn is_ours(&mut self) -> bool {
        let is_ours = match self.who {
            KernelWide::On => true,
            KernelWide::Off => false,
            KernelWide::Auto => self.held.is_some() || self.take(),
        };
        if self.was_ours.replace(is_ours) != Some(is_ours) && self.who == KernelWide::Auto {
            let directory = self.directory.display();
            match (is_ours, self.held.is_some()) {
                (true, true) => info!(lock = %directory, "writing what concerns the whole kernel"),
                (true, false) => info!(
                    lock = %directory,
                    "writing what concerns the whole kernel, as every probe of it does: no such directory"
                ),
                (false, _) => info!(
                    lock = %directory,
                    "another probe of this kernel writes what concerns all of it"
                ),
            }
        }
        is_ours
    }

    /// Whether the lock is there for the taking, or no such thing is to be had.
    fn take(&mut self) -> bool {
        let Ok(directory) = File::open(&self.directory) else {
            return true;
        };
        match directory.try_lock() {
            Ok(()) => {
                self.held = Some(directory);
                true
            }
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_and_another_follows_it() {
        let directory = tempfile::tempdir().unwrap();
        let lock = |who| KernelWideLock::new(who, directory.path().to_owned());
        let mut first = lock(KernelWide::Auto);
        let mut second = lock(KernelWide::Auto);
        assert!(first.is_ours() && first.is_ours());
        assert!(!second.is_ours());
        assert!(lock(KernelWide::On).is_ours());
        assert!(!lock(KernelWide::Off).is_ours());
        drop(first);
        assert!(second.is_ours());
    }

    #[test]
    fn where_there_is_nothing_to_lock_everybody_writes() {
        let nowhere = PathBuf::from("/no/such/directory");
        let lock = || KernelWideLock::new(KernelWide::Auto, nowhere.clone());
        let (mut first, mut second) = (lock(), lock());
        assert!(first.is_ours() && second.is_ours());
    }
}
