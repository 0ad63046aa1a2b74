//! Figures of egress: leaks by pod over time, and gateways that moved.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Cell, Table};
use super::{Figure, Source};
use crate::figures::{
    Clock, Moment as Mark, Plot, Span, Timeline, TimelineKind, TimelineRow, Unit,
};
use crate::verdict::{EgressReport, Failover, LeakWindow, PodRollup, Verdict};

/// Pods that a timeline draws.
const MOST_PODS: usize = 40;
/// Moves that a timeline draws.
const MOST_MOVES: usize = 40;
const TABLES: [&str; 4] = ["flows", "snat", "ledger", "objects"];

/// When each pod's connections failed, and how.
pub(super) fn leaks(egress: &Result<EgressReport, String>) -> Figure {
    let mut figure = Figure::new(
        "leaks",
        "Leak timeline by pod",
        "The grey line is the time in which a pod's judged connections were up, a coloured span a stretch in which some of them failed in one way. Spans too short to see are drawn wider; the table has their times.",
    );
    figure.source = Source::new(
        "spans of failed connections by pod, policy and verdict, as `weighbridge egress` lists them",
        &TABLES,
    );
    let report = match egress {
        Ok(report) => report,
        Err(reason) => {
            return figure.without(
                reason,
                "weighbridge-probe run on every node, with weighbridge-probe record for the policies",
            );
        }
    };
    let failed: BTreeSet<Verdict> = report
        .leak_windows
        .iter()
        .map(|leak| leak.verdict)
        .collect();
    let failed: Vec<Verdict> = failed.into_iter().collect();
    let mut kinds = vec![TimelineKind {
        name: "connections up".to_owned(),
        style: None,
    }];
    kinds.extend(failed.iter().map(|verdict| TimelineKind {
        name: verdict.name().replace('_', " "),
        style: Some(*verdict as usize),
    }));
    let mut by_pod = BTreeMap::<&str, Vec<&LeakWindow>>::new();
    for leak in &report.leak_windows {
        by_pod.entry(&leak.pod).or_default().push(leak);
    }
    let mut pods: Vec<&PodRollup> = report.pods.iter().collect();
    pods.sort_by_key(|pod| {
        let leaks = by_pod.get(pod.pod.as_str());
        let first = leaks.and_then(|leaks| leaks.iter().map(|leak| leak.first).min());
        (first.is_none(), first, pod.pod.clone())
    });
    let rows: Vec<TimelineRow> = pods
        .iter()
        .take(MOST_PODS)
        .map(|pod| row(pod, by_pod.get(pod.pod.as_str()), &failed))
        .collect();
    let beyond = pods.get(MOST_PODS..).unwrap_or_default();
    let leaking = beyond
        .iter()
        .filter(|pod| by_pod.contains_key(pod.pod.as_str()));
    figure.plots.push(Plot::Timeline(Timeline {
        title: "Failed connections by pod".to_owned(),
        clock: Clock::Utc,
        kinds,
        rows,
        left_out: (!beyond.is_empty()).then(|| {
            format!(
                "{} more pods are not drawn; {} of them had failed connections, which the table lists.",
                beyond.len(),
                leaking.count()
            )
        }),
    }));
    if report.leak_windows.is_empty() {
        figure.notes.push("no judged connection failed".to_owned());
    } else {
        figure.tables.push(leak_table(report));
    }
    figure
}

fn row(pod: &PodRollup, leaks: Option<&Vec<&LeakWindow>>, failed: &[Verdict]) -> TimelineRow {
    let mut spans = vec![Span {
        of_kind: 0,
        from_us: pod.first.0,
        to_us: pod.last.0,
        name: format!(
            "{}: connections up from {} to {}",
            pod.pod, pod.first, pod.last
        ),
    }];
    for leak in leaks.into_iter().flatten() {
        let kind = failed.iter().position(|verdict| *verdict == leak.verdict);
        spans.push(Span {
            of_kind: kind.map_or(0, |kind| kind + 1),
            from_us: leak.first.0,
            to_us: leak.last.0,
            name: format!(
                "{} from {} to {}, {} connections",
                leak.verdict.name(),
                leak.first,
                leak.last,
                leak.tally.connections
            ),
        });
    }
    TimelineRow {
        name: pod.pod.clone(),
        spans,
        moments: Vec::new(),
    }
}

fn leak_table(report: &EgressReport) -> Table {
    let mut table = Table::new(
        "Stretches of failed connections",
        &[
            ("pod", None),
            ("policy", None),
            ("verdict", None),
            ("from", None),
            ("to", None),
            ("lasted", Some(Unit::Microseconds)),
            ("connections", Some(Unit::Count)),
            ("bytes", Some(Unit::Bytes)),
            ("within --grace", Some(Unit::Count)),
            ("left by", None),
        ],
    );
    for leak in &report.leak_windows {
        table.rows.push(vec![
            Cell::text(&leak.pod),
            Cell::text(&leak.policy),
            Cell::text(leak.verdict.name()),
            Cell::time(leak.first),
            Cell::time(leak.last),
            Cell::count(leak.last.0 - leak.first.0),
            Cell::count(leak.tally.connections),
            Cell::count(leak.tally.bytes),
            Cell::count(leak.in_grace),
            match &leak.exit {
                Some(exit) => Cell::text(exit.to_string()),
                None => Cell::text("several exits or none"),
            },
        ]);
    }
    table
}

/// Gateways that moved: the hole between the old one's last packet and the new one's first.
pub(super) fn failovers(egress: &Result<EgressReport, String>) -> Figure {
    let mut figure = Figure::new(
        "failover",
        "Failover timeline",
        "Around the moment at which the objects say that a policy's gateway moved, each in its own row: the last packet by the old exit, the first by the new one, and the time between them. Where both carried packets for a while the span says so.",
    );
    figure.source = Source::new(
        "changes of a policy's exit in the objects, beside what the wires saw of its connections (`weighbridge egress`)",
        &TABLES,
    );
    let moves = match egress {
        Ok(report) => &report.failovers,
        Err(reason) => {
            return figure.without(
                reason,
                "weighbridge-probe run on every node, with weighbridge-probe record for the policies",
            );
        }
    };
    if moves.is_empty() {
        return figure.without(
            "no policy's gateway moved in that time",
            "cargo xtask demo --fault gateway-down",
        );
    }
    let kinds = [
        ("nobody carried packets", Some(5)),
        ("both carried packets", Some(4)),
        ("the objects say it moved", Some(0)),
        ("last packet by the old exit", Some(1)),
        ("first packet by the new exit", Some(2)),
    ];
    let beyond = moves.len().saturating_sub(MOST_MOVES);
    figure.plots.push(Plot::Timeline(Timeline {
        title: "Moves of policies' gateways".to_owned(),
        clock: Clock::SinceEvent,
        kinds: kinds
            .iter()
            .map(|(name, style)| TimelineKind {
                name: (*name).to_owned(),
                style: *style,
            })
            .collect(),
        rows: moves.iter().take(MOST_MOVES).map(move_row).collect(),
        left_out: (beyond > 0)
            .then(|| format!("{beyond} more moves are not drawn; the table lists them.")),
    }));
    figure.tables.push(move_table(moves));
    figure
}

fn move_row(one: &Failover) -> TimelineRow {
    let since = |moment: crate::verdict::Moment| moment.0 - one.at.0;
    let (last, first) = (one.last_by_old.map(since), one.first_by_new.map(since));
    let spans = last.zip(first).map(|(last, first)| Span {
        of_kind: usize::from(first < last),
        from_us: last.min(first),
        to_us: last.max(first),
        name: if first < last {
            format!("both exits carried packets for {} µs", last - first)
        } else {
            format!("no packets for {} µs", first - last)
        },
    });
    let mark = |of_kind, at_us: Option<i64>, name: &str| {
        at_us.map(|at_us| Mark {
            of_kind,
            at_us,
            name: format!("{name}, {at_us} µs from the move"),
        })
    };
    let moments = [
        mark(2, Some(0), &format!("{} to {}", one.from, one.to)),
        mark(3, last, "last packet by the old exit"),
        mark(4, first, "first packet by the new exit"),
    ];
    TimelineRow {
        name: one.policy.clone(),
        spans: spans.into_iter().collect(),
        moments: moments.into_iter().flatten().collect(),
    }
}

fn move_table(moves: &[Failover]) -> Table {
    let mut table = Table::new(
        "Moves",
        &[
            ("policy", None),
            ("at", None),
            ("from", None),
            ("to", None),
            ("last by the old", None),
            ("first by the new", None),
            ("hole", Some(Unit::Microseconds)),
            ("survived", Some(Unit::Count)),
            ("broken", Some(Unit::Count)),
            ("new", Some(Unit::Count)),
        ],
    );
    let moment = |moment: Option<crate::verdict::Moment>| moment.map_or(Cell::Empty, Cell::time);
    for one in moves {
        table.rows.push(vec![
            Cell::text(&one.policy),
            Cell::time(one.at),
            Cell::text(&one.from),
            Cell::text(&one.to),
            moment(one.last_by_old),
            moment(one.first_by_new),
            one.hole_us.map_or(Cell::Empty, Cell::count),
            Cell::count(one.survived),
            Cell::count(one.broken),
            Cell::count(one.new),
        ]);
    }
    table
}
