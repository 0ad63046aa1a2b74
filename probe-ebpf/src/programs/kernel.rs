//! The kernel's structures, at offsets that user space finds in its BTF.

/// Reads a field of a kernel structure.
///
/// # Safety
///
/// `at` must be a BTF pointer whose type has a `T` at `offset`.
#[inline(always)]
pub unsafe fn field<T: Copy>(at: *const u8, offset: u32) -> T {
    // SAFETY: the caller vouches for it.
    unsafe { core::ptr::read_volatile(at.add(offset as usize).cast()) }
}
