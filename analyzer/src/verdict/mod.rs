//! Verdicts: what was seen, held against what the policies demand.
//!
//! The core is pure: rows and expectations come in as values, a report goes out, and nothing here
//! reads a file or a clock. It refuses to guess: where the evidence does not carry a judgement the
//! verdict is `unknown`, and where a loss could have hidden a failure a pass becomes inconclusive.

use serde::Serialize;

pub mod cluster;
mod connections;
mod coverage;
mod demands;
mod doubts;
pub mod egress;
pub mod evidence;
mod failover;
mod judge;
mod loss;
pub mod peers;
mod report;
mod rollup;
mod services;
mod spells;
pub mod split;
pub mod tuple;

#[cfg(test)]
mod doubt_scenarios;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod scene;

pub use cluster::{Cluster, PodLabel};
pub use egress::{Options, assess};
pub use evidence::{Evidence, EvidenceError};
pub use report::*;

/// What one spell of a connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It left, or did not leave, as demanded.
    Ok,
    /// It left with a node's own address while a policy demands an egress address.
    NodeIpLeak,
    /// It left with the pod's address, untranslated, while a policy demands an egress address.
    PodIpLeak,
    /// It left with an address that is neither the demanded one, nor the node's, nor the pod's.
    WrongEgressIp,
    /// It left with the demanded address by another node.
    WrongNode,
    /// It was seen at the pod and at no wire, with every probe healthy.
    Dropped,
    /// It went through another node, or with an egress address, though no policy asked for it.
    UnexpectedGateway,
    /// Policies contradict each other.
    Ambiguous,
    /// The evidence does not suffice.
    Unknown,
}

/// What a set of verdicts amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every connection did what was demanded, and nothing was lost that could say otherwise.
    Pass,
    /// Nothing failed, but evidence is missing.
    Inconclusive,
    /// At least one connection did not do what was demanded.
    Fail,
}

impl Verdict {
    /// Every verdict, in the order of reports.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::NodeIpLeak,
        Self::PodIpLeak,
        Self::WrongEgressIp,
        Self::WrongNode,
        Self::Dropped,
        Self::UnexpectedGateway,
        Self::Ambiguous,
        Self::Unknown,
    ];

    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NodeIpLeak => "node_ip_leak",
            Self::PodIpLeak => "pod_ip_leak",
            Self::WrongEgressIp => "wrong_egress_ip",
            Self::WrongNode => "wrong_node",
            Self::Dropped => "dropped",
            Self::UnexpectedGateway => "unexpected_gateway",
            Self::Ambiguous => "ambiguous",
            Self::Unknown => "unknown",
        }
    }

    /// Pass, fail or neither.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Ok => Outcome::Pass,
            Self::Ambiguous | Self::Unknown => Outcome::Inconclusive,
            _ => Outcome::Fail,
        }
    }
}

impl Outcome {
    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }

    /// The exit code of a command that ends with this outcome.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Inconclusive => 3,
        }
    }
}
