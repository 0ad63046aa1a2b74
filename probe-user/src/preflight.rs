//! `preflight`: whether this machine has what `run` needs, and what to do where it has not.
//!
//! It holds the list of checks and their presentation; judging what was found is pure and in
//! [`judge`]. It refuses to change anything, and to stop at the first thing that is missing.

pub mod judge;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use trace_schema::cpu::CycleSource;

use crate::cli::{PreflightArgs, ReportFormat};
use crate::interfaces::netlink::Netlink;
use crate::interfaces::{Chosen, Role, Survey};
use crate::processors::cycles::{self, Cycles};
use crate::{cgroups, cli, privileges, profile};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `run` has what it needs.
    Ok,
    /// `run` works, and something is slower or not seen.
    Warn,
    /// `run` would fail.
    Fail,
}

/// One check with its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub check: &'static str,
    /// How it came out.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where all is well.
    pub advice: String,
}

impl Check {
    /// All is well.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Ok,
            found: found.into(),
            advice: String::new(),
        }
    }

    /// `run` works, with a restriction.
    pub fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Warn,
            found: found.into(),
            advice: advice.into(),
        }
    }

    /// `run` would fail.
    pub fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Fail,
            found: found.into(),
            advice: advice.into(),
        }
    }
}

/// Checks, prints, and exits 1 if anything failed.
pub fn run(arguments: &PreflightArgs) -> anyhow::Result<ExitCode> {
    let checks = examine(arguments);
    let text = match arguments.format {
        ReportFormat::Table => table(&checks),
        ReportFormat::Json => serde_json::to_string_pretty(&checks).context("preflight as JSON")?,
    };
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write to standard output");
        }
        _ => {}
    }
    let failed = checks.iter().any(|check| check.status == Status::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Every check, in the order in which `run` would meet what is missing.
pub fn examine(arguments: &PreflightArgs) -> Vec<Check> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut checks = vec![
        privileges(),
        judge::kernel(&release),
        judge::memory_lock(&release, memory_lock_is_unlimited()),
        btf(),
        judge::lockdown(read("/sys/kernel/security/lockdown").as_deref()),
        judge::jit(read("/proc/sys/net/core/bpf_jit_enable").as_deref()),
        judge::events(cycles::permission().err()),
        judge::symbols(profile::symbols::visibility()),
        judge::jit_symbols(read("/proc/sys/net/core/bpf_jit_kallsyms").as_deref()),
        judge::bpf_file_system(&read("/proc/self/mountinfo").unwrap_or_default()),
        cgroup(arguments),
    ];
    match Netlink::open().and_then(|mut netlink| netlink.survey()) {
        Ok(survey) => checks.extend(interfaces(arguments, &survey)),
        Err(error) => checks.push(Check::fail(
            "interfaces",
            format!("{:#}", anyhow::Error::from(error)),
            "allow AF_NETLINK sockets (seccomp profile)",
        )),
    }
    checks.push(cycle_source());
    checks.push(judge::af_xdp(
        &read("/proc/net/protocols").unwrap_or_default(),
    ));
    checks
}

fn privileges() -> Check {
    match privileges::require() {
        Ok(()) => Check::ok("privileges", "BPF, PERFMON, NET_ADMIN"),
        Err(missing) => {
            let text = missing.to_string();
            let (found, advice) = text.split_once(": ").unwrap_or((&text, ""));
            Check::fail("privileges", found, advice)
        }
    }
}

fn btf() -> Check {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    match fs::File::open(PATH) {
        Ok(_) => Check::ok("btf", PATH),
        Err(error) => Check::fail(
            "btf",
            format!("{PATH}: {error}"),
            "mount sysfs at /sys, and run a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        ),
    }
}

fn cgroup(arguments: &PreflightArgs) -> Check {
    match cgroups::root(arguments.cgroup.as_deref()) {
        Ok(root) => Check::ok("cgroup", root.display().to_string()),
        Err(error) => {
            let text = error.to_string();
            Check::fail(
                "cgroup",
                text,
                "in a container: mount the host's /sys/fs/cgroup read-only",
            )
        }
    }
}

fn interfaces(arguments: &PreflightArgs, survey: &Survey) -> Vec<Check> {
    let chosen = match survey.choose(&arguments.uplinks, &[]) {
        Ok(chosen) => chosen,
        Err(error) => {
            let advice = "in a container: hostNetwork: true; else name one with --uplink";
            return vec![Check::fail("uplinks", error.to_string(), advice)];
        }
    };
    let names = |role: Role| {
        let of_role = chosen.iter().filter(|chosen: &&Chosen| chosen.role == role);
        of_role
            .map(|chosen| chosen.link.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let tunnels = match names(Role::Tunnel) {
        none if none.is_empty() => "none: pods are routed, or this node is alone".to_owned(),
        tunnels => tunnels,
    };
    vec![
        Check::ok("uplinks", names(Role::Uplink)),
        Check::ok("tunnels", tunnels),
        judge::xdp(&chosen),
    ]
}

/// What the probe would count as cycles, and why that.
fn cycle_source() -> Check {
    match Cycles::choose(cli::Cycles::Auto) {
        Ok(found) if found.source() == CycleSource::Hardware => {
            Check::ok("cycles", found.to_string())
        }
        Ok(found) => Check::warn(
            "cycles",
            found.to_string(),
            match cycles::permission() {
                Ok(()) => {
                    "none needed; counts of the processor's own cycles need a machine that shows its PMU"
                }
                Err(_) => "see performance events",
            },
        ),
        Err(error) => Check::warn("cycles", error.to_string(), "--cycles none"),
    }
}

fn memory_lock_is_unlimited() -> bool {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY)
}

/// The text of a file that need not be there.
fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn table(checks: &[Check]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["", "check", "found", "what to do"]);
    for check in checks {
        let status = match check.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        table.add_row([status, check.check, &check.found, &check.advice]);
    }
    table.to_string()
}
