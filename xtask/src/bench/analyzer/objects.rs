//! The objects of the campaign's cluster: a Gateway with one route before two backends.

use serde_json::{Value, json};
use trace_schema::objects::{ObjectEvent, ObjectRow};

use super::campaign::{BACKENDS, GATEWAY_POD, NODES};

const NAMESPACE: &str = "shop";

/// All of them, as seen at that time.
pub fn rows(observed_at_us: i64) -> Vec<ObjectRow> {
    let api = "gateway.networking.k8s.io/v1";
    let mut objects = vec![
        object("v1", "Namespace", None, NAMESPACE, json!({})),
        object(
            api,
            "GatewayClass",
            None,
            "nginx",
            json!({"spec": {
                "controllerName": "gateway.nginx.org/nginx-gateway-controller"
            }}),
        ),
        object(
            api,
            "Gateway",
            Some(NAMESPACE),
            "shop",
            json!({"spec": {
                "gatewayClassName": "nginx",
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]
            }}),
        ),
        object(
            api,
            "HTTPRoute",
            Some(NAMESPACE),
            "checkout",
            json!({"spec": {
                "parentRefs": [{"name": "shop"}],
                "rules": [{"backendRefs": [
                    {"name": "echo-v1", "port": 80, "weight": 60},
                    {"name": "echo-v2", "port": 80, "weight": 40}
                ]}]
            }}),
        ),
        pod(
            GATEWAY_POD.0,
            GATEWAY_POD.1,
            NODES[0].0,
            json!({
                "gateway.networking.k8s.io/gateway-name": "shop"
            }),
        ),
    ];
    for (name, address) in NODES {
        objects.push(object(
            "v1",
            "Node",
            None,
            name,
            json!({"status": {
                "addresses": [{"type": "InternalIP", "address": address}]
            }}),
        ));
    }
    for (service, pods) in [("echo-v1", &BACKENDS[..2]), ("echo-v2", &BACKENDS[2..])] {
        objects.push(object(
            "v1",
            "Service",
            Some(NAMESPACE),
            service,
            json!({
                "spec": {"ports": [{"port": 80}]}
            }),
        ));
        let endpoints = pods.iter().map(|(name, address, node)| {
            json!({
                "addresses": [address],
                "nodeName": NODES[*node].0,
                "targetRef": {"kind": "Pod", "name": name, "uid": name}
            })
        });
        objects.push(object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            Some(NAMESPACE),
            service,
            json!({
                "metadata": {"labels": {"kubernetes.io/service-name": service}},
                "ports": [{"port": 8080}],
                "endpoints": endpoints.collect::<Vec<_>>()
            }),
        ));
        for (name, address, node) in pods {
            objects.push(pod(name, address, NODES[*node].0, json!({"app": service})));
        }
    }
    let rows = objects
        .into_iter()
        .map(|object| row(object, observed_at_us));
    rows.collect()
}

fn pod(name: &str, address: &str, node: &str, labels: Value) -> Value {
    let body = json!({
        "metadata": {"labels": labels, "creationTimestamp": "2026-11-20T00:00:00Z"},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    });
    object("v1", "Pod", Some(NAMESPACE), name, body)
}

fn object(api: &str, kind: &str, namespace: Option<&str>, name: &str, mut body: Value) -> Value {
    body["apiVersion"] = json!(api);
    body["kind"] = json!(kind);
    body["metadata"]["name"] = json!(name);
    // Endpoints name pods by it.
    body["metadata"]["uid"] = json!(name);
    if let Some(namespace) = namespace {
        body["metadata"]["namespace"] = json!(namespace);
    }
    body
}

fn row(object: Value, observed_at_us: i64) -> ObjectRow {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    ObjectRow {
        observed_at_us,
        event: ObjectEvent::Added,
        api_version: text(&object["apiVersion"]).unwrap_or_default(),
        kind: text(&object["kind"]).unwrap_or_default(),
        namespace: text(&object["metadata"]["namespace"]),
        name: text(&object["metadata"]["name"]).unwrap_or_default(),
        uid: text(&object["metadata"]["uid"]).unwrap_or_default(),
        resource_version: "1".to_owned(),
        object: object.to_string(),
    }
}
