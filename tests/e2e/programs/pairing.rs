//! Fingerprints at the near side of the NAT, and what the wire makes of them.

use std::{net::UdpSocket, process::Command};

use aya::{
    maps::{HashMap, Map, MapData},
    programs::{BtfTracePoint, SchedClassifier, TcAttachType},
};
use nix::sched::{CloneFlags, unshare};
use probe_abi::{
    loss::reason,
    wire::{Before, Fingerprint, WireRecord},
};
use probe_user::loader::{program, take_map};

use super::{
    frames::{self, IPV6, UDP, ethernet},
    rig::{Gso, Rig},
};

/// Port that the datagrams go to.
const PORT: u16 = 5353;
/// Payload that fills a fingerprint.
const PAYLOAD: &[u8] = b"0123456789abcdef";

fn fingerprints(rig: &mut Rig) -> HashMap<MapData, Fingerprint, Before> {
    let data = take_map(&mut rig.ebpf, "FINGERPRINTS").expect("the fingerprints");
    HashMap::try_from(Map::LruHashMap(data)).expect("a map of fingerprints")
}

/// A datagram to [`frames::DST6`] whose source is told apart by its last byte.
fn datagram(source: u8, payload: &[u8]) -> Vec<u8> {
    let mut ip = frames::ipv6(
        &[],
        UDP,
        &frames::udp((1000 + u16::from(source), PORT), payload),
    );
    ip[23] = source;
    ethernet(&[], IPV6, &ip)
}

fn ambiguous(rig: &mut Rig) -> u64 {
    let losses = rig.drain().losses;
    let matching = losses
        .iter()
        .filter(|(key, _)| key.reason == reason::PAIRING_AMBIGUOUS);
    matching.map(|(_, count)| count.buffers).sum()
}

#[test]
fn one_fingerprint_from_two_sources_is_ambiguous_and_counted_once() {
    let mut rig = Rig::new(1024);
    let prints = fingerprints(&mut rig);
    rig.run("uplink_ingress", &datagram(1, PAYLOAD));
    let known: Vec<_> = prints
        .iter()
        .map(|entry| entry.expect("an entry").1)
        .collect();
    let [before] = known[..] else {
        panic!("one fingerprint: {known:?}")
    };
    assert_eq!((before.ambiguous, u16::from_be(before.src_port)), (0, 1001));
    rig.run("uplink_ingress", &datagram(1, PAYLOAD));
    assert_eq!(
        ambiguous(&mut rig),
        0,
        "the same source again is not ambiguous"
    );
    for source in [2, 3, 1] {
        rig.run("tunnel_ingress", &datagram(source, PAYLOAD));
    }
    assert_eq!(ambiguous(&mut rig), 1);
    let known: Vec<_> = prints
        .iter()
        .map(|entry| entry.expect("an entry").1)
        .collect();
    assert!(
        matches!(known[..], [Before { ambiguous: 1, .. }]),
        "{known:?}"
    );
}

#[test]
fn packets_before_nat_are_remembered_and_others_are_not() {
    let mut rig = Rig::new(1024);
    let prints = fingerprints(&mut rig);
    let mut count = |name: &str, source: u8| {
        let frame = datagram(source, &[source; 16]);
        if name.starts_with("pod") {
            rig.run_pod(name, &frame, Gso::default());
        } else {
            rig.run(name, &frame);
        }
        prints.keys().count()
    };
    assert_eq!(count("pod_egress", 1), 1);
    assert_eq!(count("uplink_ingress", 2), 2);
    assert_eq!(count("tunnel_ingress", 3), 3);
    assert_eq!(count("uplink_egress", 4), 3);
    assert_eq!(count("pod_ingress", 5), 3);
}

#[test]
fn a_flow_is_remembered_at_its_first_packets_and_then_ever_more_seldom() {
    let mut rig = Rig::new(1024);
    let prints = fingerprints(&mut rig);
    let mut remembered = Vec::new();
    for number in 1..=20u8 {
        let known = prints.keys().count();
        rig.run("uplink_ingress", &datagram(1, &[number; 16]));
        if prints.keys().count() > known {
            remembered.push(number);
        }
    }
    // Powers of two, counted anew from the second packet, which finds the flow's slot.
    assert_eq!(remembered, [1, 2, 3, 5, 9, 17]);
}

/// Runs `ip` in this thread's network namespace.
fn ip(line: &str) {
    let output = Command::new("ip")
        .args(line.split_whitespace())
        .output()
        .expect("ip is needed: apt-get install iproute2");
    assert!(
        output.status.success(),
        "ip {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Attaches the uplink's egress hook and the wire hook of a rig that was loaded in this namespace.
fn attach_wire(rig: &mut Rig, interface: &str) {
    let uplink = program::<SchedClassifier>(&mut rig.ebpf, "uplink_egress").expect("the program");
    uplink
        .attach(interface, TcAttachType::Egress)
        .expect("the uplink's hook");
    let wire = program::<BtfTracePoint>(&mut rig.ebpf, "wire").expect("the wire program");
    wire.attach().expect("the tracepoint");
}

/// The record of the only wire flow.
fn only_wire(rig: &mut Rig) -> WireRecord {
    let wire: Vec<_> = rig
        .drain()
        .wire
        .into_iter()
        .filter(|(key, _)| u16::from_be(key.dst_port) == PORT)
        .collect();
    let [(key, record)] = wire[..] else {
        panic!("one flow to {PORT}: {wire:?}")
    };
    assert_eq!((key.protocol, key.family), (UDP, 6));
    record
}

#[test]
fn the_wire_pairs_what_is_plain_and_leaves_what_is_ambiguous() {
    let test = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        ip("link add near type veth peer name far");
        ip("link set far up");
        ip("link set near up");
        ip("addr add 2001:db8::99/32 dev near nodad");
        ip("-6 neigh add 2001:db8:9::7 lladdr 02:00:00:00:00:02 dev near");
        let send = || {
            let socket = UdpSocket::bind("[2001:db8::99]:0").expect("a socket");
            socket
                .send_to(PAYLOAD, ("2001:db8:9::7", PORT))
                .expect("a datagram");
        };
        for (sources, is_paired) in [(&[1u8][..], true), (&[1, 2], false), (&[], false)] {
            let mut rig = Rig::new(1024);
            attach_wire(&mut rig, "near");
            for source in sources {
                rig.run("uplink_ingress", &datagram(*source, PAYLOAD));
            }
            send();
            let record = only_wire(&mut rig);
            assert_eq!(record.buffers, 1);
            assert_eq!(record.paired_after, u32::from(is_paired), "{sources:?}");
            if is_paired {
                assert_eq!(u16::from_be(record.before_src_port), 1001);
                assert_eq!(record.before_src[3].to_ne_bytes()[3], 1);
            }
        }
    };
    std::thread::spawn(test)
        .join()
        .expect("the thread of the namespace");
}
