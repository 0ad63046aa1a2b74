//! What becomes of a request that a rule sends to a backend: served, or an error and why.
//!
//! A Service without a single EndpointSlice in the objects is taken as served: slices that nobody
//! recorded say nothing of pods that are not there.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{RouteId, RouteKind};
use crate::objects::gateway_api::{BackendRef, GROUP};
use crate::objects::service::EndpointSlice;
use crate::objects::{History, ObjectName};

/// Names a backend: a Service and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId {
    /// The Service, or whatever object was named.
    pub service: ObjectName,
    /// Port; 0 where the reference has none.
    pub port: u16,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// A pod of the backend answers.
    Served,
    /// The reference is not valid: the Gateway answers with 500 (gRPC: UNAVAILABLE).
    Invalid(String),
    /// No endpoint is ready: the Gateway answers with 503.
    NoEndpoint,
}

impl BackendId {
    /// Of a reference in a route of this namespace.
    pub fn of(reference: &BackendRef, namespace: &str) -> Self {
        let namespace = reference.namespace.as_deref().unwrap_or(namespace);
        Self {
            service: ObjectName::namespaced(namespace, reference.name.as_str()),
            port: reference.port.unwrap_or(0),
        }
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.port)
    }
}

impl Serialize for BackendId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What becomes of requests to a backend at a moment.
pub(super) fn fate(history: &History, route: &RouteId, reference: &BackendRef, at_us: i64) -> Fate {
    let id = BackendId::of(reference, &route.name.namespace);
    if !reference.is_service() {
        let kind = reference.kind.as_deref().unwrap_or_default();
        return Fate::Invalid(format!("{kind} is no kind of backend"));
    }
    if id.service.namespace != route.name.namespace && !granted(history, route, &id.service, at_us)
    {
        return Fate::Invalid(format!(
            "no ReferenceGrant in namespace {} allows it",
            id.service.namespace
        ));
    }
    let Some(service) = history.services.at(&id.service, at_us) else {
        return Fate::Invalid("there is no such Service".into());
    };
    let mut ports = service.value.ports.iter();
    let Some(port) = ports.find(|port| port.port == id.port) else {
        return Fate::Invalid(format!("the Service has no port {}", id.port));
    };
    let is_own = |name: &ObjectName, slice: &EndpointSlice| {
        name.namespace == id.service.namespace
            && slice.service.as_deref() == Some(id.service.name.as_str())
    };
    let mut known = history.endpoint_slices.all();
    if !known.any(|(name, version)| is_own(name, &version.value)) {
        return Fate::Served;
    }
    let mut slices = history.endpoint_slices.all_at(at_us);
    let ready = slices.any(|(name, version)| {
        let slice = &version.value;
        is_own(name, slice)
            && slice.ports.iter().any(|found| found.name == port.name)
            && slice.endpoints.iter().any(|endpoint| endpoint.ready)
    });
    if ready {
        Fate::Served
    } else {
        Fate::NoEndpoint
    }
}

/// Whether a ReferenceGrant lets a route refer to a Service of another namespace.
fn granted(history: &History, route: &RouteId, service: &ObjectName, at_us: i64) -> bool {
    let kind = match route.kind {
        RouteKind::Http => "HTTPRoute",
        RouteKind::Grpc => "GRPCRoute",
    };
    let mut grants = history.reference_grants.all_at(at_us);
    grants.any(|(name, version)| {
        let grant = &version.value;
        let from = grant.from.iter().any(|from| {
            from.group == GROUP && from.kind == kind && from.namespace == route.name.namespace
        });
        let to = grant.to.iter().any(|to| {
            to.group.is_empty()
                && to.kind == "Service"
                && to.name.as_ref().is_none_or(|name| *name == service.name)
        });
        name.namespace == service.namespace && from && to
    })
}
