//! One exit against one expectation: a table of cases, no evidence handling.
//!
//! It refuses to look at losses or at time; whoever calls it has settled what was seen.

use std::net::IpAddr;

use super::Verdict;
use super::cluster::Cluster;
use crate::policy::{Exit, Expectation};

/// Where a connection was seen to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// Source address on the wire.
    pub address: IpAddr,
    /// Node whose wire it was.
    pub node: &'a str,
    /// The pod's own address.
    pub pod_address: IpAddr,
    /// The pod's node, where it is known.
    pub pod_node: Option<&'a str>,
    /// When, UTC microseconds.
    pub at_us: i64,
}

/// Judges what left.
pub(crate) fn judge(
    seen: &Seen<'_>,
    expectation: &Expectation,
    cluster: &dyn Cluster,
    is_egress_address: impl Fn(IpAddr) -> bool,
) -> Verdict {
    match expectation {
        Expectation::Exactly(exit) => judge_exits(seen, std::slice::from_ref(exit), cluster),
        Expectation::OneOf(exits) => judge_exits(seen, exits, cluster),
        Expectation::Drop { .. } => leak(seen, cluster),
        Expectation::Bypass { .. } => judge_bypass(seen, cluster, is_egress_address),
        Expectation::Ambiguous => Verdict::Ambiguous,
        Expectation::Unknown { .. } => Verdict::Unknown,
    }
}

fn judge_exits(seen: &Seen<'_>, exits: &[Exit], cluster: &dyn Cluster) -> Verdict {
    let fits: Vec<Fit> = exits
        .iter()
        .filter(|exit| exit.node.as_deref().is_none_or(|node| node == seen.node))
        .map(|exit| fit(exit, seen, cluster))
        .collect();
    if fits.contains(&Fit::Yes) {
        return Verdict::Ok;
    }
    if fits.contains(&Fit::Untold) {
        return Verdict::Unknown;
    }
    let right_address = exits
        .iter()
        .any(|exit| exit.address.is_some_and(|address| address == seen.address));
    if right_address {
        Verdict::WrongNode
    } else {
        leak(seen, cluster)
    }
}

/// Whether an address is the one that an exit asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// The objects name no address of the node.
    Untold,
}

/// An address that the objects leave open is one of its node's own.
fn fit(exit: &Exit, seen: &Seen<'_>, cluster: &dyn Cluster) -> Fit {
    let is = |fits| if fits { Fit::Yes } else { Fit::No };
    let known = match exit.address {
        Some(address) => return is(address == seen.address),
        None if seen.address == seen.pod_address => return Fit::No,
        None => cluster.node_addresses(seen.node, seen.at_us),
    };
    if known.is_empty() {
        Fit::Untold
    } else {
        is(known.contains(&seen.address))
    }
}

/// Which kind of wrong an exit is that has none of the demanded addresses.
fn leak(seen: &Seen<'_>, cluster: &dyn Cluster) -> Verdict {
    if seen.address == seen.pod_address {
        return Verdict::PodIpLeak;
    }
    let of_node = |node: &str| {
        cluster
            .node_addresses(node, seen.at_us)
            .contains(&seen.address)
    };
    if of_node(seen.node) || seen.pod_node.is_some_and(of_node) {
        Verdict::NodeIpLeak
    } else {
        Verdict::WrongEgressIp
    }
}

/// Without a policy a connection leaves by the pod's own node. An address that no object lists is
/// taken for one more address of that node, unless a policy hands it out.
fn judge_bypass(
    seen: &Seen<'_>,
    cluster: &dyn Cluster,
    is_egress_address: impl Fn(IpAddr) -> bool,
) -> Verdict {
    let own = |node| {
        seen.address == seen.pod_address
            || cluster
                .node_addresses(node, seen.at_us)
                .contains(&seen.address)
    };
    match seen.pod_node {
        None => Verdict::Unknown,
        Some(node) if node != seen.node => Verdict::UnexpectedGateway,
        Some(node) if !own(node) && is_egress_address(seen.address) => Verdict::UnexpectedGateway,
        Some(_) => Verdict::Ok,
    }
}
