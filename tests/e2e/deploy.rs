//! Deploying to a cluster: what manifests say and a real API server makes of them, and the probe under
//! the rights that its pods have.

mod campaign;
pub mod capabilities;
mod manifests;
mod rights;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::dataset::binary;

/// Version of this workspace, which tags images.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `cargo xtask` with these arguments and this kubeconfig.
fn xtask(kubeconfig: &Path, arguments: &[&str]) -> Output {
    Command::new(binary("xtask"))
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .output()
        .expect("xtask runs")
}

/// What a command printed; panics where it failed.
pub fn printed(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the step of `cargo xtask test` has prepared.
pub fn prepared(variable: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.filter(|path| path.exists()).unwrap_or_else(|| {
        panic!("{variable} names nothing: run the step by `cargo xtask test --only deploy`, image or other-arch")
    })
}
