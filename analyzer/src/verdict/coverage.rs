//! What the ledger says was watched, and what was lost on the way.
//!
//! A node counts as watched while any of its hooks writes rows. An interface may appear late or go
//! early; what is a gap is a hook that pauses, or a node that falls silent while others go on. It
//! refuses to weigh a loss: which verdict it touches is decided where the verdicts are.

use std::collections::{BTreeMap, BTreeSet};

use trace_schema::ledger::{LedgerRow, Vantage};

use super::evidence::Window;
use super::loss::{Loss, LossKind};
use super::report::{Moment, vantage_name};
use crate::books::Books;

/// Which nodes were watched when.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    watched: BTreeMap<String, Vec<Window>>,
    with_wire: BTreeSet<String>,
    uplinks: BTreeMap<(String, String), Vec<Window>>,
    wires: BTreeMap<(String, String), Vec<Window>>,
    pub losses: Vec<Loss>,
    pub overall: Option<Window>,
}

/// Intervals of a hook follow each other to the clock's precision.
const SEAM_US: i64 = 20_000;

/// Probes of several nodes are started and stopped one after the other.
const EDGE_US: i64 = 5_000_000;

impl Coverage {
    /// Reads the books; `runs` are times that should have been watched too.
    pub fn read(ledger: &[LedgerRow], runs: &[Window]) -> Self {
        let mut hooks: BTreeMap<Hook<'_>, Vec<&LedgerRow>> = BTreeMap::new();
        // Processor time and profiles saw no packets, and vouch for none.
        let is_traffic = |row: &&LedgerRow| !matches!(row.vantage, Vantage::Cpu | Vantage::Profile);
        for row in ledger.iter().filter(is_traffic) {
            hooks.entry(hook(row)).or_default().push(row);
        }
        let mut coverage = Self::default();
        let mut by_node: BTreeMap<&str, Vec<Window>> = BTreeMap::new();
        for (hook, rows) in &mut hooks {
            rows.sort_by_key(|row| (row.interval_start_us, row.interval_end_us));
            let windows: Vec<Window> = rows.iter().map(|row| interval(row)).collect();
            by_node.entry(hook.0).or_default().extend(&windows);
            let place = (hook.0.to_owned(), hook.2.unwrap_or_default().to_owned());
            match hook.1 {
                Vantage::Uplink => coverage.uplinks.entry(place).or_default().extend(&windows),
                Vantage::Wire => coverage.wires.entry(place).or_default().extend(&windows),
                Vantage::Pod | Vantage::Tunnel | Vantage::Cpu | Vantage::Profile => {}
            }
            if hook.1 == Vantage::Wire {
                coverage.with_wire.insert(hook.0.to_owned());
            }
            coverage.read_hook(*hook, rows);
        }
        coverage.read_uplinks(ledger);
        coverage.watched = by_node
            .into_iter()
            .map(|(node, seen)| (node.to_owned(), joined(seen)))
            .collect();
        for windows in coverage
            .uplinks
            .values_mut()
            .chain(coverage.wires.values_mut())
        {
            *windows = joined(std::mem::take(windows));
        }
        coverage.overall = coverage
            .watched
            .values()
            .flatten()
            .copied()
            .chain(runs.iter().copied())
            .reduce(Window::cover)
            .filter(|_| !ledger.is_empty());
        coverage.find_silence(runs);
        coverage.losses.sort();
        coverage
    }

    /// When a node's probe began.
    pub fn watched_from_us(&self, node: &str) -> Option<i64> {
        self.watched.get(node)?.first().map(|window| window.from_us)
    }

    /// Names of the nodes with a probe.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.watched.keys().map(String::as_str)
    }

    /// Whether a node was watched for the whole of `during`.
    pub fn watched(&self, node: &str, during: Window) -> bool {
        self.watched.get(node).is_some_and(|windows| {
            windows.iter().any(|window| {
                window.from_us <= during.from_us.saturating_add(SEAM_US)
                    && during.to_us <= window.to_us.saturating_add(SEAM_US)
            })
        })
    }

    /// Why the absence of a packet on every wire during a time proves nothing, if it does not.
    pub fn doubt(&self, nodes: &[String], during: Window) -> Option<String> {
        if let Some(node) = nodes.iter().find(|node| !self.watched.contains_key(*node)) {
            return Some(format!("node {node} has no probe"));
        }
        for node in self.watched.keys() {
            if !self.watched(node, during) {
                return Some(format!(
                    "the probe of node {node} was not watching all the time"
                ));
            }
            if !self.with_wire.contains(node) {
                return Some(format!("no wire of node {node} was watched"));
            }
        }
        if let Some((node, interface)) = self.uplink_without_wire(during) {
            return Some(format!(
                "the wire of {interface} on node {node} was not watched all the time"
            ));
        }
        self.losses
            .iter()
            .find(|loss| loss.blinds_a_wire() && loss.window().touches(&during, SEAM_US))
            .map(|loss| format!("{loss}"))
    }

    /// An uplink whose packets no wire hook watched while it was there.
    fn uplink_without_wire(&self, during: Window) -> Option<&(String, String)> {
        let covered = |place: &(String, String), part: Window| {
            self.wires.get(place).is_some_and(|windows| {
                windows.iter().any(|window| {
                    window.from_us <= part.from_us.saturating_add(SEAM_US)
                        && part.to_us <= window.to_us.saturating_add(SEAM_US)
                })
            })
        };
        self.uplinks.iter().find_map(|(place, windows)| {
            let mut there = windows.iter().filter(|window| window.touches(&during, 0));
            let bare = there.any(|window| {
                let part = Window {
                    from_us: window.from_us.max(during.from_us),
                    to_us: window.to_us.min(during.to_us),
                };
                !covered(place, part)
            });
            bare.then_some(place)
        })
    }

    /// Losses that one hook's rows state, and pauses between them.
    fn read_hook(&mut self, hook: Hook<'_>, rows: &[&LedgerRow]) {
        for row in rows {
            let counts = [
                (
                    LossKind::Overflow,
                    row.overflow.packets.max(row.overflow.buffers),
                ),
                (
                    LossKind::Unparsed,
                    row.ip_unparsed.packets.max(row.ip_unparsed.buffers),
                ),
                (LossKind::PairingOverflow, row.pairing_overflow),
                (LossKind::PairingAmbiguous, row.pairing_ambiguous),
                (LossKind::RingDrops, row.ring_drops),
                (LossKind::HookMisses, row.hook_misses.unwrap_or(0)),
            ];
            for (kind, count) in counts {
                if count > 0 {
                    self.add(hook, kind, interval(row), count);
                }
            }
        }
        let mut end_us: Option<i64> = None;
        for row in rows {
            let start_us = row.interval_start_us;
            if let Some(end_us) = end_us {
                if start_us - end_us > SEAM_US {
                    let silent = Window {
                        from_us: end_us,
                        to_us: start_us,
                    };
                    self.add(hook, LossKind::Gap, silent, silent.length_us());
                } else if end_us - start_us > SEAM_US {
                    let twice = Window {
                        from_us: start_us,
                        to_us: end_us,
                    };
                    self.add(hook, LossKind::ClockDisorder, twice, twice.length_us());
                }
            }
            end_us = Some(end_us.unwrap_or(i64::MIN).max(row.interval_end_us));
        }
    }

    /// Packets that went past the uplinks' hooks, which a program before ours may cause.
    fn read_uplinks(&mut self, ledger: &[LedgerRow]) {
        let mut books = Books::default();
        let uplinks = ledger.iter().filter(|row| row.vantage == Vantage::Uplink);
        uplinks.for_each(|row| books.add_ledger(row));
        for (series, rows) in books.unseen() {
            let interface = series.interface.as_deref();
            let hook = (
                series.node.as_str(),
                series.vantage,
                interface,
                series.direction,
            );
            for row in rows {
                let window = Window {
                    from_us: row.from_us,
                    to_us: row.until_us,
                };
                self.add(hook, LossKind::Unseen, window, row.packets);
            }
        }
    }

    /// Nodes that begin late or fall silent while others are watched or a run goes on.
    fn find_silence(&mut self, runs: &[Window]) {
        let Some(overall) = self.overall else { return };
        let silences: Vec<(String, Window)> = self
            .watched
            .iter()
            .flat_map(|(node, windows)| {
                let (first, last) = (windows[0], windows[windows.len() - 1]);
                let before = Window {
                    from_us: overall.from_us,
                    to_us: first.from_us,
                };
                let after = Window {
                    from_us: last.to_us,
                    to_us: overall.to_us,
                };
                [before, after].map(|silent| (node.clone(), silent))
            })
            .filter(|(_, silent)| {
                let in_run = runs.iter().any(|run| {
                    run.from_us.max(silent.from_us) + EDGE_US / 5 < run.to_us.min(silent.to_us)
                });
                silent.length_us() > EDGE_US || in_run
            })
            .collect();
        for (node, silent) in silences {
            self.add(
                (&node, Vantage::Pod, None, None),
                LossKind::Gap,
                silent,
                silent.length_us(),
            );
        }
    }

    fn add(&mut self, hook: Hook<'_>, kind: LossKind, window: Window, count: i64) {
        let (node, vantage, interface, _) = hook;
        let last = self.losses.iter_mut().rev().take(5).find(|loss| {
            loss.kind == kind
                && loss.node == node
                && loss.vantage == vantage_name(vantage)
                && loss.interface.as_deref() == interface
                && window.from_us - loss.to.0 <= SEAM_US
                && loss.from.0 <= window.from_us
        });
        match last {
            Some(loss) => {
                loss.to.0 = loss.to.0.max(window.to_us);
                // Both directions of a hook fall silent at once.
                if kind != LossKind::Gap {
                    loss.count += count;
                }
            }
            None => self.losses.push(Loss {
                node: node.to_owned(),
                vantage: vantage_name(vantage),
                interface: interface.map(str::to_owned),
                kind,
                from: Moment(window.from_us),
                to: Moment(window.to_us),
                count,
            }),
        }
    }
}

type Hook<'a> = (
    &'a str,
    Vantage,
    Option<&'a str>,
    Option<trace_schema::flows::Direction>,
);

fn hook(row: &LedgerRow) -> Hook<'_> {
    (
        &row.node,
        row.vantage,
        row.interface.as_deref(),
        row.direction,
    )
}

fn interval(row: &LedgerRow) -> Window {
    Window {
        from_us: row.interval_start_us,
        to_us: row.interval_end_us,
    }
}

/// Joins windows that follow each other.
fn joined(mut windows: Vec<Window>) -> Vec<Window> {
    windows.sort_unstable();
    let mut joined: Vec<Window> = Vec::new();
    for window in windows {
        match joined.last_mut() {
            Some(last) if window.from_us - last.to_us <= SEAM_US => *last = last.cover(window),
            _ => joined.push(window),
        }
    }
    joined
}
