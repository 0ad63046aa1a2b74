//! What the probe says of itself, held against what it costs by the bench: `--own-account`.
//!
//! The probe's table `cpu` has its process and, with `--measure-self`, its eBPF programs with their
//! calls. Both runs of a pair tell what it costs from outside, with what the programs' use of caches
//! costs everything else.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use trace_schema::Record;
use trace_schema::cpu::{CpuRow, CpuScope};
use trace_schema::file;

use crate::estimate::{Difference, Pair, difference};

/// The process as the kernel cuts its name short.
const COMMAND: &str = "weighbridge-pro";

/// CPU time a second, in nanoseconds, by eBPF program, and the process's own.
pub type Costs = BTreeMap<String, f64>;

/// What one load's pairs say of it.
#[derive(Debug)]
pub struct Account {
    /// Name of the load.
    pub load: String,
    /// What the probe said of itself, ns a packet or request, a mean over the runs with it.
    pub own_ns: f64,
    /// The same by program, and the process, the dearest first.
    pub parts: Vec<(String, f64)>,
    /// With the probe less without, ns a packet or request.
    pub paired: Difference,
}

impl Account {
    /// Draws it up from what the probe said in the run with it of each pair. `rate` is where a run's
    /// packets or requests a second stand.
    pub fn of(load: &str, pairs: &[Pair], owns: &[Costs], rate: usize) -> Self {
        let mut means = Costs::new();
        for (pair, own) in pairs.iter().zip(owns) {
            for (part, ns) in own {
                let mean = means.entry(part.clone()).or_default();
                *mean += ns / pair.with[rate] / pairs.len() as f64;
            }
        }
        let mut parts: Vec<(String, f64)> = means.into_iter().collect();
        parts.sort_by(|one, other| other.1.total_cmp(&one.1));
        Self {
            load: load.to_owned(),
            own_ns: parts.iter().map(|(_, ns)| ns).sum(),
            parts,
            paired: difference(pairs, 0),
        }
    }

    /// Whether the account lies in the interval of the pairs.
    fn agrees(&self) -> bool {
        (self.paired.low..=self.paired.high).contains(&self.own_ns)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "{}: with less without {:.0} ns [{:.0}, {:.0}], by its own account {:.0} ns: {}",
            self.load,
            self.paired.mean,
            self.paired.low,
            self.paired.high,
            self.own_ns,
            if self.agrees() { "agree" } else { "differ" }
        )?;
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|(part, ns)| format!("{part} {ns:.0}"))
            .collect();
        write!(to, "  of it {} ns", parts.join(", "))
    }
}

/// UTC microseconds.
pub fn now_us() -> anyhow::Result<i64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64)
}

/// What the probe's process and programs took by its own account, in the intervals that lie between the
/// two moments.
pub fn costs(dataset: &Path, start_us: i64, end_us: i64) -> anyhow::Result<Costs> {
    let mut files = Vec::new();
    find(&dataset.join(CpuRow::TABLE), &mut files)?;
    let mut costs = Costs::new();
    let mut seconds = 0.0;
    for path in files {
        let table = file::open::<CpuRow>(&path)?;
        for batch in table.rows()? {
            for row in batch? {
                if row.interval_start_us < start_us || row.interval_end_us > end_us {
                    continue;
                }
                let is_own = match row.scope {
                    CpuScope::Program => true,
                    CpuScope::Cgroup => row.command.as_deref() == Some(COMMAND),
                    // There is one such row an interval.
                    CpuScope::Idle => {
                        seconds += (row.interval_end_us - row.interval_start_us) as f64 / 1e6;
                        false
                    }
                    _ => false,
                };
                if is_own {
                    let part = row.command.unwrap_or_default();
                    *costs.entry(part).or_default() += row.cpu_ns as f64;
                }
            }
        }
    }
    anyhow::ensure!(
        seconds > 0.0,
        "no interval of the probe lies within the run: --seconds 4 or more"
    );
    for ns in costs.values_mut() {
        *ns /= seconds;
    }
    Ok(costs)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "parquet") {
            files.push(path);
        }
    }
    Ok(())
}
