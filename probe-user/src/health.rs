//! `/metrics` and `/healthz`: how the probe itself is doing.
//!
//! The sampling loop puts a [`Stats`] here once an interval; a server on a thread of its own shows
//! it. It refuses to measure anything by itself, so that a scrape costs the loop nothing, and to
//! call a probe healthy whose loop stands still or whose hooks are gone.

pub(crate) mod exposition;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::ship::Shipped;
use crate::spool::Written;

/// A loop that has not ended an interval for this many interval lengths stands still.
const STALE_INTERVALS: u32 = 3;
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// State of the probe at the end of an interval; counts are since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Intervals ended.
    pub intervals: u64,
    /// End of the last interval, UTC microseconds.
    pub last_interval_end_us: i64,
    /// Attached hooks.
    pub hooks: Vec<Hook>,
    /// Flow maps.
    pub maps: Vec<MapUse>,
    /// Packets that a full map turned away.
    pub overflow_packets: u64,
    /// Frames that are not IP.
    pub non_ip_packets: u64,
    /// IP packets whose headers could not be followed.
    pub ip_unparsed_packets: u64,
    /// Wire flows that were never found before NAT.
    pub pairing_missed: u64,
    /// Fingerprints that two sources shared.
    pub pairing_ambiguous: u64,
    /// Wire flows that the full pairing map turned away.
    pub pairing_overflow: u64,
    /// HTTP byte streams and responses that could not be followed.
    pub http_unparsed: u64,
    /// Charges of processor time that the full map of accounts turned away.
    pub cpu_overflow: u64,
    /// Where cycles come from and why from there; absent where processor time is not charged.
    pub cycle_source: Option<(&'static str, String)>,
    /// Records that did not fit the ring buffer.
    pub ring_drops: u64,
    /// What is on disk, and what was lost on the way there.
    pub written: Written,
    /// What was shipped from there; absent where nothing is.
    pub shipped: Option<Shipped>,
}

/// An attached hook.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hook {
    /// Vantage, as in the dataset.
    pub vantage: String,
    /// Interface; empty where there is none.
    pub interface: String,
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MapUse {
    /// Name of the map.
    pub map: String,
    /// Entries at the end of the interval.
    pub entries: u64,
    /// Capacity.
    pub capacity: u64,
}

/// Where the sampling loop leaves its [`Stats`].
#[derive(Debug)]
pub struct Health {
    interval: Duration,
    latest: Mutex<(Stats, Instant)>,
}

/// What the server shows: whether all is well, and figures.
pub trait Shown: Send + Sync + 'static {
    /// What is wrong at that time, if anything is.
    fn complaint(&self, now: Instant) -> Option<String>;
    /// Prefix of the metrics' names.
    fn prefix(&self) -> &'static str;
    /// The metrics as they are now.
    fn metrics(&self) -> Box<dyn Collector>;
}

impl Shown for Health {
    fn complaint(&self, now: Instant) -> Option<String> {
        self.complaint(now)
    }

    fn prefix(&self) -> &'static str {
        "weighbridge_probe"
    }

    fn metrics(&self) -> Box<dyn Collector> {
        Box::new(exposition::Snapshot::of(self))
    }
}

impl Health {
    /// Before the first interval; the time until it ends counts as one.
    pub fn new(interval: Duration) -> Arc<Self> {
        Arc::new(Self {
            interval,
            latest: Mutex::new((Stats::default(), Instant::now())),
        })
    }

    /// Called at the end of each interval.
    pub fn update(&self, stats: Stats) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = (stats, Instant::now());
    }

    /// What was put last.
    pub fn stats(&self) -> Stats {
        self.latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .clone()
    }

    /// What is wrong at that time, if anything is.
    pub fn complaint(&self, now: Instant) -> Option<String> {
        let (stats, at) = &*self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = now.saturating_duration_since(*at);
        if silent > self.interval * STALE_INTERVALS {
            let silent = humantime::format_duration(Duration::from_secs(silent.as_secs()));
            return Some(format!("no interval has ended for {silent}"));
        }
        if stats.intervals == 0 {
            return Some("the first interval has not ended".to_owned());
        }
        stats
            .hooks
            .is_empty()
            .then(|| "no hook is attached".to_owned())
    }
}

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("--metrics-listen {address}: cannot listen")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// The running server; dropped, it stops.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens in the calling thread's network namespace; port 0 takes a free one.
    pub fn start(address: SocketAddr, health: Arc<dyn Shown>) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve(listener, health, stopped)) {
                    tracing::error!(%error, "the metrics server stopped");
                }
            })
            .map_err(failed)?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was printed there and is no reason for another.
            thread.join().unwrap_or_default();
        }
    }
}

async fn serve(
    listener: TcpListener,
    health: Arc<dyn Shown>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .with_state(health);
    // Open connections are not waited for: a scraper that keeps one would hold up the end.
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served,
        _ = stopped => Ok(()),
    }
}

async fn metrics(State(health): State<Arc<dyn Shown>>) -> impl IntoResponse {
    let mut registry = Registry::with_prefix(health.prefix());
    registry.register_collector(health.metrics());
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, METRICS_TYPE)], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            error.to_string(),
        ),
    }
}

async fn healthz(State(health): State<Arc<dyn Shown>>) -> (StatusCode, String) {
    match health.complaint(Instant::now()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(complaint) => (StatusCode::SERVICE_UNAVAILABLE, format!("{complaint}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};

    const INTERVAL: Duration = Duration::from_secs(1);

    fn stats() -> Stats {
        Stats {
            intervals: 7,
            last_interval_end_us: 1_750_000_000_500_000,
            hooks: vec![
                Hook {
                    vantage: "pod".to_owned(),
                    interface: String::new(),
                },
                Hook {
                    vantage: "uplink".to_owned(),
                    interface: "eth0".to_owned(),
                },
            ],
            maps: vec![MapUse {
                map: "flows_v4".to_owned(),
                entries: 12,
                capacity: 100,
            }],
            overflow_packets: 3,
            written: Written {
                flow_rows: 40,
                bytes: 9000,
                ..Written::default()
            },
            ..Stats::default()
        }
    }

    #[test]
    fn healthy_is_a_loop_that_moves_with_hooks_attached() {
        let health = Health::new(INTERVAL);
        let now = Instant::now;
        assert!(health.complaint(now()).unwrap().contains("first interval"));
        health.update(stats());
        assert_eq!(health.complaint(now()), None);
        let late = health.complaint(now() + 4 * INTERVAL).unwrap();
        assert_eq!(late, "no interval has ended for 4s");
        health.update(Stats {
            hooks: Vec::new(),
            ..stats()
        });
        assert_eq!(
            health.complaint(now()).as_deref(),
            Some("no hook is attached")
        );
    }

    fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_server_shows_what_the_loop_left() {
        let health = Health::new(INTERVAL);
        let server = Server::start((Ipv4Addr::LOCALHOST, 0).into(), health.clone()).unwrap();
        assert!(fetch(server.address(), "/healthz").starts_with("HTTP/1.1 503"));
        health.update(stats());
        assert!(fetch(server.address(), "/healthz").starts_with("HTTP/1.1 200"));
        let metrics = fetch(server.address(), "/metrics");
        for line in [
            "weighbridge_probe_intervals_total 7",
            "weighbridge_probe_rows_written_total{table=\"flows\"} 40",
            "weighbridge_probe_map_entries{map=\"flows_v4\"} 12",
            "weighbridge_probe_map_capacity{map=\"flows_v4\"} 100",
            "weighbridge_probe_hook_attached{vantage=\"uplink\",interface=\"eth0\"} 1",
            "weighbridge_probe_overflow_packets_total 3",
            "weighbridge_probe_last_interval_end_seconds 1750000000.5",
            "weighbridge_probe_healthy 1",
            "# EOF",
        ] {
            assert!(
                metrics.lines().any(|found| found == line),
                "{line} is not in\n{metrics}"
            );
        }
        assert!(fetch(server.address(), "/").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn an_open_connection_does_not_hold_up_the_end() {
        let health = Health::new(INTERVAL);
        let server = Server::start((Ipv4Addr::LOCALHOST, 0).into(), health).unwrap();
        let _idle = TcpStream::connect(server.address()).unwrap();
        let started = Instant::now();
        drop(server);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn an_address_in_use_is_named_with_its_flag() {
        let health = Health::new(INTERVAL);
        let first = Server::start((Ipv4Addr::LOCALHOST, 0).into(), health.clone()).unwrap();
        let error = Server::start(first.address(), health).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("--metrics-listen {}: cannot listen", first.address())
        );
    }
}
