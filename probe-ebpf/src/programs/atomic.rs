//! The BPF atomics that the compiler does not offer on this target.
//!
//! `AtomicU64` has no read-modify-write methods where a target lacks compare-and-swap in its
//! baseline, so the instructions are written out (RFC 9669 section 5.3).

use core::arch::asm;

/// Adds without returning the old value.
///
/// # Safety
///
/// `to` must point into a live map value, aligned to 8.
#[inline(always)]
pub unsafe fn add(to: *mut u64, amount: u64) {
    // SAFETY: the caller vouches for the pointer.
    unsafe { asm!("lock *(u64 *)({to} + 0) += {amount}", to = in(reg) to, amount = in(reg) amount) }
}

/// Adds and returns the value before.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub unsafe fn fetch_add(to: *mut u64, amount: u64) -> u64 {
    let mut value = amount;
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        asm!("{value} = atomic_fetch_add((u64 *)({to} + 0), {value})", to = in(reg) to, value = inout(reg) value);
    }
    value
}

/// Stores and returns the value before.
///
/// # Safety
///
/// As for [`add`].
#[inline(always)]
pub unsafe fn swap(to: *mut u64, new: u64) -> u64 {
    let mut value = new;
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        asm!("{value} = xchg_64({to} + 0, {value})", to = in(reg) to, value = inout(reg) value);
    }
    value
}
