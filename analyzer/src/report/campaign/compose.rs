//! From findings to the document.

use trace_schema::manifest::RunManifest;

use super::{
    Document, InputGroup, SCHEMA_VERSION, books, by_case, comparisons, cost, egress, environment,
    split, users, verdicts,
};
use crate::books::BooksReport;
use crate::compare::CompareReport;
use crate::cost::CostReport;
use crate::measurements::Measurements;
use crate::verdict::split::SplitReport;
use crate::verdict::{EgressReport, Outcome};

/// All that was found in a dataset. Where one of the analyses has nothing to say, the reason stands
/// in its place.
#[derive(Debug)]
pub struct Findings {
    /// The dataset's name.
    pub name: String,
    /// What the runs measured.
    pub measurements: Measurements,
    /// Whether connections left as demanded.
    pub egress: Result<EgressReport, String>,
    /// Whether responses are split as weighted.
    pub split: Result<SplitReport, String>,
    /// What it cost.
    pub cost: Result<CostReport, String>,
    /// How cases compare.
    pub compared: Result<CompareReport, String>,
    /// Whether everything was counted.
    pub books: BooksReport,
    /// The runs' manifests, by start.
    pub manifests: Vec<RunManifest>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// The files that were read.
    pub inputs: Vec<InputGroup>,
}

/// Puts the document together.
pub fn compose(findings: Findings) -> Document {
    let mut judged = Vec::new();
    let mut notes = findings.notes;
    match &findings.egress {
        Ok(report) => {
            judged.extend(verdicts::egress(report));
            notes.extend(report.anomalies.iter().cloned());
        }
        Err(reason) => notes.push(format!("egress is not judged: {reason}")),
    }
    match &findings.split {
        Ok(report) => {
            judged.extend(verdicts::split(report));
            notes.extend(report.notes.iter().cloned());
        }
        Err(reason) => notes.push(format!("the split is not judged: {reason}")),
    }
    // Books that balance are no answer to any question about policies or routes.
    let floor = if judged.is_empty() {
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    };
    judged.push(verdicts::books(&findings.books));
    let whole = [
        findings.egress.as_ref().map(|report| report.result),
        findings.split.as_ref().map(|report| report.result),
    ];
    let whole = whole.into_iter().flatten();
    let each = judged.iter().map(|one| one.result);
    let result = each.chain(whole).fold(floor, Outcome::max);
    let measurements = &findings.measurements;
    notes.extend(measurements.notes.iter().cloned());
    for run in &measurements.runs {
        let of_run = run.notes.iter();
        notes.extend(of_run.map(|note| format!("run {}: {note}", run.run)));
    }
    Document {
        schema_version: SCHEMA_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        title: findings.name,
        result,
        verdicts: judged,
        comparisons: comparisons::section(&findings.compared),
        notes,
        figures: vec![
            by_case::throughput(measurements),
            by_case::consumption(measurements),
            cost::stack(&findings.cost, measurements),
            users::consumption(measurements),
            split::accuracy(measurements),
            split::windows(measurements),
            split::distance(measurements),
            egress::leaks(&findings.egress),
            egress::failovers(&findings.egress),
            books::balance(&findings.books, &findings.manifests),
        ],
        appendix: vec![
            environment::runs(measurements),
            environment::environment(&findings.manifests),
        ],
        inputs: findings.inputs,
    }
}
