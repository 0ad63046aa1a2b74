//! Which cgroup id is which directory.
//!
//! The kernel reports cgroups by id, which is the inode number of the directory (kernfs,
//! `fs/kernfs/dir.c`). The index scans the tree when it meets an id that it does not know, at most
//! once in a given time, and remembers directories that are gone: their last rows are read after
//! they went. It refuses to guess: an id that no scan has met has no entry.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::KUBEPODS;
use super::identity::{Identity, identify};

/// How deep below the root directories are looked at.
const SCAN_DEPTH: usize = 16;
/// How long a directory that is gone is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// A directory of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its path.
    pub path: PathBuf,
    /// What the path says.
    pub identity: Identity,
    last_met: Instant,
}

/// The directories below a root by cgroup id.
#[derive(Debug)]
pub struct Index {
    roots: Vec<PathBuf>,
    /// Paths are read from here on: the kubepods directory that the root is or lies in.
    base: PathBuf,
    least_gap: Duration,
    last_scan: Option<Instant>,
    by_id: HashMap<u64, Cgroup>,
}

impl Index {
    /// An index of what is below `root`, scanned at most once in `least_gap`. It is empty at first.
    pub fn new(root: PathBuf, least_gap: Duration) -> Self {
        let is_kubepods = |path: &&Path| {
            path.file_name()
                .is_some_and(|name| KUBEPODS.iter().any(|kubepods| name == *kubepods))
        };
        let base = root
            .ancestors()
            .find(is_kubepods)
            .unwrap_or(Path::new("/"))
            .to_owned();
        Self {
            roots: vec![root],
            base,
            least_gap,
            last_scan: None,
            by_id: HashMap::new(),
        }
    }

    /// The same, with what is below the root of the node's tasks as well.
    #[must_use]
    pub fn with_node(mut self, node: &Path) -> Self {
        self.roots.retain(|root| !root.starts_with(node));
        self.roots.push(node.to_owned());
        self
    }

    /// The cgroup with this id. An unknown id leads to a scan, if the last is long enough ago.
    pub fn get(&mut self, id: u64, now: Instant) -> Option<&Cgroup> {
        if !self.by_id.contains_key(&id) && self.may_scan(now) {
            self.scan(now);
        }
        self.by_id.get(&id)
    }

    /// Containers whose directories the last scan met, with their ids. What a container's own
    /// init system makes below it is the container's.
    pub fn containers(&self) -> impl Iterator<Item = (u64, &Cgroup)> {
        let is_container = |cgroup: &Cgroup| {
            let above = cgroup.path.parent().unwrap_or(Path::new("/"));
            let above = identify(above.strip_prefix(&self.base).unwrap_or(above));
            cgroup.identity.container_id.is_some() && above.container_id.is_none()
        };
        self.by_id
            .iter()
            .filter(|(_, cgroup)| Some(cgroup.last_met) == self.last_scan)
            .filter(move |(_, cgroup)| is_container(cgroup))
            .map(|(&id, cgroup)| (id, cgroup))
    }

    /// Scans now, so that short-lived directories are met while they are there.
    pub fn scan(&mut self, now: Instant) {
        self.last_scan = Some(now);
        for root in self.roots.clone() {
            if let Ok(id) = cgroup_id(&root) {
                self.meet(id, root.clone(), now);
            }
            self.scan_below(root, now);
        }
        self.by_id
            .retain(|_, cgroup| now.duration_since(cgroup.last_met) <= REMEMBERED);
    }

    /// How many directories are known, those gone included.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn scan_below(&mut self, root: PathBuf, now: Instant) {
        let mut pending = vec![(root, 0)];
        while let Some((directory, depth)) = pending.pop() {
            // A directory that goes during the scan has no entries left to read.
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    self.meet(entry.ino(), entry.path(), now);
                    if depth < SCAN_DEPTH {
                        pending.push((entry.path(), depth + 1));
                    }
                }
            }
        }
    }

    fn may_scan(&self, now: Instant) -> bool {
        self.last_scan
            .is_none_or(|last| now.duration_since(last) >= self.least_gap)
    }

    fn meet(&mut self, id: u64, path: PathBuf, now: Instant) {
        match self.by_id.get_mut(&id) {
            Some(known) if known.path == path => known.last_met = now,
            _ => {
                let identity = identify(path.strip_prefix(&self.base).unwrap_or(&path));
                self.by_id.insert(
                    id,
                    Cgroup {
                        path,
                        identity,
                        last_met: now,
                    },
                );
            }
        }
    }
}

/// The id of the cgroup at `path`: the inode number of the directory.
pub fn cgroup_id(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(100);
    const POD: &str = "burstable/pod3f1c8e2a-0b4d-4c66-9a53-7f0e9d1b2c3d";
    const POD_UID: &str = "3f1c8e2a-0b4d-4c66-9a53-7f0e9d1b2c3d";

    fn tree() -> (tempfile::TempDir, Index) {
        let root = tempfile::tempdir().unwrap();
        let index = Index::new(root.path().to_owned(), GAP);
        (root, index)
    }

    fn make(root: &tempfile::TempDir, path: &str) -> u64 {
        let path = root.path().join(path);
        fs::create_dir_all(&path).unwrap();
        cgroup_id(&path).unwrap()
    }

    #[test]
    fn an_unknown_id_is_looked_for() {
        let (root, mut index) = tree();
        let id = make(&root, POD);
        let cgroup = index
            .get(id, Instant::now())
            .expect("the directory is there");
        assert_eq!(cgroup.path, root.path().join(POD));
        assert_eq!(cgroup.identity.pod_uid.as_deref(), Some(POD_UID));
        let root_id = cgroup_id(root.path()).unwrap();
        assert_eq!(
            index.get(root_id, Instant::now()).unwrap().identity,
            Identity::default()
        );
    }

    #[test]
    fn with_the_node_its_services_are_met_and_pods_keep_their_identity() {
        let (root, _) = tree();
        let pod = make(&root, &format!("kubepods/{POD}"));
        let service = make(&root, "system.slice/kubelet.service");
        let kubepods = root.path().join("kubepods");
        let mut index = Index::new(kubepods, GAP).with_node(root.path());
        index.scan(Instant::now());
        let met = index.get(pod, Instant::now()).unwrap();
        assert_eq!(met.identity.pod_uid.as_deref(), Some(POD_UID));
        let met = index.get(service, Instant::now()).unwrap();
        assert_eq!(met.path, root.path().join("system.slice/kubelet.service"));
        assert_eq!(met.identity, Identity::default());
    }

    #[test]
    fn scans_are_a_gap_apart() {
        let (root, mut index) = tree();
        let start = Instant::now();
        index.scan(start);
        let id = make(&root, POD);
        assert_eq!(index.get(id, start + GAP / 2), None);
        assert!(index.get(id, start + GAP).is_some());
    }

    #[test]
    fn a_directory_that_is_gone_is_remembered_for_a_while() {
        let (root, mut index) = tree();
        let start = Instant::now();
        let id = make(&root, POD);
        index.scan(start);
        fs::remove_dir(root.path().join(POD)).unwrap();
        index.scan(start + GAP);
        assert!(index.get(id, start + GAP).is_some());
        index.scan(start + REMEMBERED + GAP);
        assert_eq!(index.get(id, start + REMEMBERED + GAP), None);
    }

    #[test]
    fn a_root_inside_a_pod_and_a_cluster_inside_a_pod_are_told_apart() {
        let (root, _) = tree();
        let container = "kubepods/pod3f1c8e2a-0b4d-4c66-9a53-7f0e9d1b2c3d/0123456789abcdef";
        let inner = format!("{container}/kubelet/kubepods");
        for (below, uid) in [(container, Some(POD_UID)), (&inner, None)] {
            let id = make(&root, below);
            let mut index = Index::new(root.path().join(below), GAP);
            let cgroup = index.get(id, Instant::now()).unwrap();
            assert_eq!(cgroup.identity.pod_uid.as_deref(), uid, "{below}");
        }
    }

    #[test]
    fn ids_are_those_that_the_kernel_gives_its_cgroups() {
        let mount = super::super::mounts().expect("mount -t cgroup2 none /sys/fs/cgroup/unified");
        let mut index = Index::new(mount[0].clone(), GAP);
        index.scan(Instant::now());
        // name_to_handle_at(2) on cgroupfs yields the id that bpf_skb_cgroup_id() returns.
        let id = handle_id(&mount[0]);
        assert_eq!(index.get(id, Instant::now()).unwrap().path, mount[0]);
    }

    fn handle_id(path: &Path) -> u64 {
        #[repr(C)]
        struct Handle {
            bytes: u32,
            kind: i32,
            id: u64,
        }
        let mut handle = Handle {
            bytes: 8,
            kind: 0,
            id: 0,
        };
        let mut mount_id = 0;
        let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: `handle` is laid out as struct file_handle with room for the eight bytes that
        // `bytes` promises, and the path is a C string.
        let result = unsafe {
            libc::name_to_handle_at(
                libc::AT_FDCWD,
                path.as_ptr(),
                (&raw mut handle).cast(),
                &raw mut mount_id,
                0,
            )
        };
        assert_eq!(
            result,
            0,
            "name_to_handle_at: {}",
            io::Error::last_os_error()
        );
        handle.id
    }
}
