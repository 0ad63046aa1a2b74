//! Noting which entries a generation makes, for the drain: see [`probe_abi::flow::made`].

use aya_ebpf::maps::Array;
use probe_abi::flow::{GENERATIONS, made::KEPT};

use super::{atomic, maps::MADE};

/// Counts an entry that was made in one of the maps, and returns how many the generation had made
/// before it.
#[inline(always)]
pub fn note(map: u32, generation: u32) -> u64 {
    match MADE.get_ptr_mut(map * GENERATIONS + (generation & 1)) {
        // SAFETY: the pointer is a live map value.
        Some(count) => unsafe { atomic::fetch_add(count, 1) },
        None => 0,
    }
}

/// The same, and keeps its key where there is room.
#[inline(always)]
pub fn note_key<K: Copy>(map: u32, generation: u32, keys: &Array<K>, key: &K) {
    let before = note(map, generation);
    if before >= u64::from(KEPT) {
        return;
    }
    if let Some(kept) = keys.get_ptr_mut((generation & 1) * KEPT + before as u32) {
        // SAFETY: the pointer is a live map value, and the count gives each place once.
        unsafe { *kept = *key };
    }
}
