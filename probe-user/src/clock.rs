//! Two clocks as one: the kernel's monotonic nanoseconds and UTC microseconds.
//!
//! It holds the arithmetic, which is pure, and what reads the machine's clocks. It
//! refuses to hide that UTC was stepped: the caller learns by how much. `bpf_ktime_get_ns` reads
//! `CLOCK_MONOTONIC`, so one offset, measured at each interval, serves every time of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// How many bracketed readings a measurement takes; the tightest counts.
const READINGS: usize = 8;
/// NTP may slew UTC by this much of the time that passed (adjtimex(2): 500 ppm).
const LARGEST_SLEW_PPM: u64 = 500;
/// Differences below this are no step, whatever the readings' uncertainty says.
const SMALLEST_STEP: Duration = Duration::from_millis(1);

/// UTC read between two readings of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Monotonic time before.
    pub before_ns: u64,
    /// UTC since 1970.
    pub utc_ns: i64,
    /// Monotonic time after.
    pub after_ns: u64,
}

/// UTC as a difference from monotonic time, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// UTC minus monotonic time.
    pub offset_ns: i64,
    /// Half the width of the bracket: how far off it may be.
    pub uncertainty_ns: u64,
    /// Monotonic time of the measurement.
    pub at_ns: u64,
}

/// Measures the offset of the machine's clocks.
pub fn measure() -> nix::Result<Offset> {
    let mut readings = Vec::with_capacity(READINGS);
    for _ in 0..READINGS {
        readings.push(Reading {
            before_ns: monotonic_ns()?,
            utc_ns: read(ClockId::CLOCK_REALTIME)?,
            after_ns: monotonic_ns()?,
        });
    }
    Ok(tightest(&readings).unwrap_or(Offset {
        offset_ns: 0,
        uncertainty_ns: u64::MAX,
        at_ns: 0,
    }))
}

/// UTC microseconds now, for what is not matched with the kernel's times.
pub fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Now, as `bpf_ktime_get_ns` counts.
pub fn monotonic_ns() -> nix::Result<u64> {
    Ok(read(ClockId::CLOCK_MONOTONIC)?.cast_unsigned())
}

/// The offset by the reading whose bracket is narrowest; none where there is no reading.
pub fn tightest(readings: &[Reading]) -> Option<Offset> {
    let best = readings
        .iter()
        .min_by_key(|reading| reading.after_ns - reading.before_ns)?;
    let half_ns = (best.after_ns - best.before_ns) / 2;
    let at_ns = best.before_ns + half_ns;
    Some(Offset {
        offset_ns: best.utc_ns - at_ns.cast_signed(),
        uncertainty_ns: half_ns + 1,
        at_ns,
    })
}

impl Offset {
    /// UTC microseconds of a monotonic time, rounded down.
    pub fn utc_us(&self, monotonic_ns: u64) -> i64 {
        (monotonic_ns.cast_signed() + self.offset_ns).div_euclid(1000)
    }

    /// Monotonic time of UTC microseconds; zero for times before the machine started.
    pub fn monotonic_ns(&self, utc_us: i64) -> u64 {
        u64::try_from(utc_us.saturating_mul(1000).saturating_sub(self.offset_ns)).unwrap_or(0)
    }

    /// How far UTC was set between two measurements, in nanoseconds; none where slewing and the
    /// uncertainty of both explain the difference.
    pub fn step_since(&self, earlier: &Self) -> Option<i64> {
        let step_ns = self.offset_ns - earlier.offset_ns;
        let passed_ns = self.at_ns.saturating_sub(earlier.at_ns);
        let slew_ns = passed_ns / 1_000_000 * LARGEST_SLEW_PPM;
        let explained_ns = slew_ns
            .saturating_add(self.uncertainty_ns)
            .saturating_add(earlier.uncertainty_ns)
            .max(SMALLEST_STEP.as_nanos() as u64);
        (step_ns.unsigned_abs() > explained_ns).then_some(step_ns)
    }
}

fn read(clock: ClockId) -> nix::Result<i64> {
    let now = clock_gettime(clock)?;
    Ok(now.tv_sec() * 1_000_000_000 + now.tv_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offset(offset_ns: i64, at_ns: u64) -> Offset {
        Offset {
            offset_ns,
            uncertainty_ns: 100,
            at_ns,
        }
    }

    #[test]
    fn the_narrowest_bracket_counts() {
        let readings = [
            Reading {
                before_ns: 1000,
                utc_ns: 9_999_999,
                after_ns: 50_000,
            },
            Reading {
                before_ns: 60_000,
                utc_ns: 1_060_050,
                after_ns: 60_100,
            },
            Reading {
                before_ns: 70_000,
                utc_ns: 5,
                after_ns: 70_300,
            },
        ];
        let expected = Offset {
            offset_ns: 1_000_000,
            uncertainty_ns: 51,
            at_ns: 60_050,
        };
        assert_eq!(tightest(&readings), Some(expected));
        assert_eq!(tightest(&[]), None);
    }

    #[test]
    fn slewing_is_no_step_and_setting_is() {
        let start = offset(0, 0);
        let second = 1_000_000_000;
        assert_eq!(offset(900_000, second).step_since(&start), None);
        assert_eq!(offset(-900_000, second).step_since(&start), None);
        assert_eq!(offset(4_900_000, 10 * second).step_since(&start), None);
        assert_eq!(
            offset(2_000_000, second).step_since(&start),
            Some(2_000_000)
        );
        assert_eq!(
            offset(-3_600_000_000_000, second).step_since(&start),
            Some(-3_600_000_000_000)
        );
    }

    #[test]
    fn this_machines_clock_agrees_with_the_standard_librarys() {
        let offset = measure().unwrap();
        let now_us = offset.utc_us(monotonic_ns().unwrap());
        let std_us = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_micros() as i64;
        assert!((std_us - now_us).abs() < 1_000_000, "{std_us} and {now_us}");
        assert_eq!(measure().unwrap().step_since(&offset), None);
    }

    proptest! {
        #[test]
        fn there_and_back_loses_less_than_a_microsecond(
            offset_ns in -4_000_000_000_000_000_000i64..4_000_000_000_000_000_000,
            monotonic_ns in 0u64..1_000_000_000_000_000_000,
        ) {
            let offset = offset(offset_ns, 0);
            let back = offset.monotonic_ns(offset.utc_us(monotonic_ns));
            prop_assert!(monotonic_ns - back < 1000);
        }
    }
}
