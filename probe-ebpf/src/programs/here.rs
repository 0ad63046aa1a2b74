//! Looking at the uplink itself, where no program follows ours on its way out.
//!
//! There the head of tc egress sees the packet as it leaves, after netfilter's NAT, so that the
//! tracepoint behind it ([`super::wire`]) may stay off and costs other packets nothing. User space
//! says when that holds ([`probe_abi::params::Control`]) and doubts the intervals in which it changed.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_probe_read_kernel};
use probe_abi::{loss::reason, wire::Fingerprint};
use probe_ebpf::packet::{ETHERNET_LENGTH, Headers};

use super::{
    account::generation,
    buffer::{Buffer, PARSED, UNPARSED, headers as parse_headers, is_tunnel},
    look::{Departing, look},
    loss::lose_pairing,
    maps::{CONTROL, REQUEST},
    pairing::take_print,
};

/// A packet at an uplink's egress.
#[derive(Clone, Copy)]
struct Leaving(Buffer);

impl Departing for Leaving {
    #[inline(always)]
    fn print(self, headers: &Headers, out: &mut Fingerprint) -> u32 {
        u32::from(take_print(self.0.skb, self.0.linear_length(), headers, out) == 0)
    }

    #[inline(always)]
    fn conntrack_entry(self, offset: u32) -> u64 {
        let Some(request) = REQUEST.get_ptr_mut(0) else {
            return 0;
        };
        // The context is the sk_buff's address, from which the verifier lets nothing be read: the
        // word that it is stored in is a number. Nothing is asked of the tracepoint, which is off.
        // SAFETY: the request is this CPU's, and the helper faults safely.
        unsafe {
            core::ptr::write_volatile(&raw mut (*request).skb, self.0.skb as u64);
            let skb = core::ptr::read_volatile(&raw const (*request).skb);
            bpf_probe_read_kernel((skb + u64::from(offset)) as *const u64).unwrap_or(0)
        }
    }
}

/// Whether packets are looked at here.
#[inline(always)]
pub fn pairs_here() -> bool {
    match CONTROL.get_ptr(0) {
        // SAFETY: the control map's only element always exists.
        Some(control) => unsafe {
            core::ptr::read_volatile(&raw const (*control).pair_at_uplink) != 0
        },
        None => false,
    }
}

/// Looks at one packet. Not zero when no more of its flow's are needed in this generation.
#[inline(always)]
pub fn look_here<const LINK: usize>(skb: *mut __sk_buff, ifindex: u32) -> u32 {
    if LINK == 0 {
        look_from_ip(skb, ifindex)
    } else {
        look_from_link(skb, ifindex)
    }
}

/// Global, so that the verifier looks at it once by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn look_from_ip(skb: *mut __sk_buff, ifindex: u32) -> u32 {
    look_from::<0>(skb, ifindex)
}

/// See [`look_from_ip`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn look_from_link(skb: *mut __sk_buff, ifindex: u32) -> u32 {
    look_from::<{ ETHERNET_LENGTH as usize }>(skb, ifindex)
}

#[inline(always)]
fn look_from<const LINK: usize>(skb: *mut __sk_buff, ifindex: u32) -> u32 {
    let mut headers = Headers::default();
    match parse_headers::<LINK>(skb, &mut headers) {
        PARSED if !is_tunnel(&headers) => {
            u32::from(look(Leaving(Buffer { skb }), ifindex, &headers))
        }
        UNPARSED => {
            lose_pairing(ifindex, u32::from(reason::IP_UNPARSED), generation());
            0
        }
        _ => 1,
    }
}
