//! A campaign as it will be run: validated, with every default filled in.
//!
//! Refuses, with file and line: factors and values that the study does not know, factors that are
//! missing, cases that are the same, more pairs than there are, metrics that nobody measures.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use analyzer::compare::MetricChoice;
use anyhow::{Context as _, anyhow, bail};
use lab::{DataPlane, Datapath};
use serde_saphyr::Spanned;

use super::file::{self, Direction, Factors, File, Positive, Script, Study};

const ATTEMPTS: u32 = 3;
const UDP_MBIT: u32 = 100;
const INTERVAL: Duration = Duration::from_secs(1);
/// Weights of the route unless a file says otherwise.
pub const WEIGHTS: [(&str, u32); 2] = [("echo-v1", 60), ("echo-v2", 40)];
const PAIRS: std::ops::RangeInclusive<u16> = 1..=99;

/// What a campaign does.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Name in every manifest.
    pub name: String,
    /// What is measured.
    pub study: Study,
    /// Where.
    pub target: String,
    /// What the order is drawn from.
    pub seed: u64,
    /// Metrics that it is made for, by name.
    pub primary: Vec<String>,
    /// Blocks.
    pub repetitions: u32,
    /// Load of a run.
    pub duration: Duration,
    /// Load before it that no figure uses.
    pub warm_up: Duration,
    /// How often a run is tried.
    pub attempts: u32,
    /// The cases.
    pub cases: Vec<Case>,
    /// Options of iperf3.
    pub iperf3: Iperf3,
    /// What k6 runs.
    pub script: Script,
    /// Whether k6 opens a connection for each request.
    pub no_connection_reuse: bool,
    /// Weights of the route's services, by name.
    pub weights: Vec<(String, u32)>,
    /// Length of the probes' intervals.
    pub interval: Duration,
    /// Further arguments of the probes.
    pub probe_arguments: Vec<String>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Name in manifests.
    pub name: String,
    /// What tells it from all others, for ids: the name, and each factor that has several values.
    pub label: String,
    /// What it sets, by factor.
    pub factors: BTreeMap<String, String>,
    /// The same, typed.
    pub setting: Setting,
}

/// What a case sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Of the egress study.
    Egress {
        /// How pods' packets are routed and translated.
        datapath: Datapath,
        /// Whether the pod is selected by the policy.
        gateway: bool,
        /// UDP instead of TCP.
        udp: bool,
        /// Clients and servers.
        pairs: u16,
    },
    /// Of the ingress study.
    Ingress {
        /// The Gateway's data plane.
        data_plane: DataPlane,
        /// Virtual users.
        users: u32,
    },
}

/// Options of iperf3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iperf3 {
    /// Streams of a client.
    pub parallel: u32,
    /// Which end sends.
    pub direction: Direction,
    /// Rate of UDP.
    pub udp_mbit: u32,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// What the command line changes.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file's quick form.
    pub quick: bool,
    /// Another target.
    pub target: Option<String>,
    /// Another seed.
    pub seed: Option<u64>,
    /// Other blocks.
    pub repetitions: Option<u32>,
    /// Another load.
    pub duration: Option<Duration>,
}

impl Campaign {
    /// Reads a file's text for a study; errors name the file and the line.
    pub fn read(
        path: &Path,
        text: &str,
        study: Study,
        overrides: &Overrides,
    ) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = file::parse(text).map_err(|said| anyhow!("{shown}: {said}"))?;
        Self::validated(file, study, overrides).with_context(|| shown.to_string())
    }

    fn validated(mut file: File, study: Study, overrides: &Overrides) -> anyhow::Result<Self> {
        if file.study.value != study {
            bail!(
                "{}: a campaign of study {}; run it with `cargo xtask campaign {}`",
                line(&file.study),
                file.study.value.name(),
                file.study.value.name()
            );
        }
        let quick = std::mem::take(&mut file.quick);
        if overrides.quick {
            file.repetitions = quick.repetitions.unwrap_or(file.repetitions);
            file.duration = quick.duration.unwrap_or(file.duration);
            file.warm_up = quick.warm_up.or(file.warm_up);
            replace_factors(&mut file, &quick.factors)?;
        }
        let name = named(&file.name)?;
        let cases = cases(&file, study)?;
        let primary = file.primary.iter().map(metric);
        let primary = primary.collect::<anyhow::Result<_>>()?;
        let number = |given: Option<Positive>, usual: u32| given.map_or(usual, |given| given.0);
        let duration = overrides.duration.unwrap_or(file.duration.0);
        let warm_up = file.warm_up.map_or(Duration::ZERO, |time| time.0);
        // iperf3 knows no parts of seconds, and k6 needs none.
        if duration.is_zero() || (duration + warm_up).subsec_nanos() > 0 {
            bail!("duration {duration:?}, warm_up {warm_up:?}: use whole seconds, at least 1s");
        }
        let weights = if file.weights.is_empty() {
            WEIGHTS
                .map(|(name, weight)| (name.to_owned(), weight))
                .to_vec()
        } else {
            file.weights.into_iter().collect()
        };
        Ok(Self {
            name,
            study,
            target: overrides.target.clone().unwrap_or(file.target),
            seed: overrides.seed.unwrap_or(file.seed),
            primary,
            repetitions: overrides.repetitions.unwrap_or(file.repetitions.0),
            duration,
            warm_up,
            attempts: number(file.attempts, ATTEMPTS),
            cases,
            iperf3: Iperf3 {
                parallel: number(file.iperf3.parallel, 1),
                direction: file.iperf3.direction,
                udp_mbit: number(file.iperf3.udp_mbit, UDP_MBIT),
                arguments: file.iperf3.arguments,
            },
            script: file.k6.script,
            no_connection_reuse: file.k6.no_connection_reuse,
            weights,
            interval: file.probe.interval.map_or(INTERVAL, |time| time.0),
            probe_arguments: file.probe.arguments,
        })
    }

    /// Load of one run, warm-up included.
    pub fn load(&self) -> Duration {
        self.warm_up + self.duration
    }

    /// What iperf3's client is told beside the protocol and the server.
    pub fn iperf3_arguments(&self) -> Vec<String> {
        let options = &self.iperf3;
        let mut arguments = vec!["--parallel".to_owned(), options.parallel.to_string()];
        let omitted_s = self.warm_up.as_secs();
        if omitted_s > 0 {
            arguments.extend(["--omit".to_owned(), omitted_s.to_string()]);
        }
        match options.direction {
            Direction::Forward => {}
            Direction::Reverse => arguments.push("--reverse".to_owned()),
            Direction::Bidirectional => arguments.push("--bidir".to_owned()),
        }
        arguments.extend(options.arguments.iter().cloned());
        arguments
    }
}

/// The name of a metric, which is one that `weighbridge compare` knows.
fn metric(name: &Spanned<String>) -> anyhow::Result<String> {
    match name.value.parse::<MetricChoice>() {
        Ok(_) => Ok(name.value.clone()),
        Err(unknown) => bail!("{}: primary: {unknown}", line(name)),
    }
}

fn replace_factors(file: &mut File, factors: &Factors) -> anyhow::Result<()> {
    for (factor, values) in factors {
        let mut of_cases = file
            .cases
            .iter_mut()
            .filter_map(|case| case.factors.get_mut(factor))
            .peekable();
        if of_cases.peek().is_none() {
            bail!("{}: no case sets the factor `{factor}`", line(values));
        }
        of_cases.for_each(|of_case| *of_case = values.clone());
    }
    Ok(())
}

fn cases(file: &File, study: Study) -> anyhow::Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    for case in &file.cases {
        let name = named(&case.name)?;
        let known = known_factors(study);
        if let Some((factor, values)) = case
            .factors
            .iter()
            .find(|(factor, _)| !known.contains(&factor.as_str()))
        {
            bail!(
                "{}: case {name}: no factor `{factor}` in the {} study: one of {}",
                line(values),
                study.name(),
                known.join(", ")
            );
        }
        for factors in combinations(&case.factors) {
            let mut label = name.clone();
            for (factor, value) in &factors {
                if case.factors[factor].value.0.len() > 1 {
                    label = format!("{label}-{}-{value}", factor.replace('_', "-"));
                }
            }
            let (factors, setting) = setting(study, &name, factors, case)?;
            if cases.iter().any(|other| other.label == label) {
                bail!("{}: a second case {label}", line(&case.name));
            }
            cases.push(Case {
                name: name.clone(),
                label,
                factors,
                setting,
            });
        }
    }
    if cases.is_empty() {
        bail!("no cases: at least one");
    }
    Ok(cases)
}

fn known_factors(study: Study) -> &'static [&'static str] {
    match study {
        Study::Egress => &["datapath", "egress", "protocol", "pairs"],
        Study::Ingress => &["data_plane", "users"],
    }
}

/// Every combination of the factors' values, the last factor changing fastest.
fn combinations(factors: &Factors) -> Vec<BTreeMap<String, String>> {
    let mut combinations = vec![BTreeMap::new()];
    for (factor, values) in factors {
        let with = |combination: &BTreeMap<String, String>| {
            let combination = combination.clone();
            let values = values.value.0.iter();
            let extended = values.map(move |value| {
                let mut extended = combination.clone();
                extended.insert(factor.clone(), value.clone());
                extended
            });
            extended.collect::<Vec<_>>()
        };
        combinations = combinations.iter().flat_map(with).collect();
    }
    combinations
}

/// The factors with their defaults, as text and typed.
fn setting(
    study: Study,
    name: &str,
    mut factors: BTreeMap<String, String>,
    case: &file::Case,
) -> anyhow::Result<(BTreeMap<String, String>, Setting)> {
    let mut take = |factor: &str, usual: Option<&str>| {
        let value = factors
            .get(factor)
            .cloned()
            .or_else(|| usual.map(str::to_owned));
        let value = value.with_context(|| {
            format!(
                "{}: case {name}: the factor `{factor}` is missing",
                line(&case.name)
            )
        })?;
        factors.insert(factor.to_owned(), value.clone());
        Ok::<_, anyhow::Error>(value)
    };
    let refused = |factor: &str, value: &str, wanted: &str| {
        let place = case
            .factors
            .get(factor)
            .map_or_else(|| line(&case.name), line);
        anyhow!("{place}: case {name}: {factor} `{value}`: {wanted}")
    };
    let setting = match study {
        Study::Egress => {
            let (datapath, egress) = (take("datapath", None)?, take("egress", None)?);
            let (protocol, pairs) = (take("protocol", Some("tcp"))?, take("pairs", Some("1"))?);
            let pairs_number = pairs.parse().ok().filter(|number| PAIRS.contains(number));
            Setting::Egress {
                datapath: chosen(
                    &datapath,
                    [Datapath::Netfilter, Datapath::Bpf],
                    Datapath::name,
                )
                .ok_or_else(|| refused("datapath", &datapath, "netfilter or bpf"))?,
                gateway: chosen(
                    &egress,
                    [true, false],
                    |way| if way { "gateway" } else { "base" },
                )
                .ok_or_else(|| refused("egress", &egress, "gateway or base"))?,
                udp: chosen(
                    &protocol,
                    [true, false],
                    |udp| if udp { "udp" } else { "tcp" },
                )
                .ok_or_else(|| refused("protocol", &protocol, "tcp or udp"))?,
                pairs: pairs_number.ok_or_else(|| refused("pairs", &pairs, "1 to 99"))?,
            }
        }
        Study::Ingress => {
            let (data_plane, users) = (take("data_plane", None)?, take("users", None)?);
            let users_number = users.parse().ok().filter(|users| *users > 0);
            Setting::Ingress {
                data_plane: chosen(&data_plane, DataPlane::ALL, DataPlane::name)
                    .ok_or_else(|| refused("data_plane", &data_plane, "nginx or envoy"))?,
                users: users_number.ok_or_else(|| refused("users", &users, "a number from 1"))?,
            }
        }
    };
    Ok((factors, setting))
}

/// The candidate of that name.
fn chosen<T: Copy, const N: usize>(
    value: &str,
    candidates: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Option<T> {
    candidates.into_iter().find(|one| name(*one) == value)
}

/// A name that can be part of a folder's name.
fn named(name: &Spanned<String>) -> anyhow::Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.value.is_empty() || name.value.starts_with('.') || !name.value.bytes().all(plain) {
        bail!(
            "{}: name `{}`: use letters, digits, `-`, `_` and `.`",
            line(name),
            name.value
        );
    }
    Ok(name.value.clone())
}

fn line<T>(value: &Spanned<T>) -> String {
    format!("line {}", value.referenced.line())
}

#[cfg(test)]
mod tests;
