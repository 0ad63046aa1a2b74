//! The Kubernetes objects of an ingress, as an API server and the controllers would keep them.
//!
//! Pure: from names, addresses and a route to JSON.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::route::{BackendRef, DataPlane, Mirror, Route};
use super::{GATEWAY, NAMESPACE, Service};

/// Label that a Gateway's own pods carry.
pub(crate) const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
const ROUTE: &str = "echo";

/// GatewayClass and Gateway.
pub(crate) fn gateway(data_plane: DataPlane, address: Ipv4Addr) -> Vec<Value> {
    let class = class(data_plane);
    vec![
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": class},
            "spec": {"controllerName": data_plane.controller()},
            "status": {"conditions": [condition("Accepted", true, "Accepted")]},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY, "namespace": NAMESPACE},
            "spec": {
                "gatewayClassName": class,
                "listeners": [{
                    "name": "http",
                    "port": 80,
                    "protocol": "HTTP",
                    "allowedRoutes": {"namespaces": {"from": "Same"}},
                }],
            },
            "status": {
                "addresses": [{"type": "IPAddress", "value": address.to_string()}],
                "conditions": [
                    condition("Accepted", true, "Accepted"),
                    condition("Programmed", true, "Programmed"),
                ],
            },
        }),
    ]
}

/// The HTTPRoute with one rule.
pub(crate) fn http_route(data_plane: DataPlane, route: &Route, services: &[Service]) -> Value {
    let mut rule = json!({
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": route.backends.iter().map(backend_ref).collect::<Vec<_>>(),
    });
    if let Some(mirror) = &route.mirror {
        rule["filters"] = json!([mirror_filter(mirror)]);
    }
    if let Some(retry) = &route.retry {
        rule["retry"] = json!({"codes": retry.codes, "attempts": retry.attempts});
    }
    let missing = route
        .backends
        .iter()
        .any(|backend| !services.iter().any(|known| known.name == backend.service));
    let reason = if missing {
        "BackendNotFound"
    } else {
        "ResolvedRefs"
    };
    let parent = json!({
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": GATEWAY,
    });
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": ROUTE, "namespace": NAMESPACE},
        "spec": {"parentRefs": [parent], "rules": [rule]},
        "status": {"parents": [{
            "parentRef": parent,
            "controllerName": data_plane.controller(),
            "conditions": [
                condition("Accepted", true, "Accepted"),
                condition("ResolvedRefs", !missing, reason),
            ],
        }]},
    })
}

/// A service of pods.
pub(crate) fn service(service: &Service) -> Value {
    let mut port = json!({
        "name": "http",
        "protocol": "TCP",
        "port": 80,
        "targetPort": service.port,
    });
    if service.h2c {
        port["appProtocol"] = json!("kubernetes.io/h2c");
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service.name, "namespace": NAMESPACE},
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": service.name},
            "ports": [port],
        },
    })
}

/// The endpoints of a service.
pub(crate) fn endpoint_slice(service: &Service) -> Value {
    let endpoints: Vec<Value> = service
        .pods
        .iter()
        .map(|pod| {
            json!({
                "addresses": [pod.address.to_string()],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": pod.node,
                "targetRef": {
                    "kind": "Pod",
                    "name": pod.name,
                    "namespace": NAMESPACE,
                    "uid": pod.uid,
                },
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": slice_name(&service.name),
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": service.name},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": "TCP", "port": service.port}],
    })
}

/// Name of a service's EndpointSlice.
pub(crate) fn slice_name(service: &str) -> String {
    format!("{service}-v4")
}

/// Marks every endpoint of an EndpointSlice as not ready.
pub(crate) fn set_unready(slice: &mut Value) {
    for endpoint in slice["endpoints"].as_array_mut().into_iter().flatten() {
        endpoint["conditions"] = json!({"ready": false, "serving": false, "terminating": false});
    }
}

/// Gives a CiliumNode the address that its Envoy speaks to backends from.
pub(crate) fn set_ingress_address(node: &mut Value, address: Ipv4Addr) {
    node["spec"]["ingress"] = json!({"ipv4": address.to_string()});
}

fn class(data_plane: DataPlane) -> &'static str {
    match data_plane {
        DataPlane::Nginx => "nginx",
        DataPlane::Envoy => "cilium",
    }
}

fn backend_ref(backend: &BackendRef) -> Value {
    let mut reference = json!({
        "group": "",
        "kind": "Service",
        "name": backend.service,
        "port": 80,
    });
    // The API server fills in the default.
    reference["weight"] = json!(backend.effective_weight());
    reference
}

fn mirror_filter(mirror: &Mirror) -> Value {
    let mut filter = json!({
        "backendRef": {"group": "", "kind": "Service", "name": mirror.service, "port": 80},
    });
    if let Some(percent) = mirror.percent {
        filter["percent"] = json!(percent);
    }
    json!({"type": "RequestMirror", "requestMirror": filter})
}

fn condition(name: &str, status: bool, reason: &str) -> Value {
    json!({
        "type": name,
        "status": if status { "True" } else { "False" },
        "reason": reason,
        "message": "",
    })
}
