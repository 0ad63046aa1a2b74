//! The static binary: cargo-zigbuild for a musl target.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use cargo_metadata::MetadataCommand;

use crate::command::{self, workspace_root};
use crate::setup::{self, Wheel};

const BINARY: &str = "weighbridge-probe";
/// Cargo's profile of what goes into the image.
const PROFILE: &str = "static";

/// Architecture of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Arch {
    /// As images and nodes name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// That of a name which a node gives.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        match name {
            "amd64" => Ok(Self::Amd64),
            "arm64" => Ok(Self::Arm64),
            other => bail!("nodes of architecture {other}: the probe runs on amd64 and arm64"),
        }
    }

    /// That of the machine that runs this.
    pub fn of_this_machine() -> anyhow::Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("this machine is {other}: give --arch amd64 or --arch arm64"),
        }
    }

    /// The one that it is not.
    pub fn other(self) -> Self {
        match self {
            Self::Amd64 => Self::Arm64,
            Self::Arm64 => Self::Amd64,
        }
    }

    fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }
}

/// Builds the binary and says where it is.
pub fn build(arch: Arch) -> anyhow::Result<PathBuf> {
    require_target(arch)?;
    let zigbuild = setup::wheel(Wheel::Zigbuild)?;
    let mut cargo = command::cargo(["zigbuild", "--profile", PROFILE, "--package", "probe-user"]);
    cargo.args(["--bin", BINARY, "--target", arch.triple()]);
    // cargo finds its subcommand, and that finds zig, by PATH.
    let folder = zigbuild.parent().map(PathBuf::from).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    cargo.env("PATH", std::env::join_paths(folders).context("PATH")?);
    command::run(&mut cargo)?;
    let binary = target_folder()?
        .join(arch.triple())
        .join(PROFILE)
        .join(BINARY);
    if !binary.is_file() {
        bail!("{} is not there after its build", binary.display());
    }
    Ok(binary)
}

/// The certificates of public authorities, as Mozilla gives them out.
pub fn certificates() -> anyhow::Result<PathBuf> {
    let python = setup::wheel(Wheel::Zigbuild)?.with_file_name("python3");
    let mut ask = Command::new(python);
    let file = command::output_of(ask.args(["-m", "certifi"]));
    file.map(PathBuf::from)
        .context("certifi does not say where its file is")
}

/// Adds the standard library of the target, where rustup has not.
fn require_target(arch: Arch) -> anyhow::Result<()> {
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--print", "sysroot"])
        .current_dir(workspace_root());
    let sysroot = command::output_of(&mut rustc).context("`rustc --print sysroot` failed")?;
    let library = PathBuf::from(sysroot)
        .join("lib/rustlib")
        .join(arch.triple());
    if library.join("lib").is_dir() {
        return Ok(());
    }
    let line = format!("rustup target add {}", arch.triple());
    if command::find_program("rustup").is_none() {
        bail!("no standard library for {}: `{line}`", arch.triple());
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add", arch.triple()]);
    command::run(add.current_dir(workspace_root()))
}

fn target_folder() -> anyhow::Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .current_dir(workspace_root())
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    Ok(metadata.target_directory.into_std_path_buf())
}
