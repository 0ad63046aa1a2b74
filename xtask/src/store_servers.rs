//! Object stores on loopback for tests: Azurite speaks Azure's blob storage, moto speaks S3.
//!
//! Both are pinned with hashes, Azurite by its lock file and moto by its requirements, and are kept
//! below `target/tools`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{self, workspace_root};
use crate::{packages, setup};

/// The programs `azurite-blob` and `moto_server`, installed where they are not there.
pub fn ensure() -> anyhow::Result<[PathBuf; 2]> {
    Ok([azurite()?, setup::wheel(setup::Wheel::Moto)?])
}

fn azurite() -> anyhow::Result<PathBuf> {
    const FILES: [&str; 2] = ["package.json", "package-lock.json"];
    let pins = workspace_root().join("xtask/tools/azurite");
    let folder = workspace_root().join("target/tools/azurite");
    let program = folder.join("node_modules/.bin/azurite-blob");
    let is_installed = FILES.iter().all(|name| {
        let text = |folder: &PathBuf| fs::read(folder.join(name)).ok();
        text(&pins).is_some() && text(&pins) == text(&folder)
    });
    if command::find_program("node").is_none() {
        packages::install(&["nodejs"])?;
    }
    if is_installed && program.is_file() {
        return Ok(program);
    }
    if command::find_program("npm").is_none() {
        packages::install(&["npm"])?;
    }
    eprintln!("installing Azurite from npm, with the hashes of its lock file");
    fs::create_dir_all(&folder).context("could not make the folder of Azurite")?;
    for name in FILES {
        fs::copy(pins.join(name), folder.join(name))
            .with_context(|| format!("could not copy {name} of Azurite"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    npm.args(["--loglevel=error", "--prefix"]).arg(&folder);
    command::run(&mut npm)?;
    if !program.is_file() {
        bail!("npm installed no azurite-blob into {}", folder.display());
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::workspace_root;

    #[test]
    fn every_package_of_azurite_has_a_hash() {
        let path = workspace_root().join("xtask/tools/azurite/package-lock.json");
        let lock: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        let unpinned = packages
            .iter()
            .filter(|(name, package)| !name.is_empty() && !package["integrity"].is_string());
        assert_eq!(unpinned.count(), 0);
        assert!(packages.len() > 100);
    }
}
