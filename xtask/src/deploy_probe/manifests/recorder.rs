//! The Deployment of the recorder: one replica that reads the Kubernetes API.
//!
//! It has no capability at all. Without a store its files must outlive the pod on the node, where
//! `cargo xtask collect` finds them, and a host's folder belongs to root; with one it runs as nobody
//! and keeps what is not yet shipped in its pod.

use serde_json::{Value, json};

use super::super::settings::Settings;
use super::{
    DATA_FOLDER, METRICS_PORT, RECORDER, environment, environment_from, health, labels,
    pod_metadata, pull_policy, selector,
};

/// A user that owns nothing.
const NOBODY: u32 = 65_532;

/// The Deployment.
pub fn deployment(settings: &Settings) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": RECORDER, "namespace": settings.namespace, "labels": labels(RECORDER)},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": selector(RECORDER)},
            // Never two at once: each would write every version.
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": pod_metadata(settings, RECORDER),
                "spec": {
                    "serviceAccountName": RECORDER,
                    "automountServiceAccountToken": true,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 60,
                    "nodeSelector": {"kubernetes.io/os": "linux"},
                    "securityContext": pod_security(settings),
                    "containers": [recorder(settings)],
                    "volumes": [data(settings)],
                },
            },
        },
    })
}

fn recorder(settings: &Settings) -> Value {
    let mut arguments = vec![
        "record".to_owned(),
        format!("--output={DATA_FOLDER}"),
        format!("--metrics-listen=0.0.0.0:{METRICS_PORT}"),
        "--log-format=json".to_owned(),
    ];
    if let Some(store) = &settings.store {
        arguments.push(format!("--store={store}"));
        // Well within the volume, whose overflow would cost the pod and all that it holds.
        arguments.push("--spool-limit=1GiB".to_owned());
    }
    let mut container = json!({
        "name": "recorder",
        "image": settings.image,
        "args": arguments,
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "startupProbe": health(1, 120),
        "readinessProbe": health(5, 1),
        // A full disk or an API server that is away is no reason to start anew: rows that wait in
        // memory would be lost.
        "livenessProbe": {
            "tcpSocket": {"port": METRICS_PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 2,
            "failureThreshold": 6,
        },
        "securityContext": {
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"memory": "512Mi"},
        },
        "volumeMounts": [{"name": "data", "mountPath": DATA_FOLDER}],
    });
    pull_policy(settings, &mut container);
    let environment = environment(settings);
    if !environment.is_empty() {
        container["env"] = json!(environment);
    }
    if let Some(from) = environment_from(settings) {
        container["envFrom"] = from;
    }
    container
}

fn pod_security(settings: &Settings) -> Value {
    let user = if settings.store.is_some() { NOBODY } else { 0 };
    let mut security = json!({
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": user,
        "runAsGroup": user,
    });
    if settings.store.is_some() {
        security["runAsNonRoot"] = json!(true);
        security["fsGroup"] = json!(user);
    }
    security
}

fn data(settings: &Settings) -> Value {
    match settings.store {
        Some(_) => json!({"name": "data", "emptyDir": {"sizeLimit": "2Gi"}}),
        None => json!({
            "name": "data",
            "hostPath": {"path": DATA_FOLDER, "type": "DirectoryOrCreate"},
        }),
    }
}
