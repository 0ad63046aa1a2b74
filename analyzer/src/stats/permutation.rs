//! Permutation tests of a difference of means: no shape is assumed, only that runs could have been
//! exchanged.
//!
//! All splits are counted without looking at each: the pooled runs are cut into two halves, the sums
//! of the halves' subsets are sorted, and pairs of them beyond the observed sum are counted with two
//! pointers (Horowitz and Sahni 1974 use the same for subset sums).

use serde::Serialize;

use super::order::sorted;
use super::random::Random;

/// The most sums of a half's subsets for which all splits are counted: 16 and 16 runs have fewer.
pub const MOST_HALF_SUMS: usize = 1 << 16;

/// A permutation test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PermutationTest {
    /// Mean of the first less mean of the second.
    pub difference: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// The smallest p-value that these runs could have given, however they were dealt: a property of
    /// the pooled values and the two numbers of runs alone (Tarone 1990). Of drawn splits the smallest
    /// that so many draws can give.
    pub least_p_value: f64,
    /// Splits that were looked at.
    pub splits: u64,
    /// Whether these were all there are; else they were drawn at random.
    pub exact: bool,
}

/// The test of Fisher and Pitman for a difference of means.
///
/// The p-value is the share of all splits of the pooled runs into groups of the given sizes whose
/// means are at least as far apart as observed (Pitman 1937). With more subsets of half of the runs
/// than `MOST_HALF_SUMS`, `draws` splits are drawn with the seed and p = (1 + as far apart)/(1 +
/// draws), which keeps the level (Phipson and Smyth 2010). `None` without a run on either side, or
/// without a draw where draws are needed.
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
    let tolerance = tolerance(&values);
    let least = observed.abs() - tolerance;
    let farthest = split.farthest(&values) - tolerance;
    let counted = split.count_far(&values, &[least, farthest]);
    let (p_value, least_p_value, splits, exact) = match counted {
        Some((far, all)) => {
            let [p_value, least] = [far[0], far[1]].map(|far| far as f64 / all as f64);
            (p_value, least, all, true)
        }
        None if draws > 0 => {
            let far = split.draw_far(values, draws, seed, least);
            let all = draws as f64 + 1.0;
            ((far + 1) as f64 / all, 1.0 / all, draws, false)
        }
        None => return None,
    };
    Some(PermutationTest {
        difference: sign * observed,
        p_value,
        least_p_value,
        splits,
        exact,
    })
}

/// The test that differences within pairs scatter about 0: each could have had the other sign.
///
/// The p-value is the share of all 2ⁿ choices of signs whose mean is at least as far from 0 as
/// observed (Fisher 1935, section 21), the exact test of a design that deals two cases within each
/// block. Drawn as above where there are more than twice 16 pairs. `None` without a pair.
pub fn sign_flip_test(differences: &[f64], draws: u64, seed: u64) -> Option<PermutationTest> {
    let values = sorted(differences)?;
    let n = values.len() as f64;
    let observed: f64 = values.iter().sum();
    if !observed.is_finite() {
        return None;
    }
    let tolerance = tolerance(&values);
    let least = observed.abs() - tolerance;
    let farthest = values.iter().map(|value| value.abs()).sum::<f64>() - tolerance;
    let (left, right) = values.split_at(values.len() / 2);
    let (p_value, least_p_value, splits, exact) = if right.len() <= MOST_HALF_SUMS.ilog2() as usize
    {
        let (left, right) = (signed_sums(left), signed_sums(right));
        let all = left.len() as u64 * right.len() as u64;
        let share = |least: f64| count_beyond(&left, &right, -least, least) as f64 / all as f64;
        (share(least), share(farthest), all, true)
    } else if draws > 0 {
        let mut random = Random::new(seed);
        let mut sum = || -> f64 {
            let signed = values.iter().map(|value| match random.below(2) {
                0 => *value,
                _ => -value,
            });
            signed.sum()
        };
        let far = (0..draws).filter(|_| sum().abs() >= least).count();
        let all = draws as f64 + 1.0;
        ((far + 1) as f64 / all, 1.0 / all, draws, false)
    } else {
        return None;
    };
    Some(PermutationTest {
        difference: observed / n,
        p_value,
        least_p_value,
        splits,
        exact,
    })
}

/// The fewest runs a side with which `permutation_test` can give a p-value at or below a level.
///
/// Two of all splits are as far apart as can be: 2/C(2n, n). `None` where the level is not positive.
pub fn runs_for_level(level: f64) -> Option<u64> {
    if level.is_nan() || level <= 0.0 {
        return None;
    }
    let mut smallest = 1.0;
    let mut runs = 1_u64;
    while smallest > level && runs < 600 {
        runs += 1;
        smallest *= runs as f64 / (4 * runs - 2) as f64;
    }
    Some(runs)
}

/// The same split summed in another order must count as the same distance.
fn tolerance(values: &[f64]) -> f64 {
    1e-12
        * values
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()))
}

/// Pooled values of which a number goes to the chosen group.
struct Split {
    total: f64,
    chosen: usize,
    rest: usize,
}

impl Split {
    fn of(values: &[f64], chosen: usize) -> Self {
        Self {
            total: values.iter().sum(),
            chosen,
            rest: values.len() - chosen,
        }
    }

    /// The difference of means when the chosen group's sum is given.
    fn apart(&self, chosen_sum: f64) -> f64 {
        chosen_sum / self.chosen as f64 - (self.total - chosen_sum) / self.rest as f64
    }

    /// The distance of the means that no way to choose exceeds: the chosen are the lowest or the
    /// highest of the values, which are sorted by their group and not yet all together.
    fn farthest(&self, values: &[f64]) -> f64 {
        let mut rising = values.to_vec();
        rising.sort_unstable_by(f64::total_cmp);
        let lowest: f64 = rising[..self.chosen].iter().sum();
        let highest: f64 = rising[self.rest..].iter().sum();
        let apart = [lowest, highest].map(|sum| self.apart(sum).abs());
        apart[0].max(apart[1])
    }

    /// For each distance how many of all ways to choose put the means at least so far apart, and how
    /// many ways there are; `None` where there are too many.
    fn count_far(&self, values: &[f64], distances: &[f64]) -> Option<(Vec<u64>, u64)> {
        let (left, right) = values.split_at(values.len() / 2);
        let (left, right) = (
            sums_by_size(left, self.chosen)?,
            sums_by_size(right, self.chosen)?,
        );
        // The distance is linear in the chosen sum.
        let slope = 1.0 / self.chosen as f64 + 1.0 / self.rest as f64;
        let offset = self.total / self.rest as f64;
        let mut far = vec![0; distances.len()];
        let mut all = 0;
        for (taken, left) in left.iter().enumerate() {
            let Some(right) = right.get(self.chosen - taken) else {
                continue;
            };
            for (far, least) in far.iter_mut().zip(distances) {
                let (low, high) = ((offset - least) / slope, (offset + least) / slope);
                *far += count_beyond(left, right, low, high);
            }
            all += left.len() as u64 * right.len() as u64;
        }
        Some((far, all))
    }

    /// How many of the random splits put the means at least so far apart.
    fn draw_far(&self, mut values: Vec<f64>, draws: u64, seed: u64, least: f64) -> u64 {
        let mut random = Random::new(seed);
        let mut far = 0;
        for _ in 0..draws {
            for place in 0..self.chosen {
                let other = place + random.below(values.len() - place);
                values.swap(place, other);
            }
            let sum: f64 = values[..self.chosen].iter().sum();
            far += u64::from(self.apart(sum).abs() >= least);
        }
        far
    }
}

/// Sums of all subsets with at most `most` values, by their size, each list in rising order; `None`
/// where there are too many.
fn sums_by_size(values: &[f64], most: usize) -> Option<Vec<Vec<f64>>> {
    let most = most.min(values.len());
    let mut sums = vec![Vec::new(); most + 1];
    sums[0].push(0.0);
    for value in values {
        for size in (1..=most).rev() {
            let (smaller, larger) = sums.split_at_mut(size);
            let with = smaller[size - 1].iter().map(|sum| sum + value);
            larger[0].extend(with);
        }
        if sums.iter().map(Vec::len).sum::<usize>() > MOST_HALF_SUMS {
            return None;
        }
    }
    for sums in &mut sums {
        sums.sort_unstable_by(f64::total_cmp);
    }
    Some(sums)
}

/// Sums of all values with either sign, in rising order.
fn signed_sums(values: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for value in values {
        let negative: Vec<f64> = sums.iter().map(|sum| sum - value).collect();
        for sum in &mut sums {
            *sum += value;
        }
        sums.extend(negative);
    }
    sums.sort_unstable_by(f64::total_cmp);
    sums
}

/// How many pairs of two rising lists have a sum at or below `low`, or at or above `high`.
fn count_beyond(left: &[f64], right: &[f64], low: f64, high: f64) -> u64 {
    if low >= high {
        return left.len() as u64 * right.len() as u64;
    }
    let (mut below, mut within) = (right.len(), right.len());
    let mut count = 0;
    for sum in left {
        while below > 0 && sum + right[below - 1] > low {
            below -= 1;
        }
        while within > 0 && sum + right[within - 1] >= high {
            within -= 1;
        }
        count += (below + right.len() - within) as u64;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{permutation_test, runs_for_level, sign_flip_test};

    #[track_caller]
    fn check_least(first: &[f64], second: &[f64], ways: f64, splits: f64) {
        let test = permutation_test(first, second, 0, 1).unwrap();
        assert!(
            (test.least_p_value - ways / splits).abs() < 1e-15,
            "{test:?}"
        );
        let turned = permutation_test(second, first, 0, 1).unwrap();
        assert_eq!(turned.least_p_value, test.least_p_value);
    }

    #[test]
    fn the_smallest_p_is_that_of_the_farthest_deal_whatever_was_seen() {
        // Groups of one size are as far apart either way round, others are not.
        check_least(&[1.0, 7.0, 3.0, 4.0], &[2.0, 5.0, 6.0, 8.0], 2.0, 70.0);
        check_least(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0], 2.0, 70.0);
        check_least(&[1.0, 3.0, 9.0], &[2.0, 4.0, 5.0, 6.0], 1.0, 35.0);
        // Of equal runs any may be the one that is far.
        check_least(&[0.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 0.0, 1.0], 70.0, 70.0);
        check_least(&[0.0, 0.0, 0.0, 2.0], &[0.0, 0.0, 0.0, 1.0], 30.0, 70.0);
        check_least(&[4.0; 3], &[4.0; 3], 20.0, 20.0);
        let drawn = permutation_test(&[1.0; 40], &[2.0; 40], 99, 1).unwrap();
        assert_eq!((drawn.exact, drawn.least_p_value), (false, 0.01));
    }

    #[test]
    fn the_smallest_p_of_signs_is_that_of_all_alike() {
        let flips = sign_flip_test(&[1.0, -2.0, 3.0, 4.0], 0, 1).unwrap();
        assert_eq!(flips.least_p_value, 2.0 / 16.0);
        let with_zeros = sign_flip_test(&[1.0, 0.0, 0.0, 4.0], 0, 1).unwrap();
        assert_eq!(with_zeros.least_p_value, 8.0 / 16.0);
    }

    #[test]
    fn few_runs_cannot_show_much() {
        // Two splits of 2, 6, 20, 70 and 12,870.
        assert_eq!(runs_for_level(1.0), Some(1));
        assert_eq!(runs_for_level(0.4), Some(2));
        assert_eq!(runs_for_level(0.05), Some(4));
        assert_eq!(runs_for_level(2.0 / 12_870.0 + 1e-12), Some(8));
        assert_eq!(runs_for_level(2.0 / 12_870.0 - 1e-12), Some(9));
        assert_eq!(runs_for_level(0.0), None);
        assert_eq!(runs_for_level(f64::NAN), None);
    }
}
