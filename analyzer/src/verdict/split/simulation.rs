//! How often fair splits fail: at most as often as the level says, whatever their size and shares.

use super::super::Outcome;
use super::judge::{Rigour, judge};
use super::report::Reference;
use super::scene::Dice;

const SPLITS: usize = 1_000;
const ALPHA: f64 = 0.05;

/// Draws fair splits of `n` requests in ten windows and counts what they get.
fn outcomes(seed: u64, n: u64, shares: &[f64], margin: f64) -> [usize; 3] {
    let mut dice = Dice(seed);
    let mut found = [0; 3];
    for _ in 0..SPLITS {
        let mut windows = vec![vec![0; shares.len()]; 10];
        for request in 0..n {
            let roll = dice.roll();
            let mut below = 0.0;
            let hit = shares.iter().position(|share| {
                below += share;
                roll < below
            });
            let window = (request * 10 / n) as usize;
            windows[window][hit.unwrap_or(shares.len() - 1)] += 1;
        }
        let sum = |backend: usize| {
            windows
                .iter()
                .map(|counts: &Vec<u64>| counts[backend])
                .sum()
        };
        let counts: Vec<u64> = (0..shares.len()).map(sum).collect();
        let rigour = Rigour {
            margin,
            alpha: ALPHA,
        };
        let judgement = judge(Reference::Configured, &counts, &windows, shares, rigour);
        found[judgement.result as usize] += 1;
    }
    found
}

#[track_caller]
fn check(seed: u64, n: u64, shares: &[f64], margin: f64, most: usize) -> [usize; 3] {
    let found = outcomes(seed, n, shares, margin);
    let fails = found[Outcome::Fail as usize];
    assert!(
        fails <= most,
        "{fails} of {SPLITS} fair splits of {n} failed at ±{margin}"
    );
    found
}

#[test]
fn fair_splits_fail_at_most_at_the_nominal_rate() {
    // A rate of exactly 5 % gives more than 71 failures once in a thousand sets of 1,000: where the
    // margin is next to nothing, the rate is hardly below that. Real margins leave far fewer.
    for (margin, most) in [(1e-6, 71), (0.01, 50), (0.05, 50)] {
        for (seed, n) in [(1, 50), (2, 500), (3, 5_000)] {
            check(seed, n, &[0.6, 0.4], margin, most);
            check(seed + 10, n, &[0.5, 0.3, 0.2], margin, most);
            check(seed + 20, n, &[0.95, 0.05], margin, most);
        }
    }
}

#[test]
fn fair_splits_of_the_needed_size_pass_nine_times_in_ten() {
    let found = check(7, 1_039, &[0.6, 0.4], 0.05, 50);
    let passes = found[Outcome::Pass as usize] as f64 / SPLITS as f64;
    assert!((0.87..=0.94).contains(&passes), "{passes}");
}
