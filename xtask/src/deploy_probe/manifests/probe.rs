//! The DaemonSet: one probe a node, on the node's network, with three capabilities.
//!
//! Why each permission is there and none besides:
//!
//! - `BPF` loads programs and maps, `PERFMON` lets tracing programs in and opens processor counters,
//!   `NET_ADMIN` attaches to interfaces and cgroups. All else is dropped. `SYSLOG`, without which
//!   the kernel hides its symbols' addresses, is added for the sampling profile alone.
//! - User 0 without further capabilities: the kernel's BTF, the cgroup files and the data folder
//!   belong to root.
//! - `RuntimeDefault`: containerd's default profile lets `bpf` through to who holds CAP_BPF, and
//!   `perf_event_open` to who holds CAP_PERFMON
//!   (<https://github.com/containerd/containerd/blob/96929a5d3102bdc9d5d108c104ddb38c8991a789/contrib/seccomp/seccomp_default.go>).
//! - No AppArmor exception: only pinning below `/sys/fs/bpf` would need one, and nothing is pinned.
//! - The host's network, since uplinks are the node's interfaces; not its processes: pods are told by
//!   cgroup paths.
//! - `/lib/modules` only to lock it: nodes of kind share it, and so agree on the one probe that writes
//!   what concerns their whole kernel.
//! - No CPU limit: throttling would distort what is measured. A memory limit bounds the maps, the
//!   rows of an interval and the merging of files.

use serde_json::{Value, json};

use super::super::settings::{PRIORITY_CLASS, Settings};
use super::{
    DATA_FOLDER, METRICS_PORT, PREFLIGHT, PROBE, environment, environment_from, health, labels,
    pod_metadata, pull_policy, selector,
};

/// What the probe locks where nodes share a kernel.
const MODULES_FOLDER: &str = "/lib/modules";

/// The DaemonSet.
pub fn daemon_set(settings: &Settings) -> Value {
    let priority = settings.priority_class.as_deref();
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": PROBE, "namespace": settings.namespace, "labels": labels(PROBE)},
        "spec": {
            "selector": {"matchLabels": selector(PROBE)},
            // All at once: nodes do not depend on each other, and a study waits for the last.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": pod_metadata(settings, PROBE),
                "spec": {
                    "serviceAccountName": PROBE,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "hostNetwork": true,
                    // Names of stores are looked up as the node does, also before the CNI is up.
                    "dnsPolicy": "Default",
                    "priorityClassName": priority.unwrap_or(PRIORITY_CLASS),
                    "terminationGracePeriodSeconds": 60,
                    "tolerations": [{"operator": "Exists"}],
                    "nodeSelector": {"kubernetes.io/os": "linux"},
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "initContainers": [preflight(settings)],
                    "containers": [probe(settings)],
                    "volumes": [
                        host_folder("bpf", "/sys/fs/bpf", "Directory"),
                        host_folder("cgroup", "/sys/fs/cgroup", "Directory"),
                        host_folder("modules", MODULES_FOLDER, "DirectoryOrCreate"),
                        host_folder("data", DATA_FOLDER, "DirectoryOrCreate"),
                    ],
                },
            },
        },
    })
}

/// Says what a node lacks, and holds the probe back where it could not run.
fn preflight(settings: &Settings) -> Value {
    let mut container = json!({
        "name": PREFLIGHT,
        "image": settings.image,
        "args": ["preflight", "--format", "json"],
        "securityContext": security(settings),
        "resources": resources("32Mi", "128Mi"),
        "volumeMounts": [bpf(), cgroup()],
    });
    pull_policy(settings, &mut container);
    container
}

fn probe(settings: &Settings) -> Value {
    let mut environment = environment(settings);
    environment.insert(
        0,
        json!({
            "name": "NODE_NAME",
            "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}},
        }),
    );
    let mut container = json!({
        "name": "probe",
        "image": settings.image,
        "args": arguments(settings),
        "env": environment,
        "ports": [{
            "name": "metrics",
            "containerPort": METRICS_PORT,
            "hostPort": METRICS_PORT,
            "protocol": "TCP",
        }],
        "startupProbe": health(1, starting_seconds(settings)),
        "readinessProbe": health(5, 1),
        "livenessProbe": health(10, 6),
        "securityContext": security(settings),
        "resources": resources("128Mi", "1Gi"),
        "volumeMounts": [
            bpf(),
            cgroup(),
            {"name": "modules", "mountPath": MODULES_FOLDER, "readOnly": true},
            {"name": "data", "mountPath": DATA_FOLDER},
        ],
    });
    pull_policy(settings, &mut container);
    if let Some(from) = environment_from(settings) {
        container["envFrom"] = from;
    }
    container
}

/// A probe counts as healthy once its first interval has ended.
fn starting_seconds(settings: &Settings) -> u32 {
    let interval = u32::try_from(settings.interval.as_secs()).unwrap_or(u32::MAX / 4);
    120 + 2 * interval
}

fn arguments(settings: &Settings) -> Vec<String> {
    let interval = humantime::format_duration(settings.interval);
    let mut arguments = vec![
        "run".to_owned(),
        format!("--output={DATA_FOLDER}"),
        format!("--interval={interval}"),
        format!("--metrics-listen=0.0.0.0:{METRICS_PORT}"),
        "--log-format=json".to_owned(),
    ];
    if let Some(store) = &settings.store {
        arguments.push(format!("--store={store}"));
    }
    if settings.profile {
        arguments.push("--profile".to_owned());
    }
    arguments
}

fn security(settings: &Settings) -> Value {
    let mut capabilities = vec!["BPF", "PERFMON", "NET_ADMIN"];
    if settings.profile {
        capabilities.push("SYSLOG");
    }
    json!({
        "runAsUser": 0,
        "runAsGroup": 0,
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"], "add": capabilities},
    })
}

fn resources(requested: &str, limit: &str) -> Value {
    json!({
        "requests": {"cpu": "50m", "memory": requested},
        "limits": {"memory": limit},
    })
}

/// Pins that a CNI makes after us show up here; we make none.
fn bpf() -> Value {
    json!({
        "name": "bpf",
        "mountPath": "/sys/fs/bpf",
        "mountPropagation": "HostToContainer",
        "readOnly": true,
    })
}

/// Over the runtime's own mount, which shows the container's cgroup alone.
fn cgroup() -> Value {
    json!({
        "name": "cgroup",
        "mountPath": "/sys/fs/cgroup",
        "mountPropagation": "HostToContainer",
        "readOnly": true,
    })
}

fn host_folder(name: &str, path: &str, kind: &str) -> Value {
    json!({"name": name, "hostPath": {"path": path, "type": kind}})
}
