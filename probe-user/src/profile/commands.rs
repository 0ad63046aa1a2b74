//! The commands of threads, as the kernel keeps them.
//!
//! Read from `/proc` at the start and when a thread is met, and told by the kernel when a thread
//! changes its own. A thread that ended before it was looked at has its process's, or none.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The command of idle tasks, whatever the CPU.
pub const IDLE: &str = "swapper";
/// The command of a thread that ended before it was looked at, or that another process namespace hides.
pub const UNKNOWN: &str = "[unknown]";
/// Numbers are used again: what was read longer ago may be another thread's.
const TRUSTED: Duration = Duration::from_secs(10);
/// The inode of the initial process namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_NAMESPACE: &str = "pid:[4026531836]";

/// Commands by thread.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    by_thread: HashMap<u32, (String, Instant)>,
}

/// Whether this process sees the threads of the whole machine.
pub fn sees_all_threads() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link == Path::new(INITIAL_NAMESPACE))
}

impl Commands {
    /// Reads those of all threads.
    pub fn read(now: Instant) -> Self {
        let mut commands = Self::default();
        for process in numbered("/proc") {
            for thread in numbered(&format!("/proc/{process}/task")) {
                commands.look_up(thread, now);
            }
        }
        commands
    }

    /// A thread has this command from now on.
    pub fn learn(&mut self, thread: u32, command: &[u8], now: Instant) {
        let command = String::from_utf8_lossy(command);
        let command = command.trim_end_matches('\0').to_owned();
        self.by_thread.insert(thread, (command, now));
    }

    /// The command of a thread, else of its process.
    pub fn of(&mut self, thread: u32, process: u32, now: Instant) -> String {
        if thread == 0 {
            return UNKNOWN.to_owned();
        }
        let is_fresh = |(_, read): &(String, Instant)| now.duration_since(*read) < TRUSTED;
        if !self.by_thread.get(&thread).is_some_and(is_fresh) {
            self.look_up(thread, now);
        }
        [thread, process]
            .iter()
            .find_map(|number| self.by_thread.get(number))
            .map_or_else(|| UNKNOWN.to_owned(), |(command, _)| command.clone())
    }

    /// Forgets threads that were not met for long.
    pub fn forget_old(&mut self, now: Instant) {
        self.by_thread
            .retain(|_, (_, read)| now.duration_since(*read) < 6 * TRUSTED);
    }

    fn look_up(&mut self, thread: u32, now: Instant) {
        if let Ok(command) = fs::read(format!("/proc/{thread}/comm")) {
            self.learn(thread, command.trim_ascii_end(), now);
        }
    }
}

/// The entries of a folder whose names are numbers.
fn numbered(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_gone_has_its_processes_command_or_none() {
        let now = Instant::now();
        let mut commands = Commands::default();
        // Beyond what pid_max can be.
        let (gone, process) = (1 << 30, (1 << 30) + 1);
        assert_eq!(commands.of(gone, process, now), UNKNOWN);
        commands.learn(process, b"nginx\0\0", now);
        assert_eq!(commands.of(gone, process, now), "nginx");
        commands.learn(gone, b"worker", now);
        assert_eq!(commands.of(gone, process, now), "worker");
        commands.forget_old(now + Duration::from_secs(3600));
        assert_eq!(commands.of(gone, process, now), UNKNOWN);
        assert_eq!(commands.of(0, 0, now), UNKNOWN);
    }

    #[test]
    fn threads_of_this_machine_have_their_own() {
        let before = Instant::now();
        let mut commands = Commands::read(before);
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        let id = std::process::id();
        assert_eq!(commands.of(id, id, before), own.trim());
    }
}
