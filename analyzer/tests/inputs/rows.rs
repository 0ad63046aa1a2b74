//! Plain rows that a test changes in the columns it is about.

use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::ledger::{Count, LedgerRow, Vantage};

pub const SECOND_US: i64 = 1_000_000;
pub const START_US: i64 = 1_800_000_000 * SECOND_US;

/// A row of an uplink's egress in the second after `START_US` with that number.
pub fn ledger(second: i64) -> LedgerRow {
    LedgerRow {
        interval_start_us: START_US + second * SECOND_US,
        interval_end_us: START_US + (second + 1) * SECOND_US,
        node: "worker".to_owned(),
        boot_id: "4f0c2b9e".to_owned(),
        vantage: Vantage::Uplink,
        interface: Some("eth0".to_owned()),
        direction: Some(Direction::Egress),
        counted: Count::default(),
        overflow: Count::default(),
        non_ip: Count::default(),
        ip_unparsed: Count::default(),
        link_header_bytes: 14,
        virtual_function: None,
        kernel_packets: Some(0),
        kernel_bytes: Some(0),
        boundary_packets: Some(0),
        boundary_bytes: Some(0),
        dropped_behind_packets: Some(0),
        pairing_missed: 0,
        pairing_ambiguous: 0,
        pairing_overflow: 0,
        http_unparsed: 0,
        ring_drops: 0,
        hook_misses: Some(0),
        map_entries: 1,
        map_capacity: 100,
        spool_dropped_rows: 0,
    }
}

/// A flow of the same hook in the same second.
pub fn flow(second: i64, count: Count) -> FlowRow {
    let row = ledger(second);
    FlowRow {
        interval_start_us: row.interval_start_us,
        interval_end_us: row.interval_end_us,
        node: row.node,
        boot_id: row.boot_id,
        vantage: row.vantage,
        nat_state: NatState::Post,
        interface: row.interface,
        direction: Direction::Egress,
        pod_uid: None,
        container_id: None,
        cgroup_id: None,
        protocol: "tcp".to_owned(),
        src_address: "10.99.0.2".to_owned(),
        dst_address: "10.99.0.1".to_owned(),
        src_port: 32776,
        dst_port: 5299,
        encapsulation: None,
        bytes: count.bytes,
        packets: count.packets,
        buffers: count.buffers,
        buffer_bytes: count.buffer_bytes,
        tcp_flags: 16,
        srtt_us: None,
        min_rtt_us: None,
        retransmits: None,
        cwnd_segments: None,
        first_seen_us: row.interval_start_us,
        last_seen_us: row.interval_start_us,
    }
}
