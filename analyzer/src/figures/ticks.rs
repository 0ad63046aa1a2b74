//! Where an axis has its ticks: round numbers, at most as many as there is room for.

/// Steps of time, microseconds, from a microsecond to a week.
const TIME_STEPS_US: [i64; 34] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
    7_200_000_000,
    21_600_000_000,
    43_200_000_000,
    86_400_000_000,
    604_800_000_000,
];

/// Multiples of 1, 2 or 5 times a power of ten within the range, `most` at most; the step comes
/// beside them. Nothing where the range is empty.
pub(super) fn linear(low: f64, high: f64, most: usize) -> (Vec<f64>, f64) {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return (Vec::new(), 1.0);
    }
    let raw = span / most.max(2) as f64;
    let magnitude = 10_f64.powf(raw.log10().floor());
    let wanted = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|step| step * magnitude >= raw * (1.0 - 1e-9))
        .unwrap_or(10.0);
    let step = wanted * magnitude;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    // A multiple, and no running sum, keeps 0.3 from becoming 0.30000000000000004.
    let ticks = (first..=last).map(|count| rounded(count as f64 * step, step));
    (ticks.collect(), step)
}

/// Powers of ten within the range, and 2 and 5 times them where there are fewer than three.
pub(super) fn logarithmic(low: f64, high: f64) -> Vec<f64> {
    if !(low > 0.0 && high >= low && high.is_finite()) {
        return Vec::new();
    }
    let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let within = |value: &f64| *value >= low * (1.0 - 1e-9) && *value <= high * (1.0 + 1e-9);
    let at = |factors: &'static [f64]| {
        let exponents = exponents.clone();
        let all = exponents.flat_map(move |power| {
            factors
                .iter()
                .map(move |factor| factor * 10_f64.powi(power))
        });
        all.filter(within).collect::<Vec<f64>>()
    };
    let decades = at(&[1.0]);
    if decades.len() >= 3 {
        decades
    } else {
        at(&[1.0, 2.0, 5.0])
    }
}

/// Round moments within the range, `most` at most, and their step.
pub(super) fn time(low_us: i64, high_us: i64, most: usize) -> (Vec<i64>, i64) {
    let span = high_us.saturating_sub(low_us).max(1);
    let most = i64::try_from(most.max(2)).unwrap_or(2);
    let step = TIME_STEPS_US
        .into_iter()
        .find(|step| span / step <= most)
        .unwrap_or(span / most);
    let first = low_us.div_euclid(step) + i64::from(low_us.rem_euclid(step) != 0);
    let last = high_us.div_euclid(step);
    ((first..=last).map(|count| count * step).collect(), step)
}

/// Digits behind the point that a step needs.
pub(super) fn decimals(step: f64) -> usize {
    if !(step > 0.0 && step.is_finite()) {
        return 0;
    }
    let digits = -(step.log10() + 1e-9).floor();
    if digits > 0.0 { digits as usize } else { 0 }
}

fn rounded(value: f64, step: f64) -> f64 {
    let scale = 10_f64.powi(i32::try_from(decimals(step)).unwrap_or(0));
    let rounded = (value * scale).round() / scale;
    if rounded == 0.0 { 0.0 } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(low: f64, high: f64, most: usize, expected: &[f64]) {
        let (ticks, _) = linear(low, high, most);
        assert_eq!(ticks, expected);
        assert!(ticks.len() <= most + 1);
    }

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        check(0.0, 10.0, 5, &[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        check(0.0, 0.31, 4, &[0.0, 0.1, 0.2, 0.3]);
        check(0.571, 0.629, 4, &[0.58, 0.6, 0.62]);
        check(-3.0, 3.0, 3, &[-2.0, 0.0, 2.0]);
        check(9.1e9, 9.6e9, 5, &[9.1e9, 9.2e9, 9.3e9, 9.4e9, 9.5e9, 9.6e9]);
        check(1.0, 1.0, 5, &[]);
        check(f64::NAN, 1.0, 5, &[]);
    }

    #[test]
    fn decades_have_ticks_and_short_ranges_more() {
        assert_eq!(logarithmic(1.0, 1000.0), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(logarithmic(1.0, 12.0), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(logarithmic(0.0, 12.0), [0.0; 0]);
    }

    #[test]
    fn moments_are_round() {
        assert_eq!(
            time(0, 10_000_000, 5),
            (
                vec![0, 2_000_000, 4_000_000, 6_000_000, 8_000_000, 10_000_000],
                2_000_000
            )
        );
        assert_eq!(time(-1_500, 1_500, 3).0, [-1_000, 0, 1_000]);
        assert_eq!(time(7, 7, 5).0, [7]);
    }

    #[test]
    fn a_step_says_how_many_digits_it_needs() {
        assert_eq!(decimals(0.05), 2);
        assert_eq!(decimals(1.0), 0);
        assert_eq!(decimals(0.1), 1);
        assert_eq!(decimals(250.0), 0);
    }
}
