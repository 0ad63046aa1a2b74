//! The split report: what `--format json` prints, field by field, and what tables are drawn from.
//!
//! Shares are numbers from 0 to 1. Backends of a rule stand in its order wherever they are listed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::Outcome;
use super::super::report::Moment;
use super::latency::Latency;
use super::losses::ResponseLoss;
use crate::policy::gateway_api::{BackendId, Fate, Implementation, RuleId};
use crate::stats::Interval;
use crate::stats::dispersion::{ClusteredShare, Dispersion, Tarone};
use crate::stats::distance::Distance;
use crate::stats::multinomial::GoodnessOfFit;

/// Everything that `weighbridge split` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitReport {
    /// Version of this document.
    pub schema_version: u32,
    /// What it amounts to.
    pub result: Outcome,
    /// The margin that the result stands for.
    pub margin: f64,
    /// Probability of error of each verdict.
    pub alpha: f64,
    /// Length of a window, microseconds.
    pub window_us: i64,
    /// The judged rules.
    pub rules: Vec<RuleReport>,
    /// What was lost on the way to the dataset.
    pub losses: Vec<ResponseLoss>,
    /// What no verdict covers but a reader should know.
    pub notes: Vec<String>,
}

/// One rule at the Gateways of one implementation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleReport {
    /// The rule.
    pub rule: RuleId,
    /// Gateways, `namespace/name`.
    pub gateways: Vec<String>,
    /// Their controller.
    pub controller: Option<String>,
    /// Whose rules of configuration apply.
    pub implementation: Implementation,
    /// What it amounts to.
    pub result: Outcome,
    /// The same in a sentence.
    pub summary: String,
    /// What takes a pass away.
    pub inconclusive_because: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// By the weights that held.
    pub stages: Vec<StageReport>,
    /// Responses to mirrored requests.
    pub mirrored: Vec<Mirrored>,
    /// Responses at its backends that the Gateways did not ask for.
    pub apart: Vec<Apart>,
    /// What the backends took to answer.
    pub latency: BTreeMap<String, Latency>,
}

/// A stretch of time in which a rule's weights stayed the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageReport {
    /// When these weights came, or the first response.
    pub from: Moment,
    /// When the next ones came, or the last response.
    pub to: Moment,
    /// What it amounts to.
    pub result: Outcome,
    /// When the data plane took these weights; absent where nothing changed.
    pub takeover: Option<Takeover>,
    /// Responses from before it did, which are not judged.
    pub set_apart: u64,
    /// Responses that are judged.
    pub responses: u64,
    /// By backend.
    pub backends: Vec<BackendReport>,
    /// Against what, and how it came out; the one that the result stands for first.
    pub judgements: Vec<Judgement>,
    /// Share of all requests that the Gateway should answer with an error of its own.
    pub gateway_error_share: f64,
    /// By window.
    pub windows: Vec<WindowReport>,
}

/// When a data plane took new weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Takeover {
    /// Whether it did.
    pub state: TakeoverState,
    /// How long after the change, microseconds.
    pub delay_us: Option<i64>,
    /// The delay may be off by so much, microseconds.
    pub precision_us: i64,
}

/// Whether a data plane took new weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TakeoverState {
    /// It did.
    Took,
    /// It split by the old ones for as long as these held.
    Never,
    /// There are too few responses to say.
    Unknown,
}

/// A backend in a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendReport {
    /// The backend.
    pub backend: BackendId,
    /// Weight; absent where the rule no longer names it.
    pub weight: Option<u32>,
    /// What becomes of its requests.
    pub fate: Option<Fate>,
    /// Share of all requests by the specification.
    pub spec_share: f64,
    /// Share of all requests that the implementation configures.
    pub configured_share: Option<f64>,
    /// Its responses.
    pub responses: u64,
    /// Of which without a status that could be read.
    pub unparsed: u64,
    /// Of which by status.
    pub statuses: BTreeMap<String, u64>,
    /// Of which by pod.
    pub pods: BTreeMap<String, u64>,
    /// Its part of the responses; absent without any.
    pub share: Option<f64>,
    /// 95 % interval of it.
    pub interval: Option<Interval>,
    /// How that was made: `wilson`, `clopper_pearson` or, for more than two backends, `goodman`.
    pub interval_method: &'static str,
    /// The same with windows as the unit that repeats.
    pub clustered: Option<ClusteredShare>,
    /// How windows scatter about their own share, as an index.
    pub dispersion: Option<Dispersion>,
    /// The same as Tarone's Z.
    pub tarone: Option<Tarone>,
}

/// A reference, and how the responses stand against it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// What the shares are of.
    pub reference: Reference,
    /// At the margin that was asked for.
    pub result: Outcome,
    /// Shares of the backends' responses, by backend.
    pub shares: Vec<f64>,
    /// Two-sided exact binomial p-values, by backend, adjusted by Holm.
    pub exact_p: Vec<f64>,
    /// G-test of all shares at once.
    pub g_test: Option<GoodnessOfFit>,
    /// Total variation from the shares, beside what a perfect splitter shows.
    pub distance: Option<Distance>,
    /// By margin.
    pub margins: Vec<MarginVerdict>,
    /// A backend whose share is 0 answered.
    pub impossible: bool,
}

/// What shares are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// What the implementation configures.
    Configured,
    /// What the specification says.
    Specification,
}

/// Equivalence at a margin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MarginVerdict {
    /// The margin.
    pub margin: f64,
    /// What it amounts to.
    pub result: Outcome,
    /// Requests that show a perfect split to be one nine times in ten.
    pub requests_needed: Option<u64>,
    /// 90 % interval by backend: within the margin is a pass.
    pub intervals: Vec<Interval>,
}

/// A window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowReport {
    /// Start.
    pub from: Moment,
    /// Responses by backend.
    pub responses: Vec<u64>,
    /// Shares by backend; empty without a response.
    pub shares: Vec<f64>,
    /// 95 % intervals (Wilson) by backend.
    pub intervals: Vec<Interval>,
    /// Total variation from the reference's shares.
    pub distance: Option<Distance>,
}

/// Responses to mirrored requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mirrored {
    /// The target.
    pub backend: BackendId,
    /// Its responses to the Gateways.
    pub responses: u64,
    /// Share of the requests that should be copied, by the specification.
    pub spec_share: f64,
    /// As the implementation configures it.
    pub configured_share: f64,
}

/// Responses that somebody else asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Apart {
    /// Who: `node` (the kubelet's probes), `loopback`, `other`.
    pub asker: &'static str,
    /// The backend.
    pub backend: BackendId,
    /// Responses.
    pub responses: u64,
}
