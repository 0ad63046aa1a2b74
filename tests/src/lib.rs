//! What the end-to-end tests need of their surroundings.
//!
//! A missing prerequisite is a failure that names the command which brings it; no test turns into
//! a pass because something is not there.

pub mod api_server;
pub mod processors;

use std::path::{Path, PathBuf};

/// The workspace's root folder.
pub fn workspace_root() -> &'static Path {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_dir.parent().unwrap_or(manifest_dir)
}

/// A binary of the workspace, built beside this test.
///
/// # Panics
///
/// Where it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    // target/<profile>/deps/<test>
    let folder = test
        .ancestors()
        .nth(2)
        .expect("tests run below the target folder");
    let binary = folder.join(name);
    assert!(
        binary.is_file(),
        "{name} is not built: run `cargo xtask test --only e2e`"
    );
    binary
}

/// An eBPF object that `cargo xtask build-ebpf` builds: `weighbridge`, `bench` or `lab`.
///
/// # Panics
///
/// Where it has not been built.
pub fn ebpf_object(name: &str) -> PathBuf {
    let object = workspace_root()
        .join("target/ebpf")
        .join(format!("{name}.bpf.o"));
    assert!(
        object.is_file(),
        "{name}.bpf.o is not built: run `cargo xtask build-ebpf`"
    );
    object
}

/// Fails where the test does not run as root.
///
/// # Panics
///
/// Where the user is not root.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "namespaces and eBPF need root: run `cargo xtask test --only e2e` as root"
    );
}
