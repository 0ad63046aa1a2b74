//! Ingress: echo backends behind a Gateway, a route with the weights 60 and 40, k6 in a pod.

use std::collections::BTreeMap;

use super::{Shared, apply, begin, drive, set};
use crate::cluster::Setup;
use crate::provision::{Action, Plan, Run, Words, words};

/// Where the backends and k6 are.
pub const NAMESPACE: &str = "weighbridge-ingress";
/// Port of the Gateway.
pub const PORT: u16 = 80;
/// Files of a run and what each is.
pub const FILES: [(&str, &str); 2] = [
    ("k6.log", "k6-console"),
    ("k6-summary-export.json", "k6-summary-export"),
];

/// Options of `cargo xtask scenario ingress`.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) shared: Shared,
    /// Virtual users, a run for each number.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10")]
    users: Vec<u32>,
}

/// The plan.
pub fn plan(options: &Options) -> anyhow::Result<Plan> {
    let shared = &options.shared;
    let seconds = shared.seconds()?;
    let mut plan = begin(&shared.setup, "k6 against a route that splits 60 to 40");
    prepare(&shared.setup, &mut plan);
    for users in &options.users {
        load(options, &mut plan, *users, seconds)?;
    }
    let judge = format!(
        "weighbridge split --dataset=DIR --route={NAMESPACE}/shop, with the dataset that collect names"
    );
    shared.finish(&mut plan, &judge);
    Ok(plan)
}

/// Adds what must be there before any load.
pub fn prepare(setup: &Setup, plan: &mut Plan) {
    let kubectl = format!("{} --namespace={NAMESPACE}", setup.kubectl());
    let class = format!("echo {}", setup.cni.gateway());
    set(plan, "who implements the Gateway", "gateway_class", &class);
    for (about, file) in [
        (
            "two services of two pods each",
            "deploy/scenarios/ingress/backends.yaml",
        ),
        ("a pod with k6", "deploy/scenarios/ingress/k6.yaml"),
        (
            "a Gateway and its route",
            "deploy/scenarios/ingress/gateway.yaml",
        ),
    ] {
        apply(setup, plan, about, file);
    }
    plan.run(
        "backends and k6 are ready",
        &format!("{kubectl} wait pods --all --for=condition=Ready --timeout=3m"),
    );
    plan.run(
        "the Gateway has its address",
        &format!(
            "{kubectl} wait gateways.gateway.networking.k8s.io shop --for=condition=Programmed --timeout=5m"
        ),
    );
    set(
        plan,
        "which is",
        "gateway_address",
        &format!(
            "{kubectl} get gateways.gateway.networking.k8s.io shop --output=jsonpath='{{.status.addresses[0].value}}'"
        ),
    );
}

/// k6 in its pod, and what prints its summary afterwards.
pub fn k6(setup: &Setup, users: u32, seconds: u64, arguments: &[String]) -> [Words; 2] {
    let in_pod = format!("{} --namespace={NAMESPACE} exec pod/k6 --", setup.kubectl());
    // Through exec, not as a job's log: the kubelet rotates logs away at a few megabytes.
    let mut k6 = words(&format!(
        "{in_pod} k6 run --quiet --no-color --no-usage-report --log-format=raw --log-output=stdout --summary-export=/tmp/summary.json --vus={users} --duration={seconds}s --env=TARGET=http://${{gateway_address}}:{PORT}/hostname"
    ));
    k6.extend(arguments.iter().cloned());
    k6.push("/scripts/shop.js".to_owned());
    [k6, words(&format!("{in_pod} cat /tmp/summary.json"))]
}

fn load(options: &Options, plan: &mut Plan, users: u32, seconds: u64) -> anyhow::Result<()> {
    let setup = &options.shared.setup;
    let case = format!("{}-{}", setup.cni.name(), setup.cni.gateway());
    let title = format!("{case}-{users}");
    let (id, folder) = options.shared.claim(&title)?;
    let [k6, summary] = k6(setup, users, seconds, &[]);
    let save = |words, file: &str| Action::Save {
        words,
        file: format!("{folder}/{file}"),
    };
    let commands = vec![
        (format!("{title}: k6"), save(k6, FILES[0].0)),
        (format!("{title}: its summary"), save(summary, FILES[1].0)),
    ];
    let factor = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let run = Run {
        id,
        case,
        tool: "k6",
        files: FILES.to_vec(),
        factors: BTreeMap::from([
            factor("cni", setup.cni.name()),
            factor("gateway", setup.cni.gateway()),
            factor("users", &users.to_string()),
        ]),
        client_pod: Some(format!("{NAMESPACE}/k6")),
        server_address: "${gateway_address}".to_owned(),
        server_port: PORT,
        versions: setup.cni.versions(),
        folder: folder.clone(),
    };
    drive(plan, &title, commands, run);
    Ok(())
}

#[cfg(test)]
impl Options {
    /// With two numbers of users.
    pub(super) fn of(shared: Shared) -> Self {
        Self {
            shared,
            users: vec![1, 100],
        }
    }
}
