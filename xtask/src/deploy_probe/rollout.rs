//! Waiting until every node's probe is healthy, and what each node's preflight said.
//!
//! A node counts as watched when its pod is ready, which is what `/healthz` said to the kubelet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::api::{Api, ListParams, LogParams};
use serde::Deserialize;

use super::manifests::{PREFLIGHT, PROBE, RECORDER};
use super::server::Server;

/// How often the server is asked.
const LOOK: Duration = Duration::from_secs(1);

/// Waits for both components; fails with what holds the first pods back.
pub async fn wait(server: &Server, namespace: &str, limit: Duration) -> anyhow::Result<()> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} {bar:30} {pos}/{len} {msg}",
    )?);
    let started = Instant::now();
    loop {
        let progress = progress(server, namespace).await?;
        bar.set_length(progress.wanted);
        bar.set_position(progress.ready);
        bar.set_message(progress.to_string());
        if progress.is_done() {
            bar.finish_and_clear();
            return Ok(());
        }
        if started.elapsed() > limit {
            bar.finish_and_clear();
            let reasons = obstacles(server, namespace).await?;
            bail!(
                "not every probe is healthy after {}: {progress}{}",
                humantime::format_duration(limit),
                reasons
                    .iter()
                    .map(|reason| format!("; {reason}"))
                    .collect::<String>()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How far a rollout is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Progress {
    wanted: u64,
    ready: u64,
    recorder: bool,
    observed: bool,
}

impl Progress {
    fn of(daemon_set: &DaemonSet, deployment: &Deployment) -> Self {
        let count = |number: i32| u64::try_from(number).unwrap_or_default();
        let probes = daemon_set.status.clone().unwrap_or_default();
        let recorder = deployment.status.clone().unwrap_or_default();
        let updated = count(probes.updated_number_scheduled.unwrap_or_default());
        Self {
            wanted: count(probes.desired_number_scheduled),
            // A ready pod of an earlier rendering is not the one that was asked for.
            ready: count(probes.number_ready).min(updated),
            recorder: recorder.updated_replicas == Some(1)
                && recorder.available_replicas == Some(1)
                && recorder.observed_generation >= deployment.metadata.generation,
            observed: probes.observed_generation >= daemon_set.metadata.generation,
        }
    }

    fn is_done(&self) -> bool {
        self.observed && self.wanted > 0 && self.ready == self.wanted && self.recorder
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let recorder = if self.recorder { "ready" } else { "not ready" };
        write!(
            f,
            "{} of {} probes healthy, recorder {recorder}",
            self.ready, self.wanted
        )
    }
}

async fn progress(server: &Server, namespace: &str) -> anyhow::Result<Progress> {
    let daemon_sets: Api<DaemonSet> = Api::namespaced(server.client.clone(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(server.client.clone(), namespace);
    let daemon_set = daemon_sets.get(PROBE).await.context("the DaemonSet")?;
    let deployment = deployments.get(RECORDER).await.context("the Deployment")?;
    Ok(Progress::of(&daemon_set, &deployment))
}

async fn pods(server: &Server, namespace: &str, component: &str) -> anyhow::Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(server.client.clone(), namespace);
    let selected = ListParams::default().labels(&format!("app.kubernetes.io/name={component}"));
    Ok(pods.list(&selected).await.context("the pods")?.items)
}

/// What pods wait for, one line each.
async fn obstacles(server: &Server, namespace: &str) -> anyhow::Result<Vec<String>> {
    let mut reasons = Vec::new();
    for component in [PROBE, RECORDER] {
        for pod in pods(server, namespace, component).await? {
            if let Some(reason) = obstacle(&pod) {
                reasons.push(format!("{component} on {}: {reason}", node(&pod)));
            }
        }
    }
    Ok(reasons)
}

fn obstacle(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    for container in all {
        if container.ready {
            continue;
        }
        let states = [container.state.as_ref(), container.last_state.as_ref()];
        if let Some(reason) = states.into_iter().flatten().find_map(reason) {
            return Some(format!("{} {reason}", container.name));
        }
    }
    let conditions = status.conditions.iter().flatten();
    conditions
        .filter(|condition| condition.status == "False")
        .find_map(|condition| condition.message.clone())
}

fn reason(state: &ContainerState) -> Option<String> {
    if let Some(waiting) = &state.waiting {
        let what = waiting.reason.clone().unwrap_or_default();
        let said = waiting.message.clone().unwrap_or_default();
        return Some(format!("{what} {said}").trim().to_owned());
    }
    let ended = state.terminated.as_ref()?;
    (ended.exit_code != 0).then(|| format!("ended with {}", ended.exit_code))
}

fn node(pod: &Pod) -> &str {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.unwrap_or("no node yet")
}

/// Prints what each node's preflight found, problems in full.
pub async fn print_preflight(server: &Server, namespace: &str) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(server.client.clone(), namespace);
    let parameters = LogParams {
        container: Some(PREFLIGHT.to_owned()),
        ..LogParams::default()
    };
    let mut answers = BTreeMap::new();
    for pod in pods(server, namespace, PROBE).await? {
        let name = pod.metadata.name.clone().unwrap_or_default();
        // A node that has not pulled the image yet has no log; its pod's state says so.
        let log = api.logs(&name, &parameters).await.unwrap_or_default();
        answers.insert(node(&pod).to_owned(), log);
    }
    for (node, log) in answers {
        println!("{}", summary(&node, &log));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Check {
    check: String,
    status: String,
    found: String,
    advice: String,
}

/// One line for a node where all is well, one more for each thing that is not.
fn summary(node: &str, log: &str) -> String {
    let Ok(checks) = serde_json::from_str::<Vec<Check>>(log) else {
        return format!("{node}: preflight has not answered");
    };
    let fine = checks.iter().filter(|check| check.status == "ok").count();
    let mut lines = vec![format!("{node}: {fine} of {} checks ok", checks.len())];
    for check in checks.iter().filter(|check| check.status != "ok") {
        let mut line = format!("  {} {}: {}", check.status, check.check, check.found);
        if !check.advice.is_empty() {
            line.push_str(&format!(" — {}", check.advice));
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn progress_of(probes: Value, recorder: Value) -> Progress {
        let meta = json!({"name": "x", "generation": 2});
        let daemon_set = json!({"metadata": meta, "status": probes});
        let deployment = json!({"metadata": meta, "status": recorder});
        Progress::of(
            &serde_json::from_value(daemon_set).unwrap(),
            &serde_json::from_value(deployment).unwrap(),
        )
    }

    fn probes(generation: i64, wanted: i32, updated: i32, ready: i32) -> Value {
        json!({
            "observedGeneration": generation, "desiredNumberScheduled": wanted,
            "updatedNumberScheduled": updated, "numberReady": ready,
            "currentNumberScheduled": wanted, "numberMisscheduled": 0,
        })
    }

    #[test]
    fn only_new_ready_pods_on_every_node_end_a_rollout() {
        let recorder =
            json!({"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1});
        let done = |probes| progress_of(probes, recorder.clone()).is_done();
        assert!(done(probes(2, 3, 3, 3)));
        assert!(!done(probes(1, 3, 3, 3)), "the controller has not seen it");
        assert!(!done(probes(2, 3, 1, 3)), "pods of the earlier rendering");
        assert!(!done(probes(2, 3, 3, 2)), "a node is not healthy");
        assert!(!done(probes(2, 0, 0, 0)), "no node at all");
        let none = progress_of(probes(2, 3, 3, 3), json!({"observedGeneration": 2}));
        assert!(!none.is_done(), "the recorder is missing");
    }

    #[test]
    fn a_pod_that_waits_says_for_what() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "status": {"initContainerStatuses": [{
                "name": "preflight", "ready": false, "restartCount": 3, "image": "", "imageID": "",
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            }]},
        }))
        .unwrap();
        let said = obstacle(&pod).unwrap();
        assert_eq!(said, "preflight CrashLoopBackOff back-off 40s");
    }

    #[test]
    fn preflight_is_told_in_one_line_where_all_is_well() {
        let ok = r#"[{"check": "kernel", "status": "ok", "found": "6.8", "advice": ""}]"#;
        assert_eq!(summary("a", ok), "a: 1 of 1 checks ok");
        let warn = r#"[{"check": "jit", "status": "warn", "found": "off", "advice": "turn on"}]"#;
        assert_eq!(
            summary("a", warn),
            "a: 0 of 1 checks ok\n  warn jit: off — turn on"
        );
        assert_eq!(summary("a", ""), "a: preflight has not answered");
    }
}
