//! The Kubernetes objects of a deployment, the one source that `deploy-probe`, `--print` and the
//! kustomize folders share.
//!
//! Pure: settings in, objects out, in the order in which they are applied. It refuses anything
//! privileged: what the probe may do is three capabilities, and what its account may do is nothing.

mod access;
mod probe;
mod recorder;

use serde_json::{Value, json};

use super::settings::{PRIORITY_CLASS, Settings};

/// Label that tells what is ours; deleting goes by it.
pub const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "weighbridge");
/// The DaemonSet, its pods' label and its service account.
pub const PROBE: &str = "weighbridge-probe";
/// The Deployment, its pods' label, its service account, its role and the role's binding.
pub const RECORDER: &str = "weighbridge-recorder";
/// Port of `/metrics` and `/healthz` on every node.
pub const METRICS_PORT: u16 = 9478;
/// The container that checks a node before the probe starts.
pub const PREFLIGHT: &str = "preflight";
/// Secret whose entries become the shipping containers' environment; it need not be there.
const STORE_SECRET: &str = "weighbridge-store";
/// Where files lie on a node, and in the containers.
pub const DATA_FOLDER: &str = "/var/lib/weighbridge";

/// A file of the kustomize base with its objects.
pub struct Part {
    /// Name of the file without its ending.
    pub name: &'static str,
    /// Its objects.
    pub objects: Vec<Value>,
}

/// Everything that is deployed, in files.
pub fn parts(settings: &Settings) -> Vec<Part> {
    let mut cluster = vec![namespace(settings)];
    if settings.priority_class.is_none() {
        cluster.push(priority_class());
    }
    vec![
        Part {
            name: "namespace",
            objects: cluster,
        },
        Part {
            name: "access",
            objects: access::objects(settings),
        },
        Part {
            name: "probe",
            objects: vec![probe::daemon_set(settings)],
        },
        Part {
            name: "recorder",
            objects: vec![recorder::deployment(settings)],
        },
    ]
}

/// Everything that is deployed, in the order in which it is applied.
pub fn objects(settings: &Settings) -> Vec<Value> {
    let parts = parts(settings).into_iter();
    parts.flat_map(|part| part.objects).collect()
}

/// Labels of an object of a component.
fn labels(component: &str) -> Value {
    json!({
        "app.kubernetes.io/name": component,
        PART_OF.0: PART_OF.1,
    })
}

/// What a service selects, and pods carry.
fn selector(component: &str) -> Value {
    json!({"app.kubernetes.io/name": component})
}

fn namespace(settings: &Settings) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": settings.namespace,
            "labels": {
                PART_OF.0: PART_OF.1,
                // Pod Security admission asks for this wherever a pod uses the host's network.
                "pod-security.kubernetes.io/enforce": "privileged",
                "pod-security.kubernetes.io/audit": "privileged",
                "pod-security.kubernetes.io/warn": "privileged",
            },
        },
    })
}

/// Above ordinary pods, so that a full node is not an unwatched one, and below what keeps a cluster
/// alive.
fn priority_class() -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY_CLASS, "labels": labels(PROBE)},
        "value": 1_000_000,
        "globalDefault": false,
        "description": "weighbridge probes: a node without one is not watched",
    })
}

/// The environment of a container that ships.
fn environment(settings: &Settings) -> Vec<Value> {
    let account = settings.azure_account.as_ref();
    let account = account.map(|name| json!({"name": "AZURE_STORAGE_ACCOUNT_NAME", "value": name}));
    account.into_iter().collect()
}

/// Credentials come from a secret that need not exist, or from workload identity; never from
/// arguments.
fn environment_from(settings: &Settings) -> Option<Value> {
    let from = json!([{"secretRef": {"name": STORE_SECRET, "optional": true}}]);
    settings.store.is_some().then_some(from)
}

/// What a component's pods are called by.
fn pod_metadata(settings: &Settings, component: &str) -> Value {
    let mut labels = labels(component);
    if settings.workload_identity {
        // Azure's webhook adds a token for its own audience, which the Kubernetes API refuses.
        labels["azure.workload.identity/use"] = json!("true");
    }
    let mut metadata = json!({"labels": labels});
    if let Some(binary) = &settings.binary {
        metadata["annotations"] = json!({"weighbridge/binary-sha256": binary});
    }
    metadata
}

/// When nodes ask the registry; what is absent is the cluster's default.
fn pull_policy(settings: &Settings, container: &mut Value) {
    if settings.always_pull {
        container["imagePullPolicy"] = json!("Always");
    }
}

/// The kubelet asks `/healthz`.
fn health(period_s: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": "/healthz", "port": METRICS_PORT, "scheme": "HTTP"},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    })
}

#[cfg(test)]
mod tests {
    use super::super::settings::Target;
    use super::*;

    fn every_form() -> Vec<Settings> {
        let mut forms = vec![Settings::base()];
        for target in Target::ALL {
            forms.push(Settings::of(target));
            forms.push(Settings {
                profile: true,
                priority_class: Some("system-node-critical".to_owned()),
                azure_client_id: Some("0000".to_owned()),
                azure_account: Some("account".to_owned()),
                ..Settings::of(target)
            });
        }
        forms
    }

    fn containers(object: &Value) -> Vec<&Value> {
        let pod = &object["spec"]["template"]["spec"];
        ["initContainers", "containers"]
            .iter()
            .filter_map(|list| pod[list].as_array())
            .flatten()
            .collect()
    }

    #[test]
    fn no_container_has_more_than_the_named_capabilities() {
        for settings in every_form() {
            let objects = objects(&settings);
            let all: Vec<_> = objects.iter().flat_map(containers).collect();
            assert_eq!(all.len(), 3, "preflight, probe, recorder");
            for container in all {
                let security = &container["securityContext"];
                assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
                assert_eq!(security["readOnlyRootFilesystem"], true);
                assert_eq!(security["allowPrivilegeEscalation"], false);
                assert!(security.get("privileged").is_none());
                let expected = match (container["name"].as_str(), settings.profile) {
                    (Some("recorder"), _) => Value::Null,
                    (_, false) => json!(["BPF", "PERFMON", "NET_ADMIN"]),
                    (_, true) => json!(["BPF", "PERFMON", "NET_ADMIN", "SYSLOG"]),
                };
                assert_eq!(security["capabilities"]["add"], expected);
                assert!(container["resources"]["limits"].get("cpu").is_none());
                assert!(container["resources"]["limits"]["memory"].is_string());
            }
        }
    }

    #[test]
    fn only_the_probe_uses_the_hosts_network_and_nothing_its_processes() {
        for object in objects(&Settings::base()) {
            let pod = &object["spec"]["template"]["spec"];
            let is_probe = object["kind"] == "DaemonSet";
            assert_eq!(pod["hostNetwork"] == true, is_probe);
            assert_ne!(pod["hostPID"], true);
            assert_ne!(pod["hostIPC"], true);
        }
    }

    #[test]
    fn the_probes_account_is_bound_to_nothing_and_brings_no_token() {
        for settings in every_form() {
            let objects = objects(&settings);
            let account = objects
                .iter()
                .find(|object| {
                    object["kind"] == "ServiceAccount" && object["metadata"]["name"] == PROBE
                })
                .unwrap();
            assert_eq!(account["automountServiceAccountToken"], false);
            for object in &objects {
                if let Some(subjects) = object["subjects"].as_array() {
                    assert!(subjects.iter().all(|subject| subject["name"] == RECORDER));
                }
                if object["kind"] == "DaemonSet" {
                    let pod = &object["spec"]["template"]["spec"];
                    assert_eq!(pod["automountServiceAccountToken"], false);
                }
            }
        }
    }

    #[test]
    fn the_recorder_may_only_read() {
        let objects = objects(&Settings::base());
        let role = objects
            .iter()
            .find(|object| object["kind"] == "ClusterRole")
            .unwrap();
        for rule in role["rules"].as_array().unwrap() {
            assert_eq!(rule["verbs"], json!(["get", "list", "watch"]));
            for list in ["resources", "apiGroups"] {
                let names = rule[list].as_array().unwrap();
                assert!(!names.is_empty());
                for name in names {
                    assert!(!["*", "secrets", "configmaps"].contains(&name.as_str().unwrap()));
                }
            }
        }
    }

    #[test]
    fn no_argument_carries_what_a_store_keeps_secret() {
        let settings = Settings::of(Target::Aks);
        for object in objects(&settings) {
            for container in containers(&object) {
                let text = container["args"].to_string();
                assert!(!text.contains("KEY") && !text.contains("secret"), "{text}");
            }
        }
    }
}
