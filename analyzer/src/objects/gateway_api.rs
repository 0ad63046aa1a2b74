//! The Gateway API's kinds: GatewayClass, Gateway, HTTPRoute, GRPCRoute, ReferenceGrant.
//!
//! It reads the fields that shares and precedence rest on and no others, with the defaults that the
//! API server would have written. What a version means for traffic is decided in `policy`.

use serde::Deserialize;

use super::field::{self, Timestamp};
use super::selector::LabelSelector;

/// The API group of these kinds.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// A GatewayClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawGatewayClass")]
pub struct GatewayClass {
    /// Name of the controller that implements it.
    pub controller: String,
}

/// A Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawGateway")]
pub struct Gateway {
    /// Name of its class.
    pub class: String,
    /// Its listeners.
    pub listeners: Vec<Listener>,
}

/// A listener of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its name: the section that a route may ask for.
    #[serde(default)]
    pub name: String,
    /// Host name; absent for every host.
    #[serde(default, deserialize_with = "field::text")]
    pub hostname: Option<String>,
    /// Port.
    #[serde(default)]
    pub port: u16,
    /// Protocol: `HTTP`, `HTTPS`, …
    #[serde(default)]
    pub protocol: String,
    /// Which routes may attach.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

/// Which routes may attach to a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AllowedRoutes {
    /// Namespaces; absent for the Gateway's own.
    pub namespaces: Option<RouteNamespaces>,
    /// Kinds; empty for those that suit the protocol.
    pub kinds: Option<Vec<RouteKind>>,
}

/// Namespaces of routes that may attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RouteNamespaces {
    /// `All`, `Same` or `Selector`.
    pub from: Option<String>,
    /// By label, for `Selector`.
    pub selector: Option<LabelSelector>,
}

/// A kind of route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RouteKind {
    /// Kind.
    pub kind: String,
}

/// An HTTPRoute or a GRPCRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawRoute")]
pub struct Route {
    /// When it was created, UTC microseconds.
    pub created_us: Option<i64>,
    /// What it attaches to.
    pub parents: Vec<ParentRef>,
    /// Host names; empty for those of the listeners.
    pub hostnames: Vec<String>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// Parents that a controller has refused, by its status.
    pub refused_by: Vec<ParentRef>,
}

/// What a route attaches to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ParentRef {
    /// Group; absent for the Gateway API's.
    pub group: Option<String>,
    /// Kind; absent for `Gateway`.
    pub kind: Option<String>,
    /// Namespace; absent for the route's.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Name of a listener.
    pub section_name: Option<String>,
    /// Port of a listener.
    pub port: Option<u16>,
}

/// A rule of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Which requests; empty for all.
    pub matches: Vec<RouteMatch>,
    /// Where they go.
    pub backend_refs: Vec<BackendRef>,
    /// What else is done with them.
    pub filters: Vec<Filter>,
    /// When the Gateway asks again.
    pub retry: Option<Retry>,
}

/// When a Gateway asks again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Upon which statuses.
    pub codes: Vec<u16>,
}

/// A condition on requests; everything in it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RouteMatch {
    /// Path; absent for the prefix `/`.
    pub path: Option<ValueMatch>,
    /// Method.
    pub method: Option<MethodMatch>,
    /// Headers.
    pub headers: Vec<ValueMatch>,
    /// Query parameters.
    pub query_params: Vec<ValueMatch>,
}

/// A condition on a path, a header or a query parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ValueMatch {
    /// `Exact`, `PathPrefix` or `RegularExpression`.
    pub r#type: Option<String>,
    /// Name of the header or parameter.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A method: a verb in an HTTPRoute, a service and method in a GRPCRoute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum MethodMatch {
    /// `GET`, …
    Http(String),
    /// gRPC.
    Grpc {
        /// `Exact` or `RegularExpression`.
        #[serde(default)]
        r#type: Option<String>,
        /// Service; absent for any.
        #[serde(default)]
        service: Option<String>,
        /// Method; absent for any.
        #[serde(default)]
        method: Option<String>,
    },
}

/// A backend of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BackendRef {
    /// Group; absent for the core group.
    pub group: Option<String>,
    /// Kind; absent for `Service`.
    pub kind: Option<String>,
    /// Namespace; absent for the route's.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Port of the service.
    pub port: Option<u16>,
    /// Weight; absent for 1.
    pub weight: Option<u32>,
    /// What else is done with requests to this backend.
    pub filters: Vec<Filter>,
}

/// A filter; only mirroring matters to shares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Filter {
    /// Type.
    pub r#type: String,
    /// For `RequestMirror`.
    pub request_mirror: Option<Mirror>,
}

/// Copies of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Mirror {
    /// To where.
    pub backend_ref: BackendRef,
    /// How many of a hundred.
    pub percent: Option<u32>,
    /// How many, as a fraction.
    pub fraction: Option<Fraction>,
}

/// A fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Fraction {
    /// Numerator.
    pub numerator: u32,
    /// Denominator; absent for 100.
    #[serde(default)]
    pub denominator: Option<u32>,
}

/// A ReferenceGrant: references into its namespace that it allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RawReferenceGrant")]
pub struct ReferenceGrant {
    /// From which kinds of which namespaces.
    pub from: Vec<GrantFrom>,
    /// To which objects.
    pub to: Vec<GrantTo>,
}

/// Who may refer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GrantFrom {
    /// Group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
}

/// To what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GrantTo {
    /// Group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name; absent for every one.
    #[serde(deserialize_with = "field::text")]
    pub name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawGatewayClass {
    spec: RawGatewayClassSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawGatewayClassSpec {
    controller_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawGateway {
    spec: RawGatewaySpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawGatewaySpec {
    gateway_class_name: String,
    listeners: Vec<Listener>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRoute {
    metadata: RawRouteMetadata,
    spec: RawRouteSpec,
    status: Option<RawRouteStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawRouteMetadata {
    creation_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawRouteSpec {
    parent_refs: Vec<ParentRef>,
    hostnames: Vec<String>,
    rules: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRouteStatus {
    parents: Vec<RawParentStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawParentStatus {
    parent_ref: ParentRef,
    conditions: Vec<RawCondition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawCondition {
    r#type: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawReferenceGrant {
    spec: RawReferenceGrantSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawReferenceGrantSpec {
    from: Vec<GrantFrom>,
    to: Vec<GrantTo>,
}

impl From<RawGatewayClass> for GatewayClass {
    fn from(raw: RawGatewayClass) -> Self {
        Self {
            controller: raw.spec.controller_name,
        }
    }
}

impl From<RawGateway> for Gateway {
    fn from(raw: RawGateway) -> Self {
        Self {
            class: raw.spec.gateway_class_name,
            listeners: raw.spec.listeners,
        }
    }
}

impl From<RawRoute> for Route {
    fn from(raw: RawRoute) -> Self {
        let parents = raw.status.unwrap_or_default().parents.into_iter();
        let refused = parents.filter(|parent| {
            let mut conditions = parent.conditions.iter();
            conditions
                .any(|condition| condition.r#type == "Accepted" && condition.status == "False")
        });
        Self {
            created_us: raw.metadata.creation_timestamp.map(|time| time.0),
            parents: raw.spec.parent_refs,
            hostnames: raw.spec.hostnames,
            rules: raw.spec.rules,
            refused_by: refused.map(|parent| parent.parent_ref).collect(),
        }
    }
}

impl From<RawReferenceGrant> for ReferenceGrant {
    fn from(raw: RawReferenceGrant) -> Self {
        Self {
            from: raw.spec.from,
            to: raw.spec.to,
        }
    }
}

impl ParentRef {
    /// Whether it names a Gateway.
    pub fn is_gateway(&self) -> bool {
        self.group.as_deref().is_none_or(|group| group == GROUP)
            && self.kind.as_deref().is_none_or(|kind| kind == "Gateway")
    }
}

impl BackendRef {
    /// Its weight, by default 1.
    pub fn weight(&self) -> u32 {
        self.weight.unwrap_or(1)
    }

    /// Whether it names a Service.
    pub fn is_service(&self) -> bool {
        self.group.as_deref().is_none_or(str::is_empty)
            && self.kind.as_deref().is_none_or(|kind| kind == "Service")
    }
}
