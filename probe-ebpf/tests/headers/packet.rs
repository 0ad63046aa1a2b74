//! The parser on ordinary byte slices, beside etherparse's reading of the same bytes.

use crate::{
    Bytes,
    frames::{self, IPV4, IPV6, Ipv4, QINQ, TCP, UDP, VLAN, ethernet},
};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use probe_ebpf::packet::{
    Headers, QUICK4_LENGTH, QUICK4_TCP_DATA_OFFSET, QUICK4_TCP_LENGTH, QUICK6_LENGTH,
    QUICK6_TCP_DATA_OFFSET, QUICK6_TCP_LENGTH, Quick4, Quick6, Refused, parse, parse_ethernet,
    segments, tunnelled_header_length,
};
use proptest::prelude::*;

fn read(packet: &[u8]) -> Result<Headers, Refused> {
    let mut headers = Headers::default();
    parse(&Bytes(packet), 0, &mut headers).map(|()| headers)
}

fn read_frame(frame: &[u8]) -> Result<Headers, Refused> {
    let mut headers = Headers::default();
    parse_ethernet(&Bytes(frame), &mut headers).map(|()| headers)
}

fn ports(headers: &Headers) -> (u16, u16) {
    (
        u16::from_be(headers.src_port),
        u16::from_be(headers.dst_port),
    )
}

/// Holds what was read against etherparse, for packets that it follows to the transport.
fn check_witness(packet: &[u8]) {
    let ours = read(packet).expect("a whole packet");
    let theirs = SlicedPacket::from_ip(packet).expect("etherparse reads it");
    let (src, dst): (Vec<u8>, Vec<u8>) = match theirs.net.as_ref().expect("IP") {
        NetSlice::Ipv4(ip) => (
            ip.header().source().into(),
            ip.header().destination().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source().into(),
            ip.header().destination().into(),
        ),
        NetSlice::Arp(_) => panic!("not ARP"),
    };
    let bytes = |words: [u32; 4]| words.map(u32::to_ne_bytes).concat();
    assert_eq!(bytes(ours.src)[..src.len()], src);
    assert_eq!(bytes(ours.dst)[..dst.len()], dst);
    let payload_at = |payload: &[u8]| payload.as_ptr() as usize - packet.as_ptr() as usize;
    match theirs.transport.as_ref().expect("a transport") {
        TransportSlice::Igmp(_) => panic!("not IGMP"),
        TransportSlice::Tcp(tcp) => {
            assert_eq!(ours.protocol, TCP);
            assert_eq!(ports(&ours), (tcp.source_port(), tcp.destination_port()));
            assert_eq!(ours.header_length as usize, payload_at(tcp.payload()));
            assert_eq!(ours.tcp_flags & 2 != 0, tcp.syn());
            assert_eq!(ours.tcp_flags & 16 != 0, tcp.ack());
        }
        TransportSlice::Udp(udp) => {
            assert_eq!(ours.protocol, UDP);
            assert_eq!(ports(&ours), (udp.source_port(), udp.destination_port()));
            assert_eq!(ours.header_length as usize, payload_at(udp.payload()));
        }
        TransportSlice::Icmpv4(icmp) => {
            assert_eq!(ours.protocol, 1);
            assert_eq!(ours.header_length as usize, payload_at(icmp.payload()));
            assert_eq!(
                ports(&ours).1,
                u16::from(icmp.type_u8()) * 256 + u16::from(icmp.code_u8())
            );
        }
        TransportSlice::Icmpv6(icmp) => {
            assert_eq!(ours.protocol, 58);
            assert_eq!(ours.header_length as usize, payload_at(icmp.payload()));
            assert_eq!(
                ports(&ours).1,
                u16::from(icmp.type_u8()) * 256 + u16::from(icmp.code_u8())
            );
        }
    }
}

#[test]
fn vlan_tags_are_stepped_over_and_a_third_is_not_ip() {
    let ip = frames::ipv4(UDP, &frames::udp((4000, 53), b"query"));
    for (tags, offset) in [
        (&[][..], 14),
        (&[(VLAN, 7)][..], 18),
        (&[(QINQ, 7), (VLAN, 8)][..], 22),
    ] {
        let headers = read_frame(&ethernet(tags, IPV4, &ip)).expect("readable");
        assert_eq!(headers.l3_offset, offset);
        assert_eq!(headers.l4_offset, offset + 20);
        assert_eq!(headers.header_length, 28);
        assert_eq!(ports(&headers), (4000, 53));
    }
    let three = ethernet(&[(QINQ, 1), (VLAN, 2), (VLAN, 3)], IPV4, &ip);
    assert_eq!(read_frame(&three), Err(Refused::NonIp));
}

#[test]
fn arp_and_foreign_versions_are_not_ip() {
    let arp = ethernet(&[], frames::ARP, &[0; 28]);
    assert_eq!(read_frame(&arp), Err(Refused::NonIp));
    assert_eq!(read(&[0x50; 40]), Err(Refused::NonIp));
}

#[test]
fn ipv4_options_move_the_transport() {
    for words in 0..=10usize {
        let options = vec![1; words * 4];
        let header = Ipv4 {
            src: [10, 1, 2, 3],
            dst: [198, 51, 100, 4],
            protocol: TCP,
            id: 1,
            fragment: 0,
            options: &options,
        };
        let packet = header.around(&frames::tcp((40_000, 443), (1, 2), 2, 5, b""));
        check_witness(&packet);
        let headers = read(&packet).expect("readable");
        assert_eq!(headers.header_length as usize, 20 + words * 4 + 40);
    }
    let mut short = frames::ipv4(UDP, &frames::udp((1, 2), b""));
    short[0] = 0x44;
    assert_eq!(read(&short), Err(Refused::Unparsed));
}

#[test]
fn a_first_fragment_has_ports_and_a_later_one_none() {
    let fragment = |fragment| Ipv4 {
        src: [10, 0, 0, 1],
        dst: [192, 0, 2, 7],
        protocol: UDP,
        id: 77,
        fragment,
        options: &[],
    };
    let body = frames::udp((4000, 53), &[0xff; 100]);
    let first = read(&fragment(0x2000).around(&body)).expect("readable");
    assert_eq!((ports(&first), first.later_fragment), ((4000, 53), 0));
    let later = read(&fragment(0x2010).around(&body)).expect("readable");
    assert_eq!((ports(&later), later.later_fragment), ((0, 0), 1));
    assert_eq!(
        (later.l4_offset, later.header_length, later.protocol),
        (0, 20, UDP)
    );
    let last = read(&fragment(0x0010).around(&body[..3])).expect("no transport is needed");
    assert_eq!((ports(&last), last.later_fragment), ((0, 0), 1));
}

#[test]
fn ipv6_extension_headers_are_followed() {
    let body = frames::tcp((40_000, 443), (1, 2), 16, 0, b"x");
    for (extensions, length) in [
        (vec![], 40),
        (vec![frames::options(0, 1)], 48),
        (vec![frames::options(0, 3), frames::options(60, 2)], 80),
        (vec![frames::options(43, 3)], 64),
        (vec![frames::options(135, 1)], 48),
        (vec![frames::fragment(0, true)], 48),
        (vec![frames::authentication(6)], 64),
        (
            vec![
                frames::options(60, 1),
                frames::authentication(4),
                frames::options(60, 1),
            ],
            72,
        ),
    ] {
        let headers = read(&frames::ipv6(&extensions, TCP, &body)).expect("readable");
        assert_eq!(headers.l4_offset, length, "{extensions:?}");
        assert_eq!(headers.header_length, length + 20);
        assert_eq!(ports(&headers), (40_000, 443));
        assert_eq!(
            (headers.family, headers.protocol, headers.tcp_flags),
            (6, TCP, 16)
        );
        assert_eq!(headers.src.map(u32::to_ne_bytes).concat(), frames::SRC6);
        assert_eq!(headers.dst.map(u32::to_ne_bytes).concat(), frames::DST6);
    }
    for extensions in [
        vec![frames::options(0, 2)],
        vec![
            frames::options(0, 1),
            frames::options(43, 3),
            frames::options(60, 1),
        ],
        vec![frames::authentication(6)],
    ] {
        check_witness(&frames::ipv6(&extensions, TCP, &body));
    }
}

#[test]
fn later_ipv6_fragments_have_no_ports() {
    let chain = [frames::options(60, 1), frames::fragment(5, true)];
    let headers = read(&frames::ipv6(&chain, UDP, &[0xff; 64])).expect("readable");
    assert_eq!((ports(&headers), headers.later_fragment), ((0, 0), 1));
    assert_eq!((headers.protocol, headers.header_length), (UDP, 56));
}

#[test]
fn as_many_extension_headers_as_promised_and_not_one_more() {
    let body = frames::udp((1, 2), b"");
    let chain = |count| vec![frames::options(60, 1); count];
    let most = read(&frames::ipv6(&chain(8), UDP, &body)).expect("eight are followed");
    assert_eq!((most.l4_offset, ports(&most)), (40 + 64, (1, 2)));
    assert_eq!(
        read(&frames::ipv6(&chain(9), UDP, &body)),
        Err(Refused::Unparsed)
    );
}

#[test]
fn echoes_carry_their_identifier_and_other_messages_none() {
    for (kind, identifier) in [(8, 77), (0, 77), (3, 0), (11, 0)] {
        let packet = frames::ipv4(1, &frames::icmp(kind, 1, 77, 5, b"payload"));
        check_witness(&packet);
        let headers = read(&packet).expect("readable");
        assert_eq!(ports(&headers), (identifier, u16::from(kind) * 256 + 1));
    }
    for (kind, identifier) in [(128, 77), (129, 77), (1, 0), (135, 0)] {
        let packet = frames::ipv6(&[], 58, &frames::icmp(kind, 0, 77, 5, &[0; 20]));
        check_witness(&packet);
        let headers = read(&packet).expect("readable");
        assert_eq!(ports(&headers), (identifier, u16::from(kind) * 256));
    }
    // An ICMPv6 number in IPv4 is no echo.
    let packet = frames::ipv4(58, &frames::icmp(128, 0, 77, 5, b""));
    assert_eq!(ports(&read(&packet).expect("readable")), (0, 128 * 256));
}

#[test]
fn protocols_without_ports_are_flows_of_their_own() {
    for protocol in [47, 50, 89] {
        let headers = read(&frames::ipv4(protocol, b"")).expect("readable");
        assert_eq!(
            (headers.protocol, ports(&headers), headers.header_length),
            (protocol, (0, 0), 20)
        );
    }
    let none = read(&frames::ipv6(&[], 59, b"")).expect("no next header");
    assert_eq!((none.protocol, none.header_length), (59, 40));
}

/// One packet of every kind above.
fn gallery() -> Vec<Vec<u8>> {
    let tcp = frames::tcp((40_000, 443), (1, 2), 2, 5, b"abc");
    let udp = frames::udp((4000, 53), b"query");
    let chain = [
        frames::options(0, 2),
        frames::options(43, 1),
        frames::fragment(0, true),
        frames::authentication(6),
        frames::options(60, 1),
    ];
    let options = [1; 12];
    let header = Ipv4 {
        src: [10, 0, 0, 1],
        dst: [10, 0, 0, 2],
        protocol: TCP,
        id: 0,
        fragment: 0,
        options: &options,
    };
    let inner = ethernet(&[], IPV4, &frames::ipv4(TCP, &tcp));
    vec![
        ethernet(&[], IPV4, &frames::ipv4(TCP, &tcp)),
        ethernet(&[(QINQ, 1), (VLAN, 2)], IPV4, &header.around(&tcp)),
        ethernet(&[], IPV6, &frames::ipv6(&chain, UDP, &udp)),
        ethernet(&[(VLAN, 2)], IPV6, &frames::ipv6(&[], TCP, &tcp)),
        ethernet(
            &[],
            IPV4,
            &frames::ipv4(1, &frames::icmp(8, 0, 1, 2, b"ping")),
        ),
        ethernet(
            &[],
            IPV4,
            &frames::ipv4(UDP, &frames::udp((9, 4789), &frames::vxlan(&inner))),
        ),
        ethernet(
            &[],
            IPV4,
            &frames::ipv4(UDP, &frames::udp((9, 6081), &frames::geneve(3, &inner))),
        ),
    ]
}

#[test]
fn a_packet_cut_short_anywhere_is_refused_until_its_headers_are_whole() {
    for frame in gallery() {
        let whole = read_frame(&frame).expect("a whole packet");
        let mut accepted_before = false;
        for length in 0..=frame.len() {
            let outcome = read_frame(&frame[..length]);
            match outcome {
                Ok(headers) => {
                    // Payload may be missing, and TCP options with what stands behind the flags.
                    assert_eq!(headers, whole, "cut to {length} bytes");
                    assert!(length >= whole.l4_offset as usize + 4);
                    accepted_before = true;
                }
                Err(_) => assert!(!accepted_before, "longer, yet refused at {length} bytes"),
            }
            for geneve in [false, true] {
                let _ = tunnelled_header_length(&Bytes(&frame[..length]), &whole, geneve);
            }
        }
        assert!(accepted_before);
    }
}

#[test]
fn headers_inside_tunnels_are_measured() {
    let tcp = frames::tcp((40_000, 443), (1, 2), 16, 3, &[0; 50]);
    let udp = frames::udp((4000, 53), &[0; 50]);
    for (inner, length) in [
        (ethernet(&[], IPV4, &frames::ipv4(TCP, &tcp)), 14 + 20 + 32),
        (ethernet(&[], IPV4, &frames::ipv4(UDP, &udp)), 14 + 20 + 8),
        (
            ethernet(&[], IPV6, &frames::ipv6(&[], TCP, &tcp)),
            14 + 40 + 32,
        ),
        (
            ethernet(&[], IPV6, &frames::ipv6(&[], UDP, &udp)),
            14 + 40 + 8,
        ),
    ] {
        let frame =
            |body: &[u8]| ethernet(&[], IPV4, &frames::ipv4(UDP, &frames::udp((9, 9), body)));
        let measured = |frame: &[u8], geneve| {
            let outer = read_frame(frame).expect("the outer packet");
            tunnelled_header_length(&Bytes(frame), &outer, geneve)
        };
        assert_eq!(
            measured(&frame(&frames::vxlan(&inner)), false),
            Some(8 + length)
        );
        for words in [0, 1, 63] {
            let options = u32::from(words) * 4;
            let geneve = frame(&frames::geneve(words, &inner));
            assert_eq!(measured(&geneve, true), Some(8 + options + length));
        }
    }
    let arp = ethernet(&[], frames::ARP, &[0; 28]);
    let frame = ethernet(
        &[],
        IPV4,
        &frames::ipv4(UDP, &frames::udp((9, 9), &frames::vxlan(&arp))),
    );
    let outer = read_frame(&frame).expect("the outer packet");
    assert_eq!(tunnelled_header_length(&Bytes(&frame), &outer, false), None);
}

#[test]
fn a_buffer_is_as_many_packets_as_the_kernel_says_or_the_sizes_say() {
    for (length, header, size, segs, expected) in [
        (1500, 40, 0, 0, 1),
        (40 + 1460 * 44, 40, 1460, 44, 44),
        (40 + 1460 * 44, 40, 1460, 0, 44),
        (40 + 1460 * 44 + 1, 40, 1460, 0, 45),
        (40 + 1, 40, 1460, 0, 1),
        (40, 40, 1460, 0, 1),
        (0, 40, 1460, 0, 1),
    ] {
        assert_eq!(
            segments(length, header, size, segs),
            expected,
            "{length} bytes of {size}"
        );
    }
}

/// What the quick view of IPv4 gives, read as the programs read it.
fn quick4(packet: &[u8]) -> Option<Headers> {
    if packet.len() < QUICK4_LENGTH {
        return None;
    }
    // SAFETY: the view is packed, made of integers, and no longer than the bytes.
    let ip = unsafe { packet.as_ptr().cast::<Quick4>().read() };
    if !ip.applies() {
        return None;
    }
    let mut headers = Headers {
        src: [ip.src, 0, 0, 0],
        dst: [ip.dst, 0, 0, 0],
        src_port: ip.src_port,
        dst_port: ip.dst_port,
        l4_offset: 20,
        header_length: 28,
        family: 4,
        protocol: ip.protocol,
        ..Headers::default()
    };
    if ip.protocol == TCP {
        if packet.len() < QUICK4_TCP_LENGTH {
            return None;
        }
        headers.header_length = 20 + u32::from(packet[QUICK4_TCP_DATA_OFFSET] >> 4) * 4;
        headers.tcp_flags = packet[QUICK4_TCP_DATA_OFFSET + 1];
    }
    Some(headers)
}

/// The same for IPv6.
fn quick6(packet: &[u8]) -> Option<Headers> {
    if packet.len() < QUICK6_LENGTH {
        return None;
    }
    // SAFETY: as in `quick4`.
    let ip = unsafe { packet.as_ptr().cast::<Quick6>().read() };
    if !ip.applies() {
        return None;
    }
    let mut headers = Headers {
        src: ip.src,
        dst: ip.dst,
        src_port: ip.src_port,
        dst_port: ip.dst_port,
        l4_offset: 40,
        header_length: 48,
        family: 6,
        protocol: ip.protocol,
        ..Headers::default()
    };
    if ip.protocol == TCP {
        if packet.len() < QUICK6_TCP_LENGTH {
            return None;
        }
        headers.header_length = 40 + u32::from(packet[QUICK6_TCP_DATA_OFFSET] >> 4) * 4;
        headers.tcp_flags = packet[QUICK6_TCP_DATA_OFFSET + 1];
    }
    Some(headers)
}

/// Bytes that are often the beginning of a common packet: purely random ones hardly ever are.
fn likely_packet() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![Just(0x45u8), Just(0x46), Just(0x60), any::<u8>()];
    let protocol = prop_oneof![
        Just(TCP),
        Just(UDP),
        Just(1),
        Just(44),
        Just(0),
        any::<u8>()
    ];
    let fragment = prop_oneof![Just(0u16), Just(0x4000), Just(0x2000), any::<u16>()];
    (
        first,
        protocol,
        fragment,
        prop::collection::vec(any::<u8>(), 0..120),
    )
        .prop_map(|(first, protocol, fragment, mut bytes)| {
            for (at, byte) in [(0, first), (if first >> 4 == 6 { 6 } else { 9 }, protocol)] {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if first >> 4 == 4 && bytes.len() > 8 {
                bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
            }
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_quick_views_agree_with_the_parser(packet in likely_packet()) {
        for quick in [quick4(&packet), quick6(&packet)].into_iter().flatten() {
            prop_assert_eq!(read(&packet), Ok(quick));
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        if let Ok(headers) = read_frame(&bytes) {
            let _ = tunnelled_header_length(&Bytes(&bytes), &headers, true);
        }
    }

    #[test]
    fn etherparse_reads_the_same(
        ports in any::<(u16, u16)>(),
        flags in 0u8..=255,
        words in 0u8..=10,
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let tcp = frames::tcp(ports, (7, 9), flags, words, &payload);
        let udp = frames::udp(ports, &payload);
        for packet in [
            frames::ipv4(TCP, &tcp),
            frames::ipv4(UDP, &udp),
            frames::ipv6(&[], TCP, &tcp),
            frames::ipv6(&[frames::options(0, 1)], UDP, &udp),
        ] {
            check_witness(&packet);
        }
    }
}
