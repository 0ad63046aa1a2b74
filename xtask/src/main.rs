//! `cargo xtask`: the tasks of those who try, test, measure and build weighbridge.
//!
//! One file a task, each with its own `Options` and `run`. The exit code is the task's own: `demo`
//! ends as `weighbridge` did, the others with 0 or 1; 2 says that a task could not be run at all.

mod api_server;
mod bench;
mod build_ebpf;
mod campaign;
mod cluster;
mod collect;
mod command;
mod demo;
mod deploy_probe;
mod image;
mod lab;
mod packages;
mod provision;
mod scenario;
mod setup;
mod store_servers;
mod test;
mod tidy;
mod undeploy_probe;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Demo(options) => demo::run(options),
        Task::Campaign(options) => campaign::run(options),
        Task::Lab(options) => lab::run(options),
        Task::DeployProbe(options) => deploy_probe::run(options),
        Task::UndeployProbe(options) => undeploy_probe::run(options),
        Task::Manifests(options) => deploy_probe::kustomize::run(options),
        Task::Image(options) => image::run(options),
        Task::Cluster(options) => cluster::run(options),
        Task::Scenario(options) => scenario::run(options),
        Task::Collect(options) => collect::run(options),
        Task::Test(options) => test::run(options),
        Task::Tidy(options) => tidy::run(options),
        Task::Bench(options) => bench::run(options),
        Task::ApiServer(options) => api_server::run(options),
        Task::BuildEbpf(options) => build_ebpf::run(options),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(2)
    })
}

/// Tasks of the weighbridge workspace.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the main job on the lab: real traffic, a probe on every node, verdicts.
    Demo(demo::Options),
    /// Repeat a study run by run, in randomised blocks, and end with its report.
    Campaign(campaign::Options),
    /// Make or delete a cluster with its CNI and Gateway.
    Cluster(cluster::Options),
    /// Put a probe on every node of a cluster, and the recorder beside them.
    DeployProbe(deploy_probe::Options),
    /// Take away what deploy-probe applied.
    UndeployProbe(undeploy_probe::Options),
    /// Set up and drive load on a cluster: through an egress policy, or split by a route.
    Scenario(scenario::Options),
    /// Fetch what the nodes of a cluster recorded.
    Collect(collect::Options),
    /// Build the static binary and its image.
    Image(image::Options),
    /// Render the kustomize folders below deploy/manifests.
    Manifests(deploy_probe::kustomize::Options),
    /// Run every check: format, lints, tidy, unit, property, eBPF and end-to-end tests.
    Test(test::Options),
    /// Set up, inspect or clear away the lab cluster.
    Lab(lab::Options),
    /// Measure what the probe costs.
    Bench(bench::Options),
    /// Build a kube-apiserver and its etcd for tests, once, and print where they are.
    ApiServer(api_server::Options),
    /// Build the eBPF objects, print what each program costs, and install the probe's object.
    BuildEbpf(build_ebpf::Options),
    /// Check the repository's own rules: dependency edges, file sizes, forbidden words.
    Tidy(tidy::Options),
}
