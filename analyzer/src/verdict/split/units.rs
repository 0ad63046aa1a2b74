//! What is judged as one: a rule at the Gateways of one controller.
//!
//! Responses carry no path, so two rules with a backend in common cannot be told apart at the
//! backends: that is found here, and said. Naming the rule, or a request that hits it, states that
//! the others were not asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::objects::{History, ObjectName};
use crate::policy::gateway_api::{
    BackendId, Hit, Implementation, Request, RouteId, RuleId, Stage, attachments, routes, rule_of,
    stages,
};

use super::super::evidence::Window;
use super::{Options, SplitError};

/// A rule at the Gateways of one controller.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    pub id: RuleId,
    pub gateways: BTreeSet<ObjectName>,
    pub controller: Option<String>,
    pub implementation: Implementation,
    pub stages: Vec<Stage>,
}

impl Unit {
    /// Every backend of its stages, in the order in which they are first named.
    pub fn backends(&self) -> Vec<BackendId> {
        let parts = self
            .stages
            .iter()
            .flat_map(|stage| &stage.shares.spec.parts);
        unique(parts.map(|part| &part.backend))
    }

    /// Every target of mirroring.
    pub fn mirrors(&self) -> Vec<BackendId> {
        let mirrors = self.stages.iter().flat_map(|stage| &stage.shares.mirrors);
        unique(mirrors.map(|mirror| &mirror.backend))
    }
}

/// Every rule of every attached route in a time, whether it is to be judged or not.
pub(crate) fn all(history: &History, during: Window) -> Vec<Unit> {
    let mut units = Vec::new();
    for route in routes(history) {
        let versions = route.kind.timeline(history).of(&route.name);
        let rules = versions
            .iter()
            .map(|version| version.value.rules.len())
            .max();
        for (controller, gateways) in attached(history, &route) {
            let implementation = controller
                .as_deref()
                .map_or(Implementation::Other, Implementation::of_controller);
            for index in 0..rules.unwrap_or(0) {
                let id = RuleId {
                    route: route.clone(),
                    index,
                };
                let mut stages = stages(history, &id, implementation);
                stages.retain(|stage| {
                    stage.from_us <= during.to_us && stage.until_us > during.from_us
                });
                if stages.is_empty() {
                    continue;
                }
                units.push(Unit {
                    id,
                    gateways: gateways.clone(),
                    controller: controller.clone(),
                    implementation,
                    stages,
                });
            }
        }
    }
    units
}

/// The rules that were asked for, by name or by a request, and whether they were.
pub(crate) fn asked<'u>(
    history: &History,
    units: &'u [Unit],
    options: &Options,
    during: Window,
) -> Result<(Vec<&'u Unit>, bool), SplitError> {
    let known = routes(history);
    if known.is_empty() {
        return Err(SplitError::NoRoutes);
    }
    let listed = || {
        let names: Vec<String> = known.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let mut chosen: Vec<&Unit> = units.iter().collect();
    if let Some(name) = &options.route {
        if known.iter().all(|route| route.name != *name) {
            return Err(SplitError::NoSuchRoute {
                route: name.to_string(),
                known: listed(),
            });
        }
        chosen.retain(|unit| unit.id.route.name == *name);
        if chosen.is_empty() {
            return Err(SplitError::NotAttached {
                route: name.to_string(),
            });
        }
    }
    if let Some(index) = options.rule {
        chosen.retain(|unit| unit.id.index == index);
        if chosen.is_empty() {
            return Err(SplitError::NoSuchRule { rule: index + 1 });
        }
    }
    if let Some(request) = &options.request {
        let hit = hits(history, &chosen, request, during)?;
        chosen.retain(|unit| hit.contains(&unit.id));
        if chosen.is_empty() {
            return Err(SplitError::NoHit {
                path: request.path.clone(),
            });
        }
    }
    let named = options.rule.is_some() || options.request.is_some();
    Ok((chosen, named))
}

/// Rules whose responses a rule's may be, each with why; `reached` are the backends of which the
/// rule's pods are endpoints, its own among them, and `askers` the Gateways whose data planes asked.
pub(crate) fn shared<'u>(
    unit: &Unit,
    units: &'u [Unit],
    reached: &BTreeSet<BackendId>,
    askers: &BTreeSet<ObjectName>,
) -> Vec<(&'u RuleId, String)> {
    let others = units
        .iter()
        .filter(|other| other.id != unit.id && !other.gateways.is_disjoint(askers));
    others
        .filter_map(|other| {
            let theirs = other.backends().into_iter().chain(other.mirrors());
            let common: BTreeSet<BackendId> =
                theirs.filter(|backend| reached.contains(backend)).collect();
            let first = common.first()?;
            let more = match common.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            let why = if common.is_disjoint(&unit.backends().into_iter().collect()) {
                format!("{} sends to the same pods by {first}{more}", other.id)
            } else {
                format!("{} sends to {first}{more} as well", other.id)
            };
            Some((&other.id, why))
        })
        .collect()
}

fn hits(
    history: &History,
    units: &[&Unit],
    request: &Request,
    during: Window,
) -> Result<BTreeSet<RuleId>, SplitError> {
    let gateways: BTreeSet<&ObjectName> = units.iter().flat_map(|unit| &unit.gateways).collect();
    let mut found = BTreeSet::new();
    for gateway in gateways {
        for at_us in [during.from_us, during.to_us] {
            match rule_of(history, gateway, request, at_us) {
                Hit::Rule(id) => {
                    found.insert(id);
                }
                Hit::Unclear(id) => {
                    return Err(SplitError::Unclear {
                        rule: id.to_string(),
                    });
                }
                Hit::None => {}
            }
        }
    }
    Ok(found)
}

/// The Gateways that a route was ever attached to, by controller.
fn attached(history: &History, route: &RouteId) -> BTreeMap<Option<String>, BTreeSet<ObjectName>> {
    let versions = route.kind.timeline(history).of(&route.name);
    let mut times: BTreeSet<i64> = versions.iter().map(|version| version.from_us).collect();
    times.extend(history.gateways.all().map(|(_, version)| version.from_us));
    times.extend(
        history
            .gateway_classes
            .all()
            .map(|(_, version)| version.from_us),
    );
    times.extend(history.namespaces.all().map(|(_, version)| version.from_us));
    let mut controllers: BTreeMap<ObjectName, Option<String>> = BTreeMap::new();
    for at_us in times {
        let Some(version) = route.kind.timeline(history).at(&route.name, at_us) else {
            continue;
        };
        for found in attachments(history, route, &version.value, at_us) {
            let known = controllers.entry(found.gateway).or_default();
            *known = found.controller.or(known.take());
        }
    }
    let mut found: BTreeMap<Option<String>, BTreeSet<ObjectName>> = BTreeMap::new();
    for (gateway, controller) in controllers {
        found.entry(controller).or_default().insert(gateway);
    }
    found
}

fn unique<'a>(backends: impl Iterator<Item = &'a BackendId>) -> Vec<BackendId> {
    let mut found: Vec<BackendId> = Vec::new();
    for backend in backends {
        if !found.contains(backend) {
            found.push(backend.clone());
        }
    }
    found
}
