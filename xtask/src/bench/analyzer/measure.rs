//! A program's wall time, CPU time and peak memory, as the kernel accounts for them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// What a program took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// From its start to its end.
    pub wall: Duration,
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Most memory that was resident at once.
    pub peak_bytes: u64,
}

/// Runs a program to its end: what it took, and its standard output. Exit codes other than those
/// given are errors.
pub fn run(command: &mut Command, expected: &[i32]) -> anyhow::Result<(Usage, Vec<u8>)> {
    let shown = crate::command::display(command);
    eprintln!("$ {shown}");
    let mut output = tempfile_of(&shown)?;
    let started = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .spawn()
        .with_context(|| format!("could not start `{shown}`"))?;
    let (status, usage) = wait(child.id())?;
    let wall = started.elapsed();
    if !expected.contains(&status) {
        bail!("`{shown}` ended with {status}");
    }
    let text = read_back(&mut output)?;
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    let usage = Usage {
        wall,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak_bytes: usage.ru_maxrss.unsigned_abs() * 1024,
    };
    Ok((usage, text))
}

/// Waits for a child's end: its exit code (128 and the signal where one ended it), and its usage.
fn wait(pid: u32) -> anyhow::Result<(i32, libc::rusage)> {
    let pid = libc::pid_t::try_from(pid).context("a process id out of range")?;
    let mut status = 0;
    // SAFETY: rusage holds integers only, of which any bytes are values.
    let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
    // SAFETY: both pointers are to live values of the types that wait4 writes, and the child is ours
    // and has not been waited for.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    if waited != pid {
        return Err(std::io::Error::last_os_error()).context("could not wait for the program");
    }
    let code = match libc::WIFEXITED(status) {
        true => libc::WEXITSTATUS(status),
        false => 128 + libc::WTERMSIG(status),
    };
    Ok((code, usage))
}

/// A file without a name: a pipe would have to be emptied meanwhile.
fn tempfile_of(shown: &str) -> anyhow::Result<std::fs::File> {
    let path = std::env::temp_dir().join(format!("weighbridge-bench-{}", std::process::id()));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("no file for the output of `{shown}`: {}", path.display()))?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn read_back(file: &mut std::fs::File) -> anyhow::Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut text)?;
    Ok(text)
}
