//! What an uplink's egress hook asks of the wire hook.
//!
//! Reading headers at the wire costs many times what counting a packet does, and pairing needs few
//! of a flow's packets. So the uplink, which finds every packet's flow anyway, says which packets
//! the wire shall look at: each until the flow is paired, one in each generation after that, and
//! those that open or close a connection. The kernel runs the tc hook and the tracepoint one after
//! the other in one call with softirqs off (`__dev_queue_xmit`, net/core/dev.c), so that a per-CPU
//! word with the sk_buff's address is all it takes. A program behind ours may drop or redirect the
//! packet: then the word stays, and the address may come to a packet of another device, which the
//! wire hook tells by its interface and namespace.

use aya_ebpf::bindings::__sk_buff;
use probe_abi::flow::{FlowKey4, FlowKey6};

use super::{
    account::{FlowKey, settle},
    maps::{REQUEST, Request},
};

/// A flow's key as a request holds it.
pub trait Asking: FlowKey {
    /// 4 or 6.
    const FAMILY: u32;
    /// Where the key goes.
    fn place(request: *mut Request) -> *mut Self;
}

/// Asks the wire hook to look at this packet, and to tell the flow when it needs no more of them. The
/// key names its generation.
#[inline(never)]
pub fn ask<K: Asking>(skb: *mut __sk_buff, ifindex: u32, key: &K) -> u32 {
    let Some(request) = REQUEST.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the request is this CPU's, and nothing else runs on it meanwhile.
    unsafe {
        (*request).skb = skb as u64;
        (*request).ifindex = ifindex;
        (*request).family = K::FAMILY;
        *K::place(request) = *key;
    }
    1
}

/// Asks for a packet whose flow is not told.
#[inline(always)]
pub fn ask_once(skb: *mut __sk_buff, ifindex: u32) {
    let Some(request) = REQUEST.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: as in `ask`.
    unsafe {
        (*request).skb = skb as u64;
        (*request).ifindex = ifindex;
        (*request).family = 0;
    }
}

/// The request that this CPU's last packet at an uplink made.
#[inline(always)]
pub fn last() -> Option<*mut Request> {
    REQUEST.get_ptr_mut(0)
}

/// Tells the flow that the wire needs no more of its packets.
#[inline(never)]
pub fn answer(request: *const Request) -> u32 {
    // SAFETY: the request is this CPU's, as in `ask`.
    unsafe {
        match (*request).family {
            4 => settle(&(*request).key4),
            6 => settle(&(*request).key6),
            _ => {}
        }
    }
    0
}

impl Asking for FlowKey4 {
    const FAMILY: u32 = 4;
    #[inline(always)]
    fn place(request: *mut Request) -> *mut Self {
        // SAFETY: only the address is taken.
        unsafe { &raw mut (*request).key4 }
    }
}

impl Asking for FlowKey6 {
    const FAMILY: u32 = 6;
    #[inline(always)]
    fn place(request: *mut Request) -> *mut Self {
        // SAFETY: only the address is taken.
        unsafe { &raw mut (*request).key6 }
    }
}
