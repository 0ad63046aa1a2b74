//! Statistics of runs against `compare.json`.

use analyzer::stats::bootstrap::bca_of;
use analyzer::stats::effect::hedges_g;
use analyzer::stats::mean::{mean, ratio_of_means, tost_means, tost_ratio, welch};
use analyzer::stats::order::sample_quantile;
use analyzer::stats::outlier::modified_z_scores;
use analyzer::stats::paired::paired;
use analyzer::stats::permutation::permutation_test;
use analyzer::stats::power::{runs_needed, t_test_power};
use analyzer::stats::proportion::Verdict;
use analyzer::stats::rank::{
    Location, cliffs_delta, hodges_lehmann, hodges_lehmann_shift, mann_whitney,
};
use analyzer::stats::series::{batch_means, effective_sample_size, mser5};
use analyzer::stats::trimmed::{trimmed_mean, yuen};
use serde::Deserialize;

use super::{assert_close, cases};

pub(super) const ANSWERS: &str = include_str!("compare.json");

#[derive(Debug, Deserialize)]
struct Ends {
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
    confidence: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Tost {
    margin: f64,
    p_lower: f64,
    p_upper: f64,
    narrow: f64,
    p_different: f64,
}

#[derive(Debug, Deserialize)]
struct Pair {
    name: String,
    first: Vec<f64>,
    second: Vec<f64>,
    /// Mean, standard error, low, high.
    mean: [f64; 4],
    /// Difference, degrees of freedom, low, high, p-value.
    welch: [f64; 5],
    /// Ratio, low, high, p-value.
    ratio: [f64; 4],
    tost: Tost,
    /// Both p-values and the 90 % interval of the ratio, at five percent.
    ratio_tost: [f64; 4],
    hedges_g: f64,
    z_scores: Vec<f64>,
    /// Trimmed mean, degrees of freedom, low, high.
    trimmed: [f64; 4],
    /// Difference, degrees of freedom, p-value.
    yuen: [f64; 3],
    /// U, p-value.
    mann_whitney: [f64; 2],
    permutation_p: Option<f64>,
    permutation_least_p: Option<f64>,
    cliffs_delta: f64,
    shift: Ends,
    pseudo_median: Option<Ends>,
}

/// Panics unless each number agrees with the stored one in its place.
#[track_caller]
fn assert_all_close(actual: &[f64], expected: &[f64], what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (actual, expected) in actual.iter().zip(expected) {
        assert_close(*actual, *expected, &what);
    }
}

#[test]
fn means_by_difference_and_by_ratio() {
    for case in cases::<Pair>(ANSWERS, "pairs") {
        let (first, second) = (&case.first, &case.second);
        let one = mean(first, 0.95).unwrap();
        let (low, high) = (one.interval.low, one.interval.high);
        assert_all_close(
            &[one.value, one.standard_error, low, high],
            &case.mean,
            &case.name,
        );
        let two = welch(first, second, 0.95).unwrap();
        let of = two.estimate;
        let (low, high) = (of.interval.low, of.interval.high);
        let actual = [of.value, of.degrees_of_freedom, low, high, two.p_value];
        assert_all_close(&actual, &case.welch, &case.name);
        let two = ratio_of_means(first, second, 0.95).unwrap();
        let of = two.estimate;
        let actual = [of.value, of.interval.low, of.interval.high, two.p_value];
        assert_all_close(&actual, &case.ratio, &case.name);
        let same = tost_means(first, second, case.tost.margin, 0.05).unwrap();
        let actual = [same.p_lower, same.p_upper];
        assert_all_close(&actual, &[case.tost.p_lower, case.tost.p_upper], &case.name);
        let ratio = tost_ratio(first, second, 0.05, 0.05).unwrap();
        let (low, high) = (ratio.interval.low, ratio.interval.high);
        let actual = [ratio.p_lower, ratio.p_upper, low, high];
        assert_all_close(&actual, &case.ratio_tost, &case.name);
        let apart = tost_means(first, second, case.tost.narrow, 0.05).unwrap();
        assert_close(apart.p_different, case.tost.p_different, &case.name);
        let (wide, edge) = (apart.wide_interval, case.tost.narrow);
        let outside = wide.low > edge || wide.high < -edge;
        assert_eq!(
            apart.verdict == Verdict::Different,
            outside,
            "{}",
            case.name
        );
        assert_close(hedges_g(first, second).unwrap(), case.hedges_g, &case.name);
    }
}

#[test]
fn trimmed_means() {
    for case in cases::<Pair>(ANSWERS, "pairs") {
        let one = trimmed_mean(&case.first, 0.95).unwrap();
        let (low, high) = (one.interval.low, one.interval.high);
        let actual = [one.value, one.degrees_of_freedom, low, high];
        assert_all_close(&actual, &case.trimmed, &case.name);
        let two = yuen(&case.first, &case.second, 0.95).unwrap();
        let of = two.estimate;
        let actual = [of.value, of.degrees_of_freedom, two.p_value];
        assert_all_close(&actual, &case.yuen, &case.name);
    }
}

#[test]
fn modified_z_scores_of_runs() {
    for case in cases::<Pair>(ANSWERS, "pairs") {
        let scored = modified_z_scores(&case.first).unwrap();
        let scores: Vec<f64> = scored.iter().map(|run| run.score).collect();
        assert_all_close(&scores, &case.z_scores, &case.name);
        for run in scored {
            assert_eq!(run.outlier, run.score.abs() > 3.5);
        }
    }
}

/// Panics unless an estimate and its interval are the stored ones.
#[track_caller]
fn assert_location(actual: Location, expected: &Ends, what: &str) {
    assert_close(actual.value, expected.value, &what);
    assert_eq!(actual.interval.is_some(), expected.low.is_some(), "{what}");
    let Some(found) = actual.interval else {
        return;
    };
    assert_close(found.interval.low, expected.low.unwrap(), &what);
    assert_close(found.interval.high, expected.high.unwrap(), &what);
    assert_close(found.confidence, expected.confidence.unwrap(), &what);
}

#[test]
fn hodges_lehmann_with_exact_ends() {
    let pairs = cases::<Pair>(ANSWERS, "pairs");
    assert!(pairs.iter().any(|case| case.pseudo_median.is_some()));
    for case in pairs {
        let shift = hodges_lehmann_shift(&case.first, &case.second, 0.95).unwrap();
        assert_location(shift, &case.shift, &case.name);
        if let Some(expected) = &case.pseudo_median {
            let one = hodges_lehmann(&case.first, 0.95).unwrap();
            assert_location(one, expected, &case.name);
        }
    }
}

#[test]
fn exact_tests_by_rank_and_by_permutation() {
    let pairs = cases::<Pair>(ANSWERS, "pairs");
    assert!(pairs.iter().any(|case| case.permutation_p.is_some()));
    for case in pairs {
        let ranks = mann_whitney(&case.first, &case.second).unwrap();
        assert_all_close(&[ranks.u, ranks.p_value], &case.mann_whitney, &case.name);
        assert_eq!(ranks.ties, case.name.starts_with("ties"), "{}", case.name);
        let delta = cliffs_delta(&case.first, &case.second).unwrap();
        assert_close(delta, case.cliffs_delta, &case.name);
        let test = permutation_test(&case.first, &case.second, 999, 1).unwrap();
        assert_eq!(test.exact, case.permutation_p.is_some(), "{}", case.name);
        if let Some(expected) = case.permutation_p {
            assert_close(test.p_value, expected, &case.name);
        }
        if let Some(expected) = case.permutation_least_p {
            assert_close(test.least_p_value, expected, &case.name);
        }
    }
}

#[test]
fn within_a_run() {
    #[derive(Debug, Deserialize)]
    struct Case {
        values: Vec<f64>,
        dropped: usize,
        settled: bool,
        /// Mean, low, high, of ten batches.
        batch_means: [f64; 3],
        effective: f64,
    }
    for case in cases::<Case>(ANSWERS, "series") {
        let what = format!("a series of {}", case.values.len());
        let end = mser5(&case.values).unwrap();
        assert_eq!(
            (end.dropped, end.settled),
            (case.dropped, case.settled),
            "{what}"
        );
        let batches = batch_means(&case.values, 10, 0.95).unwrap();
        let actual = [batches.value, batches.interval.low, batches.interval.high];
        assert_all_close(&actual, &case.batch_means, &what);
        let effective = effective_sample_size(&case.values).unwrap();
        assert_close(effective, case.effective, &what);
    }
}

#[test]
fn the_bca_interval_of_stored_replicates() {
    #[derive(Debug, Deserialize)]
    struct Case {
        sample: Vec<f64>,
        estimate: f64,
        replicates: Vec<f64>,
        low: f64,
        high: f64,
    }
    for case in cases::<Case>(ANSWERS, "bootstraps") {
        let sum: f64 = case.sample.iter().sum();
        let n = case.sample.len() as f64;
        let left_out = case.sample.iter().map(|value| (sum - value) / (n - 1.0));
        let without: Vec<f64> = left_out.collect();
        let interval = bca_of(case.estimate, &case.replicates, &without, 0.95).unwrap();
        assert_close(interval.low, case.low, &case.sample);
        assert_close(interval.high, case.high, &case.sample);
    }
}

#[test]
fn permutations_too_many_to_be_looked_at_one_by_one() {
    #[derive(Debug, Deserialize)]
    struct Case {
        first: Vec<f64>,
        second: Vec<f64>,
        p_value: f64,
        splits: u64,
    }
    for case in cases::<Case>(ANSWERS, "large_permutations") {
        let test = permutation_test(&case.first, &case.second, 0, 1).unwrap();
        assert_eq!((test.splits, test.exact), (case.splits, true));
        assert_close(test.p_value, case.p_value, &case.splits);
    }
}

#[test]
fn comparisons_within_blocks() {
    #[derive(Debug, Deserialize)]
    struct Case {
        name: String,
        first: Vec<f64>,
        second: Vec<f64>,
        /// Difference, low, high, p-value.
        difference: [f64; 4],
        /// Ratio, low, high.
        ratio: [f64; 3],
        sign_flip_p: f64,
        correlation: f64,
    }
    for case in cases::<Case>(ANSWERS, "paired") {
        let two = paired(&case.first, &case.second, 0.95, 0, 1).unwrap();
        let of = two.difference.estimate;
        let (low, high) = (of.interval.low, of.interval.high);
        let actual = [of.value, low, high, two.difference.p_value];
        assert_all_close(&actual, &case.difference, &case.name);
        let ratio = two.ratio.unwrap();
        let actual = [ratio.value, ratio.interval.low, ratio.interval.high];
        assert_all_close(&actual, &case.ratio, &case.name);
        assert!(two.sign_flip.exact);
        assert_close(two.sign_flip.p_value, case.sign_flip_p, &case.name);
        assert_close(two.correlation.unwrap(), case.correlation, &case.name);
    }
}

#[test]
fn quantiles_of_samples() {
    #[derive(Debug, Deserialize)]
    struct Case {
        sample: Vec<f64>,
        probability: f64,
        value: f64,
    }
    for case in cases::<Case>(ANSWERS, "quantiles") {
        let value = sample_quantile(&case.sample, case.probability).unwrap();
        assert_close(value, case.value, &case);
    }
}

#[test]
fn power_and_the_runs_that_it_takes() {
    #[derive(Debug, Deserialize)]
    struct Power {
        effect: f64,
        runs: u64,
        alpha: f64,
        power: f64,
    }
    #[derive(Debug, Deserialize)]
    struct Needed {
        effect: f64,
        alpha: f64,
        runs: u64,
    }
    for case in cases::<Power>(ANSWERS, "powers") {
        let power = t_test_power(case.effect, case.runs, case.alpha).unwrap();
        // A probability: to one part in 10⁹ of certainty.
        assert!((power - case.power).abs() <= 1e-9, "{power} for {case:?}");
    }
    for case in cases::<Needed>(ANSWERS, "needed") {
        let runs = runs_needed(case.effect, case.alpha, 0.9);
        assert_eq!(runs, Some(case.runs), "{case:?}");
    }
}
