//! Which rule a request hits: the specification's order of precedence.
//!
//! The most specific host first; then an exact path, the longest prefix, a method, the most headers,
//! the most query parameters; then the oldest route, its namespace and name, and the first rule.
//! Regular expressions differ between implementations: where one could decide, there is no answer.

use std::cmp::Reverse;

use crate::objects::gateway_api::{MethodMatch, RouteMatch, ValueMatch};
use crate::objects::{History, ObjectName};

use super::attachment::{attachments, host_matches};
use super::{RuleId, routes};

/// A request, as far as routes look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Host without port.
    pub host: String,
    /// Path without query.
    pub path: String,
    /// Method.
    pub method: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Query parameters.
    pub query: Vec<(String, String)>,
}

/// The rule that a request hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    /// This one.
    Rule(RuleId),
    /// None: the Gateway answers with 404.
    None,
    /// A regular expression of this rule could decide.
    Unclear(RuleId),
}

/// How specific a match is; greater wins.
type Rank = (bool, usize, bool, usize, usize);

/// The rule that a request to a Gateway hits at a moment.
pub fn rule_of(history: &History, gateway: &ObjectName, request: &Request, at_us: i64) -> Hit {
    let mut best: Option<Candidate> = None;
    for route in routes(history) {
        let Some(version) = route.kind.timeline(history).at(&route.name, at_us) else {
            continue;
        };
        let attached = attachments(history, &route, &version.value, at_us);
        let at_gateway = attached.iter().find(|found| found.gateway == *gateway);
        let hosts = at_gateway.map_or(&[][..], |found| &found.hosts);
        let matching = hosts
            .iter()
            .filter(|host| host_matches(host.as_deref(), &request.host));
        let Some(host) = matching.map(|host| host_rank(host.as_deref())).max() else {
            continue;
        };
        let created_us = version.value.created_us.unwrap_or(version.from_us);
        for (index, rule) in version.value.rules.iter().enumerate() {
            let id = RuleId {
                route: route.clone(),
                index,
            };
            let Some(rank) = rule_rank(&rule.matches, request) else {
                continue;
            };
            let Some(rank) = rank else {
                return Hit::Unclear(id);
            };
            let candidate = Candidate {
                rank: (host, rank),
                order: Reverse((created_us, route.name.clone(), index)),
                id,
            };
            if best.as_ref().is_none_or(|best| candidate.beats(best)) {
                best = Some(candidate);
            }
        }
    }
    best.map_or(Hit::None, |best| Hit::Rule(best.id))
}

/// A rule that takes the request.
struct Candidate {
    rank: ((bool, usize), Rank),
    /// The oldest route, then its name, then the first rule.
    order: Reverse<(i64, ObjectName, usize)>,
    id: RuleId,
}

impl Candidate {
    fn beats(&self, other: &Self) -> bool {
        (&self.rank, &self.order) > (&other.rank, &other.order)
    }
}

/// The rank of a rule's best match; `Some(None)` where a regular expression could decide.
fn rule_rank(matches: &[RouteMatch], request: &Request) -> Option<Option<Rank>> {
    if matches.is_empty() {
        return Some(Some(rank(&RouteMatch::default())));
    }
    if matches.iter().any(is_regular) {
        return Some(None);
    }
    let fitting = matches.iter().filter(|found| fits(found, request));
    fitting.map(rank).max().map(Some)
}

fn host_rank(pattern: Option<&str>) -> (bool, usize) {
    match pattern {
        None => (false, 0),
        Some(pattern) => (!pattern.starts_with('*'), pattern.len()),
    }
}

fn rank(found: &RouteMatch) -> Rank {
    let (exact, length, method) = match (&found.path, &found.method) {
        (
            _,
            Some(MethodMatch::Grpc {
                service, method, ..
            }),
        ) => {
            let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            let exact = service.is_some() && method.is_some();
            (exact, length(service) + length(method), false)
        }
        (path, method) => {
            let exact = path.as_ref().is_some_and(|path| kind(path) == "Exact");
            let length = path.as_ref().map_or(1, |path| path.value.len());
            (exact, length, method.is_some())
        }
    };
    (
        exact,
        length,
        method,
        found.headers.len(),
        found.query_params.len(),
    )
}

/// The type of a path's match; headers and query parameters default to `Exact`.
fn kind(path: &ValueMatch) -> &str {
    path.r#type.as_deref().unwrap_or("PathPrefix")
}

fn is_regular(found: &RouteMatch) -> bool {
    let regular = |value: &ValueMatch| value.r#type.as_deref() == Some("RegularExpression");
    let method = match &found.method {
        Some(MethodMatch::Grpc { r#type, .. }) => r#type.as_deref() == Some("RegularExpression"),
        _ => false,
    };
    let named = found.headers.iter().chain(&found.query_params);
    method || found.path.iter().chain(named).any(regular)
}

fn fits(found: &RouteMatch, request: &Request) -> bool {
    let path = found.path.as_ref().is_none_or(|path| match kind(path) {
        "Exact" => path.value == request.path,
        _ => has_prefix(&request.path, &path.value),
    });
    let method = match &found.method {
        None => true,
        Some(MethodMatch::Http(method)) => *method == request.method,
        Some(MethodMatch::Grpc {
            service, method, ..
        }) => {
            let mut parts = request.path.trim_start_matches('/').splitn(2, '/');
            let (asked_service, asked_method) = (parts.next(), parts.next());
            service
                .as_deref()
                .is_none_or(|name| Some(name) == asked_service)
                && method
                    .as_deref()
                    .is_none_or(|name| Some(name) == asked_method)
        }
    };
    let header = |wanted: &ValueMatch| {
        request
            .headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case(&wanted.name) && *value == wanted.value)
    };
    let query = |wanted: &ValueMatch| {
        let mut given = request.query.iter();
        given.any(|(name, value)| *name == wanted.name && *value == wanted.value)
    };
    path && method && found.headers.iter().all(header) && found.query_params.iter().all(query)
}

/// A prefix is compared element by element, and a slash at its end does not matter.
fn has_prefix(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}
