//! Which instances of the probe are alive: each holds a lock on a file of its own.
//!
//! The kernel lets go of a lock when its holder dies, however it dies, and a lock is seen from
//! every container that shares the file system. The files are under `.probe` in the dataset's
//! root, where no reader looks.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const FOLDER: &str = ".probe";

/// Why a lock could not be taken or looked at.
#[derive(Debug, thiserror::Error)]
#[error("--output: cannot lock {}; give a directory that can be written to", path.display())]
pub struct LockError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A live instance. Dropped, the instance counts as dead.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    pub(super) fn take(root: &Path, instance: &str) -> Result<Self, LockError> {
        let path = path(root, instance);
        let failed = |source| LockError {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(root.join(FOLDER)).map_err(failed)?;
        loop {
            let file = File::create(&path).map_err(failed)?;
            file.try_lock().map_err(|error| failed(error.into()))?;
            // An instance that starts now may have taken the file for a dead one's before it was
            // locked, and removed it.
            let locked = file.metadata().map_err(failed)?.ino();
            if fs::metadata(&path).is_ok_and(|there| there.ino() == locked) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Left behind, it is removed by the next instance that starts.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

/// Whether nobody holds the instance's lock.
pub(super) fn is_dead(root: &Path, instance: &str) -> bool {
    match File::open(path(root, instance)) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(file) => !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
    }
}

/// Removes the lock files that dead instances left.
pub(super) fn forget_dead(root: &Path) -> Result<(), LockError> {
    let folder = root.join(FOLDER);
    let entries = fs::read_dir(&folder).map_err(|source| LockError {
        path: folder.clone(),
        source,
    })?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if let Some(instance) = name.to_str().and_then(|name| name.strip_suffix(".lock"))
            && is_dead(root, instance)
        {
            // Another instance that starts at the same time may have been faster.
            fs::remove_file(entry.path()).unwrap_or_default();
        }
    }
    Ok(())
}

fn path(root: &Path, instance: &str) -> PathBuf {
    root.join(FOLDER).join(format!("{instance}.lock"))
}
