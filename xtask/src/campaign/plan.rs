//! The whole plan of a campaign, written to `campaign.json` before its first run.
//!
//! A folder belongs to one plan: a campaign that is to go on is drawn again and must come out the
//! same. What differs is named, so that nobody mixes two campaigns without noticing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::config::{Campaign, Case};
use super::file::Study;
use super::order::randomised_blocks;

/// Name of the file in the dataset's root.
pub const FILE_NAME: &str = "campaign.json";

/// What is run, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name in every manifest.
    pub campaign: String,
    /// What is measured.
    pub study: Study,
    /// Where.
    pub target: String,
    /// What the order was drawn from.
    pub seed: u64,
    /// The file's path as given.
    pub file: String,
    /// SHA-256 of its bytes.
    pub file_sha256: String,
    /// Whether it is the file's quick form.
    pub quick: bool,
    /// Metrics that it is made for: `weighbridge compare` takes them for primary, since they stand here
    /// before the first run.
    #[serde(default)]
    pub primary: Vec<String>,
    /// Blocks.
    pub repetitions: u32,
    /// Load of a run that figures use, seconds.
    pub duration_s: f64,
    /// Load before it, seconds.
    pub warm_up_s: f64,
    /// The runs.
    pub runs: Vec<PlannedRun>,
}

/// A run of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// Id of its first attempt.
    pub id: String,
    /// Name of the case in manifests.
    pub case: String,
    /// What the case sets.
    pub factors: BTreeMap<String, String>,
    /// The block, from 1.
    pub block: u32,
    /// Repetition of the case, from 1.
    pub repetition: u32,
}

impl Plan {
    /// Draws the order of a campaign that was read from this file.
    pub fn draw(campaign: &Campaign, file: &Path, text: &str, quick: bool) -> Self {
        let order = randomised_blocks(campaign.cases.len(), campaign.repetitions, campaign.seed);
        let planned = |case: &Case, block: u32| PlannedRun {
            // A block holds every case once, so its number is the repetition's.
            id: format!("{}-{block:02}", case.label),
            case: case.name.clone(),
            factors: case.factors.clone(),
            block,
            repetition: block,
        };
        let runs = order
            .iter()
            .map(|slot| planned(&campaign.cases[slot.case], slot.block));
        let digest = Sha256::digest(text.as_bytes());
        Self {
            campaign: campaign.name.clone(),
            study: campaign.study,
            target: campaign.target.clone(),
            seed: campaign.seed,
            file: file.display().to_string(),
            file_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            quick,
            primary: campaign.primary.clone(),
            repetitions: campaign.repetitions,
            duration_s: campaign.duration.as_secs_f64(),
            warm_up_s: campaign.warm_up.as_secs_f64(),
            runs: runs.collect(),
        }
    }

    /// Takes possession of a dataset's folder: writes the plan into one that holds nothing, and
    /// accepts one that holds this very plan. True where the campaign goes on.
    pub fn claim(&self, dataset: &Path) -> anyhow::Result<bool> {
        fs::create_dir_all(dataset)
            .with_context(|| format!("could not make {}", dataset.display()))?;
        let path = dataset.join(FILE_NAME);
        if path.is_file() {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let begun: Self = serde_json::from_str(&text)
                .with_context(|| format!("{}: not a campaign's plan", path.display()))?;
            if let Some(difference) = self.difference(&begun) {
                bail!(
                    "--dataset {}: {difference}; repeat that command to go on with it, or give a new folder",
                    dataset.display()
                );
            }
            return Ok(true);
        }
        let mut entries = fs::read_dir(dataset)
            .with_context(|| format!("could not list {}", dataset.display()))?;
        if entries.next().is_some() {
            bail!(
                "--dataset {}: holds files and no {FILE_NAME}; give a new folder",
                dataset.display()
            );
        }
        let temporary = dataset.join(format!(".{FILE_NAME}.tmp"));
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&temporary, text + "\n")
            .and_then(|()| fs::rename(&temporary, &path))
            .with_context(|| format!("could not write {}", path.display()))?;
        Ok(false)
    }

    /// What the plan that was begun has otherwise, as a clause; none where it is this one.
    fn difference(&self, begun: &Self) -> Option<String> {
        let of = |what: &str, theirs: &dyn std::fmt::Display, ours: &dyn std::fmt::Display| {
            Some(format!("holds a campaign of {what} {theirs}, not {ours}"))
        };
        let short = |digest: &str| digest.chars().take(12).collect::<String>();
        if begun.study != self.study {
            of("study", &begun.study.name(), &self.study.name())
        } else if begun.campaign != self.campaign {
            of("the name", &begun.campaign, &self.campaign)
        } else if begun.file_sha256 != self.file_sha256 {
            let theirs = format!("{} (SHA-256 {}…)", begun.file, short(&begun.file_sha256));
            let ours = format!("{} ({}…)", self.file, short(&self.file_sha256));
            of("the file", &theirs, &ours)
        } else if begun.target != self.target {
            of("target", &begun.target, &self.target)
        } else if begun.seed != self.seed {
            of("seed", &begun.seed, &self.seed)
        } else if begun.quick != self.quick {
            let form = |quick: bool| if quick { "--quick" } else { "the whole study" };
            of("the form", &form(begun.quick), &form(self.quick))
        } else if begun.repetitions != self.repetitions {
            of("repetitions", &begun.repetitions, &self.repetitions)
        } else if (begun.duration_s, begun.warm_up_s) != (self.duration_s, self.warm_up_s) {
            let seconds = |plan: &Self| format!("{} s after {} s", plan.duration_s, plan.warm_up_s);
            of("the duration", &seconds(begun), &seconds(self))
        } else if begun.runs != self.runs {
            Some("holds another order of the same runs".to_owned())
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::config::Overrides;
    use super::*;

    fn plan(overrides: &Overrides) -> Plan {
        let path = super::super::shipped(Study::Egress);
        let text = fs::read_to_string(&path).unwrap();
        let campaign = Campaign::read(&path, &text, Study::Egress, overrides).unwrap();
        Plan::draw(&campaign, Path::new("egress.yaml"), &text, overrides.quick)
    }

    fn folder(name: &str) -> PathBuf {
        let name = format!("weighbridge-plan-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_plan_goes_on_in_its_own_folder_alone() {
        let folder = folder("own");
        let whole = plan(&Overrides::default());
        assert!(!whole.claim(&folder).unwrap());
        assert!(whole.claim(&folder).unwrap());
        let refused = |overrides: Overrides, part: &str| {
            let error = plan(&overrides).claim(&folder).unwrap_err().to_string();
            assert_eq!(error.lines().count(), 1);
            assert!(error.contains(part), "{error}");
        };
        let usual = Overrides::default();
        refused(
            Overrides {
                seed: Some(1),
                ..usual.clone()
            },
            "seed 20260301, not 1",
        );
        refused(
            Overrides {
                quick: true,
                ..usual.clone()
            },
            "not --quick",
        );
        refused(
            Overrides {
                repetitions: Some(2),
                ..usual
            },
            "repetitions 8, not 2",
        );
        let mut edited = whole.clone();
        edited.file_sha256 = "00".repeat(32);
        let error = edited.claim(&folder).unwrap_err().to_string();
        assert!(error.contains("of the file egress.yaml"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let folder = folder("other");
        fs::create_dir_all(folder.join("flows")).unwrap();
        let error = plan(&Overrides::default()).claim(&folder).unwrap_err();
        assert!(error.to_string().contains("no campaign.json"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn ids_are_distinct_and_the_plan_survives_its_file() {
        let plan = plan(&Overrides::default());
        let mut ids: Vec<&str> = plan.runs.iter().map(|run| run.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 32);
        assert_eq!(ids[0], "bpf-base-01");
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
