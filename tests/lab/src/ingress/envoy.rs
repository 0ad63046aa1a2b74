//! The configuration of Envoy as a gateway, as Cilium's operator translates an HTTPRoute.
//!
//! Pure JSON. Clusters are static where Cilium's agent serves endpoints, and the route
//! configuration comes from a file that Envoy watches where the agent pushes it; shares, the
//! treatment of invalid references and cluster options are Cilium's.

use std::path::Path;

use serde_json::{Value, json};

use super::route::Route;
use super::{NAMESPACE, Service, Upstream};

const LISTENER: &str = "listener-insecure";
/// Tab-separated: time, peer, path, status, backend, response code details, milliseconds until the
/// backend's response head, attempts.
const LOG_FORMAT: &str = "%START_TIME(%s.%3f)%\t%DOWNSTREAM_REMOTE_ADDRESS%\t%REQ(:PATH)%\t\
    %RESPONSE_CODE%\t%UPSTREAM_HOST%\t%RESPONSE_CODE_DETAILS%\t\
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%\t%UPSTREAM_REQUEST_ATTEMPT_COUNT%\n";

/// The statistic that counts route configurations that were taken over.
pub(crate) fn accepted_routes() -> String {
    format!("http.{LISTENER}.rds.{LISTENER}.update_success")
}

/// The start-up configuration; files are below `folder`.
pub(crate) fn bootstrap(services: &[Service], upstream: &Upstream, folder: &Path) -> Value {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager\
                  .v3.HttpConnectionManager",
        "stat_prefix": LISTENER,
        "rds": {
            "route_config_name": LISTENER,
            "config_source": {
                "resource_api_version": "V3",
                "path_config_source": {"path": file("routes.json")},
            },
        },
        "use_remote_address": true,
        "skip_xff_append": false,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "common_http_protocol_options": {"max_stream_duration": "0s"},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            },
        }],
        "access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3\
                          .FileAccessLog",
                "path": file("access.log"),
                "log_format": {"text_format_source": {"inline_string": LOG_FORMAT}},
            },
        }],
    });
    if !upstream.keep_alive {
        manager["common_http_protocol_options"]["max_requests_per_connection"] = json!(1);
    }
    json!({
        "node": {"id": "lab", "cluster": "lab"},
        "admin": {"address": {"pipe": {"path": file("admin.sock")}}},
        "static_resources": {
            "listeners": [{
                "name": LISTENER,
                "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }]}],
            }],
            "clusters": services
                .iter()
                .map(|service| cluster(service, upstream))
                .collect::<Vec<_>>(),
        },
    })
}

/// One version of the route configuration, as the file that Envoy watches holds it.
pub(crate) fn routes(route: &Route, services: &[Service], version: u64) -> Value {
    json!({
        "version_info": version.to_string(),
        "resources": [{
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": LISTENER,
            "virtual_hosts": [{
                "name": "*",
                "domains": ["*"],
                "routes": [rule(route, services)],
            }],
        }],
    })
}

fn rule(route: &Route, services: &[Service]) -> Value {
    let is_there = |name: &str| services.iter().any(|service| service.name == name);
    // What is not there is dropped before weights are looked at.
    let valid: Vec<_> = route
        .backends
        .iter()
        .filter(|backend| is_there(&backend.service))
        .collect();
    let matches = json!({"prefix": "/"});
    let mut action = match valid.as_slice() {
        [] => return json!({"match": matches, "direct_response": {"status": 500}}),
        // A single backend's weight is not looked at.
        [backend] => json!({"cluster": cluster_name(&backend.service)}),
        several => json!({"weighted_clusters": {"clusters": several
            .iter()
            .map(|backend| json!({
                "name": cluster_name(&backend.service),
                "weight": backend.effective_weight(),
            }))
            .collect::<Vec<_>>()}}),
    };
    action["max_stream_duration"] = json!({"max_stream_duration": "0s"});
    if let Some(mirror) = &route.mirror {
        action["request_mirror_policies"] = json!([{
            "cluster": cluster_name(&mirror.service),
            "runtime_fraction": {"default_value": {
                "numerator": mirror.percent.unwrap_or(100),
                "denominator": "HUNDRED",
            }},
        }]);
    }
    if let Some(retry) = &route.retry {
        action["retry_policy"] = json!({
            "retry_on": "retriable-status-codes",
            "retriable_status_codes": retry.codes,
            "num_retries": retry.attempts,
        });
    }
    json!({"match": matches, "route": action})
}

fn cluster(service: &Service, upstream: &Upstream) -> Value {
    let endpoints: Vec<Value> = service
        .pods
        .iter()
        .map(|pod| {
            json!({"endpoint": {"address": {"socket_address": {
                "address": pod.address.to_string(),
                "port_value": service.port,
            }}}})
        })
        .collect();
    let mut options = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": "60s"},
    });
    if upstream.h2c {
        options["explicit_http_config"] = json!({"http2_protocol_options": {}});
    } else {
        options["use_downstream_protocol_config"] = json!({"http2_protocol_options": {}});
    }
    if !upstream.keep_alive {
        options["common_http_protocol_options"]["max_requests_per_connection"] = json!(1);
    }
    json!({
        "name": cluster_name(&service.name),
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "ROUND_ROBIN",
        "outlier_detection": {"split_external_local_origin_errors": true},
        "load_assignment": {
            "cluster_name": cluster_name(&service.name),
            "endpoints": [{"lb_endpoints": endpoints}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
        },
    })
}

fn cluster_name(service: &str) -> String {
    format!("{NAMESPACE}:{service}:80")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(route: &Route, expected: Value) {
        let services = ["echo-v1", "echo-v2"].map(|name| Service {
            name: name.to_owned(),
            port: 8080,
            h2c: false,
            pods: Vec::new(),
        });
        let routes = routes(route, &services, 1);
        let rule = &routes["resources"][0]["virtual_hosts"][0]["routes"][0];
        for (name, value) in expected.as_object().unwrap() {
            let found = if name == "direct_response" {
                &rule[name]
            } else {
                &rule["route"][name]
            };
            assert_eq!(found, value);
        }
    }

    #[test]
    fn weights_are_passed_on_as_they_are() {
        check(
            &Route::new(&[("echo-v1", 60), ("echo-v2", 0)]),
            json!({"weighted_clusters": {"clusters": [
                {"name": "ingress:echo-v1:80", "weight": 60},
                {"name": "ingress:echo-v2:80", "weight": 0},
            ]}}),
        );
    }

    #[test]
    fn what_is_not_there_is_dropped_first() {
        check(
            &Route::new(&[("echo-v1", 0), ("echo-v3", 20)]),
            json!({"cluster": "ingress:echo-v1:80"}),
        );
        check(
            &Route::new(&[("echo-v3", 20)]),
            json!({"direct_response": {"status": 500}}),
        );
    }
}
