//! The order of a campaign's runs: randomised complete blocks.
//!
//! Each block holds every case once, in an order drawn from the seed. So a machine that grows warm,
//! or a neighbour who comes and goes, meets all cases alike and not one of them. Pure: the same
//! seed gives the same order for ever, which is why the generator is written down here and is not
//! that of a crate, whose next version may draw otherwise.

/// A run's place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The block, from 1.
    pub block: u32,
    /// Index of the case.
    pub case: usize,
}

/// Every case once a block, block after block.
pub fn randomised_blocks(cases: usize, blocks: u32, seed: u64) -> Vec<Slot> {
    let mut random = SplitMix64(seed);
    let mut slots = Vec::new();
    for block in 1..=blocks {
        let mut order: Vec<usize> = (0..cases).collect();
        // Fisher and Yates, from the end.
        for last in (1..cases).rev() {
            order.swap(last, random.below(last + 1));
        }
        slots.extend(order.into_iter().map(|case| Slot { block, case }));
    }
    slots
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the numbers below `bound`, each as likely as any other.
    fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        // What lies above the largest multiple of the bound would favour small numbers.
        let fair = u64::MAX - u64::MAX % bound;
        loop {
            let drawn = self.next();
            if drawn < fair {
                return usize::try_from(drawn % bound).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn every_case_is_run_once_a_block_and_no_case_before_another() {
        for (cases, blocks) in [(1, 3), (2, 2), (4, 8), (16, 5)] {
            let slots = randomised_blocks(cases, blocks, 7);
            assert_eq!(slots.len(), cases * blocks as usize);
            for (block, slots) in (1..=blocks).zip(slots.chunks(cases)) {
                assert!(slots.iter().all(|slot| slot.block == block));
                let distinct: BTreeSet<usize> = slots.iter().map(|slot| slot.case).collect();
                assert_eq!(distinct, (0..cases).collect());
            }
            let position = |case: usize, last: bool| {
                let mut of_case = slots
                    .iter()
                    .enumerate()
                    .filter(|(_, slot)| slot.case == case);
                let found = if last {
                    of_case.next_back()
                } else {
                    of_case.next()
                };
                found.map(|(position, _)| position).unwrap()
            };
            for one in 0..cases {
                for other in (0..cases).filter(|other| *other != one) {
                    assert!(position(one, true) > position(other, false));
                }
            }
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        assert_eq!(randomised_blocks(4, 8, 42), randomised_blocks(4, 8, 42));
        assert_ne!(randomised_blocks(4, 8, 42), randomised_blocks(4, 8, 43));
        // More repetitions continue the order that fewer began.
        assert_eq!(
            randomised_blocks(4, 8, 42)[..16],
            randomised_blocks(4, 4, 42)
        );
        // The generator's published first outputs for seed 0.
        let mut random = SplitMix64(0);
        assert_eq!(
            [random.next(), random.next()],
            [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]
        );
    }

    #[test]
    fn every_order_of_a_block_is_as_likely_as_any_other() {
        let mut counts = BTreeMap::<Vec<usize>, u32>::new();
        let slots = randomised_blocks(3, 6000, 1);
        for block in slots.chunks(3) {
            *counts
                .entry(block.iter().map(|slot| slot.case).collect())
                .or_default() += 1;
        }
        assert_eq!(counts.len(), 6);
        // 1,000 are expected of each; five standard deviations are 144.
        assert!(
            counts.values().all(|count| (856..=1144).contains(count)),
            "{counts:?}"
        );
    }
}
