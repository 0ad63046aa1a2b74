//! From evidence to the egress report.
//!
//! The order of work: books, exits, connections, spells, verdicts, sums. Verdicts are given to what
//! was seen; only then are losses weighed, so that a loss can take a pass away and never give one.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::cluster::{Cluster, PodLabel};
use super::connections::{Connection, connections};
use super::coverage::Coverage;
use super::demands::{Demands, in_words, is_inside, policy_name};
use super::evidence::{ConnectionKey, Evidence, Sample, Window};
use super::judge::{Seen, judge};
use super::peers::{PeerSighting, check_peers};
use super::report::{EgressReport, Moment, NotJudged, SeenExit, Spell, Tally};
use super::services::{ServiceUse, service_uses};
use super::spells::{Part, spells};
use super::tuple::{FiveTuple, Protocol};
use super::{Verdict, rollup};
use crate::pairing::{Exits, Paired};
use crate::policy::Expectation;

/// What to look at and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only what falls into one of these; empty: everything.
    pub focus: Vec<Focus>,
    /// Only these pods, `namespace/name`; empty: all.
    pub pods: Vec<String>,
    /// Only these policies, by name or `kind/name`; empty: all.
    pub policies: Vec<String>,
    /// Spells that begin this soon after a pod's or policy's birth are labelled.
    pub grace_us: i64,
    /// Times of load runs, during which every probe should have been watching.
    pub runs: Vec<Window>,
    /// What an outside server saw.
    pub peers: Option<Vec<PeerSighting>>,
    /// Whether the report lists every spell.
    pub list_connections: bool,
}

/// A stretch of time, and whose traffic in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Focus {
    /// When.
    pub window: Window,
    /// Only this pod.
    pub pod: Option<String>,
    /// Only to this address.
    pub server: Option<IpAddr>,
}

/// A judged spell with what sums are made of.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub spell: Spell,
    pub tuple: FiveTuple,
    pub post: Option<FiveTuple>,
    pub expected: Rc<crate::policy::Expected>,
    pub established: bool,
}

/// Judges every connection; `None` if nothing matches the options.
pub fn assess(
    evidence: &Evidence,
    cluster: &dyn Cluster,
    options: &Options,
) -> Option<EgressReport> {
    let coverage = Coverage::read(&evidence.ledger, &options.runs);
    let exits = Exits::pair(evidence);
    let demands = Demands::new(cluster);
    let found = connections(evidence, |node| coverage.watched_from_us(node));
    let named = |connection: Connection| {
        let pod = demands.pod(&connection.key, connection.seen());
        (connection, pod)
    };
    let mut own: Vec<(Connection, PodLabel)> = found.own.into_iter().map(named).collect();
    let mut services = service_uses(&own, evidence, &exits, &demands);
    let tied: HashSet<FiveTuple> = services
        .iter()
        .flat_map(|service| service.translated.iter().copied())
        .collect();
    own.extend(
        unseen_at_pods(evidence, &exits, &demands, &tied)
            .into_iter()
            .map(named),
    );
    services.resize_with(own.len(), ServiceUse::default);
    let lives: Vec<Life<'_>> = own
        .iter()
        .zip(&services)
        .map(|((connection, pod), service)| Life {
            connection,
            pod,
            parts: spells(connection, pod, service, &exits, &demands),
        })
        .collect();
    let bench = Bench {
        evidence,
        coverage: &coverage,
        exits: &exits,
        egress_addresses: demands.egress_addresses(),
        demands: &demands,
        grace_us: options.grace_us,
    };
    let not_judged = not_judged(&lives, (found.answers, found.answers_bytes), evidence);
    let mut judged: Vec<Judged> = lives
        .iter()
        .enumerate()
        .flat_map(|(number, life)| {
            let outside = life.parts.iter().filter(|part| !is_inside(&part.expected));
            outside
                .map(|part| bench.judge(number, life, part))
                .collect::<Vec<_>>()
        })
        .collect();
    judged.retain(|judged| matches(&judged.spell, options));
    if judged.is_empty() {
        return None;
    }
    let peers = options
        .peers
        .as_deref()
        .map(|seen| check_peers(seen, &exits, &mut judged));
    Some(rollup::report(judged, not_judged, peers, &bench, options))
}

/// Sums up what no policy concerns.
fn not_judged(lives: &[Life<'_>], answers: (u64, i64), evidence: &Evidence) -> NotJudged {
    let mut inside = Tally::default();
    for life in lives {
        for part in life.parts.iter().filter(|part| is_inside(&part.expected)) {
            inside.add(part.bytes, part.packets);
        }
        if life.parts.is_empty() {
            for sample in &life.connection.samples {
                inside.add(sample.bytes, sample.packets);
            }
        }
        inside.connections += u64::from(life.parts.iter().all(|part| is_inside(&part.expected)));
    }
    NotJudged {
        inside,
        answers: Tally {
            connections: answers.0,
            bytes: answers.1,
            packets: 0,
        },
        local_bytes: evidence.loopback_bytes,
    }
}

/// A connection with its pod and spells.
struct Life<'a> {
    connection: &'a Connection,
    pod: &'a PodLabel,
    parts: Vec<Part<'a>>,
}

/// Everything that judging one spell needs.
pub(crate) struct Bench<'a> {
    pub evidence: &'a Evidence,
    pub coverage: &'a Coverage,
    pub exits: &'a Exits,
    pub egress_addresses: BTreeSet<IpAddr>,
    pub demands: &'a Demands<'a>,
    pub grace_us: i64,
}

/// A wire flow whose uplink counted more packets than this was not missed by the wire's hook.
const MISSABLE_PACKETS: i64 = 3;

/// Two sightings of a packet on one node.
const SIGHT_US: i64 = 100_000;

impl Bench<'_> {
    fn judge(&self, number: usize, life: &Life<'_>, part: &Part<'_>) -> Judged {
        let key = &life.connection.key;
        let seen = part.seen();
        let mut notes = part.expected.placement_notes.clone();
        let verdict = match part.exit {
            Some(exit) => judge(
                &Seen {
                    address: exit.post.src,
                    node: &exit.node,
                    pod_address: key.tuple.src,
                    pod_node: life.pod_node(part),
                    at_us: seen.from_us,
                },
                &part.expected.expectation,
                self.demands.cluster,
                |address| self.egress_addresses.contains(&address),
            ),
            None => self.judge_hole(key, part, seen, &mut notes),
        };
        if let Expectation::Unknown { reason } = &part.expected.expectation {
            notes.push(reason.clone());
        }
        if key.node.is_empty() {
            notes.push("not seen at the pod: named by its address, counted at the gateway".into());
        }
        let since_us = part.expected.since_us.max(life.pod.born_us);
        let spell = Spell {
            pod: life.pod.name.clone(),
            node: life.pod_node(part).unwrap_or_default().to_owned(),
            policy: policy_name(&part.expected),
            protocol: key.tuple.protocol.to_string(),
            source: key.tuple.source(),
            destination: key.tuple.destination(),
            translated_destination: part.translated(&key.tuple),
            verdict,
            expected: in_words(&part.expected.expectation),
            exit: part.exit.map(|exit| SeenExit {
                address: exit.post.src,
                node: exit.node.to_string(),
                interface: exit.interface.to_string(),
            }),
            exit_port: part.exit.map(|exit| exit.post.src_port),
            paired: part.exit.map(|exit| exit.paired),
            peer: None,
            bytes: part.bytes,
            packets: part.packets,
            first: Moment(seen.from_us),
            last: Moment(seen.to_us),
            in_grace: self.grace_us > 0 && seen.from_us.saturating_sub(since_us) < self.grace_us,
            notes,
            connection: number,
        };
        Judged {
            spell,
            tuple: key.tuple,
            post: part.exit.map(|exit| exit.post),
            expected: part.expected.clone(),
            established: life.connection.established(),
        }
    }

    /// Packets that no wire is known to have seen: gone, or only not seen?
    fn judge_hole(
        &self,
        key: &ConnectionKey,
        part: &Part<'_>,
        seen: Window,
        notes: &mut Vec<String>,
    ) -> Verdict {
        match part.expected.expectation {
            Expectation::Ambiguous => return Verdict::Ambiguous,
            Expectation::Unknown { .. } => return Verdict::Unknown,
            _ => {}
        }
        let doubt = self
            .coverage
            .doubt(&self.demands.nodes(seen.from_us), seen)
            .or_else(|| {
                self.doubt_of_tuple(
                    key,
                    FiveTuple {
                        dst: part.dst,
                        ..key.tuple
                    },
                    seen,
                )
            });
        match doubt {
            Some(doubt) => {
                notes.push(format!("seen on no wire, but {doubt}"));
                Verdict::Unknown
            }
            None if matches!(part.expected.expectation, Expectation::Drop { .. }) => Verdict::Ok,
            None => Verdict::Dropped,
        }
    }

    /// Whether some wire flow that was not paired could be this connection.
    fn doubt_of_tuple(
        &self,
        key: &ConnectionKey,
        tuple: FiveTuple,
        seen: Window,
    ) -> Option<String> {
        // A flow that carries another pod's address is that pod's.
        let possible = |from: &FiveTuple| {
            *from == tuple || (from.src != tuple.src && !self.evidence.sources.contains(&from.src))
        };
        if let Some(stray) = self
            .exits
            .strays(&tuple, seen, SIGHT_US)
            .find(|stray| possible(&stray.post))
        {
            return Some(format!(
                "a flow from {} on {} was not paired",
                stray.post.source(),
                stray.node
            ));
        }
        let service = (key.tuple.protocol, tuple.dst, tuple.dst_port);
        let missed = self
            .evidence
            .departures
            .get(&service)
            .into_iter()
            .flatten()
            .find(|(from, flow)| {
                flow.packets <= MISSABLE_PACKETS
                    && flow.seen.touches(&seen, SIGHT_US)
                    && possible(from)
                    && !self.exits.left_as(from, &flow.node, flow.seen)
            });
        missed.map(|(from, flow)| {
            format!(
                "the wire of {} missed a flow from {}",
                flow.node,
                from.source()
            )
        })
    }
}

impl Life<'_> {
    /// The node whose probe saw the pod; else the one that the objects name.
    fn pod_node<'b>(&'b self, part: &'b Part<'_>) -> Option<&'b str> {
        let node: &str = &self.connection.key.node;
        Some(node)
            .filter(|node| !node.is_empty())
            .or(part.expected.pod_node.as_deref())
            .or(self.pod.node.as_deref())
    }
}

impl Part<'_> {
    fn translated(&self, tuple: &FiveTuple) -> Option<SocketAddr> {
        let post = self.exit.map(|exit| exit.post.destination())?;
        (post != tuple.destination() && tuple.protocol != Protocol::ICMP).then_some(post)
    }
}

/// Connections that gateways saw and no pod hook did: a node without a probe, or a map that was
/// full. Their bytes are those that arrived at the gateway.
fn unseen_at_pods(
    evidence: &Evidence,
    exits: &Exits,
    demands: &Demands<'_>,
    tied: &HashSet<FiveTuple>,
) -> Vec<Connection> {
    let at_pods: HashSet<&FiveTuple> = evidence.connections.keys().map(|key| &key.tuple).collect();
    let mut unseen: Vec<Connection> = exits
        .origins()
        .filter(|tuple| !at_pods.contains(tuple) && !tied.contains(tuple))
        .filter_map(|tuple| {
            let crossings = exits.of(tuple);
            let first = crossings.first()?;
            demands.cluster.pod(None, tuple.src, first.seen.from_us)?;
            if crossings
                .iter()
                .all(|crossing| crossing.paired == Paired::SameTuple)
            {
                return None;
            }
            let arrivals = evidence.arrivals.get(tuple).into_iter().flatten();
            let mut samples: Vec<Sample> = arrivals
                .filter(|at| crossings.iter().any(|crossing| crossing.node == at.node))
                .map(|at| Sample {
                    seen: at.seen,
                    tcp_flags: 0,
                    bytes: at.bytes,
                    packets: at.packets,
                })
                .collect();
            if samples.is_empty() {
                samples.extend(crossings.iter().map(|crossing| Sample {
                    seen: crossing.seen,
                    tcp_flags: 0,
                    bytes: 0,
                    packets: 0,
                }));
            }
            samples.sort_unstable();
            Some(Connection {
                key: ConnectionKey {
                    node: "".into(),
                    pod_uid: None,
                    tuple: *tuple,
                },
                samples,
                reach: Window {
                    from_us: i64::MIN,
                    to_us: i64::MAX,
                },
            })
        })
        .collect();
    unseen.sort();
    unseen
}

fn matches(spell: &Spell, options: &Options) -> bool {
    let seen = Window {
        from_us: spell.first.0,
        to_us: spell.last.0,
    };
    let in_focus = options.focus.is_empty()
        || options.focus.iter().any(|focus| {
            focus.window.touches(&seen, 0)
                && focus.pod.as_ref().is_none_or(|pod| *pod == spell.pod)
                && focus.server.is_none_or(|server| {
                    server == spell.destination.ip()
                        || spell
                            .translated_destination
                            .is_some_and(|after| after.ip() == server)
                })
        });
    let named = |policy: &String| {
        spell.policy.split(" + ").any(|name| {
            name == policy || name.split_once('/').is_some_and(|(_, name)| name == policy)
        })
    };
    in_focus
        && (options.pods.is_empty() || options.pods.contains(&spell.pod))
        && (options.policies.is_empty() || options.policies.iter().any(named))
}
