//! The two tc programs and their maps.
//!
//! At egress a packet whose source has a rule gets that rule's address, and a port that is free
//! towards its destination; at ingress the answer is turned back. No conntrack and no netfilter
//! are involved, and both programs end their chain with `TC_ACT_OK`, so that whatever is attached
//! behind them never runs. ICMP errors and IPv6 packets with extension headers pass untranslated.

use aya_ebpf::bindings::{BPF_NOEXIST, TC_ACT_OK, TC_ACT_SHOT};
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{LpmTrie, LruHashMap};
use aya_ebpf::programs::TcContext;

use crate::packet::{Address, Fragment, Packet, Side};

const FLOWS: u32 = 262_144;
/// Ports that are tried before a packet is dropped for want of one.
const ATTEMPTS: u32 = 32;
const FIRST_RANDOM_PORT: u32 = 32_768;
const RANDOM_PORTS: u32 = 28_232;
/// Protocol number of fragments' keys, which no packet has.
const FRAGMENT_KEY: u8 = 255;

/// What to do with packets from a source.
#[repr(C)]
#[derive(Clone, Copy)]
struct SourceRule {
    /// Source address to give them, IPv4 as an IPv4-mapped address.
    address: Address,
    /// 0 leaves them as they are, 1 keeps a free port, 2 takes a random one.
    mode: u32,
}

const MODE_LEAVE: u32 = 0;
const MODE_RANDOM: u32 = 2;

/// Addresses and ports of a packet, ports in network order; ICMP echo has its identifier as the
/// port of the side that asked.
#[repr(C)]
#[derive(Clone, Copy)]
struct FlowKey {
    src: Address,
    dst: Address,
    src_port: u16,
    dst_port: u16,
    protocol: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Endpoint {
    address: Address,
    port: u16,
    padding: u16,
}

/// Rules by source prefix.
#[map]
static SOURCES: LpmTrie<Address, SourceRule> = LpmTrie::with_max_entries(1024, 0);

/// Destinations inside the cluster, never translated.
#[map]
static CLUSTER: LpmTrie<Address, u32> = LpmTrie::with_max_entries(64, 0);

/// Flows as the pod sends them, with the source they leave with.
#[map]
static FORWARD: LruHashMap<FlowKey, Endpoint> = LruHashMap::with_max_entries(FLOWS, 0);

/// Flows as the answers arrive, with the pod's own address and port.
#[map]
static REVERSE: LruHashMap<FlowKey, Endpoint> = LruHashMap::with_max_entries(FLOWS, 0);

/// Fragmented packets whose first fragment was translated, by source, destination and id.
#[map]
static FRAGMENTS: LruHashMap<FlowKey, Endpoint> = LruHashMap::with_max_entries(4096, 0);

/// Translates what pods send out of the node.
#[classifier]
pub fn lab_egress(ctx: TcContext) -> i32 {
    egress(&ctx).unwrap_or(TC_ACT_OK)
}

/// Translates answers back.
#[classifier]
pub fn lab_ingress(ctx: TcContext) -> i32 {
    ingress(&ctx).unwrap_or(TC_ACT_OK)
}

#[inline(always)]
fn egress(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse(ctx)?;
    let rule = *SOURCES.get(Key::new(128, packet.src))?;
    if rule.mode == MODE_LEAVE || CLUSTER.get(Key::new(128, packet.dst)).is_some() {
        return Some(TC_ACT_OK);
    }
    if packet.fragment == Fragment::Later {
        let endpoint = fragment(&packet)?;
        packet.rewrite_address(ctx, Side::Source, &endpoint.address)?;
        return Some(TC_ACT_OK);
    }
    let (src_port, dst_port) = packet.ports(ctx, Side::Source)?;
    let key = FlowKey {
        src: packet.src,
        dst: packet.dst,
        src_port,
        dst_port,
        protocol: packet.protocol.into(),
    };
    let Some(endpoint) = translation(&key, &rule) else {
        return Some(TC_ACT_SHOT);
    };
    remember_fragment(&packet, &endpoint);
    packet.rewrite(
        ctx,
        Side::Source,
        &endpoint.address,
        src_port,
        endpoint.port,
    )?;
    Some(TC_ACT_OK)
}

#[inline(always)]
fn ingress(ctx: &TcContext) -> Option<i32> {
    let packet = Packet::parse(ctx)?;
    if packet.fragment == Fragment::Later {
        let endpoint = fragment(&packet)?;
        packet.rewrite_address(ctx, Side::Destination, &endpoint.address)?;
        return Some(TC_ACT_OK);
    }
    let (src_port, dst_port) = packet.ports(ctx, Side::Destination)?;
    let key = FlowKey {
        src: packet.src,
        dst: packet.dst,
        src_port,
        dst_port,
        protocol: packet.protocol.into(),
    };
    // SAFETY: the value is copied at once; an entry that the kernel reuses meanwhile belongs to a
    // flow that this table has no room for.
    let endpoint = *unsafe { REVERSE.get(key) }?;
    remember_fragment(&packet, &endpoint);
    packet.rewrite(
        ctx,
        Side::Destination,
        &endpoint.address,
        dst_port,
        endpoint.port,
    )?;
    Some(TC_ACT_OK)
}

/// The translation of a flow: the one that it has, or a new one.
#[inline(always)]
fn translation(key: &FlowKey, rule: &SourceRule) -> Option<Endpoint> {
    // SAFETY: as in `ingress`.
    if let Some(known) = unsafe { FORWARD.get(key) }.copied()
        && known.address == rule.address
    {
        return Some(known);
    }
    let origin = Endpoint {
        address: key.src,
        port: key.src_port,
        padding: 0,
    };
    for attempt in 0..ATTEMPTS {
        let port = if attempt == 0 && rule.mode != MODE_RANDOM {
            key.src_port
        } else {
            // SAFETY: the helper has no preconditions.
            let random = unsafe { bpf_get_prandom_u32() };
            ((FIRST_RANDOM_PORT + random % RANDOM_PORTS) as u16).to_be()
        };
        let answer = FlowKey {
            src: key.dst,
            dst: rule.address,
            src_port: key.dst_port,
            dst_port: port,
            protocol: key.protocol,
        };
        if !is_free(&answer, &origin) {
            continue;
        }
        let endpoint = Endpoint {
            address: rule.address,
            port,
            padding: 0,
        };
        FORWARD.insert(key, endpoint, 0).ok()?;
        return Some(endpoint);
    }
    None
}

/// Takes the answers' key for a flow, or finds that the flow has it already.
#[inline(always)]
fn is_free(answer: &FlowKey, origin: &Endpoint) -> bool {
    if REVERSE
        .insert(answer, origin, u64::from(BPF_NOEXIST))
        .is_ok()
    {
        return true;
    }
    // SAFETY: as in `ingress`.
    unsafe { REVERSE.get(answer) }
        .is_some_and(|holder| holder.address == origin.address && holder.port == origin.port)
}

#[inline(always)]
fn fragment(packet: &Packet) -> Option<Endpoint> {
    // SAFETY: as in `ingress`.
    unsafe { FRAGMENTS.get(fragment_key(packet)) }.copied()
}

#[inline(always)]
fn remember_fragment(packet: &Packet, endpoint: &Endpoint) {
    if packet.fragment == Fragment::First {
        // Without room the later fragments leave untranslated and nobody can put them together.
        let _ = FRAGMENTS.insert(fragment_key(packet), endpoint, 0);
    }
}

#[inline(always)]
fn fragment_key(packet: &Packet) -> FlowKey {
    FlowKey {
        src: packet.src,
        dst: packet.dst,
        src_port: packet.id,
        dst_port: 0,
        protocol: u32::from(FRAGMENT_KEY) << 8 | u32::from(packet.protocol),
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
