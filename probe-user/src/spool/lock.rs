//! Which instances of the probe are alive: each holds a lock on a file of its own, and one on a file
//! of its node, so that no two write of the same packets.
//!
//! The kernel lets go of a lock when its holder dies, however it dies, and a lock is seen from
//! every container that shares the file system. The files are under `.probe` in the dataset's
//! root, where no reader looks.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use trace_schema::layout::node_folder;

const FOLDER: &str = ".probe";

/// How long a start waits for its node's lock: another one that starts looks at it for a moment, to
/// see whether anybody holds it.
const NODE_PATIENCE: Duration = Duration::from_secs(1);
/// The same for an instance's own, which nobody else ever wants: however busy the machine, it comes.
const INSTANCE_PATIENCE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(10);

/// Why a lock could not be taken or looked at.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The directory cannot be used.
    #[error("--output: cannot lock {}; give a directory that can be written to", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// Another probe holds it, and would count the same packets.
    #[error(
        "--node {node}: another probe of this node writes to {}; stop that one, or give another \
         --output",
        root.display()
    )]
    Taken {
        /// Name of the node.
        node: String,
        /// Root of the dataset.
        root: PathBuf,
    },
}

/// A live instance. Dropped, the instance counts as dead.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock that tells an instance alive.
    pub(super) fn take(root: &Path, instance: &str) -> Result<Self, LockError> {
        let path = path(root, instance);
        let failed = |source| LockError::Unusable {
            path: path.clone(),
            source,
        };
        match try_take(root, &path, INSTANCE_PATIENCE) {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(failed(io::ErrorKind::WouldBlock.into())),
            Err(error) => Err(failed(error)),
        }
    }

    /// Takes the lock of a node, which one instance alone may hold.
    pub(super) fn take_node(root: &Path, node: &str) -> Result<Self, LockError> {
        let path = path(root, &node_folder(node));
        match try_take(root, &path, NODE_PATIENCE) {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(LockError::Taken {
                node: node.to_owned(),
                root: root.to_owned(),
            }),
            Err(source) => Err(LockError::Unusable { path, source }),
        }
    }
}

/// None where somebody else holds it.
fn try_take(root: &Path, path: &Path, patience: Duration) -> io::Result<Option<Lock>> {
    fs::create_dir_all(root.join(FOLDER))?;
    let started = Instant::now();
    loop {
        let file = File::create(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if started.elapsed() > patience => return Ok(None),
            Err(TryLockError::WouldBlock) => {
                thread::sleep(RETRY);
                continue;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // An instance that starts now may have taken the file for a dead one's before it was
        // locked, and removed it.
        let locked = file.metadata()?.ino();
        if fs::metadata(path).is_ok_and(|there| there.ino() == locked) {
            let path = path.to_owned();
            return Ok(Some(Lock { path, _file: file }));
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
    let entries = fs::read_dir(&folder).map_err(|source| LockError::Unusable {
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
