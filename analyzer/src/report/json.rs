//! Reports as JSON: the report types as they are, indented, with a line end.

use serde::Serialize;

/// Renders a report.
pub fn render(report: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}
