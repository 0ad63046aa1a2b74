//! Hands the eBPF object to the loader, as the path in `WEIGHBRIDGE_EBPF_OBJECT` at compile time.
//!
//! It is the committed object, refused where the sources beside it have changed since it was
//! built; or, where the environment already sets `WEIGHBRIDGE_EBPF_OBJECT`, the object named there
//! (the tests name a freshly built one). A copy of this crate without the eBPF sources beside it
//! has nothing to compare with and takes the object that it has.

#[path = "source_hash.rs"]
mod source_hash;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

const VARIABLE: &str = "WEIGHBRIDGE_EBPF_OBJECT";
const OBJECT: &str = "ebpf/weighbridge.bpf.o";
const HASH: &str = "ebpf/weighbridge.bpf.o.sha256";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let object = match env::var_os(VARIABLE) {
        Some(named) => PathBuf::from(named),
        None => committed(),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let copy = folder("OUT_DIR").join("weighbridge.bpf.o");
    if let Err(error) = fs::copy(&object, &copy) {
        println!(
            "cargo::error=could not read the eBPF object {}: {error}",
            object.display()
        );
    }
    println!("cargo::rustc-env={VARIABLE}={}", copy.display());
}

/// The committed object; says so where it does not belong to the sources beside this crate.
fn committed() -> PathBuf {
    let crate_folder = folder("CARGO_MANIFEST_DIR");
    let workspace = crate_folder.parent().unwrap_or(&crate_folder);
    if let Some(complaint) = staleness(&crate_folder, workspace) {
        println!("cargo::error={complaint}: run `cargo xtask build-ebpf`");
    }
    crate_folder.join(OBJECT)
}

fn staleness(crate_folder: &Path, workspace: &Path) -> Option<String> {
    println!("cargo::rerun-if-changed={HASH}");
    let crates = source_hash::PROBE_CRATES.map(|name| workspace.join(name));
    if !crates.iter().all(|folder| folder.is_dir()) {
        return None;
    }
    for folder in crates {
        println!("cargo::rerun-if-changed={}", folder.join("src").display());
        println!(
            "cargo::rerun-if-changed={}",
            folder.join("Cargo.toml").display()
        );
    }
    let built_from = fs::read_to_string(crate_folder.join(HASH)).unwrap_or_default();
    match source_hash::source_hash(workspace, &source_hash::PROBE_CRATES) {
        Ok(hash) if hash == built_from.trim() => None,
        Ok(_) => Some(format!(
            "probe-user/{OBJECT} was not built from the eBPF sources here"
        )),
        Err(error) => Some(format!("could not read the eBPF sources: {error}")),
    }
}

fn folder(variable: &str) -> PathBuf {
    PathBuf::from(env::var_os(variable).unwrap_or_default())
}
