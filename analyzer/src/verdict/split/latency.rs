//! Latency of a backend's responses: histograms added up, and quantiles of them.
//!
//! A quantile lies somewhere in its bucket; it is given as the bucket's middle, and the error that
//! this may make is given with it. Nothing is interpolated from the shape of the neighbours.

use std::collections::BTreeMap;

use serde::Serialize;

/// Histograms of the same kind, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram(BTreeMap<(i64, i64), u64>);

/// What a backend took to answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Responses whose request was seen.
    pub responses: u64,
    /// Median, microseconds.
    pub p50_us: f64,
    /// 90 % quantile, microseconds.
    pub p90_us: f64,
    /// 99 % quantile, microseconds.
    pub p99_us: f64,
    /// Each quantile is off by at most this part of itself, up or down.
    pub relative_error: f64,
}

impl Histogram {
    /// Adds a row's buckets.
    pub fn add(&mut self, lower_us: &[i64], upper_us: &[i64], responses: &[i64]) {
        for ((lower, upper), count) in lower_us.iter().zip(upper_us).zip(responses) {
            *self.0.entry((*lower, *upper)).or_default() += (*count).max(0).unsigned_abs();
        }
    }

    /// Adds another one.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// Its quantiles; `None` without a response.
    pub fn summary(&self) -> Option<Latency> {
        let responses: u64 = self.0.values().sum();
        if responses == 0 {
            return None;
        }
        let buckets = [0.5, 0.9, 0.99].map(|share| self.bucket(share, responses));
        let [p50_us, p90_us, p99_us] = buckets.map(middle);
        Some(Latency {
            responses,
            p50_us,
            p90_us,
            p99_us,
            relative_error: buckets.map(error).into_iter().fold(0.0, f64::max),
        })
    }

    /// The bucket of the smallest latency that at least this share of the responses do not exceed.
    fn bucket(&self, share: f64, responses: u64) -> (i64, i64) {
        let rank = (share * responses as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let found = self.0.iter().find(|(_, count)| {
            below += **count;
            below >= rank
        });
        found.map_or((0, 0), |(bucket, _)| *bucket)
    }
}

fn middle((lower, upper): (i64, i64)) -> f64 {
    // A bucket of one microsecond holds that microsecond.
    (lower as f64 + (upper - 1) as f64) / 2.0
}

fn error((lower, upper): (i64, i64)) -> f64 {
    let half = ((upper - 1 - lower) as f64 / 2.0).max(0.0);
    if half == 0.0 {
        0.0
    } else {
        half / middle((lower, upper)).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_middle_of_their_bucket() {
        let mut histogram = Histogram::default();
        histogram.add(&[10, 64, 1024], &[11, 68, 1088], &[50, 40, 10]);
        let latency = histogram.summary().unwrap();
        assert_eq!(latency.responses, 100);
        assert_eq!(
            (latency.p50_us, latency.p90_us, latency.p99_us),
            (10.0, 65.5, 1055.5)
        );
        assert!((latency.relative_error - 31.5 / 1055.5).abs() < 1e-12);
        assert_eq!(Histogram::default().summary(), None);
    }

    #[test]
    fn added_histograms_are_one() {
        let mut one = Histogram::default();
        one.add(&[10], &[11], &[1]);
        let mut other = Histogram::default();
        other.add(&[10, 20], &[11, 21], &[1, 3]);
        one.merge(&other);
        assert_eq!(one.summary().unwrap().responses, 5);
        assert_eq!(one.summary().unwrap().p50_us, 20.0);
    }
}
