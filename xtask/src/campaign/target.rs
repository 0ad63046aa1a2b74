//! Where a campaign runs: what every target must be able to do, and which there are.

use std::time::Duration;

use anyhow::bail;
use trace_schema::manifest::RunManifest;

use super::config::{Campaign, Case};

/// A place that can perform runs.
pub trait Target {
    /// How long a run takes beside its load, before any was measured.
    fn beside_load(&self) -> Duration;

    /// Performs a run of a case: everything from the cluster to the files. At its end the dataset
    /// holds what the probes saw and what the tool wrote, with the manifest completed by what the
    /// run itself tells, also where the load failed. The error is one line that says what failed.
    fn perform(
        &self,
        case: &Case,
        manifest: RunManifest,
        stage: &dyn Fn(&str),
    ) -> anyhow::Result<()>;
}

/// Name of the embedded target.
pub const LAB: &str = "lab";

/// Refuses targets that cannot perform runs.
pub fn require_known(campaign: &Campaign) -> anyhow::Result<()> {
    if campaign.target != LAB {
        bail!(
            "--target {}: campaigns on a cluster need its probes and load pods deployed, which this build cannot do; `--target {LAB}` runs the same cases here",
            campaign.target
        );
    }
    Ok(())
}
