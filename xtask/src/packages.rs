//! System packages: installed through apt where it is there and the user is root, else named in
//! the one line to type.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::command;

/// Installs the packages that are not there yet, and says so.
pub fn install(packages: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .copied()
        .filter(|name| !is_installed(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!(
        "apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    if !Path::new("/usr/bin/apt-get").is_file() {
        bail!(
            "missing {}: install them (on Debian: `{line}`)",
            missing.join(", ")
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("missing {}: run `sudo {line}`", missing.join(", "));
    }
    eprintln!("installing system packages: {}", missing.join(" "));
    command::run(apt_get().args(["update", "--quiet=2"]))?;
    command::run(
        apt_get()
            .args(["install", "--yes", "--quiet=2", "--no-install-recommends"])
            .args(&missing),
    )
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    command::output_of(&mut query).is_some_and(|status| status == "installed")
}
