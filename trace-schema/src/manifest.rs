//! The manifest of a load run, `runs/<id>/manifest.json`, beside the tool's own output files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::SCHEMA_VERSION;

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
    /// How often this repetition was tried, this time included: above 1 after failures.
    #[serde(default = "first")]
    pub attempt: u32,
    /// Block of the campaign's randomised order, from 1; absent outside campaigns.
    #[serde(default)]
    pub block: Option<u32>,
    /// What the case sets, by factor: `cni`, `egress`, `users`, `pairs`, `protocol`, …
    #[serde(default)]
    pub factors: BTreeMap<String, String>,
    /// How it ended.
    #[serde(default)]
    pub outcome: RunOutcome,
    /// Why it failed, one line; absent where it did not.
    #[serde(default)]
    pub failure: Option<String>,
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
    /// What else describes the machine: `cpu_model`, `cpus`, `memory_bytes`,
    /// `tcp_congestion_control`, `mtu.<interface>`, …
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// The tool ran to its end.
    #[default]
    Completed,
    /// It did not; its files are kept, and no statistic uses them.
    Failed,
}

fn first() -> u32 {
    1
}

impl RunManifest {
    /// Name of the file in a run's folder.
    pub const FILE_NAME: &str = "manifest.json";

    /// The first run of a tool outside any campaign, with all that may be absent left out. The span
    /// is its start and end, UTC microseconds.
    pub fn new(id: &str, tool: &str, span_us: (i64, i64)) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            id: id.to_owned(),
            campaign: String::new(),
            case: String::new(),
            repetition: 1,
            attempt: first(),
            block: None,
            factors: BTreeMap::new(),
            outcome: RunOutcome::Completed,
            failure: None,
            start_us: span_us.0,
            end_us: span_us.1,
            tool: tool.to_owned(),
            tool_version: String::new(),
            client_pod: None,
            server_address: None,
            server_port: None,
            files: BTreeMap::new(),
            versions: BTreeMap::new(),
            kernel: String::new(),
            offloads: BTreeMap::new(),
            environment: BTreeMap::new(),
        }
    }

    /// Reads the manifest of a run's folder.
    pub fn read(run_dir: &Path) -> Result<Self, ManifestError> {
        let path = run_dir.join(Self::FILE_NAME);
        let shown = path.display().to_string();
        let text = fs::read_to_string(&path).map_err(|source| ManifestError::Io {
            action: "read",
            path: shown.clone(),
            source,
        })?;
        let version =
            serde_json::from_str::<VersionOnly>(&text).map_err(|source| ManifestError::Json {
                path: shown.clone(),
                source,
            })?;
        if version.schema_version != SCHEMA_VERSION {
            let found = version.schema_version;
            return Err(ManifestError::Version {
                path: shown,
                found,
                known: SCHEMA_VERSION,
            });
        }
        serde_json::from_str(&text).map_err(|source| ManifestError::Json {
            path: shown,
            source,
        })
    }

    /// Writes the manifest into a run's folder, making it; it appears there when it is complete.
    pub fn write(&self, run_dir: &Path) -> Result<(), ManifestError> {
        let path = run_dir.join(Self::FILE_NAME);
        let shown = path.display().to_string();
        let text = serde_json::to_string_pretty(self).map_err(|source| ManifestError::Json {
            path: shown.clone(),
            source,
        })?;
        let temporary = run_dir.join(format!(".{}.tmp", Self::FILE_NAME));
        fs::create_dir_all(run_dir)
            .and_then(|()| fs::write(&temporary, text + "\n"))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|source| ManifestError::Io {
                action: "write",
                path: shown,
                source,
            })
    }
}

/// Why a manifest could not be read or written. Each prints as one line, with its
/// sources (`{:#}`) where it has one.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The manifest.
        path: String,
        /// The refusal.
        source: std::io::Error,
    },
    /// Not the JSON of a manifest.
    #[error("{path}: not a run manifest")]
    Json {
        /// The manifest.
        path: String,
        /// Where and what.
        source: serde_json::Error,
    },
    /// A schema version that this build does not know.
    #[error(
        "{path}: schema version {found} is unknown, this build reads {known}; use the weighbridge that wrote it"
    )]
    Version {
        /// The manifest.
        path: String,
        /// The version it carries.
        found: u32,
        /// The version of this build.
        known: u32,
    },
}

/// Read first, so that a manifest of another version is refused for that and not for its fields.
#[derive(Deserialize)]
struct VersionOnly {
    schema_version: u32,
}
