//! Wire flows from reading to reading: active ones make rows, those that are over are deleted.

use std::collections::BTreeSet;

use probe_abi::{
    flow::{FlowKey4, FlowRecord, hook},
    wire::{WireKey, WireRecord, conntrack},
};
use trace_schema::snat::{Method, Tuple, Witness};

use super::interval;
use crate::{
    aggregate::wire::{WireLog, WireRows},
    drain::Drained,
};

const SECOND: u64 = 1_000_000_000;
/// When the first reading is taken.
const START_NS: u64 = 1_001 * SECOND;

fn words(address: [u8; 4]) -> [u32; 4] {
    [u32::from_ne_bytes(address), 0, 0, 0]
}

fn key() -> WireKey {
    WireKey {
        src: words([203, 0, 113, 9]),
        dst: words([192, 0, 2, 7]),
        ifindex: 2,
        src_port: 1025u16.to_be(),
        dst_port: 443u16.to_be(),
        protocol: 6,
        family: 4,
        reserved: 0,
    }
}

/// A flow of so many buffers, paired by fingerprint with a pod's address.
fn record(buffers: u64, jiffies: u32) -> WireRecord {
    WireRecord {
        first_ns: 1_000 * SECOND,
        buffers,
        before_src: words([10, 244, 1, 5]),
        before_src_port: 40_000u16.to_be(),
        first_jiffies: 100,
        last_jiffies: jiffies,
        paired_after: 1,
        tcp_flags: 0x12,
        ..WireRecord::default()
    }
}

/// The same, last looked at in another epoch than the first.
fn record_of(epoch: u32, buffers: u64, jiffies: u32) -> WireRecord {
    WireRecord {
        epoch,
        ..record(buffers, jiffies)
    }
}

/// Conntrack says the same.
fn described(record: WireRecord) -> WireRecord {
    WireRecord {
        conntrack: conntrack::DESCRIBES,
        ct_src: record.before_src,
        ct_src_port: record.before_src_port,
        ct_dst: words([192, 0, 2, 7]),
        ct_dst_port: 443u16.to_be(),
        ..record
    }
}

/// A reading at the end of that epoch, which lasts a second.
fn read(log: &mut WireLog, seconds: u64, flows: &[(WireKey, WireRecord)]) -> WireRows {
    let drained = Drained {
        epoch: seconds as u32,
        wire: flows.to_vec(),
        ..Drained::default()
    };
    log.advance(
        &interval(),
        START_NS + seconds * SECOND,
        &drained,
        &BTreeSet::new(),
    )
}

/// What the uplink counted of a flow with that source, in generation 1.
fn counted(src: [u32; 4], src_port: u16) -> (FlowKey4, FlowRecord) {
    let key = FlowKey4 {
        scope: 2,
        src: src[0],
        dst: key().dst[0],
        src_port,
        dst_port: key().dst_port,
        protocol: 6,
        hook: hook::UPLINK_EGRESS,
        generation: 1,
        reserved: 0,
    };
    let record = FlowRecord {
        packets: 70,
        buffers: 50,
        first_ns: 1_000 * SECOND,
        first_jiffies: 100,
        last_jiffies: 150,
        ..FlowRecord::default()
    };
    (key, record)
}

fn tuple(src_address: &str, src_port: i32) -> Tuple {
    Tuple {
        src_address: src_address.to_owned(),
        dst_address: "192.0.2.7".to_owned(),
        src_port,
        dst_port: 443,
    }
}

#[test]
fn a_new_flow_is_a_row_with_both_tuples() {
    let rows = read(&mut WireLog::default(), 0, &[(key(), record(5, 125))]);
    let [row] = &rows.rows[..] else {
        panic!("{rows:?}")
    };
    assert_eq!(row.pre, Some(tuple("10.244.1.5", 40_000)));
    assert_eq!(row.post, tuple("203.0.113.9", 1025));
    assert_eq!(
        (row.translated, row.method, row.witness),
        (Some(true), Method::Fingerprint, Witness::Absent)
    );
    assert_eq!(
        (row.interface.as_str(), row.protocol.as_str()),
        ("eth0", "tcp")
    );
    assert_eq!((row.buffers, row.packets_until_paired), (5, Some(1)));
    assert_eq!(
        (row.first_seen_us, row.last_seen_us),
        (1_000_000_000, 1_000_100_000)
    );
    assert_eq!(rows.buffers, [(2, 5)].into());
    assert_eq!((rows.over.len(), rows.disagreements), (0, 0));
}

#[test]
fn only_what_sent_since_the_last_reading_is_a_row() {
    let mut log = WireLog::default();
    read(&mut log, 0, &[(key(), record(5, 125))]);
    let rows = read(&mut log, 1, &[(key(), record_of(1, 8, 130))]);
    assert_eq!((rows.rows.len(), rows.rows[0].buffers), (1, 3));
    let rows = read(&mut log, 2, &[(key(), record_of(1, 8, 130))]);
    assert_eq!(
        (rows.rows.len(), rows.buffers[&2], rows.over.len()),
        (0, 0, 0)
    );
    let rows = read(&mut log, 3, &[(key(), record_of(3, 9, 140))]);
    assert_eq!((rows.rows.len(), rows.rows[0].buffers), (1, 1));
}

#[test]
fn an_idle_flow_is_deleted_after_fifteen_seconds_and_a_busy_one_never() {
    let mut log = WireLog::default();
    for second in 0..60 {
        let rows = read(
            &mut log,
            second,
            &[(key(), record_of(second as u32, second + 1, second as u32))],
        );
        assert!(rows.over.is_empty(), "busy in second {second}");
    }
    for second in 60..74 {
        assert!(
            read(&mut log, second, &[(key(), record_of(59, 60, 59))])
                .over
                .is_empty()
        );
    }
    let rows = read(&mut log, 74, &[(key(), record_of(59, 60, 59))]);
    assert_eq!(rows.over, [key()]);
    // It is forgotten: should it speak again, all that the map then holds is new.
    let rows = read(&mut log, 75, &[(key(), record_of(75, 2, 900))]);
    assert_eq!((rows.rows.len(), rows.rows[0].buffers), (1, 2));
}

#[test]
fn a_closed_connection_is_deleted_after_two_seconds() {
    for closing in [1, 4] {
        let closed = WireRecord {
            tcp_flags: 0x10 | closing,
            ..record(5, 125)
        };
        let mut log = WireLog::default();
        assert!(read(&mut log, 0, &[(key(), closed)]).over.is_empty());
        assert!(read(&mut log, 1, &[(key(), closed)]).over.is_empty());
        let rows = read(&mut log, 2, &[(key(), closed)]);
        assert_eq!((rows.over.len(), rows.rows.len()), (1, 0));
    }
}

/// The map is read a moment after the flip, when a connection may have said its last already.
#[test]
fn what_a_connection_sends_before_the_map_is_read_is_of_the_next_interval() {
    for (idle, flags) in [(5, 0x11), (20, 0x10)] {
        let mut log = WireLog::default();
        read(&mut log, 0, &[(key(), record(5, 125))]);
        let again = WireRecord {
            tcp_flags: flags,
            ..record_of(idle as u32 + 1, 12, 900)
        };
        let rows = read(&mut log, idle, &[(key(), again)]);
        assert_eq!((rows.rows.len(), rows.over.len()), (0, 0));
        let rows = read(&mut log, idle + 1, &[(key(), again)]);
        assert_eq!((rows.rows.len(), rows.over.len()), (1, 0));
    }
}

#[test]
fn a_flow_that_speaks_before_its_deletion_goes_on() {
    let mut log = WireLog::default();
    read(&mut log, 0, &[(key(), record(5, 125))]);
    let rows = read(&mut log, 15, &[(key(), record(5, 125))]);
    assert_eq!(rows.over, [key()]);
    log.stay(&[(key(), 5)], START_NS + 15 * SECOND);
    let rows = read(&mut log, 16, &[(key(), record_of(16, 7, 900))]);
    assert_eq!((rows.rows[0].buffers, rows.buffers[&2]), (2, 2));
    let rows = read(&mut log, 17, &[(key(), record_of(16, 7, 900))]);
    assert_eq!((rows.rows.len(), rows.buffers[&2]), (0, 0));
}

#[test]
fn a_port_that_is_used_anew_shows_the_new_connection() {
    let mut log = WireLog::default();
    read(&mut log, 0, &[(key(), record(5, 125))]);
    let anew = WireRecord {
        first_ns: START_NS + SECOND / 2,
        first_jiffies: 500,
        before_src: words([10, 244, 2, 6]),
        before_src_port: 50_000u16.to_be(),
        paired_after: 6,
        restarts: 1,
        ..record_of(1, 7, 505)
    };
    let rows = read(&mut log, 1, &[(key(), anew)]);
    assert_eq!(rows.rows[0].pre, Some(tuple("10.244.2.6", 50_000)));
    assert_eq!(
        (rows.rows[0].buffers, rows.rows[0].packets_until_paired),
        (2, Some(6))
    );
    assert_eq!(rows.rows[0].first_seen_us, 1_001_500_000);

    // Deleted and made again between two readings: its counts begin at nothing.
    let rows = read(&mut log, 2, &[(key(), record_of(2, 3, 600))]);
    assert_eq!(rows.rows[0].buffers, 3);
}

#[test]
fn witnesses_agree_or_neither_is_believed() {
    let pairing = |record| {
        let rows = read(&mut WireLog::default(), 0, &[(key(), record)]);
        let row = rows.rows.into_iter().next().expect("a row");
        (
            row.pre,
            row.translated,
            row.method,
            row.witness,
            rows.disagreements,
        )
    };
    let pre = Some(tuple("10.244.1.5", 40_000));
    assert_eq!(
        pairing(described(record(5, 125))),
        (
            pre.clone(),
            Some(true),
            Method::Fingerprint,
            Witness::Agrees,
            0
        )
    );
    let by_conntrack = WireRecord {
        paired_after: 0,
        ..described(record(5, 125))
    };
    assert_eq!(
        pairing(by_conntrack),
        (
            pre.clone(),
            Some(true),
            Method::Conntrack,
            Witness::Absent,
            0
        )
    );
    let contradicted = WireRecord {
        conntrack: conntrack::CONTRADICTED,
        ..record(5, 125)
    };
    assert_eq!(
        pairing(contradicted),
        (pre, Some(true), Method::Fingerprint, Witness::Absent, 0)
    );
    let unpaired = WireRecord {
        paired_after: 0,
        ..record(5, 125)
    };
    assert_eq!(
        pairing(unpaired),
        (None, None, Method::Unpaired, Witness::Absent, 0)
    );
    for other in [
        WireRecord {
            ct_src: words([10, 244, 1, 6]),
            ..described(record(5, 125))
        },
        WireRecord {
            ct_src_port: 1,
            ..described(record(5, 125))
        },
    ] {
        assert_eq!(
            pairing(other),
            (None, None, Method::Unpaired, Witness::Disagrees, 1)
        );
    }
}

#[test]
fn the_same_tuple_on_both_sides_is_no_translation() {
    let own = WireRecord {
        before_src: key().src,
        before_src_port: key().src_port,
        ..record(1, 1)
    };
    let rows = read(&mut WireLog::default(), 0, &[(key(), own)]);
    assert_eq!(rows.rows[0].translated, Some(false));
    let port = WireRecord {
        before_src_port: 1026u16.to_be(),
        ..own
    };
    let rows = read(&mut WireLog::default(), 0, &[(key(), port)]);
    assert_eq!(
        rows.rows[0].translated,
        Some(true),
        "another port is a translation"
    );
}

/// The wire hook looked at five buffers, the last at tick 125; the uplink counted fifty.
#[test]
fn amounts_are_the_uplinks_by_the_addresses_that_it_saw() {
    let wire = record(5, 125);
    let amounts = |wire: WireRecord, flow: (FlowKey4, FlowRecord)| {
        let drained = Drained {
            generation: 1,
            wire: vec![(key(), wire)],
            flows4: [flow].into(),
            ..Drained::default()
        };
        let rows = WireLog::default().advance(&interval(), START_NS, &drained, &BTreeSet::new());
        let row = &rows.rows[0];
        (row.packets, row.buffers, row.last_seen_us)
    };
    let uplinks = (70, 50, 1_000_200_000);
    let looked_at = (5, 5, 1_000_100_000);
    // Translated before the uplink's hook, and behind it.
    assert_eq!(amounts(wire, counted(key().src, key().src_port)), uplinks);
    let before = counted(wire.before_src, wire.before_src_port);
    assert_eq!(amounts(wire, before), uplinks);
    let by_conntrack = WireRecord {
        paired_after: 0,
        ..described(wire)
    };
    assert_eq!(amounts(by_conntrack, before), uplinks);
    let unpaired = WireRecord {
        paired_after: 0,
        ..wire
    };
    assert_eq!(amounts(unpaired, before), looked_at);
    // Neither another port, nor the generation that is still open, nor the other direction.
    assert_eq!(amounts(wire, counted(key().src, 9)), looked_at);
    for other in [
        FlowKey4 {
            generation: 0,
            ..before.0
        },
        FlowKey4 {
            hook: hook::UPLINK_INGRESS,
            ..before.0
        },
        FlowKey4 {
            scope: 3,
            ..before.0
        },
    ] {
        assert_eq!(amounts(wire, (other, before.1)), looked_at);
    }
}

/// The record is read a moment after the flip, when the next epoch's first packet may have been
/// looked at already, and no further one of that epoch will be.
#[test]
fn a_packet_between_flip_and_reading_belongs_to_the_next_interval() {
    let mut log = WireLog::default();
    read(&mut log, 0, &[(key(), record(1, 100))]);
    let early = [(key(), record_of(2, 2, 125))];
    let rows = read(&mut log, 1, &early);
    assert_eq!(rows.rows.len(), 0, "silent in epoch 1");
    let rows = read(&mut log, 2, &early);
    assert_eq!(rows.rows.len(), 1, "it sent in epoch 2");

    let mut log = WireLog::default();
    let drained = Drained {
        epoch: 1,
        generation: 1,
        wire: early.to_vec(),
        flows4: [counted(key().src, key().src_port)].into(),
        ..Drained::default()
    };
    let rows = log.advance(&interval(), START_NS, &drained, &BTreeSet::new());
    assert_eq!(
        rows.rows.len(),
        1,
        "the uplink says that it sent in epoch 1 too"
    );
    let rows = read(&mut log, 2, &early);
    assert_eq!(rows.rows.len(), 1);
}

/// A program came in behind a hook that looked at packets itself: who they were on the wire is not
/// known, and that they were sent is.
#[test]
fn flows_of_a_chain_that_changed_are_not_paired() {
    let drained = Drained {
        wire: vec![(key(), described(record(5, 125)))],
        ..Drained::default()
    };
    let advance = |doubtful: u32| {
        let doubtful = BTreeSet::from([doubtful]);
        WireLog::default().advance(&interval(), START_NS, &drained, &doubtful)
    };
    let sure = advance(3);
    assert_eq!(sure.rows[0].method, Method::Fingerprint);
    assert!(sure.doubted.is_empty());
    let doubted = advance(2);
    let row = &doubted.rows[0];
    assert_eq!(
        (row.method, row.witness),
        (Method::Unpaired, Witness::Absent)
    );
    assert_eq!(
        (&row.pre, row.translated, row.packets_until_paired),
        (&None, None, None)
    );
    assert_eq!(row.packets, sure.rows[0].packets);
    assert_eq!(doubted.doubted, [(2, 1)].into());
}
