//! One node for each kernel and interval.
//!
//! Several nodes may share a kernel (kind, the lab). Rows that speak of the whole kernel are then
//! to be taken from one of them, and which one may change while a dataset is written. It refuses
//! to compare what the rows say: the first node to speak of a time has it.

use std::collections::{BTreeMap, HashMap};

/// Which node's rows were taken for which time of which kernel.
#[derive(Clone, Debug, Default)]
pub struct OneNodeAKernel {
    /// By boot id, then by start; the end and the node.
    taken: HashMap<String, BTreeMap<i64, (i64, String)>>,
}

impl OneNodeAKernel {
    /// The boot ids of kernels of which rows were taken.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.taken.keys().map(String::as_str)
    }

    /// Whether a kernel-wide row counts. It does not where the middle of its interval lies in one
    /// that another node of the kernel has been taken for: nodes end their intervals at times of
    /// their own.
    pub fn take(&mut self, boot_id: &str, node: &str, interval_us: (i64, i64)) -> bool {
        let (start_us, end_us) = interval_us;
        let Some(taken) = self.taken.get_mut(boot_id) else {
            let first = BTreeMap::from([(start_us, (end_us, node.to_owned()))]);
            self.taken.insert(boot_id.to_owned(), first);
            return true;
        };
        let middle_us = start_us + (end_us - start_us) / 2;
        // One that began earlier may be longer than all behind it, but nodes' intervals are alike.
        let others = taken.range(..=middle_us).rev().take(NEIGHBOURS);
        let mut others = others.map(|(_, interval)| interval);
        if others.any(|(end_us, other)| other != node && middle_us < *end_us) {
            return false;
        }
        taken
            .entry(start_us)
            .or_insert_with(|| (end_us, node.to_owned()));
        true
    }
}

/// How many of the intervals that began before are looked at.
const NEIGHBOURS: usize = 4;
