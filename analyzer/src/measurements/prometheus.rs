//! Processor time and memory of machines from samples of Prometheus and node_exporter, where the
//! tables of the dataset do not tell.
//!
//! A run's own files come first, then those given for the whole dataset, cut to the run's time.
//! Machines that several nodes' exporters show count once.

use std::collections::BTreeSet;

use super::{Metric, Origin, Point, Quantity, RunMeasurements, Series};
use crate::input::manifest::Run;
use crate::input::prometheus::{Machine, Samples, Usage, machines, read};
use crate::verdict::Moment;

/// Kinds under which manifests list such files.
const KINDS: [&str; 3] = ["prometheus-json", "prometheus-csv", "node-exporter"];
/// The part of a run that samples must span, a step of theirs taken off.
const COVERED: f64 = 0.9;

/// Notes what samples say of each run; the result is what a reader should know of all runs.
pub(super) fn measure(
    runs: &[Run],
    given: &[(String, Samples)],
    into: &mut [RunMeasurements],
) -> Vec<String> {
    let mut notes = BTreeSet::new();
    let whole = Source::of(given);
    notes.extend(whole.shared());
    for (run, into) in runs.iter().zip(into) {
        if !into.counts() {
            continue;
        }
        let own = Source::of(&own_samples(run, into));
        notes.extend(own.shared());
        own.note(into);
        whole.note(into);
    }
    notes.into_iter().collect()
}

fn own_samples(run: &Run, into: &mut RunMeasurements) -> Vec<(String, Samples)> {
    let mut found = Vec::new();
    for path in KINDS.iter().flat_map(|kind| run.files_of_kind(kind)) {
        match read(&path) {
            Ok(samples) => found.push((super::shown(run, &path), samples)),
            Err(error) => into.notes.push(super::refusal(run, &error)),
        }
    }
    found
}

/// Machines and the files that show them.
struct Source {
    files: Vec<String>,
    machines: Vec<Machine>,
}

impl Source {
    fn of(samples: &[(String, Samples)]) -> Self {
        let series: Vec<_> = samples
            .iter()
            .flat_map(|(_, samples)| samples.series.clone())
            .collect();
        Self {
            files: samples.iter().map(|(file, _)| file.clone()).collect(),
            machines: machines(&series),
        }
    }

    /// Exporters that show one machine, a sentence a machine.
    fn shared(&self) -> impl Iterator<Item = String> {
        let shared = self
            .machines
            .iter()
            .filter(|machine| machine.names.len() > 1);
        shared.map(|machine| {
            format!(
                "{}: the series of {} are near-identical, as of nodes that share one machine: counted once",
                self.files.join(", "),
                machine.names.join(", ")
            )
        })
    }

    fn note(&self, run: &mut RunMeasurements) {
        if self.machines.is_empty() {
            return;
        }
        let origin = |by: &str| Origin {
            files: self.files.clone(),
            by: by.to_owned(),
        };
        let length_s = (run.to.0 - run.from.0).max(1) as f64 / 1e6;
        let used = self.machines.iter().map(|machine| {
            let (usage, gap) = machine.usage(run.from.0, run.to.0);
            let name = machine.names.join("+");
            Used {
                refused: refusal(&usage, gap.map(|gap| gap.to_string()), length_s),
                name,
                usage,
                cpus: machine.cpus(),
            }
        });
        let used: Vec<Used> = used.collect();
        note_cpu(run, None, &used, &origin);
        note_memory(run, None, &used, &origin);
        for one in used.iter().filter(|one| !one.name.is_empty()) {
            note_cpu(run, Some(&one.name), std::slice::from_ref(one), &origin);
            note_memory(run, Some(&one.name), std::slice::from_ref(one), &origin);
        }
        if let [alone] = used.as_slice() {
            over_time(run, &alone.usage, &origin);
        }
    }
}

/// What one machine used, or why its CPU use is not known.
struct Used {
    name: String,
    cpus: usize,
    usage: Usage,
    refused: Option<String>,
}

fn refusal(usage: &Usage, gap: Option<String>, length_s: f64) -> Option<String> {
    let span_s = usage.span_s.unwrap_or(length_s);
    let short = span_s + usage.step_s < COVERED * length_s;
    gap.or_else(|| {
        let part = 100.0 * span_s / length_s;
        short.then(|| format!("samples cover {part:.0} % of the run only"))
    })
}

fn metric(quantity: Quantity, part: Option<&str>) -> Metric {
    Metric {
        quantity,
        part: part.map(str::to_owned),
    }
}

fn note_cpu(
    run: &mut RunMeasurements,
    part: Option<&str>,
    used: &[Used],
    origin: &impl Fn(&str) -> Origin,
) {
    let refused = used.iter().find_map(|one| one.refused.clone());
    let cpus: usize = used.iter().map(|one| one.cpus).sum();
    let busy = used.iter().map(|one| {
        let percent = one.usage.cpu_percent?;
        Some(percent * one.cpus as f64)
    });
    let busy: Option<f64> = busy.sum();
    let percent = match (refused, busy) {
        (None, Some(busy)) if cpus > 0 => Ok(busy / cpus as f64),
        (refused, _) => Err(refused.unwrap_or_else(|| "no counter of any CPU".to_owned())),
    };
    let length_s = (run.to.0 - run.from.0) as f64 / 1e6;
    let seconds = percent
        .clone()
        .map(|percent| percent / 100.0 * cpus as f64 * length_s);
    run.note(
        metric(Quantity::CpuPercent, part),
        percent,
        &origin("100·(1 − rate(node_cpu_seconds_total{mode=\"idle\"})) over all CPUs, between the first and the last sample that moved"),
    );
    run.note(
        metric(Quantity::CpuSeconds, part),
        seconds,
        &origin("that share × CPUs × the run's length"),
    );
}

fn note_memory(
    run: &mut RunMeasurements,
    part: Option<&str>,
    used: &[Used],
    origin: &impl Fn(&str) -> Origin,
) {
    let memory: Option<f64> = used.iter().map(|one| one.usage.memory_bytes).sum();
    let why = "no sample of node_memory_MemTotal_bytes and node_memory_MemAvailable_bytes";
    run.note(
        metric(Quantity::Memory, part),
        memory.ok_or_else(|| why.to_owned()),
        &origin("mean of node_memory_MemTotal_bytes − node_memory_MemAvailable_bytes"),
    );
}

fn over_time(run: &mut RunMeasurements, usage: &Usage, origin: &impl Fn(&str) -> Origin) {
    let lists = [
        (Quantity::CpuPercent, &usage.cpu_over_time),
        (Quantity::Memory, &usage.memory_over_time),
    ];
    for (quantity, list) in lists {
        let metric = Metric::whole(quantity);
        if run.series_of(&metric).is_some() {
            continue;
        }
        let points = list.iter().map(|(at_us, value)| Point {
            at: Moment(*at_us),
            value: *value,
        });
        let origin = origin("samples as they came, those after which no counter moved left out");
        let series = Series::new(metric, points.collect(), origin, run.from);
        run.series.extend(series);
    }
}
