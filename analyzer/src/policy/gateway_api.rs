//! What the Gateway API's routes demand: which rule a request hits, and the share of each backend.
//!
//! Two answers stand beside each other: the specification's, and what the named implementation
//! really configures, as its sources say. It refuses to look at traffic. An implementation that is
//! not known here has the specification's answer only.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::objects::gateway_api::{Route, Rule};
use crate::objects::{History, ObjectName, STILL_US, Timeline};

mod attachment;
mod backends;
mod precedence;
mod shares;

#[cfg(test)]
mod tests;

pub use attachment::{Attachment, attachments};
pub use backends::{BackendId, Fate};
pub use precedence::{Hit, Request, rule_of};
pub use shares::{MirrorShare, Part, RuleShares, Split, rule_shares};

/// The kinds of route that split requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteKind {
    /// HTTPRoute.
    Http,
    /// GRPCRoute.
    Grpc,
}

/// Names a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId {
    /// Kind.
    pub kind: RouteKind,
    /// Namespace and name.
    pub name: ObjectName,
}

/// Names a rule of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// The route.
    pub route: RouteId,
    /// Which of its rules, from 0.
    pub index: usize,
}

/// Who implements a Gateway, as far as shares depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Implementation {
    /// NGINX Gateway Fabric: `split_clients`.
    NginxGatewayFabric,
    /// Cilium: Envoy's `weighted_clusters`.
    Cilium,
    /// Not known here.
    Other,
}

/// A stretch of time in which a rule demands the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// First moment, UTC microseconds.
    pub from_us: i64,
    /// First moment after it.
    pub until_us: i64,
    /// What it demands.
    pub shares: RuleShares,
}

impl Implementation {
    /// Of a GatewayClass's controller.
    pub fn of_controller(controller: &str) -> Self {
        match controller {
            "gateway.nginx.org/nginx-gateway-controller" => Self::NginxGatewayFabric,
            "io.cilium/gateway-controller" => Self::Cilium,
            _ => Self::Other,
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::NginxGatewayFabric => "NGINX Gateway Fabric",
            Self::Cilium => "Cilium",
            Self::Other => "this implementation",
        }
    }
}

impl RouteKind {
    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
        }
    }

    /// The routes of this kind.
    pub fn timeline(self, history: &History) -> &Timeline<Route> {
        match self {
            Self::Http => &history.http_routes,
            Self::Grpc => &history.grpc_routes,
        }
    }
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {}", self.route, self.index + 1)
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Every route that ever existed.
pub fn routes(history: &History) -> Vec<RouteId> {
    let of_kind = |kind: RouteKind| {
        let names: BTreeSet<&ObjectName> =
            kind.timeline(history).all().map(|(name, _)| name).collect();
        names.into_iter().map(move |name| RouteId {
            kind,
            name: name.clone(),
        })
    };
    of_kind(RouteKind::Http)
        .chain(of_kind(RouteKind::Grpc))
        .collect()
}

/// The rule as it stood at a moment, with its route.
pub fn rule_at<'a>(history: &'a History, id: &RuleId, at_us: i64) -> Option<(&'a Route, &'a Rule)> {
    let version = id.route.kind.timeline(history).at(&id.route.name, at_us)?;
    Some((&version.value, version.value.rules.get(id.index)?))
}

/// What a rule demanded over time, for the time in which it stood.
pub fn stages(history: &History, id: &RuleId, implementation: Implementation) -> Vec<Stage> {
    let mut times = change_times(history, &id.route);
    times.push(STILL_US);
    let mut stages: Vec<Stage> = Vec::new();
    for pair in times.windows(2) {
        let (from_us, until_us) = (pair[0], pair[1]);
        let Some((_, rule)) = rule_at(history, id, from_us) else {
            continue;
        };
        let shares = rule_shares(history, id, rule, implementation, from_us);
        match stages.last_mut() {
            Some(last) if last.until_us == from_us && last.shares == shares => {
                last.until_us = until_us;
            }
            _ => stages.push(Stage {
                from_us,
                until_us,
                shares,
            }),
        }
    }
    stages
}

/// Every moment at which what a route demands may change, ascending. Only its own backends' Services
/// and slices count: others change all the time.
fn change_times(history: &History, route: &RouteId) -> Vec<i64> {
    let mut times = BTreeSet::new();
    let mut backends = BTreeSet::new();
    for version in route.kind.timeline(history).of(&route.name) {
        times.extend([version.from_us, version.until_us]);
        let references = version
            .value
            .rules
            .iter()
            .flat_map(|rule| &rule.backend_refs);
        backends.extend(references.map(|one| BackendId::of(one, &route.name.namespace).service));
    }
    for backend in &backends {
        for version in history.services.of(backend) {
            times.extend([version.from_us, version.until_us]);
        }
    }
    for (name, version) in history.endpoint_slices.all() {
        let service = version.value.service.as_deref().unwrap_or_default();
        let service = ObjectName::namespaced(name.namespace.as_str(), service);
        if backends.contains(&service) {
            times.extend([version.from_us, version.until_us]);
        }
    }
    for (_, version) in history.reference_grants.all() {
        times.extend([version.from_us, version.until_us]);
    }
    times.remove(&STILL_US);
    times.into_iter().collect()
}
