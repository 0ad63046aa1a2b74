//! Shares and precedence from routes as their API server stores them.

use serde_json::{Value, json};
use trace_schema::objects::{ObjectEvent, ObjectRow};

use super::{
    Fate, Hit, Implementation, Request, RouteId, RouteKind, RuleId, RuleShares, attachments,
    rule_at, rule_of, rule_shares, stages,
};
use crate::objects::{History, ObjectName};

const AT_US: i64 = 1_700_000_000_000_000;

#[derive(Clone, Default)]
struct Cluster(Vec<ObjectRow>);

impl Cluster {
    /// A Gateway for namespace `app` and Services `a`, `b`, `c` and `d` there, each with port 80.
    fn new() -> Self {
        let mut cluster = Self::default();
        cluster.gateway(json!([{"name": "http", "port": 80, "protocol": "HTTP"}]));
        for name in ["a", "b", "c", "d"] {
            cluster.service("app", name);
        }
        cluster
    }

    fn put(&mut self, kind: &str, namespace: &str, name: &str, mut body: Value) -> &mut Self {
        let api = match kind {
            "Service" | "Namespace" => "v1",
            "EndpointSlice" => "discovery.k8s.io/v1",
            "ReferenceGrant" => "gateway.networking.k8s.io/v1beta1",
            _ => "gateway.networking.k8s.io/v1",
        };
        body["metadata"]["name"] = json!(name);
        let observed_at_us = AT_US + i64::try_from(self.0.len()).unwrap();
        self.0.push(ObjectRow {
            observed_at_us,
            event: ObjectEvent::Added,
            api_version: api.into(),
            kind: kind.into(),
            namespace: (!namespace.is_empty()).then(|| namespace.into()),
            name: name.into(),
            uid: name.into(),
            resource_version: "1".into(),
            object: body.to_string(),
        });
        self
    }

    fn gateway(&mut self, listeners: Value) -> &mut Self {
        let spec = json!({"spec": {"gatewayClassName": "class", "listeners": listeners}});
        self.put("Gateway", "app", "gw", spec)
    }

    fn service(&mut self, namespace: &str, name: &str) -> &mut Self {
        let spec = json!({"spec": {"ports": [{"name": "http", "port": 80}]}});
        self.put("Service", namespace, name, spec)
    }

    fn route(&mut self, name: &str, spec: Value) -> &mut Self {
        self.route_of("HTTPRoute", "app", name, json!({"spec": spec}))
    }

    fn route_of(&mut self, kind: &str, namespace: &str, name: &str, mut body: Value) -> &mut Self {
        if body["spec"]["parentRefs"].is_null() {
            body["spec"]["parentRefs"] = json!([{"name": "gw", "namespace": "app"}]);
        }
        self.put(kind, namespace, name, body)
    }

    fn history(&self) -> History {
        History::new(self.0.clone()).expect("the test's objects are readable")
    }

    fn end_us(&self) -> i64 {
        AT_US + i64::try_from(self.0.len()).unwrap()
    }

    fn shares(&self, implementation: Implementation) -> RuleShares {
        let history = self.history();
        let id = rule(RouteKind::Http, "echo", 0);
        let (_, rule) = rule_at(&history, &id, self.end_us()).expect("the route is there");
        rule_shares(&history, &id, rule, implementation, self.end_us())
    }

    #[track_caller]
    fn check_hit(&self, request: (&str, &str, &str), expected: Option<(&str, usize)>) {
        let (host, path, method) = request;
        let request = Request {
            host: host.into(),
            path: path.into(),
            method: method.into(),
            headers: vec![("X-Canary".into(), "yes".into())],
            query: vec![("debug".into(), "1".into())],
        };
        let gateway = ObjectName::namespaced("app", "gw");
        let hit = rule_of(&self.history(), &gateway, &request, self.end_us());
        let expected = expected.map_or(Hit::None, |(name, index)| {
            Hit::Rule(rule(RouteKind::Http, name, index))
        });
        assert_eq!(hit, expected, "{host}{path}");
    }
}

fn rule(kind: RouteKind, name: &str, index: usize) -> RuleId {
    RuleId {
        route: RouteId {
            kind,
            name: ObjectName::namespaced("app", name),
        },
        index,
    }
}

fn weights(weights: &[(&str, Option<u32>)]) -> Value {
    let backends: Vec<Value> = weights
        .iter()
        .map(|(name, weight)| json!({"name": name, "port": 80, "weight": weight}))
        .collect();
    json!({"rules": [{"backendRefs": backends}]})
}

/// Shares by the specification, NGINX Gateway Fabric and Cilium.
#[track_caller]
fn check_shares(given: &[(&str, Option<u32>)], spec: &[f64], nginx: &[f64], cilium: &[f64]) {
    let mut cluster = Cluster::new();
    cluster.route("echo", weights(given));
    let shares = |split: &super::Split| -> Vec<f64> {
        let parts = split.parts.iter().filter(|part| part.fate == Fate::Served);
        let served = parts.map(|part| (part.share * 1e6).round() / 1e6);
        served
            .chain([(split.gateway_errors() * 1e6).round() / 1e6])
            .collect()
    };
    let found = cluster.shares(Implementation::NginxGatewayFabric);
    assert_eq!(shares(&found.spec), spec, "specification");
    assert_eq!(shares(&found.configured.unwrap()), nginx, "nginx");
    let found = cluster.shares(Implementation::Cilium).configured;
    match found {
        Ok(found) => assert_eq!(shares(&found), cilium, "cilium"),
        Err(_) => assert!(cilium.is_empty(), "cilium: {found:?}"),
    }
}

#[test]
fn weights_become_shares() {
    let even = [0.5, 0.5, 0.0];
    check_shares(&[("a", None), ("b", None)], &even, &even, &even);
    let ninety = [0.9, 0.1, 0.0];
    check_shares(&[("a", Some(9)), ("b", None)], &ninety, &ninety, &ninety);
    let third = 0.333333;
    check_shares(
        &[
            ("a", Some(1)),
            ("b", Some(1)),
            ("c", Some(1)),
            ("d", Some(0)),
        ],
        &[third, third, third, 0.0, 0.0],
        &[0.3333, 0.3333, 0.3333, 0.0001, 0.0],
        &[third, third, third, 0.0, 0.0],
    );
    check_shares(
        &[("a", Some(1)), ("b", Some(20_000))],
        &[0.00005, 0.99995, 0.0],
        &[0.0, 1.0, 0.0],
        &[0.00005, 0.99995, 0.0],
    );
}

#[test]
fn a_sum_of_zero_is_an_error_unless_envoy_has_one_backend() {
    check_shares(&[("a", Some(0))], &[0.0, 1.0], &[0.0, 1.0], &[1.0, 0.0]);
    let both = [("a", Some(0)), ("b", Some(0))];
    check_shares(&both, &[0.0, 0.0, 1.0], &[0.0, 0.0, 1.0], &[]);
}

#[test]
fn invalid_backends_keep_their_share_as_errors_or_are_left_out() {
    check_shares(
        &[("a", Some(50)), ("gone", Some(50))],
        &[0.5, 0.5],
        &[0.5, 0.5],
        &[1.0, 0.0],
    );
    // What is left alone ignores its weight.
    check_shares(
        &[("a", Some(0)), ("gone", Some(50))],
        &[0.0, 1.0],
        &[0.0, 1.0],
        &[1.0, 0.0],
    );
    check_shares(&[("gone", None)], &[1.0], &[1.0], &[1.0]);
}

#[test]
fn what_makes_a_backend_invalid_is_named() {
    let fate = |backend: Value, prepare: fn(&mut Cluster)| {
        let mut cluster = Cluster::new();
        prepare(&mut cluster);
        cluster.route("echo", json!({"rules": [{"backendRefs": [backend]}]}));
        cluster.shares(Implementation::Other).spec.parts[0]
            .fate
            .clone()
    };
    let invalid = |why: &str| Fate::Invalid(why.into());
    let nothing = |_: &mut Cluster| ();
    let port = json!({"name": "a", "port": 81});
    assert_eq!(fate(port, nothing), invalid("the Service has no port 81"));
    let kind = json!({"kind": "Bucket", "group": "example.com", "name": "a", "port": 80});
    assert_eq!(fate(kind, nothing), invalid("Bucket is no kind of backend"));
    let other = json!({"name": "a", "namespace": "other", "port": 80});
    let there = |cluster: &mut Cluster| {
        cluster.service("other", "a");
    };
    assert_eq!(
        fate(other.clone(), there),
        invalid("no ReferenceGrant in namespace other allows it")
    );
    let granted = |cluster: &mut Cluster| {
        cluster.service("other", "a");
        let group = "gateway.networking.k8s.io";
        cluster.put(
            "ReferenceGrant",
            "other",
            "grant",
            json!({"spec": {
                "from": [{"group": group, "kind": "HTTPRoute", "namespace": "app"}],
                "to": [{"group": "", "kind": "Service"}]
            }}),
        );
    };
    assert_eq!(fate(other, granted), Fate::Served);
    let unready = |cluster: &mut Cluster| {
        cluster.put(
            "EndpointSlice",
            "app",
            "a-1",
            json!({
                "metadata": {"labels": {"kubernetes.io/service-name": "a"}},
                "ports": [{"name": "http", "port": 8080}],
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}]
            }),
        );
    };
    assert_eq!(
        fate(json!({"name": "a", "port": 80}), unready),
        Fate::NoEndpoint
    );
}

#[test]
fn mirrors_copy_a_percentage_a_fraction_or_all() {
    let mirrored = |mirror: Value, implementation| {
        let mut cluster = Cluster::new();
        let mut filter = json!({"type": "RequestMirror", "requestMirror": mirror});
        filter["requestMirror"]["backendRef"] = json!({"name": "b", "port": 80});
        cluster.route(
            "echo",
            json!({"rules": [{"filters": [filter], "backendRefs": [{"name": "a", "port": 80}]}]}),
        );
        let found = &cluster.shares(implementation).mirrors[0];
        (found.spec, found.configured)
    };
    let (nginx, cilium) = (Implementation::NginxGatewayFabric, Implementation::Cilium);
    assert_eq!(mirrored(json!({}), nginx), (1.0, 1.0));
    assert_eq!(mirrored(json!({"percent": 20}), cilium), (0.2, 0.2));
    let eighth = json!({"fraction": {"numerator": 1, "denominator": 8}});
    assert_eq!(mirrored(eighth.clone(), nginx), (0.125, 0.125));
    assert_eq!(mirrored(eighth, cilium), (0.125, 0.12));
    assert_eq!(
        mirrored(json!({"fraction": {"numerator": 29}}), cilium),
        (0.29, 0.29)
    );
}

#[test]
fn stages_begin_where_shares_change_and_nowhere_else() {
    let mut cluster = Cluster::new();
    cluster.route("echo", weights(&[("a", Some(9)), ("b", Some(1))]));
    cluster.route("echo", weights(&[("a", Some(5)), ("b", Some(5))]));
    let changed_us = cluster.end_us() - 1;
    cluster.service("app", "unrelated");
    let id = rule(RouteKind::Http, "echo", 0);
    let found = stages(&cluster.history(), &id, Implementation::Cilium);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(
        (found[0].until_us, found[1].from_us),
        (changed_us, changed_us)
    );
    assert_eq!(
        stages(
            &cluster.history(),
            &rule(RouteKind::Http, "echo", 1),
            Implementation::Cilium
        ),
        []
    );
}

#[test]
fn the_more_specific_match_wins() {
    let rules = json!([
        {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/echo"}}]},
        {"matches": [{"path": {"type": "Exact", "value": "/echo/x"}}]},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/echo"}, "method": "POST"}]},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/h"}, "headers": [{"name": "x-canary", "value": "yes"}]}]},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/h"}, "queryParams": [{"name": "debug", "value": "1"}]}]},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/h"}, "headers": [{"name": "other", "value": "no"}]}]}
    ]);
    let mut cluster = Cluster::new();
    cluster.route("echo", json!({"rules": rules}));
    for (path, method, index) in [
        ("/nothing", "GET", 0),
        ("/echo", "GET", 1),
        ("/echo/y/", "GET", 1),
        // A prefix is a number of path elements, not of letters.
        ("/echoes", "GET", 0),
        ("/echo/x", "POST", 2),
        ("/echo/y", "POST", 3),
        ("/h/1", "GET", 4),
    ] {
        cluster.check_hit(("any.example", path, method), Some(("echo", index)));
    }
}

#[test]
fn ties_go_to_the_older_route_then_to_the_name_then_to_the_first_rule() {
    let body = |created: &str| json!({"metadata": {"creationTimestamp": created}, "spec": {"rules": [{}, {}]}});
    let mut cluster = Cluster::new();
    cluster.route_of("HTTPRoute", "app", "b", body("2023-01-02T00:00:00Z"));
    cluster.route_of("HTTPRoute", "app", "c", body("2023-01-02T00:00:00Z"));
    cluster.check_hit(("h", "/", "GET"), Some(("b", 0)));
    cluster.route_of("HTTPRoute", "app", "z", body("2023-01-01T00:00:00Z"));
    cluster.check_hit(("h", "/", "GET"), Some(("z", 0)));
}

#[test]
fn hosts_come_before_paths() {
    let mut cluster = Cluster::new();
    cluster.route("wide", json!({"hostnames": ["*.example.com"], "rules": [{"matches": [{"path": {"type": "Exact", "value": "/a"}}]}]}));
    cluster.route(
        "exact",
        json!({"hostnames": ["www.example.com"], "rules": [{}]}),
    );
    cluster.check_hit(("www.example.com", "/a", "GET"), Some(("exact", 0)));
    cluster.check_hit(("WWW.EXAMPLE.COM", "/a", "GET"), Some(("exact", 0)));
    cluster.check_hit(("api.example.com", "/a", "GET"), Some(("wide", 0)));
    cluster.check_hit(("example.com", "/a", "GET"), None);
}

#[test]
fn a_regular_expression_leaves_it_open() {
    let mut cluster = Cluster::new();
    cluster.route(
        "echo",
        json!({"rules": [{"matches": [{"path": {"type": "RegularExpression", "value": "/e.*"}}]}]}),
    );
    let gateway = ObjectName::namespaced("app", "gw");
    let request = Request {
        path: "/echo".into(),
        ..Request::default()
    };
    let hit = rule_of(&cluster.history(), &gateway, &request, cluster.end_us());
    assert_eq!(hit, Hit::Unclear(rule(RouteKind::Http, "echo", 0)));
}

#[test]
fn grpc_methods_are_matched_by_their_path() {
    let mut cluster = Cluster::new();
    let method = |service: &str, method: Option<&str>| json!({"matches": [{"method": {"service": service, "method": method}}]});
    let rules = json!([method("echo.Echo", None), method("echo.Echo", Some("Say"))]);
    cluster.route_of(
        "GRPCRoute",
        "app",
        "echo",
        json!({"spec": {"rules": rules}}),
    );
    let gateway = ObjectName::namespaced("app", "gw");
    for (path, index) in [
        ("/echo.Echo/Say", Some(1)),
        ("/echo.Echo/Hear", Some(0)),
        ("/other.Echo/Say", None),
    ] {
        let request = Request {
            path: path.into(),
            method: "POST".into(),
            ..Request::default()
        };
        let hit = rule_of(&cluster.history(), &gateway, &request, cluster.end_us());
        let expected = index.map_or(Hit::None, |index| {
            Hit::Rule(rule(RouteKind::Grpc, "echo", index))
        });
        assert_eq!(hit, expected, "{path}");
    }
}

#[test]
fn listeners_choose_their_routes() {
    let attached = |listeners: Value, namespace: &str, body: Value| {
        let mut cluster = Cluster::default();
        cluster.gateway(listeners);
        cluster.put(
            "Namespace",
            "",
            "team",
            json!({"metadata": {"labels": {"gateway": "yes"}}}),
        );
        cluster.route_of("HTTPRoute", namespace, "echo", body);
        let history = cluster.history();
        let id = RouteId {
            kind: RouteKind::Http,
            name: ObjectName::namespaced(namespace, "echo"),
        };
        let at_us = cluster.end_us();
        let route = &history.http_routes.at(&id.name, at_us).unwrap().value;
        let found = attachments(&history, &id, route, at_us);
        found
            .into_iter()
            .flat_map(|found| found.hosts)
            .collect::<Vec<_>>()
    };
    let everything = || vec![None];
    let http = |allowed: Value| json!([{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": allowed}]);
    assert_eq!(attached(http(json!({})), "app", json!({})), everything());
    assert_eq!(attached(http(json!({})), "team", json!({})), []);
    assert_eq!(
        attached(
            http(json!({"namespaces": {"from": "All"}})),
            "team",
            json!({})
        ),
        everything()
    );
    let selector = json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"gateway": "yes"}}}});
    assert_eq!(
        attached(http(selector.clone()), "team", json!({})),
        everything()
    );
    assert_eq!(attached(http(selector), "app", json!({})), []);
    assert_eq!(
        attached(
            http(json!({"kinds": [{"kind": "GRPCRoute"}]})),
            "app",
            json!({})
        ),
        []
    );
    let section = json!({"spec": {"parentRefs": [{"name": "gw", "sectionName": "https"}]}});
    assert_eq!(attached(http(json!({})), "app", section), []);
    let refused = json!({"status": {"parents": [{
        "parentRef": {"name": "gw", "namespace": "app"},
        "conditions": [{"type": "Accepted", "status": "False"}]
    }]}});
    assert_eq!(attached(http(json!({})), "app", refused), []);
    let host =
        json!([{"name": "http", "port": 80, "protocol": "HTTP", "hostname": "*.example.com"}]);
    let of = |hosts: &[&str]| json!({"spec": {"hostnames": hosts}});
    assert_eq!(
        attached(host.clone(), "app", of(&["a.example.com", "example.org"])),
        [Some("a.example.com".into())]
    );
    assert_eq!(attached(host, "app", of(&["example.org"])), []);
}
