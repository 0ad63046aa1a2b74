//! Headers of a packet: link layer, IPv4 and IPv6 with options and extension headers, transport.
//!
//! Two ways lead to the same answer. [`parse`] follows everything, reading through [`Load`] at
//! variable offsets. [`Quick4`] and [`Quick6`] are views of the two layouts that nearly every
//! packet has (no options, no extension headers), for callers that hold direct pointers; they
//! refuse whatever [`parse`] would read differently.

/// Reads `N` bytes at `offset`, counted from where the caller's packet begins.
pub trait Load {
    /// The bytes, or `None` past the packet's end.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
}

/// IANA protocol numbers that are treated by name.
pub mod protocol {
    /// ICMP, RFC 792.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP, RFC 2003.
    pub const IPIP: u8 = 4;
    /// TCP, RFC 9293.
    pub const TCP: u8 = 6;
    /// UDP, RFC 768.
    pub const UDP: u8 = 17;
    /// DCCP, RFC 4340.
    pub const DCCP: u8 = 33;
    /// IPv6 in IP, RFC 4213.
    pub const IPV6: u8 = 41;
    /// GRE, RFC 2784.
    pub const GRE: u8 = 47;
    /// ICMPv6, RFC 4443.
    pub const ICMPV6: u8 = 58;
    /// SCTP, RFC 9260.
    pub const SCTP: u8 = 132;
    /// UDP-Lite, RFC 3828.
    pub const UDPLITE: u8 = 136;
}

/// TCP flags, RFC 9293.
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset.
    pub const RST: u8 = 4;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
    /// A connection begins or ends.
    pub const EVENTS: u8 = SYN | FIN | RST;
}

/// What the headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Headers {
    /// Source address in network byte order; IPv4 in the first word.
    pub src: [u32; 4],
    /// Destination address, likewise.
    pub dst: [u32; 4],
    /// Source port in network byte order; ICMP echo: the identifier; else 0.
    pub src_port: u16,
    /// Destination port in network byte order; ICMP: type × 256 + code; else 0.
    pub dst_port: u16,
    /// Offset of the layer-3 header.
    pub l3_offset: u32,
    /// Offset of the transport header; 0 where the packet has none (later fragments).
    pub l4_offset: u32,
    /// Bytes from the layer-3 header to the payload: what each segment of a GSO buffer repeats.
    pub header_length: u32,
    /// 4 or 6.
    pub family: u8,
    /// IANA protocol number.
    pub protocol: u8,
    /// TCP flags, else 0.
    pub tcp_flags: u8,
    /// 1 for a fragment that is not the first.
    pub later_fragment: u8,
}

/// Why there are no headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not IP at all.
    NonIp,
    /// IP, but cut short or with more headers than are followed.
    Unparsed,
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
/// Length of an Ethernet header without tags.
pub const ETHERNET_LENGTH: u32 = 14;
const VLAN_TAGS_FOLLOWED: u32 = 2;
const EXTENSION_HEADERS_FOLLOWED: u32 = 8;
const IPV4_LENGTH: u32 = 20;
const IPV6_LENGTH: u32 = 40;

/// Parses a packet that begins with an Ethernet header into `headers`, which come zeroed.
///
/// The headers are filled in place, since a program's stack has no room for copies.
#[inline(always)]
pub fn parse_ethernet(packet: &impl Load, headers: &mut Headers) -> Result<(), Refused> {
    let Some(bytes) = packet.load::<2>(12) else {
        return Err(Refused::NonIp);
    };
    let mut ethertype = u16::from_be_bytes(bytes);
    let mut offset = ETHERNET_LENGTH;
    for _ in 0..VLAN_TAGS_FOLLOWED {
        if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ {
            break;
        }
        let Some(bytes) = packet.load::<2>(offset + 2) else {
            return Err(Refused::NonIp);
        };
        ethertype = u16::from_be_bytes(bytes);
        offset += 4;
    }
    match ethertype {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => parse(packet, offset, headers),
        _ => Err(Refused::NonIp),
    }
}

/// Parses a packet whose layer-3 header stands at `offset` into `headers`, which come zeroed.
#[inline(always)]
pub fn parse(packet: &impl Load, offset: u32, headers: &mut Headers) -> Result<(), Refused> {
    let Some([first]) = packet.load::<1>(offset) else {
        return Err(Refused::Unparsed);
    };
    match first >> 4 {
        4 => parse_ipv4(packet, offset, headers),
        6 => parse_ipv6(packet, offset, headers),
        _ => Err(Refused::NonIp),
    }
}

#[inline(always)]
fn parse_ipv4(packet: &impl Load, offset: u32, headers: &mut Headers) -> Result<(), Refused> {
    let Some(ip) = packet.load::<20>(offset) else {
        return Err(Refused::Unparsed);
    };
    let length = u32::from(ip[0] & 0x0f) * 4;
    if length < IPV4_LENGTH {
        return Err(Refused::Unparsed);
    }
    headers.src[0] = word(&ip, 12);
    headers.dst[0] = word(&ip, 16);
    headers.l3_offset = offset;
    headers.header_length = length;
    headers.family = 4;
    headers.protocol = ip[9];
    if u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff != 0 {
        headers.later_fragment = 1;
        return Ok(());
    }
    headers.l4_offset = offset + length;
    transport(packet, headers)
}

#[inline(always)]
fn parse_ipv6(packet: &impl Load, offset: u32, headers: &mut Headers) -> Result<(), Refused> {
    let Some(ip) = packet.load::<40>(offset) else {
        return Err(Refused::Unparsed);
    };
    for index in 0..4 {
        headers.src[index] = word(&ip, 8 + index * 4);
        headers.dst[index] = word(&ip, 24 + index * 4);
    }
    headers.l3_offset = offset;
    headers.family = 6;
    let mut next = ip[6];
    let mut length = IPV6_LENGTH;
    // One round more than headers are followed, for what stands behind the last of them.
    for _ in 0..=EXTENSION_HEADERS_FOLLOWED {
        let extension = match Extension::of(next) {
            Some(extension) => extension,
            None => {
                headers.protocol = next;
                headers.header_length = length;
                headers.l4_offset = offset + length;
                return transport(packet, headers);
            }
        };
        let Some(bytes) = packet.load::<4>(offset + length) else {
            return Err(Refused::Unparsed);
        };
        next = bytes[0];
        length += match extension {
            Extension::Options => (u32::from(bytes[1]) + 1) * 8,
            Extension::Authentication => (u32::from(bytes[1]) + 2) * 4,
            Extension::Fragment => 8,
        };
        let fragment_offset = u16::from_be_bytes([bytes[2], bytes[3]]) & 0xfff8;
        if matches!(extension, Extension::Fragment) && fragment_offset != 0 {
            headers.protocol = next;
            headers.header_length = length;
            headers.later_fragment = 1;
            return Ok(());
        }
    }
    Err(Refused::Unparsed)
}

/// IPv6 extension headers, by how their length is written (RFC 8200 section 4, RFC 4302, 6275).
enum Extension {
    /// Hop-by-hop, routing, destination options, mobility, HIP, shim6: 8-byte units less one.
    Options,
    /// Authentication header: 4-byte units less two.
    Authentication,
    /// Fragment header: always 8 bytes.
    Fragment,
}

impl Extension {
    #[inline(always)]
    fn of(next_header: u8) -> Option<Self> {
        match next_header {
            0 | 43 | 60 | 135 | 139 | 140 => Some(Self::Options),
            44 => Some(Self::Fragment),
            51 => Some(Self::Authentication),
            _ => None,
        }
    }
}

#[inline(always)]
fn transport(packet: &impl Load, headers: &mut Headers) -> Result<(), Refused> {
    let offset = headers.l4_offset;
    match headers.protocol {
        protocol::TCP => {
            let Some(tcp) = packet.load::<14>(offset) else {
                return Err(Refused::Unparsed);
            };
            headers.src_port = half(&tcp, 0);
            headers.dst_port = half(&tcp, 2);
            headers.header_length += u32::from(tcp[12] >> 4) * 4;
            headers.tcp_flags = tcp[13];
        }
        protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDPLITE => {
            let Some(ports) = packet.load::<4>(offset) else {
                return Err(Refused::Unparsed);
            };
            headers.src_port = half(&ports, 0);
            headers.dst_port = half(&ports, 2);
            headers.header_length += 8;
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let Some(icmp) = packet.load::<8>(offset) else {
                return Err(Refused::Unparsed);
            };
            headers.dst_port = half(&icmp, 0);
            if is_echo(headers.family, icmp[0]) {
                headers.src_port = half(&icmp, 4);
            }
            headers.header_length += 8;
        }
        _ => {}
    }
    Ok(())
}

/// Whether an ICMP or ICMPv6 type is an echo request or reply.
#[inline(always)]
pub fn is_echo(family: u8, icmp_type: u8) -> bool {
    match family {
        4 => icmp_type == 0 || icmp_type == 8,
        _ => icmp_type == 128 || icmp_type == 129,
    }
}

/// Wire packets that a buffer stands for.
///
/// `gso_size` is the payload of one segment. Drivers and untrusted guests may leave `gso_segs`
/// zero; then it follows from the sizes.
#[inline(always)]
pub fn segments(length: u32, header_length: u32, gso_size: u32, gso_segs: u32) -> u32 {
    if gso_segs > 0 {
        return gso_segs;
    }
    if gso_size == 0 || length <= header_length {
        return 1;
    }
    (length - header_length).div_ceil(gso_size)
}

/// Length of the headers inside a UDP tunnel (VXLAN RFC 7348, Geneve RFC 8926): the tunnel header,
/// the inner Ethernet, IP and transport headers. A GSO buffer repeats them in every segment.
#[inline(always)]
pub fn tunnelled_header_length(packet: &impl Load, outer: &Headers, geneve: bool) -> Option<u32> {
    let tunnel = outer.l3_offset + outer.header_length;
    let mut inner = tunnel + 8;
    if geneve {
        let [options] = packet.load::<1>(tunnel)?;
        inner += u32::from(options & 0x3f) * 4;
    }
    let ip = inner + ETHERNET_LENGTH;
    let [first] = packet.load::<1>(ip)?;
    let (next, length) = match first >> 4 {
        4 => (packet.load::<1>(ip + 9)?[0], u32::from(first & 0x0f) * 4),
        6 => (packet.load::<1>(ip + 6)?[0], IPV6_LENGTH),
        _ => return None,
    };
    let transport = match next {
        protocol::TCP => u32::from(packet.load::<1>(ip + length + 12)?[0] >> 4) * 4,
        protocol::UDP => 8,
        _ => return None,
    };
    Some(ip + length + transport - tunnel)
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline(always)]
fn half<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

/// The 34 bytes that most IPv4 packets lay out alike: a header without options and 14 transport
/// bytes. Packed, so that it may be read in place at any offset.
#[derive(Clone, Copy)]
#[repr(C, packed)]
pub struct Quick4 {
    version_length: u8,
    _service: u8,
    _total_length: u16,
    /// Identification, network byte order.
    pub id: u16,
    fragment: u16,
    _ttl: u8,
    /// IANA protocol number.
    pub protocol: u8,
    _checksum: u16,
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

/// Length of [`Quick4`]: an IPv4 header without options, and ports.
pub const QUICK4_LENGTH: usize = size_of::<Quick4>();
/// Offset of the TCP data-offset byte in a packet that [`Quick4`] accepts.
pub const QUICK4_TCP_DATA_OFFSET: usize = 32;
/// Bytes that must be there to read TCP's flags as well.
pub const QUICK4_TCP_LENGTH: usize = 34;

impl Quick4 {
    /// Whether the layout is the common one: version 4, no options, not a later fragment, a
    /// protocol with ports.
    #[inline(always)]
    pub fn applies(&self) -> bool {
        self.version_length == 0x45
            && u16::from_be(self.fragment) & 0x1fff == 0
            && (self.protocol == protocol::TCP || self.protocol == protocol::UDP)
    }
}

/// The common layout of IPv6: no extension headers, then ports.
#[derive(Clone, Copy)]
#[repr(C, packed)]
pub struct Quick6 {
    version: u8,
    _flow_label: [u8; 3],
    _payload_length: u16,
    /// Next header: the transport protocol.
    pub protocol: u8,
    _hop_limit: u8,
    /// Source address.
    pub src: [u32; 4],
    /// Destination address.
    pub dst: [u32; 4],
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

/// Length of [`Quick6`].
pub const QUICK6_LENGTH: usize = size_of::<Quick6>();
/// Offset of the TCP data-offset byte in a packet that [`Quick6`] accepts.
pub const QUICK6_TCP_DATA_OFFSET: usize = 52;
/// Bytes that must be there to read TCP's flags as well.
pub const QUICK6_TCP_LENGTH: usize = 54;

impl Quick6 {
    /// Whether the layout is the common one.
    #[inline(always)]
    pub fn applies(&self) -> bool {
        self.version >> 4 == 6 && (self.protocol == protocol::TCP || self.protocol == protocol::UDP)
    }
}

/// Ethertypes in network byte order, for callers that compare in place.
#[inline(always)]
pub fn is_ipv4_ethertype(network_order: u16) -> bool {
    network_order == ETHERTYPE_IPV4.to_be()
}

/// See [`is_ipv4_ethertype`].
#[inline(always)]
pub fn is_ipv6_ethertype(network_order: u16) -> bool {
    network_order == ETHERTYPE_IPV6.to_be()
}
