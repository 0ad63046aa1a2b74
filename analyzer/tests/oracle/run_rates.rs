//! Error rates and coverage of the statistics of runs, over simulated campaigns of eight runs.

use analyzer::stats::mean::{mean, ratio_of_means, tost_means, welch};
use analyzer::stats::permutation::permutation_test;
use analyzer::stats::proportion::Verdict;
use analyzer::stats::random::Random;
use analyzer::stats::rank::{hodges_lehmann, hodges_lehmann_shift, mann_whitney};
use analyzer::stats::trimmed::{trimmed_mean, yuen};

pub(super) const CAMPAIGNS: usize = 2_000;
const ALPHA: f64 = 0.05;
/// The nominal rate of one in twenty, and four standard errors of it.
pub(super) const MOST: usize = 139;
const LEAST: usize = 61;

/// Eight runs about a mean of 10, normal by Box and Muller's transform.
pub(super) fn runs(random: &mut Random, deviation: f64) -> Vec<f64> {
    const STEPS: usize = 1 << 53;
    let mut uniform = || (random.below(STEPS) as f64 + 0.5) / STEPS as f64;
    let mut normal = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    (0..8).map(|_| 10.0 + deviation * normal()).collect()
}

/// In how many campaigns of two sides a condition holds.
fn count(seed: u64, deviation: f64, holds: impl Fn(&[f64], &[f64]) -> bool) -> usize {
    let mut random = Random::new(seed);
    (0..CAMPAIGNS)
        .filter(|_| {
            let first = runs(&mut random, deviation);
            holds(&first, &runs(&mut random, deviation))
        })
        .count()
}

#[test]
fn intervals_of_eight_runs_cover_as_they_say() {
    let missed = |interval: fn(&[f64]) -> analyzer::stats::Interval| {
        count(1, 1.0, |first, _| !interval(first).contains(10.0))
    };
    let by_t = missed(|runs| mean(runs, 0.95).unwrap().interval);
    assert!((LEAST..=MOST).contains(&by_t), "t missed {by_t}");
    // Yuen's interval is approximate at eight runs, a little wide or a little narrow.
    let by_yuen = missed(|runs| trimmed_mean(runs, 0.95).unwrap().interval);
    assert!(
        (LEAST..=MOST + 20).contains(&by_yuen),
        "Yuen missed {by_yuen}"
    );
    let by_ranks = missed(|runs| {
        hodges_lehmann(runs, 0.95)
            .unwrap()
            .interval
            .unwrap()
            .interval
    });
    assert!(by_ranks <= MOST, "Hodges–Lehmann missed {by_ranks}");
}

#[test]
fn tests_of_eight_equal_runs_a_side_keep_their_level() {
    let rejected = |p_value: fn(&[f64], &[f64]) -> f64| {
        count(2, 1.0, |first, second| p_value(first, second) <= ALPHA)
    };
    let by_welch = rejected(|first, second| welch(first, second, 0.95).unwrap().p_value);
    assert!((LEAST..=MOST).contains(&by_welch), "Welch {by_welch}");
    let by_ratio = rejected(|first, second| ratio_of_means(first, second, 0.95).unwrap().p_value);
    assert!((LEAST..=MOST).contains(&by_ratio), "ratio {by_ratio}");
    let by_yuen = rejected(|first, second| yuen(first, second, 0.95).unwrap().p_value);
    assert!((LEAST..=MOST + 20).contains(&by_yuen), "Yuen {by_yuen}");
    let by_ranks = rejected(|first, second| mann_whitney(first, second).unwrap().p_value);
    assert!(
        (LEAST..=MOST).contains(&by_ranks),
        "Mann–Whitney {by_ranks}"
    );
    let missed = count(3, 1.0, |first, second| {
        let shift = hodges_lehmann_shift(first, second, 0.95).unwrap();
        !shift.interval.unwrap().interval.contains(0.0)
    });
    assert!(missed <= MOST, "shift missed {missed}");
}

#[test]
fn drawn_permutations_keep_their_level() {
    let mut random = Random::new(4);
    let rejected = (0..400)
        .filter(|&campaign| {
            let mut twice = || [runs(&mut random, 1.0), runs(&mut random, 1.0)].concat();
            let first = [twice(), twice()].concat();
            let second = twice();
            let test = permutation_test(&first, &second, 199, campaign).unwrap();
            assert!(!test.exact);
            test.p_value <= ALPHA
        })
        .count();
    // One in twenty of 400, and four standard errors.
    assert!(
        (3..=37).contains(&rejected),
        "drawn permutations {rejected}"
    );
}

#[test]
fn verdicts_on_eight_runs_a_side_keep_their_level() {
    let verdicts = |margin: f64, shift: f64, verdict: Verdict| {
        count(5, 0.2, |first, second| {
            let moved: Vec<f64> = first.iter().map(|value| value + shift).collect();
            tost_means(&moved, second, margin, ALPHA).unwrap().verdict == verdict
        })
    };
    // A true difference of the margin itself is the worst that still is within it, and without it.
    let failed = verdicts(0.5, 0.5, Verdict::Different);
    assert!((1..=MOST).contains(&failed), "different {failed}");
    let failed = verdicts(1e-9, 0.0, Verdict::Different);
    assert!(
        (LEAST..=MOST).contains(&failed),
        "different without a margin {failed}"
    );
    let passed = verdicts(0.5, 0.5, Verdict::Equivalent);
    assert!((LEAST..=MOST).contains(&passed), "equivalent {passed}");
    assert!(verdicts(0.5, 0.0, Verdict::Equivalent) > 1_900);
    assert!(verdicts(0.5, 2.0, Verdict::Different) > 1_990);
}
