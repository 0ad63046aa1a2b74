//! What a CNI or a gateway costs: processor time and memory by run, by part, by packet.
//!
//! Pure: rows and objects come in, a report goes out. What is kept grows with pods, nodes and
//! intervals, not with rows. It judges nothing but its own evidence: a result is inconclusive where
//! something is missing that could change a number by more than a hundredth. Time counts once however many
//! probes saw it, and units that differ are never added.

mod assess;
mod cases;
mod components;
mod doubts;
mod evidence;
mod kernel;
mod machine;
mod part;
mod ratios;
mod report;
mod span;
mod tally;

pub use components::{ComponentCost, Components, SampleSource, UserCost};
pub use evidence::CostEvidence;
pub use part::Part;
pub use report::*;

use std::collections::BTreeMap;

use crate::verdict::evidence::Window;

/// A stretch of time whose cost is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunScope {
    /// Id of the run; empty for a dataset without runs.
    pub run: String,
    /// Its case; may be empty.
    pub case: String,
    /// Whether the load tool ran to its end.
    pub completed: bool,
    /// Start and end.
    pub window: Window,
    /// The client pod as `namespace/name`, where the load came from a pod.
    pub client_pod: Option<String>,
    /// What the network cards did, by interface, where the run's manifest says.
    pub offloads: BTreeMap<String, Vec<String>>,
}

impl RunScope {
    /// A stretch of time of which no manifest speaks.
    pub fn without_run(window: Window) -> Self {
        Self {
            run: String::new(),
            case: String::new(),
            completed: true,
            window,
            client_pod: None,
            offloads: BTreeMap::new(),
        }
    }
}

/// The greatest part by which something missing may change a number that is still shown as sure.
const TOLERANCE: f64 = 0.01;

/// Tasks whose time was counted and whose name the probe's full map did not take.
const NAMELESS: &str = "tasks without a name (full map)";

/// Intervals that a run needs, so that its edges weigh little.
const ENOUGH_INTERVALS: f64 = 5.0;

/// Confidence of intervals over runs.
const CONFIDENCE: f64 = 0.95;
