//! The engine that answers what the policies demand.

use std::net::IpAddr;

use super::{EngineOptions, Expectation, Expected, Lint, PodIdentity, PolicyError};
use crate::objects::{ALWAYS_US, History};

/// Answers what the policies demand, at any moment of a history.
#[derive(Debug)]
pub struct Engine<'a> {
    history: &'a History,
    options: EngineOptions,
}

impl<'a> Engine<'a> {
    /// Prepares the policies of a history.
    pub fn new(history: &'a History, options: EngineOptions) -> Result<Self, PolicyError> {
        Ok(Self { history, options })
    }

    /// What should happen to a new connection of `pod` to `dst` (after service translation, where
    /// that is known) at `at_us`.
    pub fn expect(&self, pod: &PodIdentity, dst: IpAddr, at_us: i64) -> Expected {
        let _ = (self.history, &self.options, pod, dst, at_us);
        Expected {
            expectation: Expectation::Unknown {
                reason: "the pod is not in the objects".into(),
            },
            policies: Vec::new(),
            since_us: ALWAYS_US,
            placement_notes: Vec::new(),
            pod_node: None,
        }
    }

    /// Policies that do not do what their authors meant.
    pub fn lints(&self) -> Vec<Lint> {
        Vec::new()
    }

    /// Times at which an expectation can change for any pod, ascending.
    pub fn change_times(&self) -> &[i64] {
        &[]
    }
}
