//! What makes images here: docker, podman or buildah.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use super::Arch;
use crate::command;

/// A program that makes images and that works here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// docker, with a daemon that answers.
    Docker,
    /// podman.
    Podman,
    /// buildah, which needs no daemon.
    Buildah,
}

impl Engine {
    const ALL: [Self; 3] = [Self::Docker, Self::Podman, Self::Buildah];

    /// The first whose `info` answers: a docker client without a daemon is common.
    pub fn find() -> anyhow::Result<Self> {
        let works = |engine: &Self| {
            let mut info = Command::new(engine.program());
            command::output_of(info.arg("info")).is_some()
        };
        match Self::ALL.into_iter().find(works) {
            Some(engine) => Ok(engine),
            None => bail!(
                "neither docker, podman nor buildah answers `info`: start docker, or on Debian `apt-get install --no-install-recommends buildah`"
            ),
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Buildah => "buildah",
        }
    }

    /// Builds the image of a folder.
    pub fn build(
        self,
        context: &Path,
        containerfile: &Path,
        arch: Arch,
        image: &str,
    ) -> anyhow::Result<()> {
        let mut build = Command::new(self.program());
        build.args(["build", "--tag", image, "--platform"]);
        build.arg(format!("linux/{}", arch.name()));
        build.arg("--file").arg(containerfile).arg(context);
        command::run(&mut build)
    }

    /// Writes an image to a file.
    pub fn save(self, image: &str, file: &Path) -> anyhow::Result<()> {
        let mut save = Command::new(self.program());
        match self {
            Self::Docker => save.args(["save", "--output"]).arg(file).arg(image),
            Self::Podman => save
                .args(["save", "--format", "docker-archive", "--output"])
                .arg(file)
                .arg(image),
            Self::Buildah => save
                .args(["push", image])
                .arg(format!("docker-archive:{}:{image}", file.display())),
        };
        command::run(&mut save)
    }

    /// Sends an image to its registry.
    pub fn push(self, image: &str) -> anyhow::Result<()> {
        command::run(Command::new(self.program()).args(["push", image]))
    }
}
