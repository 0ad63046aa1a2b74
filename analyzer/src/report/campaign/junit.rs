//! The verdicts as JUnit, a test case each. An inconclusive one is an error, so that no CI takes it
//! for a pass.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{Document, Verdict};
use crate::verdict::Outcome;

/// Renders a document.
pub fn render(document: &Document) -> Result<String, SerializeError> {
    let mut report = Report::new("weighbridge");
    for of in ["egress", "split", "books"] {
        let mut suite = TestSuite::new(format!("weighbridge {of}"));
        for verdict in document.verdicts.iter().filter(|one| one.of == of) {
            let mut case = TestCase::new(verdict.subject.as_str(), status(verdict));
            case.set_classname(of);
            suite.add_test_case(case);
        }
        if !suite.test_cases.is_empty() {
            report.add_test_suite(suite);
        }
    }
    report.to_string()
}

fn status(verdict: &Verdict) -> TestCaseStatus {
    let (kind, name) = match verdict.result {
        Outcome::Pass => return TestCaseStatus::success(),
        Outcome::Fail => (NonSuccessKind::Failure, "verdict"),
        Outcome::Inconclusive => (NonSuccessKind::Error, "inconclusive"),
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(verdict.summary.as_str()).set_type(name);
    status.set_description(verdict.inconclusive_because.join("\n"));
    status
}
