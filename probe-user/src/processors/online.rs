//! Which CPUs are online, as /sys/devices/system/cpu/online lists them (`0-3,8`).

use std::collections::BTreeSet;

use anyhow::Context;

const PATH: &str = "/sys/devices/system/cpu/online";

/// Numbers of the CPUs that are online.
pub fn cpus() -> anyhow::Result<BTreeSet<u32>> {
    let text = std::fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
    parse(text.trim()).with_context(|| format!("{PATH}: {text:?} is no list of CPUs"))
}

fn parse(list: &str) -> Option<BTreeSet<u32>> {
    let mut cpus = BTreeSet::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        let check = |list, expected: Option<&[u32]>| {
            let found = parse(list).map(Vec::from_iter);
            assert_eq!(found.as_deref(), expected, "{list}");
        };
        check("0", Some(&[0]));
        check("0-3,8,10-11", Some(&[0, 1, 2, 3, 8, 10, 11]));
        check("", None);
        check("0-", None);
    }

    #[test]
    fn this_machine_has_as_many_as_the_system_says() {
        // SAFETY: the call takes no pointers.
        let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        assert_eq!(cpus().unwrap().len() as i64, count);
    }
}
