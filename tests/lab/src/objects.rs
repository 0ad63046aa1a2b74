//! The Kubernetes objects of a lab, as a cluster of that kind would have them.
//!
//! Pure: from names and addresses to JSON. What an API server stamps (uid, versions, times) is the
//! recorder's; pods bring their uid, because their cgroups carry it.

use serde_json::{Value, json};

use crate::config::{Datapath, ServiceConfig};
use crate::recorder::{now_us, timestamp};
use crate::topology::{Dual, EGRESS, Family, Node, OUTSIDE, POOL, Pod, SERVICE};

/// Name of the egress policy.
pub(crate) const POLICY: &str = "egress-client";
/// Name of the external address pool.
const POOL_NAME: &str = "egress-pool";
/// Name of the service.
const SERVICE_NAME: &str = "outside";
/// Label of the pods that the policy selects.
const SELECTED: (&str, &str) = ("egress", "gateway");

/// Everything that is there before a policy is.
pub(crate) fn cluster(
    datapath: Datapath,
    nodes: &[Node],
    pods: &[(&Pod, &str, &str)],
    service: Option<&ServiceConfig>,
) -> Vec<Value> {
    let mut objects = Vec::new();
    let mut namespaces = vec!["default", "kube-system"];
    for (pod, ..) in pods {
        if !namespaces.contains(&pod.config.namespace.as_str()) {
            namespaces.push(&pod.config.namespace);
        }
    }
    objects.extend(namespaces.into_iter().map(namespace));
    objects.extend(nodes.iter().map(node));
    if datapath == Datapath::Bpf {
        objects.extend(nodes.iter().map(cilium_node));
    }
    for (pod, uid, container_id) in pods {
        objects.push(self::pod(pod, uid, container_id, nodes));
        if datapath == Datapath::Bpf && !pod.config.host_network {
            objects.push(cilium_endpoint(pod, uid));
        }
    }
    if let Some(service) = service {
        objects.push(self::service(service));
        objects.extend([Family::V4, Family::V6].map(|family| endpoint_slice(service, family)));
    }
    objects
}

/// The policy and what it leans on, placed on a gateway.
pub(crate) fn policy(datapath: Datapath, family: Family, gateway: &str) -> Vec<Value> {
    match datapath {
        Datapath::Netfilter => vec![external_ip_pool(family), egress(family, gateway)],
        Datapath::Bpf => vec![cilium_policy(family, gateway)],
    }
}

/// Kind of the policy object.
pub(crate) fn policy_kind(datapath: Datapath) -> &'static str {
    match datapath {
        Datapath::Netfilter => "Egress",
        Datapath::Bpf => "CiliumEgressGatewayPolicy",
    }
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

fn node(node: &Node) -> Value {
    let (v4, v6) = node.pod_networks();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": node_labels(node)},
        "spec": {"podCIDR": v4, "podCIDRs": [v4, v6]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": node.address.v4.to_string()},
                {"type": "InternalIP", "address": node.address.v6.to_string()},
                {"type": "Hostname", "address": node.name},
            ],
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"operatingSystem": "linux"},
        },
    })
}

fn node_labels(node: &Node) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
    });
    if node.name.starts_with("gateway") {
        labels["egress-gateway"] = json!("true");
    }
    labels
}

fn pod(pod: &Pod, uid: &str, container_id: &str, nodes: &[Node]) -> Value {
    let host = nodes
        .iter()
        .find(|node| node.index == pod.node_index)
        .map(|node| node.address.v4.to_string());
    let started = timestamp(now_us());
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.config.name,
            "namespace": pod.config.namespace,
            "uid": uid,
            "labels": pod_labels(pod),
        },
        "spec": {
            "nodeName": pod.config.node,
            "serviceAccountName": "default",
            "restartPolicy": "Always",
            "containers": [{"name": "load", "image": "networkstatic/iperf3:latest"}],
        },
        "status": {
            "phase": "Running",
            "hostIP": host,
            "podIP": pod.address.v4.to_string(),
            "podIPs": [{"ip": pod.address.v4.to_string()}, {"ip": pod.address.v6.to_string()}],
            "startTime": started,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "load",
                "ready": true,
                "restartCount": 0,
                "containerID": format!("containerd://{container_id}"),
                "state": {"running": {"startedAt": started}},
            }],
        },
    });
    if pod.config.host_network {
        object["spec"]["hostNetwork"] = json!(true);
        object["status"]["podIP"] = object["status"]["hostIP"].clone();
        object["status"]["podIPs"] = json!([{"ip": object["status"]["hostIP"]}]);
    }
    object
}

fn pod_labels(pod: &Pod) -> Value {
    let mut labels = match pod.config.labels.is_empty() {
        true => json!({"app": pod.config.name}),
        false => json!(pod.config.labels),
    };
    if pod.config.selected {
        labels[SELECTED.0] = json!(SELECTED.1);
    }
    labels
}

fn external_ip_pool(family: Family) -> Value {
    let cidr = match family {
        Family::V4 => POOL.0,
        Family::V6 => POOL.1,
    };
    json!({
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "ExternalIPPool",
        "metadata": {"name": POOL_NAME},
        "spec": {
            "ipRanges": [{"cidr": cidr}],
            "nodeSelector": {"matchLabels": {"egress-gateway": "true"}},
        },
        "status": {"usage": {"total": 14, "used": 1}},
    })
}

fn egress(family: Family, gateway: &str) -> Value {
    let address = EGRESS.of(family).to_string();
    json!({
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "Egress",
        "metadata": {"name": POLICY},
        "spec": {
            "appliedTo": {"podSelector": {"matchLabels": {SELECTED.0: SELECTED.1}}},
            "egressIP": address,
            "externalIPPool": POOL_NAME,
        },
        "status": {"egressIP": address, "egressNode": gateway},
    })
}

fn cilium_policy(family: Family, gateway: &str) -> Value {
    let everywhere = match family {
        Family::V4 => "0.0.0.0/0",
        Family::V6 => "::/0",
    };
    json!({
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEgressGatewayPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "selectors": [{"podSelector": {"matchLabels": {SELECTED.0: SELECTED.1}}}],
            "destinationCIDRs": [everywhere],
            "egressGateway": {
                "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": gateway}},
                "egressIP": EGRESS.of(family).to_string(),
            },
        },
    })
}

fn cilium_node(node: &Node) -> Value {
    let (v4, v6) = node.pod_networks();
    let Dual { v4: tunnel, .. } = node.tunnel_address();
    json!({
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNode",
        "metadata": {"name": node.name, "labels": node_labels(node)},
        "spec": {
            "addresses": [
                {"type": "InternalIP", "ip": node.address.v4.to_string()},
                {"type": "InternalIP", "ip": node.address.v6.to_string()},
                {"type": "CiliumInternalIP", "ip": tunnel.to_string()},
            ],
            "ipam": {"podCIDRs": [v4, v6]},
        },
    })
}

fn cilium_endpoint(pod: &Pod, uid: &str) -> Value {
    let namespace = &pod.config.namespace;
    let mut labels = vec![
        format!("k8s:app={}", pod.config.name),
        format!("k8s:io.kubernetes.pod.namespace={namespace}"),
    ];
    if pod.config.selected {
        labels.push(format!("k8s:{}={}", SELECTED.0, SELECTED.1));
    }
    json!({
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {
            "name": pod.config.name,
            "namespace": namespace,
            "labels": pod_labels(pod),
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": pod.config.name, "uid": uid},
            ],
        },
        "status": {
            "identity": {"labels": labels},
            "networking": {
                "addressing": [
                    {"ipv4": pod.address.v4.to_string(), "ipv6": pod.address.v6.to_string()},
                ],
            },
            "state": "ready",
        },
    })
}

fn service(service: &ServiceConfig) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE_NAME, "namespace": "default"},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": SERVICE.v4.to_string(),
            "clusterIPs": [SERVICE.v4.to_string(), SERVICE.v6.to_string()],
            "ipFamilies": ["IPv4", "IPv6"],
            "ports": [
                {"name": "tcp", "protocol": "TCP", "port": service.port,
                 "targetPort": service.target_port},
                {"name": "udp", "protocol": "UDP", "port": service.port,
                 "targetPort": service.target_port},
            ],
        },
    })
}

fn endpoint_slice(service: &ServiceConfig, family: Family) -> Value {
    let (suffix, address_type) = match family {
        Family::V4 => ("v4", "IPv4"),
        Family::V6 => ("v6", "IPv6"),
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{SERVICE_NAME}-{suffix}"),
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": SERVICE_NAME},
        },
        "addressType": address_type,
        "endpoints": [
            {"addresses": [OUTSIDE.of(family).to_string()], "conditions": {"ready": true}},
        ],
        "ports": [
            {"name": "tcp", "protocol": "TCP", "port": service.target_port},
            {"name": "udp", "protocol": "UDP", "port": service.target_port},
        ],
    })
}
