//! What of an object is kept, and which changes make a new version of it.
//!
//! Pure, on JSON. It takes out what may hold secrets (environments and arguments of containers,
//! the copy of an applied manifest) and what is only noise (field ownership, a node's images).

use serde_json::{Map, Value, json};

/// Ending of the annotations that repeat the whole object.
const APPLIED_COPY: &str = "last-applied-configuration";
/// What may hold secrets, of each container of a pod.
const OF_CONTAINER: [&str; 4] = ["args", "command", "env", "envFrom"];
/// What a pod's status says of where it is and whether it is up.
const OF_POD_STATUS: [&str; 6] = ["hostIP", "hostIPs", "phase", "podIP", "podIPs", "startTime"];

/// Takes out of an object what is not kept.
pub fn reduce(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        reduce_metadata(metadata);
    }
    match object.get("kind").and_then(Value::as_str) {
        Some("Pod") => {
            for list in ["containers", "initContainers", "ephemeralContainers"] {
                let containers = object.pointer_mut(&format!("/spec/{list}"));
                for container in containers
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    remove_all(container, &OF_CONTAINER);
                }
            }
        }
        Some("Node") => {
            if let Some(status) = object.get_mut("status") {
                remove_all(status, &["images"]);
            }
        }
        _ => {}
    }
}

/// Of who wrote which field when, the last time alone is kept: it says since when an object that
/// was there before the recorder is as it is.
fn reduce_metadata(metadata: &mut Map<String, Value>) {
    let managed = metadata.remove("managedFields");
    let times = managed
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let last = times.filter_map(|fields| fields["time"].as_str()).max();
    if let Some(last) = last {
        metadata.insert("managedFields".to_owned(), json!([{"time": last}]));
    }
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.retain(|name, _| !name.ends_with(APPLIED_COPY));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// What two versions of a reduced object have in common if nothing that matters differs.
pub fn identity(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata") {
        remove_all(
            metadata,
            &["resourceVersion", "managedFields", "generation"],
        );
    }
    let status = object.get("status").cloned().unwrap_or_default();
    match object.get("kind").and_then(Value::as_str) {
        Some("Pod") => object["status"] = pod_status(&status),
        Some("Node") => object["status"] = node_status(&status),
        _ => {}
    }
    object.to_string()
}

fn pod_status(status: &Value) -> Value {
    let mut kept = Map::new();
    for field in OF_POD_STATUS {
        if let Some(value) = status.get(field) {
            kept.insert(field.to_owned(), value.clone());
        }
    }
    kept.insert("conditions".to_owned(), conditions(status, Some("Ready")));
    let containers = ["containerStatuses", "initContainerStatuses"].map(|list| {
        let statuses = status[list].as_array().into_iter().flatten();
        let kept = statuses.map(|status| json!([status["containerID"], status["ready"]]));
        Value::Array(kept.collect())
    });
    kept.insert("containers".to_owned(), json!(containers));
    Value::Object(kept)
}

/// A node's heartbeats change times alone.
fn node_status(status: &Value) -> Value {
    json!({
        "addresses": status["addresses"],
        "conditions": conditions(status, None),
        "nodeInfo": status["nodeInfo"],
    })
}

fn conditions(status: &Value, only: Option<&str>) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let kept = conditions
        .filter(|condition| only.is_none_or(|only| condition["type"] == only))
        .map(|condition| json!([condition["type"], condition["status"]]));
    Value::Array(kept.collect())
}

fn remove_all(value: &mut Value, fields: &[&str]) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|field, _| !fields.contains(&field.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "client",
                "resourceVersion": "7",
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "secret-word",
                    "a/b": "kept",
                },
                "managedFields": [
                    {"manager": "kubectl", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:x": {}}},
                    {"manager": "kubelet", "time": "2026-01-02T00:00:00Z"},
                ],
            },
            "spec": {"containers": [{
                "name": "c",
                "env": [{"name": "TOKEN", "value": "secret-word"}],
                "args": ["--password=secret-word"],
            }]},
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "conditions": [
                    {"type": "Ready", "status": "True", "lastProbeTime": null},
                    {"type": "Other", "status": "True"},
                ],
                "containerStatuses": [{"containerID": "containerd://1", "ready": true, "restartCount": 0}],
            },
        })
    }

    #[test]
    fn what_may_be_secret_goes_and_the_time_of_the_last_write_stays() {
        let mut reduced = pod();
        reduce(&mut reduced);
        assert!(!reduced.to_string().contains("secret-word"), "{reduced}");
        let metadata = &reduced["metadata"];
        assert_eq!(
            metadata["managedFields"],
            json!([{"time": "2026-01-02T00:00:00Z"}])
        );
        assert_eq!(metadata["annotations"], json!({"a/b": "kept"}));
        assert_eq!(reduced["spec"]["containers"], json!([{"name": "c"}]));
    }

    fn check_pod(pointer: &str, value: Value, matters: bool) {
        let mut changed = pod();
        *changed.pointer_mut(pointer).expect(pointer) = value;
        assert_eq!(identity(&changed) != identity(&pod()), matters, "{pointer}");
    }

    #[test]
    fn a_pod_changes_where_it_is_and_whether_it_is_up() {
        for pointer in [
            "/status/podIP",
            "/status/phase",
            "/status/conditions/0/status",
        ] {
            check_pod(pointer, json!("another"), true);
        }
        check_pod("/spec/containers/0/name", json!("another"), true);
        check_pod("/metadata/name", json!("another"), true);
        check_pod(
            "/status/containerStatuses/0/containerID",
            json!("another"),
            true,
        );
        for pointer in [
            "/metadata/resourceVersion",
            "/metadata/managedFields/1/time",
            "/status/conditions/0/lastProbeTime",
            "/status/conditions/1/status",
            "/status/containerStatuses/0/restartCount",
        ] {
            check_pod(pointer, json!("another"), false);
        }
    }

    #[test]
    fn a_heartbeat_is_no_new_version_of_a_node() {
        let node = |heartbeat: &str, ready: &str| {
            json!({
                "kind": "Node",
                "status": {
                    "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                    "conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}],
                },
            })
        };
        assert_eq!(identity(&node("1", "True")), identity(&node("2", "True")));
        assert_ne!(identity(&node("1", "True")), identity(&node("1", "False")));
    }
}
