//! The far side of the NAT: tp_btf/net_dev_queue, the packet as it is handed to a driver.
//!
//! The hook can miss a few packets in ten thousand, so it pairs and never counts bytes. It looks
//! only at packets that the uplink's egress hook asked for, see [`super::request`].

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_probe_read_kernel_buf, generated::bpf_probe_read_kernel},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use probe_abi::{loss::reason, wire::Fingerprint};
use probe_ebpf::{
    fingerprint::fingerprint,
    packet::{
        Headers, Load, QUICK4_LENGTH, QUICK4_TCP_DATA_OFFSET, QUICK4_TCP_LENGTH, QUICK6_LENGTH,
        QUICK6_TCP_DATA_OFFSET, QUICK6_TCP_LENGTH, Quick4, Quick6, Refused, parse, protocol,
    },
};

use super::{
    account::generation,
    buffer::{NON_IP, PARSED, UNPARSED, is_tunnel},
    kernel::field,
    look::{Departing, look},
    loss::lose_pairing,
    maps::{Request, parameter},
    request::{answer, last},
};

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

/// A packet that is handed to a driver.
#[derive(Clone, Copy)]
struct Queued {
    skb: Skb,
    packet: Packet,
}

impl Departing for Queued {
    #[inline(always)]
    fn print(self, headers: &Headers, out: &mut Fingerprint) -> u32 {
        let start = self.packet.start as u64;
        u32::from(wire_print(start, self.packet.linear, headers, out) == 0)
    }

    #[inline(always)]
    fn conntrack_entry(self, offset: u32) -> u64 {
        // SAFETY: the offset is that of an integer in the kernel's own description of the type.
        unsafe { field(self.skb.0, offset) }
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
        let start = number(request, head) + u64::from(network);
        let data = number(request, data);
        let packet = Packet {
            start: start as *const u8,
            linear: (data + u64::from(length - outside)).wrapping_sub(start) as u32,
        };
        let mut headers = Headers::default();
        let is_settled = match read_headers(packet.start, packet.linear, &mut headers) {
            PARSED if !is_tunnel(&headers) => look(Queued { skb, packet }, ifindex, &headers),
            UNPARSED => {
                lose_pairing(ifindex, u32::from(reason::IP_UNPARSED), generation());
                false
            }
            _ => true,
        };
        if is_settled {
            answer(request);
        }
    }
    0
}

/// An address as a number. The verifier knows what was read from a kernel structure as a pointer,
/// with which no 32-bit arithmetic is allowed and which no global function takes; what comes back
/// from a map is a number.
///
/// # Safety
///
/// The request must be this CPU's.
#[inline(always)]
unsafe fn number(request: *mut Request, address: u64) -> u64 {
    // SAFETY: the caller vouches for the request.
    unsafe {
        core::ptr::write_volatile(&raw mut (*request).address, address);
        core::ptr::read_volatile(&raw const (*request).address)
    }
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
    wire_parse(start as u64, linear, headers)
}

/// Global, as its like below, so that the verifier looks at it once by itself. An address in the
/// kernel is a number to it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wire_parse(start: u64, linear: u32, headers: *mut Headers) -> u32 {
    let start = start as *const u8;
    // SAFETY: the pointer is null or leads to the caller's stack.
    let Some(headers) = (unsafe { headers.as_mut() }) else {
        return UNPARSED;
    };
    match parse(&Packet { start, linear }, 0, headers) {
        Ok(()) => PARSED,
        Err(Refused::NonIp) => NON_IP,
        Err(Refused::Unparsed) => UNPARSED,
    }
}

/// Takes a packet's fingerprint; 0 where it has none. See [`wire_parse`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wire_print(
    start: u64,
    linear: u32,
    headers: *const Headers,
    out: *mut Fingerprint,
) -> u32 {
    let start = start as *const u8;
    // SAFETY: as there.
    let (Some(headers), Some(out)) = (unsafe { headers.as_ref() }, unsafe { out.as_mut() }) else {
        return 0;
    };
    u32::from(fingerprint(&Packet { start, linear }, headers, linear, out))
}
