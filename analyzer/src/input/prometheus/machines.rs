//! Machines behind the samples: processor use and memory over a stretch of time.
//!
//! CPU use is 100·(1 − rate(idle)), memory MemTotal − MemAvailable. An answer to `query_range`
//! repeats a sample until the next scrape, so samples after which no counter moved are left out. On
//! kind every node's exporter shows the whole machine: instances whose counters cannot be told apart
//! by more than a scrape's delay are one machine and count once.

use std::collections::{BTreeMap, BTreeSet};

use super::Series;

const CPU: &str = "node_cpu_seconds_total";
const AVAILABLE: &str = "node_memory_MemAvailable_bytes";
const TOTAL: &str = "node_memory_MemTotal_bytes";
/// Labels that name an exporter, the first that is there.
const WHO: [&str; 4] = ["node", "nodename", "instance", "pod"];
/// Counters are written to a hundredth of a second.
const ROUNDING_S: f64 = 0.02;
/// How alike memory must be where there is no counter to tell by.
const ALIKE_MEMORY: f64 = 0.005;
const FEWEST_ALIKE: usize = 8;

/// One machine, whichever exporters showed it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Its exporters' names; one, unless they could not be told apart. Empty where samples name none.
    pub names: Vec<String>,
    /// Idle seconds and all seconds of all its CPUs by time.
    counters: Vec<Counter>,
    /// Memory in use by time.
    memory_bytes: Vec<(Option<i64>, f64)>,
    cpus: usize,
    /// Each CPU's and mode's counter, to tell machines apart.
    by_mode: BTreeMap<(String, String), Vec<(i64, f64)>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Counter {
    at_us: Option<i64>,
    idle_s: f64,
    /// Of all modes, where every mode is there.
    all_s: Option<f64>,
}

/// What a machine used over a stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Percent of all its CPUs.
    pub cpu_percent: Option<f64>,
    /// Mean memory in use.
    pub memory_bytes: Option<f64>,
    /// CPU percent at the ends of intervals.
    pub cpu_over_time: Vec<(i64, f64)>,
    /// Memory over time.
    pub memory_over_time: Vec<(i64, f64)>,
    /// Seconds between the first and the last counters used; absent without times.
    pub span_s: Option<f64>,
    /// The longest time between counters.
    pub step_s: f64,
}

/// Why there is no CPU use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// No counter.
    #[error("no {CPU} with mode=\"idle\" in it")]
    NoCounter,
    /// One moment only.
    #[error("counters of one moment only: CPU use takes two")]
    OneMoment,
}

/// The machines that samples of one or several files show, alike ones joined.
pub fn machines(series: &[Series]) -> Vec<Machine> {
    let renamed = nodename(series);
    let mut found = BTreeMap::<String, Vec<&Series>>::new();
    for one in series {
        let who = WHO.iter().find_map(|label| one.labels.get(*label));
        let who = who.or(renamed.as_ref()).cloned().unwrap_or_default();
        if [CPU, AVAILABLE, TOTAL].contains(&one.name.as_str()) {
            found.entry(who).or_default().push(one);
        }
    }
    // A file without labels beside one that names a single machine is of that machine.
    if found.len() == 2
        && let Some(unnamed) = found.remove("")
    {
        found.values_mut().for_each(|named| named.extend(&unnamed));
    }
    let mut distinct = Vec::<Machine>::new();
    for (who, series) in found {
        let machine = Machine::of(who, &series);
        let same = distinct.iter_mut().find(|other| other.is_same(&machine));
        match same {
            Some(other) => other.names.extend(machine.names),
            None => distinct.push(machine),
        }
    }
    distinct
}

/// The node that bare scrapes name, if one.
fn nodename(series: &[Series]) -> Option<String> {
    let named = series.iter().find(|one| one.name == "node_uname_info");
    named.and_then(|one| one.labels.get("nodename")).cloned()
}

impl Machine {
    fn of(who: String, series: &[&Series]) -> Self {
        let mut by_mode = BTreeMap::<(String, String), Vec<(Option<i64>, f64)>>::new();
        let (mut total, mut available) = (Vec::new(), Vec::new());
        for one in series {
            let points = one.points.iter().map(|point| (point.at_us, point.value));
            match one.name.as_str() {
                TOTAL => total.extend(points),
                AVAILABLE => available.extend(points),
                _ => {
                    let label = |name: &str| one.labels.get(name).cloned().unwrap_or_default();
                    let key = (label("cpu"), label("mode"));
                    by_mode.entry(key).or_default().extend(points);
                }
            }
        }
        for points in by_mode.values_mut().chain([&mut total, &mut available]) {
            // Bare scrapes have no time; counters only grow, so their order is that of time.
            points.sort_by(|one, other| {
                (one.0, one.1)
                    .partial_cmp(&(other.0, other.1))
                    .unwrap_or(std::cmp::Ordering::Equal)
            });
        }
        let cpus: BTreeSet<&String> = by_mode.keys().map(|(cpu, _)| cpu).collect();
        let timed = |points: &Vec<(Option<i64>, f64)>| {
            points
                .iter()
                .filter_map(|(at_us, value)| Some(((*at_us)?, *value)))
                .collect()
        };
        Self {
            names: Some(who)
                .filter(|who| !who.is_empty())
                .into_iter()
                .collect(),
            counters: counters(&by_mode),
            memory_bytes: in_use(&total, &available),
            cpus: cpus.len(),
            by_mode: by_mode
                .iter()
                .map(|(key, points)| (key.clone(), timed(points)))
                .collect(),
        }
    }

    /// How many CPUs it has counters of.
    pub fn cpus(&self) -> usize {
        self.cpus
    }

    /// What it used between two times, both ends included. Samples without a time count for any.
    pub fn usage(&self, from_us: i64, to_us: i64) -> (Usage, Option<Gap>) {
        let within =
            |at_us: Option<i64>| at_us.is_none_or(|at_us| (from_us..=to_us).contains(&at_us));
        let counters: Vec<&Counter> = self
            .counters
            .iter()
            .filter(|one| within(one.at_us))
            .collect();
        let mut usage = Usage::default();
        let memory: Vec<_> = self
            .memory_bytes
            .iter()
            .filter(|(at_us, _)| within(*at_us))
            .collect();
        if !memory.is_empty() {
            let sum: f64 = memory.iter().map(|(_, bytes)| bytes).sum();
            usage.memory_bytes = Some(sum / memory.len() as f64);
        }
        usage.memory_over_time = memory
            .iter()
            .filter_map(|(at_us, bytes)| Some(((*at_us)?, *bytes)))
            .collect();
        let gap = match counters.len() {
            0 => Some(Gap::NoCounter),
            1 => Some(Gap::OneMoment),
            _ => None,
        };
        let (mut idle_s, mut all_s) = (0.0, 0.0);
        for pair in counters.windows(2) {
            let Some((idle, all)) = self.step(pair[0], pair[1]) else {
                continue;
            };
            idle_s += idle;
            all_s += all;
            if let Some(at_us) = pair[1].at_us {
                usage.cpu_over_time.push((at_us, busy_percent(idle, all)));
            }
            let step_s = all / self.cpus.max(1) as f64;
            usage.step_s = usage.step_s.max(step_s);
        }
        if all_s > 0.0 {
            usage.cpu_percent = Some(busy_percent(idle_s, all_s));
            let is_timed = counters.iter().all(|one| one.at_us.is_some());
            usage.span_s = is_timed.then(|| all_s / self.cpus.max(1) as f64);
        }
        let gap = gap.or_else(|| usage.cpu_percent.is_none().then_some(Gap::OneMoment));
        (usage, gap)
    }

    /// Idle and all CPU seconds between two moments; `None` where a counter began again.
    fn step(&self, from: &Counter, to: &Counter) -> Option<(f64, f64)> {
        let idle_s = to.idle_s - from.idle_s;
        let all_s = match (from.at_us, to.at_us) {
            (Some(from_us), Some(to_us)) => (to_us - from_us) as f64 / 1e6 * self.cpus as f64,
            _ => to.all_s? - from.all_s?,
        };
        (idle_s >= -ROUNDING_S && all_s > 0.0).then_some((idle_s, all_s))
    }

    /// Whether two exporters show one machine.
    fn is_same(&self, other: &Self) -> bool {
        let has_counters = self.by_mode.values().any(|points| points.len() > 1)
            && other.by_mode.values().any(|points| points.len() > 1);
        match has_counters {
            true => self.has_counters_of(other),
            false => {
                self.by_mode.is_empty() && other.by_mode.is_empty() && self.has_memory_of(other)
            }
        }
    }

    /// Whether each counter is always where the other one was or will be within a scrape: one counter
    /// read at different moments, and hardly two counters.
    fn has_counters_of(&self, other: &Self) -> bool {
        let delay_us = self.longest_step_us().max(other.longest_step_us());
        let same_keys = self.by_mode.keys().eq(other.by_mode.keys());
        let mut compared = 0;
        let all = self.by_mode.iter().all(|(key, points)| {
            let other = other.by_mode.get(key).map_or(&[][..], Vec::as_slice);
            points.iter().all(|(at_us, value)| {
                let before = other.iter().rfind(|(time, _)| time + delay_us <= *at_us);
                let after = other.iter().find(|(time, _)| *time >= at_us + delay_us);
                compared += usize::from(before.is_some()) + usize::from(after.is_some());
                before.is_none_or(|(_, low)| *low <= value + ROUNDING_S)
                    && after.is_none_or(|(_, high)| *high >= value - ROUNDING_S)
            })
        });
        same_keys && all && compared > 0
    }

    fn longest_step_us(&self) -> i64 {
        let times = self
            .counters
            .iter()
            .filter_map(|one| one.at_us)
            .collect::<Vec<_>>();
        let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
        steps.max().unwrap_or(0)
    }

    fn has_memory_of(&self, other: &Self) -> bool {
        let theirs: BTreeMap<Option<i64>, f64> = other.memory_bytes.iter().copied().collect();
        let pairs = self
            .memory_bytes
            .iter()
            .filter_map(|(at_us, bytes)| Some((*bytes, *theirs.get(at_us)?)));
        let (own, theirs): (Vec<f64>, Vec<f64>) = pairs.unzip();
        if own.len() < FEWEST_ALIKE {
            return false;
        }
        let apart = own
            .iter()
            .zip(&theirs)
            .map(|(one, other)| (one - other).abs() / one.max(1.0));
        let apart = apart.sum::<f64>() / own.len() as f64;
        let alike = crate::stats::paired::correlation(&own, &theirs).unwrap_or(0.0);
        apart < ALIKE_MEMORY && (own == theirs || alike > 0.9)
    }
}

fn busy_percent(idle_s: f64, all_s: f64) -> f64 {
    (100.0 * (1.0 - idle_s / all_s)).clamp(0.0, 100.0)
}

/// Points of each CPU's counters, by CPU and mode.
type ByMode = BTreeMap<(String, String), Vec<(Option<i64>, f64)>>;

/// The counters of all CPUs at the times at which every CPU's idle counter is there and one moved.
fn counters(by_mode: &ByMode) -> Vec<Counter> {
    let idle: Vec<_> = by_mode
        .iter()
        .filter(|((_, mode), _)| mode == "idle")
        .collect();
    let Some((_, first)) = idle.first() else {
        return Vec::new();
    };
    // Several bare scrapes have no time but their place.
    let place_of = |points: &[(Option<i64>, f64)], place: usize, at_us: Option<i64>| match at_us {
        None => points.get(place).map(|(_, value)| *value),
        Some(_) => {
            let found = points.binary_search_by_key(&at_us, |(time, _)| *time);
            found.ok().map(|place| points[place].1)
        }
    };
    let has_mode = |wanted: &str| by_mode.keys().any(|(_, mode)| mode == wanted);
    let has_all = has_mode("user") && has_mode("system");
    let mut counters = Vec::new();
    let mut before = Vec::new();
    for (place, (at_us, _)) in first.iter().enumerate() {
        let now: Vec<Option<f64>> = by_mode
            .values()
            .map(|points| place_of(points, place, *at_us))
            .collect();
        let idle_s: Option<f64> = idle
            .iter()
            .map(|(_, points)| place_of(points, place, *at_us))
            .sum();
        let Some(idle_s) = idle_s.filter(|_| now != before) else {
            continue;
        };
        counters.push(Counter {
            at_us: *at_us,
            idle_s,
            all_s: now.iter().copied().sum::<Option<f64>>().filter(|_| has_all),
        });
        before = now;
    }
    counters
}

/// MemTotal − MemAvailable where both are there.
fn in_use(
    total: &[(Option<i64>, f64)],
    available: &[(Option<i64>, f64)],
) -> Vec<(Option<i64>, f64)> {
    let totals: BTreeMap<Option<i64>, f64> = total.iter().copied().collect();
    let used = available
        .iter()
        .filter_map(|(at_us, bytes)| Some((*at_us, totals.get(at_us)? - bytes)));
    used.collect()
}
