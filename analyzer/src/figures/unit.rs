//! Units of quantities and the multiples in which people read them.
//!
//! Values are kept in base units; a multiple is chosen once for an axis or a column, so that its
//! numbers can be compared by eye.

use serde::Serialize;

use crate::measurements;

/// A unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A number of things.
    Count,
    /// A number without a unit.
    Ratio,
    /// A part of a whole, 0 to 1; shown in percent.
    Share,
    /// Hundredths.
    Percent,
    /// bit/s.
    BitsPerSecond,
    /// Bytes; shown in KiB, MiB, …
    Bytes,
    /// Seconds of processor time.
    CpuSeconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Packets.
    Packets,
    /// Requests a second.
    RequestsPerSecond,
    /// Cycles of the processors' own counter a packet.
    CyclesPerPacket,
    /// The same a byte.
    CyclesPerByte,
    /// Reference cycles a packet: CPU time times the rate of the time-stamp counter.
    ReferenceCyclesPerPacket,
    /// The same a byte.
    ReferenceCyclesPerByte,
    /// Software events in the place of cycles, a packet.
    SoftwareEventsPerPacket,
    /// The same a byte.
    SoftwareEventsPerByte,
    /// Nanoseconds of processor time a packet.
    NanosecondsPerPacket,
    /// Nanoseconds of processor time a byte.
    NanosecondsPerByte,
}

/// A multiple of a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled {
    /// What base units are divided by.
    pub divisor: f64,
    /// Its symbol, empty where there is none.
    pub symbol: String,
}

const DECIMAL: [(&str, f64); 4] = [("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)];
const BINARY: [(&str, f64); 5] = [
    ("", 1.0),
    ("Ki", 1_024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
];
const TIME: [(&str, f64); 3] = [("µs", 1.0), ("ms", 1e3), ("s", 1e6)];

impl From<measurements::Unit> for Unit {
    fn from(unit: measurements::Unit) -> Self {
        match unit {
            measurements::Unit::BitsPerSecond => Self::BitsPerSecond,
            measurements::Unit::Microseconds => Self::Microseconds,
            measurements::Unit::Nanoseconds => Self::Nanoseconds,
            measurements::Unit::Count => Self::Count,
            measurements::Unit::Percent => Self::Percent,
            measurements::Unit::CpuSeconds => Self::CpuSeconds,
            measurements::Unit::Bytes => Self::Bytes,
            measurements::Unit::RequestsPerSecond => Self::RequestsPerSecond,
            measurements::Unit::CyclesPerPacket => Self::CyclesPerPacket,
            measurements::Unit::CyclesPerByte => Self::CyclesPerByte,
            measurements::Unit::ReferenceCyclesPerPacket => Self::ReferenceCyclesPerPacket,
            measurements::Unit::ReferenceCyclesPerByte => Self::ReferenceCyclesPerByte,
            measurements::Unit::SoftwareEventsPerPacket => Self::SoftwareEventsPerPacket,
            measurements::Unit::SoftwareEventsPerByte => Self::SoftwareEventsPerByte,
            measurements::Unit::CpuNsPerPacket => Self::NanosecondsPerPacket,
            measurements::Unit::CpuNsPerByte => Self::NanosecondsPerByte,
            measurements::Unit::Share => Self::Share,
            measurements::Unit::Ratio => Self::Ratio,
        }
    }
}

impl Unit {
    /// The multiple in which the largest of some values is at least 1.
    pub fn scaled_for(self, largest: f64) -> Scaled {
        let largest = largest.abs();
        let pick = |steps: &[(&str, f64)], base: &str| {
            let fits = steps.iter().rev().find(|(_, factor)| largest >= *factor);
            let (prefix, factor) = fits.copied().unwrap_or((steps[0].0, steps[0].1));
            Scaled {
                divisor: factor,
                symbol: format!("{prefix}{base}"),
            }
        };
        match self {
            Self::Share => Scaled {
                divisor: 0.01,
                symbol: "%".to_owned(),
            },
            Self::BitsPerSecond => pick(&DECIMAL, "bit/s"),
            Self::Bytes => pick(&BINARY, "B"),
            Self::Microseconds => pick(&TIME, ""),
            _ => Scaled {
                divisor: 1.0,
                symbol: self.plain_symbol().to_owned(),
            },
        }
    }

    fn plain_symbol(self) -> &'static str {
        match self {
            Self::Percent => "%",
            Self::CpuSeconds => "CPU s",
            Self::Nanoseconds => "ns",
            Self::Packets => "packets",
            Self::RequestsPerSecond => "requests/s",
            Self::CyclesPerPacket => "cycles/packet",
            Self::CyclesPerByte => "cycles/byte",
            Self::ReferenceCyclesPerPacket => "ref. cycles/packet",
            Self::ReferenceCyclesPerByte => "ref. cycles/byte",
            Self::SoftwareEventsPerPacket => "software events/packet",
            Self::SoftwareEventsPerByte => "software events/byte",
            Self::NanosecondsPerPacket => "CPU ns/packet",
            Self::NanosecondsPerByte => "CPU ns/byte",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unit: Unit, largest: f64, symbol: &str, divisor: f64) {
        let scaled = unit.scaled_for(largest);
        assert_eq!((scaled.symbol.as_str(), scaled.divisor), (symbol, divisor));
    }

    #[test]
    fn the_multiple_follows_the_largest_value() {
        check(Unit::BitsPerSecond, 9.4e9, "Gbit/s", 1e9);
        check(Unit::BitsPerSecond, 999.0, "bit/s", 1.0);
        check(Unit::Bytes, 1_536.0, "KiB", 1_024.0);
        check(Unit::Microseconds, 0.4, "µs", 1.0);
        check(Unit::Microseconds, -2e6, "s", 1e6);
        check(Unit::Share, 0.6, "%", 0.01);
        check(Unit::Count, 1e9, "", 1.0);
    }
}
