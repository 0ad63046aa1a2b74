//! The statistics against stored answers of scipy and statsmodels, and against simulation.
//!
//! Each `.json` is what the `.py` beside it printed; a statistic that differs by more than one part
//! in 10⁹ fails.

mod campaigns;
mod compare;
mod edges;
mod fair_splits;
mod run_edges;
mod run_rates;
mod split;

use serde::de::DeserializeOwned;

/// Section `name` of a stored document.
fn cases<Case: DeserializeOwned>(document: &str, name: &str) -> Vec<Case> {
    let mut sections: serde_json::Value = serde_json::from_str(document).unwrap();
    let cases: Vec<Case> = serde_json::from_value(sections[name].take()).unwrap();
    assert!(!cases.is_empty(), "no case in section {name}");
    cases
}

/// Panics unless two numbers agree to one part in 10⁹.
#[track_caller]
fn assert_close(actual: f64, expected: f64, what: &dyn std::fmt::Debug) {
    // What underflows, or is zero but for rounding, has no relative error.
    const AS_GOOD_AS_ZERO: f64 = 1e-250;
    let tolerance = 1e-9 * expected.abs();
    assert!(
        (actual - expected).abs() <= tolerance.max(AS_GOOD_AS_ZERO),
        "{actual:e} is not {expected:e} for {what:?}"
    );
}
