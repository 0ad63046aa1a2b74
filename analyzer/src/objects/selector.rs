//! Kubernetes label selectors.
//!
//! The rules are those of `metav1.LabelSelectorAsSelector`: requirements are ANDed, an empty
//! selector selects everything, and `NotIn` also selects objects without the label.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// A label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be there with these values.
    pub match_labels: Option<Labels>,
    /// Further requirements.
    pub match_expressions: Option<Vec<Requirement>>,
}

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// How the label is compared.
    pub operator: Operator,
    /// Values, for `In` and `NotIn`.
    #[serde(default)]
    pub values: Option<Vec<String>>,
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label is not there or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether the labels meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }

    /// Whether labels given by a look-up meet every requirement.
    pub fn matches_by<'v>(&self, label: impl Fn(&str) -> Option<&'v str>) -> bool {
        let equal = self.match_labels.iter().flatten();
        let mut required = self.match_expressions.iter().flatten();
        equal
            .into_iter()
            .all(|(key, value)| label(key) == Some(value))
            && required.all(|requirement| requirement.holds(label(&requirement.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().flatten().any(|one| one == value);
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}
