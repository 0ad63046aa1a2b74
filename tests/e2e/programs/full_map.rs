//! A full flow map: what it turns away is counted to the packet, and said once.

use probe_abi::{flow::hook, loss::reason};

use super::{
    frames::{self, IPV4, IPV6, UDP, ethernet},
    rig::{Gso, LOOPBACK, Rig},
};

/// Capacity of the flow maps here.
const CAPACITY: u32 = 8;
/// Flows that ask for a place, and packets of each.
const FLOWS: u16 = 50;
const ROUNDS: u64 = 7;

#[test]
fn what_is_counted_and_what_overflows_is_what_was_sent() {
    let mut rig = Rig::new(CAPACITY);
    for generation in 1..=2 {
        let mut sent = (0, 0);
        for _ in 0..ROUNDS {
            for port in 1..=FLOWS {
                let ip = frames::ipv4(UDP, &frames::udp((port, 53), &[0; 32]));
                rig.run("uplink_egress", &ethernet(&[], IPV4, &ip));
                sent.0 += 1;
                sent.1 += ip.len() as u64;
            }
        }
        let drained = rig.drain();
        assert_eq!(drained.flows4.len(), CAPACITY as usize);
        let packets: u64 = drained.flows4.values().map(|record| record.packets).sum();
        let bytes: u64 = drained.flows4.values().map(|record| record.bytes).sum();
        assert_eq!(
            packets,
            u64::from(CAPACITY) * ROUNDS,
            "flows that came first are whole"
        );
        let [(key, lost)] = drained.losses[..] else {
            panic!("one loss: {drained:?}")
        };
        assert_eq!(
            (key.ifindex, key.hook, key.reason),
            (LOOPBACK, hook::UPLINK_EGRESS, reason::OVERFLOW)
        );
        assert_eq!((packets + lost.packets, bytes + lost.bytes), sent);
        assert_eq!(lost.buffers, lost.packets);
        let said = rig.messages();
        assert_eq!(said.len(), generation, "once in each generation: {said:?}");
        assert!(
            said[generation - 1].contains("flow map full at hook 3 on interface 1"),
            "{said:?}"
        );
    }
}

#[test]
fn every_hook_and_family_counts_its_own_overflow() {
    let mut rig = Rig::new(CAPACITY);
    let gso = Gso {
        size: 1000,
        segments: 3,
    };
    for port in 0..CAPACITY as u16 {
        let datagram = frames::udp((port, 53), b"");
        rig.run(
            "uplink_egress",
            &ethernet(&[], IPV4, &frames::ipv4(UDP, &datagram)),
        );
        rig.run(
            "uplink_egress",
            &ethernet(&[], IPV6, &frames::ipv6(&[], UDP, &datagram)),
        );
    }
    let datagram = frames::udp((999, 53), &[0; 2500]);
    let frame4 = ethernet(&[], IPV4, &frames::ipv4(UDP, &datagram));
    let frame6 = ethernet(&[], IPV6, &frames::ipv6(&[], UDP, &datagram));
    // Uncommon ways of being counted overflow alike.
    let chain = [frames::options(0, 1)];
    let deep6 = ethernet(&[], IPV6, &frames::ipv6(&chain, UDP, &datagram));
    for frame in [&frame4, &frame6, &deep6] {
        rig.run_gso("uplink_ingress", frame, gso);
        rig.run_gso("tunnel_ingress", frame, gso);
        rig.run_pod("pod_egress", frame, gso);
        rig.run_pod("pod_ingress", frame, gso);
    }
    let drained = rig.drain();
    let mut lost: Vec<_> = drained
        .losses
        .iter()
        .map(|(key, count)| {
            (
                key.hook,
                key.ifindex,
                key.reason,
                count.packets,
                count.buffers,
            )
        })
        .collect();
    lost.sort_unstable();
    let overflow = reason::OVERFLOW;
    assert_eq!(
        lost,
        [
            (hook::POD_EGRESS, 0, overflow, 9, 3),
            (hook::POD_INGRESS, 0, overflow, 9, 3),
            (hook::UPLINK_INGRESS, LOOPBACK, overflow, 9, 3),
            (hook::TUNNEL_INGRESS, LOOPBACK, overflow, 9, 3),
        ]
    );
    assert_eq!(rig.messages().len(), 4, "one message a hook");
}

#[test]
fn a_drained_generation_leaves_its_room_to_the_next() {
    let mut rig = Rig::new(CAPACITY);
    for _ in 0..4 {
        for port in 0..CAPACITY as u16 {
            let ip = frames::ipv4(UDP, &frames::udp((port, 53), b""));
            rig.run("uplink_egress", &ethernet(&[], IPV4, &ip));
        }
        let drained = rig.drain();
        assert_eq!(drained.flows4.len(), CAPACITY as usize);
        assert!(drained.losses.is_empty(), "{drained:?}");
    }
}
