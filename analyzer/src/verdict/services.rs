//! Connections to a service's address whose endpoints lie outside the cluster.
//!
//! The pod sees the service's address, the gateway only the endpoint's. Where conntrack does not
//! name both, the two are tied by the pod's address and port, which a service's translation keeps,
//! and by the endpoints that objects list; never where two connections could be meant.

use std::collections::{HashMap, HashSet};

use super::cluster::PodLabel;
use super::connections::Connection;
use super::demands::{Demands, is_inside};
use super::evidence::Evidence;
use super::tuple::FiveTuple;
use crate::pairing::Exits;

/// What is known of a connection to a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceUse {
    /// Tuples after the service's translation that are this connection.
    pub translated: Vec<FiveTuple>,
    /// Whether it may lead out of the cluster.
    pub leads_outside: bool,
}

/// The use of services by each of `own`, in the same order.
pub(crate) fn service_uses(
    own: &[(Connection, PodLabel)],
    evidence: &Evidence,
    exits: &Exits,
    demands: &Demands<'_>,
) -> Vec<ServiceUse> {
    let at_pods: HashSet<&FiveTuple> = evidence.connections.keys().map(|key| &key.tuple).collect();
    let mut claims: HashMap<FiveTuple, HashSet<FiveTuple>> = HashMap::new();
    let mut uses = Vec::with_capacity(own.len());
    for (connection, pod) in own {
        let tuple = connection.key.tuple;
        let endpoints = demands.cluster.service_endpoints(tuple.dst);
        let at_us = connection.seen().from_us;
        let outside = |address: &std::net::IpAddr| !is_inside(&demands.at(pod, *address, at_us));
        if !endpoints.iter().any(outside) {
            uses.push(ServiceUse::default());
            continue;
        }
        let translated: Vec<FiveTuple> = exits
            .from_source(&tuple)
            .filter(|after| endpoints.contains(&after.dst) && !at_pods.contains(after))
            .copied()
            .collect();
        for after in &translated {
            claims.entry(*after).or_default().insert(tuple);
        }
        uses.push(ServiceUse {
            translated,
            leads_outside: true,
        });
    }
    for service in &mut uses {
        service.translated.retain(|after| claims[after].len() == 1);
        service.translated.sort_unstable();
    }
    uses
}
