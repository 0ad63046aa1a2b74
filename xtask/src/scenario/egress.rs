//! Egress: one pod behind a policy, one behind none, both on the first worker; the second worker is
//! the gateway. The server stands where no other translation hides who came.

use std::collections::BTreeMap;

use super::{Shared, apply, begin, drive, set};
use crate::cluster::{Cni, Setup, TERRAFORM};
use crate::deploy_probe::Target;
use crate::provision::versions::Versions;
use crate::provision::{Action, Plan, Run, Words, words};

/// Where the clients are.
pub const NAMESPACE: &str = "weighbridge-egress";
/// Port of the server.
pub const PORT: u16 = 5201;
const WORKERS: &str = "get nodes --selector='!node-role.kubernetes.io/control-plane'";

/// Options of `cargo xtask scenario egress`.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) shared: Shared,
    /// Further arguments of iperf3's client.
    #[arg(last = true)]
    iperf3: Vec<String>,
}

/// The plan.
pub fn plan(options: &Options) -> anyhow::Result<Plan> {
    let shared = &options.shared;
    let seconds = shared.seconds()?;
    let title = "iperf3 through an egress gateway and without one";
    let mut plan = begin(&shared.setup, title);
    prepare(&shared.setup, &mut plan);
    for egress in ["gateway", "base"] {
        load(options, &mut plan, egress, seconds)?;
    }
    let judge = "weighbridge egress --dataset=DIR, with the dataset that collect names";
    shared.finish(&mut plan, judge);
    Ok(plan)
}

/// Adds what must be there before any load.
pub fn prepare(setup: &Setup, plan: &mut Plan) {
    let kubectl = setup.kubectl();
    server(setup, plan);
    for (name, about, position) in [
        ("client_node", "clients run on the first worker", 0),
        ("gateway_node", "the second worker is the gateway", 1),
    ] {
        let jsonpath = format!("--output=jsonpath='{{.items[{position}].metadata.name}}'");
        let command = format!("{kubectl} {WORKERS} {jsonpath}");
        set(plan, about, name, &command);
    }
    set(
        plan,
        "its address is the egress address",
        "gateway_address",
        &format!(
            "{kubectl} get node ${{gateway_node}} --output=jsonpath='{{.status.addresses[?(@.type==\"InternalIP\")].address}}'"
        ),
    );
    policy(setup, plan);
    let clients = "deploy/scenarios/egress/clients.yaml";
    apply(setup, plan, "two clients", clients);
    plan.run(
        "they are ready",
        &format!(
            "{kubectl} --namespace={NAMESPACE} wait pods --all --for=condition=Ready --timeout=3m"
        ),
    );
    plan.run("agents on the nodes have the policy", "sleep 10");
}

/// iperf3 in the pod that the policy selects (`gateway`) or in the other (`base`).
pub fn client(setup: &Setup, egress: &str, seconds: u64, arguments: &[String]) -> Words {
    let mut client = words(&format!(
        "{} --namespace={NAMESPACE} exec pod/client-{egress} -- iperf3 --client=${{server}} --port={PORT} --time={seconds} --json",
        setup.kubectl()
    ));
    client.extend(arguments.iter().cloned());
    client
}

/// The server must be one hop from the nodes: further out, an engine's own masquerade or the
/// cloud's translation hides the egress address.
fn server(setup: &Setup, plan: &mut Plan) {
    let name = &setup.name;
    match setup.target {
        Target::Kind => {
            let image = &Versions::pinned().images.iperf3;
            plan.step(
                "a server on the bridge that the nodes share",
                Action::RunUnless {
                    words: words(&format!(
                        "docker run --detach --name={name}-outside --network=kind {image} iperf3 --server --port={PORT}"
                    )),
                    listing: words("docker ps --format={{.Names}}"),
                    line: format!("{name}-outside"),
                },
            );
            set(
                plan,
                "its address",
                "server",
                &format!(
                    "docker inspect {name}-outside --format='{{{{.NetworkSettings.Networks.kind.IPAddress}}}}'"
                ),
            );
        }
        Target::Aks => set(
            plan,
            "the server in the peered network, which `cluster up` made",
            "server",
            &format!("{TERRAFORM} output -raw outside_address"),
        ),
    }
}

fn policy(setup: &Setup, plan: &mut Plan) {
    // Before the pods, so that no connection of theirs is older than the policy.
    let file = match setup.cni {
        Cni::Antrea => "deploy/scenarios/egress/antrea.yaml",
        Cni::Cilium => "deploy/scenarios/egress/cilium.yaml",
    };
    apply(setup, plan, "the policy, for one of them", file);
    if setup.cni == Cni::Antrea {
        let kubectl = setup.kubectl();
        plan.run(
            "the gateway node has taken the address",
            &format!(
                "{kubectl} wait egresses.crd.antrea.io weighbridge --for=jsonpath='{{.status.egressNode}}'=${{gateway_node}} --timeout=1m"
            ),
        );
    }
}

fn load(options: &Options, plan: &mut Plan, egress: &str, seconds: u64) -> anyhow::Result<()> {
    let shared = &options.shared;
    let setup = &shared.setup;
    let case = format!("{}-{egress}", setup.cni.name());
    let (id, folder) = shared.claim(&case)?;
    let udp = options
        .iperf3
        .iter()
        .any(|word| word == "-u" || word == "--udp");
    let factor = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let run = Run {
        id,
        case: case.clone(),
        tool: "iperf3",
        files: vec![("iperf3.json", "iperf3-json")],
        factors: BTreeMap::from([
            factor("cni", setup.cni.name()),
            factor("egress", egress),
            factor("protocol", if udp { "udp" } else { "tcp" }),
            factor("pairs", "1"),
        ]),
        client_pod: Some(format!("{NAMESPACE}/client-{egress}")),
        server_address: "${server}".to_owned(),
        server_port: PORT,
        versions: setup.cni.versions(),
        folder: folder.clone(),
    };
    let save = Action::Save {
        words: client(setup, egress, seconds, &options.iperf3),
        file: format!("{folder}/iperf3.json"),
    };
    drive(plan, &case, vec![(format!("{case}: iperf3"), save)], run);
    Ok(())
}

#[cfg(test)]
impl Options {
    /// Without further arguments.
    pub(super) fn of(shared: Shared) -> Self {
        Self {
            shared,
            iperf3: Vec::new(),
        }
    }
}
