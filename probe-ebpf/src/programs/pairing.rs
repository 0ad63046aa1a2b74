//! The near side of the NAT: remembering fingerprints.

use aya_ebpf::bindings::{__sk_buff, BPF_ANY, BPF_NOEXIST};
use probe_abi::{
    loss::reason,
    wire::{Before, Fingerprint},
};
use probe_ebpf::{fingerprint::fingerprint, packet::Headers};

use super::{
    buffer::{Buffer, PARSED, headers as parse_headers, jiffies},
    loss::lose_pairing,
    maps::{FINGERPRINTS, parameter},
};

/// Stores the packet's fingerprint with its source.
#[inline(never)]
pub fn remember<const LINK: usize>(skb: *mut __sk_buff, generation: u32) -> u32 {
    let buffer = Buffer { skb };
    let mut headers = Headers::default();
    if parse_headers::<LINK>(skb, &mut headers) != PARSED {
        return 0;
    }
    let mut print = Fingerprint::default();
    if take_print(skb, buffer.linear_length(), &headers, &mut print) == 0 {
        return 0;
    }
    store(&print, &headers, generation)
}

/// Takes a packet's fingerprint; 0 where it has none. Global, like the parser, so that the verifier
/// looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn take_print(
    skb: *mut __sk_buff,
    linear_length: u32,
    headers: *const Headers,
    print: *mut Fingerprint,
) -> u32 {
    // SAFETY: the pointers are null or lead to the caller's stack.
    let (Some(headers), Some(print)) = (unsafe { headers.as_ref() }, unsafe { print.as_mut() })
    else {
        return 0;
    };
    u32::from(fingerprint(&Buffer { skb }, headers, linear_length, print))
}

/// A live fingerprint of another source makes both useless: it is marked, so that neither pairs.
#[inline(never)]
fn store(print: &Fingerprint, headers: &Headers, generation: u32) -> u32 {
    let now = jiffies();
    let mut before = Before {
        src: headers.src,
        src_port: headers.src_port,
        ambiguous: 0,
        jiffies: now,
    };
    if let Some(known) = FINGERPRINTS.get_ptr(print) {
        // SAFETY: the pointer is a live map value; an LRU eviction meanwhile gives stale bytes,
        // which the comparison of source and age then refuses.
        let known = unsafe { *known };
        let alive = now.wrapping_sub(known.jiffies) < parameter!(FINGERPRINT_LIFE_TICKS);
        let same = known.src == before.src && known.src_port == before.src_port;
        if alive && (!same || known.ambiguous != 0) {
            before.ambiguous = 1;
            if known.ambiguous == 0 {
                lose_pairing(0, u32::from(reason::PAIRING_AMBIGUOUS), generation);
            }
        }
        if FINGERPRINTS
            .insert(print, before, u64::from(BPF_ANY))
            .is_ok()
        {
            return 1;
        }
    } else if FINGERPRINTS
        .insert(print, before, u64::from(BPF_NOEXIST))
        .is_ok()
        || FINGERPRINTS
            .insert(print, before, u64::from(BPF_ANY))
            .is_ok()
    {
        return 1;
    }
    lose_pairing(0, u32::from(reason::FINGERPRINT_UNSTORED), generation);
    0
}
