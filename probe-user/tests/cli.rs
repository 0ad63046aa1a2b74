//! `weighbridge-probe` as a user meets it: bad use is one line that names what to change, exit 2.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const NOBODY: u32 = 65_534;

fn binary() -> PathBuf {
    assert_cmd::cargo::cargo_bin!("weighbridge-probe").to_path_buf()
}

fn output(command: &mut Command) -> Output {
    command
        .env_remove("NODE_NAME")
        .env_remove("RUST_LOG")
        .output()
        .expect("the probe starts")
}

fn check_bad_use(command: &mut Command, names: &[&str]) {
    let output = output(command);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for name in names {
        assert!(stderr.contains(name), "{stderr:?} does not name {name:?}");
    }
}

fn run(directory: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("run")
        .arg("--output")
        .arg(directory)
        .args(flags);
    command
}

fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test drops rights: run it as root (sudo -E)"
    );
}

#[test]
fn bad_values_name_their_flag() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    check_bad_use(
        &mut run(&data, &["--duration", "soon"]),
        &["--duration", "soon"],
    );
    check_bad_use(&mut run(&data, &["--interval", "0s"]), &["--interval"]);
    check_bad_use(&mut run(&data, &["--node", "a/b"]), &["--node", "a/b"]);
    check_bad_use(
        &mut run(&data, &["--tunnel-port", "4789"]),
        &["--tunnel-port", "vxlan=PORT"],
    );
    check_bad_use(&mut run(&data, &["--no-such-flag"]), &["--no-such-flag"]);
    check_bad_use(Command::new(binary()).arg("run"), &["--output"]);
    assert!(!data.exists(), "bad use left something behind");
}

#[test]
fn an_interface_that_is_not_there_is_named_with_its_flag() {
    require_root();
    let directory = tempfile::tempdir().unwrap();
    let mounts = probe_user::cgroups::mounts().expect("mount -t cgroup2 none /sys/fs/cgroup");
    let cgroup = mounts[0].to_str().unwrap();
    let flags = [
        "--cgroup",
        cgroup,
        "--duration",
        "1s",
        "--uplink",
        "nosuch0",
    ];
    check_bad_use(
        &mut run(directory.path(), &flags),
        &["--uplink nosuch0", "lo"],
    );
}

#[test]
fn a_cgroup_that_is_none_is_named_with_its_flag() {
    require_root();
    let directory = tempfile::tempdir().unwrap();
    let flags = [
        "--cgroup",
        directory.path().to_str().unwrap(),
        "--duration",
        "1s",
        "--uplink",
        "lo",
    ];
    check_bad_use(
        &mut run(&directory.path().join("data"), &flags),
        &["--cgroup"],
    );
}

#[test]
fn cycles_that_are_not_to_be_had_are_refused() {
    use probe_user::{cli::Cycles, processors::cycles::Cycles as Source};
    require_root();
    let Err(refusal) = Source::choose(Cycles::Hardware) else {
        // This machine has them: the probe's own choice says the same.
        assert_eq!(Source::choose(Cycles::Auto).unwrap().name(), "hardware");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    check_bad_use(
        &mut run(directory.path(), &["--cycles", "hardware"]),
        &["--cycles hardware", "--cycles auto", &refusal.to_string()],
    );
}

#[test]
fn without_rights_the_missing_ones_are_named() {
    require_root();
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("probe");
    fs::copy(binary(), &copy).unwrap();
    let data = directory.path().join("data");
    let mut command = Command::new(&copy);
    command
        .arg("run")
        .arg("--output")
        .arg(&data)
        .uid(NOBODY)
        .gid(NOBODY);
    check_bad_use(&mut command, &["BPF", "PERFMON", "NET_ADMIN", "root"]);

    let mut command = Command::new(&copy);
    let answer = output(
        command
            .args(["preflight", "--format", "json"])
            .uid(NOBODY)
            .gid(NOBODY),
    );
    assert_eq!(answer.status.code(), Some(1));
    assert_eq!(status_of(&answer, "privileges"), "fail");
}

fn status_of(answer: &Output, check: &str) -> String {
    let checks: Vec<Value> = serde_json::from_slice(&answer.stdout).expect("preflight's JSON");
    let found = checks
        .iter()
        .find(|found| found["check"] == check)
        .expect("the check is there");
    found["status"].as_str().unwrap().to_owned()
}

#[test]
fn preflight_says_what_is_there_and_what_is_not() {
    require_root();
    let mounts = probe_user::cgroups::mounts().expect("mount -t cgroup2 none /sys/fs/cgroup");
    let preflight = |uplink: &str| {
        let mut command = Command::new(binary());
        command.args(["preflight", "--format", "json", "--uplink", uplink]);
        output(command.arg("--cgroup").arg(&mounts[0]))
    };
    let answer = preflight("lo");
    for check in ["privileges", "kernel", "btf", "cgroup", "uplinks"] {
        assert_eq!(status_of(&answer, check), "ok", "{check}");
    }
    assert_eq!(answer.status.code(), Some(0));
    let answer = preflight("nosuch0");
    assert_eq!(status_of(&answer, "uplinks"), "fail");
    assert_eq!(answer.status.code(), Some(1));
}

#[test]
fn help_and_version_succeed() {
    for flags in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let output = output(Command::new(binary()).args(flags));
        assert!(output.status.success());
        assert!(!output.stdout.is_empty());
    }
}
