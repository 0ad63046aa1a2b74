//! Amounts as people read them.

/// Bytes with a binary unit and three significant digits.
pub(crate) fn bytes(amount: i64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = amount as f64;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{amount} B"),
        _ if value.abs() < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ if value.abs() < 100.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A count with commas between thousands.
pub(crate) fn count(amount: i64) -> String {
    let digits = amount.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if amount < 0 { format!("-{text}") } else { text }
}

/// A rate with a decimal unit.
pub(crate) fn rate(bits_per_second: f64) -> String {
    match bits_per_second {
        rate if rate >= 1e9 => format!("{:.2} Gbit/s", rate / 1e9),
        rate if rate >= 1e6 => format!("{:.1} Mbit/s", rate / 1e6),
        rate => format!("{:.1} kbit/s", rate / 1e3),
    }
}

/// A length of time in the unit that suits it.
pub(crate) fn duration(length_us: i64) -> String {
    match length_us.unsigned_abs() {
        0..1_000 => format!("{length_us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", length_us as f64 / 1e3),
        _ => format!("{:.2} s", length_us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn amounts_are_readable() {
        assert_eq!(super::bytes(999), "999 B");
        assert_eq!(super::bytes(1536), "1.50 KiB");
        assert_eq!(super::bytes(123 * 1024 * 1024), "123 MiB");
        assert_eq!(super::count(1_234_567), "1,234,567");
        assert_eq!(super::count(-1_000), "-1,000");
        assert_eq!(super::duration(1_500), "1.5 ms");
        assert_eq!(super::duration(2_500_000), "2.50 s");
    }
}
