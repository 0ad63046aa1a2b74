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

impl RunManifest {
    /// Name of the file in a run's folder.
    pub const FILE_NAME: &str = "manifest.json";

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
