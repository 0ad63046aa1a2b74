//! The profile's components with their costs: total × share ÷ packets.
//!
//! Samples cover what the whole kernel was charged, softirqs and user space alike, so a component's
//! share is one of everything that the sampled kernels were charged in the run.

use std::collections::BTreeMap;

use serde::Serialize;
use trace_schema::profile::{ProfileEvent, ProfileRow};

use super::machine::{Kernel, coverage};
use super::report::{Cost, CycleBasis, PerUnit};
use super::span::{WHOLE, Weighted, weight};
use super::tally::{Charge, RunTally};
use super::{CONFIDENCE, Part, TOLERANCE};
use crate::profile::{Component, Profile};
use crate::stats::Interval;
use crate::verdict::evidence::Window;

/// Where the processors were met, by component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Components {
    /// What samples stand for, with the samples a second and CPU that were asked for; several where
    /// samples of different weight were added up.
    pub sources: Vec<SampleSource>,
    /// Samples outside the idle task.
    pub busy_samples: u64,
    /// Samples in it.
    pub idle_samples: u64,
    /// The part of what was charged that the sampled kernels were charged.
    pub charged_share: f64,
    /// How much of the run samples were taken for, on the kernel with the least.
    pub covered_share: f64,
    /// Samples left out, since another node of the kernel had them as well.
    pub repeated_samples: u64,
    /// By component, the dearest first.
    pub components: Vec<ComponentCost>,
    /// User space, by whose processes they are.
    pub user_space: Vec<UserCost>,
}

/// The processes of a part, outside the kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserCost {
    /// Whose.
    pub part: Part,
    /// Their samples.
    pub samples: u64,
    /// Their share of the busy samples.
    pub share: f64,
    /// Their cost by packet at the uplinks.
    pub per_wire_packet: PerUnit,
    /// Their cost by packet of the client pod.
    pub per_client_packet: PerUnit,
}

/// What a sample stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SampleSource {
    /// Cycles or the CPU clock.
    pub event: ProfileEvent,
    /// Samples a second and CPU that were asked for.
    pub frequency_hz: i32,
}

/// A component of the network stack, or a process in user space.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentCost {
    /// What it is, with its part, program or command.
    pub component: String,
    /// The class that it belongs to.
    pub group: String,
    /// Its samples.
    pub samples: u64,
    /// Its share of the busy samples.
    pub share: f64,
    /// Wilson's interval of the share at 95 %.
    pub share_interval: Interval,
    /// Its cost by packet at the uplinks.
    pub per_wire_packet: PerUnit,
    /// Its cost by packet of the client pod.
    pub per_client_packet: PerUnit,
    /// Its cost by HTTP response.
    pub per_response: PerUnit,
}

/// Adds a row where most of its interval lies in the window; says whether it counts.
pub(super) fn add(profile: &mut Profile, row: &ProfileRow, window: &Window) -> bool {
    weight(row.interval_start_us, row.interval_end_us, window) * 2 >= WHOLE && profile.add(row)
}

/// The kernels that were sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sampled {
    /// The part of what was charged that they were charged, by time and by cycles.
    pub of_time: f64,
    pub of_cycles: f64,
    /// How much of the run samples were taken for, on the kernel with the least.
    pub covered: f64,
}

/// What of a run was sampled.
pub(super) fn sampled(run: &RunTally, kernels: &[Kernel], total: Charge) -> Sampled {
    let window = &run.scope.window;
    let mut of_sampled = Charge::default();
    let mut least: f64 = 1.0;
    for boot_id in run.profile.kernels() {
        let of_kernel = run
            .nodes
            .iter()
            .filter(|(place, _)| place.boot_id == boot_id);
        let spans = of_kernel.flat_map(|(_, node)| &node.sampled);
        least = least.min(coverage(spans, window).0);
    }
    let is_sampled = |kernel: &&Kernel| {
        run.profile
            .kernels()
            .any(|boot_id| boot_id == kernel.boot_id)
    };
    let of_kernels = kernels.iter().filter(is_sampled);
    of_kernels.for_each(|kernel| of_sampled.join(kernel.charged()));
    let part = |sampled: Weighted, all: Weighted| match all.amount() {
        0 => 0.0,
        all => sampled.amount() as f64 / all as f64,
    };
    Sampled {
        of_time: part(of_sampled.cpu_ns, total.cpu_ns),
        of_cycles: part(of_sampled.cycles, total.cycles),
        covered: least,
    }
}

/// The components of a run that was charged so much; none without a sample.
pub(super) fn components(
    profile: &Profile,
    user_samples: &BTreeMap<Part, u64>,
    charged: &Cost,
    sampled: Sampled,
) -> Option<Components> {
    if profile.samples() == 0 {
        return None;
    }
    let times = |unit: PerUnit, share: f64| PerUnit {
        cpu_ns: unit.cpu_ns.map(|figure| figure * sampled.of_time * share),
        cycles: unit.cycles.map(|figure| figure * sampled.of_cycles * share),
    };
    let shares = profile.shares(CONFIDENCE).into_iter();
    let components = shares.map(|found| ComponentCost {
        component: found.component.to_string(),
        group: found.component.group().to_owned(),
        samples: found.samples,
        share: found.share,
        share_interval: found.interval,
        per_wire_packet: times(charged.per_wire_packet, found.share),
        per_client_packet: times(charged.per_client_packet, found.share),
        per_response: times(charged.per_response, found.share),
    });
    let busy = profile.busy_samples();
    let user_space = user_samples.iter().map(|(&part, &samples)| {
        let share = samples as f64 / busy as f64;
        UserCost {
            part,
            samples,
            share,
            per_wire_packet: times(charged.per_wire_packet, share),
            per_client_packet: times(charged.per_client_packet, share),
        }
    });
    let sources = profile.sources().iter();
    let sources = sources.map(|&(event, frequency_hz)| SampleSource {
        event,
        frequency_hz,
    });
    Some(Components {
        sources: sources.collect(),
        busy_samples: busy,
        idle_samples: profile.idle_samples(),
        charged_share: sampled.of_time,
        covered_share: sampled.covered,
        repeated_samples: profile.repeated_samples(),
        components: components.collect(),
        user_space: user_space.collect(),
    })
}

/// What to know of a profile.
pub(super) fn notes(profile: &Components, basis: CycleBasis) -> Vec<String> {
    let mut notes = Vec::new();
    if profile.charged_share < 1.0 - TOLERANCE {
        notes.push(format!(
            "kernels without samples were charged {:.1} % of the time: components are the others' alone",
            (1.0 - profile.charged_share) * 100.0
        ));
    }
    if profile.covered_share < 1.0 - TOLERANCE {
        notes.push(format!(
            "samples were taken for {:.1} % of the run, and stand for all of it",
            profile.covered_share * 100.0
        ));
    }
    let of_clock = |source: &SampleSource| source.event == ProfileEvent::CpuClock;
    if basis == CycleBasis::Hardware && profile.sources.iter().any(of_clock) {
        notes.push(
            "samples are of CPU time and not of cycles: components' cycles take all to run at one rate"
                .to_owned(),
        );
    }
    if profile.sources.len() > 1 {
        notes.push("samples of different events or frequencies were added up".to_owned());
    }
    let hidden = Component::Hidden.to_string();
    if profile
        .components
        .iter()
        .any(|found| found.component == hidden)
    {
        notes.push(
            "the kernel hides its symbols: give the probe the capability SYSLOG to see components"
                .to_owned(),
        );
    }
    notes
}
