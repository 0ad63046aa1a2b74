//! A small dataset of a Gateway: one route, two backends with a pod each, ten seconds, a run of k6.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::manifest::RunManifest;
use trace_schema::objects::ObjectRow;

use crate::dataset::{START_US, ledger_row, object, write_file};

const NODE_IP: &str = "172.18.0.2";
const GATEWAY_POD_IP: &str = "10.0.1.9";
const SECONDS: i64 = 10;
const NGF: &str = "gateway.nginx.org/nginx-gateway-controller";

/// Rows of all tables, to be changed and then written.
#[derive(Clone, Debug)]
pub struct Ingress {
    pub http: Vec<HttpRow>,
    pub ledger: Vec<LedgerRow>,
    pub objects: Vec<ObjectRow>,
}

impl Ingress {
    /// Each second `first` responses of `echo-v1` and `second` of `echo-v2`, weights 60 and 40, and
    /// three of each to the kubelet.
    pub fn of(first: i64, second: i64) -> Self {
        let mut ingress = Self {
            http: Vec::new(),
            ledger: (0..SECONDS)
                .map(|second| ledger_row("worker", Vantage::Pod, None, second))
                .collect(),
            objects: objects(),
        };
        ingress.route(
            "echo",
            json!([{"backendRefs": [backend("echo-v1", 60), backend("echo-v2", 40)]}]),
        );
        for at in 0..SECONDS {
            // The windows scatter a little, as those of independent requests do.
            let scale = (first.min(second) / 100).min(1);
            let wave = scale
                * [31, -17, 24, -38, 12, -25, 46, -21, 33, -45][usize::try_from(at).unwrap_or(0)];
            ingress
                .http
                .push(http_row(at, "echo-v1", first + wave, GATEWAY_POD_IP));
            ingress
                .http
                .push(http_row(at, "echo-v2", second - wave, GATEWAY_POD_IP));
            ingress.http.push(http_row(at, "echo-v1", 3, NODE_IP));
            ingress.http.push(http_row(at, "echo-v2", 3, NODE_IP));
        }
        ingress
    }

    /// Adds a route with these rules.
    pub fn route(&mut self, name: &str, rules: Value) {
        let spec = json!({"parentRefs": [{"name": "gw"}], "rules": rules});
        self.objects.push(of_ingress(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            name,
            json!({"spec": spec}),
        ));
    }

    /// Writes every table below `root`.
    pub fn write(&self, root: &Path) {
        if !self.http.is_empty() {
            write_file(root, "worker", START_US, &self.http);
        }
        write_file(root, "worker", START_US, &self.ledger);
        write_file(root, "recorder", START_US, &self.objects);
    }
}

/// A reference to a backend.
pub fn backend(name: &str, weight: u32) -> Value {
    json!({"name": name, "port": 80, "weight": weight})
}

/// Adds the run `r1` of k6 over the whole time, with these files by kind.
pub fn add_run(root: &Path, files: &[(&str, &str, &str)]) {
    let folder = root.join("runs").join("r1");
    fs::create_dir_all(&folder).expect("the temporary folder takes a run");
    let listed = files
        .iter()
        .map(|(name, kind, _)| ((*name).to_owned(), (*kind).to_owned()));
    let manifest = RunManifest {
        campaign: "test".into(),
        case: "nginx".into(),
        tool_version: "k6 v1.1.0".into(),
        client_pod: None,
        server_address: Some("10.0.1.9".into()),
        server_port: Some(80),
        files: listed.collect(),
        kernel: "6.12.0".into(),
        ..RunManifest::new("r1", "k6", (START_US, START_US + SECONDS * 1_000_000))
    };
    manifest
        .write(&folder)
        .expect("the temporary folder takes a manifest");
    for (name, _, text) in files {
        fs::write(folder.join(name), text).expect("the temporary folder takes a file");
    }
}

/// What `k6 run --out json` writes of so many responses by backend and status.
pub fn ndjson(responses: &[(&str, u16, u64)]) -> String {
    let mut text = String::new();
    for name in ["http_reqs", "http_req_waiting", "backend_hits"] {
        let metric = json!({"type": "Metric", "metric": name, "data": {
            "name": name,
            "type": if name == "http_req_waiting" { "trend" } else { "counter" },
            "contains": if name == "http_req_waiting" { "time" } else { "default" },
            "thresholds": [],
            "submetrics": null
        }});
        let _ = writeln!(text, "{metric}");
    }
    for (backend, status, count) in responses {
        for _ in 0..*count {
            let tags = json!({"status": status.to_string(), "method": "GET", "proto": "HTTP/1.1",
                "expected_response": (*status < 400).to_string(), "name": "http://10.0.1.9/echo", "url": "http://10.0.1.9/echo"});
            let mut point = |metric: &str, value: f64, tags: &Value| {
                let point = json!({"metric": metric, "type": "Point", "data": {
                    "time": "2026-05-28T20:26:42.5Z", "value": value, "tags": tags
                }});
                let _ = writeln!(text, "{point}");
            };
            point("http_reqs", 1.0, &tags);
            point("http_req_waiting", 1.25, &tags);
            if !backend.is_empty() {
                point("backend_hits", 1.0, &json!({"backend": backend}));
            }
        }
    }
    text
}

fn objects() -> Vec<ObjectRow> {
    let mut node = object(
        "v1",
        "Node",
        None,
        "worker",
        json!({
            "metadata": {"name": "worker", "uid": "worker"},
            "status": {"addresses": [{"type": "InternalIP", "address": NODE_IP}]}
        }),
    );
    node.observed_at_us = START_US - 1_000_000;
    let mut class = of_ingress(
        "gateway.networking.k8s.io/v1",
        "GatewayClass",
        "nginx",
        json!({"spec": {"controllerName": NGF}}),
    );
    class.namespace = None;
    let gateway = json!({"spec": {
        "gatewayClassName": "nginx",
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]
    }});
    let mut rows = vec![
        node,
        class,
        of_ingress("gateway.networking.k8s.io/v1", "Gateway", "gw", gateway),
        pod(
            "gw-nginx",
            GATEWAY_POD_IP,
            json!({"gateway.networking.k8s.io/gateway-name": "gw"}),
        ),
    ];
    for name in ["echo-v1", "echo-v2"] {
        rows.push(pod(&format!("{name}-1"), address(name), json!({})));
        rows.push(of_ingress(
            "v1",
            "Service",
            name,
            json!({"spec": {"ports": [{"port": 80}]}}),
        ));
        rows.push(of_ingress("discovery.k8s.io/v1", "EndpointSlice", name, json!({
            "metadata": {"labels": {"kubernetes.io/service-name": name}},
            "ports": [{"port": 8080}],
            "endpoints": [{
                "addresses": [address(name)],
                "nodeName": "worker",
                "targetRef": {"kind": "Pod", "name": format!("{name}-1"), "uid": format!("{name}-1")}
            }]
        })));
    }
    rows
}

fn of_ingress(api: &str, kind: &str, name: &str, mut body: Value) -> ObjectRow {
    body["metadata"]["name"] = json!(name);
    body["metadata"]["uid"] = json!(name);
    object(api, kind, Some("ingress"), name, body)
}

fn pod(name: &str, address: &str, labels: Value) -> ObjectRow {
    of_ingress(
        "v1",
        "Pod",
        name,
        json!({
            "metadata": {"labels": labels},
            "spec": {"nodeName": "worker"},
            "status": {"phase": "Running", "podIP": address}
        }),
    )
}

fn address(name: &str) -> &'static str {
    if name == "echo-v1" {
        "10.0.1.11"
    } else {
        "10.0.1.12"
    }
}

fn http_row(second: i64, name: &str, responses: i64, peer: &str) -> HttpRow {
    HttpRow {
        interval_start_us: START_US + second * 1_000_000,
        interval_end_us: START_US + (second + 1) * 1_000_000,
        node: "worker".into(),
        boot_id: "boot".into(),
        pod_uid: Some(format!("{name}-1")),
        container_id: None,
        cgroup_id: 7,
        local_address: address(name).into(),
        local_port: 8080,
        peer_address: peer.into(),
        version: HttpVersion::Http11,
        status: Some(200),
        responses,
        latency_lower_us: vec![992, 1024],
        latency_upper_us: vec![1024, 1088],
        latency_responses: vec![responses / 2, responses - responses / 2],
    }
}
