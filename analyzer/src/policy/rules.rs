//! All policies as they stand between two changes.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::cluster::Cluster;
use super::{EngineOptions, antrea, cilium};
use crate::objects::{ALWAYS_US, History, STILL_US, Timeline};

/// The policies while neither they nor what they depend on changes.
#[derive(Debug)]
pub(super) struct Rules {
    pub cluster: Arc<Cluster>,
    pub antrea: Vec<Arc<antrea::Rule>>,
    pub cilium: Vec<Arc<cilium::Rule>>,
}

/// Rules over time; each stretch is worked out when it is first asked for.
#[derive(Debug)]
pub(super) struct Epochs {
    starts_us: Vec<i64>,
    rules: Vec<OnceLock<Rules>>,
}

impl Epochs {
    pub(super) fn of(history: &History) -> Self {
        let mut starts_us = BTreeSet::from([ALWAYS_US]);
        add_changes(&mut starts_us, &history.nodes);
        add_changes(&mut starts_us, &history.namespaces);
        add_changes(&mut starts_us, &history.service_cidrs);
        add_changes(&mut starts_us, &history.egresses);
        add_changes(&mut starts_us, &history.external_ip_pools);
        add_changes(&mut starts_us, &history.cilium_policies);
        add_changes(&mut starts_us, &history.cilium_nodes);
        let starts_us: Vec<i64> = starts_us.into_iter().collect();
        let rules = starts_us.iter().map(|_| OnceLock::new()).collect();
        Self { starts_us, rules }
    }

    /// When stretches begin, ascending.
    pub(super) fn starts_us(&self) -> &[i64] {
        &self.starts_us
    }

    /// The rules at a moment.
    pub(super) fn at(&self, history: &History, options: &EngineOptions, at_us: i64) -> &Rules {
        let index = self
            .starts_us
            .partition_point(|start_us| *start_us <= at_us)
            - 1;
        self.rules[index].get_or_init(|| Rules {
            cluster: Arc::new(Cluster::at(history, options, at_us)),
            antrea: antrea::rules_at(history, at_us),
            cilium: cilium::rules_at(history, options, at_us),
        })
    }
}

/// Adds the times at which objects of a kind begin, change and end.
pub(super) fn add_changes<T>(times_us: &mut BTreeSet<i64>, timeline: &Timeline<T>) {
    for (_, version) in timeline.all() {
        times_us.insert(version.from_us);
        if version.until_us != STILL_US {
            times_us.insert(version.until_us);
        }
    }
}
