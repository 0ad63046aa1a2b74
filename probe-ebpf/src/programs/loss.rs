//! Counting what no flow holds.

use aya_ebpf::bindings::{__sk_buff, BPF_NOEXIST};
use aya_log_ebpf::warn;
use probe_abi::{
    flow::hook,
    loss::{LossCount, LossKey, reason},
};

use super::{atomic, buffer::Amount, maps::LOSSES};

/// Adds a packet to a loss counter.
#[inline(never)]
pub fn lose(ifindex: u32, hook_reason: u32, generation: u32, amount: &Amount) {
    add(
        LossKey {
            ifindex,
            hook: (hook_reason >> 8) as u8,
            reason: hook_reason as u8,
            generation: generation as u8,
            reserved: 0,
        },
        amount.packets,
        amount.bytes,
        amount.buffer_bytes,
    );
}

/// Adds one event at the wire hook.
#[inline(never)]
pub fn lose_pairing(ifindex: u32, reason: u32, generation: u32) {
    add(
        LossKey {
            ifindex,
            hook: hook::WIRE,
            reason: reason as u8,
            generation: generation as u8,
            reserved: 0,
        },
        1,
        0,
        0,
    );
}

/// Adds one event at a hook that has no interface.
#[inline(never)]
pub fn lose_event(hook: u8, reason: u8, generation: u32) {
    let key = LossKey {
        ifindex: 0,
        hook,
        reason,
        generation: generation as u8,
        reserved: 0,
    };
    add(key, 1, 0, 0);
}

/// `hook` and `reason` in one register.
#[inline(always)]
pub const fn code(hook: u8, reason: u8) -> u32 {
    ((hook as u32) << 8) | reason as u32
}

/// Tells the log, once a generation, that a flow map is full.
#[inline(never)]
pub fn report_overflow(skb: *mut __sk_buff, ifindex: u32, hook: u32, generation: u32) {
    let key = LossKey {
        ifindex,
        hook: hook as u8,
        reason: reason::OVERFLOW,
        generation: generation as u8,
        reserved: 0,
    };
    if LOSSES.get_ptr(key).is_none() {
        let ctx = aya_ebpf::programs::SkBuffContext::new(skb);
        warn!(
            &ctx,
            "flow map full at hook {} on interface {}: further flows of this interval count as overflow",
            hook,
            ifindex
        );
    }
}

#[inline(always)]
fn add(key: LossKey, packets: u64, bytes: u64, buffer_bytes: u64) {
    let count = LossCount {
        packets,
        bytes,
        buffers: 1,
        buffer_bytes,
    };
    if LOSSES.get_ptr(key).is_none() && LOSSES.insert(key, count, u64::from(BPF_NOEXIST)).is_ok() {
        return;
    }
    if let Some(known) = LOSSES.get_ptr_mut(key) {
        // SAFETY: the pointer is a live map value; entries of the current generation stay.
        unsafe {
            atomic::add(&raw mut (*known).packets, packets);
            atomic::add(&raw mut (*known).bytes, bytes);
            atomic::add(&raw mut (*known).buffers, 1);
            atomic::add(&raw mut (*known).buffer_bytes, buffer_bytes);
        }
    }
}
