//! `cargo xtask build-ebpf`: builds the eBPF programs and says what each of them costs.
//!
//! Three objects come out: the probe's (`target/ebpf/weighbridge.bpf.o`, installed into
//! `probe-user/ebpf/` with the hash of its sources, so that user space builds on stable Rust
//! alone), the one for test runs (`bench.bpf.o`) and the lab's datapath (`lab.bpf.o`). An object
//! that would carry a path of the machine that built it is refused.

mod object_file;
mod statistics;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use cargo_metadata::MetadataCommand;

use crate::command::{self, workspace_root};
pub use toolchain::Choice;
use toolchain::Toolchain;

#[path = "../../probe-user/source_hash.rs"]
pub mod source_hash;

const TARGET: &str = "bpfel-unknown-none";

/// The packages that build for the eBPF target.
pub const EBPF_PACKAGES: [&str; 2] = ["probe-ebpf", "lab-ebpf"];

/// Options of `cargo xtask build-ebpf`.
#[derive(clap::Args)]
pub struct Options {
    /// Which toolchain to build with; without it, the first that is there.
    #[arg(long, value_enum)]
    toolchain: Option<Choice>,

    /// Leave the committed object in `probe-user/ebpf` as it is.
    #[arg(long)]
    no_install: bool,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let objects = build_and_print(options.toolchain)?;
    if !options.no_install
        && let Some(object) = objects.iter().find(|object| object.kind == Kind::Probe)
    {
        install(object)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The probe's programs.
    Probe,
    /// The shared bodies in wrappers for `BPF_PROG_TEST_RUN`.
    Bench,
    /// The lab's SNAT datapath.
    Lab,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Probe, Self::Bench, Self::Lab];

    /// The binary target that the object is built from.
    fn binary(self) -> &'static str {
        match self {
            Self::Probe => "weighbridge-probe-ebpf",
            Self::Bench => "weighbridge-bench-ebpf",
            Self::Lab => "lab-ebpf",
        }
    }

    /// Folders of the crates that it is built from.
    fn crates(self) -> &'static [&'static str] {
        match self {
            Self::Probe | Self::Bench => &source_hash::PROBE_CRATES,
            Self::Lab => &["tests/lab/ebpf"],
        }
    }

    /// Where the freshly built object is.
    pub fn path(self) -> PathBuf {
        let name = match self {
            Self::Probe => "weighbridge.bpf.o",
            Self::Bench => "bench.bpf.o",
            Self::Lab => "lab.bpf.o",
        };
        target_folder().join(name)
    }
}

/// The object built from the sources as they are now; builds it where it is missing or stale.
pub fn ensure(kind: Kind) -> anyhow::Result<PathBuf> {
    if let Some(path) = fresh(kind) {
        return Ok(path);
    }
    let built = build(None)?.into_iter().find(|object| object.kind == kind);
    built
        .map(|object| object.path)
        .with_context(|| format!("no binary target {}", kind.binary()))
}

/// The object in `target/ebpf`, where it was built from the sources as they are now.
pub fn fresh(kind: Kind) -> Option<PathBuf> {
    let path = kind.path();
    let built_from = fs::read_to_string(hash_file(&path)).ok()?;
    let hash = source_hash::source_hash(workspace_root(), kind.crates()).ok()?;
    (path.is_file() && built_from.trim() == hash).then_some(path)
}

/// A freshly built object.
pub struct Object {
    /// What it is for.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    statistics: statistics::Object,
    bytes: usize,
}

/// Builds every object and prints what its programs cost.
pub fn build_and_print(choice: Option<Choice>) -> anyhow::Result<Vec<Object>> {
    let objects = build(choice)?;
    for object in &objects {
        println!("{} ({} bytes)", file_name(&object.path), object.bytes);
        println!("{}", object.statistics.program_table());
        println!("{}", object.statistics.map_table());
    }
    Ok(objects)
}

/// Builds every object, stripped and checked.
fn build(choice: Option<Choice>) -> anyhow::Result<Vec<Object>> {
    let binaries = binaries()?;
    let toolchain = toolchain::find(choice)?;
    eprintln!("building the eBPF objects with {toolchain}");
    // Hashed first: a source that changes while the compiler runs makes the object stale.
    let mut hashes = Vec::new();
    for kind in Kind::ALL {
        let hash = source_hash::source_hash(workspace_root(), kind.crates());
        hashes.push((kind, hash.context("could not hash the eBPF sources")?));
    }
    compile(&toolchain)?;
    let mut objects = Vec::new();
    for (kind, hash) in hashes {
        if !binaries.iter().any(|name| name == kind.binary()) {
            eprintln!(
                "no binary target {} in this workspace: not built",
                kind.binary()
            );
            continue;
        }
        let built = target_folder()
            .join(TARGET)
            .join("release")
            .join(kind.binary());
        objects.push(finish(&built, kind, &hash)?);
    }
    Ok(objects)
}

fn target_folder() -> PathBuf {
    workspace_root().join("target/ebpf")
}

/// The binary targets of the eBPF packages.
fn binaries() -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace_root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("could not read the workspace's metadata")?;
    let packages = metadata
        .packages
        .iter()
        .filter(|p| EBPF_PACKAGES.contains(&p.name.as_str()));
    let targets = packages
        .flat_map(|package| &package.targets)
        .filter(|target| target.is_bin());
    Ok(targets.map(|target| target.name.clone()).collect())
}

fn compile(toolchain: &Toolchain) -> anyhow::Result<()> {
    let mut command = toolchain.cargo();
    command.current_dir(workspace_root());
    command.args([
        "build",
        "--release",
        "--target",
        TARGET,
        "-Zbuild-std=core",
        "--bins",
    ]);
    for package in EBPF_PACKAGES {
        command.args(["--package", package]);
    }
    command.env("CARGO_TARGET_DIR", target_folder());
    command.env(
        "CARGO_ENCODED_RUSTFLAGS",
        rust_flags(toolchain)?.join("\u{1f}"),
    );
    command::run(&mut command)
}

/// Debug information makes BTF possible; the folders of this machine are mapped away, because BTF
/// names source files.
fn rust_flags(toolchain: &Toolchain) -> anyhow::Result<Vec<String>> {
    let mut flags = vec![
        "-Cdebuginfo=2".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    for (folder, name) in machine_folders(toolchain)? {
        flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
    }
    Ok(flags)
}

/// The folders that source paths start with on this machine, and what stands for each.
fn machine_folders(toolchain: &Toolchain) -> anyhow::Result<Vec<(PathBuf, &'static str)>> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| home.map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set: set HOME")?;
    // A distribution links its sources there from elsewhere; the compiler may name either.
    let library = toolchain.sysroot.join("lib/rustlib/src/rust");
    let linked = fs::canonicalize(&library).unwrap_or_else(|_| library.clone());
    Ok(vec![
        (library, "rust"),
        (linked, "rust"),
        (cargo_home.join("registry/src"), "registry"),
        (workspace_root().to_owned(), "weighbridge"),
    ])
}

/// Strips the object, refuses paths of this machine and puts it in place.
fn finish(built: &Path, kind: Kind, hash: &str) -> anyhow::Result<Object> {
    let data = fs::read(built).with_context(|| format!("could not read {}", built.display()))?;
    let stripped = object_file::strip_debug_sections(&data)
        .with_context(|| format!("could not strip {}", built.display()))?;
    if let Some(path) = object_file::machine_path(&stripped) {
        bail!(
            "{} names {path}, a path of this machine: remap its prefix",
            built.display()
        );
    }
    let statistics = statistics::Object::parse(&stripped)
        .with_context(|| format!("could not parse {}", built.display()))?;
    if kind == Kind::Probe {
        statistics.check_stack()?;
    }
    let path = kind.path();
    // Rename, so that a test that loads the object meanwhile never sees half of it.
    let fresh = path.with_extension("o.new");
    fs::write(&fresh, &stripped)
        .and_then(|()| fs::rename(&fresh, &path))
        .and_then(|()| fs::write(hash_file(&path), format!("{hash}\n")))
        .with_context(|| format!("could not write {}", path.display()))?;
    Ok(Object {
        kind,
        path,
        statistics,
        bytes: stripped.len(),
    })
}

/// Copies the probe's object to where it is committed, with the hash of its sources.
fn install(object: &Object) -> anyhow::Result<()> {
    let folder = workspace_root().join("probe-user/ebpf");
    let installed = folder.join(file_name(&object.path));
    fs::create_dir_all(&folder)
        .and_then(|()| fs::copy(&object.path, &installed))
        .and_then(|_| fs::copy(hash_file(&object.path), hash_file(&installed)))
        .with_context(|| format!("could not write to {}", folder.display()))?;
    println!("installed probe-user/ebpf/{}", file_name(&object.path));
    Ok(())
}

/// The file that holds the hash of an object's sources: beside it, with `.sha256` appended.
fn hash_file(object: &Path) -> PathBuf {
    object.with_extension("o.sha256")
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
