//! The tc hooks: uplinks in both directions, and tunnels' inner packets.
//!
//! They stand at the head of the chain and let every packet pass on. Interfaces without a link
//! header (wireguard, ipip) have entry points of their own.

use aya_ebpf::{bindings::__sk_buff, macros::classifier, programs::TcContext};
use probe_abi::{
    flow::{FlowKey4, FlowKey6, hook},
    loss::reason,
};
use probe_ebpf::packet::{
    ETHERNET_LENGTH, Headers, QUICK4_LENGTH, QUICK4_TCP_DATA_OFFSET, QUICK4_TCP_LENGTH,
    QUICK6_LENGTH, QUICK6_TCP_DATA_OFFSET, QUICK6_TCP_LENGTH, Quick4, Quick6, is_ipv4_ethertype,
    is_ipv6_ethertype, protocol, tcp_flags,
};

use super::{
    account::{Counted, Side, account, generation, is_sampled, settle},
    buffer::{Amount, Buffer, NON_IP, PARSED, headers as parse_headers, is_tunnel, is_tunnel_port},
    here::{look_here, pairs_here},
    loss::{code, lose, report_overflow},
    pairing::remember,
    request::{Asking, ask, ask_once},
};

/// TC_ACT_UNSPEC, which is TCX_NEXT: go on with the next program.
pub const NEXT: i32 = -1;

/// Bytes of the link header in front of each packet.
const ETHERNET: usize = ETHERNET_LENGTH as usize;
const NO_LINK_HEADER: usize = 0;

#[classifier]
pub fn uplink_egress(ctx: TcContext) -> i32 {
    count::<ETHERNET, { hook::UPLINK_EGRESS }>(ctx.skb.skb, 0)
}

#[classifier]
pub fn uplink_ingress(ctx: TcContext) -> i32 {
    count::<ETHERNET, { hook::UPLINK_INGRESS }>(ctx.skb.skb, 0)
}

#[classifier]
pub fn tunnel_ingress(ctx: TcContext) -> i32 {
    count::<ETHERNET, { hook::TUNNEL_INGRESS }>(ctx.skb.skb, 0)
}

#[classifier]
pub fn uplink_egress_l3(ctx: TcContext) -> i32 {
    count::<NO_LINK_HEADER, { hook::UPLINK_EGRESS }>(ctx.skb.skb, 0)
}

#[classifier]
pub fn uplink_ingress_l3(ctx: TcContext) -> i32 {
    count::<NO_LINK_HEADER, { hook::UPLINK_INGRESS }>(ctx.skb.skb, 0)
}

#[classifier]
pub fn tunnel_ingress_l3(ctx: TcContext) -> i32 {
    count::<NO_LINK_HEADER, { hook::TUNNEL_INGRESS }>(ctx.skb.skb, 0)
}

/// Whether packets at this hook may still be translated on this node, so that their fingerprints
/// are worth remembering.
const fn is_before_nat(hook: u8) -> bool {
    hook == hook::UPLINK_INGRESS || hook == hook::TUNNEL_INGRESS
}

/// Counts one packet. `vary` is xored into the source port; only the benchmark sets it.
#[inline(always)]
pub fn count<const LINK: usize, const HOOK: u8>(skb: *mut __sk_buff, vary: u16) -> i32 {
    let buffer = Buffer { skb };
    let data = buffer.data();
    let end = buffer.data_end();
    // SAFETY: each view is read only after its bounds were checked against the linear end.
    unsafe {
        if data + LINK + QUICK4_LENGTH <= end {
            let ip = (data + LINK) as *const Quick4;
            if (LINK == 0 || is_ipv4_ethertype(*((data + 12) as *const u16))) && (*ip).applies() {
                return quick4::<LINK, HOOK>(buffer, ip, vary);
            }
        }
        if data + LINK + QUICK6_LENGTH <= end {
            let ip = (data + LINK) as *const Quick6;
            if (LINK == 0 || is_ipv6_ethertype(*((data + 12) as *const u16))) && (*ip).applies() {
                return quick6::<LINK, HOOK>(buffer, ip, vary);
            }
        }
    }
    uncommon::<LINK, HOOK>(buffer)
}

#[inline(always)]
unsafe fn quick4<const LINK: usize, const HOOK: u8>(
    buffer: Buffer,
    ip: *const Quick4,
    vary: u16,
) -> i32 {
    let start = buffer.data() + LINK;
    // SAFETY: the caller checked the view's bounds; the TCP bytes are checked here.
    let (key, header_length, flags) = unsafe {
        let ip = &*ip;
        let mut header_length = 28;
        let mut flags = 0;
        if ip.protocol == protocol::TCP {
            if start + QUICK4_TCP_LENGTH > buffer.data_end() {
                return uncommon::<LINK, HOOK>(buffer);
            }
            let tcp = (start + QUICK4_TCP_DATA_OFFSET) as *const [u8; 2];
            header_length = 20 + u32::from((*tcp)[0] >> 4) * 4;
            flags = (*tcp)[1];
        } else if is_tunnel_port(ip.dst_port) {
            return uncommon::<LINK, HOOK>(buffer);
        }
        let key = FlowKey4 {
            scope: u64::from(buffer.ifindex()),
            src: ip.src,
            dst: ip.dst,
            src_port: ip.src_port ^ vary,
            dst_port: ip.dst_port,
            protocol: ip.protocol,
            hook: HOOK,
            generation: 0,
            reserved: 0,
        };
        (key, header_length, flags)
    };
    enter::<LINK, HOOK, _>(buffer, key, header_length, flags)
}

#[inline(always)]
unsafe fn quick6<const LINK: usize, const HOOK: u8>(
    buffer: Buffer,
    ip: *const Quick6,
    vary: u16,
) -> i32 {
    let start = buffer.data() + LINK;
    // SAFETY: as in `quick4`.
    let (key, header_length, flags) = unsafe {
        let ip = &*ip;
        let mut header_length = 48;
        let mut flags = 0;
        if ip.protocol == protocol::TCP {
            if start + QUICK6_TCP_LENGTH > buffer.data_end() {
                return uncommon::<LINK, HOOK>(buffer);
            }
            let tcp = (start + QUICK6_TCP_DATA_OFFSET) as *const [u8; 2];
            header_length = 40 + u32::from((*tcp)[0] >> 4) * 4;
            flags = (*tcp)[1];
        } else if is_tunnel_port(ip.dst_port) {
            return uncommon::<LINK, HOOK>(buffer);
        }
        let key = FlowKey6 {
            scope: u64::from(buffer.ifindex()),
            src: ip.src,
            dst: ip.dst,
            src_port: ip.src_port ^ vary,
            dst_port: ip.dst_port,
            protocol: ip.protocol,
            hook: HOOK,
            generation: 0,
            reserved: 0,
        };
        (key, header_length, flags)
    };
    enter::<LINK, HOOK, _>(buffer, key, header_length, flags)
}

/// Adds a packet of the common layout.
#[inline(always)]
fn enter<const LINK: usize, const HOOK: u8, K: Asking>(
    buffer: Buffer,
    mut key: K,
    header_length: u32,
    flags: u8,
) -> i32 {
    let amount = buffer.amount(buffer.length() - LINK as u32, header_length, flags);
    let generation = generation();
    let Counted { buffers, looked } = account(&mut key, Side::Tc, generation, &amount);
    if HOOK == hook::UPLINK_EGRESS && (looked == 0 || flags & tcp_flags::EVENTS != 0) {
        if !pairs_here() {
            ask(buffer.skb, buffer.ifindex(), &key);
        } else if look_here::<LINK>(buffer.skb, buffer.ifindex()) != 0 {
            settle(&key);
        }
    }
    if buffers == 0 {
        report_overflow(buffer.skb, buffer.ifindex(), u32::from(HOOK), generation);
        lose(
            buffer.ifindex(),
            code(HOOK, reason::OVERFLOW),
            generation,
            &amount,
        );
    }
    // A new connection's first packet is remembered also when a full map turned its flow away.
    if is_before_nat(HOOK) && (is_sampled(buffers) || flags & tcp_flags::SYN != 0) {
        remember::<LINK>(buffer.skb, generation);
    }
    NEXT
}

/// Everything that is not of the common layout: options, extension headers, VLAN tags, fragments,
/// tunnels, other protocols, headers outside the linear part.
#[inline(always)]
fn uncommon<const LINK: usize, const HOOK: u8>(buffer: Buffer) -> i32 {
    // What follows is left to the caller, so that two deep stacks never stand on one another.
    if thorough::<LINK, HOOK>(buffer) != 0 {
        if HOOK == hook::UPLINK_EGRESS {
            if pairs_here() {
                look_here::<LINK>(buffer.skb, buffer.ifindex());
            } else {
                ask_once(buffer.skb, buffer.ifindex());
            }
        } else {
            remember::<LINK>(buffer.skb, generation());
        }
    }
    NEXT
}

/// Counts such a packet. Returns 1 where its fingerprint is worth remembering, or looking for.
#[inline(never)]
fn thorough<const LINK: usize, const HOOK: u8>(buffer: Buffer) -> u32 {
    let mut headers = Headers::default();
    let outcome = parse_headers::<LINK>(buffer.skb, &mut headers);
    if outcome != PARSED {
        return refuse::<LINK, HOOK>(buffer, outcome);
    }
    let amount = buffer.amount_of(&headers);
    let generation = generation();
    let Counted { buffers, .. } = enter_headers(
        &headers,
        u64::from(buffer.ifindex()),
        HOOK,
        Side::Tc,
        &amount,
    );
    if buffers == 0 {
        report_overflow(buffer.skb, buffer.ifindex(), u32::from(HOOK), generation);
        lose(
            buffer.ifindex(),
            code(HOOK, reason::OVERFLOW),
            generation,
            &amount,
        );
    }
    if HOOK == hook::UPLINK_EGRESS {
        return u32::from(!is_tunnel(&headers));
    }
    let is_wanted = is_sampled(buffers) || headers.tcp_flags & tcp_flags::SYN != 0;
    u32::from(is_before_nat(HOOK) && is_wanted)
}

/// Adds a packet whose headers were parsed in full.
#[inline(always)]
pub fn enter_headers(
    headers: &Headers,
    scope: u64,
    hook: u8,
    side: Side,
    amount: &Amount,
) -> Counted {
    if headers.family == 4 {
        let mut key = FlowKey4 {
            scope,
            src: headers.src[0],
            dst: headers.dst[0],
            src_port: headers.src_port,
            dst_port: headers.dst_port,
            protocol: headers.protocol,
            hook,
            generation: 0,
            reserved: 0,
        };
        account(&mut key, side, generation(), amount)
    } else {
        let mut key = FlowKey6 {
            scope,
            src: headers.src,
            dst: headers.dst,
            src_port: headers.src_port,
            dst_port: headers.dst_port,
            protocol: headers.protocol,
            hook,
            generation: 0,
            reserved: 0,
        };
        account(&mut key, side, generation(), amount)
    }
}

#[inline(always)]
fn refuse<const LINK: usize, const HOOK: u8>(buffer: Buffer, outcome: u32) -> u32 {
    let reason = if outcome == NON_IP {
        reason::NON_IP
    } else {
        reason::IP_UNPARSED
    };
    let amount = buffer.amount(buffer.length().saturating_sub(LINK as u32), 0, 0);
    lose(buffer.ifindex(), code(HOOK, reason), generation(), &amount);
    0
}
