//! What the kernel's own words mean for the probe. Pure: text in, check out.

use std::io;

use super::Check;
use crate::interfaces::Chosen;
use crate::perf;
use crate::profile::symbols::Visibility;

/// Oldest kernel that takes the programs: arm64's compiler has atomics that return a value from 5.18.
const OLDEST: (u32, u32) = if cfg!(target_arch = "aarch64") {
    (5, 18)
} else {
    (5, 15)
};
/// First kernel with tcx links.
const TCX: (u32, u32) = (6, 6);
/// First kernel that charges maps to memory cgroups instead of `RLIMIT_MEMLOCK`.
const MEMORY_CGROUPS: (u32, u32) = (5, 11);

/// By `uname -r`.
pub fn kernel(release: &str) -> Check {
    let release = release.trim();
    let needed = format!("{}.{} or later is needed", OLDEST.0, OLDEST.1);
    match version(release) {
        None => Check::warn(
            "kernel",
            release,
            format!("version not understood; {needed}"),
        ),
        Some(version) if version < OLDEST => Check::fail(
            "kernel",
            release,
            format!("{needed}: upgrade the node image"),
        ),
        Some(version) if version < TCX => Check::ok(
            "kernel",
            format!("{release}: tc filters through netlink (tcx from 6.6)"),
        ),
        Some(_) => Check::ok("kernel", format!("{release}: tcx")),
    }
}

/// `RLIMIT_MEMLOCK` bounds maps on old kernels only.
pub fn memory_lock(release: &str, is_unlimited: bool) -> Check {
    if is_unlimited || version(release.trim()).is_none_or(|version| version >= MEMORY_CGROUPS) {
        return Check::ok("locked memory", "not limited for maps");
    }
    Check::warn(
        "locked memory",
        "RLIMIT_MEMLOCK bounds maps on this kernel",
        "ulimit -l unlimited",
    )
}

/// `/sys/kernel/security/lockdown`: the mode in force stands in brackets.
pub fn lockdown(modes: Option<&str>) -> Check {
    let mode = modes
        .and_then(|modes| modes.split_once('[')?.1.split_once(']'))
        .map(|(mode, _)| mode);
    match mode {
        Some("confidentiality") => Check::fail(
            "lockdown",
            "confidentiality: programs may not read kernel memory",
            "boot with lockdown=integrity or less",
        ),
        Some(mode) => Check::ok("lockdown", mode),
        None => Check::ok("lockdown", "not in force"),
    }
}

/// `/proc/sys/net/core/bpf_jit_enable`, which only the initial network namespace shows.
pub fn jit(enabled: Option<&str>) -> Check {
    match enabled.map(str::trim) {
        Some("0") => Check::warn(
            "jit",
            "off: every program is interpreted, many times slower",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Some(_) => Check::ok("jit", "on"),
        None => Check::ok("jit", "not shown in this network namespace"),
    }
}

/// Events, which count cycles and take samples.
pub fn events(refusal: Option<io::Error>) -> Check {
    const CHECK: &str = "performance events";
    match refusal {
        None => Check::ok(CHECK, "allowed"),
        Some(refusal) => {
            let advice = perf::advice(&refusal);
            let advice =
                advice.unwrap_or_else(|| "allow perf_event_open (seccomp profile)".to_owned());
            Check::warn(
                CHECK,
                format!("perf_event_open: {refusal}"),
                format!("{advice}, for --profile and cycles of the hardware only"),
            )
        }
    }
}

/// What a profile needs, and nothing else.
pub fn symbols(visibility: Visibility) -> Check {
    const CHECK: &str = "kernel symbols";
    match visibility {
        Visibility::Shown => Check::ok(CHECK, "shown"),
        Visibility::NeedsSyslog => Check::warn(
            CHECK,
            "hidden: stacks of a profile (--profile) will be",
            "add capability SYSLOG, for --profile only",
        ),
        Visibility::Restricted => Check::warn(
            CHECK,
            "hidden by kernel.kptr_restrict=2: stacks of a profile (--profile) will be",
            "sysctl -w kernel.kptr_restrict=1, for --profile only",
        ),
        Visibility::Unreadable => Check::warn(
            CHECK,
            "no /proc/kallsyms: stacks of a profile (--profile) will be hidden",
            "run a kernel built with CONFIG_KALLSYMS=y, for --profile only",
        ),
    }
}

/// `/proc/sys/net/core/bpf_jit_kallsyms`, which only the initial network namespace shows.
pub fn jit_symbols(enabled: Option<&str>) -> Check {
    const CHECK: &str = "names of eBPF programs";
    match enabled.map(str::trim) {
        Some("0") => Check::warn(
            CHECK,
            "off: a profile cannot name programs that are older than it",
            "sysctl -w net.core.bpf_jit_kallsyms=1, for --profile only",
        ),
        Some(_) => Check::ok(CHECK, "on"),
        None => Check::ok(CHECK, "not shown in this network namespace"),
    }
}

/// By `/proc/self/mountinfo`.
pub fn bpf_file_system(mountinfo: &str) -> Check {
    let mount = mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        filesystem
            .starts_with("bpf ")
            .then(|| mount.split(' ').nth(4))?
    });
    match mount {
        Some(path) => Check::ok("bpffs", path),
        // Nothing is pinned: links go with the process that holds them.
        None => Check::ok("bpffs", "not mounted, not needed"),
    }
}

/// XDP programs run before tc: what they forward, redirect or drop never reaches a hook.
pub fn xdp(chosen: &[Chosen]) -> Check {
    let with_xdp: Vec<&str> = chosen
        .iter()
        .filter(|chosen| chosen.link.has_xdp)
        .map(|chosen| chosen.link.name.as_str())
        .collect();
    if with_xdp.is_empty() {
        return Check::ok("xdp", "no program on uplinks or tunnels");
    }
    Check::warn(
        "xdp",
        format!(
            "program on {}: what it takes bypasses the hooks",
            with_xdp.join(", ")
        ),
        "expect missing packets there; Cilium: loadBalancer.acceleration=disabled",
    )
}

/// `/proc/net/protocols` counts the sockets of each protocol of this network namespace.
pub fn af_xdp(protocols: &str) -> Check {
    let sockets = protocols.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        let is_xdp = columns.next() == Some("XDP");
        is_xdp.then(|| columns.nth(1)?.parse::<u64>().ok())?
    });
    match sockets {
        Some(count @ 1..) => Check::warn(
            "af_xdp",
            format!("{count} AF_XDP sockets: their traffic bypasses the hooks"),
            "count such traffic elsewhere",
        ),
        _ => Check::ok("af_xdp", "no AF_XDP socket in this network namespace"),
    }
}

/// Major and minor number of a release such as `6.8.0-1021-azure`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor: &str = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::Status::{self, Fail, Ok, Warn};
    use super::*;
    use crate::interfaces::{Role, tests::link};

    fn check(check: &Check, expected: Status) {
        assert_eq!(check.status, expected, "{check:?}");
        assert_eq!(check.advice.is_empty(), expected == Ok, "{check:?}");
    }

    #[test]
    fn kernels() {
        let with_atomics = if cfg!(target_arch = "aarch64") {
            Fail
        } else {
            Ok
        };
        check(&kernel("5.15.0-1075-azure\n"), with_atomics);
        check(&kernel("5.18.0"), Ok);
        check(&kernel("5.14.0-427.el9.x86_64"), Fail);
        check(&kernel("4.19.0"), Fail);
        check(&kernel("6.6"), Ok);
        check(&kernel("10.1-rc1"), Ok);
        check(&kernel("unknown"), Warn);
        assert!(kernel("6.5.13").found.contains("netlink"));
        assert!(kernel("6.12.1").found.ends_with(": tcx"));
    }

    #[test]
    fn locked_memory_counts_on_old_kernels_only() {
        check(&memory_lock("5.10.0", false), Warn);
        check(&memory_lock("5.10.0", true), Ok);
        check(&memory_lock("5.15.0", false), Ok);
    }

    #[test]
    fn lockdown_modes() {
        check(&lockdown(Some("none integrity [confidentiality]\n")), Fail);
        check(&lockdown(Some("none [integrity] confidentiality\n")), Ok);
        check(&lockdown(Some("[none] integrity confidentiality\n")), Ok);
        check(&lockdown(None), Ok);
    }

    #[test]
    fn jit_off_is_slow() {
        check(&jit(Some("0\n")), Warn);
        check(&jit(Some("1\n")), Ok);
        check(&jit(None), Ok);
    }

    #[test]
    fn a_profile_without_names_is_no_failure() {
        check(&symbols(Visibility::Shown), Ok);
        check(&symbols(Visibility::NeedsSyslog), Warn);
        assert!(symbols(Visibility::NeedsSyslog).advice.contains("SYSLOG"));
        check(&symbols(Visibility::Restricted), Warn);
        check(&symbols(Visibility::Unreadable), Warn);
        check(&jit_symbols(Some("0\n")), Warn);
        check(&jit_symbols(Some("1\n")), Ok);
        check(&jit_symbols(None), Ok);
    }

    #[test]
    fn events_that_are_refused_are_no_failure() {
        check(&events(None), Ok);
        for number in [libc::EACCES, libc::ENOSYS] {
            check(&events(Some(io::Error::from_raw_os_error(number))), Warn);
        }
    }

    #[test]
    fn bpffs_is_found_by_its_type() {
        let mounted = "33 24 0:30 / /sys/fs/bpf rw shared:11 - bpf bpf rw,mode=700\n";
        assert_eq!(bpf_file_system(mounted).found, "/sys/fs/bpf");
        check(&bpf_file_system("33 24 0:30 / /bpf rw - tmpfs bpf rw"), Ok);
        assert!(bpf_file_system("").found.contains("not mounted"));
    }

    #[test]
    fn what_bypasses_the_hooks_is_named() {
        let plain = Chosen {
            role: Role::Uplink,
            link: link(2, "eth0", None),
        };
        check(&xdp(std::slice::from_ref(&plain)), Ok);
        let mut taken = plain;
        taken.link.has_xdp = true;
        check(&xdp(&[taken.clone()]), Warn);
        assert!(xdp(&[taken]).found.contains("eth0"));

        let protocols = |sockets: u32| {
            format!(
                "protocol  size sockets  memory press maxhdr  slab module\n\
                 XDP        960      {sockets}      -1   NI       0   no   kernel\n\
                 TCP       2432     27       4   no     320   yes  kernel\n"
            )
        };
        check(&af_xdp(&protocols(2)), Warn);
        check(&af_xdp(&protocols(0)), Ok);
        check(&af_xdp(""), Ok);
    }
}
