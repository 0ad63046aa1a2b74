//! What a generation made in each map, so that few entries are found by their keys.
//!
//! A map has room for all flows that a node may have, and a look through all of it costs for each
//! of its buckets, though most nodes have few flows at a time. Programs count what they make and
//! keep the first keys: [`probe_abi::flow::made`].

use std::{io, os::fd::AsFd};

use anyhow::Context;
use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use probe_abi::flow::{GENERATIONS, made};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    loader::take_map,
    syscall::{lookup_all, lookup_each},
};

/// The counts of one map, and the keys that go with them.
pub struct Made {
    counts: Array<MapData, u64>,
}

/// What is known of a generation's new entries.
pub enum Keys<K> {
    /// All of them.
    These(Vec<K>),
    /// There are too many to be kept.
    Many,
}

impl Made {
    /// Takes the counts out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let counts = Array::try_from(Map::Array(take_map(ebpf, "MADE")?))?;
        Ok(Self { counts })
    }

    /// How many entries a closed generation made in a map.
    pub fn count(&self, map: u32, closed: u8) -> anyhow::Result<u64> {
        let index = map * GENERATIONS + u32::from(closed);
        let count = self.counts.get(&index, 0);
        count.context("cannot read how many entries were made")
    }

    /// Their keys.
    pub fn keys<K>(&self, map: u32, kept: &MapData, closed: u8) -> anyhow::Result<Keys<K>>
    where
        K: FromBytes + Clone,
    {
        let count = self.count(map, closed)?;
        if count > u64::from(made::KEPT) {
            return Ok(Keys::Many);
        }
        if count == 0 {
            return Ok(Keys::These(Vec::new()));
        }
        let first = u32::from(closed) * made::KEPT;
        let (_, keys) =
            lookup_all::<u32, K>(kept.fd().as_fd(), 1, first.checked_sub(1), count as usize)
                .context("cannot read which entries were made")?;
        Ok(Keys::These(keys))
    }

    /// Counts from nothing again, once the closed generation was read.
    pub fn reset(&mut self, closed: u8) -> anyhow::Result<()> {
        for map in 0..made::MAPS {
            let index = map * GENERATIONS + u32::from(closed);
            let done = self.counts.set(index, 0, 0);
            done.context("cannot reset how many entries were made")?;
        }
        Ok(())
    }
}

/// Entries of a map: those of the keys, or all.
pub fn entries<K, V>(map: &MapData, keys: &Keys<K>) -> io::Result<Vec<(K, V)>>
where
    K: FromBytes + IntoBytes + Immutable + Clone,
    V: FromBytes + Clone,
{
    match keys {
        Keys::These(keys) => lookup_each(map.fd().as_fd(), keys),
        Keys::Many => {
            let (keys, values) = lookup_all(map.fd().as_fd(), 1, None, usize::MAX)?;
            Ok(keys.into_iter().zip(values).collect())
        }
    }
}
