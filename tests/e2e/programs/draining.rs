//! The front tables and the drain: whatever the order and whoever drains meanwhile, no packet is
//! lost and none is counted twice.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use aya::programs::{CgroupSkb, SchedClassifier};
use probe_abi::{
    flow::{hook, made},
    loss::{LossKey, reason},
    wire::WireKey,
};
use probe_user::loader::program;

use super::{
    frames::{self, IPV4, IPV6, TCP, UDP, ethernet},
    rig::{Gso, Rig, test_run},
};

/// Flows that share the front table's few hundred slots.
const FLOWS: u16 = 3_000;
/// Packets over all of them.
const PACKETS: u32 = 40_000;
/// How long two threads send against a draining third.
const HAMMERING: Duration = Duration::from_secs(3);
/// Packets of one test run under the hammer.
const REPEAT: u32 = 200;

/// A fixed sequence that looks random (Marsaglia's xorshift).
fn shuffle(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}

#[test]
fn thousands_of_flows_in_random_order_have_exact_sums() {
    let mut rig = Rig::new(16_384);
    let mut expected: HashMap<(u8, u16, u8), (u64, u64)> = HashMap::new();
    let mut random = 2_463_534_242;
    for _ in 0..PACKETS {
        let number = shuffle(&mut random);
        // Half of the packets belong to a handful of busy flows.
        let port = if number & 1 == 0 {
            number >> 8 & 7
        } else {
            number >> 8
        } as u16
            % FLOWS;
        let payload = vec![0; (number >> 24) as usize];
        let datagram = frames::udp((port, 53), &payload);
        let (family, ethertype, ip) = if number & 2 == 0 {
            (4, IPV4, frames::ipv4(UDP, &datagram))
        } else {
            (6, IPV6, frames::ipv6(&[], UDP, &datagram))
        };
        let frame = ethernet(&[], ethertype, &ip);
        let code = match number & 12 {
            0 => {
                rig.run("uplink_ingress", &frame);
                hook::UPLINK_INGRESS
            }
            4 => {
                rig.run_pod("pod_egress", &frame, Gso::default());
                hook::POD_EGRESS
            }
            _ => {
                rig.run("uplink_egress", &frame);
                hook::UPLINK_EGRESS
            }
        };
        let sum = expected.entry((family, port, code)).or_default();
        sum.0 += 1;
        sum.1 += ip.len() as u64;
    }
    let drained = rig.drain();
    let four = drained
        .flows4
        .iter()
        .map(|(key, record)| ((4, key.src_port, key.hook), record));
    let six = drained
        .flows6
        .iter()
        .map(|(key, record)| ((6, key.src_port, key.hook), record));
    let found: HashMap<(u8, u16, u8), (u64, u64)> = four
        .chain(six)
        .map(|((family, port, code), record)| {
            assert_eq!(record.buffers, record.packets);
            assert_eq!(record.buffer_bytes, record.bytes);
            (
                (family, u16::from_be(port), code),
                (record.packets, record.bytes),
            )
        })
        .collect();
    assert_eq!(found, expected);
    // Packets alike from different ports share a fingerprint; nothing else may be there.
    let is_ambiguous = |key: &LossKey| key.reason == reason::PAIRING_AMBIGUOUS;
    assert!(
        drained.losses.iter().all(|(key, _)| is_ambiguous(key)),
        "{:?}",
        drained.losses
    );
}

/// A flow with a packet in some generations only: what its slot holds must not outlive any.
#[test]
fn a_flow_that_pauses_is_whole_in_every_generation() {
    let mut rig = Rig::new(1024);
    let frame = ethernet(&[], IPV4, &frames::ipv4(UDP, &frames::udp((1, 53), b"x")));
    for packets in [1, 0, 1, 3, 0, 0, 2, 1, 1, 1, 0, 70, 0, 1] {
        for _ in 0..packets {
            rig.run("uplink_egress", &frame);
            rig.run_pod("pod_egress", &frame, Gso::default());
        }
        let counts: Vec<u64> = rig
            .drain()
            .flows4
            .values()
            .map(|flow| flow.packets)
            .collect();
        let expected = if packets == 0 {
            vec![]
        } else {
            vec![packets, packets]
        };
        assert_eq!(counts, expected);
    }
}

/// Few flows at the wire are found by their keys, many by a walk through the map, whatever generation
/// made them: one that a program in flight made after the flip is not left for the next interval.
#[test]
fn every_wire_flow_is_read_in_every_interval() {
    let mut rig = Rig::new(4096);
    rig.maps.pair_at_uplink(true).expect("a control record");
    let mut sent = 0;
    let mut send = |rig: &mut Rig, flows: u16| {
        for _ in 0..flows {
            sent += 1;
            let datagram = frames::udp((sent, 53), b"x");
            let frame = ethernet(&[], IPV4, &frames::ipv4(UDP, &datagram));
            rig.run("uplink_egress", &frame);
        }
        sent
    };
    let few = (made::KEPT / 2) as u16;
    for (before, since) in [(1, 0), (0, 1), (2, 3), (0, 0), (few, few), (few, 1), (0, 0)] {
        send(&mut rig, before);
        let closed = rig.maps.flip().expect("a flip");
        let sent = send(&mut rig, since);
        let drained = rig.maps.collect(closed).expect("a drained generation");
        let mut ports: Vec<u16> = drained
            .wire
            .iter()
            .map(|(key, _)| u16::from_be(key.src_port))
            .collect();
        ports.sort_unstable();
        assert_eq!(ports, (1..=sent).collect::<Vec<_>>());
    }
    // What is over is deleted, and few are left to be known by their keys again.
    let all = rig.drain().wire;
    let over: Vec<WireKey> = all.iter().skip(1).map(|(key, _)| *key).collect();
    let stays = rig.maps.delete_wire(&over, &all).expect("wire flows go");
    assert_eq!(stays, []);
    for _ in 0..2 {
        assert_eq!(rig.drain().wire, all[..1]);
    }
}

/// A flow that was silent for long speaks again between its last reading and its deletion.
#[test]
fn a_wire_flow_that_speaks_before_its_deletion_stays() {
    let mut rig = Rig::new(4096);
    rig.maps.pair_at_uplink(true).expect("a control record");
    let datagram = frames::udp((1, 53), b"x");
    let frame = ethernet(&[], IPV4, &frames::ipv4(UDP, &datagram));
    rig.run("uplink_egress", &frame);
    let read = rig.drain().wire;
    let over = [read[0].0];
    for _ in 0..2 {
        rig.run("uplink_egress", &frame);
    }
    let stays = rig.maps.delete_wire(&over, &read).expect("none goes");
    assert_eq!(stays, [(over[0], 1)]);
    let read = rig.drain().wire;
    let [(key, record)] = read[..] else {
        panic!("{read:?}");
    };
    assert_eq!((key, record.buffers), (over[0], 3));
    let stays = rig.maps.delete_wire(&over, &read).expect("it goes");
    assert_eq!((stays, rig.drain().wire), (vec![], vec![]));
}

#[test]
fn draining_under_fire_loses_nothing() {
    let mut rig = Rig::new(4096);
    let stop = AtomicBool::new(false);
    let sent = [const { AtomicU64::new(0) }; 4];
    // Two flows that both threads share at each of two hooks, in a quick and a thorough way.
    let quick = ethernet(
        &[],
        IPV4,
        &frames::ipv4(TCP, &frames::tcp((1, 2), (3, 4), 16, 0, b"x")),
    );
    let chain = [frames::options(60, 1)];
    let thorough = ethernet(
        &[],
        IPV6,
        &frames::ipv6(&chain, UDP, &frames::udp((1, 2), b"x")),
    );
    let Rig { ebpf, maps, .. } = &mut rig;
    program::<SchedClassifier>(ebpf, "uplink_ingress").expect("the tc program");
    let ebpf = &*ebpf;
    let tc: &SchedClassifier = ebpf.program("uplink_ingress").unwrap().try_into().unwrap();
    let pod: &CgroupSkb = ebpf.program("pod_egress").unwrap().try_into().unwrap();
    let hammer = || {
        while !stop.load(Ordering::Relaxed) {
            test_run(tc, &quick, Gso::default(), REPEAT);
            test_run(tc, &thorough, Gso::default(), REPEAT);
            test_run(pod, &quick, Gso::default(), REPEAT);
            test_run(pod, &thorough, Gso::default(), REPEAT);
            for counter in &sent {
                counter.fetch_add(u64::from(REPEAT), Ordering::Relaxed);
            }
        }
    };
    let mut counted = [0; 4];
    let mut generations = 0;
    let mut take = |maps: &mut probe_user::drain::Maps| {
        let closed = maps.flip().expect("a flip");
        let drained = maps.collect(closed).expect("a drained generation");
        assert_eq!(drained.orphans, 0);
        assert!(drained.losses.is_empty(), "{:?}", drained.losses);
        let is_pod = |code| usize::from(code == hook::POD_EGRESS);
        for (key, record) in &drained.flows4 {
            counted[is_pod(key.hook)] += record.packets;
        }
        for (key, record) in &drained.flows6 {
            counted[2 + is_pod(key.hook)] += record.packets;
        }
        generations += 1;
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(hammer), scope.spawn(hammer)];
        let end = Instant::now() + HAMMERING;
        while Instant::now() < end {
            take(maps);
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("a hammering thread");
        }
    });
    take(maps);
    assert!(
        generations > 20,
        "only {generations} generations were drained"
    );
    let sent: Vec<u64> = sent
        .iter()
        .map(|counter| counter.load(Ordering::Relaxed))
        .collect();
    assert_eq!(counted[..], sent, "over {generations} generations");
}
