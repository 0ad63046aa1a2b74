//! A small language in which tests write down routes over time and what backends answered.
//!
//! Everything lies on a time line in seconds, in intervals of one second; every probe is healthy
//! unless a test says so. Requests are drawn one by one from the shares that the data plane really
//! has, with a seed, so that a scene is always the same.

use serde_json::{Value, json};
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::objects::{ObjectEvent, ObjectRow};

use super::super::Outcome;
use super::{Options, RuleReport, SplitError, SplitEvidence, SplitReport, assess};
use crate::objects::History;

pub const NGF: &str = "gateway.nginx.org/nginx-gateway-controller";
pub const CILIUM: &str = "io.cilium/gateway-controller";
pub const NGF_POD: &str = "10.0.1.9";
pub const CILIUM_INGRESS: &str = "10.0.1.77";
pub const WORKER: &str = "172.18.0.2";
const START_US: i64 = 1_700_000_000_000_000;
const SERVICES: [&str; 4] = ["echo-v1", "echo-v2", "echo-v3", "echo-mirror"];

/// Microseconds on the tests' time line.
pub fn at(seconds: f64) -> i64 {
    START_US + (seconds * 1e6).round() as i64
}

#[derive(Clone, Debug)]
pub struct Scene {
    pub objects: Vec<ObjectRow>,
    pub rows: Vec<HttpRow>,
    pub ledger: Vec<LedgerRow>,
    pub options: Options,
    peer: &'static str,
    dice: Dice,
}

/// Random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number from 0 to 1.
    pub fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Scene {
    /// A Gateway of this controller, three backends and a mirror, each with one pod; no route.
    pub fn new(controller: &str) -> Self {
        let mut scene = Self {
            objects: Vec::new(),
            rows: Vec::new(),
            ledger: Vec::new(),
            options: Options::default(),
            peer: if controller == CILIUM {
                CILIUM_INGRESS
            } else {
                NGF_POD
            },
            dice: Dice(20_231_114),
        };
        scene.node("worker", WORKER);
        scene.object(
            "gateway.networking.k8s.io/v1",
            "GatewayClass",
            "class",
            json!({"spec": {"controllerName": controller}}),
        );
        scene.object(
            "gateway.networking.k8s.io/v1",
            "Gateway",
            "gw",
            json!({"spec": {
                "gatewayClassName": "class",
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]
            }}),
        );
        if controller == CILIUM {
            scene.object(
                "cilium.io/v2",
                "CiliumNode",
                "worker",
                json!({"spec": {"ingress": {"ipv4": CILIUM_INGRESS}}}),
            );
        } else {
            scene.pod(
                "gw-nginx",
                NGF_POD,
                json!({"gateway.networking.k8s.io/gateway-name": "gw"}),
            );
        }
        for name in SERVICES {
            scene.pod(&format!("{name}-1"), address(name), json!({}));
            scene.service(name);
            scene.endpoints(0.0, name, true);
        }
        scene.books("worker", 0, 60);
        scene
    }

    /// The same with a route `echo` of one rule with these weights.
    pub fn with_weights(controller: &str, weights: &[(&str, u32)]) -> Self {
        let mut scene = Self::new(controller);
        scene.weights(0.0, weights);
        scene
    }

    /// From a moment on the route `echo` has one rule with these weights.
    pub fn weights(&mut self, seconds: f64, weights: &[(&str, u32)]) {
        let rule = json!({"backendRefs": backends(weights)});
        self.route(seconds, "echo", json!([rule]));
    }

    /// From a moment on a route has these rules.
    pub fn route(&mut self, seconds: f64, name: &str, rules: Value) {
        self.object_at(
            seconds,
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            name,
            json!({
                "spec": {"parentRefs": [{"name": "gw"}], "rules": rules}
            }),
        );
    }

    /// From a moment on a service has one endpoint, ready or not.
    pub fn endpoints(&mut self, seconds: f64, name: &str, ready: bool) {
        self.object_at(seconds, "discovery.k8s.io/v1", "EndpointSlice", name, json!({
            "metadata": {"labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{
                "addresses": [address(name)],
                "conditions": {"ready": ready},
                "nodeName": "worker",
                "targetRef": {"kind": "Pod", "name": format!("{name}-1"), "uid": format!("uid-{name}-1")}
            }]
        }));
    }

    /// A service stands for the pod of another one, and for no pod of its own.
    pub fn aliases(&mut self, name: &str, other: &str) {
        let found = self
            .objects
            .iter()
            .find(|row| row.kind == "EndpointSlice" && row.name == other);
        let mut slice: Value = serde_json::from_str(&found.expect("the other service").object)
            .expect("the scene's objects are JSON");
        slice["metadata"] = json!({"labels": {"kubernetes.io/service-name": name}});
        self.objects
            .retain(|row| row.kind != "EndpointSlice" || row.name != name);
        self.object("discovery.k8s.io/v1", "EndpointSlice", name, slice);
    }

    /// A service that is not there.
    pub fn without_service(mut self, name: &str) -> Self {
        self.objects
            .retain(|row| row.name != name || row.kind == "Pod");
        self
    }

    /// The Gateway asks `per_second` times a second and splits by these shares.
    pub fn splits(&mut self, from: u32, to: u32, per_second: u64, shares: &[(&str, f64)]) {
        for second in from..to {
            let mut counts = vec![0; shares.len()];
            for _ in 0..per_second {
                let roll = self.dice.roll();
                let mut below = 0.0;
                let hit = shares.iter().position(|(_, share)| {
                    below += share;
                    roll < below
                });
                // What the shares leave over, the Gateway answers by itself.
                if let Some(hit) = hit {
                    counts[hit] += 1;
                }
            }
            for ((name, _), count) in shares.iter().zip(counts) {
                self.answers(f64::from(second), name, count);
            }
        }
    }

    /// A backend answers the Gateway in the second that begins then.
    pub fn answers(&mut self, seconds: f64, name: &str, responses: i64) {
        let peer = self.peer;
        self.answers_to(seconds, name, responses, peer, |_| ());
    }

    /// A backend answers somebody in the second that begins then.
    pub fn answers_to(
        &mut self,
        seconds: f64,
        name: &str,
        responses: i64,
        peer: &str,
        change: impl FnOnce(&mut HttpRow),
    ) {
        if responses == 0 {
            return;
        }
        let mut row = HttpRow {
            interval_start_us: at(seconds),
            interval_end_us: at(seconds + 1.0),
            node: "worker".into(),
            boot_id: "boot".into(),
            pod_uid: Some(format!("uid-{name}-1")),
            container_id: None,
            cgroup_id: 7,
            local_address: address(name).into(),
            local_port: 8080,
            peer_address: peer.into(),
            version: HttpVersion::Http11,
            status: Some(200),
            responses,
            latency_lower_us: vec![1024],
            latency_upper_us: vec![1088],
            latency_responses: vec![responses],
        };
        change(&mut row);
        self.rows.push(row);
    }

    /// A node's probe writes its books.
    pub fn books(&mut self, node: &str, from: u32, to: u32) {
        for second in from..to {
            self.ledger.push(ledger_row(node, f64::from(second)));
        }
    }

    pub fn try_report(&self) -> Result<Option<SplitReport>, SplitError> {
        let history = History::new(self.objects.clone()).expect("the scene's objects are readable");
        let mut evidence = SplitEvidence::new(&history, Vec::new());
        for row in &self.ledger {
            evidence.add_ledger(row);
        }
        for row in &self.rows {
            evidence
                .add_response(row)
                .expect("the scene's rows are readable");
        }
        assess(&evidence, &self.options)
    }

    pub fn report(&self) -> SplitReport {
        let report = self.try_report().expect("the scene's route can be judged");
        report.expect("the scene has responses")
    }

    /// The only rule's report, with the result that it must have.
    #[track_caller]
    pub fn check(&self, result: Outcome) -> RuleReport {
        let mut report = self.report();
        assert_eq!(report.rules.len(), 1, "{:#?}", report.rules);
        assert_eq!(report.result, result, "{:#?}", report.rules[0]);
        report.rules.remove(0)
    }

    pub fn object(&mut self, api: &str, kind: &str, name: &str, body: Value) {
        self.object_at(0.0, api, kind, name, body);
    }

    fn object_at(&mut self, seconds: f64, api: &str, kind: &str, name: &str, mut body: Value) {
        let is_global = matches!(kind, "Node" | "CiliumNode" | "GatewayClass");
        body["metadata"]["name"] = json!(name);
        body["metadata"]["uid"] = json!(format!("uid-{name}"));
        self.objects.push(ObjectRow {
            // What a scene begins with was there before.
            observed_at_us: at(if seconds == 0.0 { -10.0 } else { seconds }),
            event: ObjectEvent::Added,
            api_version: api.into(),
            kind: kind.into(),
            namespace: (!is_global).then(|| "ingress".into()),
            name: name.into(),
            uid: format!("uid-{name}"),
            resource_version: "1".into(),
            object: body.to_string(),
        });
    }

    fn pod(&mut self, name: &str, address: &str, labels: Value) {
        self.object(
            "v1",
            "Pod",
            name,
            json!({
                "metadata": {"labels": labels},
                "spec": {"nodeName": "worker"},
                "status": {"phase": "Running", "podIP": address}
            }),
        );
    }

    fn service(&mut self, name: &str) {
        self.object(
            "v1",
            "Service",
            name,
            json!({
                "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]}
            }),
        );
    }

    fn node(&mut self, name: &str, address: &str) {
        self.object(
            "v1",
            "Node",
            name,
            json!({
                "spec": {"podCIDR": "10.0.1.0/24"},
                "status": {"addresses": [{"type": "InternalIP", "address": address}]}
            }),
        );
    }
}

/// References to backends with their weights.
pub fn backends(weights: &[(&str, u32)]) -> Value {
    let reference =
        |(name, weight): &(&str, u32)| json!({"name": name, "port": 80, "weight": weight});
    Value::Array(weights.iter().map(reference).collect())
}

fn address(name: &str) -> &'static str {
    match name {
        "echo-v1" => "10.0.1.11",
        "echo-v2" => "10.0.1.12",
        "echo-v3" => "10.0.1.13",
        _ => "10.0.1.14",
    }
}

fn ledger_row(node: &str, start: f64) -> LedgerRow {
    LedgerRow {
        map_capacity: 65536,
        ..LedgerRow::idle((at(start), at(start + 1.0)), node, "boot", Vantage::Pod)
    }
}
