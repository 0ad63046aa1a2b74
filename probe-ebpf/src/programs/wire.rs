//! The far side of the NAT: tp_btf/net_dev_queue, the packet as it is handed to a driver.
//!
//! The hook can miss a few packets in ten thousand, so it pairs and never counts bytes. It looks
//! only at packets that the uplink's egress hook asked for, see [`super::request`].

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_NOEXIST,
    helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel_buf, generated::bpf_probe_read_kernel},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use probe_abi::{
    loss::reason,
    wire::{Before, Fingerprint, LOOKUPS_PER_EPOCH, WireKey, WireRecord, conntrack},
};
use probe_ebpf::{
    fingerprint::fingerprint,
    packet::{
        Headers, Load, QUICK4_LENGTH, QUICK4_TCP_DATA_OFFSET, QUICK4_TCP_LENGTH, QUICK6_LENGTH,
        QUICK6_TCP_DATA_OFFSET, QUICK6_TCP_LENGTH, Quick4, Quick6, Refused, parse, protocol,
        tcp_flags,
    },
};

use super::{
    buffer::{NON_IP, PARSED, UNPARSED, is_tunnel, jiffies},
    loss::lose_pairing,
    maps::{CONTROL, FINGERPRINTS, WIRE, parameter},
    request::{answer, last},
};

/// How far two CPUs' readings of the tick counter may be apart.
const CLOCK_SLACK_TICKS: u32 = 8;

/// The kernel's sk_buff, of which only addresses are taken at offsets found in BTF.
#[derive(Clone, Copy)]
struct Skb(*const u8);

/// The packet's bytes from its layer-3 header on.
#[derive(Clone, Copy)]
struct Packet {
    start: *const u8,
    /// Bytes from `start` that lie in the linear part.
    linear: u32,
}

impl Load for Packet {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if offset + N as u32 > self.linear {
            return None;
        }
        let mut bytes = [0u8; N];
        // SAFETY: the helper faults safely on any address.
        unsafe {
            bpf_probe_read_kernel_buf(self.start.add(offset as usize), &mut bytes).ok()?;
        }
        Some(bytes)
    }
}

#[btf_tracepoint(function = "net_dev_queue")]
pub fn wire(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's only argument is the sk_buff.
    let skb = Skb(unsafe { *(ctx.as_ptr() as *const *const u8) });
    let Some(request) = last() else { return 0 };
    // SAFETY: offsets come from the running kernel's BTF, and the verifier checks each access
    // against it; the request is this CPU's, and softirqs are off.
    unsafe {
        if (*request).skb != skb.0 as u64 {
            return 0;
        }
        // The request may be an older one, of a packet that never came here.
        let dev: *const u8 = field(skb.0, parameter!(SKB_DEV));
        let ifindex: u32 = field(dev, parameter!(DEV_IFINDEX));
        let net: *const u8 = field(dev, parameter!(DEV_NET));
        let inode: u32 = field(net, parameter!(NET_INUM));
        if ifindex != (*request).ifindex || inode != parameter!(NETNS_INODE) {
            return 0;
        }
        let network: u16 = field(skb.0, parameter!(SKB_NETWORK_HEADER));
        let head: u64 = field(skb.0, parameter!(SKB_HEAD));
        let data: u64 = field(skb.0, parameter!(SKB_DATA));
        let length: u32 = field(skb.0, parameter!(SKB_LEN));
        let outside: u32 = field(skb.0, parameter!(SKB_DATA_LEN));
        let start = head + u64::from(network);
        let packet = Packet {
            start: start as *const u8,
            linear: (data + u64::from(length - outside)).wrapping_sub(start) as u32,
        };
        if look(skb, ifindex, packet) {
            answer(request);
        }
    }
    0
}

/// Reads a field of a kernel structure.
///
/// # Safety
///
/// `at` must be a BTF pointer whose type has a `T` at `offset`.
#[inline(always)]
unsafe fn field<T: Copy>(at: *const u8, offset: u32) -> T {
    // SAFETY: the caller vouches for it.
    unsafe { core::ptr::read_volatile(at.add(offset as usize).cast()) }
}

/// Pairs one packet. True when no more of its flow's are needed in this generation.
#[inline(always)]
fn look(skb: Skb, ifindex: u32, packet: Packet) -> bool {
    let mut headers = Headers::default();
    match read_headers(packet.start, packet.linear, &mut headers) {
        PARSED if !is_tunnel(&headers) => {}
        UNPARSED => {
            lose_pairing(ifindex, u32::from(reason::IP_UNPARSED), generation());
            return false;
        }
        _ => return true,
    }
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
    unsafe { advance(skb, packet, &headers, record, now) }
}

/// Headers of the common layouts from one read of the kernel's memory, all others by the parser.
///
/// Out of line, like the other deep steps below, so that their stacks never stand on one another.
#[inline(never)]
fn read_headers(start: *const u8, linear: u32, headers: &mut Headers) -> u32 {
    let mut bytes = [0u8; QUICK6_TCP_LENGTH + 2];
    let length = linear.min(bytes.len() as u32);
    // SAFETY: the helper writes at most as many bytes as there are, and faults safely.
    let result = unsafe { bpf_probe_read_kernel(bytes.as_mut_ptr().cast(), length, start.cast()) };
    if result != 0 {
        return UNPARSED;
    }
    // SAFETY: both views are plain integers, packed, and no longer than the bytes.
    let (four, six) = unsafe {
        (
            &*bytes.as_ptr().cast::<Quick4>(),
            &*bytes.as_ptr().cast::<Quick6>(),
        )
    };
    if four.applies() && length >= QUICK4_TCP_LENGTH as u32 {
        headers.src[0] = four.src;
        headers.dst[0] = four.dst;
        headers.src_port = four.src_port;
        headers.dst_port = four.dst_port;
        headers.protocol = four.protocol;
        headers.family = 4;
        headers.l4_offset = QUICK4_LENGTH as u32 - 4;
        if headers.protocol == protocol::TCP {
            headers.tcp_flags = bytes[QUICK4_TCP_DATA_OFFSET + 1];
        }
        return PARSED;
    }
    if six.applies() && length >= QUICK6_TCP_LENGTH as u32 {
        headers.src = six.src;
        headers.dst = six.dst;
        headers.src_port = six.src_port;
        headers.dst_port = six.dst_port;
        headers.protocol = six.protocol;
        headers.family = 6;
        headers.l4_offset = QUICK6_LENGTH as u32 - 4;
        if headers.protocol == protocol::TCP {
            headers.tcp_flags = bytes[QUICK6_TCP_DATA_OFFSET + 1];
        }
        return PARSED;
    }
    parse_packet(start, linear, headers)
}

#[inline(never)]
fn parse_packet(start: *const u8, linear: u32, headers: &mut Headers) -> u32 {
    match parse(&Packet { start, linear }, 0, headers) {
        Ok(()) => PARSED,
        Err(Refused::NonIp) => NON_IP,
        Err(Refused::Unparsed) => UNPARSED,
    }
}

#[inline(never)]
fn create(key: &WireKey, now: u32) -> u32 {
    let fresh = WireRecord {
        // SAFETY: the helper takes nothing.
        first_ns: unsafe { bpf_ktime_get_ns() },
        first_jiffies: now,
        ..WireRecord::default()
    };
    u32::from(WIRE.insert(key, fresh, u64::from(BPF_NOEXIST)).is_err())
}

#[inline(always)]
unsafe fn advance(
    skb: Skb,
    packet: Packet,
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
            read_conntrack(skb, headers, record);
        }
        let mut print = Fingerprint::default();
        if print_packet(packet.start, packet.linear, headers, &mut print) == 0 {
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

#[inline(never)]
fn print_packet(start: *const u8, linear: u32, headers: &Headers, out: &mut Fingerprint) -> u32 {
    let found = fingerprint(&Packet { start, linear }, headers, linear, out);
    u32::from(!found)
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
/// packet as it leaves describes it; else another translation came later.
#[inline(never)]
unsafe fn read_conntrack(skb: Skb, headers: &Headers, record: *mut WireRecord) -> u32 {
    let offset = parameter!(SKB_NFCT);
    let original = parameter!(CT_TUPLE_ORIGINAL);
    if offset == 0 || original == 0 {
        return 0;
    }
    // SAFETY: `_nfct` is an integer to the verifier, and its target is read by a helper that
    // faults safely.
    unsafe {
        let entry: u64 = field(skb.0, offset);
        let is_reply = entry & 7 >= 3;
        let entry = (entry & !7) as *const u8;
        if entry.is_null() {
            return 0;
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
            return 0;
        }
        let before: Tuple = core::mem::transmute(before);
        let after: Tuple = core::mem::transmute(after);
        let describes = after.dst == headers.src
            && after.src == headers.dst
            && (after.dst_port == headers.src_port || headers.src_port == 0 || is_icmp(headers));
        if !describes || before.protocol != headers.protocol {
            (*record).conntrack = conntrack::CONTRADICTED;
            return 0;
        }
        (*record).ct_src = before.src;
        (*record).ct_dst = before.dst;
        (*record).ct_src_port = before.src_port;
        (*record).ct_dst_port = if is_icmp(headers) {
            headers.dst_port
        } else {
            before.dst_port
        };
        (*record).conntrack = conntrack::DESCRIBES;
        1
    }
}

#[inline(always)]
fn is_icmp(headers: &Headers) -> bool {
    headers.protocol == protocol::ICMP || headers.protocol == protocol::ICMPV6
}

#[inline(always)]
fn generation() -> u32 {
    super::account::generation()
}
