//! The recorder against a real API server: creations, changes, deletions, a restart of the server
//! with a deletion that nobody watched, a kind that comes late; and the verdict over its table,
//! held against the one over what kubectl says of the same moment.
//!
//! The recorder may read everything here: that it reads no secret is its own doing, and the server's
//! log of requests says so.

mod traffic;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::api_server::ApiServer;
use lab::now_us;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use trace_schema::objects::{ObjectEvent, ObjectRow};

use self::traffic::Traffic;
use crate::dataset::{self, binary};

const EGRESS_IP: &str = "172.18.0.100";
const WORKER_IP: &str = "172.18.0.2";
const POD_IP: &str = "10.0.1.5";
/// Longer than a server's restart and the recorder's wait for a quiet watch together.
const PATIENCE: Duration = Duration::from_secs(150);
/// Whose account the recorder has.
const ACCOUNT: &str = "recorder";

#[test]
fn every_version_is_recorded_over_restarts_and_late_kinds() {
    let mut api = cluster();
    let recorder = Recorder::start(&api);
    recorder.wait_for("Pod", "client", ObjectEvent::Added);
    assert!(
        recorder.log().contains("kinds that the cluster lacks"),
        "{}",
        recorder.log()
    );

    api.apply(&pod("client", json!({"app": "client", "step": "changed"})));
    recorder.wait_for("Pod", "client", ObjectEvent::Modified);
    api.apply(&pod("gone", json!({"app": "client"})));
    api.apply(&pod("gone-unseen", json!({"app": "client"})));
    recorder.wait_for("Pod", "gone-unseen", ObjectEvent::Added);
    delete(&api, "gone");
    recorder.wait_for("Pod", "gone", ObjectEvent::Deleted);

    // A kind that the cluster learns while the recorder runs.
    define_policies(&api);
    api.apply(&egress());
    recorder.wait_for("Egress", "web", ObjectEvent::Added);

    // What happens while the recorder sleeps and the server forgets its watches.
    recorder.signal(Signal::SIGSTOP);
    delete(&api, "gone-unseen");
    api.stop_server();
    api.start_server();
    recorder.signal(Signal::SIGCONT);
    recorder.wait_for("Pod", "gone-unseen", ObjectEvent::Deleted);
    api.apply(&pod(
        "client",
        json!({"app": "client", "step": "after-the-restart"}),
    ));
    recorder.wait_until("the change after the restart", |rows| {
        rows.iter()
            .any(|row| row.object.contains("after-the-restart"))
    });

    let log = recorder.log();
    assert!(log.contains("410 Gone"), "the server never forgot: {log}");

    // The server is away while the recorder looks: one line says so, one that it is back.
    api.stop_server();
    recorder.wait_until("word that the server is away", |_| {
        recorder.log().contains("the API server cannot be read")
    });
    api.start_server();
    recorder.wait_until("word that the server answers again", |_| {
        recorder.log().contains("the API server answers again")
    });
    let log = recorder.log();
    for line in ["the API server cannot be read", "answers again"] {
        assert_eq!(log.matches(line).count(), 1, "{line:?}: {log}");
    }

    let rows = recorder.stop();
    check_reading(&api);
    let of = |name: &str| -> Vec<ObjectEvent> {
        let of_name = rows
            .iter()
            .filter(|row| row.kind == "Pod" && row.name == name);
        of_name.map(|row| row.event).collect()
    };
    // What the server itself changed on the way is a version as well.
    let ends = |name: &str| {
        let events = of(name);
        let count = |event: ObjectEvent| events.iter().filter(|found| **found == event).count();
        let (added, deleted) = (count(ObjectEvent::Added), count(ObjectEvent::Deleted));
        (added, deleted, events.last().copied())
    };
    for name in ["gone", "gone-unseen"] {
        let expected = (1, 1, Some(ObjectEvent::Deleted));
        assert_eq!(ends(name), expected, "{name}: {:?}", of(name));
    }
    assert_eq!(ends("client"), (1, 0, Some(ObjectEvent::Modified)));
    assert!(of("client").len() > 2, "{:?}", of("client"));
    assert!(
        rows.iter()
            .all(|row| !matches!(row.kind.as_str(), "Secret" | "ConfigMap"))
    );
    for row in &rows {
        assert!(!row.object.contains("secret-word"), "{row:?}");
        assert!(
            !row.object.contains("last-applied-configuration"),
            "{row:?}"
        );
        assert!(
            !row.uid.is_empty() && !row.resource_version.is_empty(),
            "{row:?}"
        );
    }
    let times: Vec<i64> = rows.iter().map(|row| row.observed_at_us).collect();
    assert!(times.is_sorted(), "versions are in order of time");
}

#[test]
fn the_verdict_is_the_one_over_kubectl_s_objects_of_the_same_moment() {
    let api = cluster();
    define_policies(&api);
    api.apply(&egress());
    let recorder = Recorder::start(&api);
    // Changes that came before the moment.
    api.apply(&pod("another", json!({"app": "client"})));
    recorder.wait_for("Pod", "another", ObjectEvent::Added);
    delete(&api, "another");
    recorder.wait_for("Pod", "another", ObjectEvent::Deleted);
    let uid = api.kubectl(
        &[
            "get",
            "pod",
            "client",
            "--namespace=app",
            "--output=jsonpath={.metadata.uid}",
        ],
        "",
    );
    let traffic = Traffic {
        pod_uid: uid.trim(),
        pod_address: POD_IP,
        start_us: now_us() + 2_000_000,
    };
    let recorded = recorder.dataset().to_owned();
    let folder = recorder.end();
    let exits = [("gateway", EGRESS_IP), ("worker", WORKER_IP)];
    traffic.write(&recorded, &exits);

    let read_by_hand = tempfile::tempdir().expect("a folder");
    traffic.write(read_by_hand.path(), &exits);
    let table = dataset::weighbridge("egress", &recorded, &["--connections"]);
    assert_eq!(
        table.0,
        Some(1),
        "one of the connections leaks: {:#}",
        table.1
    );
    for form in ["json", "yaml"] {
        let objects = tempfile::tempdir().expect("a folder");
        let kinds = "pods,nodes,namespaces,services,endpointslices,egresses,externalippools";
        let text = api.kubectl(&["get", kinds, "--all-namespaces", "--output", form], "");
        std::fs::write(objects.path().join(format!("all.{form}")), text).expect("a file");
        let objects = objects.path().to_str().expect("a path");
        let arguments = ["--connections", "--objects", objects];
        let files = dataset::weighbridge("egress", read_by_hand.path(), &arguments);
        assert_eq!(table, files, "over the table, and over kubectl's {form}");
    }
    drop(folder);
}

/// That nothing was asked for but kinds that verdicts rest on, and those only to be read.
fn check_reading(api: &ApiServer) {
    const RECORDED: [&str; 8] = [
        "",
        "egresses",
        "endpointslices",
        "externalippools",
        "namespaces",
        "nodes",
        "pods",
        "services",
    ];
    let requests = api.requests_of(&format!("system:serviceaccount:app:{ACCOUNT}"));
    assert!(requests.len() > 10, "{requests:?}");
    for (verb, resource) in requests {
        assert!(["get", "list", "watch"].contains(&verb.as_str()), "{verb}");
        assert!(RECORDED.contains(&resource.as_str()), "{verb} {resource}");
    }
}

/// What stands in a cluster that has no policies yet.
fn cluster() -> ApiServer {
    let api = ApiServer::start();
    for (name, address) in [("worker", WORKER_IP), ("gateway", "172.18.0.3")] {
        api.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {
            "name": name, "labels": {"kubernetes.io/hostname": name},
        }}));
        let addresses = json!([{"type": "InternalIP", "address": address}]);
        api.put_status(
            &format!("/api/v1/nodes/{name}"),
            &json!({"addresses": addresses}),
        );
    }
    api.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app"}}));
    api.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
        "name": "key", "namespace": "app",
    }, "stringData": {"key": "secret-word"}}));
    api.apply(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "settings", "namespace": "app",
    }, "data": {"key": "secret-word"}}),
    );
    api.apply(
        &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
            "name": ACCOUNT, "namespace": "app",
        }}),
    );
    api.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ACCOUNT},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "app"}],
    }));
    api.apply(&pod("client", json!({"app": "client"})));
    let status = json!({"phase": "Running", "podIP": POD_IP, "podIPs": [{"ip": POD_IP}]});
    api.put_status("/api/v1/namespaces/app/pods/client", &status);
    api
}

fn pod(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "app", "labels": labels},
        "spec": {
            "nodeName": "worker",
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "c",
                "image": "none.invalid/none",
                "env": [{"name": "TOKEN", "value": "secret-word"}],
            }],
        },
    })
}

fn delete(api: &ApiServer, pod: &str) {
    // There is no kubelet that would say that it has ended.
    let arguments = [
        "delete",
        "pod",
        pod,
        "--namespace=app",
        "--grace-period=0",
        "--force",
    ];
    api.kubectl(&[&arguments[..], &["--wait=false"]].concat(), "");
}

/// Antrea's kinds, with any fields.
fn define_policies(api: &ApiServer) {
    for (kind, plural) in [
        ("Egress", "egresses"),
        ("ExternalIPPool", "externalippools"),
    ] {
        let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let name = format!("{plural}.crd.antrea.io");
        api.apply(&json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "group": "crd.antrea.io",
                "scope": "Cluster",
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                "versions": [{
                    "name": "v1beta1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": any},
                }],
            },
        }));
        let condition = "--for=condition=established";
        api.kubectl(
            &["wait", condition, "--timeout=60s", &format!("crd/{name}")],
            "",
        );
    }
}

fn egress() -> Value {
    json!({
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "Egress",
        "metadata": {"name": "web"},
        "spec": {
            "appliedTo": {"podSelector": {"matchLabels": {"app": "client"}}},
            "egressIP": EGRESS_IP,
        },
        "status": {"egressIP": EGRESS_IP, "egressNode": "gateway"},
    })
}

/// The running recorder and its dataset.
struct Recorder {
    folder: tempfile::TempDir,
    process: Child,
}

impl Recorder {
    fn start(api: &ApiServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ready = folder.path().join("ready");
        let log = File::create(folder.path().join("log")).expect("a log");
        let token = api.kubectl(&["--namespace=app", "create", "token", ACCOUNT], "");
        let process = Command::new(binary("weighbridge-probe"))
            .arg("record")
            .arg("--output")
            .arg(folder.path().join("dataset"))
            .arg("--ready-file")
            .arg(&ready)
            .args(["--discover-every", "1s", "--merge-every", "5s"])
            .env("KUBECONFIG", api.kubeconfig_of(ACCOUNT, token.trim()))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the recorder starts");
        let mut recorder = Self { folder, process };
        let started = Instant::now();
        while !ready.exists() {
            let ended = recorder.process.try_wait().expect("its state");
            assert!(ended.is_none(), "the recorder ended: {}", recorder.log());
            assert!(
                started.elapsed() < PATIENCE,
                "never ready: {}",
                recorder.log()
            );
            thread::sleep(Duration::from_millis(100));
        }
        recorder
    }

    fn dataset(&self) -> PathBuf {
        self.folder.path().join("dataset")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("the recorder takes a signal");
    }

    fn wait_for(&self, kind: &str, name: &str, event: ObjectEvent) {
        self.wait_until(&format!("{event:?} of {kind} {name}"), |rows| {
            rows.iter()
                .any(|row| (row.kind.as_str(), row.name.as_str(), row.event) == (kind, name, event))
        });
    }

    fn wait_until(&self, what: &str, is_there: impl Fn(&[ObjectRow]) -> bool) {
        let started = Instant::now();
        while !is_there(&readable_rows(&self.dataset())) {
            assert!(started.elapsed() < PATIENCE, "no {what}: {}", self.log());
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// Stops it; its rows in the order of their time.
    fn stop(self) -> Vec<ObjectRow> {
        let dataset = self.dataset();
        let _folder = self.end();
        dataset::rows(&dataset)
    }

    /// Stops it and hands over the folder that holds the dataset.
    fn end(mut self) -> tempfile::TempDir {
        self.signal(Signal::SIGTERM);
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("its state") {
                assert!(status.success(), "{status}: {}", self.log());
                break;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "it does not end: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(50));
        }
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // It has ended where the test got that far.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The rows that are there now; files that are merged away meanwhile are read at the next look.
fn readable_rows(dataset: &Path) -> Vec<ObjectRow> {
    let mut rows = Vec::new();
    let mut open = vec![dataset.join("objects")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if path.is_dir() {
                open.push(path);
            } else if !is_hidden && let Ok(table) = trace_schema::file::open::<ObjectRow>(&path) {
                rows.extend(table.rows().into_iter().flatten().flatten().flatten());
            }
        }
    }
    rows
}
