//! Real iperf3 results against flows that a model of the socket makes from them.

use analyzer::input::iperf3::{Iperf3Result, Stream, Way};
use analyzer::reconcile::{Agreement, Reconciliation, reconcile};
use proptest::prelude::*;
use trace_schema::flows::{Direction, FlowRow};
use trace_schema::ledger::{Count, Vantage};

use crate::iperf3::sample;
use crate::rows::flow;

const TCP_HEADERS: i64 = 52;
const UDP_HEADERS: i64 = 28;
const MSS: i64 = 1448;

/// Flow rows of a stream that carried so much payload in the direction of its data.
fn data_flow(stream: &Stream, protocol: &str, count: Count) -> FlowRow {
    let (source, destination, direction) = match stream.way {
        Way::Sent => (&stream.local, &stream.remote, Direction::Egress),
        Way::Received => (&stream.remote, &stream.local, Direction::Ingress),
    };
    FlowRow {
        vantage: Vantage::Pod,
        interface: None,
        direction,
        protocol: protocol.to_owned(),
        src_address: source.address.clone(),
        dst_address: destination.address.clone(),
        src_port: i32::from(source.port),
        dst_port: i32::from(destination.port),
        ..flow(0, count)
    }
}

/// Full segments, one that holds the rest, a SYN with its options, an ACK and a FIN.
fn tcp(payload: i64, retransmitted: i64) -> Count {
    let packets = payload / MSS + 1 + retransmitted + 3;
    let bytes = payload + retransmitted * MSS + packets * TCP_HEADERS + 8;
    Count {
        packets,
        bytes,
        buffers: packets,
        buffer_bytes: bytes,
    }
}

fn udp(payload: i64, datagrams: i64) -> Count {
    let bytes = payload + datagrams * UDP_HEADERS;
    Count {
        packets: datagrams,
        bytes,
        buffers: datagrams,
        buffer_bytes: bytes,
    }
}

fn check(run: &Iperf3Result, flows: &[FlowRow], lost: i64, expected: Agreement) -> Reconciliation {
    let found = reconcile(run, flows, lost);
    assert_eq!(found.agreement, expected, "{found:#?}");
    found
}

#[test]
fn a_sender_with_retransmissions_agrees() {
    let run = sample("tcp");
    let stream = &run.streams[0];
    let payload = stream.interval_bytes + 37;
    let rows = [data_flow(stream, "tcp", tcp(payload, 27_712))];
    let found = check(&run, &rows, 0, Agreement::Agree);
    let comparison = &found.streams[0].comparison;
    assert_eq!(comparison.iperf3_bytes, 145_028_736);
    assert_eq!(comparison.retransmitted_segments, 27_712);
    // The estimate leaves the cookie and the eight bytes of the SYN's further options.
    assert_eq!(comparison.difference_bytes, 37 + 8);
    let (least, most) = comparison.payload_range_bytes;
    assert!((least..=most).contains(&payload), "{least}..{most}");
    assert!(comparison.relative_difference < 1e-5);
    assert_eq!(found.totals.len(), 1);
    assert_eq!(found.totals[0].comparison.agreement, Some(Agreement::Agree));
}

#[test]
fn missing_and_surplus_flows_disagree() {
    let run = sample("tcp_P4");
    let rows = |payload: fn(i64) -> i64| {
        let rows = run.streams.iter().map(|stream| {
            let payload = payload(stream.interval_bytes + 37);
            data_flow(
                stream,
                "tcp",
                tcp(payload, stream.retransmits.unwrap_or_default()),
            )
        });
        rows.collect::<Vec<_>>()
    };
    check(&run, &rows(|payload| payload), 0, Agreement::Agree);
    check(
        &run,
        &rows(|payload| payload + payload / 10),
        0,
        Agreement::Disagree,
    );
    // The receiver read more than this.
    let short = rows(|payload| payload * 8 / 10);
    check(&run, &short, 0, Agreement::Disagree);
    let found = check(&run, &short, 5, Agreement::Inconclusive);
    let reason = found.streams[0].comparison.reason.as_deref();
    assert_eq!(reason, Some("the pod vantage lost 5 packets meanwhile"));
    check(&run, &[], 0, Agreement::Inconclusive);
}

#[test]
fn both_directions_are_held_apart() {
    let run = sample("tcp_bidir");
    let rows = run.streams.iter().map(|stream| {
        let again = if stream.way == Way::Sent {
            stream.retransmits.unwrap_or_default()
        } else {
            0
        };
        data_flow(stream, "tcp", tcp(stream.interval_bytes, again))
    });
    let rows = rows.collect::<Vec<_>>();
    let found = reconcile(&run, &rows, 0);
    let ways = found
        .totals
        .iter()
        .map(|total| total.way)
        .collect::<Vec<_>>();
    assert_eq!(ways, [Way::Sent, Way::Received]);
    // The client does not know the path MTU of what it receives; the mean packet tells.
    let received = &found.streams[1].comparison;
    assert_eq!(received.agreement, Some(Agreement::Agree), "{received:#?}");
}

#[test]
fn datagrams_agree_to_the_byte() {
    let run = sample("udp");
    let stream = &run.streams[0];
    let exact = data_flow(stream, "udp", udp(49_990_752 + 4, 34_524 + 1));
    let found = check(&run, &[exact], 0, Agreement::Agree);
    assert_eq!(found.streams[0].comparison.difference_bytes, 4);
    let one_less = data_flow(stream, "udp", udp(49_990_752 - 1448, 34_523));
    check(&run, &[one_less], 0, Agreement::Disagree);
}

#[test]
fn the_control_connection_is_named() {
    let run = sample("udp");
    let stream = &run.streams[0];
    let data = data_flow(stream, "udp", udp(49_990_752, 34_524));
    let count = Count {
        packets: 3,
        bytes: 500,
        buffers: 3,
        buffer_bytes: 500,
    };
    let sent = FlowRow {
        src_port: 40_001,
        ..data_flow(stream, "tcp", count)
    };
    let received = FlowRow {
        direction: Direction::Ingress,
        src_address: sent.dst_address.clone(),
        dst_address: sent.src_address.clone(),
        src_port: sent.dst_port,
        dst_port: sent.src_port,
        bytes: 700,
        ..sent.clone()
    };
    let other = FlowRow {
        dst_port: 443,
        ..sent.clone()
    };
    let found = reconcile(&run, &[data, sent, received, other], 0);
    let [control] = &found.control[..] else {
        panic!("one control connection: {found:#?}")
    };
    assert_eq!((control.local.port, control.remote.port), (40_001, 5299));
    assert_eq!((control.sent_bytes, control.received_bytes), (500, 700));
}

#[test]
fn a_run_that_measured_nothing_is_inconclusive() {
    check(&sample("err_refused"), &[], 0, Agreement::Inconclusive);
}

proptest! {
    #[test]
    fn the_truth_is_never_outside_the_range(
        full in 1_i64..20_000,
        short in prop::collection::vec(1_i64..MSS, 0..200),
        again in 0_i64..500,
    ) {
        let run = sample("tcp");
        let mut run = Iperf3Result { omitted_seconds: 0.0, ..run };
        let payload = full * MSS + short.iter().sum::<i64>();
        let again = again.min(full);
        let segments = full + i64::try_from(short.len()).expect("few");
        let packets = segments + again + 3;
        let bytes = payload + 37 + again * MSS + packets * TCP_HEADERS + 8;
        let stream = &mut run.streams[0];
        stream.interval_bytes = payload;
        stream.interval_retransmits = Some(again);
        stream.sent = stream.sent.map(|rate| analyzer::input::iperf3::Rate { bytes: payload, ..rate });
        stream.received = stream.sent;
        let count = Count { packets, bytes, buffers: packets, buffer_bytes: bytes };
        let found = reconcile(&run, &[data_flow(&run.streams[0], "tcp", count)], 0);
        let comparison = &found.streams[0].comparison;
        let (least, most) = comparison.payload_range_bytes;
        prop_assert!((least..=most).contains(&(payload + 37)), "{} not in {}..{}", payload, least, most);
        prop_assert_ne!(comparison.agreement, Some(Agreement::Disagree));
    }
}
