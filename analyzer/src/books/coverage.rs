//! When each hook was watching: a row is written for every interval, so a gap between rows means
//! that nobody was.

use serde::Serialize;

use super::{Entry, Series};

/// When a hook was watching.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Watch {
    /// Where.
    pub series: Series,
    /// Start of the first interval, UTC microseconds.
    pub from_us: i64,
    /// End of the last.
    pub until_us: i64,
    /// Number of rows.
    pub intervals: usize,
    /// Median length of an interval.
    pub interval_us: i64,
}

/// A span in which a hook was not watching, though it was before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Where.
    pub series: Series,
    /// End of the last row before, UTC microseconds.
    pub from_us: i64,
    /// Start of the first row after.
    pub until_us: i64,
}

/// The span of a series, and where two rows start more than one and a half intervals apart.
pub(super) fn watch(series: &Series, entries: &[Entry]) -> (Watch, Vec<Gap>) {
    let mut lengths = entries
        .iter()
        .map(|entry| entry.end_us - entry.start_us)
        .collect::<Vec<_>>();
    lengths.sort_unstable();
    let interval_us = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    let mut until_us = entries.first().map_or(0, |entry| entry.end_us);
    let mut gaps = Vec::new();
    for entry in entries {
        if (entry.start_us - until_us).saturating_mul(2) > interval_us {
            gaps.push(Gap {
                series: series.clone(),
                from_us: until_us,
                until_us: entry.start_us,
            });
        }
        until_us = until_us.max(entry.end_us);
    }
    let watch = Watch {
        series: series.clone(),
        from_us: entries.first().map_or(0, |entry| entry.start_us),
        until_us,
        intervals: entries.len(),
        interval_us,
    };
    (watch, gaps)
}
