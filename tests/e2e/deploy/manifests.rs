//! The rendered manifests, before any server: kustomize says the same, schemas are kept, and no
//! form asks for more rights than it says.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use e2e::workspace_root;
use probe_user::health::{Health, Hook, MapUse, Server, Shown, Stats};
use probe_user::record::health::{Figures, RecorderHealth};
use probe_user::ship::Shipped;
use serde_json::Value;

use super::{VERSION, prepared, printed, xtask};

/// Kubernetes version of the schemas.
const SCHEMAS: &str = "1.36";

#[test]
fn print_and_kustomize_give_the_same_objects() {
    let placeholder = format!("registry.example/weighbridge-probe:{VERSION}");
    let profiled = tempfile::tempdir_in(workspace_root().join("target")).unwrap();
    let kustomization = "resources: [../../deploy/manifests/overlays/aks]\n\
                         components: [../../deploy/manifests/components/profile]\n";
    std::fs::write(profiled.path().join("kustomization.yaml"), kustomization).unwrap();
    let overlays = workspace_root().join("deploy/manifests/overlays");
    let aks = ["--target=aks", "--image", &placeholder];
    for (folder, arguments) in [
        (overlays.join("kind").as_path(), &["--target=kind"][..]),
        (overlays.join("aks").as_path(), &aks),
        (profiled.path(), &[&aks[..], &["--profile"]].concat()),
        (
            overlays.join("profile").as_path(),
            &["--target=kind", "--profile", "--image", &base_image()],
        ),
    ] {
        let of_kustomize = documents(&kustomize(folder));
        let of_print = documents(&print(arguments));
        assert!(!of_print.is_empty());
        assert_eq!(of_print, of_kustomize, "{}", folder.display());
    }
}

#[test]
fn every_form_keeps_the_schemas_of_kubernetes() {
    let manifests = workspace_root().join("deploy/manifests");
    let folder = tempfile::tempdir().unwrap();
    for overlay in ["base", "overlays/kind", "overlays/aks", "overlays/profile"] {
        let file = folder.path().join(overlay.replace('/', "-"));
        std::fs::write(&file, kustomize(&manifests.join(overlay))).unwrap();
        validate(&file);
    }
    // What knows a typo; else the test above would be worth nothing.
    let typo = folder.path().join("typo");
    let text = kustomize(&manifests.join("base")).replace("hostNetwork:", "hostNetwrk:");
    std::fs::write(&typo, text).unwrap();
    assert!(!try_validate(&typo).status.success());
}

#[test]
fn the_scenarios_keep_the_schemas_of_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["egress/clients", "ingress/backends", "ingress/k6"] {
        let path = workspace_root().join(format!("deploy/scenarios/{name}.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        let file = folder.path().join("filled.yaml");
        std::fs::write(&file, text.replace("${", "").replace('}', "")).unwrap();
        validate(&file);
    }
}

#[test]
fn nothing_is_privileged_in_any_form() {
    let manifests = workspace_root().join("deploy/manifests");
    for overlay in ["base", "overlays/kind", "overlays/aks", "overlays/profile"] {
        let text = kustomize(&manifests.join(overlay));
        for word in [
            "privileged: true",
            "SYS_ADMIN",
            "hostPID",
            "hostIPC",
            "CAP_",
        ] {
            assert!(!text.contains(word), "{overlay} says {word}");
        }
        for object in documents(&text).values() {
            let pod = &object["spec"]["template"]["spec"];
            let of = |list: &str| pod[list].as_array().cloned().unwrap_or_default();
            for container in [of("initContainers"), of("containers")].concat() {
                let security = &container["securityContext"];
                assert_eq!(security["readOnlyRootFilesystem"], true);
                assert_eq!(security["allowPrivilegeEscalation"], false);
                assert_eq!(security["capabilities"]["drop"][0], "ALL");
            }
        }
    }
}

#[test]
fn kind_takes_the_configurations() {
    let kind = prepared("WEIGHBRIDGE_KIND");
    let folder = tempfile::tempdir().unwrap();
    let answer = |config: &Path| {
        let output = Command::new(&kind)
            .args(["create", "cluster", "--name=weighbridge-none", "--config"])
            .arg(config)
            // Without an engine it gets no further than the configuration.
            .env("PATH", folder.path())
            .env("KUBECONFIG", folder.path().join("kubeconfig"))
            .stdin(Stdio::null())
            .output()
            .expect("kind runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for name in ["antrea", "cilium"] {
        let config = workspace_root().join(format!("deploy/kind/{name}.yaml"));
        let said = answer(&config);
        assert!(!said.contains("config"), "{name}: {said}");
        assert!(said.contains("executable file not found"), "{name}: {said}");
        let text = std::fs::read_to_string(&config).unwrap();
        let typo = folder.path().join("typo.yaml");
        std::fs::write(&typo, text.replace("disableDefaultCNI", "disableCNI")).unwrap();
        assert!(answer(&typo).contains("field disableCNI not found"));
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let root = workspace_root();
    let dashboard = root.join("deploy/grafana/weighbridge-probes.json");
    let dashboard: Value =
        serde_json::from_str(&std::fs::read_to_string(dashboard).unwrap()).unwrap();
    let served = [scrape(probe()), scrape(recorder())].concat();
    // A counter's samples are named `_total`, its description is not.
    let is_served = |name: &str| {
        let mut lines = served.lines().filter(|line| !line.starts_with('#'));
        lines.any(|line| line.split(['{', ' ']).next() == Some(name))
    };
    assert!(!is_served("weighbridge_probe_none_total"));
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let other = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            for word in expression.split(other) {
                if word.starts_with("weighbridge_") {
                    assert!(is_served(word), "{word} in {expression}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 20, "{asked}");
}

/// A probe that attached, counted and shipped.
fn probe() -> Arc<dyn Shown> {
    let health = Health::new(Duration::from_secs(1));
    health.update(Stats {
        hooks: vec![Hook {
            vantage: "pod".to_owned(),
            interface: String::new(),
        }],
        maps: vec![MapUse {
            map: "flows".to_owned(),
            entries: 1,
            capacity: 2,
        }],
        shipped: Some(Shipped::default()),
        ..Stats::default()
    });
    health
}

/// A recorder that recorded.
fn recorder() -> Arc<dyn Shown> {
    let health = RecorderHealth::new();
    health.update(Figures {
        rows: BTreeMap::from([("Pod", 1)]),
        ..Figures::default()
    });
    health
}

/// What `/metrics` answers.
fn scrape(health: Arc<dyn Shown>) -> String {
    let server = Server::start((Ipv4Addr::LOCALHOST, 0).into(), health).unwrap();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

fn base_image() -> String {
    format!("weighbridge-probe:{VERSION}")
}

fn print(arguments: &[&str]) -> String {
    let nowhere = Path::new("/nonexistent/kubeconfig");
    let all = [&["deploy-probe", "--print"], arguments].concat();
    printed(&xtask(nowhere, &all))
}

fn kustomize(folder: &Path) -> String {
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .expect("kubectl runs: apt-get install kubernetes-client");
    printed(&output)
}

fn try_validate(file: &Path) -> std::process::Output {
    Command::new(prepared("WEIGHBRIDGE_KUBERNETES_VALIDATE"))
        .args(["--strict", "-k", SCHEMAS])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("kubernetes-validate runs")
}

fn validate(file: &Path) {
    let output = try_validate(file);
    printed(&output);
}

/// Objects by kind and name.
fn documents(text: &str) -> BTreeMap<String, Value> {
    let mut objects = BTreeMap::new();
    for document in text.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).expect("YAML");
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        assert!(objects.insert(name, object).is_none());
    }
    objects
}
