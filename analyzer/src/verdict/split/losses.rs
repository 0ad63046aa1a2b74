//! What could hide responses of a rule's backends: why a pass may not be one.
//!
//! A loss that the ledger counts bounds the responses that it may have hidden, at one a packet; a
//! time in which nobody watched bounds nothing, and neither does an HTTP/2 connection that could not
//! be followed, since it is not taken up again. It weighs only the nodes on which backends ran.

use std::collections::BTreeSet;

use serde::Serialize;
use trace_schema::ledger::{LedgerRow, Vantage};

use super::super::coverage::Coverage;
use super::super::evidence::Window;
use super::super::loss::LossKind;
use super::super::report::Moment;
use super::observed::Observed;

/// A loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResponseLoss {
    /// Node.
    pub node: String,
    /// What was lost.
    pub what: String,
    /// Start.
    pub from: Moment,
    /// End.
    pub to: Moment,
    /// Responses that it may have hidden at most; absent where nothing bounds them.
    pub responses_at_most: Option<u64>,
}

impl ResponseLoss {
    /// When.
    pub(crate) fn window(&self) -> Window {
        Window {
            from_us: self.from.0,
            to_us: self.to.0,
        }
    }
}

/// Losses on these nodes in this time; `runs` should have been watched too, and where there are any,
/// nobody need watch between them. Responses that only lack a status are in the ledger's count, and
/// yet in the table.
pub(crate) fn losses(
    ledger: &[LedgerRow],
    runs: &[Window],
    nodes: &BTreeSet<String>,
    during: Window,
    observed: &Observed,
) -> Vec<ResponseLoss> {
    let of_pods: Vec<LedgerRow> = ledger
        .iter()
        .filter(|row| row.vantage == Vantage::Pod && nodes.contains(&row.node))
        .cloned()
        .collect();
    let mut found = Vec::new();
    for node in nodes {
        let mut rows = of_pods.iter().filter(|row| row.node == *node).peekable();
        if rows.peek().is_none() {
            found.push(ResponseLoss {
                node: node.clone(),
                what: format!("node {node} ran backends and has no books of its pods"),
                from: Moment(during.from_us),
                to: Moment(during.to_us),
                responses_at_most: None,
            });
            continue;
        }
        let unparsed: i64 = rows
            .filter(|row| {
                row.interval_start_us < during.to_us && during.from_us < row.interval_end_us
            })
            .map(|row| row.http_unparsed)
            .sum();
        let unread = observed.unread.get(node).copied().unwrap_or(0);
        let unparsed = unparsed.max(0).unsigned_abs().saturating_sub(unread);
        if unparsed > 0 {
            found.push(ResponseLoss {
                node: node.clone(),
                what: format!(
                    "node {node}: {unparsed} HTTP streams or responses could not be followed"
                ),
                from: Moment(during.from_us),
                to: Moment(during.to_us),
                responses_at_most: (!observed.with_http2.contains(node)).then_some(unparsed),
            });
        }
    }
    let coverage = Coverage::read(&of_pods, runs);
    for loss in &coverage.losses {
        let of_runs = runs.is_empty() || runs.iter().any(|run| loss.window().touches(run, 0));
        if !of_runs || !loss.window().touches(&during, 0) {
            continue;
        }
        let responses_at_most = match loss.kind {
            LossKind::Gap | LossKind::ClockDisorder => None,
            LossKind::PairingOverflow | LossKind::PairingAmbiguous | LossKind::Unseen => continue,
            LossKind::Overflow
            | LossKind::Unparsed
            | LossKind::RingDrops
            | LossKind::HookMisses => Some(loss.count.max(0).unsigned_abs()),
        };
        found.push(ResponseLoss {
            node: loss.node.clone(),
            what: loss.to_string(),
            from: loss.from,
            to: loss.to,
            responses_at_most,
        });
    }
    found
}
