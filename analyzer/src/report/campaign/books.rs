//! The books: what every uplink counted against the kernel's counters.

use trace_schema::Named as _;
use trace_schema::ledger::Vantage;
use trace_schema::manifest::RunManifest;

use super::table::{Cell, Table};
use super::{Figure, Source};
use crate::books::{Account, Balance, BooksReport, Gap, Series};
use crate::figures::{DotPlot, DotRow, Observation, Plot, Quantity as Named, ReferenceLine, Unit};
use crate::stats::Interval;
use crate::verdict::Moment;

/// Accounts that the figure draws.
const MOST_ACCOUNTS: usize = 30;
/// Gaps that are named.
const MOST_GAPS: usize = 10;

/// The figure.
pub(super) fn balance(books: &BooksReport, manifests: &[RunManifest]) -> Figure {
    let mut figure = Figure::new(
        "books",
        "The books",
        "For every uplink, counted + overflow + non-IP + unparsed = the kernel's interface counter + what was dropped behind the hook. A mark is what is left over, in packets; the band is what the readings at both ends leave open. A mark outside its band means that packets are missing or counted twice.",
    );
    figure.source = Source::new(
        "sums of table ledger by uplink and direction against the kernel's counters, and of table flows against the ledger (`weighbridge inspect`)",
        &["ledger", "flows"],
    );
    figure.tables = vec![accounts(books), flow_sums(books), losses(books)];
    figure.tables.retain(|table| !table.rows.is_empty());
    figure.notes = gaps(books, manifests);
    let mut drawn: Vec<&Account> = books
        .accounts
        .iter()
        .filter(|account| account.residual().is_some())
        .collect();
    if drawn.is_empty() {
        return figure.without(
            "no uplink has rows in table ledger with the kernel's counters",
            "weighbridge-probe run",
        );
    }
    drawn.sort_by_key(|account| std::cmp::Reverse(account.balance));
    let beyond = drawn.len().saturating_sub(MOST_ACCOUNTS);
    if beyond > 0 {
        figure.notes.push(format!(
            "{beyond} more uplinks are not drawn, those that balance first; the table lists them"
        ));
    }
    drawn.truncate(MOST_ACCOUNTS);
    drawn.sort_by(|one, other| one.series.cmp(&other.series));
    figure.plots.push(Plot::Dots(DotPlot {
        title: "Packets left over by uplink".to_owned(),
        quantity: Named::new("counted less kernel and drops", Unit::Packets),
        mark: "left over".to_owned(),
        references: vec![ReferenceLine {
            name: "balanced".to_owned(),
            value: 0.0,
        }],
        rows: drawn.into_iter().filter_map(row).collect(),
    }));
    figure
}

/// When nobody watched. Between the runs of a campaign nobody need: those gaps are counted and not
/// named.
fn gaps(books: &BooksReport, manifests: &[RunManifest]) -> Vec<String> {
    let is_campaign = manifests.iter().any(|run| !run.campaign.is_empty());
    // One node of a kernel writes its profile, whichever was first.
    let gaps = books.gaps.iter();
    let gaps = gaps.filter(|gap| gap.series.vantage != Vantage::Profile);
    let matters = |gap: &&Gap| {
        let mut runs = manifests.iter();
        !is_campaign || runs.any(|run| gap.from_us < run.end_us && run.start_us < gap.until_us)
    };
    let (within, between): (Vec<&Gap>, Vec<&Gap>) = gaps.partition(matters);
    let named = within.iter().take(MOST_GAPS).map(|gap| {
        format!(
            "nobody watched {} from {} to {}",
            series_name(&gap.series),
            Moment(gap.from_us),
            Moment(gap.until_us)
        )
    });
    let mut notes: Vec<String> = named.collect();
    let more = within.len().saturating_sub(MOST_GAPS);
    if more > 0 {
        notes.push(format!(
            "{more} more gaps: `weighbridge inspect` lists them"
        ));
    }
    if !between.is_empty() {
        notes.push(format!(
            "{} gaps lie between the campaign's runs, when nobody need be watching",
            between.len()
        ));
    }
    notes
}

fn row(account: &Account) -> Option<DotRow> {
    let residual = account.residual()?;
    let name = series_name(&account.series);
    Some(DotRow {
        style: if account.balance == Balance::Balanced {
            2
        } else {
            5
        },
        observations: vec![Observation {
            name: name.clone(),
            value: residual.packets as f64,
            is_outlier: false,
        }],
        name,
        mean: None,
        expected: None,
        allowed: Some(Interval {
            low: residual.packets_at_least as f64,
            high: residual.packets_at_most as f64,
        }),
    })
}

fn series_name(series: &Series) -> String {
    let interface = series.interface.as_deref().unwrap_or("");
    let direction = series.direction.map_or("", |direction| direction.name());
    let parts = [
        series.node.as_str(),
        series.vantage.name(),
        interface,
        direction,
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

fn balance_name(balance: Balance) -> &'static str {
    match balance {
        Balance::Balanced => "balanced",
        Balance::Inconclusive => "inconclusive",
        Balance::Off => "off",
    }
}

fn accounts(books: &BooksReport) -> Table {
    let packets = Some(Unit::Packets);
    let mut table = Table::new(
        "Uplinks against the kernel",
        &[
            ("uplink", None),
            ("balance", None),
            ("passed the hook", packets),
            ("of which counted", packets),
            ("kernel", packets),
            ("dropped behind the hook", packets),
            ("left over", packets),
            ("allowed from", packets),
            ("allowed to", packets),
            ("bytes left over", Some(Unit::Bytes)),
            ("why", None),
        ],
    );
    for account in &books.accounts {
        let residual = account.residual();
        let cell = |value: Option<i64>| value.map_or(Cell::Empty, Cell::count);
        table.rows.push(vec![
            Cell::text(series_name(&account.series)),
            Cell::text(balance_name(account.balance)),
            Cell::count(account.passed.packets),
            Cell::count(account.counted.packets),
            cell(account.kernel_packets),
            Cell::count(account.dropped_behind_packets),
            cell(residual.map(|residual| residual.packets)),
            cell(residual.map(|residual| residual.packets_at_least)),
            cell(residual.map(|residual| residual.packets_at_most)),
            cell(residual.map(|residual| residual.bytes)),
            account.reason.as_deref().map_or(Cell::Empty, Cell::text),
        ]);
    }
    table
}

fn flow_sums(books: &BooksReport) -> Table {
    let packets = Some(Unit::Packets);
    let mut table = Table::new(
        "Table flows against the ledger",
        &[
            ("where", None),
            ("balance", None),
            ("ledger", packets),
            ("flows", packets),
            ("difference", packets),
            ("ledger bytes", Some(Unit::Bytes)),
            ("why", None),
        ],
    );
    for sum in &books.flow_sums {
        table.rows.push(vec![
            Cell::text(series_name(&sum.series)),
            Cell::text(balance_name(sum.balance)),
            Cell::count(sum.counted.packets),
            Cell::count(sum.flows.packets),
            Cell::count(sum.difference.packets),
            Cell::count(sum.counted.bytes),
            sum.reason.as_deref().map_or(Cell::Empty, Cell::text),
        ]);
    }
    table
}

fn losses(books: &BooksReport) -> Table {
    let count = Some(Unit::Count);
    let mut table = Table::new(
        "What was lost",
        &[
            ("node", None),
            ("vantage", None),
            ("overflow", count),
            ("IP unparsed", count),
            ("not IP", count),
            ("pairing missed", count),
            ("pairing ambiguous", count),
            ("pairing overflow", count),
            ("ring drops", count),
            ("hook misses", count),
        ],
    );
    for loss in &books.losses {
        table.rows.push(vec![
            Cell::text(&loss.node),
            Cell::text(loss.vantage.name()),
            Cell::count(loss.overflow.packets),
            Cell::count(loss.ip_unparsed.packets),
            Cell::count(loss.non_ip.packets),
            Cell::count(loss.pairing_missed),
            Cell::count(loss.pairing_ambiguous),
            Cell::count(loss.pairing_overflow),
            Cell::count(loss.ring_drops),
            Cell::count(loss.hook_misses),
        ]);
    }
    table
}
