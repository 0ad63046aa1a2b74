//! Finding a compiler for the eBPF target, and the linker that it needs.
//!
//! Two ways lead there: rustup's nightly with the standard library's source, or the distribution's
//! own rustc with its source package, told by `RUSTC_BOOTSTRAP` to accept unstable options. What
//! is missing is installed where that takes no decision of the user's, and said; else the error is
//! the line to type.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::bail;

use crate::command;

/// Which toolchain builds the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// rustup's nightly with the component rust-src.
    Rustup,
    /// The distribution's rustc, cargo and source package (Debian: rustc-web, cargo-web,
    /// rust-web-src).
    Distribution,
}

/// A compiler that can build `core` for the eBPF target.
#[derive(Debug)]
pub struct Toolchain {
    choice: Choice,
    version: String,
    /// The compiler's root folder, which holds the library sources.
    pub sysroot: PathBuf,
}

impl Toolchain {
    /// A cargo command of this toolchain, whatever toolchain the task itself runs under.
    pub fn cargo(&self) -> Command {
        match self.choice {
            Choice::Rustup => {
                let mut command = Command::new("cargo");
                command
                    .env("RUSTUP_TOOLCHAIN", "nightly")
                    .env_remove("RUSTC");
                command
            }
            Choice::Distribution => {
                let mut command = Command::new("/usr/bin/cargo");
                command
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1");
                command.env_remove("RUSTUP_TOOLCHAIN");
                command
            }
        }
    }

    fn with_sources(choice: Choice, rustc: &mut Command) -> Option<Self> {
        let sysroot = PathBuf::from(command::output_of(rustc.args(["--print", "sysroot"]))?);
        let core = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        let version = command::output_of(rustc.arg("--version"))?;
        core.is_file().then_some(Self {
            choice,
            version,
            sysroot,
        })
    }

    fn rustup() -> Option<Self> {
        command::find_program("rustup")?;
        Self::with_sources(Choice::Rustup, &mut rustup(["run", "nightly", "rustc"]))
    }

    fn distribution() -> Option<Self> {
        let rustc = Path::new("/usr/bin/rustc");
        if !rustc.is_file() || !Path::new("/usr/bin/cargo").is_file() {
            return None;
        }
        Self::with_sources(Choice::Distribution, &mut Command::new(rustc))
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.choice {
            Choice::Rustup => "rustup's nightly",
            Choice::Distribution => "the distribution's toolchain",
        };
        write!(formatter, "{origin}, {}", self.version)
    }
}

/// The toolchain to build with, and bpf-linker on `PATH`; installs what is missing where it can.
pub fn find(choice: Option<Choice>) -> anyhow::Result<Toolchain> {
    let toolchain = match choice {
        Some(Choice::Rustup) => Toolchain::rustup().or_else(install_rustup),
        Some(Choice::Distribution) => Toolchain::distribution().or_else(install_distribution),
        None => Toolchain::rustup()
            .or_else(Toolchain::distribution)
            .or_else(install_rustup)
            .or_else(install_distribution),
    };
    let Some(toolchain) = toolchain else {
        bail!(
            "no toolchain for eBPF: run `{RUSTUP_LINE}`, or on Debian `apt-get install {}`",
            DISTRIBUTION_PACKAGES.join(" ")
        );
    };
    ensure_linker()?;
    Ok(toolchain)
}

const RUSTUP_LINE: &str = "rustup toolchain install nightly --profile minimal --component rust-src";
const RUSTUP_LIMIT: Duration = Duration::from_secs(240);
const DISTRIBUTION_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const LINKER_PACKAGES: [&str; 4] = [
    "llvm-22-dev",
    "libpolly-22-dev",
    "zlib1g-dev",
    "libzstd-dev",
];
const LINKER_VERSION: &str = "0.13.0";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

fn rustup<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new("rustup");
    command.args(arguments).env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn install_rustup() -> Option<Toolchain> {
    command::find_program("rustup")?;
    // An installed nightly stays at its version: only what it lacks is added.
    let mut install =
        if command::output_of(&mut rustup(["run", "nightly", "rustc", "-V"])).is_some() {
            rustup(["component", "add", "rust-src", "--toolchain", "nightly"])
        } else {
            rustup(RUSTUP_LINE.split(' ').skip(1))
        };
    if let Err(error) = command::run_within(&mut install, RUSTUP_LIMIT) {
        eprintln!("rustup did not help: {error:#}");
    }
    Toolchain::rustup()
}

fn install_distribution() -> Option<Toolchain> {
    if let Err(error) = crate::packages::install(&DISTRIBUTION_PACKAGES) {
        eprintln!("the distribution did not help: {error:#}");
    }
    Toolchain::distribution()
}

fn ensure_linker() -> anyhow::Result<()> {
    if command::find_program("bpf-linker").is_some() {
        return Ok(());
    }
    if !Path::new(LLVM_PREFIX).join("bin/llvm-config").is_file() {
        crate::packages::install(&LINKER_PACKAGES)?;
    }
    let mut install = command::cargo(["install", "bpf-linker", "--version", LINKER_VERSION]);
    install.args(["--locked", "--no-default-features", "--features", "llvm-22"]);
    install.env("LLVM_PREFIX", LLVM_PREFIX);
    eprintln!("building bpf-linker, once: about two minutes");
    command::run(&mut install)?;
    if command::find_program("bpf-linker").is_none() {
        bail!("bpf-linker was installed but is not on PATH: add ~/.cargo/bin to PATH");
    }
    Ok(())
}
