//! Which listeners of which Gateways a route is attached to, and for which hosts.
//!
//! It follows the specification: the parent names the Gateway and maybe a section or port, the
//! listener says which namespaces and kinds it takes, and at least one host must be common to both.
//! A route that a controller has refused in its status is not attached.

use crate::objects::gateway_api::{Gateway, Listener, ParentRef, Route};
use crate::objects::{History, Labels, ObjectName};

use super::{RouteId, RouteKind};

/// A route at a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The Gateway.
    pub gateway: ObjectName,
    /// Name of the controller of its class; absent where there is no such class.
    pub controller: Option<String>,
    /// The hosts for which the route is asked; `None` stands for every host.
    pub hosts: Vec<Option<String>>,
}

/// Where a route is attached at a moment.
pub fn attachments(history: &History, id: &RouteId, route: &Route, at_us: i64) -> Vec<Attachment> {
    let mut found: Vec<Attachment> = Vec::new();
    for parent in route.parents.iter().filter(|parent| parent.is_gateway()) {
        let namespace = parent.namespace.as_deref().unwrap_or(&id.name.namespace);
        let name = ObjectName::namespaced(namespace, parent.name.as_str());
        let Some(version) = history.gateways.at(&name, at_us) else {
            continue;
        };
        if refused(route, parent, &id.name.namespace) {
            continue;
        }
        let hosts = hosts(history, id, route, parent, &name, &version.value, at_us);
        if hosts.is_empty() {
            continue;
        }
        if let Some(same) = found.iter_mut().find(|same| same.gateway == name) {
            same.hosts.extend(hosts);
            continue;
        }
        let class = ObjectName::cluster(version.value.class.as_str());
        let class = history.gateway_classes.at(&class, at_us);
        found.push(Attachment {
            gateway: name,
            controller: class.map(|class| class.value.controller.clone()),
            hosts,
        });
    }
    found
}

/// Whether a host that was asked for is one of a pattern's (`*.example.com`); no pattern takes all.
pub(super) fn host_matches(pattern: Option<&str>, host: &str) -> bool {
    match pattern {
        None => true,
        Some(pattern) => match pattern.strip_prefix('*') {
            Some(suffix) => {
                host.len() > suffix.len()
                    && host
                        .to_ascii_lowercase()
                        .ends_with(&suffix.to_ascii_lowercase())
            }
            None => pattern.eq_ignore_ascii_case(host),
        },
    }
}

fn refused(route: &Route, parent: &ParentRef, namespace: &str) -> bool {
    route.refused_by.iter().any(|refused| {
        refused.name == parent.name
            && refused.namespace.as_deref().unwrap_or(namespace)
                == parent.namespace.as_deref().unwrap_or(namespace)
            && refused.section_name == parent.section_name
            && refused.port == parent.port
    })
}

fn hosts(
    history: &History,
    id: &RouteId,
    route: &Route,
    parent: &ParentRef,
    name: &ObjectName,
    gateway: &Gateway,
    at_us: i64,
) -> Vec<Option<String>> {
    let asked = |listener: &&Listener| {
        let section = parent.section_name.as_ref();
        section.is_none_or(|section| *section == listener.name)
            && parent.port.is_none_or(|port| port == listener.port)
    };
    let listeners = gateway.listeners.iter().filter(asked);
    listeners
        .filter(|listener| takes_kind(listener, id.kind))
        .filter(|listener| takes_namespace(history, listener, name, &id.name.namespace, at_us))
        .flat_map(|listener| common_hosts(listener.hostname.as_deref(), &route.hostnames))
        .collect()
}

fn takes_kind(listener: &Listener, kind: RouteKind) -> bool {
    let http = matches!(listener.protocol.as_str(), "" | "HTTP" | "HTTPS");
    match listener.allowed_routes.kinds.as_deref() {
        None | Some([]) => http,
        Some(kinds) => kinds.iter().any(|allowed| allowed.kind == kind.name()),
    }
}

fn takes_namespace(
    history: &History,
    listener: &Listener,
    gateway: &ObjectName,
    namespace: &str,
    at_us: i64,
) -> bool {
    let Some(allowed) = &listener.allowed_routes.namespaces else {
        return gateway.namespace == namespace;
    };
    match allowed.from.as_deref() {
        Some("All") => true,
        Some("Selector") => {
            let found = history
                .namespaces
                .at(&ObjectName::cluster(namespace), at_us);
            let none = Labels::default();
            let labels = found.map_or(&none, |version| &version.value.labels);
            let selector = allowed.selector.as_ref();
            selector.is_some_and(|selector| selector.matches(labels))
        }
        Some("None") => false,
        _ => gateway.namespace == namespace,
    }
}

/// Hosts of the route that the listener takes, narrowed to the more specific of the two.
fn common_hosts(listener: Option<&str>, route: &[String]) -> Vec<Option<String>> {
    if route.is_empty() {
        return vec![listener.map(str::to_owned)];
    }
    let common = route.iter().filter(|host| host_matches(listener, host));
    let mut hosts: Vec<Option<String>> = common.map(|host| Some(host.clone())).collect();
    // A route for `*.example.com` at a listener for `a.example.com` is asked for the latter.
    if let Some(listener) = listener
        && hosts.is_empty()
        && route.iter().any(|host| host_matches(Some(host), listener))
    {
        hosts.push(Some(listener.to_owned()));
    }
    hosts
}
