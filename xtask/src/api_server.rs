//! `cargo xtask api-server`: a real kube-apiserver and its etcd, for tests on loopback.
//!
//! Both come from Debian's packages alone and are kept below `target/tools`, so that they are built
//! once. It is an API without controllers and kubelets: objects are kept, watched and refused as on
//! a cluster, and no pod ever runs.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::bail;

use crate::command::{self, workspace_root};
use crate::packages;

/// Options of `cargo xtask api-server`.
#[derive(clap::Args)]
pub struct Options {}

/// Runs the task.
pub fn run(_options: Options) -> anyhow::Result<ExitCode> {
    println!("{}", ensure()?.display());
    Ok(ExitCode::SUCCESS)
}

/// The folder of `kube-apiserver` and `etcd`, which are built where they are not there.
pub fn ensure() -> anyhow::Result<PathBuf> {
    let folder = workspace_root().join("target/tools/api-server");
    let is_there = || ["kube-apiserver", "etcd"].map(|name| folder.join(name).is_file());
    // What the tests say to the server, and the key that it signs with.
    packages::install(&missing_programs())?;
    if is_there() == [true; 2] {
        return Ok(folder);
    }
    if command::find_program("apt-get").is_none() {
        bail!(
            "kube-apiserver is built from Debian's packages: run this on Debian 12, or put \
             kube-apiserver and etcd into {}",
            folder.display()
        );
    }
    packages::install(&["dpkg-dev"])?;
    eprintln!("building kube-apiserver from Debian's source package, once: some minutes, 4 GB");
    let script = workspace_root().join("xtask/tools/api-server.sh");
    command::run(Command::new("bash").arg(script).arg(&folder))?;
    Ok(folder)
}

fn missing_programs() -> Vec<&'static str> {
    [("kubectl", "kubernetes-client"), ("openssl", "openssl")]
        .into_iter()
        .filter(|(program, _)| command::find_program(program).is_none())
        .map(|(_, package)| package)
        .collect()
}
