//! Pod cgroups, named as the kubelet and the container runtimes name them.
//!
//! Naming is pure; the rest makes, empties and removes a lab's part of the cgroup v2 hierarchy. A
//! lab's every process is in one of its cgroups, which is how they are found when its owner is
//! gone.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::LabError;

const PREFIX: &str = "weighbridge-lab-";

/// The kubelet's `cgroupDriver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CgroupDriver {
    /// Slices and scopes.
    Systemd,
    /// Plain directories.
    Cgroupfs,
}

/// The container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// containerd.
    Containerd,
    /// CRI-O.
    CriO,
}

/// Quality-of-service class of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QosClass {
    /// Neither requests nor limits.
    BestEffort,
    /// Some requests.
    Burstable,
    /// Limits equal to requests.
    Guaranteed,
}

/// How a cluster names its cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CgroupStyle {
    /// The kubelet's driver.
    pub driver: CgroupDriver,
    /// The runtime.
    pub runtime: Runtime,
    /// Whether everything lies below a `kubelet` cgroup, as kind's nodes have it.
    pub nested: bool,
}

impl Default for CgroupStyle {
    fn default() -> Self {
        Self {
            driver: CgroupDriver::Systemd,
            runtime: Runtime::Containerd,
            nested: false,
        }
    }
}

impl CgroupStyle {
    /// The cgroup that holds all pods, relative to the node's root.
    pub fn kubepods(self) -> PathBuf {
        match (self.driver, self.nested) {
            (CgroupDriver::Systemd, false) => "kubepods.slice".into(),
            (CgroupDriver::Systemd, true) => "kubelet.slice/kubelet-kubepods.slice".into(),
            (CgroupDriver::Cgroupfs, false) => "kubepods".into(),
            (CgroupDriver::Cgroupfs, true) => "kubelet/kubepods".into(),
        }
    }

    /// The cgroup of a container, relative to the node's root.
    pub fn container(self, qos: QosClass, pod_uid: &str, container_id: &str) -> PathBuf {
        let class = match qos {
            QosClass::BestEffort => Some("besteffort"),
            QosClass::Burstable => Some("burstable"),
            QosClass::Guaranteed => None,
        };
        let mut path = self.kubepods();
        match self.driver {
            CgroupDriver::Systemd => {
                let mut slice = if self.nested {
                    "kubelet-kubepods"
                } else {
                    "kubepods"
                }
                .to_owned();
                if let Some(class) = class {
                    slice = format!("{slice}-{class}");
                    path.push(format!("{slice}.slice"));
                }
                path.push(format!("{slice}-pod{}.slice", pod_uid.replace('-', "_")));
                let runtime = match self.runtime {
                    Runtime::Containerd => "cri-containerd",
                    Runtime::CriO => "crio",
                };
                path.push(format!("{runtime}-{container_id}.scope"));
            }
            CgroupDriver::Cgroupfs => {
                path.extend(class);
                path.push(format!("pod{pod_uid}"));
                path.push(match self.runtime {
                    Runtime::Containerd => container_id.to_owned(),
                    Runtime::CriO => format!("crio-{container_id}"),
                });
            }
        }
        path
    }
}

/// Where the cgroup v2 hierarchy is mounted.
pub fn cgroup2_mount() -> Result<PathBuf, LabError> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).map_err(LabError::file("read", path))?;
    mount_of_cgroup2(&text).ok_or(LabError::NoCgroup2)
}

/// Root of a lab's cgroups.
pub(crate) fn lab_root(id: &str) -> Result<PathBuf, LabError> {
    Ok(cgroup2_mount()?.join(format!("{PREFIX}{id}")))
}

/// Ids of the labs that have cgroups.
pub(crate) fn lab_ids() -> Result<Vec<String>, LabError> {
    let mount = cgroup2_mount()?;
    let entries = fs::read_dir(&mount).map_err(LabError::file("list", &mount))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix(PREFIX)?.to_owned()))
        .collect())
}

pub(crate) fn create(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path).map_err(LabError::file("create cgroup", path))
}

/// `cgroup.procs` of a cgroup, open for moving processes in.
pub(crate) fn open_procs(cgroup: &Path) -> Result<fs::File, LabError> {
    let path = cgroup.join("cgroup.procs");
    OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(LabError::file("open", path))
}

/// Kills whatever runs below a cgroup and removes it; one that is not there is as good as removed.
pub(crate) fn remove(root: &Path) -> Result<(), LabError> {
    if !root.exists() {
        return Ok(());
    }
    let kill = root.join("cgroup.kill");
    fs::write(&kill, "1").map_err(LabError::file("write", kill))?;
    let started = Instant::now();
    loop {
        match remove_tree(root) {
            Ok(()) => return Ok(()),
            // Killed processes leave their cgroup only when they have ended.
            Err(_) if started.elapsed() < Duration::from_secs(5) => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    }
}

fn remove_tree(directory: &Path) -> Result<(), LabError> {
    let entries = fs::read_dir(directory).map_err(LabError::file("list", directory))?;
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory).map_err(LabError::file("remove cgroup", directory))
}

fn mount_of_cgroup2(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        // "36 35 98:0 / /mnt rw,noatime shared:1 - ext3 /dev/root rw", proc_pid_mountinfo(5).
        let (mount, filesystem) = line.split_once(" - ")?;
        let root_and_point: Vec<&str> = mount.split(' ').skip(3).take(2).collect();
        match (filesystem.split(' ').next()?, root_and_point.as_slice()) {
            ("cgroup2", [_, point]) => Some(PathBuf::from(point)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f5e4b4a-9d1c-4c0e-8a3e-5b1f2c3d4e5f";

    fn check(style: CgroupStyle, qos: QosClass, expected: &str) {
        assert_eq!(style.container(qos, UID, "c0ffee"), Path::new(expected));
    }

    #[test]
    fn names_are_the_kubelets() {
        let style = |driver, runtime, nested| CgroupStyle {
            driver,
            runtime,
            nested,
        };
        use CgroupDriver::{Cgroupfs, Systemd};
        check(
            style(Systemd, Runtime::Containerd, false),
            QosClass::BestEffort,
            "kubepods.slice/kubepods-besteffort.slice/\
             kubepods-besteffort-pod0f5e4b4a_9d1c_4c0e_8a3e_5b1f2c3d4e5f.slice/\
             cri-containerd-c0ffee.scope",
        );
        check(
            style(Systemd, Runtime::CriO, false),
            QosClass::Guaranteed,
            "kubepods.slice/kubepods-pod0f5e4b4a_9d1c_4c0e_8a3e_5b1f2c3d4e5f.slice/\
             crio-c0ffee.scope",
        );
        check(
            style(Systemd, Runtime::Containerd, true),
            QosClass::Burstable,
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
             kubelet-kubepods-burstable-pod0f5e4b4a_9d1c_4c0e_8a3e_5b1f2c3d4e5f.slice/\
             cri-containerd-c0ffee.scope",
        );
        check(
            style(Cgroupfs, Runtime::Containerd, true),
            QosClass::BestEffort,
            "kubelet/kubepods/besteffort/pod0f5e4b4a-9d1c-4c0e-8a3e-5b1f2c3d4e5f/c0ffee",
        );
        check(
            style(Cgroupfs, Runtime::CriO, false),
            QosClass::Guaranteed,
            "kubepods/pod0f5e4b4a-9d1c-4c0e-8a3e-5b1f2c3d4e5f/crio-c0ffee",
        );
    }

    #[test]
    fn the_mount_is_found_by_its_type() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                    32 31 0:29 / /sys/fs/cgroup/cpu rw shared:4 - cgroup cgroup rw,cpu\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            mount_of_cgroup2(text),
            Some("/sys/fs/cgroup/unified".into())
        );
        assert_eq!(
            mount_of_cgroup2("23 1 0:1 / / rw - ext4 /dev/root rw\n"),
            None
        );
    }
}
