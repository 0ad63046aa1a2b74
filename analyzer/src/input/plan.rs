//! The plan that a campaign wrote into its dataset before its first run: here, which metrics it
//! declared primary.
//!
//! Whether it was there before the first run is not ours to tell; `cargo xtask campaign` writes it
//! first and never again. Fields that this does not need are not read.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::compare::Declaration;
use crate::measurements::UnknownMetric;

/// Name of the file in a dataset's root.
pub const FILE_NAME: &str = "campaign.json";

/// Why a plan cannot be read. Each prints as one line, with its sources (`{:#}`).
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The operating system refused.
    #[error("cannot read the campaign's plan {FILE_NAME}")]
    Io(#[source] io::Error),
    /// Not the JSON of a plan.
    #[error("{FILE_NAME}: not a campaign's plan")]
    Json(#[source] serde_json::Error),
    /// A metric that there is none of.
    #[error("{FILE_NAME}, primary")]
    Metric(#[source] UnknownMetric),
}

#[derive(Deserialize)]
struct Plan {
    campaign: String,
    #[serde(default)]
    primary: Vec<String>,
}

/// What the plan in a folder declares; nothing where there is none.
pub fn read_declaration(folder: &Path) -> Result<Option<Declaration>, PlanError> {
    let text = match fs::read_to_string(folder.join(FILE_NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PlanError::Io(error)),
    };
    let plan: Plan = serde_json::from_str(&text).map_err(PlanError::Json)?;
    let primary = plan.primary.iter().map(|name| name.parse());
    Ok(Some(Declaration {
        campaign: plan.campaign,
        primary: primary
            .collect::<Result<_, _>>()
            .map_err(PlanError::Metric)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Declaration>, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_NAME), text).unwrap();
        let read = read_declaration(folder.path());
        read.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }

    #[test]
    fn what_a_plan_declares_is_read_and_what_is_no_metric_refused() {
        let declared =
            read(r#"{"campaign": "c", "primary": ["goodput", "split_share[*]"], "seed": 1}"#);
        let declared = declared.unwrap().unwrap();
        assert_eq!(declared.campaign, "c");
        let names = declared.primary.iter().map(ToString::to_string);
        assert_eq!(names.collect::<Vec<_>>(), ["goodput", "split_share[*]"]);
        assert_eq!(read(r#"{"campaign": "c"}"#).unwrap().unwrap().primary, []);
        let none = tempfile::tempdir().unwrap();
        assert_eq!(read_declaration(none.path()).unwrap(), None);
        for (text, says) in [
            (
                r#"{"campaign": "c", "primary": ["speed"]}"#,
                "no metric \"speed\"",
            ),
            ("{", "not a campaign's plan"),
        ] {
            let refusal = read(text).unwrap_err();
            assert!(
                refusal.contains(says) && !refusal.contains('\n'),
                "{refusal}"
            );
        }
    }
}
