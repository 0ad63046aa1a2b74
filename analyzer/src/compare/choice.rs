//! Which metrics a name stands for: one, or every part of a quantity.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::measurements::{Metric, Quantity, UnknownMetric};

/// Which metrics a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricChoice {
    /// This one; a quantity without a part also stands for its parts where the whole is not there.
    One(Metric),
    /// Every part of a quantity.
    EveryPart(Quantity),
}

impl MetricChoice {
    /// Whether a metric is one of those.
    pub(super) fn takes(&self, metric: &Metric) -> bool {
        match self {
            Self::One(one) if one.part.is_none() => metric.quantity == one.quantity,
            Self::One(one) => metric == one,
            Self::EveryPart(quantity) => metric.quantity == *quantity && metric.part.is_some(),
        }
    }

    /// Those of the metrics that were measured.
    pub(super) fn among(&self, known: &BTreeSet<Metric>) -> Vec<Metric> {
        match self {
            Self::One(metric) if metric.part.is_none() => whole_or_parts(metric.quantity, known),
            Self::One(metric) => known.get(metric).cloned().into_iter().collect(),
            Self::EveryPart(quantity) => parts(*quantity, known),
        }
    }
}

impl fmt::Display for MetricChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(metric) => metric.fmt(out),
            Self::EveryPart(quantity) => write!(out, "{}[*]", quantity.name()),
        }
    }
}

impl FromStr for MetricChoice {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let every = text.strip_suffix("[*]").and_then(|name| {
            let mut quantities = Quantity::all();
            quantities.find(|quantity| quantity.name() == name)
        });
        match every {
            Some(quantity) => Ok(Self::EveryPart(quantity)),
            None => text.parse().map(Self::One),
        }
    }
}

/// A quantity of the whole run, or of its parts where the whole was not measured.
pub(super) fn whole_or_parts(quantity: Quantity, known: &BTreeSet<Metric>) -> Vec<Metric> {
    let whole = Metric::whole(quantity);
    match known.contains(&whole) {
        true => vec![whole],
        false => parts(quantity, known),
    }
}

fn parts(quantity: Quantity, known: &BTreeSet<Metric>) -> Vec<Metric> {
    let parts = known
        .iter()
        .filter(|metric| metric.quantity == quantity && metric.part.is_some());
    parts.cloned().collect()
}
