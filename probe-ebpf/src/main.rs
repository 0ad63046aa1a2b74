//! The probe's eBPF object.
//!
//! One hook family a file. On the host this is an empty program, so that the crate can be checked
//! and its library tested there.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[path = "programs/mod.rs"]
mod programs;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
