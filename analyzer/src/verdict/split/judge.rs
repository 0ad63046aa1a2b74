//! Counts against shares: pass, fail or inconclusive, as a statement with a probability of error.
//!
//! *Pass* is a proof of equivalence: two one-sided exact tests show every backend's share to be
//! within the margin of its reference, each at α, so that the whole errs at most with α. *Fail* is a
//! proof of the contrary: some backend's share lies outside the margin, at α over all backends
//! and all stages of the rule (Bonferroni), or a backend with share 0 answered. A fair split, whose shares are the references,
//! therefore fails with probability at most α, whatever its size, and a large sample with a trivial
//! deviation passes. All else is inconclusive, with the number of requests that would have done.

use super::super::Outcome;
use super::report::{Judgement, MarginVerdict, Reference};
use crate::stats::dispersion::{Window, clustered_share, dispersion};
use crate::stats::distance::distance;
use crate::stats::multinomial::{exact_shares, g_test};
use crate::stats::proportion::{self, Verdict, requests_needed, tost};

/// Scatter between windows that independent requests show less often than this is not theirs.
pub(crate) const EXTREME: f64 = 1e-4;

/// Power with which the needed number of requests shows a perfect split to be one.
const POWER: f64 = 0.9;

/// The margins that are always stated.
pub(crate) const STRICT: f64 = 0.01;
/// The margin of the Gateway API's conformance tests.
pub(crate) const LOOSE: f64 = 0.05;

/// How to judge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rigour {
    pub margin: f64,
    pub alpha: f64,
    /// Stages of the rule that are judged: any of them may fail it.
    pub stages: usize,
}

/// Judges counts by backend against shares of the same backends; `windows` are the same counts by
/// window.
pub(crate) fn judge(
    reference: Reference,
    counts: &[u64],
    windows: &[Vec<u64>],
    shares: &[f64],
    rigour: Rigour,
) -> Judgement {
    let impossible = counts
        .iter()
        .zip(shares)
        .any(|(&count, &share)| count > 0 && share == 0.0);
    let mut margins = vec![rigour.margin, STRICT, LOOSE];
    margins.sort_by(f64::total_cmp);
    margins.dedup();
    let margins: Vec<MarginVerdict> = margins
        .into_iter()
        .map(|margin| at_margin(counts, windows, shares, rigour, margin, impossible))
        .collect();
    let asked = margins
        .iter()
        .find(|verdict| verdict.margin == rigour.margin);
    let tests = exact_shares(counts, shares).unwrap_or_default();
    Judgement {
        reference,
        result: asked.map_or(Outcome::Inconclusive, |verdict| verdict.result),
        shares: shares.to_vec(),
        exact_p: tests.iter().map(|test| test.p_adjusted).collect(),
        g_test: g_test(counts, shares),
        distance: distance(counts, shares),
        margins,
        impossible,
    }
}

/// Whether the counts would still pass if `lost` more responses had come from anywhere.
pub(crate) fn survives(counts: &[u64], shares: &[f64], rigour: Rigour, lost: u64) -> bool {
    let n: u64 = counts.iter().sum::<u64>() + lost;
    counts.iter().zip(shares).all(|(&count, &share)| {
        [count, count + lost].into_iter().all(|count| {
            tost(count, n, share, rigour.margin, rigour.alpha)
                .is_some_and(|test| test.verdict == Verdict::Equivalent)
        })
    })
}

/// One backend's counts of every window.
pub(crate) fn windows_of(windows: &[Vec<u64>], backend: usize) -> Vec<Window> {
    windows
        .iter()
        .map(|counts| Window {
            successes: counts[backend],
            n: counts.iter().sum(),
        })
        .collect()
}

fn at_margin(
    counts: &[u64],
    windows: &[Vec<u64>],
    shares: &[f64],
    rigour: Rigour,
    margin: f64,
    impossible: bool,
) -> MarginVerdict {
    let alpha = rigour.alpha;
    let n: u64 = counts.iter().sum();
    // With two backends one test is the other's mirror image.
    let backends = if shares.len() > 2 { shares.len() } else { 1 };
    let family = backends * rigour.stages.max(1);
    let tests: Vec<(proportion::Equivalence, bool)> = counts
        .iter()
        .zip(shares)
        .filter_map(|(&count, &share)| {
            let test = tost(count, n, share, margin, alpha)?;
            let differs = test.p_different <= alpha / family as f64;
            Some((test, differs))
        })
        .collect();
    let equivalent = !tests.is_empty()
        && tests
            .iter()
            .all(|(test, _)| test.verdict == Verdict::Equivalent);
    let steady = (0..counts.len())
        .all(|backend| is_steady(windows, backend, shares[backend], margin, alpha));
    let result = if impossible || tests.iter().any(|(_, differs)| *differs) {
        Outcome::Fail
    } else if equivalent && steady {
        Outcome::Pass
    } else {
        Outcome::Inconclusive
    };
    let needed = shares
        .iter()
        .filter_map(|&share| requests_needed(share, margin, alpha, POWER));
    MarginVerdict {
        margin,
        result,
        requests_needed: needed.max(),
        intervals: tests.into_iter().map(|(test, _)| test.interval).collect(),
    }
}

/// Whether windows that scatter far beyond independent requests still place the share within the
/// margin, by the interval that has windows as its unit.
fn is_steady(windows: &[Vec<u64>], backend: usize, share: f64, margin: f64, alpha: f64) -> bool {
    let windows = windows_of(windows, backend);
    let restless = dispersion(&windows, None).is_some_and(|scatter| scatter.p_over < EXTREME);
    !restless
        || clustered_share(&windows, 1.0 - 2.0 * alpha).is_some_and(|clustered| {
            share - margin <= clustered.interval.low && clustered.interval.high <= share + margin
        })
}
