//! Where a campaign runs: what every target must be able to do, and which there are.
//!
//! A cluster has one datapath, so a campaign runs those of its cases there that are of it. Refused
//! is what a cluster's scenario cannot vary.

use std::time::Duration;

use anyhow::{Context as _, bail};
use lab::{DataPlane, Datapath};
use trace_schema::manifest::RunManifest;

use super::config::{Campaign, Case, Setting, WEIGHTS};
use super::file::Script;
use crate::cluster::{Cni, Setup};

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

/// Where a campaign runs.
#[derive(Clone, Debug)]
pub enum Place {
    /// The lab, on this machine.
    Lab,
    /// A cluster with our probes on it.
    Cluster(Setup),
}

/// The place that a campaign names. On a cluster its cases become those of the cluster's network;
/// the labels of the others are given beside it.
pub fn place(campaign: &mut Campaign, cni: Option<Cni>) -> anyhow::Result<(Place, Vec<String>)> {
    let target = campaign.target.as_str();
    if target == LAB {
        if cni.is_some() {
            bail!("--cni: is for clusters; the lab has every datapath that the cases name");
        }
        return Ok((Place::Lab, Vec::new()));
    }
    let cni = cni.with_context(|| {
        format!("--target {target}: say with --cni what the cluster's network is")
    })?;
    let setup = Setup::of_context(target, cni).with_context(|| {
        format!(
            "--target {target}: `{LAB}`, or the context of a cluster that `cargo xtask cluster up` made, kind-NAME or aks-NAME"
        )
    })?;
    let of_cluster = |case: &Case| is_of(case.setting, cni);
    let (cases, others): (Vec<_>, Vec<_>) = campaign.cases.drain(..).partition(of_cluster);
    if cases.is_empty() {
        bail!(
            "--target {target}: no case of the campaign is of a cluster with {}",
            cni.name()
        );
    }
    campaign.cases = cases;
    require_fixed(campaign)?;
    let others = others.into_iter().map(|case| case.label).collect();
    Ok((Place::Cluster(setup), others))
}

/// Whether a cluster with that network is what the case names.
fn is_of(setting: Setting, cni: Cni) -> bool {
    let of = match setting {
        Setting::Egress { datapath, .. } => match datapath {
            Datapath::Netfilter => Cni::Antrea,
            Datapath::Bpf => Cni::Cilium,
        },
        Setting::Ingress { data_plane, .. } => match data_plane {
            DataPlane::Nginx => Cni::Antrea,
            DataPlane::Envoy => Cni::Cilium,
        },
    };
    of == cni
}

/// Refuses what only the lab can vary.
fn require_fixed(campaign: &Campaign) -> anyhow::Result<()> {
    let target = &campaign.target;
    let of_lab = |what: &str| -> anyhow::Result<()> { bail!("--target {target}: {what}") };
    let is_pair = |case: &Case| matches!(case.setting, Setting::Egress { pairs, .. } if pairs > 1);
    if let Some(case) = campaign.cases.iter().find(|case| is_pair(case)) {
        return of_lab(&format!(
            "case {}: on a cluster there is one iperf3 server, and so one pair",
            case.label
        ));
    }
    if campaign.script != Script::Classic {
        return of_lab("k6: on a cluster the script is `classic`");
    }
    let usual = WEIGHTS.map(|(name, weight)| (name.to_owned(), weight));
    if campaign.weights != usual {
        return of_lab("weights: on a cluster they are those of deploy/scenarios/ingress");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::config::Overrides;
    use crate::campaign::file::Study;
    use crate::campaign::shipped;

    fn campaign(study: Study, target: &str, change: impl Fn(String) -> String) -> Campaign {
        let path = shipped(study);
        let text = change(std::fs::read_to_string(&path).unwrap());
        let overrides = Overrides {
            target: Some(target.to_owned()),
            ..Overrides::default()
        };
        Campaign::read(&path, &text, study, &overrides).unwrap()
    }

    #[test]
    fn a_cluster_runs_the_cases_of_its_network_and_names_the_others() {
        for (study, cni, runs, leaves) in [
            (Study::Egress, Cni::Antrea, "netfilter", "bpf"),
            (Study::Egress, Cni::Cilium, "bpf", "netfilter"),
            (Study::Ingress, Cni::Antrea, "nginx", "envoy"),
            (Study::Ingress, Cni::Cilium, "envoy", "nginx"),
        ] {
            let mut campaign = campaign(study, "kind-weighbridge", |text| text);
            let all = campaign.cases.len();
            let (place, others) = place(&mut campaign, Some(cni)).unwrap();
            let Place::Cluster(setup) = place else {
                panic!("{place:?}");
            };
            assert_eq!(setup.context(), "kind-weighbridge");
            assert_eq!(campaign.cases.len() + others.len(), all);
            assert!(
                campaign
                    .cases
                    .iter()
                    .all(|case| case.label.starts_with(runs))
            );
            assert!(others.iter().all(|label| label.starts_with(leaves)));
            assert!(!others.is_empty());
        }
    }

    fn check_refused(campaign: &mut Campaign, cni: Option<Cni>, names: &str) {
        let error = place(campaign, cni).unwrap_err().to_string();
        assert!(error.contains(names), "{error}");
    }

    #[test]
    fn what_a_cluster_cannot_do_is_refused() {
        let same = |text: String| text;
        let mut unknown = campaign(Study::Egress, "minikube", same);
        check_refused(&mut unknown, Some(Cni::Antrea), "kind-NAME");
        let mut silent = campaign(Study::Egress, "kind-a", same);
        check_refused(&mut silent, None, "--cni");
        let mut lab = campaign(Study::Egress, LAB, same);
        check_refused(&mut lab, Some(Cni::Cilium), "--cni");
        let pairs = |text: String| text.replace("egress: gateway}", "egress: gateway, pairs: 3}");
        let mut pairs = campaign(Study::Egress, "kind-a", pairs);
        check_refused(&mut pairs, Some(Cni::Cilium), "one pair");
        let weights = |text: String| text.replace("echo-v1: 60", "echo-v1: 70");
        let mut weights = campaign(Study::Ingress, "aks-a", weights);
        check_refused(&mut weights, Some(Cni::Cilium), "weights");
    }
}
