//! The layout of every record, written out a second time.
//!
//! A record that changes under an unchanged version fails here: each version has its layout in a
//! file of its own, and a new layout needs a new one.

use std::fmt::Write as _;

use probe_abi::{
    ABI_VERSION,
    cpu::{CpuCharge, CpuKey, CpuPlace, CpuSlot, CpuState, CpuTotals},
    flow::{FlowKey4, FlowKey6, FlowRecord, Slot4, Slot6, Tally},
    http::{Connection, ConnectionKey, HttpKey, Stream, Streams},
    loss::{LossCount, LossKey},
    params::Control,
    wire::{Before, Fingerprint, WireKey, WireRecord},
};

/// Every version's layout, one line a record: name, size, alignment, offset of each field.
const LAYOUTS: [(u32, &str); 5] = [
    (1, include_str!("layout/1.txt")),
    (2, include_str!("layout/2.txt")),
    (3, include_str!("layout/3.txt")),
    (4, include_str!("layout/4.txt")),
    (5, include_str!("layout/5.txt")),
];

macro_rules! describe {
    ($text:ident, $($record:ident { $($field:ident),* $(,)? })*) => {
        $(
            // Destructuring fails to compile where a field is not in the list.
            #[expect(dropping_copy_types, reason = "only the pattern matters")]
            let _ = |record: $record| {
                let $record { $($field),* } = record;
                $(drop($field);)*
            };
            write!(
                $text,
                "{} {} {}:",
                stringify!($record),
                size_of::<$record>(),
                align_of::<$record>(),
            )
            .unwrap();
            $(
                write!($text, " {}@{}", stringify!($field), std::mem::offset_of!($record, $field))
                    .unwrap();
            )*
            $text.push('\n');
        )*
    };
}

fn layout() -> String {
    let mut text = String::new();
    describe!(text,
        FlowKey4 { scope, src, dst, src_port, dst_port, protocol, hook, generation, reserved }
        FlowKey6 { scope, src, dst, src_port, dst_port, protocol, hook, generation, reserved }
        FlowRecord {
            packets, bytes, buffers, buffer_bytes, first_ns, first_jiffies, last_jiffies,
            tcp_flags, tcp_sampled, srtt_us, min_rtt_us, retransmits, cwnd_segments, looked, reserved,
        }
        Tally {
            packets, bytes, buffers, buffer_bytes, last_jiffies, tcp_flags, credit, looked, busy,
        }
        Slot4 { key, tally }
        Slot6 { key, tally }
        LossKey { ifindex, hook, reason, generation, reserved }
        LossCount { packets, bytes, buffers, buffer_bytes }
        HttpKey {
            scope, local, peer, local_port, status, bucket, version, generation, family, reserved,
        }
        ConnectionKey { scope, local, peer, local_port, peer_port, family, reserved }
        Stream {
            left, line, length, started_ns, next_seq, column, at, end, stream_id, status, phase,
            framing, version, synced, reserved,
        }
        Connection {
            ingress, egress, asked_ns, heads, latency_ns, asked, answered, last_jiffies, http2,
        }
        Streams { asked, begun }
        Control { generation, epoch, pair_at_uplink }
        Fingerprint { dst, words, dst_port, id, length, protocol, family }
        Before { src, src_port, ambiguous, jiffies }
        WireKey { src, dst, ifindex, src_port, dst_port, protocol, family, reserved }
        WireRecord {
            first_ns, buffers, before_src, ct_src, ct_dst, first_jiffies, last_jiffies, lookups,
            epoch, paired_after, before_src_port, ct_src_port, ct_dst_port, conntrack, tcp_flags,
            restarts,
        }
        CpuKey { cgroup, command, epoch, reserved }
        CpuCharge { ns, cycles, events }
        CpuSlot { key, charge }
        CpuTotals { net_rx, net_tx, idle, outside, overflow, unread }
        CpuState {
            last_ns, last_cycles, pending_ns, pending_cycles, vector, busy, totals, settled,
            settled_ns,
        }
        CpuPlace { root, level, reserved }
    );
    text
}

#[test]
fn a_changed_layout_has_a_new_version() {
    let (version, known) = LAYOUTS[LAYOUTS.len() - 1];
    assert_eq!(
        version, ABI_VERSION,
        "write the layout of version {ABI_VERSION} to tests/layout/{ABI_VERSION}.txt"
    );
    let layout = layout();
    assert_eq!(
        layout,
        known,
        "the layout changed: raise ABI_VERSION and write this to tests/layout/{}.txt:\n{layout}",
        ABI_VERSION + 1
    );
}

#[test]
fn every_version_has_a_layout_of_its_own() {
    for (index, (version, layout)) in LAYOUTS.iter().enumerate() {
        assert_eq!(*version, index as u32 + 1);
        assert!(
            LAYOUTS[..index].iter().all(|(_, other)| other != layout),
            "version {version} repeats an earlier layout"
        );
    }
}

#[test]
fn hooks_and_reasons_are_distinct_and_never_zero() {
    use probe_abi::{flow::hook, loss::reason};
    let hooks = [
        hook::POD_EGRESS,
        hook::POD_INGRESS,
        hook::UPLINK_EGRESS,
        hook::UPLINK_INGRESS,
        hook::TUNNEL_INGRESS,
        hook::WIRE,
    ];
    let reasons = [
        reason::OVERFLOW,
        reason::NON_IP,
        reason::IP_UNPARSED,
        reason::PAIRING_MISSED,
        reason::PAIRING_AMBIGUOUS,
        reason::PAIRING_OVERFLOW,
        reason::FINGERPRINT_UNSTORED,
        reason::HTTP_UNPARSED,
        reason::HTTP_OVERFLOW,
    ];
    // The numbers themselves are part of the contract: an old object must not be misread.
    assert_eq!(hooks, [1, 2, 3, 4, 5, 6]);
    assert_eq!(reasons, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}
