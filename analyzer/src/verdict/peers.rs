//! The peer addresses that a server outside saw: a witness that owes nothing to the probes.
//!
//! Every exit that is claimed for a logged server is looked up in its log, and every peer in the
//! log must have left by some wire. A contradiction does not say who is wrong (a cloud may translate
//! once more), so it takes a pass away and gives no verdict of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::egress::Judged;
use super::evidence::Window;
use super::report::Moment;
use super::tuple::{FiveTuple, Protocol};
use crate::pairing::Exits;

/// One line of a server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerSighting {
    /// When the server saw it, UTC microseconds.
    pub time_us: i64,
    /// Protocol.
    pub protocol: Protocol,
    /// The other side, as the server saw it.
    pub peer: SocketAddr,
    /// The server's own side.
    pub local: SocketAddr,
}

/// How the log and the wires agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PeerCheck {
    /// Lines of the log.
    pub records: u64,
    /// Spells whose exit the log confirms.
    pub confirmed: u64,
    /// Spells of answered TCP connections to a logged server that the log does not have.
    pub contradicted: u64,
    /// Other spells to a logged server that the log does not have: nothing may have arrived.
    pub unseen: u64,
    /// Peers in the log that left by no wire.
    pub unexplained: u64,
    /// The first contradictions and unexplained peers, in words.
    pub examples: Vec<String>,
}

/// How one spell compares with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerVerdict {
    /// The log has the address and port.
    Confirmed,
    /// It does not, though the connection was answered.
    Contradicted,
    /// It does not, and need not.
    Unseen,
}

/// Why a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeersError {
    /// The first line does not name the columns.
    #[error(
        "the first line must name the columns {COLUMNS}, separated by tabs; missing: {missing}"
    )]
    Header {
        /// First column that is missing.
        missing: &'static str,
    },
    /// A field cannot be read.
    #[error("line {line}: column {column} holds {value:?}")]
    Field {
        /// Line, from 1.
        line: usize,
        /// Column.
        column: &'static str,
        /// Its text.
        value: String,
    },
}

/// The columns of a log.
pub const COLUMNS: &str = "time_us, protocol, peer_address, peer_port, local_address, local_port";

/// How far a server's clock and a wire's may lie apart.
const SLACK_US: i64 = 5_000_000;

/// Examples that a report shows.
const EXAMPLES: usize = 10;

/// Reads a tab-separated log with a header line.
pub fn read_peers(text: &str) -> Result<Vec<PeerSighting>, PeersError> {
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let header: Vec<&str> = lines
        .next()
        .map_or(Vec::new(), |(_, line)| line.split('\t').collect());
    let column = |name: &'static str| {
        header
            .iter()
            .position(|column| column.trim() == name)
            .map(|index| (name, index))
            .ok_or(PeersError::Header { missing: name })
    };
    let (time, protocol) = (column("time_us")?, column("protocol")?);
    let (peer_address, peer_port) = (column("peer_address")?, column("peer_port")?);
    let (local_address, local_port) = (column("local_address")?, column("local_port")?);
    lines
        .map(|(index, line)| {
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            let row = Row {
                line: index + 1,
                fields,
            };
            let address = |address, port| {
                Ok(SocketAddr::new(
                    row.read::<IpAddr>(address)?.to_canonical(),
                    row.read(port)?,
                ))
            };
            Ok(PeerSighting {
                time_us: row.read(time)?,
                protocol: Protocol::parse(row.text(protocol)).map_err(|_| row.refuse(protocol))?,
                peer: address(peer_address, peer_port)?,
                local: address(local_address, local_port)?,
            })
        })
        .collect()
}

/// Compares what was judged with a log, and marks each spell.
pub(crate) fn check_peers(log: &[PeerSighting], exits: &Exits, judged: &mut [Judged]) -> PeerCheck {
    let mut check = PeerCheck {
        records: log.len() as u64,
        ..PeerCheck::default()
    };
    let mut seen: HashMap<FiveTuple, Vec<i64>> = HashMap::new();
    let mut servers: HashSet<(Protocol, SocketAddr)> = HashSet::new();
    for record in log {
        seen.entry(tuple(record)).or_default().push(record.time_us);
        servers.insert((record.protocol, record.local));
    }
    let span = log.iter().map(|record| record.time_us);
    let span = Window {
        from_us: span.clone().min().unwrap_or(i64::MAX) - SLACK_US,
        to_us: span.max().unwrap_or(i64::MIN).saturating_add(SLACK_US),
    };
    let mut began: BTreeMap<usize, i64> = BTreeMap::new();
    for one in judged.iter() {
        let first = began.entry(one.spell.connection).or_insert(i64::MAX);
        *first = (*first).min(one.spell.first.0);
    }
    let mut examples = BTreeSet::new();
    for one in judged.iter_mut() {
        let Some(post) = one.post else { continue };
        if !servers.contains(&(post.protocol, post.destination())) {
            continue;
        }
        let life = Window {
            from_us: began[&one.spell.connection],
            to_us: one.spell.last.0,
        };
        let known = seen.get(&post).is_some_and(|times| {
            times.iter().any(|&at| {
                life.touches(
                    &Window {
                        from_us: at,
                        to_us: at,
                    },
                    SLACK_US,
                )
            })
        });
        let verdict = if known {
            check.confirmed += 1;
            PeerVerdict::Confirmed
        } else if one.established && span.touches(&life, 0) {
            check.contradicted += 1;
            examples.insert(format!(
                "{} {} -> {} left as {}, which the server never saw (from {})",
                one.spell.pod,
                one.tuple.source(),
                one.tuple.destination(),
                post.source(),
                one.spell.first
            ));
            PeerVerdict::Contradicted
        } else {
            check.unseen += 1;
            PeerVerdict::Unseen
        };
        one.spell.peer = Some(verdict);
    }
    for record in log {
        let at = Window {
            from_us: record.time_us,
            to_us: record.time_us,
        };
        let left = exits
            .sightings(&tuple(record))
            .iter()
            .any(|(_, window)| window.touches(&at, SLACK_US));
        if !left {
            check.unexplained += 1;
            examples.insert(format!(
                "the server {} saw {} {} at {}, which left by no wire",
                record.local,
                record.protocol,
                record.peer,
                Moment(record.time_us)
            ));
        }
    }
    check.examples = examples.into_iter().take(EXAMPLES).collect();
    check
}

fn tuple(record: &PeerSighting) -> FiveTuple {
    FiveTuple {
        protocol: record.protocol,
        src: record.peer.ip(),
        dst: record.local.ip(),
        src_port: record.peer.port(),
        dst_port: record.local.port(),
    }
}

/// A line of the log.
struct Row<'a> {
    line: usize,
    fields: Vec<&'a str>,
}

impl Row<'_> {
    fn text(&self, (_, index): (&'static str, usize)) -> &str {
        self.fields.get(index).copied().unwrap_or("")
    }

    fn read<T: std::str::FromStr>(&self, column: (&'static str, usize)) -> Result<T, PeersError> {
        self.text(column).parse().map_err(|_| self.refuse(column))
    }

    fn refuse(&self, column: (&'static str, usize)) -> PeersError {
        PeersError::Field {
            line: self.line,
            column: column.0,
            value: self.text(column).to_owned(),
        }
    }
}
