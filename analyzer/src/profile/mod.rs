//! Samples of the processors by component of the network stack.
//!
//! Pure: rows come in, shares and folded stacks go out. [`component`] says which component a stack
//! belongs to and why, [`flamegraph`] draws the stacks. It refuses to count one kernel twice: nodes
//! that share a boot id may both have written what the whole kernel did.

pub mod component;
pub mod flamegraph;
mod once;
mod symbols;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use trace_schema::profile::{ProfileEvent, ProfileMode, ProfileRow};

pub use self::component::{Component, Netfilter, classify};
pub use self::once::OneNodeAKernel;
use crate::stats::Interval;
use crate::stats::proportion::wilson;

/// Samples, added up by stack, command and mode.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    samples: HashMap<Place, u64>,
    kernels: OneNodeAKernel,
    sources: BTreeSet<(ProfileEvent, i32)>,
    repeated: u64,
}

/// Where a processor was met.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    mode: ProfileMode,
    command: String,
    stack: String,
}

/// The share of one component in everything that processors did but idle.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The component; never [`Component::Idle`].
    pub component: Component,
    /// Its samples.
    pub samples: u64,
    /// Samples ÷ busy samples.
    pub share: f64,
    /// Wilson's interval of the share.
    pub interval: Interval,
}

impl Profile {
    /// Adds a row, unless another node of the same kernel has covered its interval already; says
    /// whether it did.
    pub fn add(&mut self, row: &ProfileRow) -> bool {
        let interval_us = (row.interval_start_us, row.interval_end_us);
        let samples = u64::try_from(row.samples).unwrap_or(0);
        if !self.kernels.take(&row.boot_id, &row.node, interval_us) {
            self.repeated += samples;
            return false;
        }
        self.sources.insert((row.event, row.frequency_hz));
        let place = Place {
            mode: row.mode,
            command: row.command.clone(),
            stack: row.stack.clone(),
        };
        *self.samples.entry(place).or_default() += samples;
        true
    }

    /// The boot ids of the kernels that samples are of.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.kernels.kernels()
    }

    /// All samples, idle ones included.
    pub fn samples(&self) -> u64 {
        self.samples.values().sum()
    }

    /// Samples outside the idle task: what shares are shares of.
    pub fn busy_samples(&self) -> u64 {
        self.samples() - self.idle_samples()
    }

    /// Samples in the idle task.
    pub fn idle_samples(&self) -> u64 {
        let idle = |(place, samples): (&Place, &u64)| {
            (place.mode == ProfileMode::Idle).then_some(*samples)
        };
        self.samples.iter().filter_map(idle).sum()
    }

    /// Samples that were left out, since another node of their kernel had them as well.
    pub fn repeated_samples(&self) -> u64 {
        self.repeated
    }

    /// What a sample stands for, with the frequency asked for. More than one entry means that samples
    /// of different weight were added up.
    pub fn sources(&self) -> &BTreeSet<(ProfileEvent, i32)> {
        &self.sources
    }

    /// Components by their samples, most first, with the share's interval at a confidence such as
    /// 0.95. Empty where there is no busy sample, or for a confidence that is none.
    ///
    /// Wilson's interval assumes that samples are independent; they are taken at fixed times, so it
    /// is a little wide for work that goes on evenly, and too narrow for work in long bursts.
    pub fn shares(&self, confidence: f64) -> Vec<Share> {
        let busy = self.busy_samples();
        let mut shares: Vec<Share> = self
            .by_component()
            .into_iter()
            .filter(|(component, _)| *component != Component::Idle)
            .filter_map(|(component, samples)| {
                Some(Share {
                    component,
                    samples,
                    share: samples as f64 / busy as f64,
                    interval: wilson(samples, busy, confidence)?,
                })
            })
            .collect();
        shares.sort_by(|one, other| {
            let by_samples = other.samples.cmp(&one.samples);
            by_samples.then_with(|| one.component.cmp(&other.component))
        });
        shares
    }

    /// Samples by component, idle included.
    pub fn by_component(&self) -> BTreeMap<Component, u64> {
        let mut components = BTreeMap::new();
        for (place, samples) in &self.samples {
            let component = classify(&place.stack, place.mode, &place.command);
            *components.entry(component).or_default() += samples;
        }
        components
    }

    /// Stacks in the form that flame graph tools read: frames joined by `;`, outermost first, a blank,
    /// and the samples. The outermost frame is the command, the idle task is left out.
    pub fn folded(&self) -> Vec<String> {
        let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
        for (place, samples) in &self.samples {
            // A separator within a command would pass for a frame.
            let command = place.command.replace(';', ":");
            let stack = match (place.mode, place.stack.as_str()) {
                (ProfileMode::Idle, _) => continue,
                (ProfileMode::User, _) => format!("{command};[user space]"),
                (ProfileMode::Kernel, "") => format!("{command};[kernel]"),
                (ProfileMode::Kernel, stack) => format!("{command};{stack}"),
            };
            *stacks.entry(stack).or_default() += samples;
        }
        stacks
            .into_iter()
            .map(|(stack, samples)| format!("{stack} {samples}"))
            .collect()
    }
}
