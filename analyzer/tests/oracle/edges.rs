//! Arguments at and beyond the edge of what a statistic is defined for: an answer or `None`, never a
//! panic and never NaN.

use std::fmt::Debug;

use analyzer::stats::dispersion::{Window, clustered_share, dispersion, tarone};
use analyzer::stats::distance::{distance, expected_distance, z_score};
use analyzer::stats::multinomial::{exact_shares, g_test, goodman};
use analyzer::stats::proportion::{
    Verdict, clopper_pearson, exact_binomial, requests_needed, tost, wilson,
};

const COUNTS: [u64; 9] = [0, 1, 2, 3, 17, 400, 10_000_000, (1 << 40) + 1, u64::MAX];
const NUMBERS: [f64; 16] = [
    f64::NAN,
    f64::NEG_INFINITY,
    -1.0,
    -0.0,
    0.0,
    f64::MIN_POSITIVE,
    1e-12,
    0.05,
    0.4,
    0.5,
    0.95,
    1.0 - 1e-16,
    1.0,
    1.5,
    1e300,
    f64::INFINITY,
];

/// Panics where the answer, as it prints, holds NaN.
#[track_caller]
fn assert_a_number(answer: impl Debug, arguments: impl Debug) {
    let shown = format!("{answer:?}");
    assert!(!shown.contains("NaN"), "{shown} for {arguments:?}");
}

#[test]
fn one_share_at_every_edge() {
    for successes in COUNTS {
        for n in COUNTS {
            for x in NUMBERS {
                let case = (successes, n, x);
                assert_a_number(wilson(successes, n, x), case);
                assert_a_number(clopper_pearson(successes, n, x), case);
                assert_a_number(exact_binomial(successes, n, x), case);
                assert_a_number(expected_distance(n, x), case);
                assert_a_number(z_score(successes, n, x), case);
                for margin in NUMBERS {
                    let case = (successes, n, x, margin);
                    assert_a_number(tost(successes, n, x, margin, 0.05), case);
                    assert_a_number(tost(successes, n, 0.5, x, margin), case);
                }
            }
        }
    }
}

#[test]
fn the_needed_number_at_every_edge() {
    for p in NUMBERS {
        for margin in NUMBERS {
            for level in NUMBERS {
                for power in NUMBERS {
                    let needed = requests_needed(p, margin, level, power);
                    assert_ne!(needed, Some(0), "{p} {margin} {level} {power}");
                }
            }
        }
    }
    assert_eq!(requests_needed(0.4, 0.0, 0.05, 0.9), None);
    assert_eq!(requests_needed(f64::NAN, 0.01, 0.05, 0.9), None);
}

#[test]
fn intervals_are_closed_where_nothing_or_everything_succeeded() {
    for interval in [wilson, clopper_pearson] {
        assert_eq!(interval(0, 0, 0.95), None);
        assert_eq!(interval(3, 2, 0.95), None);
        for n in [1, 2, 400] {
            let none = interval(0, n, 0.95).unwrap();
            assert!(none.low == 0.0 && none.high > 0.0 && none.high < 1.0);
            let all = interval(n, n, 0.95).unwrap();
            assert!(all.high == 1.0 && all.low > 0.0 && all.low < 1.0);
            assert!((all.low - (1.0 - none.high)).abs() < 1e-12);
        }
    }
}

#[test]
fn shares_of_nothing_and_of_everything() {
    assert_eq!(exact_binomial(0, 50, 0.0), Some(1.0));
    assert_eq!(exact_binomial(1, 50, 0.0), Some(0.0));
    assert_eq!(exact_binomial(50, 50, 1.0), Some(1.0));
    assert_eq!(exact_binomial(49, 50, 1.0), Some(0.0));
    assert_eq!(exact_binomial(0, 0, 0.5), None);
    let verdict =
        |hits, n, reference, margin| tost(hits, n, reference, margin, 0.05).unwrap().verdict;
    assert_eq!(verdict(0, 1_000, 0.0, 0.01), Verdict::Equivalent);
    assert_eq!(verdict(0, 10, 0.0, 0.01), Verdict::Inconclusive);
    assert_eq!(verdict(1, 1_000, 0.0, 0.0), Verdict::Different);
    assert_eq!(verdict(1_000, 1_000, 1.0, 0.01), Verdict::Equivalent);
    assert_eq!(verdict(0, 0, 0.5, 0.01), Verdict::Inconclusive);
    assert_eq!(verdict(0, 0, 0.5, 0.9), Verdict::Inconclusive);
    assert_eq!(tost(1, 2, 0.5, -0.01, 0.05), None);
    assert_eq!(tost(1, 2, 0.5, 0.01, 0.5), None);
}

#[test]
fn several_shares_at_every_edge() {
    let observed: [&[u64]; 8] = [
        &[],
        &[0],
        &[7],
        &[0, 0],
        &[1, 0],
        &[5, 0, 6],
        &[1 << 39, 1 << 39, 1 << 39],
        &[u64::MAX, 1, 0],
    ];
    let mut shares: Vec<Vec<f64>> = vec![vec![], vec![0.5, 0.0, 0.5], vec![1.0, 1.0, 1.0]];
    for x in NUMBERS {
        shares.extend([vec![x], vec![x, 0.5], vec![0.0, x], vec![x, x, 1.0]]);
    }
    for observed in observed {
        for shares in &shares {
            let case = (observed, shares);
            assert_a_number(g_test(observed, shares), case);
            assert_a_number(exact_shares(observed, shares), case);
            assert_a_number(distance(observed, shares), case);
        }
        for level in NUMBERS {
            assert_a_number(goodman(observed, level), (observed, level));
        }
    }
}

#[test]
fn a_backend_without_a_share_is_left_out_or_makes_the_counts_impossible() {
    let fit = g_test(&[60, 0, 40], &[60.0, 0.0, 40.0]).unwrap();
    assert!(!fit.impossible && fit.degrees_of_freedom == 1 && fit.p_value > 0.999);
    let fit = g_test(&[60, 1, 40], &[60.0, 0.0, 40.0]).unwrap();
    assert!(fit.impossible && fit.p_value == 0.0);
    let fit = g_test(&[9], &[1.0]).unwrap();
    assert!(fit.degrees_of_freedom == 0 && fit.p_value == 1.0 && fit.statistic == 0.0);
    assert_eq!(g_test(&[0, 0], &[1.0, 1.0]), None);
    assert_eq!(g_test(&[1, 1], &[1.0]), None);
}

#[test]
fn windows_at_every_edge() {
    let window = |successes, n| Window { successes, n };
    let samples = [
        vec![],
        vec![window(0, 0)],
        vec![window(1, 1)],
        vec![window(1, 1), window(0, 1)],
        vec![window(0, 5), window(0, 9)],
        vec![window(5, 5), window(9, 9), window(0, 0)],
        vec![window(3, 5), window(3, 5)],
        vec![window(6, 5), window(1, 5)],
        vec![window(0, 10_000_000), window(10_000_000, 10_000_000)],
        vec![window(1, u64::MAX), window(1, 5)],
    ];
    for windows in &samples {
        assert_a_number(dispersion(windows, None), windows);
        assert_a_number(tarone(windows), windows);
        for x in NUMBERS {
            assert_a_number(dispersion(windows, Some(x)), (windows, x));
            assert_a_number(clustered_share(windows, x), (windows, x));
        }
    }
    assert_eq!(dispersion(&samples[4], None), None);
    assert_eq!(tarone(&samples[3]), None);
    let turns = dispersion(&samples[6], None).unwrap();
    assert!(turns.statistic == 0.0 && turns.p_under == 0.0 && turns.p_over == 1.0);
    let alike = clustered_share(&samples[6], 0.95).unwrap();
    assert_eq!((alike.design_effect, alike.effective_n), (Some(0.0), None));
    assert_eq!(clustered_share(&samples[2], 0.95), None);
}
