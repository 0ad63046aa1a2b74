//! The pure half of the eBPF side: packet headers, fingerprints and HTTP.
//!
//! Nothing here knows of maps, hooks or helpers, so that all of it is tested on the host against
//! ordinary byte slices. The programs supply a [`packet::Load`] and get headers back.

#![cfg_attr(target_arch = "bpf", no_std)]

pub mod fingerprint;
pub mod http;
pub mod packet;
