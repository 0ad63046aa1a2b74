//! Error rates over simulated and over enumerated splits.

use analyzer::stats::dispersion::{Window, clustered_share, dispersion, tarone};
use analyzer::stats::distance::distance;
use analyzer::stats::distribution::binomial_mass;
use analyzer::stats::multinomial::g_test;
use analyzer::stats::proportion::{
    Verdict, clopper_pearson, exact_binomial, requests_needed, tost, wilson,
};
use analyzer::stats::random::Random;

const SPLITS: usize = 1_000;
const ALPHA: f64 = 0.05;

/// A number from 0 to below 1.
fn uniform(random: &mut Random) -> f64 {
    const STEPS: usize = 1 << 53;
    random.below(STEPS) as f64 / STEPS as f64
}

/// How many of n independent requests go to a backend with a share.
fn successes(random: &mut Random, n: u64, share: f64) -> u64 {
    (0..n).map(|_| u64::from(uniform(random) < share)).sum()
}

/// How many of the simulated splits meet a condition.
fn count(seed: u64, mut holds: impl FnMut(&mut Random) -> bool) -> usize {
    let mut random = Random::new(seed);
    (0..SPLITS).filter(|_| holds(&mut random)).count()
}

#[test]
fn different_comes_at_most_at_its_nominal_rate_over_fair_splits() {
    // The last ones are the worst that still are fair: no margin, or a share at the margin's edge.
    for (seed, n, share, reference, margin) in [
        (1, 2_000, 0.6, 0.6, 0.01),
        (2, 2_000, 0.6, 0.6, 0.05),
        (3, 200, 0.05, 0.05, 0.01),
        (4, 2_000, 0.6, 0.6, 0.0),
        (5, 2_000, 0.41, 0.4, 0.01),
        (6, 500, 0.7, 0.65, 0.05),
    ] {
        let failed = count(seed, |random| {
            let hits = successes(random, n, share);
            tost(hits, n, reference, margin, ALPHA).unwrap().verdict == Verdict::Different
        });
        let most = (ALPHA * SPLITS as f64) as usize;
        assert!(
            failed <= most,
            "{failed} of {SPLITS} at n={n} {reference}±{margin}"
        );
    }
}

#[test]
fn a_skewed_split_is_different_and_a_short_run_inconclusive() {
    let verdict = |hits, n, margin| tost(hits, n, 0.7, margin, ALPHA).unwrap().verdict;
    assert_eq!(verdict(6_400, 10_000, 0.01), Verdict::Different);
    assert_eq!(verdict(64_000, 100_000, 0.05), Verdict::Different);
    assert_eq!(verdict(140, 200, 0.01), Verdict::Inconclusive);
    assert_eq!(verdict(700_000, 1_000_000, 0.01), Verdict::Equivalent);
}

/// The exact probability that a split with a share gets a verdict.
fn rate(n: u64, share: f64, reference: f64, margin: f64, verdict: Verdict) -> f64 {
    (0..=n)
        .filter(|&hits| tost(hits, n, reference, margin, ALPHA).unwrap().verdict == verdict)
        .map(|hits| binomial_mass(hits, n, share))
        .sum()
}

#[test]
fn neither_verdict_is_wrong_more_often_than_alpha_at_any_count() {
    for n in [1, 2, 5, 17, 60, 300] {
        for reference in [0.0, 0.02, 0.3, 0.5, 0.99] {
            for margin in [0.0, 0.01, 0.05, 0.2] {
                let edges = [reference - margin, reference, reference + margin];
                for edge in edges.map(|edge: f64| edge.clamp(0.0, 1.0)) {
                    let failed = rate(n, edge, reference, margin, Verdict::Different);
                    assert!(
                        failed <= ALPHA + 1e-12,
                        "{n} {reference}±{margin} at {edge}"
                    );
                }
                for edge in [reference - margin, reference + margin] {
                    if edge > 0.0 && edge < 1.0 && margin > 0.0 {
                        let passed = rate(n, edge, reference, margin, Verdict::Equivalent);
                        assert!(
                            passed <= ALPHA + 1e-12,
                            "{n} {reference}±{margin} at {edge}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_needed_number_gives_the_promised_power() {
    assert_eq!(requests_needed(0.4, 0.01, 0.05, 0.9), Some(25_974));
    assert_eq!(requests_needed(0.4, 0.005, 0.05, 0.9), Some(103_893));
    let n = requests_needed(0.4, 0.05, 0.05, 0.9).unwrap();
    let power = rate(n, 0.4, 0.4, 0.05, Verdict::Equivalent);
    assert!((0.89..0.92).contains(&power), "power {power} at {n}");
    // A weight of 0: no success at all must suffice, and with one request fewer does not.
    let n = requests_needed(0.0, 0.01, 0.05, 0.9).unwrap();
    let verdict = |n| tost(0, n, 0.0, 0.01, 0.05).unwrap().verdict;
    assert_eq!(verdict(n), Verdict::Equivalent);
    assert_eq!(verdict(n - 1), Verdict::Inconclusive);
}

#[test]
fn equivalence_and_the_intervals_agree() {
    for hits in (0..=400).step_by(5) {
        let result = tost(hits, 400, 0.5, 0.08, ALPHA).unwrap();
        let within = result.interval.low >= 0.42 && result.interval.high <= 0.58;
        assert_eq!(result.verdict == Verdict::Equivalent, within, "{hits}");
        let outside = result.wide_interval.low > 0.58 || result.wide_interval.high < 0.42;
        assert_eq!(result.verdict == Verdict::Different, outside, "{hits}");
    }
}

#[test]
fn intervals_cover_and_tests_keep_their_level() {
    // Four standard errors around the nominal 5 % of 1,000.
    let near_nominal = 22..=78;
    let missed = count(11, |random| {
        let hits = successes(random, 300, 0.6);
        !wilson(hits, 300, 0.95).unwrap().contains(0.6)
    });
    assert!(near_nominal.contains(&missed), "Wilson missed {missed}");
    let missed: f64 = (0..=300)
        .filter(|&hits| !clopper_pearson(hits, 300, 0.95).unwrap().contains(0.6))
        .map(|hits| binomial_mass(hits, 300, 0.6))
        .sum();
    assert!(
        (0.03..=ALPHA).contains(&missed),
        "Clopper–Pearson misses {missed}"
    );
    let rejected: f64 = (0..=300)
        .filter(|&hits| exact_binomial(hits, 300, 0.6).unwrap() <= ALPHA)
        .map(|hits| binomial_mass(hits, 300, 0.6))
        .sum();
    assert!(
        (0.03..=ALPHA).contains(&rejected),
        "exact test rejects {rejected}"
    );
    let rejected = count(14, |random| {
        let mut counts = [0_u64; 3];
        for _ in 0..300 {
            let place = uniform(random);
            counts[usize::from(place > 0.2) + usize::from(place > 0.5)] += 1;
        }
        g_test(&counts, &[2.0, 3.0, 5.0]).unwrap().p_value <= ALPHA
    });
    assert!(
        near_nominal.contains(&rejected),
        "G-test rejected {rejected}"
    );
}

#[test]
fn windows_of_independent_requests_scatter_as_they_should() {
    let windows = |random: &mut Random, shares: [f64; 2]| -> Vec<Window> {
        (0..24)
            .map(|place| Window {
                successes: successes(random, 60, shares[place % 2]),
                n: 60,
            })
            .collect()
    };
    let over = |random: &mut Random, shares| {
        let windows = windows(random, shares);
        let by_index = dispersion(&windows, None).unwrap().p_over <= ALPHA;
        (by_index, tarone(&windows).unwrap().p_over <= ALPHA)
    };
    let fair = count(21, |random| over(random, [0.6, 0.6]).0);
    assert!((22..=78).contains(&fair), "index of dispersion {fair}");
    // Tarone's Z is skewed to the right at 24 windows, so its upper tail comes a little too often.
    let fair = count(21, |random| over(random, [0.6, 0.6]).1);
    assert!((22..=90).contains(&fair), "Tarone {fair}");
    let drift = count(22, |random| over(random, [0.7, 0.5]) == (true, true));
    assert!(drift > 900, "drift found {drift}");
    let missed = count(23, |random| {
        let windows = windows(random, [0.7, 0.5]);
        !clustered_share(&windows, 0.95)
            .unwrap()
            .interval
            .contains(0.6)
    });
    assert!(missed <= 78, "clustered interval missed {missed}");
}

#[test]
fn the_distance_of_a_perfect_splitter_is_the_expected_one() {
    // The figures that a chart of distances must be read with.
    let expected = |n, share| analyzer::stats::distance::expected_distance(n, share).unwrap();
    assert!((expected(100, 0.4) - 0.039).abs() < 0.0005);
    assert!((expected(20_000, 0.4) - 0.002_8).abs() < 0.000_05);
    assert_eq!(expected(1, 0.5), 0.5);
    let mut random = Random::new(31);
    let mut sum = 0.0;
    for _ in 0..SPLITS {
        let mut counts = [0_u64; 3];
        for _ in 0..100 {
            let place = uniform(&mut random);
            counts[usize::from(place > 0.2) + usize::from(place > 0.5)] += 1;
        }
        sum += distance(&counts, &[0.2, 0.3, 0.5]).unwrap().ratio.unwrap();
    }
    let average = sum / SPLITS as f64;
    assert!(
        (0.95..1.05).contains(&average),
        "distance ÷ expected averages {average}"
    );
}
