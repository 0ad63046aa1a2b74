//! Statistics of shares against `split.json`.

use analyzer::stats::dispersion::{Window, clustered_share, dispersion, tarone};
use analyzer::stats::distance::expected_distance;
use analyzer::stats::distribution::{
    beta_tails, chi_square_tails, normal_quantile_of_upper, normal_upper_tail, t_quantile_of_upper,
    t_upper_tail,
};
use analyzer::stats::holm::holm;
use analyzer::stats::multinomial::{exact_shares, g_test, goodman};
use analyzer::stats::proportion::{clopper_pearson, exact_binomial, tost, wilson};
use serde::Deserialize;

use super::{assert_close, cases};

const ANSWERS: &str = include_str!("split.json");

#[derive(Debug, Deserialize)]
struct Point {
    #[serde(alias = "z", alias = "t", alias = "x")]
    at: f64,
    #[serde(default)]
    df: f64,
    #[serde(default)]
    lower: f64,
    upper: f64,
}

#[test]
fn normal_and_t_tails_and_quantiles() {
    for case in cases::<Point>(ANSWERS, "normal") {
        assert_close(normal_upper_tail(case.at), case.upper, &case);
    }
    for case in cases::<Point>(ANSWERS, "normal_quantiles") {
        assert_close(normal_quantile_of_upper(case.upper), case.at, &case);
    }
    for case in cases::<Point>(ANSWERS, "t") {
        assert_close(t_upper_tail(case.at, case.df), case.upper, &case);
    }
    for case in cases::<Point>(ANSWERS, "t_quantiles") {
        assert_close(t_quantile_of_upper(case.upper, case.df), case.at, &case);
    }
}

#[test]
fn chi_square_tails_at_both_ends() {
    for case in cases::<Point>(ANSWERS, "chi_square") {
        let tails = chi_square_tails(case.at, case.df as u64);
        assert_close(tails.lower, case.lower, &case);
        assert_close(tails.upper, case.upper, &case);
    }
}

#[test]
fn beta_tails_of_small_and_of_huge_arguments() {
    #[derive(Debug, Deserialize)]
    struct Case {
        a: f64,
        b: f64,
        x: f64,
        lower: f64,
        upper: f64,
    }
    for case in cases::<Case>(ANSWERS, "beta") {
        let tails = beta_tails(case.a, case.b, case.x, 1.0 - case.x);
        assert_close(tails.lower, case.lower, &case);
        assert_close(tails.upper, case.upper, &case);
    }
}

#[test]
fn intervals_of_one_share() {
    #[derive(Debug, Deserialize)]
    struct Case {
        successes: u64,
        n: u64,
        confidence: f64,
        wilson: [f64; 2],
        clopper_pearson: [f64; 2],
    }
    for case in cases::<Case>(ANSWERS, "intervals") {
        let score = wilson(case.successes, case.n, case.confidence).unwrap();
        assert_close(score.low, case.wilson[0], &case);
        assert_close(score.high, case.wilson[1], &case);
        let exact = clopper_pearson(case.successes, case.n, case.confidence).unwrap();
        assert_close(exact.low, case.clopper_pearson[0], &case);
        assert_close(exact.high, case.clopper_pearson[1], &case);
    }
}

#[test]
fn exact_binomial_tests() {
    #[derive(Debug, Deserialize)]
    struct Case {
        successes: u64,
        n: u64,
        share: f64,
        p_value: f64,
    }
    for case in cases::<Case>(ANSWERS, "binomial_tests") {
        let p_value = exact_binomial(case.successes, case.n, case.share).unwrap();
        assert_close(p_value, case.p_value, &case);
    }
}

#[test]
fn equivalence_by_exact_tails() {
    #[derive(Debug, Deserialize)]
    struct Case {
        successes: u64,
        n: u64,
        reference: f64,
        margin: f64,
        p_lower: f64,
        p_upper: f64,
        p_below: f64,
        p_above: f64,
    }
    for case in cases::<Case>(ANSWERS, "equivalence") {
        let result = tost(case.successes, case.n, case.reference, case.margin, 0.05).unwrap();
        assert_close(result.p_lower, case.p_lower, &case);
        assert_close(result.p_upper, case.p_upper, &case);
        let different = (2.0 * case.p_below.min(case.p_above)).min(1.0);
        assert_close(result.p_different, different, &case);
    }
}

#[test]
fn several_shares() {
    #[derive(Debug, Deserialize)]
    struct Case {
        observed: Vec<u64>,
        weights: Vec<f64>,
        statistic: f64,
        p_value: f64,
        goodman_95: Vec<[f64; 2]>,
        exact: Vec<f64>,
        exact_holm: Vec<f64>,
    }
    for case in cases::<Case>(ANSWERS, "goodness_of_fit") {
        let fit = g_test(&case.observed, &case.weights).unwrap();
        assert!(!fit.impossible);
        if case.statistic.abs() < 1e-12 {
            assert!(fit.statistic.abs() < 1e-12, "{case:?}");
        } else {
            assert_close(fit.statistic, case.statistic, &case);
        }
        assert_close(fit.p_value, case.p_value, &case);
        let intervals = goodman(&case.observed, 0.95).unwrap();
        assert_eq!(intervals.len(), case.goodman_95.len());
        for (interval, [low, high]) in intervals.iter().zip(&case.goodman_95) {
            assert!((interval.low - low).abs() < 1e-12, "{case:?}");
            assert_close(interval.high, *high, &case);
        }
        let exact = exact_shares(&case.observed, &case.weights).unwrap();
        let pairs = case.exact.iter().zip(&case.exact_holm);
        for (share, (&alone, &adjusted)) in exact.iter().zip(pairs) {
            assert_close(share.p_value, alone, &case);
            // Two shares are one test, which statsmodels, told of two, adjusts.
            let expected = if exact.len() == 2 { alone } else { adjusted };
            assert_close(share.p_adjusted, expected, &case);
        }
    }
}

#[derive(Debug, Deserialize)]
struct Scatter {
    statistic: f64,
    p_under: f64,
    p_over: f64,
}

#[test]
fn windows_scatter_and_cluster() {
    #[derive(Debug, Deserialize)]
    struct OfTarone {
        z: f64,
        p_under: f64,
        p_over: f64,
    }
    #[derive(Debug, Deserialize)]
    struct OfClusters {
        share: f64,
        standard_error: f64,
        low: f64,
        high: f64,
        design_effect: f64,
    }
    #[derive(Debug, Deserialize)]
    struct Case {
        windows: Vec<(u64, u64)>,
        estimated: Scatter,
        given_60: Scatter,
        tarone: OfTarone,
        clustered: OfClusters,
    }
    for case in cases::<Case>(ANSWERS, "windows") {
        let each = case.windows.iter();
        let windows: Vec<Window> = each
            .map(|&(successes, n)| Window { successes, n })
            .collect();
        for (share, expected) in [(None, &case.estimated), (Some(0.6), &case.given_60)] {
            let actual = dispersion(&windows, share).unwrap();
            assert_close(actual.statistic, expected.statistic, &case);
            assert_close(actual.p_under, expected.p_under, &case);
            assert_close(actual.p_over, expected.p_over, &case);
        }
        let z = tarone(&windows).unwrap();
        assert_close(z.z, case.tarone.z, &case);
        assert_close(z.p_under, case.tarone.p_under, &case);
        assert_close(z.p_over, case.tarone.p_over, &case);
        let clustered = clustered_share(&windows, 0.95).unwrap();
        assert_close(clustered.share, case.clustered.share, &case);
        assert_close(
            clustered.standard_error,
            case.clustered.standard_error,
            &case,
        );
        assert_close(clustered.interval.low, case.clustered.low, &case);
        assert_close(clustered.interval.high, case.clustered.high, &case);
        let effect = clustered.design_effect.unwrap();
        assert_close(effect, case.clustered.design_effect, &case);
    }
}

#[test]
fn expected_distances() {
    #[derive(Debug, Deserialize)]
    struct Case {
        n: u64,
        share: f64,
        expected: f64,
    }
    for case in cases::<Case>(ANSWERS, "expected_distances") {
        let expected = expected_distance(case.n, case.share).unwrap();
        assert_close(expected, case.expected, &case);
    }
}

#[test]
fn holm_families() {
    #[derive(Debug, Deserialize)]
    struct Case {
        p_values: Vec<f64>,
        adjusted: Vec<f64>,
    }
    for case in cases::<Case>(ANSWERS, "holm") {
        for (actual, &expected) in holm(&case.p_values).unwrap().iter().zip(&case.adjusted) {
            assert_close(*actual, expected, &case);
        }
    }
}
