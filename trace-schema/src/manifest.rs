//! The manifest of a load run, `runs/<id>/manifest.json`, beside the tool's own output files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was run, when, on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// Schema version of this file.
    pub schema_version: u32,
    /// Name of the folder.
    pub id: String,
    /// Campaign it belongs to.
    pub campaign: String,
    /// Case, e.g. `antrea-egress-gateway`.
    pub case: String,
    /// Repetition, from 1.
    pub repetition: u32,
    /// Start, UTC microseconds.
    pub start_us: i64,
    /// End, UTC microseconds.
    pub end_us: i64,
    /// `iperf3`, `k6`, …
    pub tool: String,
    /// The tool's own version text.
    pub tool_version: String,
    /// The client pod as `namespace/name`, where the load came from a pod.
    pub client_pod: Option<String>,
    /// Address of the server.
    pub server_address: Option<String>,
    /// Port of the server.
    pub server_port: Option<u16>,
    /// Files in this folder, relative, with what they are (`iperf3-json`, `peers-tsv`, …).
    pub files: BTreeMap<String, String>,
    /// Versions of the components under test, by name.
    pub versions: BTreeMap<String, String>,
    /// `uname -r`.
    pub kernel: String,
    /// Offload flags by interface, as ethtool names them.
    pub offloads: BTreeMap<String, Vec<String>>,
}
