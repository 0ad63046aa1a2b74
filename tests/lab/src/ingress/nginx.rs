//! The configuration of nginx as a gateway, as NGINX Gateway Fabric 2.x writes it.
//!
//! Pure text. Names of variables and upstreams, the order of directives and what invalid backends
//! lead to are the controller's; added are only the access log, which is the lab's witness, and
//! paths below the server's prefix.

use std::fmt::Write;

use super::echo::nginx_head;
use super::route::{Route, nginx_hundredths};
use super::{NAMESPACE, Service, Upstream};

/// Upstream that answers 500, for what the route cannot reach.
const INVALID: &str = "invalid-backend-ref";
/// The location that mirrored requests go through.
const MIRROR_PATH: &str = "/_ngf-internal-mirror";
/// The socket that says which version of the configuration is in force.
pub(crate) const VERSION_SOCKET: &str = "config-version.sock";

/// The whole `nginx.conf` for one version of a route.
pub(crate) fn config(
    route: &Route,
    services: &[Service],
    upstream: &Upstream,
    version: u64,
) -> String {
    let mut text = nginx_head();
    text.push_str(
        "    log_format witness '$msec\\t$remote_addr\\t$remote_port\\t$request_uri\\t$status\\t\
         $upstream_addr\\t$upstream_status\\t$upstream_header_time';\n    \
         access_log access.log witness;\n    \
         map $http_host $gw_api_compliant_host { '' $host; default $http_host; }\n    \
",
    );
    let connection = if upstream.keep_alive { "''" } else { "close" };
    let _ = writeln!(
        text,
        "    map $http_upgrade $connection_upgrade {{ default upgrade; '' {connection}; }}"
    );
    if !upstream.keep_alive {
        text.push_str("    keepalive_timeout 0;\n");
    }
    for service in services {
        let _ = writeln!(text, "    upstream {} {{", upstream_name(&service.name));
        let _ = writeln!(text, "        random two least_conn;");
        let _ = writeln!(text, "        zone {} 512k;", upstream_name(&service.name));
        for pod in &service.pods {
            let _ = writeln!(text, "        server {}:{};", pod.address, service.port);
        }
        if upstream.keep_alive {
            let _ = writeln!(text, "        keepalive 16;");
        }
        let _ = writeln!(text, "    }}");
    }
    let _ = writeln!(
        text,
        "    upstream {INVALID} {{\n        random two least_conn;\n        \
         server unix:nginx-500-server.sock;\n    }}"
    );
    text.push_str(&splits(route, services));
    text.push_str(&server(route, services));
    let _ = write!(
        text,
        "    server {{ listen unix:nginx-500-server.sock; access_log off; return 500; }}\n    \
         server {{ listen unix:{VERSION_SOCKET}; access_log off;\n        \
         location /version {{ return 200 {version}; }} }}\n}}\n"
    );
    text
}

fn splits(route: &Route, services: &[Service]) -> String {
    let mut text = String::new();
    if route.backends.len() > 1 {
        let _ = writeln!(text, "    split_clients $request_id ${} {{", group_name());
        match nginx_hundredths(route) {
            None => {
                let _ = writeln!(text, "        100% {INVALID};");
            }
            Some(shares) => {
                for (backend, share) in route.backends.iter().zip(shares) {
                    // nginx refuses a share of nothing, so the controller comments it out.
                    let comment = if share == 0 { "# " } else { "" };
                    let _ = writeln!(
                        text,
                        "        {comment}{}.{:02}% {};",
                        share / 100,
                        share % 100,
                        target(&backend.service, services)
                    );
                }
            }
        }
        text.push_str("    }\n");
    }
    if let Some(percent) = route.mirror.as_ref().and_then(|mirror| mirror.percent) {
        let _ = writeln!(
            text,
            "    split_clients $request_id $mirrored {{\n        \
             {percent}.00% {MIRROR_PATH};\n        * \"\";\n    }}"
        );
    }
    text
}

fn server(route: &Route, services: &[Service]) -> String {
    let pass = match route.backends.as_slice() {
        [] => INVALID.to_owned(),
        [backend] if backend.effective_weight() == 0 => INVALID.to_owned(),
        [backend] => target(&backend.service, services),
        _ => format!("${}", group_name()),
    };
    let headers = "        proxy_http_version 1.1;\n        \
         proxy_set_header Host \"$gw_api_compliant_host\";\n        \
         proxy_set_header X-Forwarded-For \"$proxy_add_x_forwarded_for\";\n        \
         proxy_set_header X-Real-IP \"$remote_addr\";\n        \
         proxy_set_header Upgrade \"$http_upgrade\";\n        \
         proxy_set_header Connection \"$connection_upgrade\";\n";
    let mut text = String::from("    server {\n        listen 80;\n        server_name ~^;\n");
    text.push_str("        location / {\n");
    if route.mirror.is_some() {
        let _ = writeln!(text, "        mirror {MIRROR_PATH};");
    }
    let _ = writeln!(
        text,
        "{headers}        proxy_pass http://{pass}$request_uri;\n        }}"
    );
    if let Some(mirror) = &route.mirror {
        let _ = writeln!(text, "        location {MIRROR_PATH} {{\n        internal;");
        if mirror.percent.is_some() {
            text.push_str("        if ($mirrored = \"\") { return 204; }\n");
        }
        let to = target(&mirror.service, services);
        let _ = writeln!(
            text,
            "{headers}        proxy_pass http://{to}$request_uri;\n        }}"
        );
    }
    text.push_str("    }\n");
    text
}

fn target(service: &str, services: &[Service]) -> String {
    if services.iter().any(|known| known.name == service) {
        upstream_name(service)
    } else {
        INVALID.to_owned()
    }
}

fn upstream_name(service: &str) -> String {
    format!("{NAMESPACE}_{service}_80")
}

fn group_name() -> String {
    format!("group_{NAMESPACE}__echo_rule0_pathRule0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::{BackendRef, Mirror};

    fn check(route: &Route, expected: &[&str]) {
        let service = |name: &str| Service {
            name: name.to_owned(),
            port: 8080,
            h2c: false,
            pods: Vec::new(),
        };
        let services = ["echo-v1", "echo-v2"].map(service);
        let upstream = Upstream {
            h2c: false,
            keep_alive: true,
        };
        let text = config(route, &services, &upstream, 1);
        let mut rest = text.as_str();
        for line in expected {
            let Some((_, after)) = rest.split_once(line) else {
                panic!("no `{line}` in its place: {text}");
            };
            rest = after;
        }
    }

    #[test]
    fn percentages_are_the_controllers() {
        check(
            &Route::new(&[("echo-v1", 1), ("echo-v2", 2)]),
            &["33.33% ingress_echo-v1_80;", "66.67% ingress_echo-v2_80;"],
        );
        check(
            &Route::canary(100),
            &["# 0.00% ingress_echo-v1_80;", "100.00% ingress_echo-v2_80;"],
        );
    }

    #[test]
    fn what_cannot_be_reached_is_answered_with_500() {
        check(
            &Route::new(&[("echo-v1", 80), ("echo-v3", 20)]),
            &["80.00% ingress_echo-v1_80;", "20.00% invalid-backend-ref;"],
        );
        check(
            &Route::new(&[("echo-v1", 0), ("echo-v2", 0)]),
            &["100% invalid-backend-ref;"],
        );
        check(
            &Route::new(&[("echo-v1", 0)]),
            &["proxy_pass http://invalid-backend-ref$request_uri;"],
        );
        check(
            &Route::default(),
            &["proxy_pass http://invalid-backend-ref$request_uri;"],
        );
    }

    #[test]
    fn a_single_backend_is_not_split_and_a_mirror_is_a_location() {
        let mirror = Mirror {
            service: "echo-v2".to_owned(),
            percent: Some(50),
        };
        let route = Route {
            backends: vec![BackendRef {
                service: "echo-v1".to_owned(),
                weight: None,
            }],
            mirror: Some(mirror),
            retry: None,
        };
        check(
            &route,
            &[
                "50.00% /_ngf-internal-mirror;",
                "mirror /_ngf-internal-mirror;",
                "proxy_pass http://ingress_echo-v1_80$request_uri;",
                "proxy_pass http://ingress_echo-v2_80$request_uri;",
            ],
        );
    }
}
