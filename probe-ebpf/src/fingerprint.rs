//! Fingerprints: the fields of a packet that source NAT does not touch.
//!
//! See [`probe_abi::wire::Fingerprint`] for which fields those are. The same function serves both
//! sides of the NAT; they differ only in how bytes are read.

use probe_abi::wire::Fingerprint;

use crate::packet::{Headers, Load, is_echo, protocol};

/// The packet's fingerprint; `None` where it has none (later fragments, other protocols).
///
/// `linear_end` bounds the bytes that both sides of the NAT can see: payload beyond it counts as
/// zero.
#[inline(always)]
pub fn fingerprint(packet: &impl Load, headers: &Headers, linear_end: u32) -> Option<Fingerprint> {
    if headers.later_fragment != 0 {
        return None;
    }
    let mut print = Fingerprint {
        dst: headers.dst,
        dst_port: headers.dst_port,
        protocol: headers.protocol,
        family: headers.family,
        ..Fingerprint::default()
    };
    let l4 = headers.l4_offset;
    match headers.protocol {
        protocol::TCP => {
            let bytes = packet.load::<8>(l4 + 4)?;
            print.words[0] = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            print.words[1] = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        }
        protocol::UDP => {
            let length = packet.load::<2>(l4 + 4)?;
            print.length = u16::from_ne_bytes(length);
            if headers.family == 4 {
                print.id = u16::from_ne_bytes(packet.load::<2>(headers.l3_offset + 4)?);
            }
            let end = l4 + u32::from(u16::from_be_bytes(length));
            print.words = payload(packet, l4 + 8, end.min(linear_end));
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let bytes = packet.load::<8>(l4)?;
            if !is_echo(headers.family, bytes[0]) {
                return None;
            }
            print.id = u16::from_ne_bytes([bytes[6], bytes[7]]);
            let end = packet_end(packet, headers)?;
            print.words = payload(packet, l4 + 8, end.min(linear_end));
        }
        _ => return None,
    }
    Some(print)
}

/// Where the packet ends by its own account. Ethernet pads short frames behind that, and the
/// padding is gone when the packet leaves again.
#[inline(always)]
fn packet_end(packet: &impl Load, headers: &Headers) -> Option<u32> {
    let (at, before) = if headers.family == 4 { (2, 0) } else { (4, 40) };
    let length = packet.load::<2>(headers.l3_offset + at)?;
    Some(headers.l3_offset + before + u32::from(u16::from_be_bytes(length)))
}

/// Sixteen payload bytes; those that are not there, or not in the linear part, are zero. They are
/// taken in steps, so that a short payload still tells packets apart.
#[inline(always)]
fn payload(packet: &impl Load, offset: u32, linear_end: u32) -> [u32; 4] {
    let mut words = [0; 4];
    if offset + 16 <= linear_end {
        if let Some(bytes) = packet.load::<16>(offset) {
            for (index, word) in words.iter_mut().enumerate() {
                let at = index * 4;
                *word =
                    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            }
        }
        return words;
    }
    for index in 0..3u32 {
        let at = offset + index * 4;
        if at + 4 > linear_end {
            break;
        }
        if let Some(bytes) = packet.load::<4>(at) {
            words[index as usize] = u32::from_ne_bytes(bytes);
        }
    }
    words
}
