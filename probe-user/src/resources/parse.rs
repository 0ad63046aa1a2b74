//! The text of the kernel's accounting files. Pure: what is not there is absent.

/// `/proc/stat`, in ticks of user space's clock, all CPUs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors {
    /// CPUs online.
    pub online: i32,
    /// In user space, at any priority; guests included.
    pub user: u64,
    /// In the kernel, interrupts not included.
    pub system: u64,
    /// In interrupts.
    pub irq: u64,
    /// In softirqs.
    pub softirq: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
}

impl Processors {
    /// Reads `/proc/stat` (proc_stat(5)).
    pub fn parse(text: &str) -> Option<Self> {
        let fields = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = fields
            .split_ascii_whitespace()
            .map_while(|field| field.parse().ok())
            .collect();
        let &[user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks.as_slice()
        else {
            return None;
        };
        let numbered = |line: &&str| {
            let number = line
                .strip_prefix("cpu")
                .and_then(|rest| rest.bytes().next());
            number.is_some_and(|byte| byte.is_ascii_digit())
        };
        Some(Self {
            online: text.lines().filter(numbered).count() as i32,
            user: user + nice,
            system,
            irq,
            softirq,
            steal,
        })
    }

    /// All that was run.
    pub fn used(&self) -> u64 {
        self.user + self.system + self.irq + self.softirq
    }
}

/// `/proc/meminfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineMemory {
    /// Memory that the kernel manages.
    pub total_bytes: Option<u64>,
    /// What could be had without swapping.
    pub available_bytes: Option<u64>,
}

impl MachineMemory {
    /// Reads `/proc/meminfo` (proc_meminfo(5)).
    pub fn parse(text: &str) -> Self {
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
            kibibytes.checked_mul(1024)
        };
        Self {
            total_bytes: bytes("MemTotal:"),
            available_bytes: bytes("MemAvailable:"),
        }
    }

    /// Memory that is neither free nor could be made so.
    pub fn used_bytes(&self) -> Option<i64> {
        let used = self.total_bytes?.checked_sub(self.available_bytes?)?;
        i64::try_from(used).ok()
    }
}

/// A pressure file: time in which some or all tasks waited, since the cgroup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Microseconds in which some task waited.
    pub some_us: Option<u64>,
    /// Microseconds in which all tasks waited.
    pub full_us: Option<u64>,
}

/// Reads `/proc/pressure/*` or a cgroup's `*.pressure` (Documentation/accounting/psi.rst).
pub fn pressure(text: &str) -> Stall {
    let total = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let fields = line.split_ascii_whitespace();
        let total = fields
            .filter_map(|field| field.strip_prefix("total="))
            .next()?;
        total.parse().ok()
    };
    Stall {
        some_us: total("some "),
        full_us: total("full "),
    }
}

/// The value of a key in a file of `key value` lines, such as `cpu.stat` and `memory.stat`.
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then_some(value)
    })?;
    line.trim().parse().ok()
}

/// A file that holds one number; `max` and what cgroup v1 writes for it are none.
pub fn limit(text: &str) -> Option<u64> {
    /// cgroup v1 rounds the largest signed number down to a page.
    const NO_LIMIT: u64 = 1 << 62;
    text.trim().parse().ok().filter(|&bytes| bytes < NO_LIMIT)
}

/// Nanoseconds of one tick of the clock that `/proc/stat` counts in.
pub fn user_tick_ns() -> u64 {
    // SAFETY: the call takes no pointers.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // The kernel has told user space 100 on every architecture that it runs on here.
    1_000_000_000
        / u64::try_from(ticks_per_second)
            .ok()
            .filter(|&ticks| ticks > 0)
            .unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_added_up_but_for_idle_and_stolen_time() {
        let text = "cpu  10 2 30 400 50 6 7 8 3 0\n\
                    cpu0 5 1 15 200 25 3 3 4 1 0\n\
                    cpu3 5 1 15 200 25 3 4 4 2 0\n\
                    intr 12 0\nctxt 99\n";
        let processors = Processors::parse(text).unwrap();
        assert_eq!(processors.online, 2);
        assert_eq!((processors.user, processors.system), (12, 30));
        assert_eq!((processors.softirq, processors.steal), (7, 8));
        assert_eq!(processors.used(), 12 + 30 + 6 + 7);
        assert_eq!(Processors::parse("cpu0 1 2 3 4 5 6 7 8\n"), None);
        assert_eq!(Processors::parse("cpu  1 2 3\n"), None);
    }

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let memory =
            MachineMemory::parse("MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable: 512 kB\n");
        assert_eq!(memory.used_bytes(), Some(1536 * 1024));
        assert_eq!(MachineMemory::parse("MemTotal: 1 kB\n").used_bytes(), None);
    }

    #[test]
    fn pressure_has_totals() {
        let text = "some avg10=0.12 avg60=0.00 avg300=0.00 total=4711\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=42\n";
        let expected = Stall {
            some_us: Some(4711),
            full_us: Some(42),
        };
        assert_eq!(pressure(text), expected);
        // Kernels before 5.13 have no `full` for CPUs.
        assert_eq!(pressure("some avg10=0.00 total=1\n").full_us, None);
        assert_eq!(pressure(""), Stall::default());
    }

    #[test]
    fn keys_are_whole_words_and_limits_may_be_none() {
        let text = "usage_usec 12\nuser_usec 7\nnr_throttled 0\n";
        assert_eq!(keyed(text, "usage_usec"), Some(12));
        assert_eq!(keyed(text, "usage"), None);
        assert_eq!(keyed(text, "throttled_usec"), None);
        assert_eq!(limit("4096\n"), Some(4096));
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("9223372036854771712\n"), None);
    }
}
