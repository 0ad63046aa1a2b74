//! The egress report: what `--format json` prints, field by field, and what tables are drawn from.
//!
//! Times are RFC 3339 in UTC, bytes layer 3 and plain integers. Lists are sorted by their content,
//! so that the same dataset gives the same bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use trace_schema::Named;
use trace_schema::ledger::Vantage;

pub use super::failover::Failover;
pub use super::loss::{Loss, LossKind};
pub use super::peers::PeerCheck;
use super::{Outcome, Verdict};
use crate::pairing::Paired;

/// A moment, UTC microseconds; written as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// Everything that `weighbridge egress` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EgressReport {
    /// Version of this document.
    pub schema_version: u32,
    /// What it amounts to.
    pub result: Outcome,
    /// Judged connections by verdict; a connection with several spells counts in each.
    pub verdicts: BTreeMap<&'static str, Tally>,
    /// By policy, those without any under `no policy`.
    pub policies: Vec<PolicyRollup>,
    /// By pod.
    pub pods: Vec<PodRollup>,
    /// Stretches of time in which a pod's connections failed in one way.
    pub leak_windows: Vec<LeakWindow>,
    /// Gateways that moved.
    pub failovers: Vec<Failover>,
    /// What no verdict covers but a reader should know.
    pub anomalies: Vec<String>,
    /// Traffic that is not judged.
    pub not_judged: NotJudged,
    /// What was lost on the way to the dataset.
    pub losses: Vec<Loss>,
    /// What an outside server saw, if it was given.
    pub peers: Option<PeerCheck>,
    /// Every spell, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<Spell>>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Connections.
    pub connections: u64,
    /// Layer-3 bytes that the pods sent.
    pub bytes: i64,
    /// Packets that the pods sent.
    pub packets: i64,
}

/// One policy's connections.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyRollup {
    /// `kind/name`, several joined by ` + `, or `no policy`.
    pub policy: String,
    /// What it amounts to.
    pub result: Outcome,
    /// What a loss could hide: why a pass is not one.
    pub inconclusive_because: Vec<String>,
    /// What was demanded, in order of time.
    pub expected: Vec<String>,
    /// By verdict and exit.
    pub exits: Vec<ExitTally>,
    /// By verdict.
    pub verdicts: BTreeMap<&'static str, Tally>,
    /// First packet.
    pub first: Moment,
    /// Last packet.
    pub last: Moment,
}

/// The connections of a policy that left one way, or none, and got one verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExitTally {
    /// Verdict.
    pub verdict: Verdict,
    /// Where they left; absent where no wire saw them.
    pub exit: Option<SeenExit>,
    /// How much.
    #[serde(flatten)]
    pub tally: Tally,
}

/// One pod's connections.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PodRollup {
    /// `namespace/name`, or the UID where no object names it.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Its policies.
    pub policies: Vec<String>,
    /// By verdict.
    pub verdicts: BTreeMap<&'static str, Tally>,
    /// First packet.
    pub first: Moment,
    /// Last packet.
    pub last: Moment,
}

/// A pod's connections that failed in one way, without a long pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeakWindow {
    /// Pod.
    pub pod: String,
    /// Policy.
    pub policy: String,
    /// Verdict.
    pub verdict: Verdict,
    /// Where it left, if all left alike.
    pub exit: Option<SeenExit>,
    /// First packet.
    pub first: Moment,
    /// Last packet.
    pub last: Moment,
    /// How much.
    #[serde(flatten)]
    pub tally: Tally,
    /// Connections that began within `--grace` of the pod's or policy's birth.
    pub in_grace: u64,
}

/// An exit as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SeenExit {
    /// Source address on the wire.
    pub address: std::net::IpAddr,
    /// Node.
    pub node: String,
    /// Interface.
    pub interface: String,
}

/// A connection for as long as neither its exit nor its expectation changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spell {
    /// Pod, as in [`PodRollup`].
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Policy, as in [`PolicyRollup`].
    pub policy: String,
    /// `tcp`, `udp`, …
    pub protocol: String,
    /// As the pod sees it; ICMP: the identifier stands for the port.
    pub source: SocketAddr,
    /// As the pod sees it.
    pub destination: SocketAddr,
    /// After a service's translation, where that differs.
    pub translated_destination: Option<SocketAddr>,
    /// The judgement.
    pub verdict: Verdict,
    /// What was demanded.
    pub expected: String,
    /// Where it left.
    pub exit: Option<SeenExit>,
    /// Source port on the wire.
    pub exit_port: Option<u16>,
    /// How the exit was tied to the connection.
    pub paired: Option<Paired>,
    /// How it compares with an outside server's log, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<super::peers::PeerVerdict>,
    /// Layer-3 bytes that the pod sent.
    pub bytes: i64,
    /// Packets that the pod sent.
    pub packets: i64,
    /// First packet.
    pub first: Moment,
    /// Last packet.
    pub last: Moment,
    /// Whether it began within `--grace` of the pod's or policy's birth.
    pub in_grace: bool,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Which connection it belongs to: spells of one connection share it.
    pub connection: usize,
}

/// Traffic that egress policies leave alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    /// Connections to pods, nodes and services of the cluster.
    pub inside: Tally,
    /// Connections that the other side opened.
    pub answers: Tally,
    /// Bytes that never leave a pod or its link.
    pub local_bytes: i64,
}

impl Tally {
    /// Adds one connection's part.
    pub(crate) fn add(&mut self, bytes: i64, packets: i64) {
        self.bytes += bytes;
        self.packets += packets;
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => write!(f, "{} us", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for SeenExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}/{}", self.address, self.node, self.interface)
    }
}

/// The name of a vantage in reports.
pub fn vantage_name(vantage: Vantage) -> &'static str {
    vantage.name()
}
