//! Numbers that look drawn and are the same each time: xorshift64* (Vigna 2016).

/// A sequence of numbers.
pub struct Draw(u64);

impl Draw {
    /// The sequence of a seed, which is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1))
    }

    /// A number from 0 to less than `end`.
    pub fn below(&mut self, end: i64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        i64::try_from(drawn).unwrap_or(0) % end
    }
}
