//! Service accounts and what they may do: the probe nothing, the recorder to read what it records.

use serde_json::{Value, json};

use super::super::settings::Settings;
use super::{PROBE, RECORDER, labels};

/// What the recorder watches, by API group. Never secrets and never config maps; kinds whose
/// definition the cluster lacks may be named, since a rule does not need it.
const RECORDED: [(&str, &[&str]); 6] = [
    ("", &["namespaces", "nodes", "pods", "services"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("networking.k8s.io", &["servicecidrs"]),
    ("crd.antrea.io", &["egresses", "externalippools"]),
    (
        "cilium.io",
        &[
            "ciliumegressgatewaypolicies",
            "ciliumendpoints",
            "ciliumnodes",
        ],
    ),
    (
        "gateway.networking.k8s.io",
        &[
            "gatewayclasses",
            "gateways",
            "grpcroutes",
            "httproutes",
            "referencegrants",
        ],
    ),
];

/// Accounts, the recorder's role and its binding.
pub fn objects(settings: &Settings) -> Vec<Value> {
    vec![
        account(settings, PROBE, false),
        account(settings, RECORDER, true),
        role(),
        binding(settings),
    ]
}

fn account(settings: &Settings, name: &str, token: bool) -> Value {
    let mut account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": settings.namespace, "labels": labels(name)},
        "automountServiceAccountToken": token,
    });
    if let Some(id) = &settings.azure_client_id {
        account["metadata"]["annotations"] = json!({"azure.workload.identity/client-id": id});
    }
    account
}

fn role() -> Value {
    let rules: Vec<Value> = RECORDED
        .iter()
        .map(|(group, resources)| {
            json!({
                "apiGroups": [group],
                "resources": resources,
                "verbs": ["get", "list", "watch"],
            })
        })
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": RECORDER, "labels": labels(RECORDER)},
        "rules": rules,
    })
}

fn binding(settings: &Settings) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": RECORDER, "labels": labels(RECORDER)},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": RECORDER,
        },
        "subjects": [{
            "kind": "ServiceAccount",
            "name": RECORDER,
            "namespace": settings.namespace,
        }],
    })
}
