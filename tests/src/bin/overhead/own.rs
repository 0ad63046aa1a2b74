//! What the probe says of itself, held against what it costs by the bench: `--own-account`.
//!
//! The probe's table `cpu` has its process and, with `--measure-self`, its eBPF programs with their
//! calls. Both runs of a pair tell what it costs from outside. What the programs' use of caches costs
//! everything else is in the second alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::Serialize;
use trace_schema::Record;
use trace_schema::cpu::{CpuRow, CpuScope};
use trace_schema::file;

use crate::estimate::{Difference, Pair, difference};

/// The process as the kernel cuts its name short.
const COMMAND: &str = "weighbridge-pro";

/// What one load's pairs say of it.
#[derive(Debug, Serialize)]
pub struct Account {
    /// Name of the load.
    pub load: String,
    /// What the probe said of itself, ns a packet or request, a mean over the runs with it.
    pub own_ns: f64,
    /// With the probe less without, ns a packet or request.
    pub paired: Difference,
}

impl Account {
    /// Draws it up. `rate` is where a run's packets or requests a second stand, and the probe's own
    /// nanoseconds a second stand behind all figures.
    pub fn of(load: &str, pairs: &[Pair], rate: usize) -> Self {
        let own = pairs
            .iter()
            .map(|pair| pair.with[rate + 1] / pair.with[rate]);
        Self {
            load: load.to_owned(),
            own_ns: own.sum::<f64>() / pairs.len() as f64,
            paired: difference(pairs, 0),
        }
    }

    /// One line of it.
    pub fn line(&self) -> String {
        let agrees = (self.paired.low..=self.paired.high).contains(&self.own_ns);
        format!(
            "{}: with less without {:.0} ns [{:.0}, {:.0}], by its own account {:.0} ns: {}",
            self.load,
            self.paired.mean,
            self.paired.low,
            self.paired.high,
            self.own_ns,
            if agrees { "agree" } else { "differ" }
        )
    }
}

/// UTC microseconds.
pub fn now_us() -> anyhow::Result<i64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64)
}

/// CPU time a second, in nanoseconds, that the probe's process and programs took by its own account,
/// in the intervals that lie between the two moments.
pub fn ns_a_second(dataset: &Path, start_us: i64, end_us: i64) -> anyhow::Result<f64> {
    let mut files = Vec::new();
    find(&dataset.join(CpuRow::TABLE), &mut files)?;
    let mut own_ns = 0;
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
                    own_ns += row.cpu_ns;
                }
            }
        }
    }
    anyhow::ensure!(
        seconds > 0.0,
        "no interval of the probe lies within the run: --seconds 4 or more"
    );
    Ok(own_ns as f64 / seconds)
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
