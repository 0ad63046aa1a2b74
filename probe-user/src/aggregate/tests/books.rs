//! The ledger: one row a hook, what it counted, what the kernel says, what was lost.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
};

use probe_abi::{
    flow::{FlowKey6, FlowRecord, hook},
    loss::{LossCount, LossKey, reason},
};
use trace_schema::{
    flows::Direction,
    ledger::{Count, LedgerRow, Vantage},
};

use super::{interval, key4};
use crate::{
    aggregate::books::{Edge, Sources, ledger_rows},
    drain::Drained,
    interfaces::netlink::{Counters, QueueDrops},
};

const HOOKS: [(u8, u32); 7] = [
    (hook::POD_EGRESS, 0),
    (hook::POD_INGRESS, 0),
    (hook::UPLINK_EGRESS, 2),
    (hook::UPLINK_INGRESS, 2),
    (hook::WIRE, 2),
    (hook::TUNNEL_INGRESS, 3),
    (hook::WIRE, 4),
];

fn record(packets: u64) -> FlowRecord {
    FlowRecord {
        packets,
        bytes: packets * 100,
        buffers: packets / 2,
        buffer_bytes: packets * 90,
        ..FlowRecord::default()
    }
}

fn count(packets: i64) -> Count {
    Count {
        packets,
        bytes: packets * 100,
        buffers: packets / 2,
        buffer_bytes: packets * 90,
    }
}

fn loss(hook: u8, ifindex: u32, reason: u8, packets: u64) -> (LossKey, LossCount) {
    let key = LossKey {
        ifindex,
        hook,
        reason,
        generation: 0,
        reserved: 0,
    };
    let count = LossCount {
        packets,
        bytes: packets * 100,
        buffers: packets / 2,
        buffer_bytes: packets * 90,
    };
    (key, count)
}

/// Counters after so many packets sent, and twice as many received.
fn counters(sent: u64) -> Counters {
    Counters {
        rx_packets: sent * 2,
        rx_bytes: sent * 2_000,
        tx_packets: sent,
        tx_bytes: sent * 1_000,
        ..Counters::default()
    }
}

fn edge(before: u64, after: u64) -> BTreeMap<u32, Edge> {
    [(
        2,
        Edge {
            before: counters(before),
            after: counters(after),
        },
    )]
    .into()
}

fn rows(
    drained: &Drained,
    start: &BTreeMap<u32, Edge>,
    end: &BTreeMap<u32, Edge>,
) -> Vec<LedgerRow> {
    ledger_rows(
        &interval(),
        drained,
        &sources(start, end, &HashMap::new(), &HashMap::new()),
    )
}

/// Three flows left by the last interface while its chain changed.
static DOUBTED: LazyLock<HashMap<u32, u64>> = LazyLock::new(|| HashMap::from([(4, 3)]));
/// No interface was hooked in the interval.
static SETTLED: BTreeSet<u32> = BTreeSet::new();

fn sources<'a>(
    start: &'a BTreeMap<u32, Edge>,
    end: &'a BTreeMap<u32, Edge>,
    wire_buffers: &'a HashMap<u32, u64>,
    misses: &'a HashMap<u8, u64>,
) -> Sources<'a> {
    Sources {
        start,
        end,
        hooks: &HOOKS,
        fresh: &SETTLED,
        wire_buffers,
        doubted: &DOUBTED,
        disagreements: 0,
        ring_drops: 0,
        misses,
        wire_entries: 12,
        capacity: 4096,
    }
}

fn of(rows: &[LedgerRow], code: u8, index: u32) -> LedgerRow {
    let position = HOOKS
        .iter()
        .position(|place| *place == (code, index))
        .expect("a hook");
    rows[position].clone()
}

#[test]
fn every_hook_has_a_row_whether_anything_passed_or_not() {
    let none = BTreeMap::new();
    let rows = rows(&Drained::default(), &none, &none);
    let places: Vec<_> = rows
        .iter()
        .map(|row| (row.vantage, row.direction, row.interface.as_deref()))
        .collect();
    assert_eq!(
        places,
        [
            (Vantage::Pod, Some(Direction::Egress), None),
            (Vantage::Pod, Some(Direction::Ingress), None),
            (Vantage::Uplink, Some(Direction::Egress), Some("eth0")),
            (Vantage::Uplink, Some(Direction::Ingress), Some("eth0")),
            (Vantage::Wire, None, Some("eth0")),
            (Vantage::Tunnel, Some(Direction::Ingress), Some("wg0")),
            (Vantage::Wire, None, Some("if4")),
        ]
    );
    assert!(
        rows.iter()
            .all(|row| row.counted == Count::default() && row.map_capacity == 4096)
    );
    assert!(
        rows.iter()
            .all(|row| row.kernel_packets.is_none() && row.boundary_bytes.is_none())
    );
    assert_eq!(of(&rows, hook::UPLINK_EGRESS, 2).link_header_bytes, 14);
}

#[test]
fn flows_of_both_families_are_summed_by_hook_and_interface() {
    let key6 = FlowKey6 {
        scope: 2,
        hook: hook::UPLINK_EGRESS,
        ..FlowKey6::default()
    };
    let drained = Drained {
        flows4: [
            (key4(hook::UPLINK_EGRESS, 2, 6, (1, 2)), record(10)),
            (key4(hook::UPLINK_EGRESS, 2, 6, (3, 4)), record(20)),
            (key4(hook::UPLINK_EGRESS, 9, 6, (3, 4)), record(1_000)),
            (key4(hook::UPLINK_INGRESS, 2, 6, (1, 2)), record(2)),
            (key4(hook::POD_EGRESS, 77, 6, (1, 2)), record(4)),
            (key4(hook::POD_EGRESS, 78, 6, (1, 2)), record(8)),
        ]
        .into(),
        flows6: [(key6, record(40))].into(),
        ..Drained::default()
    };
    let none = BTreeMap::new();
    let rows = rows(&drained, &none, &none);
    assert_eq!(of(&rows, hook::UPLINK_EGRESS, 2).counted, count(70));
    assert_eq!(of(&rows, hook::UPLINK_INGRESS, 2).counted, count(2));
    assert_eq!(
        of(&rows, hook::POD_EGRESS, 0).counted,
        count(12),
        "pods stand together"
    );
    assert_eq!(of(&rows, hook::TUNNEL_INGRESS, 3).counted, Count::default());
    assert_eq!(of(&rows, hook::UPLINK_EGRESS, 2).map_entries, 7);
}

#[test]
fn the_kernels_counters_stand_beside_with_the_width_of_the_edges() {
    let rows = rows(&Drained::default(), &edge(90, 100), &edge(150, 153));
    let egress = of(&rows, hook::UPLINK_EGRESS, 2);
    assert_eq!(
        (egress.kernel_packets, egress.kernel_bytes),
        (Some(53), Some(53_000))
    );
    assert_eq!(
        (egress.boundary_packets, egress.boundary_bytes),
        (Some(3), Some(3_000))
    );
    assert_eq!(egress.dropped_behind_packets, Some(0));
    let ingress = of(&rows, hook::UPLINK_INGRESS, 2);
    assert_eq!(
        (ingress.kernel_packets, ingress.kernel_bytes),
        (Some(106), Some(106_000))
    );
    assert_eq!(
        (ingress.boundary_packets, ingress.boundary_bytes),
        (Some(6), Some(6_000))
    );
    assert_eq!(ingress.dropped_behind_packets, None);
    let pod = of(&rows, hook::POD_EGRESS, 0);
    assert_eq!((pod.kernel_packets, pod.boundary_packets), (None, None));
}

#[test]
fn the_first_interval_is_uncertain_at_both_ends() {
    let (start, end) = (edge(90, 100), edge(150, 153));
    let (wire, misses) = (HashMap::new(), HashMap::new());
    let fresh = [2].into();
    let sources = Sources {
        fresh: &fresh,
        ..sources(&start, &end, &wire, &misses)
    };
    let rows = ledger_rows(&interval(), &Drained::default(), &sources);
    let egress = of(&rows, hook::UPLINK_EGRESS, 2);
    assert_eq!(
        (egress.boundary_packets, egress.boundary_bytes),
        (Some(13), Some(13_000))
    );
}

#[test]
fn drops_behind_the_hook_are_those_of_queues_filters_and_driver() {
    let with = |root_packets, clsact_packets, tx_dropped| {
        let queues = QueueDrops {
            root_handle: 1,
            root_packets,
            clsact_packets,
        };
        let counters = Counters {
            queues,
            tx_dropped,
            ..counters(100)
        };
        BTreeMap::from([(
            2,
            Edge {
                before: counters,
                after: counters,
            },
        )])
    };
    let rows = rows(&Drained::default(), &with(10, 20, 30), &with(11, 22, 34));
    assert_eq!(
        of(&rows, hook::UPLINK_EGRESS, 2).dropped_behind_packets,
        Some(1 + 2 + 4)
    );
}

#[test]
fn losses_stand_with_their_hook_and_pairings_with_the_first_wire() {
    let drained = Drained {
        losses: vec![
            loss(hook::UPLINK_EGRESS, 2, reason::OVERFLOW, 10),
            loss(hook::UPLINK_INGRESS, 2, reason::OVERFLOW, 20),
            loss(hook::UPLINK_INGRESS, 2, reason::NON_IP, 4),
            loss(hook::UPLINK_INGRESS, 2, reason::IP_UNPARSED, 6),
            loss(hook::POD_EGRESS, 0, reason::OVERFLOW, 8),
            loss(hook::WIRE, 0, reason::PAIRING_MISSED, 2),
            loss(hook::WIRE, 0, reason::PAIRING_AMBIGUOUS, 4),
            loss(hook::WIRE, 0, reason::FINGERPRINT_UNSTORED, 6),
            loss(hook::WIRE, 2, reason::PAIRING_OVERFLOW, 8),
            loss(hook::WIRE, 4, reason::PAIRING_OVERFLOW, 10),
        ],
        ..Drained::default()
    };
    let none = BTreeMap::new();
    let wire = [(2, 500), (4, 7)].into();
    let misses = [(hook::WIRE, 3)].into();
    let sources = Sources {
        disagreements: 9,
        ring_drops: 11,
        ..sources(&none, &none, &wire, &misses)
    };
    let rows = ledger_rows(&interval(), &drained, &sources);
    assert_eq!(of(&rows, hook::UPLINK_EGRESS, 2).overflow, count(10));
    let ingress = of(&rows, hook::UPLINK_INGRESS, 2);
    assert_eq!(
        (ingress.overflow, ingress.non_ip, ingress.ip_unparsed),
        (count(20), count(4), count(6))
    );
    assert_eq!(ingress.hook_misses, None);
    assert_eq!(of(&rows, hook::POD_EGRESS, 0).overflow, count(8));
    let first = of(&rows, hook::WIRE, 2);
    assert_eq!((first.pairing_missed, first.pairing_ambiguous), (1, 2 + 9));
    assert_eq!((first.pairing_overflow, first.ring_drops), (4 + 3, 11));
    assert_eq!(
        (first.counted.buffers, first.map_entries, first.hook_misses),
        (500, 12, Some(3))
    );
    let second = of(&rows, hook::WIRE, 4);
    assert_eq!((second.pairing_missed, second.pairing_ambiguous), (3, 0));
    assert_eq!((second.pairing_overflow, second.ring_drops), (5, 0));
    assert_eq!(second.counted.buffers, 7);
}
