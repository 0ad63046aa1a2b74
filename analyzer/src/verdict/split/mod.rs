//! Is the traffic split as the weights say? Responses at the backends, held against routes.
//!
//! The core is pure: objects, rows of `http` and `ledger` and options come in, a report goes out.
//! Only responses that a Gateway's data plane asked for enter a split; all others are counted apart.
//! It refuses to guess: where responses could be another rule's, or a loss could have hidden some,
//! a pass becomes inconclusive, and nothing is repeated until it passes.

use trace_schema::http::HttpRow;
use trace_schema::ledger::LedgerRow;

use super::evidence::Window;
use crate::objects::{History, ObjectName};
use crate::policy::gateway_api::Request;

mod assess;
mod doubts;
mod judge;
mod latency;
mod losses;
mod observed;
mod report;
mod sentences;
mod stages;
mod takeover;
mod topology;
mod units;

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod simulation;

pub use assess::{ResponsesSeen, assess};
pub use latency::Latency;
pub use losses::ResponseLoss;
pub use observed::ResponseError;
pub use report::*;

pub(crate) use topology::{Asker, Topology};

use observed::Observed;

/// What to look at and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Only this route.
    pub route: Option<ObjectName>,
    /// Only this rule, from 0.
    pub rule: Option<usize>,
    /// Only the rule that this request hits.
    pub request: Option<Request>,
    /// Times of load runs, during which every probe should have been watching.
    pub runs: Vec<Window>,
    /// Length of a window.
    pub window_us: i64,
    /// How far a share may be from its reference.
    pub margin: f64,
    /// Probability of error of each verdict.
    pub alpha: f64,
    /// What the result stands for.
    pub against: Reference,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            route: None,
            rule: None,
            request: None,
            runs: Vec::new(),
            window_us: 5_000_000,
            margin: judge::STRICT,
            alpha: 0.05,
            against: Reference::Configured,
        }
    }
}

/// Everything seen, ready to be judged.
#[derive(Debug)]
pub struct SplitEvidence<'a> {
    pub(crate) history: &'a History,
    pub(crate) topology: Topology<'a>,
    pub(crate) observed: Observed,
    pub(crate) ledger: Vec<LedgerRow>,
    focus: Vec<Window>,
}

/// Why nothing can be judged. Each prints as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// No route at all.
    #[error(
        "the objects hold no HTTPRoute or GRPCRoute: record them with `weighbridge-probe record`, or give --objects a folder with them"
    )]
    NoRoutes,
    /// No route of that name.
    #[error("--route {route}: there is no such route; there is {known}")]
    NoSuchRoute {
        /// What was asked for.
        route: String,
        /// What there is.
        known: String,
    },
    /// The route is at no Gateway.
    #[error(
        "--route {route}: it is attached to no Gateway of the objects in that time: see its parentRefs and the listeners' allowedRoutes"
    )]
    NotAttached {
        /// What was asked for.
        route: String,
    },
    /// No rule of that number.
    #[error("--rule {rule}: no route has so many rules; they count from 1")]
    NoSuchRule {
        /// What was asked for.
        rule: usize,
    },
    /// No rule takes the request.
    #[error("--path {path}: no rule of these routes takes such a request; see --host and --method")]
    NoHit {
        /// What was asked for.
        path: String,
    },
    /// Implementations differ in whether the rule takes the request.
    #[error(
        "--path: {rule} has a regular expression, which implementations read differently: name the rule with --route and --rule"
    )]
    Unclear {
        /// The rule.
        rule: String,
    },
}

impl<'a> SplitEvidence<'a> {
    /// Of a cluster's objects; rows outside `focus` are left out, unless that is empty.
    pub fn new(history: &'a History, focus: Vec<Window>) -> Self {
        Self {
            history,
            topology: Topology::new(history),
            observed: Observed::default(),
            ledger: Vec::new(),
            focus,
        }
    }

    /// Takes a row of `http`.
    pub fn add_response(&mut self, row: &HttpRow) -> Result<(), ResponseError> {
        let interval = Window {
            from_us: row.interval_start_us,
            to_us: row.interval_end_us,
        };
        let mut focus = self.focus.iter();
        if !self.focus.is_empty() && !focus.any(|window| window.touches(&interval, 0)) {
            return Ok(());
        }
        self.observed.add(row, &self.topology)
    }

    /// Takes a row of `ledger`.
    pub fn add_ledger(&mut self, row: &LedgerRow) {
        self.ledger.push(row.clone());
    }

    /// Rows of `http` that were taken.
    pub fn rows(&self) -> u64 {
        self.observed.rows
    }
}
