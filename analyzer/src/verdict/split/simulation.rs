//! How often fair splits fail: at most as often as the level says, whatever their size and shares.

use super::super::Outcome;
use super::judge::{Rigour, judge};
use super::report::Reference;
use super::scene::Dice;

const SPLITS: usize = 1_000;
const ALPHA: f64 = 0.05;

/// Next to no margin: there the rate is hardly below the nominal one.
const NONE: f64 = 1e-6;

/// Draws fair splits of `n` requests in ten windows and counts what they get at each margin.
fn outcomes(seed: u64, n: u64, shares: &[f64]) -> [[usize; 3]; 3] {
    let mut dice = Dice(seed);
    let mut found = [[0; 3]; 3];
    let rigour = Rigour {
        margin: NONE,
        alpha: ALPHA,
        stages: 1,
    };
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
        let of_backend =
            |backend: usize| windows.iter().map(move |counts: &Vec<u64>| counts[backend]);
        let counts: Vec<u64> = (0..shares.len())
            .map(|backend| of_backend(backend).sum())
            .collect();
        let judgement = judge(Reference::Configured, &counts, &windows, shares, rigour);
        assert_eq!(judgement.margins.len(), found.len());
        for (found, verdict) in found.iter_mut().zip(&judgement.margins) {
            found[verdict.result as usize] += 1;
        }
    }
    found
}

#[track_caller]
fn check(seed: u64, n: u64, shares: &[f64]) {
    // A rate of exactly 5 % gives more than 71 failures once in a thousand sets of 1,000. Real
    // margins leave far fewer than the nominal 50.
    for (found, most) in outcomes(seed, n, shares).into_iter().zip([71, 50, 50]) {
        let fails = found[Outcome::Fail as usize];
        assert!(
            fails <= most,
            "{fails} of {SPLITS} fair splits of {n} failed, {shares:?}"
        );
    }
}

#[test]
fn fair_splits_fail_at_most_at_the_nominal_rate() {
    for (seed, n) in [(1, 50), (2, 500), (3, 5_000)] {
        check(seed, n, &[0.6, 0.4]);
        check(seed + 10, n, &[0.5, 0.3, 0.2]);
        check(seed + 20, n, &[0.95, 0.05]);
    }
}

#[test]
fn fair_canaries_fail_at_most_at_the_nominal_rate() {
    const STAGES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
    let mut dice = Dice(31);
    let rigour = Rigour {
        margin: NONE,
        alpha: ALPHA,
        stages: STAGES.len(),
    };
    let mut fails_in = |n: u64, share: f64| {
        let hits = (0..n).filter(|_| dice.roll() < share).count() as u64;
        let shares = [share, 1.0 - share];
        let judgement = judge(
            Reference::Configured,
            &[hits, n - hits],
            &[],
            &shares,
            rigour,
        );
        judgement.result == Outcome::Fail
    };
    let fails = (0..SPLITS).filter(|_| {
        let stages = STAGES.map(|share| fails_in(1_000, share));
        stages.contains(&true)
    });
    let fails = fails.count();
    assert!(fails <= 71, "{fails} of {SPLITS} fair canaries failed");
}

#[test]
fn fair_splits_of_the_needed_size_pass_nine_times_in_ten() {
    let [_, _, loose] = outcomes(7, 1_039, &[0.6, 0.4]);
    let passes = loose[Outcome::Pass as usize] as f64 / SPLITS as f64;
    assert!((0.87..=0.94).contains(&passes), "{passes}");
}
