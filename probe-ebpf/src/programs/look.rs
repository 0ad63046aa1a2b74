//! Looking at a packet that leaves: which flow it is on the wire, and who sent it before NAT.
//!
//! The steps are the same wherever the packet is met: in the tracepoint behind all programs
//! ([`super::wire`]), or at the uplink where nothing follows ([`super::here`]). Out of line where
//! locals are large, so that their stacks never stand on one another.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel_buf},
};
use probe_abi::{
    flow::made,
    loss::reason,
    wire::{Before, Fingerprint, LOOKUPS_PER_EPOCH, WireKey, WireRecord, conntrack},
};
use probe_ebpf::packet::{Headers, protocol, tcp_flags};

use super::{
    account::generation,
    buffer::jiffies,
    loss::lose_pairing,
    made::note_key,
    maps::{CONTROL, FINGERPRINTS, MADE_WIRE, WIRE, parameter},
};

/// How far two CPUs' readings of the tick counter may be apart.
const CLOCK_SLACK_TICKS: u32 = 8;

/// A packet on its way out.
pub trait Departing: Copy {
    /// Fills in its fingerprint; not zero where it has none.
    fn print(self, headers: &Headers, out: &mut Fingerprint) -> u32;
    /// `sk_buff._nfct`, which lies at `offset`.
    fn conntrack_entry(self, offset: u32) -> u64;
}

/// Pairs one packet. True when no more of its flow's are needed in this generation.
#[inline(always)]
pub fn look(packet: impl Departing, ifindex: u32, headers: &Headers) -> bool {
    let key = WireKey {
        src: headers.src,
        dst: headers.dst,
        ifindex,
        src_port: headers.src_port,
        dst_port: headers.dst_port,
        protocol: headers.protocol,
        family: headers.family,
        reserved: 0,
    };
    let now = jiffies();
    let record = match WIRE.get_ptr_mut(key) {
        Some(record) => record,
        None => {
            create(&key, now);
            match WIRE.get_ptr_mut(key) {
                Some(record) => record,
                None => {
                    lose_pairing(ifindex, u32::from(reason::PAIRING_OVERFLOW), generation());
                    return false;
                }
            }
        }
    };
    // SAFETY: the record is a live map value. Two CPUs that send packets of one flow at once may
    // lose a count or a tick to each other; both would store the same pairing.
    unsafe { advance(packet, headers, record, now) }
}

#[inline(never)]
fn create(key: &WireKey, now: u32) -> u32 {
    let fresh = WireRecord {
        // SAFETY: the helper takes nothing.
        first_ns: unsafe { bpf_ktime_get_ns() },
        first_jiffies: now,
        ..WireRecord::default()
    };
    if WIRE.insert(key, fresh, u64::from(BPF_NOEXIST)).is_err() {
        return 1;
    }
    note_key(made::WIRE, generation(), &MADE_WIRE, key);
    0
}

#[inline(always)]
unsafe fn advance(
    packet: impl Departing,
    headers: &Headers,
    record: *mut WireRecord,
    now: u32,
) -> bool {
    // SAFETY: the caller vouches for the record.
    unsafe {
        (*record).last_jiffies = now;
        (*record).tcp_flags |= headers.tcp_flags;
        let buffers = (*record).buffers + 1;
        (*record).buffers = buffers;
        let opening = headers.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN;
        if opening && buffers > 1 {
            // The port is used anew, or the SYN again: what was known is not to be relied on.
            (*record).paired_after = 0;
            (*record).conntrack = conntrack::ABSENT;
            (*record).restarts += 1;
            if (*record).tcp_flags & (tcp_flags::FIN | tcp_flags::RST) != 0 {
                // Another connection took the port over.
                (*record).tcp_flags = headers.tcp_flags;
                (*record).first_ns = bpf_ktime_get_ns();
                (*record).first_jiffies = now;
            }
        }
        let is_paired = (*record).paired_after != 0;
        if !may_look(record, is_paired) {
            return true;
        }
        if !is_paired && (*record).conntrack != conntrack::DESCRIBES {
            let found = read_conntrack(packet, headers, record);
            if found != u32::from(conntrack::ABSENT) {
                (*record).conntrack = found as u8;
            }
        }
        let mut print = Fingerprint::default();
        if packet.print(headers, &mut print) == 0 {
            pair(&print, record, now, buffers);
        }
        (*record).paired_after != 0
    }
}

/// Takes one of the epoch's look-ups. A flow that is paired gets one, so that a port which a NAT
/// gave to another connection meanwhile shows.
#[inline(always)]
unsafe fn may_look(record: *mut WireRecord, is_paired: bool) -> bool {
    let epoch = match CONTROL.get_ptr(0) {
        // SAFETY: the control map's only element always exists.
        Some(control) => unsafe { core::ptr::read_volatile(&raw const (*control).epoch) },
        None => 0,
    };
    // SAFETY: the caller vouches for the record.
    unsafe {
        if (*record).epoch != epoch {
            (*record).epoch = epoch;
            (*record).lookups = 0;
        }
        let lookups = (*record).lookups + 1;
        if lookups > LOOKUPS_PER_EPOCH || is_paired && lookups > 1 {
            return false;
        }
        (*record).lookups = lookups;
        if lookups == LOOKUPS_PER_EPOCH {
            lose_pairing(0, u32::from(reason::PAIRING_MISSED), generation());
        }
    }
    true
}

#[inline(always)]
unsafe fn pair(print: &Fingerprint, record: *mut WireRecord, now: u32, buffers: u64) {
    let Some(known) = FINGERPRINTS.get_ptr(print) else {
        return;
    };
    // SAFETY: as in `pairing::store`.
    let before: Before = unsafe { *known };
    // Another CPU may have stored it a tick after this one read the counter.
    let age = now
        .wrapping_sub(before.jiffies)
        .wrapping_add(CLOCK_SLACK_TICKS);
    if before.ambiguous != 0 || age > parameter!(FINGERPRINT_LIFE_TICKS) + CLOCK_SLACK_TICKS {
        return;
    }
    // SAFETY: the caller vouches for the record.
    unsafe {
        if (*record).paired_after != 0 {
            if (*record).before_src == before.src && (*record).before_src_port == before.src_port {
                return;
            }
            // Another connection left as this one did: what was known ends here.
            (*record).restarts += 1;
            (*record).conntrack = conntrack::ABSENT;
            (*record).first_ns = bpf_ktime_get_ns();
            (*record).first_jiffies = now;
        }
        (*record).before_src = before.src;
        (*record).before_src_port = before.src_port;
        (*record).paired_after = buffers as u32;
    }
}

/// A conntrack tuple as it lies in memory: `struct nf_conntrack_tuple`,
/// include/net/netfilter/nf_conntrack_tuple.h.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Tuple {
    src: [u32; 4],
    src_port: u16,
    family: u16,
    dst: [u32; 4],
    dst_port: u16,
    protocol: u8,
    direction: u8,
}

/// Reads the packet's conntrack entry: the tuple of its own direction is the flow before NAT, and
/// the other direction's, turned round, the flow after it. Only an entry whose second half is the
/// packet as it leaves describes it; else another translation came later. Returns what the record is
/// to say of it.
#[inline(never)]
unsafe fn read_conntrack(
    packet: impl Departing,
    headers: &Headers,
    record: *mut WireRecord,
) -> u32 {
    let offset = parameter!(SKB_NFCT);
    let original = parameter!(CT_TUPLE_ORIGINAL);
    if offset == 0 || original == 0 {
        return u32::from(conntrack::ABSENT);
    }
    // SAFETY: the entry is read by a helper that faults safely, and the caller vouches for the
    // record.
    unsafe {
        let entry = packet.conntrack_entry(offset);
        let is_reply = entry & 7 >= 3;
        let entry = (entry & !7) as *const u8;
        if entry.is_null() {
            return u32::from(conntrack::ABSENT);
        }
        let reply = parameter!(CT_TUPLE_REPLY);
        let (own, other) = if is_reply {
            (reply, original)
        } else {
            (original, reply)
        };
        let mut before = [0u8; size_of::<Tuple>()];
        let mut after = [0u8; size_of::<Tuple>()];
        if bpf_probe_read_kernel_buf(entry.add(own as usize), &mut before).is_err()
            || bpf_probe_read_kernel_buf(entry.add(other as usize), &mut after).is_err()
        {
            return u32::from(conntrack::ABSENT);
        }
        let before: Tuple = core::mem::transmute(before);
        let after: Tuple = core::mem::transmute(after);
        let describes = after.dst == headers.src
            && after.src == headers.dst
            && (after.dst_port == headers.src_port || headers.src_port == 0 || is_icmp(headers));
        if !describes || before.protocol != headers.protocol {
            return u32::from(conntrack::CONTRADICTED);
        }
        (*record).ct_src = before.src;
        (*record).ct_dst = before.dst;
        (*record).ct_src_port = before.src_port;
        (*record).ct_dst_port = if is_icmp(headers) {
            headers.dst_port
        } else {
            before.dst_port
        };
        u32::from(conntrack::DESCRIBES)
    }
}

#[inline(always)]
fn is_icmp(headers: &Headers) -> bool {
    headers.protocol == protocol::ICMP || headers.protocol == protocol::ICMPV6
}
