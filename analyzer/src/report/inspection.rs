//! What a dataset holds and its books, as tables of 100 columns; the last line sums up.

use std::fmt::Write as _;

use super::quantity::{bytes, count, duration};
use super::table::table;
use crate::books::{Account, Balance, BooksReport, Series};
use crate::input::inspection::Inspection;
use crate::verdict::{Moment, vantage_name};
use trace_schema::flows::Direction;

/// Renders an inspection.
pub fn render(inspection: &Inspection) -> String {
    let mut text = String::new();
    tables(inspection, &mut text);
    runs(inspection, &mut text);
    accounts(&inspection.books, &mut text);
    flow_sums(&inspection.books, &mut text);
    losses(&inspection.books, &mut text);
    for loss in &inspection.books.losses {
        if loss.spool_dropped_rows > 0 {
            let rows = count(loss.spool_dropped_rows);
            let _ = writeln!(
                text,
                "Spool: {} gave up {rows} rows when it was full",
                loss.node
            );
        }
    }
    for gap in &inspection.books.gaps {
        let _ = writeln!(
            text,
            "Gap: {} was not watched from {} for {}",
            series(&gap.series),
            Moment(gap.from_us),
            duration(gap.until_us - gap.from_us)
        );
    }
    let _ = writeln!(
        text,
        "{}: {}",
        verdict(inspection.books.balance),
        summary(&inspection.books)
    );
    text
}

fn tables(inspection: &Inspection, text: &mut String) {
    let time = |at_us: Option<i64>| at_us.map_or_else(|| "–".to_owned(), |at| second(Moment(at)));
    let rows = inspection
        .tables
        .iter()
        .map(|held| {
            let nodes: Vec<&str> = held.nodes.iter().map(String::as_str).collect();
            vec![
                held.table.clone(),
                count(i64::try_from(held.files).unwrap_or(i64::MAX)),
                if held.is_known {
                    count(held.rows.cast_signed())
                } else {
                    "not read".to_owned()
                },
                nodes.join(", "),
                time(held.first_us),
                time(held.last_us),
            ]
        })
        .collect();
    let header = ["table", "files", "rows", "nodes", "first", "last"];
    let _ = writeln!(text, "Tables\n{}", table(&header, &[1, 2], rows));
}

fn runs(inspection: &Inspection, text: &mut String) {
    if inspection.runs.is_empty() {
        return;
    }
    let rows = inspection
        .runs
        .iter()
        .map(|run| {
            vec![
                run.id.clone(),
                run.case.clone(),
                format!("{} {}", run.tool, run.tool_version),
                run.client_pod.clone().unwrap_or_default(),
                second(Moment(run.start_us)),
                duration(run.end_us - run.start_us),
            ]
        })
        .collect();
    let header = ["run", "case", "tool", "client", "start", "length"];
    let _ = writeln!(text, "Load runs\n{}", table(&header, &[5], rows));
}

fn accounts(books: &BooksReport, text: &mut String) {
    let row = |account: &Account| {
        let known = |figure: Option<i64>| figure.map_or_else(|| "–".to_owned(), count);
        let residual = account.residual();
        vec![
            series(&account.series),
            count(account.passed.packets),
            count(account.passed.buffers),
            known(account.kernel_packets),
            count(account.dropped_behind_packets),
            known(residual.map(|residual| residual.packets)),
            known(residual.map(|residual| residual.bytes)),
            balance(account.balance, account.reason.as_deref()),
        ]
    };
    let header = [
        "uplink",
        "packets",
        "buffers",
        "kernel",
        "dropped",
        "± packets",
        "± bytes",
        "books",
    ];
    let rows = books.accounts.iter().map(row).collect();
    let _ = writeln!(
        text,
        "Uplinks against the kernel\n{}",
        table(&header, &[1, 2, 3, 4, 5, 6], rows)
    );
}

fn flow_sums(books: &BooksReport, text: &mut String) {
    let rows = books
        .flow_sums
        .iter()
        .map(|sum| {
            vec![
                series(&sum.series),
                count(sum.counted.packets),
                count(sum.flows.packets),
                bytes(sum.counted.bytes),
                bytes(sum.flows.bytes),
                balance(sum.balance, sum.reason.as_deref()),
            ]
        })
        .collect();
    let header = [
        "hook",
        "ledger's packets",
        "flows' packets",
        "ledger's bytes",
        "flows' bytes",
        "books",
    ];
    let _ = writeln!(
        text,
        "Flows against the ledger\n{}",
        table(&header, &[1, 2, 3, 4], rows)
    );
}

fn losses(books: &BooksReport, text: &mut String) {
    let rows: Vec<Vec<String>> = books
        .losses
        .iter()
        .map(|loss| {
            vec![
                format!("{} {}", loss.node, vantage_name(loss.vantage)),
                count(loss.overflow.packets),
                count(loss.non_ip.packets),
                count(loss.ip_unparsed.packets),
                format!(
                    "{} / {} / {}",
                    count(loss.pairing_missed),
                    count(loss.pairing_ambiguous),
                    count(loss.pairing_overflow)
                ),
                count(loss.ring_drops),
                count(loss.hook_misses),
                format!(
                    "{} of {}",
                    count(loss.map_entries),
                    count(loss.map_capacity)
                ),
            ]
        })
        .collect();
    let header = [
        "hook",
        "overflow",
        "non-IP",
        "unparsed",
        "unpaired / ambiguous / no room",
        "ring drops",
        "missed runs",
        "most flows",
    ];
    let _ = writeln!(
        text,
        "Losses\n{}",
        table(&header, &[1, 2, 3, 4, 5, 6, 7], rows)
    );
}

/// A moment to the second.
fn second(moment: Moment) -> String {
    let text = moment.to_string();
    text.split_once('.')
        .map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

fn series(series: &Series) -> String {
    let direction = match series.direction {
        Some(Direction::Ingress) => " ingress",
        Some(Direction::Egress) => " egress",
        None => "",
    };
    let interface = series
        .interface
        .as_deref()
        .map(|name| format!(" {name}"))
        .unwrap_or_default();
    format!(
        "{} {}{interface}{direction}",
        series.node,
        vantage_name(series.vantage)
    )
}

fn balance(balance: Balance, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{}: {reason}", verdict(balance).to_lowercase()),
        None => verdict(balance).to_lowercase(),
    }
}

fn verdict(balance: Balance) -> &'static str {
    match balance {
        Balance::Balanced => "BALANCED",
        Balance::Inconclusive => "INCONCLUSIVE",
        Balance::Off => "OFF",
    }
}

fn summary(books: &BooksReport) -> String {
    let balanced = books
        .accounts
        .iter()
        .filter(|account| account.balance == Balance::Balanced)
        .count();
    let sums = books
        .flow_sums
        .iter()
        .filter(|sum| sum.balance == Balance::Balanced)
        .count();
    format!(
        "{balanced} of {} uplinks agree with the kernel, {sums} of {} hooks with their flows",
        books.accounts.len(),
        books.flow_sums.len()
    )
}
