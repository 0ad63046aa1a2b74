//! Rank statistics of runs: Hodges–Lehmann estimates with exact intervals, the exact Mann–Whitney
//! test, Cliff's delta.
//!
//! They assume independent runs and no shape. The distributions are counted out, not approximated,
//! which bounds the number of runs.

use serde::Serialize;

use super::order::{median, midpoint, sorted};
use super::{Interval, is_level};

/// The most runs, of both sides together, for which distributions are counted out.
pub const MOST_RUNS: usize = 120;

/// The most pairs of runs whose averages or differences are laid out.
const MOST_PAIRS: usize = 4_000_000;

/// A Hodges–Lehmann estimate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Location {
    /// The estimate.
    pub value: f64,
    /// Its interval; `None` where there are too few runs for the confidence, or too many to count.
    pub interval: Option<RankInterval>,
}

/// An interval between order statistics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RankInterval {
    /// The interval.
    pub interval: Interval,
    /// The confidence that it has, at least the one asked for: ranks allow only some.
    pub confidence: f64,
}

/// The Mann–Whitney test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RankTest {
    /// Pairs in which the first is larger, ties half.
    pub u: f64,
    /// Exact two-sided p-value, twice the smaller tail and at most 1.
    pub p_value: f64,
    /// Whether runs were tied.
    pub ties: bool,
}

/// The pseudo-median of one sample with the interval of the signed-rank test.
///
/// The median of the averages of all pairs, each run with itself too; the interval runs from the k-th
/// smallest to the k-th largest of them, with k the largest for which P(W < k) ≤ (1 − confidence)/2
/// (Hodges and Lehmann 1963; Hollander and Wolfe, section 3.3). Assumes that the runs scatter
/// symmetrically; with ties the interval is conservative. `None` without a run, or with more than two
/// thousand.
pub fn hodges_lehmann(sample: &[f64], confidence: f64) -> Option<Location> {
    let values = sorted(sample)?;
    if values.len().saturating_mul(values.len()) > MOST_PAIRS {
        return None;
    }
    let halves = values.iter().enumerate();
    let averages: Vec<f64> = halves
        .flat_map(|(place, &left)| {
            values[place..]
                .iter()
                .map(move |&right| midpoint(left, right))
        })
        .collect();
    let distribution = (values.len() <= MOST_RUNS).then(|| signed_rank_distribution(values.len()));
    location(averages, distribution, confidence)
}

/// The shift between two samples, first less second, with the interval of the Mann–Whitney test.
///
/// The median of all differences; the interval runs between order statistics of them as above, with
/// the distribution of U. Assumes that the two differ by a shift only. `None` without a run on either
/// side, or with more than four million pairs.
pub fn hodges_lehmann_shift(first: &[f64], second: &[f64], confidence: f64) -> Option<Location> {
    let (first, second) = (sorted(first)?, sorted(second)?);
    if first.len().saturating_mul(second.len()) > MOST_PAIRS {
        return None;
    }
    let differences: Vec<f64> = first
        .iter()
        .flat_map(|left| second.iter().map(move |right| left - right))
        .collect();
    let runs = first.len() + second.len();
    let distribution = (runs <= MOST_RUNS).then(|| {
        let ranks: Vec<usize> = (0..runs).collect();
        let smallest = first.len() * (first.len() - 1) / 2;
        rank_sum_distribution(&ranks, first.len()).split_off(smallest)
    });
    location(differences, distribution, confidence)
}

/// The exact Mann–Whitney test that neither of two samples tends to be larger.
///
/// U = Σ over pairs of [first > second] + ½[first = second] (Mann and Whitney 1947), against its
/// distribution over all ways to deal the pooled ranks, mid-ranks where runs are tied: with ties too
/// the test is exact given them. `None` without a run on either side or with more than `MOST_RUNS`.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<RankTest> {
    let (first, second) = (sorted(first)?, sorted(second)?);
    if first.len() + second.len() > MOST_RUNS {
        return None;
    }
    let pooled = sorted(&[first.as_slice(), &second].concat())?;
    let doubled_rank = |value: f64| {
        let below = pooled.partition_point(|&other| other < value);
        let through = pooled.partition_point(|&other| other <= value);
        below + through + 1
    };
    let ranks: Vec<usize> = pooled.iter().map(|&value| doubled_rank(value)).collect();
    let observed: usize = first.iter().map(|&value| doubled_rank(value)).sum();
    let distribution = rank_sum_distribution(&ranks, first.len());
    let (lower, upper): (f64, f64) = (
        distribution[..=observed].iter().sum(),
        distribution[observed..].iter().sum(),
    );
    let smallest = first.len() * (first.len() + 1);
    Some(RankTest {
        u: 0.5 * (observed - smallest) as f64,
        p_value: (2.0 * lower.min(upper)).min(1.0),
        ties: pooled.windows(2).any(|pair| pair[0] == pair[1]),
    })
}

/// How much more often the first of a pair is the larger than the smaller, from −1 to 1.
///
/// δ = (#{first > second} − #{first < second}) / (n m); Cliff 1993. `None` without a run on either
/// side.
pub fn cliffs_delta(first: &[f64], second: &[f64]) -> Option<f64> {
    let (first, second) = (sorted(first)?, sorted(second)?);
    let balance = |value: f64| {
        let below = second.partition_point(|&other| other < value) as f64;
        let above = second.len() - second.partition_point(|&other| other <= value);
        below - above as f64
    };
    let pairs = first.len() as f64 * second.len() as f64;
    Some(first.iter().map(|&value| balance(value)).sum::<f64>() / pairs)
}

/// The median of points with the interval between their order statistics.
fn location(points: Vec<f64>, distribution: Option<Vec<f64>>, confidence: f64) -> Option<Location> {
    let points = sorted(&points)?;
    if !is_level(confidence) {
        return None;
    }
    let beyond = 0.5 * (1.0 - confidence);
    let interval = distribution.and_then(|distribution| {
        let (mut tail, mut rank) = (0.0, 0);
        // A tail that equals the level but for rounding counts as within it.
        while rank < points.len() / 2 && tail + distribution[rank] <= beyond * (1.0 + 1e-12) {
            tail += distribution[rank];
            rank += 1;
        }
        (rank > 0).then(|| RankInterval {
            interval: Interval {
                low: points[rank - 1],
                high: points[points.len() - rank],
            },
            confidence: 1.0 - 2.0 * tail,
        })
    });
    Some(Location {
        value: median(&points),
        interval,
    })
}

/// P(W = w) of the signed-rank statistic, from w = 0: each rank is in the sum or not.
fn signed_rank_distribution(runs: usize) -> Vec<f64> {
    let mut probabilities = vec![0.0; runs * (runs + 1) / 2 + 1];
    probabilities[0] = 1.0;
    for rank in 1..=runs {
        for sum in (0..probabilities.len()).rev() {
            let without = probabilities[sum];
            let with = sum
                .checked_sub(rank)
                .map_or(0.0, |rest| probabilities[rest]);
            probabilities[sum] = 0.5 * (without + with);
        }
    }
    probabilities
}

/// P(S = s), from s = 0, of the sum of `drawn` of the ranks, drawn without replacement.
fn rank_sum_distribution(ranks: &[usize], drawn: usize) -> Vec<f64> {
    let width = ranks.iter().sum::<usize>() + 1;
    let mut ways = vec![vec![0.0; width]; drawn + 1];
    ways[0][0] = 1.0;
    for (seen, &rank) in ranks.iter().enumerate() {
        for size in (1..=drawn.min(seen + 1)).rev() {
            let (smaller, same) = ways.split_at_mut(size);
            let sums = same[0][rank.min(width)..].iter_mut();
            for (sum, &more) in sums.zip(&smaller[size - 1]) {
                *sum += more;
            }
        }
    }
    let ways = ways.swap_remove(drawn);
    let all: f64 = ways.iter().sum();
    ways.into_iter().map(|count| count / all).collect()
}
