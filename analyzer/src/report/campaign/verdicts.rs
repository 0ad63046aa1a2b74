//! The verdicts, one line each: what `egress`, `split` and `inspect` found.

use serde::Serialize;

use super::Source;
use crate::books::{Balance, BooksReport};
use crate::verdict::split::SplitReport;
use crate::verdict::{EgressReport, Outcome, PolicyRollup};

/// A verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What was judged: `egress`, `split` or `books`.
    pub of: &'static str,
    /// The policy, the rule or the dataset.
    pub subject: String,
    /// What it amounts to.
    pub result: Outcome,
    /// The same in a sentence.
    pub summary: String,
    /// What takes a pass away.
    pub inconclusive_because: Vec<String>,
    /// Where it is from.
    pub source: Source,
}

/// By policy.
pub(super) fn egress(report: &EgressReport) -> impl Iterator<Item = Verdict> {
    report.policies.iter().map(|policy| Verdict {
        of: "egress",
        subject: policy.policy.clone(),
        result: policy.result,
        summary: tallied(policy),
        inconclusive_because: policy.inconclusive_because.clone(),
        source: Source::new(
            "every connection's exit on the wire against what the policies in force demanded (`weighbridge egress`)",
            &["flows", "snat", "ledger", "objects"],
        ),
    })
}

fn tallied(policy: &PolicyRollup) -> String {
    let parts: Vec<String> = policy
        .verdicts
        .iter()
        .map(|(verdict, tally)| {
            let plural = if tally.connections == 1 { "" } else { "s" };
            format!(
                "{} connection{plural} {}",
                tally.connections,
                verdict.replace('_', " ")
            )
        })
        .collect();
    let demanded = match policy.expected.as_slice() {
        [] => String::new(),
        expected => format!("; demanded: {}", expected.join(", then ")),
    };
    format!("{}{demanded}", parts.join(", "))
}

/// By rule.
pub(super) fn split(report: &SplitReport) -> impl Iterator<Item = Verdict> {
    report.rules.iter().map(|rule| Verdict {
        of: "split",
        subject: format!("{} at {}", rule.rule, rule.gateways.join(", ")),
        result: rule.result,
        summary: rule.summary.clone(),
        inconclusive_because: rule.inconclusive_because.clone(),
        source: Source::new(
            "responses of the backends to the Gateway against the route's weights (`weighbridge split`)",
            &["http", "ledger", "objects", "runs"],
        ),
    })
}

/// Of the dataset.
pub(super) fn books(report: &BooksReport) -> Verdict {
    let (result, summary) = match report.balance {
        Balance::Balanced => (
            Outcome::Pass,
            "every packet that the kernel counted stands in a row or in a loss",
        ),
        Balance::Off => (
            Outcome::Fail,
            "packets are missing or counted twice beyond what anything known explains",
        ),
        Balance::Inconclusive => (Outcome::Inconclusive, "there is not enough to compare"),
    };
    let of_accounts = report.accounts.iter().map(|account| &account.reason);
    let of_sums = report.flow_sums.iter().map(|sum| &sum.reason);
    let mut because: Vec<String> = of_accounts.chain(of_sums).flatten().cloned().collect();
    because.sort();
    because.dedup();
    Verdict {
        of: "books",
        subject: "the dataset".to_owned(),
        result,
        summary: summary.to_owned(),
        inconclusive_because: because,
        source: Source::new(
            "uplinks against the kernel's counters, flows against the ledger (`weighbridge inspect`)",
            &["ledger", "flows"],
        ),
    }
}
