//! What the bench asks of the machine: its CPU time, namespaces, cgroups and programs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::Context;
use e2e::processors::{Processors, TICK_NS};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

const CGROUP: &str = "/sys/fs/cgroup";

/// CPU time that the machine was neither idle nor stolen by its hypervisor; less where a processor that
/// was woken had to wait, which is both.
pub fn busy_ns() -> anyhow::Result<f64> {
    let processors = Processors::read()?;
    Ok(processors.awake_ns - processors.stolen_ns)
}

/// Switches between tasks on all CPUs since the machine started.
pub fn switches() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let switches = stat.lines().find_map(|line| line.strip_prefix("ctxt "));
    Ok(switches.context("no ctxt in /proc/stat")?.trim().parse()?)
}

/// CPU time that the scheduler charged to a cgroup and those below it.
pub fn charged_ns(cgroup: &Path) -> anyhow::Result<f64> {
    let path = cgroup.join("cpu.stat");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let usage = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "));
    let usage = usage.with_context(|| format!("no usage_usec in {}", path.display()))?;
    Ok(usage.trim().parse::<f64>()? * 1e3)
}

/// Keeps a program on one CPU, where there are that many.
pub fn on_cpu(command: &mut Command, cpu: usize) {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut set = CpuSet::new();
    if cpu >= cpus || set.set(cpu).is_err() {
        return;
    }
    // SAFETY: the closure makes one system call, between fork and exec of a program that has one
    // thread here.
    unsafe {
        command.pre_exec(move || Ok(sched_setaffinity(Pid::from_raw(0), &set)?));
    }
}

/// CPU time of a process in user mode, its ended children left out.
pub fn user_ns(process: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The program's name, in parentheses, may hold blanks.
    let fields = stat
        .rsplit_once(") ")
        .context("no name in a process's stat")?;
    let user = fields
        .1
        .split(' ')
        .nth(11)
        .context("a short process's stat")?;
    Ok(user.parse::<f64>()? * TICK_NS)
}

/// A program in a network namespace. nsenter, since `ip netns exec` hides the cgroup mount.
pub fn inside(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/var/run/netns/{namespace}"))
        .arg("--")
        .arg(program);
    command
}

/// Has a program start in a cgroup.
pub fn in_cgroup(command: &mut Command, cgroup: &Path) {
    let procs = cgroup.join("cgroup.procs");
    // SAFETY: the closure only writes to a file, between fork and exec of a program that has one
    // thread here.
    unsafe {
        command.pre_exec(move || fs::write(&procs, "0"));
    }
}

/// Where cgroup v2 is mounted.
pub fn cgroup2() -> anyhow::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.len() > 2 && fields[2] == "cgroup2" && fields[1].starts_with(CGROUP))
        .map(|fields| PathBuf::from(fields[1]))
        .context("no cgroup v2 mount")
}

/// Runs `ip`.
pub fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("ip")
        .args(arguments)
        .status()
        .context("apt-get install iproute2")?;
    anyhow::ensure!(status.success(), "ip {} failed", arguments.join(" "));
    Ok(())
}

/// A program that ends when dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let id = Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}
