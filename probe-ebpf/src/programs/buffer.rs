//! The packet as tc and cgroup_skb hooks see it.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_jiffies64, bpf_skb_load_bytes},
};
use probe_ebpf::packet::{
    Headers, Load, Refused, parse, parse_ethernet, protocol, segments, tunnelled_header_length,
};

use super::maps::parameter;

/// A packet behind a `__sk_buff`.
#[derive(Clone, Copy)]
pub struct Buffer {
    /// The hook's context.
    pub skb: *mut __sk_buff,
}

/// What one packet adds to its flow.
#[derive(Clone, Copy)]
pub struct Amount {
    /// Packets on the wire.
    pub packets: u64,
    /// Layer-3 bytes on the wire.
    pub bytes: u64,
    /// Layer-3 bytes of this one sk_buff.
    pub buffer_bytes: u64,
    /// Kernel ticks, low half.
    pub jiffies: u32,
    /// TCP flags.
    pub tcp_flags: u32,
}

impl Buffer {
    /// Length of the whole buffer as the hook sees it.
    #[inline(always)]
    pub fn length(self) -> u32 {
        // SAFETY: the context is valid for the program's run.
        unsafe { (*self.skb).len }
    }

    /// Start of the linear part.
    #[inline(always)]
    pub fn data(self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.skb).data as usize }
    }

    /// End of the linear part.
    #[inline(always)]
    pub fn data_end(self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.skb).data_end as usize }
    }

    /// Length of the linear part.
    #[inline(always)]
    pub fn linear_length(self) -> u32 {
        (self.data_end() - self.data()) as u32
    }

    /// Interface index.
    #[inline(always)]
    pub fn ifindex(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb).ifindex }
    }

    /// The amount of a packet of `l3_length` bytes whose segments repeat `header_length` of them.
    #[inline(always)]
    pub fn amount(self, l3_length: u32, header_length: u32, tcp_flags: u8) -> Amount {
        // SAFETY: as above.
        let (size, segs) = unsafe { ((*self.skb).gso_size, (*self.skb).gso_segs) };
        let mut packets = 1;
        let mut bytes = l3_length;
        if size != 0 {
            packets = segments(l3_length, header_length, size, segs);
            bytes += (packets - 1) * header_length;
        }
        Amount {
            packets: u64::from(packets),
            bytes: u64::from(bytes),
            buffer_bytes: u64::from(l3_length),
            jiffies: jiffies(),
            tcp_flags: u32::from(tcp_flags),
        }
    }

    /// The amount of a packet whose headers were parsed in full, which may be a tunnel's.
    #[inline(always)]
    pub fn amount_of(self, headers: &Headers) -> Amount {
        let mut repeated = headers.header_length;
        // SAFETY: as above.
        let size = unsafe { (*self.skb).gso_size };
        if size != 0 && headers.protocol == protocol::UDP && is_tunnel_port(headers.dst_port) {
            let geneve = headers.dst_port == parameter!(GENEVE_PORT);
            if let Some(inner) = tunnelled_header_length(&self, headers, geneve) {
                repeated += inner;
            }
        }
        self.amount(
            self.length() - headers.l3_offset,
            repeated,
            headers.tcp_flags,
        )
    }
}

impl Load for Buffer {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0u8; N];
        // SAFETY: the destination is `N` bytes long; the helper checks the packet's bounds.
        let result = unsafe {
            bpf_skb_load_bytes(self.skb.cast(), offset, bytes.as_mut_ptr().cast(), N as u32)
        };
        (result == 0).then_some(bytes)
    }
}

/// [`headers`] found them.
pub const PARSED: u32 = 0;
/// The packet is not IP.
pub const NON_IP: u32 = 1;
/// The packet is IP and could not be followed.
pub const UNPARSED: u32 = 2;

/// Parses the whole way.
#[inline(always)]
pub fn headers<const LINK: usize>(skb: *mut __sk_buff, out: &mut Headers) -> u32 {
    if LINK == 0 {
        headers_from_ip(skb, out)
    } else {
        headers_from_link(skb, out)
    }
}

/// Global, as its like below, so that the verifier looks at it once by itself and not at every call
/// of every state of the caller; a global function's pointers are checked for null.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn headers_from_ip(skb: *mut __sk_buff, out: *mut Headers) -> u32 {
    // SAFETY: the pointer is null or leads to the caller's stack.
    match unsafe { out.as_mut() } {
        Some(out) => outcome(parse(&Buffer { skb }, 0, out)),
        None => UNPARSED,
    }
}

/// See [`headers_from_ip`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn headers_from_link(skb: *mut __sk_buff, out: *mut Headers) -> u32 {
    // SAFETY: as there.
    match unsafe { out.as_mut() } {
        Some(out) => outcome(parse_ethernet(&Buffer { skb }, out)),
        None => UNPARSED,
    }
}

#[inline(always)]
fn outcome(parsed: Result<(), Refused>) -> u32 {
    match parsed {
        Ok(()) => PARSED,
        Err(Refused::NonIp) => NON_IP,
        Err(Refused::Unparsed) => UNPARSED,
    }
}

/// Low half of the kernel's tick counter: about a nanosecond, where the clock costs thirty.
#[inline(always)]
pub fn jiffies() -> u32 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_jiffies64() as u32 }
}

/// Whether a UDP destination port, in network byte order, is a tunnel's.
#[inline(always)]
pub fn is_tunnel_port(port: u16) -> bool {
    let ports = parameter!(TUNNEL_PORT_LIST);
    let mut found = false;
    for listed in ports {
        found |= listed == port;
    }
    found && port != 0
}

/// Whether these headers are a tunnel's, whose packets are never paired. Later fragments have no
/// ports to tell and count as such.
#[inline(always)]
pub fn is_tunnel(headers: &Headers) -> bool {
    headers.later_fragment != 0
        || matches!(
            headers.protocol,
            protocol::IPIP | protocol::IPV6 | protocol::GRE
        )
        || headers.protocol == protocol::UDP && is_tunnel_port(headers.dst_port)
}
