//! `cargo xtask image`: the probe as a static binary, alone in an image.
//!
//! The binary is built for musl by cargo-zigbuild, with zig as the C compiler, so that either
//! architecture builds on either. The image has no base: the binary and the certificates of public
//! authorities, which stores are checked against. It is made by docker, podman or buildah, the
//! first that answers; none needs the network for it.

mod binary;
mod engine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::command::{self, workspace_root};
use crate::deploy_probe::Target;
use crate::deploy_probe::settings::Settings;
use crate::packages;
pub use binary::Arch;
use engine::Engine;

/// What the image is made of, beside the two files.
const CONTAINERFILE: &str = "deploy/image/Containerfile";

/// Options of `cargo xtask image`.
#[derive(clap::Args)]
pub struct Options {
    /// Architecture of the nodes (default: that of this machine).
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// Name with registry and tag (default: the one that `deploy-probe --target kind` uses).
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Build the binary alone.
    #[arg(long)]
    binary_only: bool,
    /// Write the image to this file as well, as `docker load` and `kind load image-archive` take it.
    #[arg(long, value_name = "FILE", conflicts_with = "binary_only")]
    save: Option<PathBuf>,
    /// Push the image to its registry.
    #[arg(long, conflicts_with = "binary_only")]
    push: bool,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let arch = match options.arch {
        Some(arch) => arch,
        None => Arch::of_this_machine()?,
    };
    if options.binary_only {
        let binary = binary::build(arch)?;
        println!("{}", binary.display());
        return Ok(ExitCode::SUCCESS);
    }
    let usual = Settings::of(Target::Kind).image;
    let image = Image::build(arch, options.image.as_deref().unwrap_or(&usual))?;
    if let Some(file) = &options.save {
        image.save(file)?;
    }
    if options.push {
        image.push()?;
    }
    println!("{}", image.name);
    Ok(ExitCode::SUCCESS)
}

/// An image that an engine holds.
pub struct Image {
    /// SHA-256 of its binary, hexadecimal.
    pub binary: String,
    name: String,
    engine: Engine,
}

impl Image {
    /// Builds the binary and the image.
    pub fn build(arch: Arch, name: &str) -> anyhow::Result<Self> {
        let engine = Engine::find()?;
        let binary = binary::build(arch)?;
        let context = workspace_root().join("target/image").join(arch.name());
        fill(&context, &binary)?;
        engine.build(&context, &workspace_root().join(CONTAINERFILE), arch, name)?;
        Ok(Self {
            binary: sha256(&binary)?,
            name: name.to_owned(),
            engine,
        })
    }

    /// Writes it to a file.
    pub fn save(&self, file: &Path) -> anyhow::Result<()> {
        // An archive that is there already is added to by some engines and refused by others.
        if file.exists() {
            fs::remove_file(file)
                .with_context(|| format!("could not remove {}", file.display()))?;
        }
        self.engine.save(&self.name, file)
    }

    /// Sends it to its registry.
    pub fn push(&self) -> anyhow::Result<()> {
        self.engine.push(&self.name).with_context(|| {
            format!(
                "pushing {} (log in to the registry first, as with `az acr login --name NAME`)",
                self.name
            )
        })
    }

    /// Brings it to every node of the kind cluster that a context names.
    pub fn load_into_kind(&self, context: &str) -> anyhow::Result<()> {
        let Some(cluster) = context.strip_prefix("kind-") else {
            bail!(
                "context {context} is not of a kind cluster, whose contexts begin with kind-; where nodes have the image already, --no-build"
            );
        };
        let archive = workspace_root().join("target/image/weighbridge-probe.tar");
        self.save(&archive)?;
        let mut load = Command::new("kind");
        load.args(["load", "image-archive"]).arg(&archive);
        command::run(load.args(["--name", cluster]))
    }
}

/// What the tests look at.
pub struct Built {
    /// The binary for this machine.
    pub probe: PathBuf,
    /// The image for this machine, as `docker save` writes it.
    pub archive: PathBuf,
}

/// Builds the image of this machine.
pub fn build_for_tests() -> anyhow::Result<Built> {
    let arch = Arch::of_this_machine()?;
    if Engine::find().is_err() {
        packages::install(&["buildah"])?;
    }
    let name = Settings::of(Target::Kind).image;
    let image = Image::build(arch, &name)?;
    let archive = workspace_root().join("target/image/weighbridge-probe.tar");
    image.save(&archive)?;
    Ok(Built {
        probe: binary::build(arch)?,
        archive,
    })
}

/// Builds the binary for the architecture that this machine is not.
pub fn build_other_for_tests() -> anyhow::Result<PathBuf> {
    binary::build(Arch::of_this_machine()?.other())
}

fn sha256(file: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    let digest = Sha256::digest(&bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The folder that the image is built from, with the two files and nothing else.
fn fill(context: &Path, binary: &Path) -> anyhow::Result<()> {
    let certificates = binary::certificates()?;
    fs::create_dir_all(context).with_context(|| format!("could not make {}", context.display()))?;
    for (from, name) in [
        (binary, "weighbridge-probe"),
        (certificates.as_path(), "ca-certificates.crt"),
    ] {
        let to = context.join(name);
        fs::copy(from, &to)
            .with_context(|| format!("could not copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}
