//! Numbers with their unit as people read them: four digits, and the multiple that suits them.

use super::Unit;

const DECIMAL: [(f64, &str); 5] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
const BINARY: [(f64, &str); 5] = [
    (1_099_511_627_776.0, "Ti"),
    (1_073_741_824.0, "Gi"),
    (1_048_576.0, "Mi"),
    (1024.0, "Ki"),
    (1.0, ""),
];

/// A number with its unit.
pub fn amount(value: f64, unit: Unit) -> String {
    let scaled = |steps: &[(f64, &str)], symbol: &str| {
        let last = (1.0, "");
        let (divisor, prefix) = steps
            .iter()
            .copied()
            .find(|(divisor, _)| value.abs() >= *divisor)
            .unwrap_or(last);
        format!("{} {prefix}{symbol}", digits(value / divisor))
    };
    match unit {
        Unit::BitsPerSecond => scaled(&DECIMAL, "bit/s"),
        Unit::Bytes => scaled(&BINARY, "B"),
        Unit::Microseconds if value.abs() >= 1e6 => format!("{} s", digits(value / 1e6)),
        Unit::Microseconds if value.abs() >= 1e4 => format!("{} ms", digits(value / 1e3)),
        Unit::Share => format!("{} %", digits(100.0 * value)),
        Unit::Count | Unit::Ratio => digits(value),
        other => format!("{} {}", digits(value), other.symbol()),
    }
}

/// Four significant digits, zeros behind the point left out, a true minus sign.
pub fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let exponent = value.abs().log10().floor() as i32;
    let decimals = usize::try_from(3 - exponent).unwrap_or(0).min(9);
    let mut text = format!("{:.decimals$}", value.abs());
    if text.contains('.') {
        text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let is_negative = value < 0.0 && text.bytes().any(|byte| byte != b'0' && byte != b'.');
    match is_negative {
        true => format!("−{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{Unit, amount};

    #[test]
    fn amounts_have_four_digits_and_a_unit() {
        assert_eq!(amount(9.412e9, Unit::BitsPerSecond), "9.412 Gbit/s");
        assert_eq!(amount(-5e5, Unit::BitsPerSecond), "−500 kbit/s");
        assert_eq!(amount(1536.0, Unit::Bytes), "1.5 KiB");
        assert_eq!(amount(812.25, Unit::Microseconds), "812.2 µs");
        assert_eq!(amount(81_250.0, Unit::Microseconds), "81.25 ms");
        assert_eq!(amount(0.4012, Unit::Share), "40.12 %");
        assert_eq!(amount(0.0, Unit::Count), "0");
        assert_eq!(amount(123_456.0, Unit::Count), "123456");
        assert_eq!(amount(12.5, Unit::Percent), "12.5 %");
        assert_eq!(amount(f64::MIN_POSITIVE, Unit::Ratio), "0");
    }
}
