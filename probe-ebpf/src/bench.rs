//! The benchmark's eBPF object: the bodies of the probe's programs, in wrappers that a test run
//! can drive over many flows, beside a program that does nothing and a plain hash counter.
//!
//! It is built beside the probe's object and never shipped.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[path = "programs/mod.rs"]
mod programs;

#[cfg(target_arch = "bpf")]
mod wrappers;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
