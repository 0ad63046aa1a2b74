//! The programs that plans run: which version is there, and the line that installs one.

use std::process::Command;

use anyhow::bail;

use super::versions::Versions;
use crate::command;

/// A program that a plan needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Clusters in containers.
    Kind,
    /// The engine that kind runs its nodes in.
    Docker,
    /// Charts.
    Helm,
    /// The API's client.
    Kubectl,
    /// Machines in clouds.
    Terraform,
    /// Azure's client.
    Az,
}

impl Tool {
    fn program(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Docker => "docker",
            Self::Helm => "helm",
            Self::Kubectl => "kubectl",
            Self::Terraform => "terraform",
            Self::Az => "az",
        }
    }

    /// Arguments that make it say its version.
    fn version_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kind => &["version"],
            // The daemon's: a client without one is of no use.
            Self::Docker => &["version", "--format", "{{.Server.Version}}"],
            Self::Helm => &["version", "--short"],
            Self::Kubectl => &["version", "--client"],
            Self::Terraform => &["version"],
            Self::Az => &["version", "--output", "tsv"],
        }
    }

    /// The line that installs it.
    fn install(self) -> &'static str {
        match self {
            Self::Kind => {
                "go install sigs.k8s.io/kind@latest (Debian 13 and later: apt-get install kind)"
            }
            Self::Docker => "apt-get install docker.io && systemctl start docker",
            Self::Helm => {
                "curl -fsSL https://raw.githubusercontent.com/helm/helm/main/scripts/get-helm-3 | bash"
            }
            Self::Kubectl => {
                "curl -fsSL -o /usr/local/bin/kubectl https://dl.k8s.io/release/v1.36.1/bin/linux/amd64/kubectl && chmod +x /usr/local/bin/kubectl"
            }
            Self::Terraform => {
                "see https://developer.hashicorp.com/terraform/install (macOS: brew install hashicorp/tap/terraform)"
            }
            Self::Az => "curl -fsSL https://aka.ms/InstallAzureCLIDeb | bash",
        }
    }

    fn oldest(self) -> &'static str {
        let tools = &Versions::pinned().tools;
        match self {
            Self::Kind => &tools.kind,
            Self::Docker => &tools.docker,
            Self::Helm => &tools.helm,
            Self::Kubectl => &tools.kubectl,
            Self::Terraform => &tools.terraform,
            Self::Az => &tools.az,
        }
    }

    /// Whether a command's first word is this program.
    #[cfg(test)]
    pub fn is_called(self, word: &str) -> bool {
        self.program() == word
    }

    /// Name, version and where it comes from, one line.
    pub fn requirement(self) -> String {
        format!(
            "{} {} or later: {}",
            self.program(),
            self.oldest(),
            self.install()
        )
    }
}

/// Says which versions are there; fails with every line to type where one is missing or too old.
pub fn check(tools: &[Tool]) -> anyhow::Result<()> {
    let mut complaints = Vec::new();
    for &tool in tools {
        let mut ask = Command::new(tool.program());
        let said = command::output_of(ask.args(tool.version_arguments()));
        match judge(tool, said.as_deref()) {
            Ok(found) => eprintln!("{} {found}", tool.program()),
            Err(complaint) => complaints.push(complaint),
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("{}", complaints.join("\n       "))
}

fn judge(tool: Tool, said: Option<&str>) -> Result<String, String> {
    let complain = |what: &str| Err(format!("{what}; needs {}", tool.requirement()));
    let Some(said) = said else {
        return complain(&format!("{} does not answer", tool.program()));
    };
    let Some(found) = first_version(said) else {
        return complain(&format!("{} says no version: {said}", tool.program()));
    };
    if numbers(&found) < numbers(tool.oldest()) {
        return complain(&format!("{} {found} is too old", tool.program()));
    }
    Ok(found)
}

/// The first number with dots in a text.
fn first_version(text: &str) -> Option<String> {
    let part = |c: char| !(c.is_ascii_digit() || c == '.');
    let mut candidates = text.split(part).map(|word| word.trim_matches('.'));
    candidates
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split('.');
    parts.map(|part| part.parse().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        let check = |text: &str, expected: &str| {
            assert_eq!(first_version(text).as_deref(), Some(expected), "{text}");
        };
        check("kind v0.33.0 go1.27.2 linux/amd64", "0.33.0");
        check("v3.18.4+gd80839c", "3.18.4");
        check(
            "Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0",
            "1.32.4",
        );
        check("Terraform v1.11.4\non linux_amd64", "1.11.4");
        check("2.86.0\t1.1.0\t2.86.0", "2.86.0");
        assert_eq!(first_version("none"), None);
    }

    #[test]
    fn a_missing_or_old_program_is_named_with_the_line_that_installs_it() {
        for said in [None, Some("kind v0.9.0"), Some("what?")] {
            let complaint = judge(Tool::Kind, said).unwrap_err();
            assert!(complaint.contains("sigs.k8s.io/kind"), "{complaint}");
        }
        assert_eq!(judge(Tool::Kind, Some("v0.33.0")).unwrap(), "0.33.0");
        assert_eq!(judge(Tool::Kind, Some("v0.100.0")).unwrap(), "0.100.0");
    }
}
