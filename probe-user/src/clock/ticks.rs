//! Kernel ticks (jiffies) as monotonic time.
//!
//! The hot path stamps flows with the tick counter, which costs nothing to read. Pairs of both
//! clocks, taken in the kernel at one moment, give the tick's length and its edge. Pure. It refuses
//! to convert before the length is known, and lengths that no kernel is built with.

/// Tick rates that kernels are built with (`kernel/Kconfig.hz`).
const RATES_HZ: [u64; 4] = [100, 250, 300, 1000];
/// Ticks between the outermost pairs before the rate is judged: off by one at either end, 250 and
/// 300 must still be told apart.
const LEAST_TICKS: u64 = 25;
/// How far a measured rate may be from one of [`RATES_HZ`], in percent.
const TOLERANCE_PERCENT: u64 = 8;
const SECOND_NS: u64 = 1_000_000_000;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// `bpf_ktime_get_ns()`.
    pub monotonic_ns: u64,
    /// `bpf_jiffies64()`.
    pub jiffies: u64,
}

/// Why the pairs do not give a tick rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel ticks at about {measured_hz} Hz, which is none of 100, 250, 300 and 1000")]
pub struct UnknownRate {
    /// What the pairs say.
    pub measured_hz: u64,
}

/// The tick counter's rate and edge, as far as the pairs seen so far tell.
#[derive(Clone, Debug, Default)]
pub struct Ticks {
    first: Option<Pair>,
    /// The rate, and of all pairs since it is known the one nearest after a tick's edge.
    known: Option<(u64, Pair)>,
}

impl Ticks {
    /// A counter at a rate that is known from elsewhere.
    pub fn at_rate(hz: u64, pair: Pair) -> Self {
        Self {
            first: Some(pair),
            known: Some((hz, pair)),
        }
    }

    /// Takes another pair into account.
    pub fn observe(&mut self, pair: Pair) -> Result<(), UnknownRate> {
        let first = *self.first.get_or_insert(pair);
        match &mut self.known {
            Some((hz, nearest)) => {
                if edge_ns(pair, *hz) < edge_ns(*nearest, *hz) {
                    *nearest = pair;
                }
            }
            None => {
                if let Some(hz) = rate_hz(first, pair)? {
                    let later = edge_ns(pair, hz) < edge_ns(first, hz);
                    self.known = Some((hz, if later { pair } else { first }));
                }
            }
        }
        Ok(())
    }

    /// Ticks a second, once known.
    pub fn rate_hz(&self) -> Option<u64> {
        self.known.map(|(hz, _)| hz)
    }

    /// Length of a tick, once known: how far apart two stamps of the same tick may be.
    pub fn tick_ns(&self) -> Option<u64> {
        self.rate_hz().map(tick_ns)
    }

    /// Monotonic time at which the tick began; none before the rate is known.
    pub fn monotonic_ns(&self, jiffies: u64) -> Option<u64> {
        let (hz, nearest) = self.known?;
        let edge_ns = edge_ns(nearest, hz) + i128::from(jiffies) * i128::from(tick_ns(hz));
        Some(u64::try_from(edge_ns).unwrap_or(0))
    }
}

/// When tick zero began, if the pair was taken on a tick's edge; later by up to a tick if not. So
/// of many pairs the least is nearest to the truth.
fn edge_ns(pair: Pair, hz: u64) -> i128 {
    i128::from(pair.monotonic_ns) - i128::from(pair.jiffies) * i128::from(tick_ns(hz))
}

/// The kernel's `TICK_NSEC`, rounded as it rounds it (`include/linux/jiffies.h`).
fn tick_ns(hz: u64) -> u64 {
    (SECOND_NS + hz / 2) / hz
}

/// The rate between two pairs; none while they are too near to tell.
fn rate_hz(first: Pair, last: Pair) -> Result<Option<u64>, UnknownRate> {
    let ticks = last.jiffies.saturating_sub(first.jiffies);
    let passed_ns = last.monotonic_ns.saturating_sub(first.monotonic_ns);
    if ticks < LEAST_TICKS || passed_ns == 0 {
        return Ok(None);
    }
    let measured_hz = (u128::from(ticks) * u128::from(SECOND_NS) / u128::from(passed_ns)) as u64;
    let near = |hz: &&u64| hz.abs_diff(measured_hz) * 100 <= **hz * TOLERANCE_PERCENT;
    match RATES_HZ.iter().find(near) {
        Some(hz) => Ok(Some(*hz)),
        None => Err(UnknownRate { measured_hz }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A kernel whose tick zero began at `zero_ns`.
    fn pair(hz: u64, zero_ns: u64, monotonic_ns: u64) -> Pair {
        Pair {
            monotonic_ns,
            jiffies: (monotonic_ns - zero_ns) / tick_ns(hz),
        }
    }

    proptest! {
        #[test]
        fn any_rate_is_found_and_any_tick_converted_to_within_one(
            hz in prop::sample::select(&RATES_HZ[..]),
            zero_ns in 0u64..1_000_000_000,
            start_ns in 1_000_000_000u64..1_000_000_000_000_000,
            gap_ns in 300_000_000u64..10_000_000_000,
            later_ns in 0u64..1_000_000_000_000,
        ) {
            let mut ticks = Ticks::default();
            for reading in 0..20 {
                ticks.observe(pair(hz, zero_ns, start_ns + reading * gap_ns)).unwrap();
            }
            prop_assert_eq!(ticks.rate_hz(), Some(hz));
            let stamp = pair(hz, zero_ns, start_ns + later_ns);
            let begun_ns = ticks.monotonic_ns(stamp.jiffies).unwrap();
            prop_assert!(begun_ns.abs_diff(stamp.monotonic_ns) <= tick_ns(hz));
        }
    }

    #[test]
    fn pairs_that_are_too_near_say_nothing() {
        let mut ticks = Ticks::default();
        for ms in [1000, 1001, 1020] {
            ticks.observe(pair(1000, 0, ms * 1_000_000)).unwrap();
            assert_eq!(ticks.monotonic_ns(1000), None);
        }
        ticks.observe(pair(1000, 0, 1_050_000_000)).unwrap();
        assert_eq!(ticks.monotonic_ns(1000), Some(1_000_000_000));
        assert_eq!(ticks.tick_ns(), Some(1_000_000));
    }

    #[test]
    fn a_pair_nearer_to_the_edge_is_believed() {
        let mut ticks = Ticks::at_rate(
            100,
            Pair {
                monotonic_ns: 1_009_000_000,
                jiffies: 100,
            },
        );
        assert_eq!(ticks.monotonic_ns(200), Some(2_009_000_000));
        ticks
            .observe(Pair {
                monotonic_ns: 1_510_001_000,
                jiffies: 151,
            })
            .unwrap();
        assert_eq!(ticks.monotonic_ns(200), Some(2_000_001_000));
        ticks
            .observe(Pair {
                monotonic_ns: 1_605_000_000,
                jiffies: 160,
            })
            .unwrap();
        assert_eq!(ticks.monotonic_ns(200), Some(2_000_001_000));
    }

    #[test]
    fn a_rate_that_no_kernel_has_is_refused() {
        let mut ticks = Ticks::default();
        ticks
            .observe(Pair {
                monotonic_ns: 0,
                jiffies: 0,
            })
            .unwrap();
        let error = ticks
            .observe(Pair {
                monotonic_ns: SECOND_NS,
                jiffies: 600,
            })
            .unwrap_err();
        assert_eq!(error, UnknownRate { measured_hz: 600 });
    }
}
