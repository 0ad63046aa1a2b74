//! Keys and amounts: every kind of packet at every tc entry point, and at the pod hooks.

use probe_abi::{
    flow::{FlowKey4, FlowKey6, hook},
    loss::{LossKey, reason},
};

use super::{
    frames::{self, ARP, IPV4, IPV6, Ipv4, QINQ, TCP, UDP, VLAN, ethernet},
    rig::{Gso, LOOPBACK, Rig, amounts, only_loss, only4, only6},
};

/// tc entry points with the length of the link header that they expect, and their hook codes.
const ENTRIES: [(&str, bool, u8); 6] = [
    ("uplink_egress", true, hook::UPLINK_EGRESS),
    ("uplink_ingress", true, hook::UPLINK_INGRESS),
    ("tunnel_ingress", true, hook::TUNNEL_INGRESS),
    ("uplink_egress_l3", false, hook::UPLINK_EGRESS),
    ("uplink_ingress_l3", false, hook::UPLINK_INGRESS),
    ("tunnel_ingress_l3", false, hook::TUNNEL_INGRESS),
];

fn key4(hook: u8, protocol: u8, ports: (u16, u16)) -> FlowKey4 {
    FlowKey4 {
        scope: u64::from(LOOPBACK),
        src: u32::from_ne_bytes([10, 0, 0, 1]),
        dst: u32::from_ne_bytes([192, 0, 2, 7]),
        src_port: ports.0.to_be(),
        dst_port: ports.1.to_be(),
        protocol,
        hook,
        generation: 0,
        reserved: 0,
    }
}

fn words(address: [u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(address.as_chunks::<4>().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words
}

fn key6(hook: u8, protocol: u8, ports: (u16, u16)) -> FlowKey6 {
    FlowKey6 {
        scope: u64::from(LOOPBACK),
        src: words(frames::SRC6),
        dst: words(frames::DST6),
        src_port: ports.0.to_be(),
        dst_port: ports.1.to_be(),
        protocol,
        hook,
        generation: 0,
        reserved: 0,
    }
}

/// The generation of a key is the drain's matter, not the packet's.
fn in_generation(mut key: FlowKey4, of: &FlowKey4) -> FlowKey4 {
    key.generation = of.generation;
    key
}

fn in_generation6(mut key: FlowKey6, of: &FlowKey6) -> FlowKey6 {
    key.generation = of.generation;
    key
}

/// Runs a packet by itself and holds its row against what is expected.
fn check4(rig: &mut Rig, entry: (&str, bool, u8), tags: &[(u16, u16)], ip: &[u8], key: FlowKey4) {
    let (name, framed, _) = entry;
    let packet = if framed {
        ethernet(tags, IPV4, ip)
    } else {
        ip.to_vec()
    };
    rig.run(name, &packet);
    let (found, record) = only4(&rig.drain());
    assert_eq!(found, in_generation(key, &found), "{name}");
    let length = ip.len() as u64;
    assert_eq!(amounts(&record), (1, length, 1, length), "{name}");
}

fn check6(rig: &mut Rig, entry: (&str, bool, u8), ip: &[u8], key: FlowKey6) {
    let (name, framed, _) = entry;
    let packet = if framed {
        ethernet(&[(VLAN, 5)], IPV6, ip)
    } else {
        ip.to_vec()
    };
    rig.run(name, &packet);
    let (found, record) = only6(&rig.drain());
    assert_eq!(found, in_generation6(key, &found), "{name}");
    let length = ip.len() as u64;
    assert_eq!(amounts(&record), (1, length, 1, length), "{name}");
}

#[test]
fn common_packets_at_every_tc_entry() {
    let mut rig = Rig::new(1024);
    let tcp = frames::tcp((40_000, 443), (7, 9), 0x12, 3, b"hello");
    let udp = frames::udp((4000, 53), b"query");
    for entry in ENTRIES {
        let hook = entry.2;
        let ports = (40_000, 443);
        check4(
            &mut rig,
            entry,
            &[],
            &frames::ipv4(TCP, &tcp),
            key4(hook, TCP, ports),
        );
        check6(
            &mut rig,
            entry,
            &frames::ipv6(&[], TCP, &tcp),
            key6(hook, TCP, ports),
        );
        let ports = (4000, 53);
        check4(
            &mut rig,
            entry,
            &[],
            &frames::ipv4(UDP, &udp),
            key4(hook, UDP, ports),
        );
        check6(
            &mut rig,
            entry,
            &frames::ipv6(&[], UDP, &udp),
            key6(hook, UDP, ports),
        );
    }
}

#[test]
fn tcp_flags_are_collected() {
    let mut rig = Rig::new(1024);
    for flags in [0x02, 0x10, 0x18, 0x11] {
        let segment = frames::tcp((1, 2), (7, 9), flags, 0, b"");
        rig.run(
            "uplink_egress",
            &ethernet(&[], IPV4, &frames::ipv4(TCP, &segment)),
        );
    }
    let (_, record) = only4(&rig.drain());
    assert_eq!(
        (record.tcp_flags, record.packets, record.tcp_sampled),
        (0x1b, 4, 0)
    );
}

#[test]
fn uncommon_packets_at_every_tc_entry() {
    let mut rig = Rig::new(1024);
    let udp = frames::udp((4000, 53), &[1; 40]);
    let header = |fragment, options| Ipv4 {
        src: [10, 0, 0, 1],
        dst: [192, 0, 2, 7],
        protocol: UDP,
        id: 9,
        fragment,
        options,
    };
    let ports = (4000, 53);
    for entry in ENTRIES {
        let hook = entry.2;
        if entry.1 {
            let plain = frames::ipv4(UDP, &udp);
            check4(
                &mut rig,
                entry,
                &[(VLAN, 7)],
                &plain,
                key4(hook, UDP, ports),
            );
            check4(
                &mut rig,
                entry,
                &[(QINQ, 7), (VLAN, 8)],
                &plain,
                key4(hook, UDP, ports),
            );
        }
        let options = header(0, &[1; 40]).around(&udp);
        check4(&mut rig, entry, &[], &options, key4(hook, UDP, ports));
        let first = header(0x2000, &[]).around(&udp);
        check4(&mut rig, entry, &[], &first, key4(hook, UDP, ports));
        let later = header(0x0010, &[]).around(&udp);
        check4(&mut rig, entry, &[], &later, key4(hook, UDP, (0, 0)));
        for (kind, identifier) in [(8, 77), (3, 0)] {
            let message = frames::ipv4(1, &frames::icmp(kind, 1, 77, 5, &[0; 20]));
            let key = key4(hook, 1, (identifier, u16::from(kind) * 256 + 1));
            check4(&mut rig, entry, &[], &message, key);
        }
        for (kind, identifier) in [(128, 77), (136, 0)] {
            let message = frames::ipv6(&[], 58, &frames::icmp(kind, 0, 77, 5, &[0; 20]));
            check6(
                &mut rig,
                entry,
                &message,
                key6(hook, 58, (identifier, u16::from(kind) * 256)),
            );
        }
        for chain in [
            vec![frames::options(0, 1)],
            vec![
                frames::options(43, 3),
                frames::authentication(6),
                frames::options(60, 2),
            ],
            vec![frames::fragment(0, true)],
            vec![frames::options(60, 1); 8],
        ] {
            check6(
                &mut rig,
                entry,
                &frames::ipv6(&chain, UDP, &udp),
                key6(hook, UDP, ports),
            );
        }
        let later = frames::ipv6(&[frames::fragment(5, false)], UDP, &udp);
        check6(&mut rig, entry, &later, key6(hook, UDP, (0, 0)));
        check4(
            &mut rig,
            entry,
            &[],
            &frames::ipv4(47, &[0; 30]),
            key4(hook, 47, (0, 0)),
        );
    }
}

#[test]
fn what_cannot_be_followed_is_counted_with_its_reason() {
    let mut rig = Rig::new(1024);
    let whole = frames::ipv4(TCP, &frames::tcp((1, 2), (7, 9), 2, 0, b""));
    let deep = frames::ipv6(
        &vec![frames::options(60, 1); 9],
        UDP,
        &frames::udp((1, 2), b""),
    );
    for entry in ENTRIES {
        let (name, framed, hook) = entry;
        let mut cases = vec![
            (IPV4, whole[..30].to_vec(), reason::IP_UNPARSED),
            (IPV4, whole[..24].to_vec(), reason::IP_UNPARSED),
            (IPV6, deep.clone(), reason::IP_UNPARSED),
        ];
        if framed {
            cases.push((ARP, vec![0; 28], reason::NON_IP));
        } else {
            cases.push((ARP, vec![0x50; 28], reason::NON_IP));
        }
        for (ethertype, body, reason) in cases {
            let packet = if framed {
                ethernet(&[], ethertype, &body)
            } else {
                body.clone()
            };
            rig.run(name, &packet);
            let (key, count) = only_loss(&rig.drain());
            let expected = LossKey {
                ifindex: LOOPBACK,
                hook,
                reason,
                generation: key.generation,
                reserved: 0,
            };
            assert_eq!(key, expected, "{name}");
            let length = body.len() as u64;
            assert_eq!(
                (
                    count.packets,
                    count.bytes,
                    count.buffers,
                    count.buffer_bytes
                ),
                (1, length, 1, length),
                "{name}"
            );
        }
    }
}

#[test]
fn a_gso_buffer_counts_every_segment_with_its_headers() {
    let mut rig = Rig::new(1024);
    let tcp = frames::tcp((1, 2), (7, 9), 16, 3, &[0; 2500]);
    let udp = frames::udp((1, 2), &[0; 2500]);
    let options = [1; 8];
    let header = Ipv4 {
        src: [10, 0, 0, 1],
        dst: [192, 0, 2, 7],
        protocol: TCP,
        id: 9,
        fragment: 0,
        options: &options,
    };
    for (ethertype, ip, repeated) in [
        (IPV4, frames::ipv4(TCP, &tcp), 20 + 32),
        (IPV4, frames::ipv4(UDP, &udp), 20 + 8),
        (IPV4, header.around(&tcp), 28 + 32),
        (IPV6, frames::ipv6(&[], TCP, &tcp), 40 + 32),
        (IPV6, frames::ipv6(&[], UDP, &udp), 40 + 8),
        (
            IPV6,
            frames::ipv6(&[frames::options(0, 1)], TCP, &tcp),
            48 + 32,
        ),
    ] {
        // The kernel's own number of segments, and none: then the sizes tell.
        for segments in [3, 0] {
            let length = ip.len() as u64;
            let expected = (3, length + 2 * repeated, 1, length);
            let gso = Gso {
                size: 1000,
                segments,
            };
            for (name, framed, _) in ENTRIES {
                let packet = if framed {
                    ethernet(&[], ethertype, &ip)
                } else {
                    ip.clone()
                };
                rig.run_gso(name, &packet, gso);
                assert_eq!(only_amounts(&mut rig, ethertype), expected, "{name}");
            }
            for name in ["pod_egress", "pod_ingress"] {
                rig.run_pod(name, &ethernet(&[], ethertype, &ip), gso);
                assert_eq!(only_amounts(&mut rig, ethertype), expected, "{name}");
            }
        }
    }
}

fn only_amounts(rig: &mut Rig, ethertype: u16) -> (u64, u64, u64, u64) {
    let drained = rig.drain();
    if ethertype == IPV4 {
        amounts(&only4(&drained).1)
    } else {
        amounts(&only6(&drained).1)
    }
}

#[test]
fn a_tunnels_gso_buffer_repeats_outer_and_inner_headers() {
    let mut rig = Rig::new(1024);
    let tcp = frames::tcp((1, 2), (7, 9), 16, 3, &[0; 2500]);
    let inner4 = ethernet(&[], IPV4, &frames::ipv4(TCP, &tcp));
    let inner6 = ethernet(&[], IPV6, &frames::ipv6(&[], TCP, &tcp));
    let vxlan = |inner: &[u8]| frames::udp((55_555, 4789), &frames::vxlan(inner));
    let geneve = |inner: &[u8]| frames::udp((55_555, 6081), &frames::geneve(2, inner));
    for (ip, ethertype, port, repeated) in [
        (
            frames::ipv4(UDP, &vxlan(&inner4)),
            IPV4,
            4789,
            28 + 8 + 14 + 20 + 32,
        ),
        (
            frames::ipv4(UDP, &vxlan(&inner6)),
            IPV4,
            4789,
            28 + 8 + 14 + 40 + 32,
        ),
        (
            frames::ipv6(&[], UDP, &vxlan(&inner4)),
            IPV6,
            4789,
            48 + 8 + 14 + 20 + 32,
        ),
        (
            frames::ipv4(UDP, &geneve(&inner4)),
            IPV4,
            6081,
            28 + 16 + 14 + 20 + 32,
        ),
        (
            frames::ipv6(&[], UDP, &geneve(&inner6)),
            IPV6,
            6081,
            48 + 16 + 14 + 40 + 32,
        ),
    ] {
        let frame = ethernet(&[], ethertype, &ip);
        let length = ip.len() as u64;
        rig.run_gso(
            "uplink_egress",
            &frame,
            Gso {
                size: 1000,
                segments: 3,
            },
        );
        let drained = rig.drain();
        let (dst_port, found) = if ethertype == IPV4 {
            let (key, record) = only4(&drained);
            (key.dst_port, amounts(&record))
        } else {
            let (key, record) = only6(&drained);
            (key.dst_port, amounts(&record))
        };
        assert_eq!(u16::from_be(dst_port), port);
        assert_eq!(found, (3, length + 2 * repeated, 1, length), "port {port}");
        rig.run("uplink_egress", &frame);
        assert_eq!(only_amounts(&mut rig, ethertype), (1, length, 1, length));
    }
}

#[test]
fn pod_hooks_count_layer_three() {
    let mut rig = Rig::new(1024);
    let tcp = frames::tcp((40_000, 443), (7, 9), 2, 5, b"");
    for (name, hook) in [
        ("pod_egress", hook::POD_EGRESS),
        ("pod_ingress", hook::POD_INGRESS),
    ] {
        let ip = frames::ipv4(TCP, &tcp);
        rig.run_pod(name, &ethernet(&[], IPV4, &ip), Gso::default());
        let (key, record) = only4(&rig.drain());
        let expected = FlowKey4 {
            scope: key.scope,
            ..key4(hook, TCP, (40_000, 443))
        };
        assert_eq!(key, in_generation(expected, &key));
        assert_eq!(amounts(&record), (1, ip.len() as u64, 1, ip.len() as u64));

        let chain = [frames::options(0, 1), frames::fragment(0, true)];
        let ip = frames::ipv6(&chain, TCP, &tcp);
        rig.run_pod(name, &ethernet(&[], IPV6, &ip), Gso::default());
        let (key, record) = only6(&rig.drain());
        let expected = FlowKey6 {
            scope: key.scope,
            ..key6(hook, TCP, (40_000, 443))
        };
        assert_eq!(key, in_generation6(expected, &key));
        assert_eq!(amounts(&record), (1, ip.len() as u64, 1, ip.len() as u64));

        let cut = &frames::ipv4(TCP, &tcp)[..30];
        rig.run_pod(name, &ethernet(&[], IPV4, cut), Gso::default());
        let (key, count) = only_loss(&rig.drain());
        assert_eq!(
            (key.ifindex, key.hook, key.reason),
            (0, hook, reason::IP_UNPARSED)
        );
        assert_eq!((count.packets, count.bytes), (1, 30));
    }
}
