//! The share of each backend of a rule: as the specification says, and as implementations configure.
//!
//! NGINX Gateway Fabric writes `split_clients` with percentages floored to two decimals, the last
//! backend taking the rest (`internal/controller/nginx/config/split_clients.go`). Cilium writes
//! Envoy's `weighted_clusters` with the weights as they are and leaves invalid references out
//! (`operator/pkg/model/translation`). Floating point is used as there, so that the same weights
//! give the same digits.

use serde::Serialize;

use super::backends::{BackendId, Fate, fate};
use super::{Implementation, RuleId};
use crate::objects::History;
use crate::objects::gateway_api::{Filter, Mirror, Rule};

/// What a rule demands at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleShares {
    /// By the specification.
    pub spec: Split,
    /// As the implementation configures it; the error says why that is not known.
    pub configured: Result<Split, &'static str>,
    /// Targets of mirroring.
    pub mirrors: Vec<MirrorShare>,
    /// Statuses of backends upon which the Gateway may ask again.
    pub retried: Vec<u16>,
}

/// Shares of all requests that hit a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// The backends, in the order of the rule; a backend that stands there twice is two parts.
    pub parts: Vec<Part>,
    /// Share that the Gateway answers with 500 because there is nobody to send it to, beside
    /// that of parts with a fate of their own.
    pub unserved: f64,
}

/// A backend's part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// The backend.
    pub backend: BackendId,
    /// Its weight in the route.
    pub weight: u32,
    /// Its share of all requests, 0 to 1.
    pub share: f64,
    /// What becomes of them.
    pub fate: Fate,
}

/// A target of mirroring.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MirrorShare {
    /// The target.
    pub backend: BackendId,
    /// Share of the requests that are copied, by the specification.
    pub spec: f64,
    /// As the implementation configures it.
    pub configured: f64,
}

impl Split {
    /// Backends that answer, each once, with their shares of all requests.
    pub fn served(&self) -> Vec<(&BackendId, f64)> {
        let mut served: Vec<(&BackendId, f64)> = Vec::new();
        for part in self.parts.iter().filter(|part| part.fate == Fate::Served) {
            match served
                .iter_mut()
                .find(|(backend, _)| *backend == &part.backend)
            {
                Some((_, share)) => *share += part.share,
                None => served.push((&part.backend, part.share)),
            }
        }
        served
    }

    /// Share of all requests that the Gateway answers by itself.
    pub fn gateway_errors(&self) -> f64 {
        let failing = self.parts.iter().filter(|part| part.fate != Fate::Served);
        self.unserved + failing.map(|part| part.share).sum::<f64>()
    }
}

/// What a rule of a route demands at a moment.
pub fn rule_shares(
    history: &History,
    id: &RuleId,
    rule: &Rule,
    implementation: Implementation,
    at_us: i64,
) -> RuleShares {
    let parts: Vec<Part> = rule
        .backend_refs
        .iter()
        .map(|reference| Part {
            backend: BackendId::of(reference, &id.route.name.namespace),
            weight: reference.weight(),
            share: 0.0,
            fate: fate(history, &id.route, reference, at_us),
        })
        .collect();
    let mirrors = mirrors(rule).map(|mirror| MirrorShare {
        backend: BackendId::of(&mirror.backend_ref, &id.route.name.namespace),
        spec: mirrored(mirror),
        configured: match implementation {
            Implementation::NginxGatewayFabric => (mirrored(mirror) * 1e4 + 1e-9).floor() / 1e4,
            Implementation::Cilium => (mirrored(mirror) * 100.0 + 1e-9).floor() / 100.0,
            Implementation::Other => mirrored(mirror),
        },
    });
    RuleShares {
        mirrors: mirrors.collect(),
        retried: rule.retry.clone().unwrap_or_default().codes,
        configured: match implementation {
            Implementation::NginxGatewayFabric => Ok(split_clients(parts.clone())),
            Implementation::Cilium => weighted_clusters(parts.clone()),
            Implementation::Other => Err("the controller is not one whose configuration is known"),
        },
        spec: by_weight(parts),
    }
}

/// The specification: weight ÷ sum, and 500 where the sum is 0.
fn by_weight(mut parts: Vec<Part>) -> Split {
    let sum: u64 = parts.iter().map(|part| u64::from(part.weight)).sum();
    if sum == 0 {
        return Split {
            parts,
            unserved: 1.0,
        };
    }
    for part in &mut parts {
        part.share = f64::from(part.weight) / sum as f64;
    }
    Split {
        parts,
        unserved: 0.0,
    }
}

/// NGINX Gateway Fabric. The last backend takes the rest, whatever its weight.
fn split_clients(mut parts: Vec<Part>) -> Split {
    let sum: u64 = parts.iter().map(|part| u64::from(part.weight)).sum();
    if sum == 0 {
        return Split {
            parts,
            unserved: 1.0,
        };
    }
    let mut rest_percent = 100.0;
    let last = parts.len() - 1;
    for part in &mut parts[..last] {
        let percent = (f64::from(part.weight) * 100.0 / sum as f64 * 100.0).floor() / 100.0;
        part.share = percent / 100.0;
        rest_percent -= percent;
    }
    // It is written with two decimals.
    parts[last].share = (rest_percent * 100.0).round() / 1e4;
    Split {
        parts,
        unserved: 0.0,
    }
}

/// Cilium. References that are not valid are left out; what is left shares all requests.
fn weighted_clusters(mut parts: Vec<Part>) -> Result<Split, &'static str> {
    let is_kept = |part: &Part| !matches!(part.fate, Fate::Invalid(_));
    let kept: Vec<u32> = parts
        .iter()
        .filter(|part| is_kept(part))
        .map(|part| part.weight)
        .collect();
    if kept.is_empty() {
        return Ok(Split {
            parts,
            unserved: 1.0,
        });
    }
    let sum: u64 = kept.iter().map(|&weight| u64::from(weight)).sum();
    if kept.len() > 1 && sum == 0 {
        return Err("every weight is 0, which Envoy refuses");
    }
    let alone = kept.len() == 1;
    for part in parts.iter_mut().filter(|part| is_kept(part)) {
        part.share = if alone {
            1.0
        } else {
            f64::from(part.weight) / sum as f64
        };
    }
    Ok(Split {
        parts,
        unserved: 0.0,
    })
}

fn mirrors(rule: &Rule) -> impl Iterator<Item = &Mirror> {
    let of_backends = rule
        .backend_refs
        .iter()
        .flat_map(|backend| &backend.filters);
    let filters = rule.filters.iter().chain(of_backends);
    filters
        .filter(|filter| filter.r#type == "RequestMirror")
        .filter_map(|filter: &Filter| filter.request_mirror.as_ref())
}

/// The share that is copied: `percent`, or `fraction`, or all.
fn mirrored(mirror: &Mirror) -> f64 {
    match (mirror.percent, mirror.fraction) {
        (Some(percent), _) => (f64::from(percent) / 100.0).min(1.0),
        (None, Some(fraction)) => {
            let denominator = fraction.denominator.unwrap_or(100).max(1);
            (f64::from(fraction.numerator) / f64::from(denominator)).min(1.0)
        }
        (None, None) => 1.0,
    }
}
