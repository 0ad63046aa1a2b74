//! `cargo xtask undeploy-probe`: takes away what `deploy-probe` applied, and waits until it is gone.
//!
//! Workloads go first, so that probes write their last interval while their namespace still
//! stands. What they recorded is no object of the cluster: it stays in the store or on the nodes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::json;

use crate::deploy_probe::manifests::{DATA_FOLDER, PART_OF};
use crate::deploy_probe::server::{Change, Server, title};
use crate::deploy_probe::settings::NAMESPACE;
use crate::deploy_probe::{in_runtime, print_changes};

const LOOK: Duration = Duration::from_millis(500);

/// Options of `cargo xtask undeploy-probe`.
#[derive(clap::Args)]
pub struct Options {
    /// Context of the kubeconfig (default: its current one).
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Namespace that was deployed to; it is deleted with all that is in it.
    #[arg(long, value_name = "NAME", default_value = NAMESPACE)]
    namespace: String,
    /// Ask the server, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How long it may take until everything is gone.
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    in_runtime(undeploy(options))
}

async fn undeploy(options: Options) -> anyhow::Result<ExitCode> {
    let server = Server::connect(options.context.as_deref()).await?;
    let namespace = server.require_own(&options.namespace).await?;
    let deadline = Instant::now() + options.timeout;
    let mut removed = Vec::new();
    let mut pods_ended = false;
    for object in server.ours(&options.namespace).await? {
        let is_workload = object["spec"]["template"].is_object();
        if !is_workload && !pods_ended && !options.dry_run {
            await_pods(&server, &options.namespace, deadline).await?;
            pods_ended = true;
        }
        server.delete(&object, options.dry_run).await?;
        removed.push((title(&object), Change::Removed));
    }
    if namespace.is_some() {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": options.namespace},
        });
        server.delete(&object, options.dry_run).await?;
        removed.push((title(&object), Change::Removed));
    }
    print_changes(&removed, options.dry_run);
    if removed.is_empty() {
        println!("nothing of weighbridge is in context {}", server.context);
    }
    if !options.dry_run {
        await_namespace(&server, &options.namespace, deadline).await?;
        println!("recordings stay where they are: in the store, or in {DATA_FOLDER} on each node");
    }
    Ok(ExitCode::SUCCESS)
}

async fn await_pods(server: &Server, namespace: &str, deadline: Instant) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(server.client.clone(), namespace);
    let ours = ListParams::default().labels(&format!("{}={}", PART_OF.0, PART_OF.1));
    loop {
        let left = pods.list(&ours).await.context("the pods")?.items.len();
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{left} pods have not ended; the same command goes on where this one stopped");
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn await_namespace(
    server: &Server,
    namespace: &str,
    deadline: Instant,
) -> anyhow::Result<()> {
    let namespaces: Api<DynamicObject> = server.namespaces();
    while namespaces.get_opt(namespace).await?.is_some() {
        if Instant::now() > deadline {
            bail!(
                "namespace {namespace} is not gone: `kubectl get namespace {namespace} --output yaml` says what holds it"
            );
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
