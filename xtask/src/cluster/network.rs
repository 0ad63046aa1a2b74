//! What makes nodes a cluster: CNI with egress gateways, Gateway API, a Gateway, addresses for it.

use super::{Cni, Setup};
use crate::deploy_probe::Target;
use crate::provision::versions::Versions;
use crate::provision::{Action, Pick, Plan, words};

/// Adds the steps.
pub fn install(setup: &Setup, plan: &mut Plan) {
    match setup.cni {
        Cni::Antrea => {
            antrea(setup, plan);
            await_nodes(setup, plan);
            gateway_api(setup, plan);
            nginx(setup, plan);
        }
        // Cilium looks for Gateway API's definitions when it starts.
        Cni::Cilium => {
            gateway_api(setup, plan);
            cilium(setup, plan);
            await_nodes(setup, plan);
        }
    }
    if setup.target == Target::Kind {
        metallb(setup, plan);
    }
}

fn helm(setup: &Setup) -> String {
    format!("helm --kube-context={} upgrade --install", setup.context())
}

fn antrea(setup: &Setup, plan: &mut Plan) {
    let version = &Versions::pinned().antrea;
    // Without a CNI of its own AKS gives nodes no pod addresses, so Antrea does.
    let of_target = match setup.target {
        Target::Kind => String::new(),
        Target::Aks => {
            " --set=nodeIPAM.enable=true --set-json='nodeIPAM.clusterCIDRs=[\"10.244.0.0/16\"]'"
                .to_owned()
        }
    };
    plan.run(
        "Antrea; Egress is on by default, and the host needs the module openvswitch",
        &format!(
            "{} antrea antrea --repo=https://charts.antrea.io --version={version} --namespace=kube-system{of_target} --wait --timeout=10m",
            helm(setup)
        ),
    );
}

fn cilium(setup: &Setup, plan: &mut Plan) {
    let version = &Versions::pinned().cilium;
    let of_target = match setup.target {
        Target::Kind => format!(
            "--set=ipam.mode=kubernetes --set=k8sServiceHost={}-control-plane --set=k8sServicePort=6443",
            setup.name
        ),
        Target::Aks => {
            // Cilium's own choice, 10.0.0.0/8, holds the nodes' addresses.
            "--set=aksbyocni.enabled=true --set-json='ipam.operator.clusterPoolIPv4PodCIDRList=[\"10.244.0.0/16\"]' --set=k8sServiceHost=${api_server} --set=k8sServicePort=443"
                .to_owned()
        }
    };
    plan.run(
        "Cilium, with egress gateways and its Gateway",
        &format!(
            "{} cilium cilium --repo=https://helm.cilium.io --version={version} --namespace=kube-system --set=kubeProxyReplacement=true --set=bpf.masquerade=true --set=egressGateway.enabled=true --set=gatewayAPI.enabled=true {of_target} --wait --timeout=10m",
            helm(setup)
        ),
    );
}

fn await_nodes(setup: &Setup, plan: &mut Plan) {
    plan.run(
        "every node has its network",
        &format!(
            "{} wait nodes --all --for=condition=Ready --timeout=5m",
            setup.kubectl()
        ),
    );
}

fn gateway_api(setup: &Setup, plan: &mut Plan) {
    let pinned = &Versions::pinned().gateway_api;
    let version = match setup.cni {
        Cni::Antrea => &pinned.nginx,
        Cni::Cilium => &pinned.cilium,
    };
    plan.run(
        "Gateway API's definitions",
        &format!(
            "{} apply --server-side --filename=https://github.com/kubernetes-sigs/gateway-api/releases/download/v{version}/standard-install.yaml",
            setup.kubectl()
        ),
    );
}

fn nginx(setup: &Setup, plan: &mut Plan) {
    let version = &Versions::pinned().nginx_gateway_fabric;
    plan.run(
        "NGINX Gateway Fabric",
        &format!(
            "{} ngf oci://ghcr.io/nginx/charts/nginx-gateway-fabric --version={version} --namespace=nginx-gateway --create-namespace --wait --timeout=5m",
            helm(setup)
        ),
    );
}

/// Addresses for Services of type LoadBalancer, which a cloud gives and kind does not.
fn metallb(setup: &Setup, plan: &mut Plan) {
    let version = &Versions::pinned().metallb;
    let kubectl = setup.kubectl();
    plan.run(
        "MetalLB",
        &format!(
            "{kubectl} apply --server-side --filename=https://raw.githubusercontent.com/metallb/metallb/v{version}/config/manifests/metallb-native.yaml"
        ),
    );
    plan.run(
        "its webhook, which the next step asks",
        &format!(
            "{kubectl} --namespace=metallb-system rollout status deployment/controller --timeout=5m"
        ),
    );
    plan.step(
        "addresses on the bridge that the nodes share; its IPv6 subnet may be listed first",
        Action::Set {
            name: "pool",
            words: words(
                "docker network inspect kind --format='{{range .IPAM.Config}}{{.Subnet}} {{end}}'",
            ),
            pick: Pick::Pool,
        },
    );
    plan.step(
        "MetalLB hands them out",
        Action::Pipe {
            file: "deploy/kind/metallb.yaml",
            words: words(&format!("{kubectl} apply --server-side --filename=-")),
        },
    );
}
