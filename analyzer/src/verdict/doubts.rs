//! What could hide a failure of a policy's connections: why a pass is not one.
//!
//! A loss is weighed against the policies whose connections it could have hidden: one at a pod's
//! hook against every policy with pods on that node, seen there or only named by the objects, one at
//! a wire or a tunnel against those with connections through that node at the time. A wire flow that
//! could be paired with nothing may be a leak of a pod that was to use the same service. It refuses
//! to weigh what happens on nodes that neither ran a policy's pods nor sent their packets out.

use std::collections::{BTreeMap, BTreeSet};

use super::demands::exits;
use super::egress::{Bench, Judged, Options};
use super::evidence::Window;
use super::loss::{Loss, LossKind};
use super::peers::{PeerCheck, PeerVerdict};
use super::tuple::FiveTuple;
use crate::pairing::Stray;
use crate::policy::{Expectation, Host};

/// How near to a policy's connections a loss at a wire must be to concern them.
const LOSS_SLACK_US: i64 = 1_000_000;

/// Conntrack keeps a translation for at least this long: until then a flow with the same addresses
/// and ports on the same node is the same connection's.
const TRANSLATION_US: i64 = 30_000_000;

/// Everything that doubts are made of, the same for all policies.
pub(crate) struct Doubts<'a> {
    losses: &'a [Loss],
    bench: &'a Bench<'a>,
    hosts: Vec<Host>,
    /// Everything that was watched, as far as the report looks at it.
    pub overall: Window,
}

impl<'a> Doubts<'a> {
    pub fn new(losses: &'a [Loss], bench: &'a Bench<'a>, options: &Options) -> Self {
        let overall = bench.coverage.overall.unwrap_or(Window {
            from_us: i64::MIN,
            to_us: i64::MAX,
        });
        let looked_at = |host: &Host| {
            let (kind_and_name, window) = (&host.policy, host_window(host));
            let name = kind_and_name.split_once('/').map_or("", |(_, name)| name);
            window.touches(&overall, 0)
                && (options.pods.is_empty() || options.pods.contains(&host.pod))
                && (options.policies.is_empty()
                    || options.policies.contains(kind_and_name)
                    || options.policies.iter().any(|policy| policy == name))
                && (options.focus.is_empty()
                    || options.focus.iter().any(|focus| {
                        focus.window.touches(&window, 0)
                            && focus.pod.as_ref().is_none_or(|pod| *pod == host.pod)
                    }))
        };
        let mut hosts = bench.demands.cluster.hosts();
        hosts.retain(looked_at);
        Self {
            losses,
            bench,
            hosts,
            overall,
        }
    }

    /// Policies that select pods on nodes that were not watched, and have no judged connection.
    pub fn unseen_policies<'b>(&self, seen: impl Iterator<Item = &'b str>) -> BTreeSet<String> {
        let seen: BTreeSet<&str> = seen.flat_map(|names| names.split(" + ")).collect();
        self.hosts
            .iter()
            .map(|host| &host.policy)
            .filter(|policy| !seen.contains(policy.as_str()))
            .filter(|policy| !self.of(policy, &[], self.overall).is_empty())
            .cloned()
            .collect()
    }

    /// What could hide a failure of these connections or of ones like them, with its bounds.
    pub fn of(&self, policy: &str, judged: &[&Judged], seen: Window) -> Vec<String> {
        let hosts: Vec<&Host> = self
            .hosts
            .iter()
            .filter(|host| policy.split(" + ").any(|name| name == host.policy))
            .collect();
        let mut pod_nodes: BTreeSet<&str> =
            judged.iter().map(|one| one.spell.node.as_str()).collect();
        let probed: BTreeSet<&str> = self.bench.coverage.nodes().collect();
        let hosting = hosts.iter().map(|host| host.node.as_str());
        let mut because: Vec<String> = pod_nodes
            .iter()
            .copied()
            .chain(hosting)
            .filter(|node| !probed.contains(node) && !node.is_empty())
            .collect::<BTreeSet<&str>>()
            .into_iter()
            .map(|node| {
                format!("node {node} has no books: its pods' connections may have gone unseen")
            })
            .collect();
        let exit_nodes: BTreeSet<&str> = judged
            .iter()
            .filter_map(|one| one.spell.exit.as_ref().map(|exit| exit.node.as_str()))
            .collect();
        pod_nodes.remove("");
        let services: BTreeSet<FiveTuple> = judged.iter().map(|one| service(one)).collect();
        let mut sums: BTreeMap<(&str, &str, LossKind), Loss> = BTreeMap::new();
        for loss in self.losses {
            let node = loss.node.as_str();
            let near = loss.window().touches(&seen, LOSS_SLACK_US);
            let hosted = hosts
                .iter()
                .any(|host| host.node == node && host_window(host).touches(&loss.window(), 0));
            let of_pods = pod_nodes.contains(node) || hosted;
            let concerned = match (loss.vantage, loss.kind) {
                (vantage, LossKind::HookMisses) => vantage == "pod" && of_pods && near,
                (_, LossKind::PairingAmbiguous) => near && self.unpaired(loss, &services),
                ("pod", _) => of_pods || (exit_nodes.contains(node) && near),
                ("wire" | "tunnel", _) => near && (of_pods || exit_nodes.contains(node)),
                _ => false,
            };
            if !concerned {
                continue;
            }
            sums.entry((node, loss.vantage, loss.kind))
                .and_modify(|sum| {
                    sum.count += loss.count;
                    sum.from = sum.from.min(loss.from);
                })
                .or_insert_with(|| loss.clone());
        }
        because.extend(sums.values().map(ToString::to_string));
        let demanded_nodes = judged
            .iter()
            .flat_map(|one| exits(&one.expected.expectation))
            .filter_map(|exit| exit.node.as_deref());
        let nodes: BTreeSet<&str> = pod_nodes
            .into_iter()
            .chain(hosts.iter().map(|host| host.node.as_str()))
            .chain(exit_nodes)
            .chain(demanded_nodes)
            .collect();
        because.extend(self.unclaimed(judged, &hosts, &nodes));
        because
    }

    /// Unpaired flows to the services of a policy's connections, while these were up.
    fn unclaimed(
        &self,
        judged: &[&Judged],
        hosts: &[&Host],
        nodes: &BTreeSet<&str>,
    ) -> Vec<String> {
        let mut services: BTreeMap<FiveTuple, Window> = BTreeMap::new();
        for one in judged
            .iter()
            .filter(|one| !matches!(one.expected.expectation, Expectation::Bypass { .. }))
        {
            let seen = Window {
                from_us: one.spell.first.0,
                to_us: one.spell.last.0,
            };
            services
                .entry(service(one))
                .and_modify(|window| *window = window.cover(seen))
                .or_insert(seen);
        }
        let crossings = self.bench.exits;
        let of_another_pod = |stray: &Stray| {
            let cluster = self.bench.demands.cluster;
            let pod = cluster.pod(None, stray.post.src, stray.seen.from_us);
            pod.is_some_and(|pod| hosts.iter().all(|host| host.pod != pod.name))
        };
        let mut found: BTreeMap<(&str, FiveTuple), Window> = BTreeMap::new();
        for stray in services
            .iter()
            .flat_map(|(service, seen)| crossings.strays(service, *seen, LOSS_SLACK_US))
            .filter(|stray| nodes.contains(&*stray.node) && !of_another_pod(stray))
        {
            found
                .entry((&*stray.node, stray.post))
                .and_modify(|window| *window = window.cover(stray.seen))
                .or_insert(stray.seen);
        }
        if found.is_empty() {
            return Vec::new();
        }
        for crossing in crossings.origins().flat_map(|origin| crossings.of(origin)) {
            let key = (&*crossing.node, crossing.post);
            if found
                .get(&key)
                .is_some_and(|seen| seen.touches(&crossing.seen, TRANSLATION_US))
            {
                found.remove(&key);
            }
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (node, _) in found.keys() {
            *counts.entry(node).or_default() += 1;
        }
        counts
            .iter()
            .map(|(node, count)| format!("node {node}: {count} unpaired flows to the same service"))
            .collect()
    }

    /// Whether a flow to one of the services stayed unpaired where fingerprints were ambiguous.
    fn unpaired(&self, loss: &Loss, services: &BTreeSet<FiveTuple>) -> bool {
        services.iter().any(|service| {
            self.bench
                .exits
                .strays(service, loss.window(), 0)
                .any(|stray| *stray.node == loss.node)
        })
    }
}

/// What an outside server saw otherwise.
pub(crate) fn peer_doubts(judged: &[&Judged], peers: Option<&PeerCheck>) -> Vec<String> {
    let contradicted = judged
        .iter()
        .filter(|one| one.spell.peer == Some(PeerVerdict::Contradicted))
        .count();
    let mut because = Vec::new();
    if contradicted > 0 {
        because.push(format!(
            "the outside server never saw {contradicted} of the exits"
        ));
    }
    if let Some(unexplained) = peers
        .map(|peers| peers.unexplained)
        .filter(|&count| count > 0)
    {
        because.push(format!(
            "the outside server saw {unexplained} peers that left by no wire"
        ));
    }
    because
}

fn host_window(host: &Host) -> Window {
    Window {
        from_us: host.from_us,
        to_us: host.until_us,
    }
}

/// The destination of a connection after translation, as unpaired wire flows are looked up.
fn service(one: &Judged) -> FiveTuple {
    let after = one.post.unwrap_or(one.tuple);
    FiveTuple {
        src: after.dst,
        src_port: 0,
        ..after
    }
}
