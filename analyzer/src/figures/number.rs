//! Numbers in words: ticks, table cells and values beside a mark.

use super::unit::{Scaled, Unit};

/// Digits that a value beside a mark has at least.
const SIGNIFICANT: i32 = 4;
/// Digits that it has at most for the sake of a smaller one.
const MOST_SIGNIFICANT: i32 = 6;

/// The multiple and the digits behind the point that values have in common.
pub fn column_scale(unit: Unit, values: &[f64]) -> (Scaled, usize) {
    let finite = values.iter().filter(|value| value.is_finite());
    let largest = finite.fold(0.0, |most: f64, value| most.max(value.abs()));
    let scaled = unit.scaled_for(largest);
    let decimals = decimals(&scaled, values);
    (scaled, decimals)
}

/// The digits behind the point that values need at a multiple: four significant ones for the largest
/// and two for the smallest, as long as that leaves the largest with six, and none where all are
/// whole.
pub fn decimals(scaled: &Scaled, values: &[f64]) -> usize {
    let finite = values.iter().filter(|value| value.is_finite());
    let shown = finite.map(|value| (value / scaled.divisor).abs());
    let shown: Vec<f64> = shown.collect();
    if shown.iter().all(|value| value.fract() == 0.0) {
        return 0;
    }
    let largest = shown.iter().copied().fold(0.0, f64::max);
    let positive = shown.iter().copied().filter(|value| *value > 0.0);
    let smallest = positive.fold(f64::INFINITY, f64::min);
    let for_smallest = (1 - exponent(smallest)).min(MOST_SIGNIFICANT - 1 - exponent(largest));
    let wanted = (SIGNIFICANT - 1 - exponent(largest)).max(for_smallest);
    usize::try_from(wanted.clamp(0, 6)).unwrap_or(0)
}

/// A value of a column.
pub fn cell(value: f64, scaled: &Scaled, decimals: usize) -> String {
    grouped(value / scaled.divisor, decimals)
}

/// A value by itself, with its unit.
pub(super) fn alone(value: f64, unit: Unit) -> String {
    let (scaled, decimals) = column_scale(unit, &[value]);
    let number = cell(value, &scaled, decimals);
    match scaled.symbol.as_str() {
        "" => number,
        symbol => format!("{number} {symbol}"),
    }
}

/// A number with commas between thousands and a true minus sign.
pub(super) fn grouped(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text.as_str(), None),
    };
    let mut number = String::new();
    if value < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        number.push('−');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            number.push(',');
        }
        number.push(digit);
    }
    if let Some(fraction) = fraction {
        number.push('.');
        number.push_str(fraction);
    }
    number
}

fn exponent(value: f64) -> i32 {
    if value > 0.0 && value.is_finite() {
        value.log10().floor() as i32
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_unit_and_enough_digits() {
        assert_eq!(alone(9.412e9, Unit::BitsPerSecond), "9.412 Gbit/s");
        assert_eq!(alone(0.6, Unit::Share), "60 %");
        assert_eq!(alone(0.6012, Unit::Share), "60.12 %");
        assert_eq!(alone(123_456.0, Unit::Packets), "123,456 packets");
        assert_eq!(alone(0.0, Unit::Count), "0");
        assert_eq!(alone(-1_234.6, Unit::Ratio), "−1,235");
        assert_eq!(grouped(-0.0001, 2), "0.00");
        assert_eq!(grouped(f64::NAN, 2), "–");
    }

    #[test]
    fn a_column_shows_its_smallest_value() {
        let (_, decimals) = column_scale(Unit::Ratio, &[0.000_88, 8_972.5]);
        assert_eq!(decimals, 2);
        let (scaled, decimals) = column_scale(Unit::Ratio, &[0.0123, 4.0]);
        assert_eq!(cell(0.0123, &scaled, decimals), "0.012");
        let (scaled, decimals) = column_scale(Unit::Count, &[1.0, 1e6]);
        assert_eq!(cell(1e6, &scaled, decimals), "1,000,000");
    }
}
