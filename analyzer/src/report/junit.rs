//! Egress verdicts as JUnit: a test case for each policy. A pass is a success, a failure names its
//! leak windows, and an inconclusive policy is an error, so that no CI takes it for a pass.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::quantity;
use crate::verdict::{EgressReport, Outcome, PolicyRollup};

/// Renders a report.
pub fn egress(report: &EgressReport) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new("weighbridge egress");
    for policy in &report.policies {
        let mut case = TestCase::new(policy.policy.as_str(), status(report, policy));
        case.set_classname("egress");
        suite.add_test_case(case);
    }
    let mut document = Report::new("weighbridge");
    document.add_test_suite(suite);
    document.to_string()
}

fn status(report: &EgressReport, policy: &PolicyRollup) -> TestCaseStatus {
    match policy.result {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Fail => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(summary(policy)).set_type("verdict");
            status.set_description(windows(report, policy));
            status
        }
        Outcome::Inconclusive => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(summary(policy)).set_type("inconclusive");
            status.set_description(policy.inconclusive_because.join("\n"));
            status
        }
    }
}

fn summary(policy: &PolicyRollup) -> String {
    let parts: Vec<String> = policy
        .verdicts
        .iter()
        .map(|(verdict, tally)| {
            format!(
                "{verdict}: {} connections, {}",
                quantity::count(tally.connections.cast_signed()),
                quantity::bytes(tally.bytes)
            )
        })
        .collect();
    parts.join("; ")
}

fn windows(report: &EgressReport, policy: &PolicyRollup) -> String {
    let lines: Vec<String> = report
        .leak_windows
        .iter()
        .filter(|window| window.policy == policy.policy)
        .map(|window| {
            format!(
                "{} {} from {} to {}: {} connections, {} bytes, {}",
                window.verdict.name(),
                window.pod,
                window.first,
                window.last,
                window.tally.connections,
                window.tally.bytes,
                window.exit.as_ref().map_or_else(
                    || "several exits or none".to_owned(),
                    |exit| exit.to_string()
                ),
            )
        })
        .collect();
    lines.join("\n")
}
