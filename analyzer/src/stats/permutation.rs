//! The permutation test of a difference of means: no shape is assumed, only that runs could have
//! been exchanged.

use serde::Serialize;

use super::order::sorted;
use super::random::Random;

/// The most ways to split the runs for which all are looked at; 10 and 10 have fewer.
pub const MOST_SPLITS: u64 = 200_000;

/// A permutation test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PermutationTest {
    /// Mean of the first less mean of the second.
    pub difference: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// Splits that were looked at.
    pub splits: u64,
    /// Whether these were all there are; else they were drawn at random.
    pub exact: bool,
}

/// The test of Fisher and Pitman for a difference of means.
///
/// The p-value is the share of all splits of the pooled runs into groups of the given sizes whose
/// means are at least as far apart as observed (Pitman 1937). With more than `MOST_SPLITS` splits,
/// `draws` of them are drawn with the seed and p = (1 + as far apart)/(1 + draws), which keeps the
/// level (Phipson and Smyth 2010). `None` without a run on either side, or without a draw where
/// draws are needed.
pub fn permutation_test(
    first: &[f64],
    second: &[f64],
    draws: u64,
    seed: u64,
) -> Option<PermutationTest> {
    // The smaller group is the one that is chosen; that both could be keeps the distances the same.
    let (chosen, rest, sign) = if first.len() <= second.len() {
        (sorted(first)?, sorted(second)?, 1.0)
    } else {
        (sorted(second)?, sorted(first)?, -1.0)
    };
    let size = chosen.len();
    let pooled = [chosen, rest].concat();
    let centre = pooled
        .iter()
        .map(|value| value / pooled.len() as f64)
        .sum::<f64>();
    let values: Vec<f64> = pooled.iter().map(|value| value - centre).collect();
    let split = Split::of(&values, size);
    let observed = split.apart(values[..size].iter().sum());
    if !split.total.is_finite() || !observed.is_finite() {
        return None;
    }
    let largest = values
        .iter()
        .fold(0.0_f64, |most, value| most.max(value.abs()));
    // The same split summed in another order must count as the same distance.
    let least = observed.abs() - 1e-12 * largest;
    let (p_value, splits, exact) = match split_count(values.len(), size) {
        Some(all) => {
            let far = split.count_far(&values, size, 0.0, least);
            (far as f64 / all as f64, all, true)
        }
        None if draws > 0 => {
            let far = split.draw_far(values, draws, seed, least);
            ((far + 1) as f64 / (draws as f64 + 1.0), draws, false)
        }
        None => return None,
    };
    Some(PermutationTest {
        difference: sign * observed,
        p_value,
        splits,
        exact,
    })
}

/// Pooled values of which a number goes to the chosen group.
struct Split {
    total: f64,
    chosen: f64,
    rest: f64,
}

impl Split {
    fn of(values: &[f64], chosen: usize) -> Self {
        Self {
            total: values.iter().sum(),
            chosen: chosen as f64,
            rest: (values.len() - chosen) as f64,
        }
    }

    /// The difference of means when the chosen group's sum is given.
    fn apart(&self, chosen_sum: f64) -> f64 {
        chosen_sum / self.chosen - (self.total - chosen_sum) / self.rest
    }

    /// How many ways to take `left` more of the values put the means at least so far apart.
    fn count_far(&self, values: &[f64], left: usize, sum: f64, least: f64) -> u64 {
        if left == 0 {
            return u64::from(self.apart(sum).abs() >= least);
        }
        (0..=values.len() - left)
            .map(|place| self.count_far(&values[place + 1..], left - 1, sum + values[place], least))
            .sum()
    }

    /// How many of the random splits put the means at least so far apart.
    fn draw_far(&self, mut values: Vec<f64>, draws: u64, seed: u64, least: f64) -> u64 {
        let mut random = Random::new(seed);
        let chosen = self.chosen as usize;
        let mut far = 0;
        for _ in 0..draws {
            for place in 0..chosen {
                let other = place + random.below(values.len() - place);
                values.swap(place, other);
            }
            let sum: f64 = values[..chosen].iter().sum();
            far += u64::from(self.apart(sum).abs() >= least);
        }
        far
    }
}

/// The number of ways to choose the smaller group, where all can be looked at.
fn split_count(runs: usize, chosen: usize) -> Option<u64> {
    let mut ways = 1_u64;
    for step in 1..=chosen as u64 {
        ways = ways.checked_mul((runs - chosen) as u64 + step)? / step;
        if ways > MOST_SPLITS {
            return None;
        }
    }
    Some(ways)
}
