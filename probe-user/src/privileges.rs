//! What this process may do: its effective capabilities, and whether they count.
//!
//! It reads `/proc/self/status` and says which capabilities are missing. It refuses to try things
//! out: a program that fails to load gives a far worse message than a missing capability.

use std::path::Path;

/// Capabilities that the probe needs, with their bits (`include/uapi/linux/capability.h`).
const NEEDED: [(&str, u32); 3] = [("BPF", 39), ("PERFMON", 38), ("NET_ADMIN", 12)];
/// `CAP_SYS_ADMIN` stands for `CAP_BPF` and `CAP_PERFMON`, which were split off from it.
const SYS_ADMIN: u32 = 21;
/// The uid map of the initial user namespace: the kernel asks for capabilities there.
const INITIAL_UID_MAP: [&str; 3] = ["0", "0", "4294967295"];

/// What the probe lacks to attach its programs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Not all capabilities are there.
    #[error(
        "missing capabilities {}: run as root, or in a container with \
         securityContext.capabilities.add [BPF, PERFMON, NET_ADMIN]",
        names.join(", ")
    )]
    Capabilities {
        /// Their names without `CAP_`.
        names: Vec<&'static str>,
    },
    /// Capabilities are there, but in a user namespace of their own, where the kernel does not
    /// honour them for eBPF.
    #[error(
        "running in a user namespace, where the kernel does not honour capabilities for eBPF: \
         run outside it (Kubernetes: hostUsers: true)"
    )]
    UserNamespace,
    /// `/proc` did not say.
    #[error("cannot read capabilities from {path}: mount /proc")]
    Unknown {
        /// The file.
        path: &'static str,
    },
}

/// Refuses unless this process may do what `run` does.
pub fn require() -> Result<(), Missing> {
    let read = |path: &'static str| {
        std::fs::read_to_string(Path::new(path)).map_err(|_| Missing::Unknown { path })
    };
    judge(&read("/proc/self/status")?, &read("/proc/self/uid_map")?)
}

fn judge(status: &str, uid_map: &str) -> Result<(), Missing> {
    let effective = effective(status).ok_or(Missing::Unknown {
        path: "/proc/self/status",
    })?;
    let has = |bit: u32| effective & (1 << bit) != 0;
    let covered = |&(name, bit): &(&str, u32)| has(bit) || (name != "NET_ADMIN" && has(SYS_ADMIN));
    let names: Vec<&'static str> = NEEDED
        .iter()
        .filter(|needed| !covered(needed))
        .map(|&(name, _)| name)
        .collect();
    if !names.is_empty() {
        return Err(Missing::Capabilities { names });
    }
    if !uid_map.split_whitespace().eq(INITIAL_UID_MAP) {
        return Err(Missing::UserNamespace);
    }
    Ok(())
}

/// The effective set from the text of `/proc/<pid>/status`.
fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: &str = "         0          0 4294967295\n";

    fn check(effective: &str, uid_map: &str, expected: Result<(), Missing>) {
        let status = format!("Name:\tprobe\nCapPrm:\t0\nCapEff:\t{effective}\n");
        assert_eq!(judge(&status, uid_map), expected, "{effective}");
    }

    #[test]
    fn each_capability_is_needed_and_sys_admin_stands_for_two() {
        let lacks = |names: &[&'static str]| {
            Err(Missing::Capabilities {
                names: names.to_vec(),
            })
        };
        check("000001ffffffffff", INITIAL, Ok(()));
        check("000000c000001000", INITIAL, Ok(()));
        check("0000000000201000", INITIAL, Ok(()));
        check("0000000000200000", INITIAL, lacks(&["NET_ADMIN"]));
        check("0000008000001000", INITIAL, lacks(&["PERFMON"]));
        check("0000004000001000", INITIAL, lacks(&["BPF"]));
        check(
            "0000000000000000",
            INITIAL,
            lacks(&["BPF", "PERFMON", "NET_ADMIN"]),
        );
    }

    #[test]
    fn capabilities_of_a_user_namespace_do_not_count() {
        check(
            "000001ffffffffff",
            "0 1000 1\n",
            Err(Missing::UserNamespace),
        );
    }

    #[test]
    fn unreadable_text_is_not_taken_for_rights() {
        check(
            "nonsense",
            INITIAL,
            Err(Missing::Unknown {
                path: "/proc/self/status",
            }),
        );
    }
}
