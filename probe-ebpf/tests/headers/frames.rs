//! Packets, byte by byte from the RFCs, for the parser's tests and for test runs of the programs.
//!
//! Lengths are right and checksums are zero: nothing here is ever sent.

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// Tag protocol of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// Tag protocol of an 802.1ad service tag.
pub const QINQ: u16 = 0x88a8;
/// TCP's protocol number.
pub const TCP: u8 = 6;
/// UDP's protocol number.
pub const UDP: u8 = 17;

/// An Ethernet frame, with tags (tag protocol, VLAN id) in front of the EtherType.
pub fn ethernet(tags: &[(u16, u16)], ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for (protocol, id) in tags {
        frame.extend(protocol.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(body);
    frame
}

/// An IPv4 header (RFC 791) and its body. `options` come in whole words, `fragment` is the word of
/// flags and offset.
pub struct Ipv4<'a> {
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
    /// Protocol of the body.
    pub protocol: u8,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Options, padded.
    pub options: &'a [u8],
}

impl Ipv4<'_> {
    /// The packet.
    pub fn around(&self, body: &[u8]) -> Vec<u8> {
        let words = 5 + self.options.len() / 4;
        let mut packet = vec![0x40 | words as u8, 0];
        packet.extend(((words * 4 + body.len()) as u16).to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0]);
        packet.extend(self.src);
        packet.extend(self.dst);
        packet.extend(self.options);
        packet.extend(body);
        packet
    }
}

/// An IPv4 packet without options between two fixed hosts.
pub fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let header = Ipv4 {
        src: [10, 0, 0, 1],
        dst: [192, 0, 2, 7],
        protocol,
        id: 0x1234,
        fragment: 0x4000,
        options: &[],
    };
    header.around(body)
}

/// An IPv6 extension header: its number, and its bytes behind the next-header byte.
pub type Extension = (u8, Vec<u8>);

/// Hop-by-hop (0), routing (43) or destination options (60) of `units` times 8 bytes.
pub fn options(number: u8, units: usize) -> Extension {
    let mut bytes = vec![0; units * 8 - 1];
    bytes[0] = (units - 1) as u8;
    (number, bytes)
}

/// Fragment header (RFC 8200 section 4.5); `offset` in units of 8 bytes.
pub fn fragment(offset: u16, more: bool) -> Extension {
    let word = (offset << 3 | u16::from(more)).to_be_bytes();
    (44, vec![0, word[0], word[1], 0, 0, 0, 9])
}

/// Authentication header (RFC 4302) of `words` times 4 bytes.
pub fn authentication(words: usize) -> Extension {
    let mut bytes = vec![0; words * 4 - 1];
    bytes[0] = (words - 2) as u8;
    (51, bytes)
}

/// Source of [`ipv6`].
pub const SRC6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Destination of [`ipv6`].
pub const DST6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

/// An IPv6 packet between two fixed hosts, with extension headers in the order given.
pub fn ipv6(extensions: &[Extension], protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    let mut next = extensions
        .iter()
        .map(|(number, _)| *number)
        .chain([protocol]);
    let first = next.next().unwrap_or(protocol);
    for ((_, bytes), number) in extensions.iter().zip(next) {
        rest.push(number);
        rest.extend(bytes);
    }
    rest.extend(body);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((rest.len() as u16).to_be_bytes());
    packet.extend([first, 64]);
    packet.extend(SRC6);
    packet.extend(DST6);
    packet.extend(rest);
    packet
}

/// A TCP segment (RFC 9293) with as many words of options as asked for.
pub fn tcp(
    ports: (u16, u16),
    numbers: (u32, u32),
    flags: u8,
    words: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(ports.0.to_be_bytes());
    segment.extend(ports.1.to_be_bytes());
    segment.extend(numbers.0.to_be_bytes());
    segment.extend(numbers.1.to_be_bytes());
    segment.extend([(5 + words) << 4, flags, 1, 0, 0, 0, 0, 0]);
    segment.resize(20 + usize::from(words) * 4, 1);
    segment.extend(payload);
    segment
}

/// A UDP datagram (RFC 768).
pub fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(ports.0.to_be_bytes());
    datagram.extend(ports.1.to_be_bytes());
    datagram.extend(((8 + payload.len()) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// An ICMP or ICMPv6 message; `id` and `sequence` as echoes have them.
pub fn icmp(kind: u8, code: u8, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend(payload);
    message
}

/// A VXLAN header (RFC 7348) and the frame inside.
pub fn vxlan(inner: &[u8]) -> Vec<u8> {
    let mut body = vec![8, 0, 0, 0, 0, 0, 42, 0];
    body.extend(inner);
    body
}

/// A Geneve header (RFC 8926) with `words` words of options, and the frame inside.
pub fn geneve(words: u8, inner: &[u8]) -> Vec<u8> {
    let mut body = vec![words, 0, 0x65, 0x58, 0, 0, 42, 0];
    body.resize(8 + usize::from(words) * 4, 0);
    body.extend(inner);
    body
}
