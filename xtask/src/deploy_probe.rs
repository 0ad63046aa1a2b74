//! `cargo xtask deploy-probe`: a probe on every node of a cluster, and the recorder beside them.
//!
//! Builds the static binary and its image, brings it to the nodes, applies the manifests and waits.
//! It ends with 0 only where every node's probe is healthy. `--print` needs no cluster; `--dry-run`
//! asks the server and changes nothing.

pub mod kustomize;
pub mod manifests;
mod rollout;
pub mod server;
pub mod settings;
mod yaml;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};

use crate::image::{Arch, Image};
use server::{Change, Manner, Server};
pub use settings::Target;
use settings::{NAMESPACE, Settings};

/// Options of `cargo xtask deploy-probe`.
#[derive(clap::Args)]
pub struct Options {
    /// Kind of cluster: where the image goes, and what pods need there.
    #[arg(long, value_enum)]
    target: Target,
    /// Context of the kubeconfig (default: its current one).
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Image with registry and tag; needed on AKS, where nodes pull it.
    #[arg(long, value_name = "IMAGE", required_if_eq("target", "aks"))]
    image: Option<String>,
    /// Object store that files are shipped to, as az://, s3:// or gs:// (default: none on kind, where
    /// files stay on the nodes; the container of deploy/aks on AKS). Credentials come from the
    /// secret weighbridge-store, whose entries become environment variables, or from workload
    /// identity.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Length of an interval.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    interval: Option<Duration>,
    /// Namespace; made, and labelled for pods on the host's network.
    #[arg(long, value_name = "NAME", default_value = NAMESPACE)]
    namespace: String,
    /// Priority class of the probes that is there already (default: one of our own is made).
    #[arg(long, value_name = "NAME")]
    priority_class: Option<String>,
    /// Sample processors as well, which needs the capability SYSLOG.
    #[arg(long)]
    profile: bool,
    /// Managed identity that the pods stand for on AKS.
    #[arg(long, value_name = "CLIENT_ID")]
    azure_client_id: Option<String>,
    /// Storage account of an az:// store.
    #[arg(long, value_name = "NAME")]
    azure_account: Option<String>,
    /// Write the manifests to standard output and do nothing else.
    #[arg(long, conflicts_with = "dry_run")]
    print: bool,
    /// Ask the server what applying would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Build no image: nodes have it, or pull it.
    #[arg(long)]
    no_build: bool,
    /// Do not wait for the probes.
    #[arg(long)]
    no_wait: bool,
    /// Take fields that another field manager set.
    #[arg(long)]
    force_conflicts: bool,
    /// How long every probe together may take to become healthy.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let settings = options.settings()?;
    if options.print {
        let text = yaml::documents(&manifests::objects(&settings))?;
        match std::io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(error).context("cannot write to standard output");
            }
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
    in_runtime(deploy(&options, settings))
}

/// Runs a task that talks to an API server.
pub fn in_runtime(
    task: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("tokio runtime")?
        .block_on(task)
}

impl Options {
    fn settings(&self) -> anyhow::Result<Settings> {
        let usual = Settings::of(self.target);
        let settings = Settings {
            namespace: self.namespace.clone(),
            image: self.image.clone().unwrap_or(usual.image.clone()),
            store: self.store.clone().or(usual.store.clone()),
            interval: self.interval.unwrap_or(usual.interval),
            priority_class: self.priority_class.clone(),
            profile: self.profile,
            azure_client_id: self.azure_client_id.clone(),
            azure_account: self.azure_account.clone(),
            ..usual
        };
        settings.validated(self.target)
    }
}

async fn deploy(options: &Options, mut settings: Settings) -> anyhow::Result<ExitCode> {
    let server = Server::connect(options.context.as_deref()).await?;
    server.require_own(&settings.namespace).await?;
    if !options.dry_run && !options.no_build {
        let image = Image::build(architecture(&server).await?, &settings.image)?;
        match options.target {
            Target::Kind => image.load_into_kind(&server.context)?,
            Target::Aks => image.push()?,
        }
        settings.binary = Some(image.binary);
    }
    let objects = manifests::objects(&settings);
    let manner = Manner {
        dry_run: options.dry_run,
        force: options.force_conflicts,
    };
    let mut changes = server.apply(&objects, &settings.namespace, manner).await?;
    changes.extend(
        server
            .prune(&objects, &settings.namespace, options.dry_run)
            .await?,
    );
    print_changes(&changes, options.dry_run);
    if options.dry_run || options.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let healthy = rollout::wait(&server, &settings.namespace, options.timeout).await;
    rollout::print_preflight(&server, &settings.namespace).await?;
    match healthy {
        Ok(()) => {
            println!("every node's probe is healthy");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Prints a line for each object.
pub fn print_changes(changes: &[(String, Change)], dry_run: bool) {
    let manner = if dry_run { " (dry run)" } else { "" };
    for (name, change) in changes {
        println!("{name} {change}{manner}");
    }
}

/// What the nodes run on; one image serves one architecture.
async fn architecture(server: &Server) -> anyhow::Result<Arch> {
    let nodes: Api<Node> = Api::all(server.client.clone());
    let nodes = nodes
        .list(&ListParams::default())
        .await
        .context("the nodes")?;
    let mut found: Vec<String> = nodes
        .into_iter()
        .filter_map(|node| Some(node.status?.node_info?.architecture))
        .collect();
    found.sort();
    found.dedup();
    match found.as_slice() {
        [] => bail!("the cluster has no node"),
        [one] => Arch::named(one),
        several => bail!(
            "nodes of several architectures ({}): build an image for each with `cargo xtask image --arch`, join them in the registry, and deploy with --no-build",
            several.join(", ")
        ),
    }
}
