//! Quantiles of a stream of times, in constant memory.

use hdrhistogram::Histogram;

use super::Quantiles;

/// Nanoseconds in an hour: far beyond k6's timeout of a request.
const LARGEST_NS: u64 = 3_600_000_000_000;

/// Times with three significant digits; mean and largest exact.
#[derive(Clone, Debug)]
pub(super) struct Times {
    histogram_ns: Histogram<u64>,
    sum_us: f64,
    max_us: f64,
    count: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            histogram_ns: Histogram::new_with_max(LARGEST_NS, 3)
                .expect("three digits up to an hour are within a histogram's bounds"),
            sum_us: 0.0,
            max_us: 0.0,
            count: 0,
        }
    }
}

impl Times {
    pub(super) fn record_us(&mut self, time_us: f64) {
        self.histogram_ns
            .saturating_record((time_us * 1000.0).round() as u64);
        self.sum_us += time_us;
        self.max_us = self.max_us.max(time_us);
        self.count += 1;
    }

    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        if self.count == 0 {
            return None;
        }
        // A bucket's end may lie beyond the largest time.
        let quantile = |share| {
            let time_us = self.histogram_ns.value_at_quantile(share) as f64 / 1000.0;
            Some(time_us.min(self.max_us))
        };
        Some(Quantiles {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            mean: Some(self.sum_us / self.count as f64),
            max: Some(self.max_us),
            count: Some(self.count),
        })
    }
}
