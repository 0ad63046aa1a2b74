//! A campaign's YAML file, as text: every field typed, unknown ones refused with their line.
//!
//! What the words mean together is [`super::config`]'s to judge. The fields are explained where
//! their readers look for them, in the files below `deploy/campaigns`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Name in every manifest.
    pub name: Spanned<String>,
    /// What is measured.
    pub study: Spanned<Study>,
    /// Where, unless the command line says otherwise.
    #[serde(default = "lab_target")]
    pub target: String,
    /// What the order is drawn from.
    pub seed: u64,
    /// Metrics that the campaign is made for, as `weighbridge compare --metric` takes them.
    #[serde(default)]
    pub primary: Vec<Spanned<String>>,
    /// Blocks, each with every case once.
    pub repetitions: Positive,
    /// Load of a run.
    pub duration: Time,
    /// Load before it that no figure uses.
    #[serde(default)]
    pub warm_up: Option<Time>,
    /// How often a run is tried before the campaign goes on without it.
    #[serde(default)]
    pub attempts: Option<Positive>,
    /// The cases.
    pub cases: Vec<Case>,
    /// Options of iperf3.
    #[serde(default)]
    pub iperf3: Iperf3,
    /// Options of k6.
    #[serde(default)]
    pub k6: K6,
    /// The route's weights.
    #[serde(default)]
    pub weights: BTreeMap<String, u32>,
    /// Options of the probes.
    #[serde(default)]
    pub probe: Probe,
    /// What `--quick` changes.
    #[serde(default)]
    pub quick: Quick,
}

/// What a campaign measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Study {
    /// Where traffic leaves, and what that costs.
    Egress,
    /// How requests are split, and what that costs.
    Ingress,
}

impl Study {
    /// The name on command lines and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }
}

/// A case, or several that differ in the factors that list more than one value.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Name in manifests.
    pub name: Spanned<String>,
    /// What it sets.
    pub factors: Factors,
}

/// Values by factor.
pub type Factors = BTreeMap<String, Spanned<OneOrMany>>;

/// Options of iperf3.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iperf3 {
    /// Streams of a client (`-P`).
    #[serde(default)]
    pub parallel: Option<Positive>,
    /// Which end sends (`-R`, `--bidir`).
    #[serde(default)]
    pub direction: Direction,
    /// Rate of UDP, megabits a second.
    #[serde(default)]
    pub udp_mbit: Option<Positive>,
    /// Further arguments of the client.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// Which end of iperf3 sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The pod.
    #[default]
    Forward,
    /// The server.
    Reverse,
    /// Both.
    Bidirectional,
}

/// Options of k6.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct K6 {
    /// What it runs.
    #[serde(default)]
    pub script: Script,
    /// A connection of its own for each request.
    #[serde(default)]
    pub no_connection_reuse: bool,
}

/// What k6 runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Script {
    /// A line for each request.
    #[default]
    Classic,
    /// Every sample as NDJSON and CSV.
    Counter,
}

/// Options of the probes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Length of an interval.
    #[serde(default)]
    pub interval: Option<Time>,
    /// Further arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// What `--quick` changes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quick {
    /// Blocks.
    #[serde(default)]
    pub repetitions: Option<Positive>,
    /// Load of a run.
    #[serde(default)]
    pub duration: Option<Time>,
    /// Load before it.
    #[serde(default)]
    pub warm_up: Option<Time>,
    /// Values of factors in every case that sets them.
    #[serde(default)]
    pub factors: Factors,
}

/// Reads the file's text; the error is one line that names line and field.
pub fn parse(text: &str) -> Result<File, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        let said = error.without_snippet().to_string();
        said.lines().next().unwrap_or_default().to_owned()
    })
}

fn lab_target() -> String {
    super::target::LAB.to_owned()
}

/// A number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positive(pub u32);

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            0 => Err(de::Error::custom("0 is too few: at least 1")),
            number => Ok(Self(number)),
        }
    }
}

/// A time with its unit, as in `12m` or `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_duration(&text);
        time.map(Self)
            .map_err(|error| de::Error::custom(format!("time `{text}`: {error}, as in 12m or 8s")))
    }
}

/// A factor's value or values, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalars(PhantomData::<Self>))
    }
}

/// One value of a factor.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalars(PhantomData::<Self>))
    }
}

/// Takes a word or a number; where many are allowed, a list of them.
struct Scalars<T>(PhantomData<T>);

trait FromScalars {
    const MANY: bool;
    fn from_scalars(scalars: Vec<String>) -> Self;
}

impl FromScalars for Scalar {
    const MANY: bool = false;
    fn from_scalars(scalars: Vec<String>) -> Self {
        Self(scalars.concat())
    }
}

impl FromScalars for OneOrMany {
    const MANY: bool = true;
    fn from_scalars(scalars: Vec<String>) -> Self {
        Self(scalars)
    }
}

impl<'de, T: FromScalars> Visitor<'de> for Scalars<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if T::MANY {
            "a word, a number, or a list of them"
        } else {
            "a word or a number"
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Ok(T::from_scalars(vec![text.to_owned()]))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Ok(T::from_scalars(vec![number.to_string()]))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Ok(T::from_scalars(vec![number.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<T, A::Error> {
        if !T::MANY {
            return Err(de::Error::custom("a list within a list"));
        }
        let mut scalars = Vec::new();
        while let Some(Scalar(text)) = sequence.next_element()? {
            scalars.push(text);
        }
        if scalars.is_empty() {
            return Err(de::Error::custom("an empty list: at least one value"));
        }
        Ok(T::from_scalars(scalars))
    }
}
