//! Fingerprints: the fields of a packet that source NAT does not touch.
//!
//! See [`probe_abi::wire::Fingerprint`] for which fields those are. The same function serves both
//! sides of the NAT; they differ only in how bytes are read.

use probe_abi::wire::Fingerprint;

use crate::packet::{Headers, Load, is_echo, protocol};

/// Fills in the packet's fingerprint, which comes zeroed, in place, since a program's stack has no
/// room for copies. False where it has none (later fragments, other protocols).
///
/// `linear_end` bounds the bytes that both sides of the NAT can see: payload beyond it is left out.
#[inline(always)]
pub fn fingerprint(
    packet: &impl Load,
    headers: &Headers,
    linear_end: u32,
    print: &mut Fingerprint,
) -> bool {
    if headers.later_fragment != 0 {
        return false;
    }
    print.dst = headers.dst;
    print.dst_port = headers.dst_port;
    print.protocol = headers.protocol;
    print.family = headers.family;
    let l4 = headers.l4_offset;
    let end = match headers.protocol {
        protocol::TCP => {
            let Some(bytes) = packet.load::<8>(l4 + 4) else {
                return false;
            };
            print.words[0] = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            print.words[1] = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            return true;
        }
        protocol::UDP => {
            let Some(length) = packet.load::<2>(l4 + 4) else {
                return false;
            };
            print.length = u16::from_ne_bytes(length);
            if headers.family == 4 {
                let Some(id) = packet.load::<2>(headers.l3_offset + 4) else {
                    return false;
                };
                print.id = u16::from_ne_bytes(id);
            }
            l4 + u32::from(u16::from_be_bytes(length))
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let Some(bytes) = packet.load::<8>(l4) else {
                return false;
            };
            if !is_echo(headers.family, bytes[0]) {
                return false;
            }
            print.id = u16::from_ne_bytes([bytes[6], bytes[7]]);
            let Some(end) = packet_end(packet, headers) else {
                return false;
            };
            end
        }
        _ => return false,
    };
    mix_payload(packet, l4 + 8, end.min(linear_end), &mut print.words);
    true
}

/// Where the packet ends by its own account. Ethernet pads short frames behind that, and the
/// padding is gone when the packet leaves again.
#[inline(always)]
fn packet_end(packet: &impl Load, headers: &Headers) -> Option<u32> {
    let (at, before) = if headers.family == 4 { (2, 0) } else { (4, 40) };
    let length = packet.load::<2>(headers.l3_offset + at)?;
    Some(headers.l3_offset + before + u32::from(u16::from_be_bytes(length)))
}

/// Payload that is looked at, in steps of 16 bytes.
const PAYLOAD_STEPS: u32 = 4;

/// The payload's first bytes, mixed into 16; what is not there, or not in the linear part, is left
/// out. Many datagrams of one protocol begin alike, hence more bytes than the result holds. The
/// last steps are short, so that a short payload still tells packets apart.
#[inline(always)]
fn mix_payload(packet: &impl Load, offset: u32, linear_end: u32, words: &mut [u32; 4]) {
    let mut at = offset;
    for _ in 0..PAYLOAD_STEPS {
        if at + 16 > linear_end {
            break;
        }
        let Some(bytes) = packet.load::<16>(at) else {
            break;
        };
        for (word, part) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = mix(*word, u32::from_ne_bytes(*part));
        }
        at += 16;
    }
    if at == offset + PAYLOAD_STEPS * 16 {
        return;
    }
    for word in words.iter_mut().take(3) {
        if at + 4 > linear_end {
            break;
        }
        let Some(bytes) = packet.load::<4>(at) else {
            break;
        };
        *word = mix(*word, u32::from_ne_bytes(bytes));
        at += 4;
    }
}

/// Multiplicative mixing, invertible in either argument, so that a difference in one word of the
/// payload is never lost.
#[inline(always)]
fn mix(state: u32, word: u32) -> u32 {
    (state ^ word).wrapping_mul(0x9e37_79b1).rotate_left(15)
}
