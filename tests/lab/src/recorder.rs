//! The history of the lab's Kubernetes objects, as a recorder watching an API server keeps it.
//!
//! Every change is a new version with its time. Stamps what an API server stamps: uid, resource
//! version, creation time and generation stay consistent over an object's life.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde_json::{Value, json};
use trace_schema::file::{self, FileMetadata};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::objects::{ObjectEvent, ObjectRow};

use crate::error::LabError;
use crate::identity::{random_hex, random_uid};

const NODE: &str = "recorder";

/// Versions recorded so far.
#[derive(Debug)]
pub(crate) struct Recorder {
    rows: Vec<ObjectRow>,
    latest: BTreeMap<Key, Value>,
    versions: u64,
    instance: u64,
}

/// Kind, namespace, name.
type Key = (String, Option<String>, String);

impl Recorder {
    pub fn new() -> Result<Self, LabError> {
        let instance = u64::from_str_radix(&random_hex(8)?, 16).unwrap_or_default();
        Ok(Self {
            rows: Vec::new(),
            latest: BTreeMap::new(),
            versions: 1000,
            instance,
        })
    }

    /// Records a new object or a new version of one.
    pub fn put(&mut self, mut object: Value) -> Result<(), LabError> {
        let key = key(&object);
        let now_us = now_us();
        let known = self
            .latest
            .get(&key)
            .map(|latest| latest["metadata"].clone());
        let event = if known.is_some() {
            ObjectEvent::Modified
        } else {
            ObjectEvent::Added
        };
        let metadata = &mut object["metadata"];
        match known {
            Some(known) => {
                for field in ["uid", "creationTimestamp"] {
                    metadata[field] = known[field].clone();
                }
                metadata["generation"] = json!(known["generation"].as_u64().unwrap_or(1) + 1);
            }
            None => {
                if metadata["uid"].is_null() {
                    metadata["uid"] = json!(random_uid()?);
                }
                metadata["creationTimestamp"] = json!(timestamp(now_us));
                metadata["generation"] = json!(1);
            }
        }
        self.record(key, event, object, now_us);
        Ok(())
    }

    /// The object as it was last recorded.
    pub fn latest(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<&Value> {
        let key = (
            kind.to_owned(),
            namespace.map(str::to_owned),
            name.to_owned(),
        );
        self.latest.get(&key)
    }

    /// Records that an object is gone; one that was never there is ignored.
    pub fn delete(&mut self, kind: &str, namespace: Option<&str>, name: &str) {
        let key = (
            kind.to_owned(),
            namespace.map(str::to_owned),
            name.to_owned(),
        );
        if let Some(object) = self.latest.get(&key).cloned() {
            self.record(key.clone(), ObjectEvent::Deleted, object, now_us());
            self.latest.remove(&key);
        }
    }

    /// Records the end of everything, as when a cluster is deleted.
    pub fn delete_all(&mut self) {
        let keys: Vec<Key> = self.latest.keys().cloned().collect();
        for (kind, namespace, name) in keys {
            self.delete(&kind, namespace.as_deref(), &name);
        }
    }

    pub fn rows(&self) -> &[ObjectRow] {
        &self.rows
    }

    /// Writes all versions so far below a dataset's root; called again, it replaces its own file.
    pub fn write(&self, dataset: &Path) -> Result<PathBuf, LabError> {
        let error = |message: String| LabError::Dataset {
            path: dataset.to_owned(),
            message,
        };
        let boot_path = "/proc/sys/kernel/random/boot_id";
        let boot_id =
            std::fs::read_to_string(boot_path).map_err(LabError::file("read", boot_path))?;
        let boot_id = boot_id.trim();
        let start_us = self
            .rows
            .first()
            .map_or_else(now_us, |row| row.observed_at_us);
        let name = FileName::of_interval(start_us, boot_id, self.instance, 0);
        let path = partition_dir(dataset, "objects", start_us, NODE).join(name.to_string());
        let metadata = FileMetadata {
            node: NODE.to_owned(),
            boot_id: boot_id.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: "UTC of the machine's real-time clock".to_owned(),
        };
        file::write(&path, &self.rows, &metadata).map_err(|source| {
            let cause = std::error::Error::source(&source);
            error(cause.map_or(source.to_string(), |cause| format!("{source}: {cause}")))
        })?;
        Ok(path)
    }

    fn record(&mut self, key: Key, event: ObjectEvent, mut object: Value, now_us: i64) {
        self.versions += 1;
        object["metadata"]["resourceVersion"] = json!(self.versions.to_string());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.rows.push(ObjectRow {
            observed_at_us: now_us,
            event,
            api_version: text(&object["apiVersion"]),
            kind: key.0.clone(),
            namespace: key.1.clone(),
            name: key.2.clone(),
            uid: text(&object["metadata"]["uid"]),
            resource_version: self.versions.to_string(),
            object: object.to_string(),
        });
        self.latest.insert(key, object);
    }
}

/// UTC microseconds now.
pub fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Time as the API server writes it.
pub(crate) fn timestamp(time_us: i64) -> String {
    DateTime::from_timestamp_micros(time_us)
        .map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

fn key(object: &Value) -> Key {
    let metadata = &object["metadata"];
    (
        object["kind"].as_str().unwrap_or_default().to_owned(),
        metadata["namespace"].as_str().map(str::to_owned),
        metadata["name"].as_str().unwrap_or_default().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_its_identity_over_versions() {
        let mut recorder = Recorder::new().unwrap();
        let object = |node: &str| {
            json!({
                "apiVersion": "crd.antrea.io/v1beta1",
                "kind": "Egress",
                "metadata": {"name": "egress-client"},
                "status": {"egressNode": node},
            })
        };
        recorder.put(object("gateway")).unwrap();
        recorder.put(object("gateway2")).unwrap();
        recorder.delete_all();
        let rows = recorder.rows();
        let events: Vec<ObjectEvent> = rows.iter().map(|row| row.event).collect();
        assert_eq!(
            events,
            [
                ObjectEvent::Added,
                ObjectEvent::Modified,
                ObjectEvent::Deleted
            ]
        );
        assert!(
            rows.iter()
                .all(|row| row.uid == rows[0].uid && !row.uid.is_empty())
        );
        let versions: Vec<&str> = rows
            .iter()
            .map(|row| row.resource_version.as_str())
            .collect();
        assert_eq!(versions, ["1001", "1002", "1003"]);
        let last: Value = serde_json::from_str(&rows[2].object).unwrap();
        assert_eq!(last["status"]["egressNode"], "gateway2");
    }

    #[test]
    fn times_are_rfc_3339_in_whole_seconds() {
        assert_eq!(timestamp(1_700_000_000_999_999), "2023-11-14T22:13:20Z");
    }
}
