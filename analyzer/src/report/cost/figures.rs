//! Costs as people read them, with the unit that their source of cycles gives them.

use super::super::quantity::{bytes, count};
use crate::cost::{CycleBasis, Mean, Memory, PerUnit};

/// What figures by packet are, in full.
pub(super) fn figures_are(basis: CycleBasis) -> &'static str {
    match basis {
        CycleBasis::None | CycleBasis::Mixed => "nanoseconds of CPU time",
        other => other.title(),
    }
}

/// What a figure by packet counts.
pub(super) fn short(basis: CycleBasis) -> &'static str {
    match basis {
        CycleBasis::Hardware => "cycles",
        CycleBasis::Reference => "ref. cycles",
        CycleBasis::Software => "events",
        CycleBasis::None | CycleBasis::Mixed => "CPU ns",
    }
}

/// A cost by one unit: cycles, or CPU time where there are none.
pub(super) fn figure(figure: PerUnit, basis: CycleBasis) -> String {
    let value = if basis.counts() {
        figure.cycles
    } else {
        figure.cpu_ns
    };
    value.map_or_else(dash, amount)
}

/// A mean with half of its interval.
pub(super) fn mean(mean: Mean, scale: f64) -> String {
    let Some(value) = mean.value else {
        return dash();
    };
    match mean.estimate {
        Some(estimate) => {
            let half = (estimate.interval.high - estimate.interval.low) / 2.0;
            format!("{} ± {}", amount(value / scale), amount(half / scale))
        }
        None => amount(value / scale),
    }
}

/// Three digits or more, as a reader compares them.
pub(super) fn amount(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => count(value.round() as i64),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// CPU seconds.
pub(super) fn seconds(cpu_ns: i64) -> String {
    format!("{:.3}", cpu_ns as f64 / 1e9)
}

/// Cycles in a unit that suits them.
pub(super) fn scaled(cycles: Option<i64>) -> String {
    match cycles {
        None => dash(),
        Some(cycles) if cycles >= 10_000_000 => format!("{:.3} G", cycles as f64 / 1e9),
        Some(cycles) => format!("{:.3} M", cycles as f64 / 1e6),
    }
}

/// A share in hundredths.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(dash, |share| format!("{:.1}", share * 100.0))
}

/// Mean and peak.
pub(super) fn shown_memory(memory: Memory) -> String {
    format!(
        "{} ({})",
        bytes(memory.mean_bytes),
        bytes(memory.peak_bytes)
    )
}

/// What stands where there is no figure.
pub(super) fn dash() -> String {
    "–".to_owned()
}
