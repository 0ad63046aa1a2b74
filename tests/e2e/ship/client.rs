//! What a store holds, by a client of its own, and what `weighbridge` says of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use e2e::workspace_root;
use serde_json::Value;

use super::servers::{CONTAINER, Kind, StoreServer};
use crate::dataset::binary;

/// An object of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub bytes: u64,
    pub sha256: String,
}

impl StoreServer<'_> {
    /// Makes the container.
    pub fn make_container(&self) {
        self.client("make", &[]);
    }

    /// What is below a dataset's prefix, by its relative name.
    pub fn objects(&self, prefix: &str) -> BTreeMap<String, Object> {
        let text = self.client("digest", &[prefix.into()]);
        let object = |line: &str| {
            let mut fields = line.split('\t').map(str::to_owned);
            let name = fields.next().expect("a name");
            let bytes = fields.next().and_then(|text| text.parse().ok());
            let object = Object {
                bytes: bytes.expect("a size"),
                sha256: fields.next().expect("a digest"),
            };
            (name, object)
        };
        text.lines().map(object).collect()
    }

    /// The dataset below a prefix, in a folder.
    pub fn fetch(&self, prefix: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        self.client("fetch", &[prefix.into(), folder.path().into()]);
        folder
    }

    /// Exit code and JSON report of a subcommand of `weighbridge` on a dataset in the store.
    pub fn weighbridge(
        &self,
        subcommand: &str,
        prefix: &str,
        arguments: &[&str],
    ) -> (Option<i32>, Value) {
        let mut command = self.command(binary("weighbridge"));
        command.args([subcommand, "--format", "json", "--dataset"]);
        command.arg(self.kind().url(prefix)).args(arguments);
        report(command)
    }

    fn client(&self, action: &str, arguments: &[OsString]) -> String {
        let script = workspace_root().join("tests/e2e/ship/client.py");
        let mut command = self.command("python3");
        command.arg(script).arg(match self.kind() {
            Kind::Azurite => "azure",
            Kind::Moto => "s3",
        });
        command.args([action, CONTAINER]).args(arguments);
        let output = command.output().expect("python3: apt-get install python3");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{action}: {stderr}");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// SHA-256 of a file, by coreutils.
pub fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output();
    let output = output.expect("sha256sum: apt-get install coreutils");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split(' ').next().expect("a digest").to_owned()
}

fn report(mut command: Command) -> (Option<i32>, Value) {
    let output = command.output().expect("weighbridge runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {stderr}"));
    (output.status.code(), report)
}
