//! Fingerprints: what NAT changes must not change them, and what tells packets apart must.

use crate::{
    Bytes,
    frames::{self, Ipv4, TCP, UDP},
};
use probe_abi::wire::Fingerprint;
use probe_ebpf::{
    fingerprint::fingerprint,
    packet::{Headers, parse},
};

fn print(packet: &[u8]) -> Option<Fingerprint> {
    print_within(packet, packet.len())
}

/// With only so many bytes in the linear part.
fn print_within(packet: &[u8], linear: usize) -> Option<Fingerprint> {
    let mut headers = Headers::default();
    parse(&Bytes(packet), 0, &mut headers).expect("readable");
    let mut print = Fingerprint::default();
    fingerprint(&Bytes(packet), &headers, linear as u32, &mut print).then_some(print)
}

/// The same packet as it is before NAT and behind it: another source, one hop less.
fn translated(protocol: u8, before: &[u8], after: &[u8]) -> [Vec<u8>; 2] {
    let header = |src| Ipv4 {
        src,
        dst: [192, 0, 2, 7],
        protocol,
        id: 0x1234,
        fragment: 0x4000,
        options: &[],
    };
    let mut left = header([203, 0, 113, 9]).around(after);
    left[8] -= 1;
    [header([10, 244, 1, 5]).around(before), left]
}

#[test]
fn source_nat_leaves_fingerprints_alone() {
    let payload = b"0123456789abcdefgh";
    for [before, after] in [
        translated(
            TCP,
            &frames::tcp((40_000, 443), (7, 9), 2, 5, b""),
            &frames::tcp((1025, 443), (7, 9), 2, 5, b""),
        ),
        translated(
            UDP,
            &frames::udp((4000, 53), payload),
            &frames::udp((1025, 53), payload),
        ),
        translated(
            1,
            &frames::icmp(8, 0, 77, 5, payload),
            &frames::icmp(8, 0, 1025, 5, payload),
        ),
    ] {
        assert!(print(&before).is_some());
        assert_eq!(print(&before), print(&after));
    }
}

#[test]
fn padding_of_short_frames_is_not_payload() {
    for length in 0..20 {
        let payload = vec![0xaa; length];
        for body in [
            (UDP, frames::udp((4000, 53), &payload)),
            (1, frames::icmp(8, 0, 77, 5, &payload)),
        ] {
            let packet = frames::ipv4(body.0, &body.1);
            let mut padded = packet.clone();
            padded.resize(packet.len() + 20, 0xee);
            assert_eq!(print(&packet), print(&padded), "{length} bytes of payload");
        }
        let packet = frames::ipv6(&[], 58, &frames::icmp(128, 0, 77, 5, &payload));
        let mut padded = packet.clone();
        padded.resize(packet.len() + 20, 0xee);
        assert_eq!(print(&packet), print(&padded), "{length} bytes of payload");
    }
}

#[test]
fn what_tells_packets_apart_is_in_the_fingerprint() {
    let tcp = |seq, ack, port| frames::ipv4(TCP, &frames::tcp((1, port), (seq, ack), 16, 0, b"x"));
    let udp = |payload: &[u8], port| frames::ipv4(UDP, &frames::udp((1, port), payload));
    let echo = |kind, sequence, payload: &[u8]| {
        frames::ipv4(1, &frames::icmp(kind, 0, 1, sequence, payload))
    };
    let mut other_id = udp(b"same", 53);
    other_id[5] ^= 1;
    let mut packets = vec![
        tcp(1, 1, 80),
        tcp(2, 1, 80),
        tcp(1, 2, 80),
        tcp(1, 1, 81),
        udp(b"same", 53),
        udp(b"diff", 53),
        udp(b"same!", 53),
        udp(b"same", 54),
        other_id,
        // Datagrams of one protocol begin alike.
        udp(&[[7; 63].as_slice(), b"X"].concat(), 53),
        udp(&[[7; 63].as_slice(), b"Y"].concat(), 53),
        udp(&[[7; 48].as_slice(), b"X", &[7; 15]].concat(), 53),
        udp(b"0123456789abcdeX", 53),
        udp(b"0123456789abcdeY", 53),
        echo(8, 1, b"ping"),
        echo(8, 2, b"ping"),
        echo(0, 1, b"ping"),
        echo(8, 1, b"pong"),
        frames::ipv6(&[], UDP, &frames::udp((1, 53), b"same")),
        frames::ipv6(&[], 58, &frames::icmp(128, 0, 1, 1, b"ping")),
    ];
    packets.extend((0..8).map(|at| {
        let mut payload = [0u8; 16];
        payload[at * 2] = 1;
        udp(&payload, 99)
    }));
    let prints: std::collections::HashSet<_> = packets
        .iter()
        .map(|packet| print(packet).expect("a fingerprint"))
        .collect();
    assert_eq!(prints.len(), packets.len());
}

#[test]
fn later_fragments_and_other_messages_have_none() {
    let header = Ipv4 {
        src: [10, 0, 0, 1],
        dst: [192, 0, 2, 7],
        protocol: UDP,
        id: 1,
        fragment: 0x0010,
        options: &[],
    };
    assert_eq!(print(&header.around(&[0; 64])), None);
    assert_eq!(
        print(&frames::ipv4(1, &frames::icmp(3, 1, 0, 0, &[0; 28]))),
        None
    );
    assert_eq!(print(&frames::ipv4(47, &[0; 28])), None);
}

#[test]
fn payload_outside_the_linear_part_does_not_count() {
    let packet = |byte| frames::ipv4(UDP, &frames::udp((1, 53), &[byte; 16]));
    let within = |byte, linear| print_within(&packet(byte), linear).expect("a fingerprint");
    assert_eq!(within(0xff, 28).words, [0; 4]);
    assert_eq!(within(0xff, 28), within(0xee, 28));
    assert_ne!(within(0xff, 28 + 4), within(0xee, 28 + 4));
    assert_ne!(within(0xff, 28 + 8), within(0xff, 28 + 4));
}

#[test]
fn short_payloads_count_in_whole_words() {
    for length in 0..=16usize {
        let print_of = |changed: Option<usize>| {
            let mut payload = vec![0xff; length];
            if let Some(at) = changed {
                payload[at] = 0;
            }
            print(&frames::ipv4(UDP, &frames::udp((1, 53), &payload))).expect("a fingerprint")
        };
        for at in 0..length {
            let counts = at < length / 4 * 4;
            assert_eq!(
                print_of(Some(at)) != print_of(None),
                counts,
                "byte {at} of {length}"
            );
        }
    }
}
