//! From pairs of runs to a ratio with its interval, and the order in which they run.
//!
//! Costs are multiplied and not added, so ratios are averaged as logarithms. The trimmed mean stands
//! beside the plain one and never instead: no pair is ever left out of the figure itself.

use serde::Serialize;

/// Two-sided 95 % quantile of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;
/// Share of the pairs that the trimmed mean leaves out at either end.
const TRIMMED: f64 = 0.2;

/// What was measured in one run, in the order of the load's figures.
pub type Run = Vec<f64>;

/// A run without the probe and one with it.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The probe was not there.
    pub without: Run,
    /// It was.
    pub with: Run,
}

/// A ratio, with the probe to without.
#[derive(Debug, Serialize)]
pub struct Ratio {
    /// Name of the load.
    pub load: String,
    /// What is compared.
    pub figure: String,
    /// How many pairs.
    pub pairs: usize,
    /// Standard deviation of one pair's logarithm: what the machine scatters.
    pub pair_deviation: f64,
    /// Geometric mean of the pairs' ratios.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The same from the 20 % trimmed mean of the logarithms, with Yuen's interval.
    pub trimmed: Interval,
    /// Arithmetic mean of the runs without the probe.
    pub without: f64,
    /// The same with it.
    pub with: f64,
}

/// A ratio and the ends of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The estimate.
    pub ratio: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A mean of differences and the ends of its 95 % interval by Student's t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The estimate.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// With the probe less without, of the figure at that place in each run.
pub fn difference(pairs: &[Pair], at: usize) -> Difference {
    let differences: Vec<f64> = pairs
        .iter()
        .map(|pair| pair.with[at] - pair.without[at])
        .collect();
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let half = half_width(n - 1.0, deviation(&differences) / n.sqrt());
    Difference {
        mean,
        low: mean - half,
        high: mean + half,
    }
}

/// The ratio of the figure at that place in each run.
pub fn ratio(load: &str, figure: &str, pairs: &[Pair], at: usize) -> Ratio {
    let logs: Vec<f64> = pairs
        .iter()
        .map(|pair| (pair.with[at] / pair.without[at]).ln())
        .collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let deviation = deviation(&logs);
    let half = half_width(n - 1.0, deviation / n.sqrt());
    let average =
        |side: fn(&Pair) -> &Run| pairs.iter().map(|pair| side(pair)[at]).sum::<f64>() / n;
    Ratio {
        load: load.to_owned(),
        figure: figure.to_owned(),
        pairs: pairs.len(),
        pair_deviation: deviation,
        ratio: mean.exp(),
        low: (mean - half).exp(),
        high: (mean + half).exp(),
        trimmed: trimmed(&logs),
        without: average(|pair| &pair.without),
        with: average(|pair| &pair.with),
    }
}

/// Yuen (1974): the mean of what is left after trimming; its error from the deviation of the logs
/// with the trimmed ones drawn in to the nearest that is left.
fn trimmed(logs: &[f64]) -> Interval {
    let mut sorted = logs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let cut = (TRIMMED * n as f64) as usize;
    let kept = &sorted[cut..n - cut];
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    let drawn_in: Vec<f64> = sorted
        .iter()
        .map(|log| log.clamp(kept[0], kept[kept.len() - 1]))
        .collect();
    let share_kept = kept.len() as f64 / n as f64;
    let error = deviation(&drawn_in) / (share_kept * (n as f64).sqrt());
    let half = half_width(kept.len() as f64 - 1.0, error);
    Interval {
        ratio: mean.exp(),
        low: (mean - half).exp(),
        high: (mean + half).exp(),
    }
}

fn half_width(freedom: f64, error: f64) -> f64 {
    if freedom < 1.0 {
        f64::INFINITY
    } else {
        t95(freedom) * error
    }
}

fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (squares.sum::<f64>() / (n - 1.0)).sqrt()
}

/// Two-sided 95 % quantile of Student's t by its expansion in 1/ν (Abramowitz & Stegun 26.7.5);
/// exact to three digits from five degrees of freedom on.
fn t95(freedom: f64) -> f64 {
    let z = Z95;
    z + (z.powi(3) + z) / (4.0 * freedom)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z)
            / (384.0 * freedom.powi(3))
}

/// Which run of each pair comes first: drawn for one pair, the other way round for the next.
pub struct Order {
    state: u64,
    next: Option<bool>,
}

impl Order {
    /// The same seed gives the same order.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed,
            next: None,
        }
    }

    /// Whether the next pair begins with the probe.
    pub fn is_with_first(&mut self) -> bool {
        if let Some(opposite) = self.next.take() {
            return opposite;
        }
        let drawn = self.draw() % 2 == 1;
        self.next = Some(!drawn);
        drawn
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Pair, difference, ratio};

    const WITHOUT: [f64; 10] = [
        100.0, 110.0, 95.0, 104.0, 99.0, 120.0, 101.0, 98.0, 97.0, 103.0,
    ];
    const WITH: [f64; 10] = [
        103.0, 112.0, 99.0, 104.0, 102.0, 180.0, 104.0, 99.0, 101.0, 106.0,
    ];

    fn check(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-5, "{found} {expected}");
    }

    /// scipy 1.17: `stats.t.interval` and `stats.mstats.trimmed_mean_ci` of the logarithms.
    #[test]
    fn ratios_and_their_intervals() {
        let pairs = WITHOUT.iter().zip(WITH);
        let pairs = pairs.map(|(&without, with)| Pair {
            without: vec![0.0, without],
            with: vec![0.0, with],
        });
        let found = ratio("load", "figure", &pairs.collect::<Vec<_>>(), 1);
        check(found.ratio, 1.065_312_4);
        check(found.low, 0.977_039_3);
        check(found.high, 1.161_560_7);
        check(found.pair_deviation, 0.120_913_7);
        check(found.trimmed.ratio, 1.029_737_0);
        check(found.trimmed.low, 1.017_056_5);
        check(found.trimmed.high, 1.042_575_5);
        check(found.without, 102.7);
        check(found.with, 111.0);
    }

    /// scipy 1.17: `stats.ttest_rel(with, without).confidence_interval()`.
    #[test]
    fn differences_and_their_intervals() {
        let pairs = WITHOUT.iter().zip(WITH);
        let pairs = pairs.map(|(&without, with)| Pair {
            without: vec![without],
            with: vec![with],
        });
        let found = difference(&pairs.collect::<Vec<_>>(), 0);
        check(found.mean, 8.3);
        // As far as the expansion of t's quantile goes.
        assert!(
            (found.low / -4.725_913_976 - 1.0).abs() < 1e-3,
            "{}",
            found.low
        );
        assert!(
            (found.high / 21.325_913_976 - 1.0).abs() < 1e-3,
            "{}",
            found.high
        );
    }

    #[test]
    fn one_pair_says_nothing() {
        let pair = Pair {
            without: vec![1.0],
            with: vec![2.0],
        };
        let found = ratio("load", "figure", &[pair], 0);
        check(found.ratio, 2.0);
        assert_eq!((found.low, found.high), (0.0, f64::INFINITY));
    }

    #[test]
    fn orders_are_balanced_and_repeatable() {
        let drawn = |seed| {
            let mut order = Order::new(seed);
            (0..200).map(|_| order.is_with_first()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        for two in drawn(1).chunks(2) {
            assert_ne!(two[0], two[1]);
        }
        let firsts = drawn(1).chunks(2).filter(|two| two[0]).count();
        assert!((30..=70).contains(&firsts), "{firsts} of 100");
    }
}
