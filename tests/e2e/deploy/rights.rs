//! What the service accounts may do, asked of the API server by the accounts themselves.

use std::path::Path;
use std::process::{Command, Stdio};

use e2e::api_server::ApiServer;
use probe_user::record::kinds::KINDS;
use serde_json::{Value, json};

use super::{printed, xtask};

#[test]
fn the_probes_account_is_refused_everything() {
    let (api, kubeconfig) = account("weighbridge-probe");
    assert_eq!(granted(&kubeconfig), Vec::<(String, String, String)>::new());
    for (verb, group, resource) in [
        ("get", "", "pods"),
        ("list", "", "nodes"),
        ("get", "", "secrets"),
        ("list", "", "namespaces"),
        ("watch", "", "services"),
    ] {
        assert!(
            !may(&kubeconfig, verb, group, resource),
            "{verb} {resource}"
        );
    }
    drop(api);
}

#[test]
fn the_recorders_account_may_read_what_it_records_and_nothing_else() {
    let (api, kubeconfig) = account("weighbridge-recorder");
    let recorded = KINDS.iter().map(|kind| (kind.group, kind.plural));
    let mut expected = Vec::new();
    for (group, resource) in recorded {
        for verb in ["get", "list", "watch"] {
            expected.push((group.to_owned(), resource.to_owned(), verb.to_owned()));
            assert!(may(&kubeconfig, verb, group, resource), "{verb} {resource}");
        }
    }
    expected.sort();
    assert_eq!(granted(&kubeconfig), expected);
    for (verb, group, resource) in [
        ("get", "", "secrets"),
        ("list", "", "secrets"),
        ("get", "", "configmaps"),
        ("create", "", "pods"),
        ("delete", "", "pods"),
        ("patch", "", "nodes"),
        ("get", "", "pods/log"),
        ("create", "", "pods/exec"),
        ("update", "crd.antrea.io", "egresses"),
        ("impersonate", "", "users"),
        ("escalate", "rbac.authorization.k8s.io", "clusterroles"),
    ] {
        assert!(
            !may(&kubeconfig, verb, group, resource),
            "{verb} {resource}"
        );
    }
    drop(api);
}

/// A server with a deployment, and a kubeconfig of one of its accounts.
fn account(name: &str) -> (ApiServer, std::path::PathBuf) {
    let api = ApiServer::start();
    let deploy = [
        "deploy-probe",
        "--target=kind",
        "--context=test",
        "--no-build",
        "--no-wait",
    ];
    printed(&xtask(&api.kubeconfig(), &deploy));
    let token = api.kubectl(&["--namespace=weighbridge", "create", "token", name], "");
    let kubeconfig = api.kubeconfig_of(name, token.trim());
    (api, kubeconfig)
}

/// Every right as group, resource and verb, beside those that every account has.
fn granted(kubeconfig: &Path) -> Vec<(String, String, String)> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": "weighbridge"},
    });
    let answer = ask(kubeconfig, "selfsubjectrulesreviews", &review);
    assert_eq!(answer["status"]["incomplete"], false, "{answer}");
    let mut granted = Vec::new();
    for rule in answer["status"]["resourceRules"].as_array().unwrap() {
        let texts = |field: &str| -> Vec<String> {
            let values = rule[field].as_array().cloned().unwrap_or_default();
            let texts = values.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        for group in texts("apiGroups") {
            // Asking what one may do is everybody's right.
            if group == "authorization.k8s.io" {
                continue;
            }
            for resource in texts("resources") {
                for verb in texts("verbs") {
                    granted.push((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    granted.sort();
    granted
}

/// Whether the account may, in its own words.
fn may(kubeconfig: &Path, verb: &str, group: &str, resource: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": subresource,
            "namespace": "weighbridge",
        }},
    });
    let answer = ask(kubeconfig, "selfsubjectaccessreviews", &review);
    answer["status"]["allowed"].as_bool().unwrap()
}

fn ask(kubeconfig: &Path, resource: &str, review: &Value) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), review.to_string()).unwrap();
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["create", "--raw"])
        .arg(format!("/apis/authorization.k8s.io/v1/{resource}"))
        .arg("--filename")
        .arg(file.path())
        .stdin(Stdio::null())
        .output()
        .expect("kubectl runs: apt-get install kubernetes-client");
    serde_json::from_str(&printed(&output)).unwrap()
}
