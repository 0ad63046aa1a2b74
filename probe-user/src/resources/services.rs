//! Which cgroups beside the pods' are worth a row: the node's services.
//!
//! Those are the direct children of the node's root and of its slices; a slice is the sum of what is
//! in it and has no row. It refuses to look at more than a bounded number, and names the rest.

use std::fs;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// How many services have rows: a node has some forty.
pub(super) const MOST_SERVICES: usize = 128;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// Ids and paths of those that have rows.
    pub chosen: Vec<(u64, PathBuf)>,
    /// Paths of those that have none, for want of room.
    pub left_out: Vec<PathBuf>,
}

/// The services below a node's root; `pods` and what it is in are none.
pub(super) fn services(node_root: &Path, pods: &Path) -> Services {
    if node_root == pods {
        // Nothing tells a node's services from what was given as the pods.
        return Services::default();
    }
    let mut found = Vec::new();
    let mut slices = vec![node_root.to_owned()];
    while let Some(directory) = slices.pop() {
        // A slice that goes meanwhile has no services left.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            let is_slice = path.extension().is_some_and(|kind| kind == "slice");
            let is_of_the_root = directory == *node_root;
            match (pods.starts_with(&path), is_slice && is_of_the_root) {
                (true, _) if path == pods => {}
                // The kubelet's own cgroup, which holds the pods' and perhaps the kubelet.
                (true, _) | (_, true) => slices.push(path),
                (false, false) => found.push((entry.ino(), path)),
            }
        }
    }
    found.sort_by(|one, other| one.1.cmp(&other.1));
    let rest = found.split_off(found.len().min(MOST_SERVICES));
    Services {
        chosen: found,
        left_out: rest.into_iter().map(|(_, path)| path).collect(),
    }
}
