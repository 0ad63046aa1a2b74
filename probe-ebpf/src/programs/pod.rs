//! The pod hooks: cgroup_skb on the kubepods cgroup, before any NAT, with the socket at hand.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::{bpf_skb_cgroup_id, bpf_tcp_sock},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use probe_abi::{
    flow::{FlowKey4, FlowKey6, FlowRecord, hook},
    loss::reason,
};
use probe_ebpf::packet::{
    Headers, QUICK4_LENGTH, QUICK4_TCP_DATA_OFFSET, QUICK4_TCP_LENGTH, QUICK6_LENGTH,
    QUICK6_TCP_DATA_OFFSET, QUICK6_TCP_LENGTH, Quick4, Quick6, protocol, tcp_flags,
};

use super::{
    account::{Counted, FlowKey, Side, account, generation, is_sampled, mark},
    buffer::{Amount, Buffer, NON_IP, PARSED, headers as parse_headers},
    http::{self, Connected},
    loss::{code, lose, report_overflow},
    maps::parameter,
    pairing::remember,
    uplink::enter_headers,
};

/// The packet passes.
pub const PASS: i32 = 1;

#[cgroup_skb]
pub fn pod_egress(ctx: SkBuffContext) -> i32 {
    let scope = cgroup_of(ctx.skb.skb);
    count::<{ hook::POD_EGRESS }>(ctx.skb.skb, scope, 0, 0)
}

#[cgroup_skb]
pub fn pod_ingress(ctx: SkBuffContext) -> i32 {
    let scope = cgroup_of(ctx.skb.skb);
    count::<{ hook::POD_INGRESS }>(ctx.skb.skb, scope, 0, 0)
}

#[inline(always)]
fn cgroup_of(skb: *mut __sk_buff) -> u64 {
    // SAFETY: the context is valid for the program's run.
    unsafe { bpf_skb_cgroup_id(skb) }
}

/// Counts one packet whose layer-3 header stands at `offset` (0 at the cgroup hooks). `vary` is
/// xored into the source port; only the benchmark, which runs this body under tc, sets the two.
#[inline(always)]
pub fn count<const HOOK: u8>(skb: *mut __sk_buff, scope: u64, offset: usize, vary: u16) -> i32 {
    let buffer = Buffer { skb };
    let data = buffer.data() + offset;
    let end = buffer.data_end();
    // SAFETY: each view is read only after its bounds were checked against the linear end.
    unsafe {
        if data + QUICK4_LENGTH <= end {
            let ip = data as *const Quick4;
            if (*ip).applies() {
                let mut header_length = 28;
                let mut flags = 0;
                if (*ip).protocol == protocol::TCP {
                    if data + QUICK4_TCP_LENGTH > end {
                        return uncommon::<HOOK>(buffer, scope);
                    }
                    let tcp = (data + QUICK4_TCP_DATA_OFFSET) as *const [u8; 2];
                    header_length = 20 + u32::from((*tcp)[0] >> 4) * 4;
                    flags = (*tcp)[1];
                }
                let key = FlowKey4 {
                    scope,
                    src: (*ip).src,
                    dst: (*ip).dst,
                    src_port: (*ip).src_port ^ vary,
                    dst_port: (*ip).dst_port,
                    protocol: (*ip).protocol,
                    hook: HOOK,
                    generation: 0,
                    reserved: 0,
                };
                let amount = buffer.amount(buffer.length() - offset as u32, header_length, flags);
                let tcp = transport((*ip).protocol, offset, 20);
                return enter::<HOOK, _>(buffer, key, &amount, tcp, header_length);
            }
        }
        if data + QUICK6_LENGTH <= end {
            let ip = data as *const Quick6;
            if (*ip).applies() {
                let mut header_length = 48;
                let mut flags = 0;
                if (*ip).protocol == protocol::TCP {
                    if data + QUICK6_TCP_LENGTH > end {
                        return uncommon::<HOOK>(buffer, scope);
                    }
                    let tcp = (data + QUICK6_TCP_DATA_OFFSET) as *const [u8; 2];
                    header_length = 40 + u32::from((*tcp)[0] >> 4) * 4;
                    flags = (*tcp)[1];
                }
                let key = FlowKey6 {
                    scope,
                    src: (*ip).src,
                    dst: (*ip).dst,
                    src_port: (*ip).src_port ^ vary,
                    dst_port: (*ip).dst_port,
                    protocol: (*ip).protocol,
                    hook: HOOK,
                    generation: 0,
                    reserved: 0,
                };
                let amount = buffer.amount(buffer.length() - offset as u32, header_length, flags);
                let tcp = transport((*ip).protocol, offset, 40);
                return enter::<HOOK, _>(buffer, key, &amount, tcp, header_length);
            }
        }
    }
    uncommon::<HOOK>(buffer, scope)
}

/// Where a packet's TCP header stands; 0 where it has none.
#[inline(always)]
fn transport(protocol: u8, offset: usize, ip_length: u32) -> u32 {
    if protocol == protocol::TCP {
        offset as u32 + ip_length
    } else {
        0
    }
}

#[inline(always)]
fn enter<const HOOK: u8, K: Connected>(
    buffer: Buffer,
    mut key: K,
    amount: &Amount,
    tcp: u32,
    header_length: u32,
) -> i32 {
    let generation = generation();
    let Counted { buffers, looked } = account(&mut key, Side::Pod, generation, amount);
    if is_sampled(buffers) || amount.tcp_flags & u32::from(tcp_flags::EVENTS) != 0 {
        if HOOK == hook::POD_EGRESS {
            remember::<0>(buffer.skb, generation);
        }
        if buffers != 0 {
            sample(buffer.skb, &key);
        } else {
            report_overflow(buffer.skb, 0, u32::from(HOOK), generation);
            lose(0, code(HOOK, reason::OVERFLOW), generation, amount);
        }
    }
    let speaks = amount.buffer_bytes > u64::from(header_length)
        || amount.tcp_flags & u32::from(tcp_flags::EVENTS) != 0;
    if tcp != 0 && speaks && parameter!(HTTP_ON) != 0 && looked != http::mark() {
        look::<HOOK, K>(buffer, &key, tcp, buffers);
    }
    PASS
}

/// Looks for HTTP in the packet, and marks its flow where no more looks are needed.
#[inline(always)]
fn look<const HOOK: u8, K: Connected>(buffer: Buffer, key: &K, tcp: u32, buffers: u64) {
    let mark_now = http::mark();
    let outcome = if HOOK == hook::POD_EGRESS {
        http::look::<true, K>(buffer.skb, key, tcp, buffers)
    } else {
        http::look::<false, K>(buffer.skb, key, tcp, buffers)
    };
    if outcome == http::SETTLED {
        mark(key, mark_now);
    }
}

/// What is done at a flow's first, second, fourth, eighth … packet, beside remembering its
/// fingerprint: reading the socket's TCP state.
#[inline(never)]
fn sample<K: FlowKey>(skb: *mut __sk_buff, key: &K) -> u32 {
    let Some(record) = key.record() else { return 0 };
    sample_socket(skb, record);
    1
}

/// Copies the socket's TCP state into the flow's record.
#[inline(always)]
fn sample_socket(skb: *mut __sk_buff, record: *mut FlowRecord) {
    // SAFETY: the helper's result is checked for null before it is read; the record is a live
    // map value.
    unsafe {
        let sk: *mut bpf_sock = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() {
            return;
        }
        let tcp = bpf_tcp_sock(sk);
        if tcp.is_null() {
            return;
        }
        (*record).srtt_us = (*tcp).srtt_us >> 3;
        (*record).min_rtt_us = (*tcp).rtt_min;
        (*record).retransmits = (*tcp).total_retrans;
        (*record).cwnd_segments = (*tcp).snd_cwnd;
        (*record).tcp_sampled = 1;
    }
}

/// Options, extension headers, fragments, other protocols.
#[inline(always)]
fn uncommon<const HOOK: u8>(buffer: Buffer, scope: u64) -> i32 {
    // Remembering is left to the caller, so that two deep stacks never stand on one another.
    if thorough::<HOOK>(buffer, scope) != 0 {
        remember::<0>(buffer.skb, generation());
    }
    PASS
}

/// Counts such a packet. Returns 1 where its fingerprint is worth remembering.
#[inline(never)]
fn thorough<const HOOK: u8>(buffer: Buffer, scope: u64) -> u32 {
    let generation = generation();
    let mut headers = Headers::default();
    let outcome = parse_headers::<0>(buffer.skb, &mut headers);
    if outcome != PARSED {
        let reason = if outcome == NON_IP {
            reason::NON_IP
        } else {
            reason::IP_UNPARSED
        };
        let amount = buffer.amount(buffer.length(), 0, 0);
        lose(0, code(HOOK, reason), generation, &amount);
        return 0;
    }
    let amount = buffer.amount_of(&headers);
    let Counted { buffers, .. } = enter_headers(&headers, scope, HOOK, Side::Pod, &amount);
    if buffers == 0 {
        report_overflow(buffer.skb, 0, u32::from(HOOK), generation);
        lose(0, code(HOOK, reason::OVERFLOW), generation, &amount);
    }
    let is_wanted = is_sampled(buffers) || headers.tcp_flags & tcp_flags::SYN != 0;
    u32::from(HOOK == hook::POD_EGRESS && is_wanted)
}
