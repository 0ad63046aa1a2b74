//! Simulated campaigns: without a difference Holm's family keeps its level, and so do the sentences of
//! `compare`; a shift of one and a half standard deviations is found as often as scipy finds it.

use analyzer::compare::{Declaration, Options, Role, compare};
use analyzer::measurements::{Measurements, Metric, Origin, Quantity, RunMeasurements};
use analyzer::stats::holm::holm;
use analyzer::stats::mean::welch;
use analyzer::stats::permutation::permutation_test;
use analyzer::stats::random::Random;
use serde::Deserialize;
use trace_schema::manifest::RunManifest;

use super::cases;
use super::run_rates::{CAMPAIGNS, MOST, runs};

const ALPHA: f64 = 0.05;
const METRICS: usize = 2;
const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];

/// p-values of all pairs of three cases of eight runs by two metrics, as `compare` makes them.
fn family(random: &mut Random, shape: impl Fn(f64, usize) -> f64) -> Vec<f64> {
    let mut p_values = Vec::new();
    for _ in 0..METRICS {
        let cases: Vec<Vec<f64>> = (0..3)
            .map(|_| {
                let plain = runs(random, 1.0).into_iter().zip(0..);
                plain.map(|(value, block)| shape(value, block)).collect()
            })
            .collect();
        for (first, second) in PAIRS {
            let test = permutation_test(&cases[first], &cases[second], 0, 1).unwrap();
            assert!(test.exact && test.splits == 12_870);
            p_values.push(test.p_value);
        }
    }
    p_values
}

/// In how many campaigns anything is said to differ: without and with Holm's adjustment.
fn false_alarms(seed: u64, shape: impl Fn(f64, usize) -> f64 + Copy) -> (usize, usize) {
    let mut random = Random::new(seed);
    let (mut plain, mut adjusted) = (0, 0);
    for _ in 0..CAMPAIGNS {
        let p_values = family(&mut random, shape);
        let rejects = |p_values: &[f64]| p_values.iter().any(|&p| p <= ALPHA);
        plain += usize::from(rejects(&p_values));
        adjusted += usize::from(rejects(&holm(&p_values).unwrap()));
    }
    (plain, adjusted)
}

#[test]
fn campaigns_without_a_difference_rarely_show_one() {
    // At most one in twenty, and four standard errors of a count in 2,000.
    let (plain, adjusted) = false_alarms(11, |value, _| value);
    assert!((20..=MOST).contains(&adjusted), "{adjusted} of 2,000");
    // Without the adjustment six tests would say far more: the family is one.
    assert!(plain > 300, "{plain} of 2,000 unadjusted");
    let (_, adjusted) = false_alarms(12, |value, _| (value - 10.0).exp());
    assert!(adjusted <= MOST, "{adjusted} of 2,000 with long tails");
    // Blocks whose runs are alike make the test of all runs cautious, not wrong.
    let (_, adjusted) = false_alarms(13, |value, block| value + (block * block % 5) as f64);
    assert!(adjusted <= MOST, "{adjusted} of 2,000 in blocks");
}

/// A campaign of two cases without any difference, by some metrics.
fn idle_campaign(random: &mut Random, runs_a_case: usize) -> Measurements {
    let mut runs_of = Vec::new();
    for case in ["a", "b"] {
        let values: Vec<Vec<f64>> = METRICS_COMPARED.map(|_| runs(random, 1.0)).to_vec();
        for run in 0..runs_a_case {
            let manifest = RunManifest {
                campaign: "idle".into(),
                case: case.into(),
                ..RunManifest::new(&format!("{case}-{run}"), "iperf3", (0, 1))
            };
            let mut measured = RunMeasurements::of(&manifest);
            for (quantity, values) in METRICS_COMPARED.into_iter().zip(&values) {
                let metric = Metric::whole(quantity);
                measured.note(metric, Ok(values[run]), &Origin::default());
            }
            runs_of.push(measured);
        }
    }
    Measurements {
        runs: runs_of,
        notes: Vec::new(),
    }
}

const METRICS_COMPARED: [Quantity; 4] = [
    Quantity::Goodput,
    Quantity::RttMean,
    Quantity::CyclesPerPacket,
    Quantity::Memory,
];

/// In how many campaigns a sentence of each family says that something differs.
fn said_to_differ(seed: u64, campaigns: usize, runs_a_case: usize) -> [usize; 2] {
    let options = Options {
        declared: Some(Declaration {
            campaign: "idle".into(),
            primary: vec!["goodput".parse().unwrap(), "memory".parse().unwrap()],
        }),
        ..Options::default()
    };
    let mut random = Random::new(seed);
    let mut found = [0; 2];
    for _ in 0..campaigns {
        let report = compare(&idle_campaign(&mut random, runs_a_case), &options).unwrap();
        for (count, role) in found.iter_mut().zip([Role::Primary, Role::Secondary]) {
            let metrics = report.campaigns[0].metrics.iter();
            let mut of_role = metrics.filter(|metric| metric.role == role);
            // Where nothing is shown the sentence begins otherwise, or tells what was measured.
            let says =
                |sentence: &str| sentence.starts_with("a's ") && !sentence.contains(" measured ");
            *count += usize::from(of_role.any(|metric| says(&metric.comparisons[0].sentence)));
        }
    }
    found
}

#[test]
fn each_family_of_a_campaign_keeps_its_level_in_what_is_said() {
    // Two tests a family: one in twenty each, and four standard errors of a count in 500.
    let [primary, secondary] = said_to_differ(15, 500, 8);
    for found in [primary, secondary] {
        assert!(
            (5..=45).contains(&found),
            "{primary} and {secondary} of 500"
        );
    }
    // Four runs a case can show nothing in a family of two, and say nothing.
    assert_eq!(said_to_differ(16, 200, 4), [0, 0]);
}

#[test]
fn a_planted_shift_is_found_as_often_as_scipy_finds_it() {
    #[derive(Debug, Deserialize)]
    struct Detection {
        shift: f64,
        runs: usize,
        campaigns: f64,
        alpha: f64,
        /// The t test's power, exact.
        t_test: f64,
        welch: f64,
        permutation: f64,
    }
    let mut random = Random::new(14);
    let p_values: Vec<[f64; 2]> = (0..CAMPAIGNS)
        .map(|_| {
            let first = runs(&mut random, 1.0);
            let second: Vec<f64> = runs(&mut random, 1.0)
                .iter()
                .map(|value| value + 1.5)
                .collect();
            let permutation = permutation_test(&first, &second, 0, 1).unwrap().p_value;
            [permutation, welch(&first, &second, 0.95).unwrap().p_value]
        })
        .collect();
    for case in cases::<Detection>(super::compare::ANSWERS, "detection") {
        assert_eq!((case.shift, case.runs), (1.5, 8));
        for (which, expected) in [(0, case.permutation), (1, case.welch)] {
            let found = p_values.iter().filter(|p| p[which] <= case.alpha).count();
            let share = found as f64 / CAMPAIGNS as f64;
            let variance = expected * (1.0 - expected);
            let both = 1.0 / CAMPAIGNS as f64 + 1.0 / case.campaigns;
            let reach = 4.0 * (variance * both).sqrt();
            assert!((share - expected).abs() < reach, "{share} for {case:?}");
            // The t test knows more than either assumes, and they lose little to it.
            assert!((expected - case.t_test).abs() < 0.03, "{case:?}");
        }
    }
}
