//! Series within a run: in order, their warm-up cut and what their values are worth.

use super::{Metric, Origin, Point, Quantity, Series, WithinRun};
use crate::stats::series::{batch_means, effective_sample_size, mser5};
use crate::verdict::Moment;

/// Batches of the interval.
const BATCHES: usize = 10;
const CONFIDENCE: f64 = 0.95;

impl Series {
    /// A series of points in any order; `None` without any. That of goodput is looked into.
    pub(super) fn new(
        metric: Metric,
        mut points: Vec<Point>,
        origin: Origin,
        from: Moment,
    ) -> Option<Self> {
        points.retain(|point| point.value.is_finite());
        points.sort_by_key(|point| point.at);
        if points.is_empty() {
            return None;
        }
        let looked_into = metric.quantity == Quantity::Goodput;
        Some(Self {
            unit: metric.unit(),
            within: looked_into.then(|| WithinRun::of(&points, from)).flatten(),
            metric,
            points,
            origin,
        })
    }
}

impl WithinRun {
    /// What a series says of itself; `None` where it is too short for a cut.
    fn of(points: &[Point], from: Moment) -> Option<Self> {
        let values: Vec<f64> = points.iter().map(|point| point.value).collect();
        let warm_up = mser5(&values)?;
        let kept = &values[warm_up.dropped..];
        let cut_us = match warm_up.dropped {
            0 => 0,
            dropped => points[dropped - 1].at.0 - from.0,
        };
        Some(Self {
            cut: warm_up.dropped,
            cut_seconds: cut_us.max(0) as f64 / 1e6,
            settled: warm_up.settled,
            kept: kept.len(),
            mean: kept.iter().map(|value| value / kept.len() as f64).sum(),
            interval: batch_means(kept, BATCHES, CONFIDENCE).map(|mean| mean.interval),
            effective: effective_sample_size(kept),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Metric, Moment, Origin, Point, Quantity, Series};

    fn series(values: impl Iterator<Item = f64>) -> Option<Series> {
        let points = values.zip(1..).map(|(value, second)| Point {
            at: Moment(second * 1_000_000),
            value,
        });
        let metric = Metric::whole(Quantity::Goodput);
        Series::new(metric, points.collect(), Origin::default(), Moment(0))
    }

    #[test]
    fn a_slow_start_is_cut_and_shown() {
        let climb = (0..10).map(|second| 10.0 * f64::from(second));
        let steady = (0..50).map(|second| 100.0 + f64::from(second * 7 % 5));
        let within = series(climb.chain(steady)).unwrap().within.unwrap();
        assert_eq!((within.cut, within.kept, within.settled), (10, 50, true));
        assert_eq!(within.cut_seconds, 10.0);
        assert!((within.mean - 102.0).abs() < 1e-9, "{within:?}");
        assert!(within.effective.is_some() && within.interval.is_some());
    }

    #[test]
    fn a_short_series_is_not_looked_into() {
        assert_eq!(series([5.0, 6.0].into_iter()).unwrap().within, None);
        assert_eq!(series([f64::NAN].into_iter()), None);
        assert_eq!(series(std::iter::empty()), None);
    }
}
