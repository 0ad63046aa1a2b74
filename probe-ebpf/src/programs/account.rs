//! Adding a packet to its flow: the path that every packet takes.
//!
//! A flow's first packet makes an entry in the hash map. A later one normally finds its flow in
//! the front table, a direct-mapped per-CPU array, and adds there without atomics. When another
//! flow owns the slot, the packet adds to the hash map; an owner that has sent nothing for some
//! collisions is written back and loses the slot. So one busy flow costs an array access, and
//! many equally busy ones cost no more than the hash map alone.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_ktime_get_ns};
use probe_abi::flow::{
    FRONT_SIDES, FRONT_SLOTS, FlowKey4, FlowKey6, FlowRecord, Slot4, Slot6, Tally, made,
};

use super::{
    atomic,
    buffer::Amount,
    made::note_key,
    maps::{CONTROL, FLOWS4, FLOWS6, FRONT4, FRONT6, MADE4, MADE6},
};

/// Collisions that a slot's owner survives after its last packet.
const CREDIT: u32 = 64;

/// Which half of the front table a hook uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// tc hooks: softirqs are off, so programs never nest on a CPU.
    Tc,
    /// cgroup_skb hooks: a softirq or another task may run one inside another.
    Pod,
}

/// A key of either address family, with its maps.
pub trait FlowKey: Copy + PartialEq + 'static {
    /// The front table's slot.
    type Slot;
    /// The slot at `index` on this CPU.
    fn slot(index: u32) -> Option<*mut Self::Slot>;
    /// The key field of a slot.
    fn key_of(slot: *mut Self::Slot) -> *mut Self;
    /// The counters of a slot.
    fn tally_of(slot: *mut Self::Slot) -> *mut Tally;
    /// The flow's record.
    fn record(&self) -> Option<*mut FlowRecord>;
    /// Makes a record; fails when it exists or the map is full.
    fn create(&self, record: &FlowRecord) -> bool;
    /// Mixes the key into a slot number.
    fn mix(&self) -> u32;
    /// Sets the generation.
    fn set_generation(&mut self, generation: u8);
    /// The generation.
    fn generation(&self) -> u32;
}

/// What is known of a packet's flow once the packet was added.
#[derive(Clone, Copy)]
pub struct Counted {
    /// Buffers that the flow has had, as far as this CPU's slot or the record knows; 0 when the map
    /// turned the flow away.
    pub buffers: u64,
    /// At an uplink: not zero when the wire hook needs no more of its packets. At a pod hook: the
    /// mark that it was given.
    pub looked: u32,
}

/// Adds a packet. The key gets the generation, and stays in its place: a copy would not fit on the
/// stack.
#[inline(always)]
pub fn account<K: FlowKey>(key: &mut K, side: Side, generation: u32, amount: &Amount) -> Counted {
    key.set_generation(generation as u8);
    let key = &*key;
    let Some(slot) = K::slot(slot_index(key, side, generation)) else {
        return add_to_record(key, amount);
    };
    let tally = K::tally_of(slot);
    // SAFETY: `slot` is this CPU's live array element. On the pod side the busy word keeps nested
    // programs out of it; on the tc side nothing nests.
    unsafe {
        if side == Side::Pod && atomic::swap(&raw mut (*tally).busy, 1) != 0 {
            return add_to_record(key, amount);
        }
        let counted = if *K::key_of(slot) == *key {
            add_to_tally(tally, amount)
        } else {
            collide(key, slot, amount)
        };
        if side == Side::Pod {
            core::ptr::write_volatile(&raw mut (*tally).busy, 0);
        }
        counted
    }
}

/// Notes that the wire hook needs no more packets of a flow at an uplink, whose key names its
/// generation: where this CPU would look next.
#[inline(always)]
pub fn settle<K: FlowKey>(key: &K) {
    let index = slot_index(key, Side::Tc, key.generation());
    // SAFETY: the slot is this CPU's live array element, and on the tc side nothing nests; the
    // record is a live map value, and every writer of the word stores the same.
    unsafe {
        if let Some(slot) = K::slot(index)
            && *K::key_of(slot) == *key
        {
            (*K::tally_of(slot)).looked = 1;
        } else if let Some(record) = key.record() {
            (*record).looked = 1;
        }
    }
}

/// Marks a flow at a pod hook; packets find the mark in [`Counted::looked`]. A program that runs
/// inside another one's slot leaves it to the flow's next packet.
#[inline(always)]
pub fn mark<K: FlowKey>(key: &K, mark: u32) {
    // SAFETY: the slot is this CPU's live array element, and the busy word keeps nested programs
    // out of it; the record is a live map value.
    unsafe {
        if let Some(slot) = K::slot(slot_index(key, Side::Pod, key.generation())) {
            let tally = K::tally_of(slot);
            if atomic::swap(&raw mut (*tally).busy, 1) != 0 {
                return;
            }
            let owns = *K::key_of(slot) == *key;
            if owns {
                (*tally).looked = mark;
            }
            core::ptr::write_volatile(&raw mut (*tally).busy, 0);
            if owns {
                return;
            }
        }
        if let Some(record) = key.record() {
            (*record).looked = mark;
        }
    }
}

#[inline(always)]
fn slot_index<K: FlowKey>(key: &K, side: Side, generation: u32) -> u32 {
    let row = (generation & 1) * FRONT_SIDES + side as u32;
    row * FRONT_SLOTS + key.mix() % FRONT_SLOTS
}

/// The generation that programs write to now.
#[inline(always)]
pub fn generation() -> u32 {
    match CONTROL.get_ptr(0) {
        // SAFETY: the control map's only element always exists.
        Some(control) => unsafe { core::ptr::read_volatile(&raw const (*control).generation) },
        None => 0,
    }
}

/// Whether a flow's packet is one of those at which costlier things are done: the first, second,
/// fourth, eighth and so on.
#[inline(always)]
pub fn is_sampled(buffers: u64) -> bool {
    buffers & buffers.wrapping_sub(1) == 0
}

#[inline(always)]
unsafe fn add_to_tally(tally: *mut Tally, amount: &Amount) -> Counted {
    // SAFETY: the caller owns the slot.
    unsafe {
        (*tally).packets += amount.packets;
        (*tally).bytes += amount.bytes;
        (*tally).buffer_bytes += amount.buffer_bytes;
        (*tally).last_jiffies = amount.jiffies;
        (*tally).tcp_flags |= amount.tcp_flags;
        (*tally).credit = CREDIT;
        let buffers = (*tally).buffers + 1;
        (*tally).buffers = buffers;
        Counted {
            buffers,
            looked: (*tally).looked,
        }
    }
}

/// A packet met a slot that another flow owns, or nobody.
#[inline(always)]
unsafe fn collide<K: FlowKey>(key: &K, slot: *mut K::Slot, amount: &Amount) -> Counted {
    let tally = K::tally_of(slot);
    let counted = add_to_record(key, amount);
    // SAFETY: the caller owns the slot.
    unsafe {
        if (*tally).credit > 0 {
            (*tally).credit -= 1;
        } else if counted.buffers != 0 {
            if (*tally).buffers != 0 {
                write_back(&*K::key_of(slot), tally);
            }
            *K::key_of(slot) = *key;
            (*tally).packets = 0;
            (*tally).bytes = 0;
            (*tally).buffers = 0;
            (*tally).buffer_bytes = 0;
            (*tally).tcp_flags = 0;
            (*tally).looked = counted.looked;
            (*tally).credit = CREDIT;
        }
    }
    counted
}

#[inline(always)]
fn add_to_record<K: FlowKey>(key: &K, amount: &Amount) -> Counted {
    let counted = |buffers, looked| Counted { buffers, looked };
    let record = match key.record() {
        Some(record) => record,
        None => {
            if create(key, amount) {
                return counted(1, 0);
            }
            // Another CPU may have made the entry meanwhile; else the map is full.
            match key.record() {
                Some(record) => record,
                None => return counted(0, 0),
            }
        }
    };
    // SAFETY: the record is a live map value: entries of the current generation are not deleted.
    unsafe {
        atomic::add(&raw mut (*record).packets, amount.packets);
        atomic::add(&raw mut (*record).bytes, amount.bytes);
        atomic::add(&raw mut (*record).buffer_bytes, amount.buffer_bytes);
        let before = atomic::fetch_add(&raw mut (*record).buffers, 1);
        touch(record, amount.jiffies, amount.tcp_flags);
        counted(before + 1, (*record).looked)
    }
}

/// Out of line, since it happens once a flow and its record takes much of the stack.
#[inline(never)]
fn create<K: FlowKey>(key: &K, amount: &Amount) -> bool {
    let record = FlowRecord {
        packets: amount.packets,
        bytes: amount.bytes,
        buffers: 1,
        buffer_bytes: amount.buffer_bytes,
        // SAFETY: the helper takes nothing.
        first_ns: unsafe { bpf_ktime_get_ns() },
        first_jiffies: amount.jiffies,
        last_jiffies: amount.jiffies,
        tcp_flags: amount.tcp_flags,
        ..FlowRecord::default()
    };
    key.create(&record)
}

/// Adds what a slot holds to its flow's record, which exists: a slot is only given to a flow that
/// has one, and records of the current generation stay.
#[inline(always)]
unsafe fn write_back<K: FlowKey>(key: &K, tally: *mut Tally) {
    let Some(record) = key.record() else { return };
    // SAFETY: the caller owns the slot; the record is a live map value.
    unsafe {
        atomic::add(&raw mut (*record).packets, (*tally).packets);
        atomic::add(&raw mut (*record).bytes, (*tally).bytes);
        atomic::add(&raw mut (*record).buffers, (*tally).buffers);
        atomic::add(&raw mut (*record).buffer_bytes, (*tally).buffer_bytes);
        touch(record, (*tally).last_jiffies, (*tally).tcp_flags);
        if (*tally).looked != 0 {
            (*record).looked = (*tally).looked;
        }
    }
}

/// Notes time and flags. Plain stores: two CPUs at once may lose a flag or a tick to each other,
/// and no count.
#[inline(always)]
unsafe fn touch(record: *mut FlowRecord, jiffies: u32, tcp_flags: u32) {
    // SAFETY: the caller vouches for the record.
    unsafe {
        if jiffies.wrapping_sub((*record).last_jiffies) as i32 > 0 {
            (*record).last_jiffies = jiffies;
        }
        if (*record).tcp_flags & tcp_flags != tcp_flags {
            (*record).tcp_flags |= tcp_flags;
        }
    }
}

macro_rules! family {
    ($key:ty, $slot:ty, $flows:ident, $front:ident, $made:ident, $mix:expr) => {
        impl FlowKey for $key {
            type Slot = $slot;
            #[inline(always)]
            fn slot(index: u32) -> Option<*mut $slot> {
                $front.get_ptr_mut(index)
            }
            #[inline(always)]
            fn key_of(slot: *mut $slot) -> *mut Self {
                // SAFETY: only the address is taken.
                unsafe { &raw mut (*slot).key }
            }
            #[inline(always)]
            fn tally_of(slot: *mut $slot) -> *mut Tally {
                // SAFETY: only the address is taken.
                unsafe { &raw mut (*slot).tally }
            }
            #[inline(always)]
            fn record(&self) -> Option<*mut FlowRecord> {
                $flows.get_ptr_mut(self)
            }
            #[inline(always)]
            fn create(&self, record: &FlowRecord) -> bool {
                let is_new = $flows.insert(self, record, u64::from(BPF_NOEXIST)).is_ok();
                if is_new {
                    note_key(made::$flows, u32::from(self.generation), &$made, self);
                }
                is_new
            }
            #[inline(always)]
            fn mix(&self) -> u32 {
                let mix: fn(&$key) -> u32 = $mix;
                mix(self)
            }
            #[inline(always)]
            fn set_generation(&mut self, generation: u8) {
                self.generation = generation;
            }
            #[inline(always)]
            fn generation(&self) -> u32 {
                u32::from(self.generation)
            }
        }
    };
}

/// Spreads a word over the high bits (Knuth's multiplicative hashing) and takes those.
#[inline(always)]
fn spread(word: u32) -> u32 {
    word.wrapping_mul(0x9e37_79b1) >> 16
}

#[inline(always)]
fn ports(src: u16, dst: u16, hook: u8, scope: u64) -> u32 {
    ((u32::from(src) << 16) | u32::from(dst)) ^ (u32::from(hook) << 11) ^ scope as u32
}

family!(FlowKey4, Slot4, FLOWS4, FRONT4, MADE4, |key| {
    spread(
        key.src ^ key.dst.rotate_left(7) ^ ports(key.src_port, key.dst_port, key.hook, key.scope),
    )
});
family!(FlowKey6, Slot6, FLOWS6, FRONT6, MADE6, |key| {
    spread(
        key.src[3]
            ^ key.src[1]
            ^ key.dst[3].rotate_left(7)
            ^ key.dst[1]
            ^ ports(key.src_port, key.dst_port, key.hook, key.scope),
    )
});
