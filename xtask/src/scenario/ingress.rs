//! Ingress: echo backends behind a Gateway, a route with the weights 60 and 40, k6 in a pod.

use std::collections::BTreeMap;

use super::{Shared, drive};
use crate::provision::{Action, Pick, Plan, Run, words};

const NAMESPACE: &str = "weighbridge-ingress";
const PORT: u16 = 80;

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
    let kubectl = shared.setup.kubectl();
    let mut plan = shared.begin("k6 against a route that splits 60 to 40");
    set(
        &mut plan,
        "who implements the Gateway",
        "gateway_class",
        &format!("echo {}", shared.setup.cni.gateway()),
    );
    shared.apply(
        &mut plan,
        "two services of two pods each",
        "deploy/scenarios/ingress/backends.yaml",
    );
    shared.apply(
        &mut plan,
        "a pod with k6",
        "deploy/scenarios/ingress/k6.yaml",
    );
    shared.apply(
        &mut plan,
        "a Gateway and its route",
        "deploy/scenarios/ingress/gateway.yaml",
    );
    plan.run(
        "backends and k6 are ready",
        &format!(
            "{kubectl} --namespace={NAMESPACE} wait pods --all --for=condition=Ready --timeout=3m"
        ),
    );
    plan.run(
        "the Gateway has its address",
        &format!("{kubectl} --namespace={NAMESPACE} wait gateways.gateway.networking.k8s.io shop --for=condition=Programmed --timeout=5m"),
    );
    set(
        &mut plan,
        "which is",
        "gateway_address",
        &format!(
            "{kubectl} --namespace={NAMESPACE} get gateways.gateway.networking.k8s.io shop --output=jsonpath='{{.status.addresses[0].value}}'"
        ),
    );
    for users in &options.users {
        load(options, &mut plan, *users, seconds)?;
    }
    let judge = format!(
        "weighbridge split --dataset=DIR --route={NAMESPACE}/shop, with the dataset that collect names"
    );
    shared.finish(&mut plan, &judge);
    Ok(plan)
}

fn load(options: &Options, plan: &mut Plan, users: u32, seconds: u64) -> anyhow::Result<()> {
    let setup = &options.shared.setup;
    let case = format!("{}-{}", setup.cni.name(), setup.cni.gateway());
    let title = format!("{case}-{users}");
    let (id, folder) = options.shared.claim(&title)?;
    let in_pod = format!("{} --namespace={NAMESPACE} exec pod/k6 --", setup.kubectl());
    // Through exec, not as a job's log: the kubelet rotates logs away at a few megabytes.
    let k6 = format!(
        "{in_pod} k6 run --quiet --no-color --no-usage-report --log-format=raw --log-output=stdout --summary-export=/tmp/summary.json --vus={users} --duration={seconds}s --env=TARGET=http://${{gateway_address}}:{PORT}/hostname /scripts/shop.js"
    );
    let save = |command: &str, file: &str| Action::Save {
        words: words(command),
        file: format!("{folder}/{file}"),
    };
    let summary = format!("{in_pod} cat /tmp/summary.json");
    let commands = vec![
        (format!("{title}: k6"), save(&k6, "k6.log")),
        (
            format!("{title}: its summary"),
            save(&summary, "k6-summary-export.json"),
        ),
    ];
    let factor = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let run = Run {
        id,
        case,
        tool: "k6",
        files: vec![
            ("k6.log", "k6-console"),
            ("k6-summary-export.json", "k6-summary-export"),
        ],
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

fn set(plan: &mut Plan, about: &str, name: &'static str, command: &str) {
    let words = words(command);
    let pick = Pick::All;
    plan.step(about, Action::Set { name, words, pick });
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
