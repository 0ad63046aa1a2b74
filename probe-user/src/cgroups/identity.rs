//! What a cgroup path says: the pod's UID and the container's id.
//!
//! Kubelets with the systemd and the cgroupfs driver, and containerd, CRI-O and Docker below them,
//! all write both into directory names. It refuses names that only look alike (`podman.slice`):
//! a UID is a UUID or, for a static pod, the hash of its manifest.

use std::path::{Component, Path};

/// Shortest container id that is taken for one; runtimes write 64 digits, abbreviations 12.
const SHORTEST_CONTAINER_ID: usize = 12;

/// Whose cgroup it is. Below a container everything is the container's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Pod UID with dashes, as the API writes it; a static pod's is the hash of its manifest
    /// (annotation `kubernetes.io/config.hash` of its mirror pod).
    pub pod_uid: Option<String>,
    /// Container id as the runtime writes it, without the runtime's name.
    pub container_id: Option<String>,
}

/// Reads the outermost pod from a path below the kubepods directory, or from a whole cgroup path.
pub fn identify(path: &Path) -> Identity {
    let mut names = path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    match names.find_map(pod_uid) {
        None => Identity::default(),
        Some(uid) => Identity {
            pod_uid: Some(uid),
            container_id: names.next().and_then(container_id).map(str::to_owned),
        },
    }
}

/// `pod<uid>` (cgroupfs) or `kubepods[-<qos>]-pod<uid with underscores>.slice` (systemd), the
/// latter also behind the name of a cgroup root (`kubelet-kubepods-…`).
fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => {
            let (parents, uid) = slice.rsplit_once("-pod")?;
            let of_kubepods = parents.split('-').any(|parent| parent == "kubepods");
            of_kubepods.then_some(uid)?
        }
        None => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    (is_uuid(&uid) || is_hash(&uid)).then_some(uid)
}

/// `<id>` (cgroupfs), `crio-<id>`, or `<runtime>-<id>.scope` (systemd), whatever the runtime calls
/// itself.
fn container_id(name: &str) -> Option<&str> {
    let unit = name.strip_suffix(".scope").unwrap_or(name);
    let id = unit.rsplit('-').next()?;
    (id.len() >= SHORTEST_CONTAINER_ID && is_hex(id)).then_some(id)
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.len() == 5
        && groups
            .iter()
            .zip([8, 4, 4, 4, 12])
            .all(|(group, len)| group.len() == len)
        && groups.iter().all(|group| is_hex(group))
}

/// Kubelets name static pods by an MD5 of the manifest, without dashes.
fn is_hash(text: &str) -> bool {
    text.len() == 32 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f' | b'A'..=b'F'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "3f1c8e2a-0b4d-4c66-9a53-7f0e9d1b2c3d";
    const UID_UNDERSCORES: &str = "3f1c8e2a_0b4d_4c66_9a53_7f0e9d1b2c3d";
    const HASH: &str = "d4f8c1b2a3948576e0f1d2c3b4a59687";
    const ID: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    /// `{uid}`, `{uid_}`, `{hash}` and `{id}` stand for the values above.
    fn check(path: &str, pod_uid: Option<&str>, container_id: Option<&str>) {
        let path = path
            .replace("{uid}", UID)
            .replace("{uid_}", UID_UNDERSCORES)
            .replace("{hash}", HASH)
            .replace("{id}", ID);
        let expected = Identity {
            pod_uid: pod_uid.map(str::to_owned),
            container_id: container_id.map(str::to_owned),
        };
        assert_eq!(identify(Path::new(&path)), expected, "{path}");
    }

    #[test]
    fn systemd_driver() {
        let container =
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice";
        check(
            &format!("{container}/cri-containerd-{{id}}.scope"),
            Some(UID),
            Some(ID),
        );
        check(
            &format!("{container}/crio-{{id}}.scope"),
            Some(UID),
            Some(ID),
        );
        check(
            &format!("{container}/crio-{{id}}.scope/container"),
            Some(UID),
            Some(ID),
        );
        check(
            &format!("{container}/crio-conmon-{{id}}.scope"),
            Some(UID),
            Some(ID),
        );
        check(
            &format!("{container}/docker-{{id}}.scope"),
            Some(UID),
            Some(ID),
        );
        check(
            &format!("{container}/cri-containerd-{{id}}.scope/init.scope"),
            Some(UID),
            Some(ID),
        );
        check(container, Some(UID), None);
        check(
            "kubepods.slice/kubepods-pod{uid_}.slice/crio-{id}.scope",
            Some(UID),
            Some(ID),
        );
        check(
            "kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice",
            Some(UID),
            None,
        );
    }

    #[test]
    fn cgroupfs_driver() {
        check("kubepods/burstable/pod{uid}/{id}", Some(UID), Some(ID));
        check("kubepods/besteffort/pod{uid}/{id}", Some(UID), Some(ID));
        check("kubepods/pod{uid}/{id}", Some(UID), Some(ID));
        check("kubepods/pod{uid}/crio-{id}", Some(UID), Some(ID));
        check("kubepods/pod{uid}/crio-conmon-{id}", Some(UID), Some(ID));
        check("burstable/pod{uid}", Some(UID), None);
    }

    #[test]
    fn kind_nests_both_drivers() {
        check(
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
             kubelet-kubepods-besteffort-pod{uid_}.slice/cri-containerd-{id}.scope",
            Some(UID),
            Some(ID),
        );
        check(
            "system.slice/docker-{id}.scope/kubelet.slice/kubelet-kubepods.slice/\
             kubelet-kubepods-pod{uid_}.slice/cri-containerd-{id}.scope",
            Some(UID),
            Some(ID),
        );
        check(
            "docker/{id}/kubelet/kubepods/burstable/pod{uid}/{id}",
            Some(UID),
            Some(ID),
        );
    }

    #[test]
    fn static_pods_are_named_by_a_hash() {
        check(
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/\
             cri-containerd-{id}.scope",
            Some(HASH),
            Some(ID),
        );
        check("kubepods/burstable/pod{hash}/{id}", Some(HASH), Some(ID));
    }

    #[test]
    fn the_outermost_pod_counts() {
        let inner = "kubelet/kubepods/pod00000000-0000-0000-0000-000000000000/{id}";
        check(&format!("pod{{uid}}/{{id}}/{inner}"), Some(UID), Some(ID));
    }

    #[test]
    fn look_alikes_are_no_pods() {
        check("user.slice/podman.slice/libpod-{id}.scope", None, None);
        check("machine.slice/libpod-{id}.scope", None, None);
        check("system.slice/docker-{id}.scope", None, None);
        check("kubepods.slice/kubepods-burstable.slice", None, None);
        check("kubepods/pod3f1c8e2a/{id}", None, None);
        check("other-pod{uid_}.slice/crio-{id}.scope", None, None);
        check("kubepods/pod{uid}/volumes", Some(UID), None);
        check("", None, None);
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_panic(path in "\\PC{0,200}") {
            identify(Path::new(&path));
        }

        #[test]
        fn near_paths_are_read_without_panic_and_give_only_hex(
            path in "(/|kubepods|\\.slice|-pod|pod|[0-9a-f_-]{0,40}|crio-|\\.scope|é){0,20}"
        ) {
            let identity = identify(Path::new(&path));
            let hex_or_dash = |text: &String| text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
            prop_assert!(identity.pod_uid.iter().chain(&identity.container_id).all(hex_or_dash));
        }

        #[test]
        fn every_uuid_under_every_driver_is_found(uid in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}") {
            let systemd = format!("kubepods.slice/kubepods-pod{}.slice", uid.replace('-', "_"));
            for path in [systemd, format!("kubepods/burstable/pod{uid}")] {
                prop_assert_eq!(identify(Path::new(&path)).pod_uid, Some(uid.clone()));
            }
        }
    }
}
