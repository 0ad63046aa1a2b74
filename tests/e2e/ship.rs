//! From the spool to Azurite and moto, and back by the analyzer: everything arrives, an outage loses
//! nothing and holds nothing up, and what a full spool gave up stands in the books.
//!
//! The stores run on the loopback of the node that is watched. What they hold is read by a client
//! of a few lines that knows nothing of the one that shipped it.

mod arrival;
mod client;
mod full;
mod outage;
mod restart;
mod servers;
mod start;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::{Config, Connections, Datapath, Family, Lab, LabError, ProbeOptions, Probes};
use serde_json::Value;
use trace_schema::flows::Direction;
use trace_schema::ledger::{LedgerRow, Vantage};

use self::servers::StoreServer;
use crate::dataset::binary;

/// The only node that is watched: the one that the stores are on.
const NODE: &str = "worker";
const SECOND_US: i64 = 1_000_000;
const PORT: u16 = 9_000;
/// Connections of the load in a second.
const RATE_PER_S: u32 = 200;
/// How long files may take to leave.
const PATIENCE: Duration = Duration::from_secs(120);

/// A lab whose worker is watched, and a spool.
struct Scene {
    lab: Lab,
    spool: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        e2e::require_root();
        Self {
            lab: Lab::up(Config::new(Datapath::Netfilter)).expect("a lab"),
            spool: tempfile::tempdir().expect("a folder"),
        }
    }

    fn spool(&self) -> &Path {
        self.spool.path()
    }

    fn probe(&self, server: &StoreServer<'_>, arguments: &[&str]) -> Probes {
        self.try_probe(&server.environment(), arguments)
            .expect("a probe")
    }

    fn try_probe(
        &self,
        environment: &[(String, String)],
        arguments: &[&str],
    ) -> Result<Probes, LabError> {
        let mut options = ProbeOptions::new(binary("weighbridge-probe"), self.spool());
        options.nodes = vec![NODE.to_owned()];
        options.environment = environment.to_vec();
        let arguments = arguments.iter().chain(&["--log-format", "json"]);
        options.arguments = arguments.map(|&text| text.to_owned()).collect();
        self.lab.start_probes(&options)
    }

    /// Opens connections for so long while the work is done; returns where each came from.
    fn load(&self, length: Duration, work: impl FnOnce()) -> Vec<SocketAddr> {
        let server = self.lab.start_server(PORT).expect("a server");
        let count = u32::try_from(length.as_secs()).expect("a short time") * RATE_PER_S;
        let load = Connections::short("client", "tcp", server.socket(Family::V4), count);
        let client = self.lab.start_connections(&load).expect("connections");
        work();
        let sent = client.finish().expect("the client ends well");
        server.stop().expect("the server ends");
        let sources: Vec<SocketAddr> = sent.iter().filter_map(|one| one.source).collect();
        assert!(sources.len() as u32 > count / 2, "hardly any load");
        sources
    }

    /// Waits until the spool holds no more than so many files.
    fn wait_for_spool(&self, at_most: usize, log: &Log) {
        let started = Instant::now();
        while held(self.spool()).len() > at_most {
            assert!(
                started.elapsed() < PATIENCE,
                "files do not leave: {}",
                log.text()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What a probe says.
struct Log(PathBuf);

impl Log {
    fn of(probes: &Probes) -> Self {
        Self(probes.logs()[0].1.clone())
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap_or_default()
    }

    /// Lines of the log whose message holds a text.
    fn lines(&self, holding: &str) -> Vec<Value> {
        let text = self.text();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let holds = |line: &Value| {
            let message = line["fields"]["message"].as_str();
            message.is_some_and(|message| message.contains(holding))
        };
        lines.filter(holds).collect()
    }
}

/// Whole and half files in the spool.
fn held(spool: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![spool.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_own = path.file_name().is_some_and(|name| name == ".probe");
            if path.is_dir() && !is_own {
                open.push(path);
            } else if path.to_string_lossy().contains(".parquet") {
                found.insert(path);
            }
        }
    }
    found
}

/// Start and end of each interval, by the books of the pods' hook, of which none stands twice.
fn intervals(ledger: &[LedgerRow]) -> Vec<(i64, i64)> {
    let of_pods =
        |row: &&LedgerRow| row.vantage == Vantage::Pod && row.direction == Some(Direction::Egress);
    let mut intervals: Vec<(i64, i64)> = ledger
        .iter()
        .filter(of_pods)
        .map(|row| (row.interval_start_us, row.interval_end_us))
        .collect();
    intervals.sort_unstable();
    let count = intervals.len();
    intervals.dedup();
    assert_eq!(intervals.len(), count, "an interval has its books twice");
    intervals
}

/// Every interval follows the one before and none is longer than it should be by another one.
fn check_steady(intervals: &[(i64, i64)]) {
    for pair in intervals.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "a gap in the books");
    }
    let lengths: Vec<i64> = intervals.iter().map(|(start, end)| end - start).collect();
    let longest = lengths.iter().max().expect("intervals");
    // The last one is cut off by the end.
    let mean = lengths[..lengths.len() - 1].iter().sum::<i64>() / (lengths.len() as i64 - 1);
    eprintln!(
        "{} intervals, {mean} us on average, the longest {longest} us",
        lengths.len()
    );
    assert!(*longest < 2 * SECOND_US, "an interval of {longest} us");
    let allowed = SECOND_US * 98 / 100..=SECOND_US * 102 / 100;
    assert!(allowed.contains(&mean), "intervals of {mean} us");
}
