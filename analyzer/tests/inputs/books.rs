//! The books against a model of an uplink that knows every packet.

use analyzer::books::{Balance, Basis, Books, BooksReport};
use proptest::collection::vec;
use proptest::prelude::*;
use trace_schema::flows::{Direction, FlowRow};
use trace_schema::ledger::{Count, LedgerRow, Vantage};

use crate::rows::{flow, ledger};

const LINK: i64 = 14;
const HEADERS: i64 = 52;

/// Buffers that pass in one interval, each so many segments of so much payload.
type Traffic = Vec<(i64, i64)>;

fn traffic() -> impl Strategy<Value = Vec<Traffic>> {
    vec(vec((1_i64..44, 1_i64..1448), 0..12), 1..8)
}

fn count(buffers: &[(i64, i64)]) -> Count {
    let mut count = Count::default();
    for (segments, payload) in buffers {
        count.packets += segments;
        count.bytes += segments * (payload + HEADERS);
        count.buffers += 1;
        count.buffer_bytes += segments * payload + HEADERS;
    }
    count
}

/// What the driver's counter shows of it.
fn kernel(count: Count, basis: Basis) -> (i64, i64) {
    match basis {
        Basis::Packets => (count.packets, count.bytes + LINK * count.packets),
        Basis::Buffers => (count.buffers, count.buffer_bytes + LINK * count.buffers),
    }
}

fn row(second: usize, passed: &[(i64, i64)], basis: Basis) -> LedgerRow {
    let counted = count(passed);
    let (packets, bytes) = kernel(counted, basis);
    LedgerRow {
        counted,
        kernel_packets: Some(packets),
        kernel_bytes: Some(bytes),
        ..ledger(i64::try_from(second).expect("a small number"))
    }
}

fn report(rows: &[LedgerRow]) -> BooksReport {
    let mut books = Books::default();
    for (second, row) in rows.iter().enumerate().rev() {
        books.add_ledger(row);
        books.add_flow(&flow(
            i64::try_from(second).expect("a small number"),
            row.counted,
        ));
    }
    books.report()
}

#[test]
fn flows_that_were_rolled_up_balance_against_each_interval_of_the_ledger() {
    let rows: Vec<LedgerRow> = (0..6)
        .map(|second| row(second, &[(1, 100)], Basis::Packets))
        .collect();
    let rolled_up = |last: i64| {
        let mut books = Books::default();
        rows.iter().for_each(|row| books.add_ledger(row));
        let two = FlowRow {
            interval_end_us: rows[2].interval_end_us,
            ..flow(0, count(&[(1, 100), (1, 100), (1, 100)]))
        };
        let three = FlowRow {
            interval_end_us: rows[5].interval_end_us,
            ..flow(3, count(&[(1, 100), (1, 100), (1, last)]))
        };
        books.add_flow(&two);
        books.add_flow(&three);
        books.report()
    };
    assert_eq!(rolled_up(100).balance, Balance::Balanced);
    let off = rolled_up(99);
    assert_eq!(
        off.flow_sums[0].first_difference_us,
        Some(rows[3].interval_start_us)
    );
    assert_eq!(
        off.flow_sums[0].reason.as_deref(),
        Some("flows and ledger differ in 1 of 2 intervals")
    );
}

proptest! {
    #[test]
    fn complete_books_balance_exactly(traffic in traffic(), by_packets in any::<bool>()) {
        let basis = if by_packets { Basis::Packets } else { Basis::Buffers };
        let rows = traffic.iter().enumerate().map(|(second, passed)| row(second, passed, basis));
        let rows = rows.collect::<Vec<_>>();
        let report = report(&rows);
        prop_assert_eq!(report.balance, Balance::Balanced);
        let account = &report.accounts[0];
        let residual = account.residual().expect("the kernel was read");
        prop_assert_eq!((residual.packets, residual.bytes), (0, 0));
        let is_told_apart = account.passed.packets != account.passed.buffers;
        prop_assert!(!is_told_apart || account.basis == Some(basis));
        prop_assert!(report.gaps.is_empty());
    }

    #[test]
    fn what_stands_in_no_flow_is_in_the_books(
        traffic in traffic(),
        turned_away in vec((1_i64..44, 1_i64..1448), 1..4),
        arp_frames in 1_i64..4,
    ) {
        let mut rows = (0..).zip(&traffic).map(|(second, passed)| row(second, passed, Basis::Packets));
        let mut first = rows.next().expect("an interval");
        let mut rows = rows.collect::<Vec<_>>();
        first.overflow = count(&turned_away);
        let arp_bytes = 28 * arp_frames;
        first.non_ip = Count { packets: arp_frames, bytes: arp_bytes, buffers: arp_frames, buffer_bytes: arp_bytes };
        let (packets, bytes) = kernel(first.overflow, Basis::Packets);
        first.kernel_packets = first.kernel_packets.map(|known| known + packets + arp_frames);
        first.kernel_bytes = first.kernel_bytes.map(|known| known + bytes + arp_bytes + LINK * arp_frames);
        rows.insert(0, first);
        let report = report(&rows);
        prop_assert_eq!(report.balance, Balance::Balanced);
        prop_assert!(!report.losses[0].is_lossless());
        prop_assert_eq!(report.losses[0].overflow, count(&turned_away));
    }

    #[test]
    fn the_boundary_is_allowed_and_no_more(
        traffic in traffic(),
        boundary in 0_i64..5,
        beyond in 1_i64..4,
    ) {
        let rows = traffic.iter().enumerate().map(|(second, passed)| row(second, passed, Basis::Packets));
        let mut rows = rows.collect::<Vec<_>>();
        let last = rows.len() - 1;
        rows[last].boundary_packets = Some(boundary);
        rows[last].boundary_bytes = Some(boundary * 1514);
        // A single row is the first and the last: its boundary counts at both ends.
        let ends = if last == 0 { 2 } else { 1 };
        let shift = |rows: &mut Vec<LedgerRow>, packets: i64| {
            rows[last].kernel_packets = rows[last].kernel_packets.map(|known| known + packets);
            rows[last].kernel_bytes = rows[last].kernel_bytes.map(|known| known + packets * 1514);
        };
        shift(&mut rows, boundary * ends);
        prop_assert_eq!(report(&rows).balance, Balance::Balanced);
        // More than any basis explains: GSO traffic has fewer buffers than packets, never more.
        shift(&mut rows, beyond);
        let report = report(&rows);
        prop_assert_eq!(report.balance, Balance::Off);
        let reason = report.accounts[0].reason.clone().unwrap_or_default();
        prop_assert!(reason.starts_with(&format!("off by -{beyond} packets")), "{}", reason);
    }

    #[test]
    fn drops_behind_the_hook_bound_the_bytes(traffic in traffic(), by_packets in any::<bool>()) {
        let basis = if by_packets { Basis::Packets } else { Basis::Buffers };
        let rows = traffic.iter().enumerate().map(|(second, passed)| {
            let mut row = row(second, passed, basis);
            if let Some(dropped) = passed.first() {
                let (packets, bytes) = kernel(count(&[*dropped]), basis);
                row.kernel_packets = row.kernel_packets.map(|known| known - packets);
                row.kernel_bytes = row.kernel_bytes.map(|known| known - bytes);
                row.dropped_behind_packets = Some(1);
            }
            row
        });
        let rows = rows.collect::<Vec<_>>();
        let report = report(&rows);
        prop_assert_eq!(report.balance, Balance::Balanced, "{:?}", report.accounts[0]);
    }
}

#[test]
fn a_wire_that_sent_less_is_off() {
    let mut lost = row(0, &[(1, 1000), (1, 1000)], Basis::Packets);
    lost.kernel_packets = Some(1);
    lost.kernel_bytes = Some(1066);
    let found = report(&[lost.clone()]);
    assert_eq!(found.balance, Balance::Off);
    assert_eq!(
        found.accounts[0].reason.as_deref(),
        Some("off by 1 packets and 1066 bytes")
    );
    lost.dropped_behind_packets = None;
    assert_eq!(report(&[lost.clone()]).balance, Balance::Inconclusive);
    lost.kernel_packets = None;
    assert_eq!(report(&[lost]).balance, Balance::Inconclusive);
    assert_eq!(report(&[]).balance, Balance::Inconclusive);
}

#[test]
fn flows_must_add_up_to_the_ledger() {
    let rows = [
        row(0, &[(1, 100)], Basis::Packets),
        row(1, &[(1, 100)], Basis::Packets),
    ];
    let check = |flows: &[(i64, Count)], expected: Balance, first: Option<i64>| {
        let mut books = Books::default();
        rows.iter().for_each(|row| books.add_ledger(row));
        flows
            .iter()
            .for_each(|(second, count)| books.add_flow(&flow(*second, *count)));
        let report = books.report();
        assert_eq!(report.flow_sums.len(), 1);
        let sum = &report.flow_sums[0];
        let second = |second: i64| ledger(second).interval_start_us;
        assert_eq!(
            (sum.balance, sum.first_difference_us),
            (expected, first.map(second)),
            "{sum:?}"
        );
    };
    let one = count(&[(1, 100)]);
    check(&[(0, one), (1, one)], Balance::Balanced, None);
    check(&[(0, one), (1, count(&[(1, 101)]))], Balance::Off, Some(1));
    check(&[(1, one)], Balance::Off, Some(0));
    // What a killed probe leaves: the last interval in one of the two tables.
    check(&[(0, one)], Balance::Inconclusive, Some(1));
    check(
        &[(0, one), (1, one), (2, one)],
        Balance::Inconclusive,
        Some(2),
    );
}

#[test]
fn flows_of_no_ledger_are_off() {
    let mut books = Books::default();
    books.add_flow(&flow(0, count(&[(1, 100)])));
    books.add_flow(&flow(1, count(&[(1, 100)])));
    assert_eq!(books.report().balance, Balance::Off);
}

#[test]
fn ingress_has_no_drops_behind() {
    let ingress = LedgerRow {
        direction: Some(Direction::Ingress),
        dropped_behind_packets: None,
        ..row(0, &[(10, 1000)], Basis::Buffers)
    };
    let mut books = Books::default();
    books.add_ledger(&ingress);
    let report = books.report();
    assert_eq!(report.accounts[0].balance, Balance::Balanced);
    assert_eq!(report.accounts[0].basis, Some(Basis::Buffers));
}

#[test]
fn link_headers_may_be_missing_of_what_a_virtual_function_received() {
    let balance = |virtual_function: Option<&str>, direction, left_out_bytes: i64| {
        let mut books = Books::default();
        let whole = row(0, &[(10, 1000), (3, 500)], Basis::Buffers);
        books.add_ledger(&LedgerRow {
            direction: Some(direction),
            virtual_function: virtual_function.map(str::to_owned),
            kernel_bytes: whole.kernel_bytes.map(|bytes| bytes - left_out_bytes),
            dropped_behind_packets: None,
            ..whole
        });
        books.report().accounts[0].balance
    };
    let (function, ingress) = (Some("enP1s0"), Direction::Ingress);
    for left_out_bytes in [0, 14, 28] {
        let found = balance(function, ingress, left_out_bytes);
        assert_eq!(found, Balance::Balanced, "{left_out_bytes}");
    }
    for left_out_bytes in [-1, 29] {
        assert_eq!(balance(function, ingress, left_out_bytes), Balance::Off);
    }
    assert_eq!(balance(None, ingress, 14), Balance::Off);
    let sent = balance(function, Direction::Egress, 14);
    assert_ne!(sent, Balance::Balanced, "it counts them whole");
}

#[test]
fn the_wire_is_evidence_and_no_account() {
    let wire = LedgerRow {
        vantage: Vantage::Wire,
        direction: None,
        hook_misses: Some(3),
        ..row(0, &[(1, 9)], Basis::Packets)
    };
    let mut books = Books::default();
    books.add_ledger(&wire);
    let report = books.report();
    assert!(report.accounts.is_empty() && report.flow_sums.is_empty());
    assert_eq!(report.balance, Balance::Inconclusive);
    assert_eq!(report.losses[0].hook_misses, 3);
    assert_eq!(report.watches.len(), 1);
}

#[test]
fn books_that_went_with_a_full_spool_are_a_doubt_and_a_gap() {
    let traffic = [(3, 1000)];
    let rows: Vec<LedgerRow> = (0..6)
        .map(|second| row(second, &traffic, Basis::Packets))
        .collect();
    let mut books = Books::default();
    for (second, row) in (0..).zip(&rows) {
        // Two intervals' books went, the flows of the second had been shipped.
        if !(2..4).contains(&second) {
            let spool_dropped_rows = if second == 4 { 9 } else { 0 };
            books.add_ledger(&LedgerRow {
                spool_dropped_rows,
                ..row.clone()
            });
        }
        if second != 2 {
            books.add_flow(&flow(second, row.counted));
        }
    }
    let report = books.report();
    assert_eq!(report.flow_sums[0].balance, Balance::Inconclusive);
    assert_eq!(report.losses[0].spool_dropped_rows, 9);
    assert_eq!(report.gaps.len(), 1);
    assert!(!report.losses[0].is_lossless());
}
