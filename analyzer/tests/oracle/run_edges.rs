//! Runs at the edge of what a statistic is defined for: none, one, two, equal, tied, not finite; and
//! error rates where the answer is drawn at random.

use std::fmt::Debug;

use analyzer::stats::bootstrap::bca;
use analyzer::stats::effect::hedges_g;
use analyzer::stats::mean::{mean, ratio_of_means, tost_means, tost_ratio, welch};
use analyzer::stats::order::sample_quantile;
use analyzer::stats::outlier::modified_z_scores;
use analyzer::stats::paired::{correlation, paired};
use analyzer::stats::permutation::{permutation_test, sign_flip_test};
use analyzer::stats::power::{runs_needed, t_test_power};
use analyzer::stats::proportion::Verdict;
use analyzer::stats::rank::{cliffs_delta, hodges_lehmann, hodges_lehmann_shift, mann_whitney};
use analyzer::stats::series::{batch_means, effective_sample_size, mser5};
use analyzer::stats::trimmed::{trimmed_mean, yuen};

const LEVELS: [f64; 7] = [f64::NAN, -1.0, 0.0, 1e-300, 0.95, 1.0, f64::INFINITY];

fn samples() -> Vec<Vec<f64>> {
    let mut samples = vec![
        vec![],
        vec![3.0],
        vec![3.0, 3.0],
        vec![0.0, 0.0, 0.0],
        vec![0.1; 10],
        vec![-2.0, 2.0],
        vec![1.0, 2.0, 4.0],
        vec![5.0, 5.0, 5.0, 5.0, 9.0],
        vec![1e308, -1e308, 1e308],
        vec![1e-308, 2e-308, 5e-324],
        vec![1e-160, 3e-160, 2e-160, 4e-160],
        (0..130).map(f64::from).collect(),
    ];
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        samples.push(vec![1.0, odd, 2.0]);
        samples.push(vec![odd]);
    }
    samples
}

/// Panics where the answer, as it prints, holds NaN or an infinity.
#[track_caller]
fn assert_finite(answer: impl Debug, arguments: impl Debug) {
    let shown = format!("{answer:?}");
    let odd = shown.contains("NaN") || shown.contains("inf");
    assert!(!odd, "{shown} for {arguments:?}");
}

fn average(sample: &[f64]) -> f64 {
    sample.iter().sum::<f64>() / sample.len() as f64
}

#[test]
fn one_sample_at_every_edge() {
    for sample in &samples() {
        assert_finite(modified_z_scores(sample), sample);
        assert_finite(mser5(sample), sample);
        assert_finite(effective_sample_size(sample), sample);
        assert_finite(sign_flip_test(sample, 20, 1), sample);
        for level in LEVELS {
            let case = (sample, level);
            assert_finite(mean(sample, level), case);
            assert_finite(trimmed_mean(sample, level), case);
            assert_finite(sample_quantile(sample, level), case);
            assert_finite(hodges_lehmann(sample, level), case);
            assert_finite(bca(sample, average, level, 50, 1), case);
            assert_finite(bca(sample, |_| f64::NAN, level, 50, 1), case);
            for batches in [0, 1, 2, 3, 1_000] {
                assert_finite(batch_means(sample, batches, level), (case, batches));
            }
        }
    }
}

#[test]
fn two_samples_at_every_edge() {
    for first in &samples() {
        for second in &samples() {
            let case = (first, second);
            assert_finite(hedges_g(first, second), case);
            assert_finite(cliffs_delta(first, second), case);
            assert_finite(correlation(first, second), case);
            assert_finite(mann_whitney(first, second), case);
            for draws in [0, 5] {
                assert_finite(permutation_test(first, second, draws, 1), (case, draws));
            }
            assert_finite(hodges_lehmann_shift(first, second, 0.95), case);
            for level in LEVELS {
                let case = (first, second, level);
                assert_finite(welch(first, second, level), case);
                assert_finite(ratio_of_means(first, second, level), case);
                assert_finite(yuen(first, second, level), case);
                assert_finite(paired(first, second, level, 20, 1), case);
                assert_finite(tost_means(first, second, level, 0.05), case);
                assert_finite(tost_ratio(first, second, level, 0.05), case);
                assert_finite(tost_means(first, second, 1.0, level), case);
            }
        }
    }
}

#[test]
fn runs_that_do_not_differ_have_a_point_for_an_interval() {
    let (threes, fours) = ([3.0; 4], [4.0; 3]);
    let one = mean(&threes, 0.95).unwrap();
    assert_eq!((one.interval.low, one.interval.high), (3.0, 3.0));
    assert_eq!(welch(&threes, &threes, 0.95).unwrap().p_value, 1.0);
    let apart = welch(&threes, &fours, 0.95).unwrap();
    assert_eq!((apart.estimate.value, apart.p_value), (-1.0, 0.0));
    let verdict = |margin| tost_means(&threes, &fours, margin, 0.05).unwrap().verdict;
    assert_eq!(verdict(1.5), Verdict::Equivalent);
    assert_eq!(verdict(0.5), Verdict::Different);
    assert_eq!(verdict(1.0), Verdict::Inconclusive);
    assert_eq!(hedges_g(&threes, &fours), None);
    assert_eq!(cliffs_delta(&threes, &threes), Some(0.0));
    assert_eq!(mann_whitney(&threes, &threes).unwrap().p_value, 1.0);
    assert_eq!(
        permutation_test(&threes, &threes, 0, 1).unwrap().p_value,
        1.0
    );
}

#[test]
fn a_ratio_wants_positive_means() {
    assert_eq!(ratio_of_means(&[1.0, 2.0], &[-1.0, 1.0], 0.95), None);
    assert_eq!(ratio_of_means(&[-1.0, -2.0], &[1.0, 2.0], 0.95), None);
    let same = tost_ratio(&[10.0, 10.1, 9.9], &[10.0, 10.1, 9.9], 0.05, 0.05).unwrap();
    assert_eq!(same.verdict, Verdict::Equivalent);
    assert!(same.interval.contains(1.0));
    let twice = tost_ratio(&[20.0, 20.1, 19.9], &[10.0, 10.1, 9.9], 0.05, 0.05).unwrap();
    assert_eq!(twice.verdict, Verdict::Different);
}

#[test]
fn too_few_runs_have_no_rank_interval() {
    // Five runs allow at most 1 − 2/2⁵ = 0.9375.
    let five = [1.0, 2.0, 3.0, 4.5, 7.0];
    let interval = |confidence| hodges_lehmann(&five, confidence).unwrap().interval;
    assert_eq!(interval(0.95), None);
    assert_eq!(interval(0.9375).unwrap().confidence, 0.9375);
    assert_eq!(interval(0.9).unwrap().interval.high, 7.0);
    let hundreds: Vec<f64> = (0..130).map(f64::from).collect();
    assert_eq!(mann_whitney(&hundreds, &five), None);
    assert_eq!(hodges_lehmann(&hundreds, 0.95).unwrap().interval, None);
}

#[test]
fn an_outlier_among_equal_runs_is_flagged() {
    let mut runs = vec![5.0; 9];
    assert!(
        modified_z_scores(&runs)
            .unwrap()
            .iter()
            .all(|run| run.score == 0.0)
    );
    runs.push(6.0);
    let scored = modified_z_scores(&runs).unwrap();
    let flagged: Vec<bool> = scored.iter().map(|run| run.outlier).collect();
    assert_eq!(flagged.iter().filter(|flag| **flag).count(), 1);
    assert!(flagged[9]);
}

#[test]
fn a_drawn_permutation_test_says_so_and_is_near_the_exact_one() {
    let first: Vec<f64> = (0..21).map(|i| f64::from(i * i % 17)).collect();
    let second: Vec<f64> = (0..20).map(|i| f64::from(i * i % 13) + 2.0).collect();
    let drawn = permutation_test(&first, &second, 20_000, 5).unwrap();
    assert!(!drawn.exact && drawn.splits == 20_000);
    assert_eq!(permutation_test(&first, &second, 20_000, 5), Some(drawn));
    // Near the t test, whose level it shares where runs are neither few nor wild.
    let by_t = welch(&first, &second, 0.95).unwrap().p_value;
    assert!((drawn.p_value - by_t).abs() < 0.03, "{drawn:?} {by_t}");
    assert_eq!(permutation_test(&first, &second, 0, 5), None);
    let exact = permutation_test(&first[..8], &second[..8], 0, 5).unwrap();
    assert!(exact.exact && exact.splits == 12_870);
    let swapped = permutation_test(&second[..5], &first[..8], 0, 5).unwrap();
    let straight = permutation_test(&first[..8], &second[..5], 0, 5).unwrap();
    assert_eq!(swapped.p_value, straight.p_value);
    assert!((swapped.difference + straight.difference).abs() < 1e-12);
}

#[test]
fn a_bootstrap_is_the_same_for_the_same_seed() {
    let sample = [9.2, 9.5, 9.4, 9.4, 9.1, 9.5, 9.3, 9.4];
    let interval = |seed| bca(&sample, average, 0.95, 2_000, seed).unwrap();
    assert_eq!(interval(3), interval(3));
    assert_ne!(interval(3), interval(4));
    assert!(interval(3).contains(average(&sample)));
    assert_eq!(bca(&[2.0, 2.0, 2.0], average, 0.95, 100, 1), None);
}

#[test]
fn pairs_that_do_not_differ_and_too_few_pairs() {
    let (threes, fours) = ([3.0; 4], [4.0; 4]);
    let same = paired(&threes, &threes, 0.95, 0, 1).unwrap();
    assert_eq!(
        (same.difference.p_value, same.sign_flip.p_value),
        (1.0, 1.0)
    );
    let apart = paired(&threes, &fours, 0.95, 0, 1).unwrap();
    assert_eq!(
        (apart.difference.estimate.value, apart.sign_flip.p_value),
        (-1.0, 0.125)
    );
    assert_eq!(apart.correlation, None);
    assert_eq!(paired(&[], &[], 0.95, 0, 1), None);
    assert_eq!(paired(&[1.0], &[2.0], 0.95, 0, 1), None);
    assert_eq!(paired(&threes, &[1.0, 2.0], 0.95, 0, 1), None);
    assert_eq!(sign_flip_test(&[], 0, 1), None);
    assert_eq!(sign_flip_test(&[2.0], 0, 1).unwrap().p_value, 1.0);
    let many: Vec<f64> = (0..40).map(|i| f64::from(i % 7) - 2.0).collect();
    assert_eq!(sign_flip_test(&many, 0, 1), None);
    let drawn = sign_flip_test(&many, 500, 1).unwrap();
    assert!(!drawn.exact && drawn.p_value < 0.05, "{drawn:?}");
    let negative = paired(&[-1.0, 2.0], &[1.0, 1.0], 0.95, 0, 1).unwrap();
    assert_eq!(negative.ratio, None);
}

#[test]
fn power_at_every_edge() {
    for effect in [0.0, 1e-9, 0.5, 1.5, 40.0, 1e6, f64::NAN, f64::INFINITY] {
        for alpha in LEVELS {
            for runs in [0, 1, 2, 8, 100_000] {
                assert_finite(t_test_power(effect, runs, alpha), (effect, alpha, runs));
            }
            for power in LEVELS {
                assert_ne!(runs_needed(effect, alpha, power), Some(0));
            }
        }
    }
    assert_eq!(t_test_power(1.0, 1, 0.05), None);
    assert!((t_test_power(0.0, 8, 0.05).unwrap() - 0.05).abs() < 1e-9);
    assert_eq!(t_test_power(1e6, 8, 0.05), Some(1.0));
    assert_eq!(runs_needed(0.0, 0.05, 0.9), None);
    assert_eq!(runs_needed(1e6, 0.05, 0.9), Some(2));
}
