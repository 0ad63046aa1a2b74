//! The lab's eBPF datapath: source NAT on a node's uplink, as Cilium does it.
//!
//! On the host this is an empty program, so that the workspace can be checked there.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod snat;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
