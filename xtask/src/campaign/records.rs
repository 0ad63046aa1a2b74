//! What a campaign's dataset says of its runs: which are done, which failed, which are to come.
//!
//! The manifests are the only memory. A run's manifest is there before the run and says that it
//! failed, until the run has ended well: so whatever ends the campaign, the dataset tells the truth.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lab::now_us;
use trace_schema::manifest::{RunManifest, RunOutcome};

use super::plan::{Plan, PlannedRun};

/// Failure of a run that Ctrl-C cut.
pub const INTERRUPTED: &str = "interrupted";
const CUT_OFF: &str = "the campaign was killed before the run ended";

/// The runs that a dataset holds.
#[derive(Debug)]
pub struct Records {
    manifests: Vec<RunManifest>,
}

impl Records {
    /// Reads every manifest below the dataset's root.
    pub fn read(dataset: &Path) -> anyhow::Result<Self> {
        let folder = dataset.join("runs");
        let mut manifests = Vec::new();
        if folder.is_dir() {
            let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
            for entry in entries {
                let run = entry.with_context(|| folder.display().to_string())?.path();
                if run.join(RunManifest::FILE_NAME).is_file() {
                    manifests.push(RunManifest::read(&run)?);
                }
            }
        }
        manifests.sort_by_key(|manifest| manifest.start_us);
        Ok(Self { manifests })
    }

    /// The attempts at a run so far, by time.
    pub fn attempts<'a>(&'a self, run: &'a PlannedRun) -> impl Iterator<Item = &'a RunManifest> {
        self.manifests.iter().filter(|manifest| {
            (&manifest.case, manifest.repetition, &manifest.factors)
                == (&run.case, run.repetition, &run.factors)
        })
    }

    /// The attempt that ended well.
    pub fn completed<'a>(&'a self, run: &'a PlannedRun) -> Option<&'a RunManifest> {
        self.attempts(run)
            .find(|manifest| manifest.outcome == RunOutcome::Completed)
    }

    /// The number of the next attempt.
    pub fn next_attempt(&self, run: &PlannedRun) -> u32 {
        let highest = self.attempts(run).map(|manifest| manifest.attempt).max();
        highest.unwrap_or(0) + 1
    }
}

/// Writes the manifest of a run that is about to begin, and returns it as it is to be at the end.
pub fn begin(
    dataset: &Path,
    plan: &Plan,
    run: &PlannedRun,
    attempt: u32,
) -> anyhow::Result<RunManifest> {
    let id = match attempt {
        1 => run.id.clone(),
        _ => format!("{}-attempt{attempt}", run.id),
    };
    let tool = match plan.study {
        super::file::Study::Egress => "iperf3",
        super::file::Study::Ingress => "k6",
    };
    let now_us = now_us();
    let manifest = RunManifest {
        campaign: plan.campaign.clone(),
        case: run.case.clone(),
        repetition: run.repetition,
        attempt,
        block: Some(run.block),
        factors: run.factors.clone(),
        ..RunManifest::new(&id, tool, (now_us, now_us))
    };
    let pending = RunManifest {
        outcome: RunOutcome::Failed,
        failure: Some(CUT_OFF.to_owned()),
        ..manifest.clone()
    };
    pending.write(&folder(dataset, &id))?;
    Ok(manifest)
}

/// Marks a run as failed, whatever its manifest says so far.
pub fn fail(dataset: &Path, id: &str, why: &str) -> anyhow::Result<()> {
    let folder = folder(dataset, id);
    let mut manifest = RunManifest::read(&folder)?;
    manifest.outcome = RunOutcome::Failed;
    manifest.failure = Some(why.to_owned());
    if manifest.end_us <= manifest.start_us {
        manifest.end_us = now_us();
    }
    Ok(manifest.write(&folder)?)
}

/// Folder of a run.
pub fn folder(dataset: &Path, id: &str) -> PathBuf {
    dataset.join("runs").join(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::file::Study;

    #[test]
    fn a_run_has_failed_until_it_has_ended_well_and_attempts_are_counted() {
        let name = format!("weighbridge-records-{}", std::process::id());
        let dataset = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dataset);
        let run = PlannedRun {
            id: "case-01".to_owned(),
            case: "case".to_owned(),
            factors: [("users".to_owned(), "10".to_owned())].into(),
            block: 1,
            repetition: 1,
        };
        let other = PlannedRun {
            factors: [("users".to_owned(), "100".to_owned())].into(),
            ..run.clone()
        };
        let plan = Plan {
            campaign: "tiny".to_owned(),
            study: Study::Ingress,
            target: "lab".to_owned(),
            seed: 1,
            file: String::new(),
            file_sha256: String::new(),
            quick: false,
            primary: Vec::new(),
            repetitions: 1,
            duration_s: 1.0,
            warm_up_s: 0.0,
            runs: vec![run.clone()],
        };
        assert_eq!(Records::read(&dataset).unwrap().next_attempt(&run), 1);

        let first = begin(&dataset, &plan, &run, 1).unwrap();
        let records = Records::read(&dataset).unwrap();
        let pending: Vec<_> = records.attempts(&run).collect();
        assert_eq!(pending.len(), 1);
        assert_eq!(pending[0].failure.as_deref(), Some(CUT_OFF));
        assert!(records.completed(&run).is_none());
        assert_eq!((first.tool.as_str(), first.block), ("k6", Some(1)));

        fail(&dataset, &first.id, "k6 died").unwrap();
        assert_eq!(Records::read(&dataset).unwrap().next_attempt(&run), 2);
        let second = begin(&dataset, &plan, &run, 2).unwrap();
        second.write(&folder(&dataset, &second.id)).unwrap();
        let records = Records::read(&dataset).unwrap();
        let done = records.completed(&run).unwrap();
        assert_eq!((done.id.as_str(), done.attempt), ("case-01-attempt2", 2));
        assert_eq!(records.attempts(&run).count(), 2);
        assert_eq!(records.next_attempt(&other), 1);
        fs::remove_dir_all(&dataset).unwrap();
    }
}
