//! `--fault`: one thing goes wrong on purpose, and `weighbridge` says what it makes of it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use indicatif::ProgressBar;
use lab::{DataPlane, Datapath, Family, Fault, IngressFault, IngressScenario, ScenarioOptions};

use super::{Tools, style};

/// Virtual users of an ingress fault.
const USERS: u32 = 10;

/// A fault of either half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyFault {
    /// Of egress.
    Egress(Fault),
    /// Of ingress.
    Ingress(IngressFault),
}

impl FromStr for AnyFault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Ok(fault) = name.parse() {
            return Ok(Self::Egress(fault));
        }
        if let Ok(fault) = name.parse() {
            return Ok(Self::Ingress(fault));
        }
        Err(format!("no fault `{name}`: one of {}", names().join(", ")))
    }
}

fn names() -> Vec<&'static str> {
    let egress = Fault::ALL.into_iter().map(Fault::name);
    let ingress = IngressFault::ALL.into_iter().map(IngressFault::name);
    egress.chain(ingress).collect()
}

/// Makes a fault of egress happen and judges it.
pub fn egress(tools: &Tools, fault: Fault, datapath: Datapath) -> anyhow::Result<ExitCode> {
    let bar = spinner(fault, &format!("the {} datapath", datapath.name()))?;
    let report = fault.run(&ScenarioOptions {
        datapath,
        family: Family::V4,
        probe: tools.probe.clone(),
        dataset: tools.dataset.clone(),
        object: Some(tools.object.clone()),
    })?;
    bar.finish_and_clear();
    println!(
        "{fault}: pod {} opened {} connections, the server outside saw {}",
        report.pod,
        report.sent.len(),
        report.seen.len()
    );
    judge(tools, "egress")
}

/// Makes a fault of ingress happen and judges it.
pub fn ingress(
    tools: &Tools,
    fault: IngressFault,
    data_plane: DataPlane,
) -> anyhow::Result<ExitCode> {
    let bar = spinner(fault, data_plane.name())?;
    let report = fault.run(&IngressScenario {
        data_plane,
        probe: tools.probe.clone(),
        dataset: tools.dataset.clone(),
        k6: tools.k6.clone(),
        envoy: tools.envoy.clone(),
        object: Some(tools.object.clone()),
        users: USERS,
    })?;
    bar.finish_and_clear();
    println!(
        "{fault}: the gateway answered {}; k6 was answered by {}",
        list(&report.statuses),
        list(&report.hostnames)
    );
    judge(tools, "split")
}

fn judge(tools: &Tools, subcommand: &str) -> anyhow::Result<ExitCode> {
    let code = tools.show(subcommand, &tools.dataset)?;
    println!("dataset: {}", tools.dataset.display());
    Ok(ExitCode::from(code))
}

fn spinner(fault: impl Display, place: &str) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(style("{elapsed_precise} {spinner} {msg}")?);
    bar.set_message(format!("{fault} on {place}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

fn list<K: Display>(counts: &BTreeMap<K, u64>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} × {count}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_both_halves_has_a_name_of_its_own() {
        let mut names = names();
        for name in &names {
            assert!(name.parse::<AnyFault>().is_ok(), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Fault::ALL.len() + IngressFault::ALL.len());
        let refusal = "nothing".parse::<AnyFault>().unwrap_err();
        assert!(names.iter().all(|name| refusal.contains(name)), "{refusal}");
    }
}
