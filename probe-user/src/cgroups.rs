//! Where the pods' cgroups are: the cgroup v2 mount and the kubepods directory below it.
//!
//! Nothing is assumed about mount points (hybrid machines have cgroup v2 beside v1) or about where
//! the kubelet keeps its tree: kind nests it below a slice of its own, and node containers nest it
//! again. It refuses to choose between several trees. What a path says of a pod is in
//! [`identity`], and which id is which directory in [`index`].

pub mod identity;
pub mod index;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Names of the directory that holds all pods: cgroupfs driver, systemd driver, and the systemd
/// driver below a cgroup root of its own (kind).
const KUBEPODS: [&str; 3] = ["kubepods", "kubepods.slice", "kubelet-kubepods.slice"];
/// How deep the search goes: node containers put three or four levels above their kubelet's tree.
const SEARCH_DEPTH: usize = 8;
/// Largest number of trees that an error names.
const NAMED_TREES: usize = 4;

/// Why there is no cgroup to watch.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// The mount table could not be read.
    #[error("cannot read /proc/self/mountinfo: mount /proc")]
    Mounts(#[source] io::Error),
    /// cgroup v2 is not mounted at all.
    #[error(
        "no cgroup v2 mount in /proc/self/mountinfo: boot with systemd.unified_cgroup_hierarchy=1, \
         or mount -t cgroup2 none /sys/fs/cgroup/unified"
    )]
    NoMount,
    /// No kubelet keeps pods here.
    #[error(
        "no kubepods directory below {}: is this a Kubernetes node? Else give --cgroup",
        join(mounts)
    )]
    NoKubepods {
        /// The cgroup v2 mounts that were searched.
        mounts: Vec<PathBuf>,
    },
    /// Several kubelets keep pods here, as on a machine that runs kind.
    #[error("several kubepods directories, give one as --cgroup: {}", join(roots))]
    Several {
        /// Some of them.
        roots: Vec<PathBuf>,
    },
    /// The given root of the node's tasks is none.
    #[error("--cgroup-root {}: not a directory of a cgroup v2 mount", path.display())]
    NotNodeRoot {
        /// What was given.
        path: PathBuf,
    },
    /// The given directory is none.
    #[error("--cgroup {}: not a directory of a cgroup v2 mount", path.display())]
    NotCgroup2 {
        /// What was given.
        path: PathBuf,
    },
}

/// The directory whose sockets are the pods': the given one, else the kubepods directory.
pub fn root(given: Option<&Path>) -> Result<PathBuf, NotFound> {
    match given {
        Some(path) => given_root(path),
        None => {
            let mounts = mounts()?;
            let mut roots = Vec::new();
            for mount in &mounts {
                roots.extend(kubepods_below(mount));
            }
            only(roots, mounts)
        }
    }
}

/// The directory below which the node's own tasks are: the given one, else the root of the mount
/// that the pods' directory lies in.
pub fn node_root(given: Option<&Path>, pods: &Path) -> Result<PathBuf, NotFound> {
    match given {
        Some(path) => given_root(path).map_err(|_| NotFound::NotNodeRoot {
            path: path.to_owned(),
        }),
        None => mount_of(pods),
    }
}

/// The cgroup v2 mount that a directory lies in, the innermost if they are nested.
pub fn mount_of(directory: &Path) -> Result<PathBuf, NotFound> {
    let of_directory = |mount: &PathBuf| directory.starts_with(mount);
    mounts()?
        .into_iter()
        .filter(of_directory)
        .max_by_key(|mount| mount.components().count())
        .ok_or(NotFound::NoMount)
}

/// The cgroup that this process is in; where it is not to be found below the mount that `directory`
/// lies in, that mount.
pub fn own(directory: &Path) -> Result<PathBuf, NotFound> {
    let mount = mount_of(directory)?;
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Ok(own_below(&mount, &text, std::process::id()).unwrap_or(mount))
}

/// The cgroup below a mount that has this process: by the path that /proc/self/cgroup tells, or, since
/// a container may have a view of its own, wherever it is (cgroups(7)).
fn own_below(mount: &Path, proc_self_cgroup: &str, process: u32) -> Option<PathBuf> {
    let has_process = |directory: &Path| {
        let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        processes.lines().any(|line| line.parse() == Ok(process))
    };
    let mut lines = proc_self_cgroup.lines();
    let told = lines.find_map(|line| line.strip_prefix("0::/"));
    let told = told.map(|path| mount.join(path));
    if let Some(told) = told.filter(|told| has_process(told)) {
        return Some(told);
    }
    let mut queue = VecDeque::from([mount.to_owned()]);
    while let Some(directory) = queue.pop_front() {
        if has_process(&directory) {
            return Some(directory);
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        queue.extend(folders.map(|entry| entry.path()));
    }
    None
}

/// Every cgroup v2 mount of this mount namespace, as `/proc/self/mountinfo` lists them.
pub fn mounts() -> Result<Vec<PathBuf>, NotFound> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(NotFound::Mounts)?;
    let mounts: Vec<PathBuf> = text.lines().filter_map(cgroup2_mount).collect();
    if mounts.is_empty() {
        Err(NotFound::NoMount)
    } else {
        Ok(mounts)
    }
}

/// Where a controller of cgroup v1 is mounted, if it is.
pub fn v1_mount(controller: &str) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    text.lines()
        .find_map(|line| cgroup1_mount(line, controller))
}

fn given_root(path: &Path) -> Result<PathBuf, NotFound> {
    let not_cgroup2 = || NotFound::NotCgroup2 {
        path: path.to_owned(),
    };
    let canonical = path.canonicalize().map_err(|_| not_cgroup2())?;
    let system = nix::sys::statfs::statfs(&canonical).map_err(|_| not_cgroup2())?;
    if canonical.is_dir() && system.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC {
        Ok(canonical)
    } else {
        Err(not_cgroup2())
    }
}

/// The same tree may be mounted twice (a container's own view and the host's): the first path of
/// each directory stays.
fn only(mut roots: Vec<PathBuf>, mounts: Vec<PathBuf>) -> Result<PathBuf, NotFound> {
    let mut seen = Vec::new();
    roots.retain(|path| match index::cgroup_id(path) {
        Ok(id) if !seen.contains(&id) => {
            seen.push(id);
            true
        }
        _ => false,
    });
    match roots.len() {
        0 => Err(NotFound::NoKubepods { mounts }),
        1 => Ok(roots.remove(0)),
        _ => {
            roots.truncate(NAMED_TREES);
            Err(NotFound::Several { roots })
        }
    }
}

/// Kubepods directories below a mount, outermost only: what a pod runs inside is the pod's.
fn kubepods_below(mount: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = VecDeque::from([(mount.to_owned(), 0)]);
    while let Some((directory, depth)) = queue.pop_front() {
        // A cgroup that goes while it is looked at is as good as one that was never there.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            if KUBEPODS.iter().any(|kubepods| name == *kubepods) {
                found.push(entry.path());
            } else if depth < SEARCH_DEPTH {
                queue.push_back((entry.path(), depth + 1));
            }
        }
    }
    found.sort();
    found
}

/// The mount point, if the line of mountinfo is a cgroup v2 mount (proc_pid_mountinfo(5)).
fn cgroup2_mount(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    if filesystem.split(' ').next()? != "cgroup2" {
        return None;
    }
    mount.split(' ').nth(4).map(unescape)
}

/// The mount point, if the line of mountinfo is that controller's cgroup v1 mount.
fn cgroup1_mount(line: &str, controller: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = filesystem.split(' ');
    let is_v1 = fields.next()? == "cgroup";
    let options = fields.nth(1)?;
    let is_controllers = options.split(',').any(|option| option == controller);
    (is_v1 && is_controllers).then(|| mount.split(' ').nth(4).map(unescape))?
}

/// mountinfo writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescape(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = field
            .get(at + 1..at + 4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (bytes[at], octal) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                at += 4;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

fn join(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_mount(line: &str, expected: Option<&str>) {
        assert_eq!(cgroup2_mount(line), expected.map(PathBuf::from), "{line}");
    }

    #[test]
    fn a_process_is_found_where_its_container_does_not_say() {
        let mount = tempfile::tempdir().expect("a folder");
        let pod = mount.path().join("kubepods/pod1/container");
        fs::create_dir_all(&pod).expect("folders");
        fs::write(mount.path().join("cgroup.procs"), "0\n1\n").expect("a file");
        fs::write(pod.join("cgroup.procs"), "5\n77\n").expect("a file");
        let own = |told: &str, process| own_below(mount.path(), told, process);
        let host = "1:name=systemd:/x\n0::/kubepods/pod1/container\n";
        assert_eq!(own(host, 77), Some(pod.clone()));
        assert_eq!(own("0::/\n", 77), Some(pod.clone()));
        assert_eq!(own("0::/../../elsewhere\n", 5), Some(pod));
        assert_eq!(own("0::/\n", 1), Some(mount.path().to_owned()));
        assert_eq!(own(host, 7), None);
        assert_eq!(own("", 7), None);
    }

    #[test]
    fn cgroup2_mounts_are_told_from_the_rest() {
        check_mount(
            "35 25 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate",
            Some("/sys/fs/cgroup"),
        );
        check_mount(
            "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
            Some("/sys/fs/cgroup/unified"),
        );
        check_mount(
            "41 31 0:38 /../.. /host/c\\040g rw shared:1 master:2 - cgroup2 none rw",
            Some("/host/c g"),
        );
        check_mount(
            "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
            None,
        );
        check_mount("31 23 0:28 / /sys/fs/cgroup2 rw - tmpfs cgroup2 rw", None);
        check_mount("", None);
        check_mount("a - cgroup2", None);
    }

    #[test]
    fn controllers_of_cgroup1_are_found_by_name() {
        let line = "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct";
        let mount = Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(cgroup1_mount(line, "cpuacct"), mount);
        assert_eq!(cgroup1_mount(line, "memory"), None);
        let v2 = "36 31 0:33 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,memory";
        assert_eq!(cgroup1_mount(v2, "memory"), None);
    }

    fn check_tree(directories: &[&str], expected: &[&str]) {
        let mount = tempfile::tempdir().unwrap();
        for directory in directories {
            fs::create_dir_all(mount.path().join(directory)).unwrap();
        }
        let expected: Vec<PathBuf> = expected
            .iter()
            .map(|path| mount.path().join(path))
            .collect();
        assert_eq!(kubepods_below(mount.path()), expected);
    }

    #[test]
    fn kubepods_is_found_wherever_the_kubelet_keeps_it() {
        check_tree(
            &["kubepods.slice/kubepods-burstable.slice", "user.slice"],
            &["kubepods.slice"],
        );
        check_tree(&["kubepods/burstable"], &["kubepods"]);
        check_tree(
            &["kubelet.slice/kubelet-kubepods.slice"],
            &["kubelet.slice/kubelet-kubepods.slice"],
        );
        check_tree(&["kubelet/kubepods"], &["kubelet/kubepods"]);
        check_tree(
            &["docker/0a1b/kubelet/kubepods/besteffort"],
            &["docker/0a1b/kubelet/kubepods"],
        );
        check_tree(
            &["system.slice/docker-0a1b.scope/kubelet.slice/kubelet-kubepods.slice"],
            &["system.slice/docker-0a1b.scope/kubelet.slice/kubelet-kubepods.slice"],
        );
        check_tree(&["machine.slice", "kubepodsx"], &[]);
    }

    #[test]
    fn a_cluster_inside_a_pod_is_the_pods() {
        check_tree(&["kubepods/podx/c/kubelet/kubepods"], &["kubepods"]);
    }

    #[test]
    fn several_trees_are_not_chosen_between() {
        let mount = tempfile::tempdir().unwrap();
        for node in ["a", "b"] {
            fs::create_dir_all(mount.path().join(node).join("kubepods")).unwrap();
        }
        let roots = kubepods_below(mount.path());
        assert!(matches!(
            only(roots.clone(), Vec::new()),
            Err(NotFound::Several { .. })
        ));
        let twice = vec![roots[0].clone(), roots[0].clone()];
        assert_eq!(only(twice, Vec::new()).unwrap(), roots[0]);
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_refused() {
        let elsewhere = tempfile::tempdir().unwrap();
        let error = root(Some(elsewhere.path())).expect_err("a temporary directory is no cgroup");
        assert!(error.to_string().starts_with("--cgroup "), "{error}");
        assert!(root(Some(Path::new("/no/such/directory"))).is_err());
    }

    #[test]
    fn a_cgroup2_mount_of_this_machine_is_accepted() {
        let mounts = mounts().expect("mount -t cgroup2 none /sys/fs/cgroup/unified");
        assert_eq!(
            root(Some(&mounts[0])).unwrap(),
            mounts[0].canonicalize().unwrap()
        );
    }
}
