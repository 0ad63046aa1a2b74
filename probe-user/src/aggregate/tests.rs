//! Rows from map entries, written out by hand.

mod books;
mod cpu;
mod http;
mod wire;

use super::*;

/// The interval from 1,000 to 1,001 seconds UTC on a kernel that started at 0, with ticks of 4 ms,
/// an uplink 2 and a tunnel 3.
pub(super) fn interval() -> Interval {
    let interface = |name: &str, egress_nat, link_header_bytes| Interface {
        name: name.to_owned(),
        egress_nat,
        link_header_bytes,
        virtual_function: None,
    };
    let port = |kind, port| TunnelPort { kind, port };
    Interval {
        start_us: 1_000_000_000,
        end_us: 1_001_000_000,
        node: "worker".to_owned(),
        boot_id: "b0071d00".to_owned(),
        clock: Offset {
            offset_ns: 0,
            uncertainty_ns: 1,
            at_ns: 0,
        },
        tick_ns: 4_000_000,
        interfaces: BTreeMap::from([
            (2, interface("eth0", NatState::Post, 14)),
            (3, interface("wg0", NatState::Post, 0)),
        ]),
        tunnel_ports: vec![
            port(TunnelKind::Vxlan, 8472),
            port(TunnelKind::Geneve, 6081),
        ],
    }
}

fn key4(hook: u8, scope: u64, protocol: u8, ports: (u16, u16)) -> FlowKey4 {
    FlowKey4 {
        scope,
        src: u32::from_ne_bytes([10, 244, 1, 5]),
        dst: u32::from_ne_bytes([192, 0, 2, 7]),
        src_port: ports.0.to_be(),
        dst_port: ports.1.to_be(),
        protocol,
        hook,
        generation: 1,
        reserved: 0,
    }
}

fn record() -> FlowRecord {
    FlowRecord {
        packets: 45,
        bytes: 60_000,
        buffers: 3,
        buffer_bytes: 58_000,
        first_ns: 1_000_250_000_000,
        first_jiffies: 100,
        last_jiffies: 125,
        tcp_flags: 0x1b,
        tcp_sampled: 1,
        srtt_us: 300,
        min_rtt_us: 90,
        retransmits: 2,
        cwnd_segments: 10,
        ..FlowRecord::default()
    }
}

/// The row of one IPv4 flow.
fn row(key: FlowKey4, record: FlowRecord) -> FlowRow {
    let drained = Drained {
        flows4: [(key, record)].into(),
        ..Drained::default()
    };
    let owner = |id| {
        assert_eq!(id, 77, "only pods have owners");
        Owner {
            pod_uid: Some("pod-a".to_owned()),
            container_id: Some("c0ffee".to_owned()),
        }
    };
    let [row] = flow_rows(&interval(), &drained, owner)
        .try_into()
        .expect("one row");
    row
}

#[test]
fn a_pods_flow_is_a_row_with_its_owner_and_its_sockets_state() {
    let row = row(key4(hook::POD_EGRESS, 77, 6, (40_000, 443)), record());
    let expected = FlowRow {
        interval_start_us: 1_000_000_000,
        interval_end_us: 1_001_000_000,
        node: "worker".to_owned(),
        boot_id: "b0071d00".to_owned(),
        vantage: Vantage::Pod,
        nat_state: NatState::Pre,
        interface: None,
        direction: Direction::Egress,
        pod_uid: Some("pod-a".to_owned()),
        container_id: Some("c0ffee".to_owned()),
        cgroup_id: Some(77),
        protocol: "tcp".to_owned(),
        src_address: "10.244.1.5".to_owned(),
        dst_address: "192.0.2.7".to_owned(),
        src_port: 40_000,
        dst_port: 443,
        encapsulation: None,
        bytes: 60_000,
        packets: 45,
        buffers: 3,
        buffer_bytes: 58_000,
        tcp_flags: 0x1b,
        srtt_us: Some(300),
        min_rtt_us: Some(90),
        retransmits: Some(2),
        cwnd_segments: Some(10),
        first_seen_us: 1_000_250_000,
        last_seen_us: 1_000_350_000,
    };
    assert_eq!(row, expected);
}

#[test]
fn without_a_sample_there_is_no_tcp_state() {
    let unsampled = FlowRecord {
        tcp_sampled: 0,
        ..record()
    };
    let flow = row(key4(hook::POD_INGRESS, 77, 6, (1, 2)), unsampled);
    assert_eq!((flow.srtt_us, flow.min_rtt_us), (None, None));
    assert_eq!((flow.retransmits, flow.cwnd_segments), (None, None));
    // The kernel's filter has seen no round trip yet.
    let never = FlowRecord {
        min_rtt_us: u32::MAX,
        ..record()
    };
    let flow = row(key4(hook::POD_INGRESS, 77, 6, (1, 2)), never);
    assert_eq!((flow.srtt_us, flow.min_rtt_us), (Some(300), None));
}

#[test]
fn hooks_say_where_a_flow_was_and_on_which_side_of_the_nat() {
    for (code, scope, vantage, direction, nat_state, interface) in [
        (
            hook::UPLINK_EGRESS,
            2,
            Vantage::Uplink,
            Direction::Egress,
            NatState::Post,
            "eth0",
        ),
        (
            hook::UPLINK_INGRESS,
            2,
            Vantage::Uplink,
            Direction::Ingress,
            NatState::Pre,
            "eth0",
        ),
        (
            hook::TUNNEL_INGRESS,
            3,
            Vantage::Tunnel,
            Direction::Ingress,
            NatState::Pre,
            "wg0",
        ),
        // An interface that went meanwhile: nothing is known of what ran behind.
        (
            hook::UPLINK_EGRESS,
            9,
            Vantage::Uplink,
            Direction::Egress,
            NatState::Undetermined,
            "if9",
        ),
    ] {
        let row = row(key4(code, scope, 6, (1, 2)), record());
        assert_eq!(
            (row.vantage, row.direction, row.nat_state),
            (vantage, direction, nat_state)
        );
        assert_eq!(row.interface.as_deref(), Some(interface));
        assert_eq!((row.pod_uid, row.cgroup_id), (None, None));
    }
    let unknown = Drained {
        flows4: [(key4(99, 2, 6, (1, 2)), record())].into(),
        ..Drained::default()
    };
    assert_eq!(flow_rows(&interval(), &unknown, |_| Owner::default()), []);
}

#[test]
fn icmp_shows_identifier_and_type_and_protocols_their_names() {
    let echo = row(key4(hook::UPLINK_EGRESS, 2, 1, (4711, 8 * 256)), record());
    assert_eq!(
        (echo.protocol.as_str(), echo.src_port, echo.dst_port),
        ("icmp", 4711, 2048)
    );
    for (number, name) in [
        (6, "tcp"),
        (17, "udp"),
        (58, "icmpv6"),
        (132, "sctp"),
        (89, "89"),
    ] {
        assert_eq!(protocol_name(number), name);
    }
}

#[test]
fn outer_packets_of_tunnels_are_named_at_the_uplink_only() {
    for (protocol, port, name) in [
        (17, 8472, Some("vxlan")),
        (17, 6081, Some("geneve")),
        (17, 4789, None),
        (6, 8472, None),
        (4, 0, Some("ipip")),
        (41, 0, Some("sit")),
        (47, 0, Some("gre")),
        (50, 0, None),
    ] {
        let outer = row(key4(hook::UPLINK_EGRESS, 2, protocol, (1, port)), record());
        assert_eq!(outer.encapsulation.as_deref(), name, "{protocol} {port}");
        let inner = row(key4(hook::TUNNEL_INGRESS, 3, protocol, (1, port)), record());
        assert_eq!(inner.encapsulation, None);
    }
}

#[test]
fn ipv6_addresses_are_canonical() {
    let words = |text: &str| {
        let bytes = text.parse::<Ipv6Addr>().expect("an address").octets();
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*chunk);
        }
        words
    };
    let key = FlowKey6 {
        scope: 2,
        src: words("2001:db8::1"),
        dst: words("fd00:0:0:1::9"),
        src_port: 53u16.to_be(),
        dst_port: 4000u16.to_be(),
        protocol: 17,
        hook: hook::UPLINK_INGRESS,
        ..FlowKey6::default()
    };
    let drained = Drained {
        flows6: [(key, record())].into(),
        ..Drained::default()
    };
    let rows = flow_rows(&interval(), &drained, |_| Owner::default());
    assert_eq!(
        (rows[0].src_address.as_str(), rows[0].src_port),
        ("2001:db8::1", 53)
    );
    assert_eq!(
        (rows[0].dst_address.as_str(), rows[0].dst_port),
        ("fd00:0:0:1::9", 4000)
    );
}

#[test]
fn a_last_packet_lies_between_the_first_and_the_intervals_end() {
    let interval = interval();
    let first_ns = 1_000_500_000_000;
    let at = |first, last| interval.last_seen_us(first_ns, first, last);
    assert_eq!(at(100, 100), 1_000_500_000);
    assert_eq!(at(100, 150), 1_000_700_000);
    // The tick counter's low half wraps.
    assert_eq!(at(u32::MAX - 9, 15), 1_000_600_000);
    // Ticks are coarse: a packet is never after the interval, nor before the first.
    assert_eq!(at(100, 100_000), interval.end_us);
    assert_eq!(at(100, 99), 1_000_500_000);
    // A first packet after the end, by clocks that were read a moment apart, stays consistent.
    assert_eq!(
        interval.last_seen_us(1_001_500_000_000, 1, 5),
        1_001_500_000
    );
}

#[test]
fn rows_come_in_one_order_whatever_the_maps_order_is() {
    let flows = |ports: &[u16]| {
        let flows4 = ports
            .iter()
            .map(|port| (key4(hook::UPLINK_EGRESS, 2, 6, (*port, 443)), record()));
        let drained = Drained {
            flows4: flows4.collect(),
            ..Drained::default()
        };
        flow_rows(&interval(), &drained, |_| Owner::default())
    };
    let ports: Vec<u16> = (1..200).collect();
    let reversed: Vec<u16> = ports.iter().rev().copied().collect();
    let rows = flows(&ports);
    assert_eq!(rows, flows(&reversed));
    assert!(rows.is_sorted_by_key(|row| row.src_port));
}
