//! A campaign on a cluster that is not there: stand-ins of kubectl and docker say what a cluster
//! would, and write down what they were asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::workspace_root;
use trace_schema::manifest::{RunManifest, RunOutcome};

use crate::dataset::binary;

const TINY: &str = "\
name: tiny
study: egress
seed: 5
repetitions: 2
duration: 2s
warm_up: 1s
attempts: 2
cases:
  - name: netfilter
    factors: {datapath: netfilter, egress: [gateway, base]}
  - name: bpf
    factors: {datapath: bpf, egress: gateway}
iperf3: {parallel: 2, arguments: [--zerocopy]}
";

/// The first load fails once, as where a pod is not there yet.
const KUBECTL: &str = r#"#!/bin/sh
echo "kubectl $*" >> "$ASKED"
case "$*" in
    "version --client") echo "Client Version: v1.36.1" ;;
    *kernelVersion*) echo 6.8.0-azure ;;
    *"items[0]"*) echo worker ;;
    *"items[1]"*) echo worker2 ;;
    *InternalIP*) echo 172.18.0.4 ;;
    *apply*) cat >> "$ASKED.applied" ;;
    *exec*iperf3*)
        [ -e "$ASKED.failed" ] || { touch "$ASKED.failed"; echo "no such pod" >&2; exit 1; }
        cat "$FIXTURE" ;;
esac
"#;
const DOCKER: &str = r#"#!/bin/sh
echo "docker $*" >> "$ASKED"
case "$*" in
    version*) echo 28.2.2 ;;
    inspect*) echo 172.18.0.9 ;;
esac
"#;

#[test]
fn a_campaign_on_a_cluster_drives_the_scenario_and_collects() {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("bin");
    fs::create_dir(&programs).unwrap();
    for (name, text) in [("kubectl", KUBECTL), ("docker", DOCKER)] {
        let path = programs.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let file = folder.path().join("tiny.yaml");
    fs::write(&file, TINY).unwrap();
    let (asked, dataset) = (folder.path().join("asked"), folder.path().join("dataset"));
    let mut task = Command::new(binary("xtask"));
    task.args(["campaign", "egress", "--target=kind-paper", "--cni=antrea"]);
    task.arg("--file").arg(&file).arg("--dataset").arg(&dataset);
    let path = std::env::var("PATH").unwrap();
    task.env("PATH", format!("{}:{path}", programs.display()));
    task.env("ASKED", &asked);
    let fixture = workspace_root().join("analyzer/tests/fixtures/iperf3/iperf3.12_tcp.json");
    assert!(fixture.is_file());
    task.env("FIXTURE", fixture);
    let output = task.stdin(Stdio::null()).output().expect("xtask runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();

    let manifests = manifests(&dataset);
    let (done, failed): (Vec<_>, Vec<_>) = manifests
        .iter()
        .partition(|manifest| manifest.outcome == RunOutcome::Completed);
    assert_eq!((done.len(), failed.len()), (4, 1), "{said}");
    for manifest in &manifests {
        assert_eq!(manifest.case, "netfilter");
        let pod = format!("weighbridge-egress/client-{}", manifest.factors["egress"]);
        assert_eq!(manifest.client_pod.as_deref(), Some(pod.as_str()));
        assert_eq!(manifest.server_address.as_deref(), Some("172.18.0.9"));
        assert_eq!(manifest.kernel, "6.8.0-azure");
        assert!(manifest.versions.contains_key("antrea"));
        assert!(manifest.start_us > 0 && manifest.start_us <= manifest.end_us);
    }
    assert!(said.contains("left to another cluster: bpf"), "{said}");

    let asked = fs::read_to_string(asked).unwrap();
    let loads = "exec pod/client-gateway -- iperf3 --client=172.18.0.9 --port=5201 --time=2 --json \
                 --parallel 2 --omit 1 --zerocopy";
    assert!(asked.contains(loads), "{asked}");
    let copies = asked.lines().filter(|line| line.starts_with("docker cp"));
    assert_eq!(copies.count(), 3, "{asked}");
    let applied = fs::read_to_string(folder.path().join("asked.applied")).unwrap();
    assert!(applied.contains("egressIP: 172.18.0.4"), "{applied}");
}

fn manifests(dataset: &Path) -> Vec<RunManifest> {
    let entries = fs::read_dir(dataset.join("runs")).unwrap();
    let folders = entries.map(|entry| entry.unwrap().path());
    folders
        .map(|folder| RunManifest::read(&folder).unwrap())
        .collect()
}
