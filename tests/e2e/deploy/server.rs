//! `deploy-probe` and `undeploy-probe` against a real API server.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::api_server::ApiServer;
use serde_json::{Value, json};

use super::{printed, xtask};
use crate::dataset::binary;

const NAMESPACE: &str = "weighbridge";
const OURS: &str = "app.kubernetes.io/part-of=weighbridge";
const KINDS: &str = "namespaces,serviceaccounts,clusterroles,clusterrolebindings,priorityclasses,daemonsets,deployments";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_deployment_is_applied_changed_rolled_back_and_taken_away() {
    let api = ApiServer::start();
    let first = deploy(&api, &[]);
    let names = [
        "namespace/weighbridge",
        "priorityclass/weighbridge-probe",
        "serviceaccount/weighbridge-probe",
        "serviceaccount/weighbridge-recorder",
        "clusterrole/weighbridge-recorder",
        "clusterrolebinding/weighbridge-recorder",
        "daemonset/weighbridge-probe",
        "deployment/weighbridge-recorder",
    ];
    for name in names {
        assert!(first.contains(&format!("{name} created")), "{first}");
    }
    let specified = spec(&api, "daemonset/weighbridge-probe");

    let again = deploy(&api, &[]);
    assert_eq!(again.matches("unchanged").count(), names.len(), "{again}");

    let changed = deploy(
        &api,
        &[
            "--profile",
            "--interval=500ms",
            "--priority-class=system-node-critical",
        ],
    );
    for line in [
        "daemonset/weighbridge-probe changed",
        "deployment/weighbridge-recorder unchanged",
        "priorityclass/weighbridge-probe removed",
    ] {
        assert!(changed.contains(line), "{line}: {changed}");
    }
    let pod = &spec(&api, "daemonset/weighbridge-probe")["template"]["spec"];
    assert_eq!(pod["priorityClassName"], "system-node-critical");
    let added = &pod["containers"][0]["securityContext"]["capabilities"]["add"];
    assert_eq!(*added, json!(["BPF", "PERFMON", "NET_ADMIN", "SYSLOG"]));

    let back = deploy(&api, &[]);
    for line in [
        "daemonset/weighbridge-probe changed",
        "priorityclass/weighbridge-probe created",
    ] {
        assert!(back.contains(line), "{line}: {back}");
    }
    assert_eq!(spec(&api, "daemonset/weighbridge-probe"), specified);

    undeploy(&api);
    let selected = ["get", KINDS, "--all-namespaces", "--selector", OURS];
    let left = api.kubectl(&[&selected[..], &["--output=name"]].concat(), "");
    assert_eq!(left, "");
    let again = xtask(&api.kubeconfig(), &["undeploy-probe", "--context=test"]);
    assert!(printed(&again).contains("nothing of weighbridge"));
}

#[test]
fn a_dry_run_changes_nothing() {
    let api = ApiServer::start();
    let said = deploy(&api, &["--dry-run"]);
    assert_eq!(said.matches("created (dry run)").count(), 8, "{said}");
    let selected = ["get", KINDS, "--all-namespaces", "--selector", OURS];
    let left = api.kubectl(&[&selected[..], &["--output=name"]].concat(), "");
    assert_eq!(left, "");

    deploy(&api, &[]);
    let versions = || {
        let columns =
            "--output=custom-columns=K:.kind,N:.metadata.name,V:.metadata.resourceVersion";
        api.kubectl(&[&selected[..], &[columns]].concat(), "")
    };
    let before = versions();
    let said = deploy(&api, &["--dry-run", "--profile"]);
    assert!(
        said.contains("daemonset/weighbridge-probe changed (dry run)"),
        "{said}"
    );
    let said = printed(&xtask(
        &api.kubeconfig(),
        &["undeploy-probe", "--context=test", "--dry-run"],
    ));
    assert_eq!(said.matches("removed (dry run)").count(), 8, "{said}");
    assert_eq!(versions(), before);
}

#[test]
fn every_form_is_accepted_by_the_server() {
    let api = ApiServer::start();
    for target in [
        &["--target=kind"][..],
        &["--target=kind", "--profile", "--store=s3://bucket/prefix"],
        &[
            "--target=aks",
            "--image=registry.example/weighbridge-probe:1",
        ],
        &[
            "--target=aks",
            "--image=registry.example/weighbridge-probe:1",
            "--azure-account=account",
            "--azure-client-id=00000000-0000-0000-0000-000000000000",
        ],
    ] {
        let common = ["deploy-probe", "--context=test", "--dry-run"];
        printed(&xtask(&api.kubeconfig(), &[&common[..], target].concat()));
    }
}

#[test]
fn a_field_of_another_manager_is_not_taken_unasked() {
    let api = ApiServer::start();
    deploy(&api, &[]);
    let foreign = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "weighbridge-probe", "namespace": NAMESPACE},
        "spec": {"template": {"spec": {"terminationGracePeriodSeconds": 5}}},
    });
    api.kubectl(
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=somebody",
            "--validate=false",
            "--filename=-",
        ],
        &foreign.to_string(),
    );
    let refused = try_deploy(&api.kubeconfig(), &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    for part in [
        "daemonset/weighbridge-probe",
        "somebody",
        "--force-conflicts",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    deploy(&api, &["--force-conflicts"]);
    let pod = &spec(&api, "daemonset/weighbridge-probe")["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 60);
}

#[test]
fn a_namespace_of_somebody_else_is_left_alone() {
    let api = ApiServer::start();
    api.kubectl(&["create", "namespace", "theirs"], "");
    for task in [
        &["deploy-probe", "--target=kind", "--no-build", "--no-wait"][..],
        &["undeploy-probe"],
    ] {
        let place = ["--context=test", "--namespace=theirs"];
        let output = xtask(&api.kubeconfig(), &[task, &place].concat());
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("is not weighbridge's"), "{said}");
    }
    api.kubectl(&["get", "namespace", "theirs"], "");
}

#[test]
fn a_rollout_ends_with_0_only_where_every_probe_is_healthy() {
    let api = ApiServer::start();
    let held_back = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "probe-a", "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": "weighbridge-probe"},
        },
        "spec": {"nodeName": "a", "containers": [{"name": "probe", "image": "probe"}]},
    });
    deploy(&api, &[]);
    api.apply(&held_back);
    let waiting = json!({"phase": "Pending", "initContainerStatuses": [{
        "name": "preflight", "ready": false, "restartCount": 2, "image": "probe", "imageID": "",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
    }]});
    api.put_status("/api/v1/namespaces/weighbridge/pods/probe-a", &waiting);
    put_rollout(&api, 2, 1);
    let unhealthy = waiting_deploy(&api, "3s");
    assert_eq!(unhealthy.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unhealthy.stderr).into_owned();
    for part in [
        "1 of 2 probes",
        "weighbridge-probe on a",
        "CrashLoopBackOff",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = String::from_utf8_lossy(&unhealthy.stdout).into_owned();
    assert!(said.contains("a: preflight has not answered"), "{said}");

    put_rollout(&api, 2, 2);
    let said = printed(&waiting_deploy(&api, "60s"));
    assert!(said.contains("every node's probe is healthy"), "{said}");
}

/// What controllers would say of our two workloads.
fn put_rollout(api: &ApiServer, wanted: u32, ready: u32) {
    let path = "/apis/apps/v1/namespaces/weighbridge";
    let probes = json!({
        "observedGeneration": 1, "desiredNumberScheduled": wanted, "currentNumberScheduled": wanted,
        "updatedNumberScheduled": wanted, "numberReady": ready, "numberMisscheduled": 0,
    });
    api.put_status(&format!("{path}/daemonsets/weighbridge-probe"), &probes);
    let recorder = json!({
        "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
        "availableReplicas": 1,
    });
    let deployment = format!("{path}/deployments/weighbridge-recorder");
    api.put_status(&deployment, &recorder);
}

/// Deploys and waits.
fn waiting_deploy(api: &ApiServer, limit: &str) -> std::process::Output {
    let deploy = [
        "deploy-probe",
        "--target=kind",
        "--context=test",
        "--no-build",
    ];
    xtask(
        &api.kubeconfig(),
        &[&deploy[..], &["--timeout", limit]].concat(),
    )
}

/// Deploys without nodes: nobody builds, nobody waits.
fn deploy(api: &ApiServer, further: &[&str]) -> String {
    printed(&try_deploy(&api.kubeconfig(), further))
}

fn try_deploy(kubeconfig: &Path, further: &[&str]) -> std::process::Output {
    let common = [
        "deploy-probe",
        "--target=kind",
        "--context=test",
        "--no-build",
        "--no-wait",
    ];
    xtask(kubeconfig, &[&common[..], further].concat())
}

fn spec(api: &ApiServer, name: &str) -> Value {
    let text = api.kubectl(
        &["--namespace", NAMESPACE, "get", name, "--output=json"],
        "",
    );
    let object: Value = serde_json::from_str(&text).unwrap();
    object["spec"].clone()
}

/// Undeploys, and does what a cluster's namespace controller would: lets the empty namespace go.
fn undeploy(api: &ApiServer) {
    let mut task = Command::new(binary("xtask"))
        .args(["undeploy-probe", "--context=test"])
        .env("KUBECONFIG", api.kubeconfig())
        .stdin(Stdio::null())
        .spawn()
        .expect("xtask runs");
    let started = Instant::now();
    let path = format!("/api/v1/namespaces/{NAMESPACE}");
    let status = loop {
        if let Some(status) = task.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > PATIENCE {
            task.kill().unwrap();
            panic!("undeploy-probe does not end");
        }
        let namespace = api.try_kubectl(&["get", "--raw", &path], "");
        if let Ok(mut namespace) = serde_json::from_slice::<Value>(&namespace.stdout)
            && namespace["status"]["phase"] == "Terminating"
        {
            namespace["spec"]["finalizers"] = json!([]);
            let finalize = format!("{path}/finalize");
            let replace = ["replace", "--raw", &finalize, "--filename=-"];
            // It may have gone in the meantime.
            let _ = api.try_kubectl(&replace, &namespace.to_string());
        }
        thread::sleep(Duration::from_millis(100));
    };
    assert!(status.success(), "{status}");
}
