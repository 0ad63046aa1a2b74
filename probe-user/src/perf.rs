//! What to do where the kernel refuses a performance event.

use std::{fs, io};

const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
/// Above this level no kernel of kernel.org makes a difference, and Ubuntu's ask for CAP_SYS_ADMIN.
const HIGHEST_OF_KERNEL_ORG: i64 = 2;

/// What a refusal means, with what to do about it; nothing where it is not one of rights.
pub fn advice(refusal: &io::Error) -> Option<String> {
    let level = fs::read_to_string(PARANOID).ok();
    let level = level.and_then(|text| text.trim().parse().ok());
    (refusal.kind() == io::ErrorKind::PermissionDenied).then(|| of_level(level))
}

fn of_level(paranoid: Option<i64>) -> String {
    match paranoid {
        Some(level) if level > HIGHEST_OF_KERNEL_ORG => format!(
            "it needs CAP_PERFMON and, on Ubuntu's kernels at kernel.perf_event_paranoid={level}, \
             CAP_SYS_ADMIN (Launchpad bug 2131046): sysctl -w \
             kernel.perf_event_paranoid={HIGHEST_OF_KERNEL_ORG}"
        ),
        _ => "it needs CAP_PERFMON".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_is_missing() {
        assert_eq!(of_level(Some(2)), "it needs CAP_PERFMON");
        assert_eq!(of_level(None), "it needs CAP_PERFMON");
        assert!(of_level(Some(4)).contains("sysctl -w kernel.perf_event_paranoid=2"));
        for number in [libc::EACCES, libc::EPERM] {
            assert!(advice(&io::Error::from_raw_os_error(number)).is_some());
        }
        assert_eq!(advice(&io::Error::from_raw_os_error(libc::ENOENT)), None);
    }
}
