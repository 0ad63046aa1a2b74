//! `weighbridge-probe record`: the Kubernetes objects that verdicts rest on, every version with its
//! time, as the table `objects`.
//!
//! One replica reads the API of a cluster. It refuses to give rows up: where the disk is full they
//! wait in memory and `/healthz` says so, and its spool has no limit unless one is given.

pub mod health;
pub mod kinds;
mod reading;
mod reduce;
mod versions;
mod watch;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use trace_schema::file::{self, FileMetadata};
use trace_schema::layout::node_folder;
use trace_schema::objects::ObjectRow;
use tracing::{info, warn};

use crate::cli::{LogFormat, RecordArgs};
use crate::config::{self, Invalid};
use crate::health::Server;
use crate::run::{ReadyFile, finish_shipping, start_shipping};
use crate::ship::Shipping;
use crate::spool::{Interval, Origin, Spool};
use crate::{clock, sampler};

use self::health::{Figures, RecorderHealth};
use self::reading::News;
use self::versions::Versions;
use self::watch::Said;

/// Time between two writes of what was seen.
const FLUSH: Duration = Duration::from_secs(1);
/// What the API may say before it was taken in.
const QUEUE: usize = 1024;

/// What `record` does, every value checked.
#[derive(Clone, Debug)]
pub struct RecordConfig {
    /// Root of the dataset.
    pub output: PathBuf,
    /// Name of the recorder, in the place of a node's.
    pub name: String,
    /// The only namespaces; empty: all.
    pub namespaces: Vec<String>,
    /// When to stop by itself; absent: when told to.
    pub duration: Option<Duration>,
    /// How often kinds are looked for.
    pub discover_every: Duration,
    /// Where to serve `/metrics` and `/healthz`, if at all.
    pub metrics_listen: Option<std::net::SocketAddr>,
    /// File to make once every kind is listed, if any.
    pub ready_file: Option<PathBuf>,
    /// How often small files are merged.
    pub merge_every: Duration,
    /// Where files go.
    pub shipping: config::Shipping,
    /// Form of the log.
    pub log_format: LogFormat,
}

impl RecordConfig {
    /// Checks the typed text.
    pub fn new(arguments: RecordArgs) -> Result<Self, Invalid> {
        let limit = arguments.shipping.spool_limit;
        let mut shipping = config::Shipping::new(arguments.shipping)?;
        shipping.spool_limit_bytes = limit;
        let least = Duration::from_secs(1);
        Ok(Self {
            output: arguments.output,
            name: config::node(&arguments.name).map_err(|invalid| Invalid {
                flag: "--name",
                ..invalid
            })?,
            namespaces: arguments.namespaces,
            duration: arguments.duration,
            discover_every: arguments.discover_every.max(least),
            metrics_listen: arguments.metrics_listen,
            ready_file: arguments.ready_file,
            merge_every: arguments.merge_every.max(least),
            shipping,
            log_format: arguments.log_format,
        })
    }
}

/// There is no API server to ask.
#[derive(Debug, thiserror::Error)]
#[error("no Kubernetes API: run in a pod with a service account, or set KUBECONFIG")]
pub struct NoCluster(#[source] kube::Error);

/// Records until the duration ends or SIGTERM or SIGINT arrives.
pub fn run(config: RecordConfig) -> anyhow::Result<()> {
    // Both TLS users of this program take the one that is built in.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let health = RecorderHealth::new();
    let _server = config
        .metrics_listen
        .map(|address| Server::start(address, health.clone()))
        .transpose()?;
    let spool = Spool::open(origin(&config)?, config.shipping.spool_limit_bytes)?;
    let shipping = start_shipping(&config.shipping, &config.output, &spool)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let mut recorder = Recorder::new(config, spool, shipping);
    let recorded = runtime.block_on(recorder.record(&health));
    runtime.shutdown_background();
    let Recorder {
        mut spool,
        shipping,
        pending,
        ..
    } = recorder;
    let merged = spool.merge();
    info!(rows = spool.written().object_rows, "stopped");
    finish_shipping(shipping);
    recorded?;
    merged.context("not everything was merged")?;
    anyhow::ensure!(
        pending.is_empty(),
        "{} rows could not be written",
        pending.len()
    );
    Ok(())
}

fn origin(config: &RecordConfig) -> anyhow::Result<Origin> {
    Ok(Origin {
        root: config.output.clone(),
        node: config.name.clone(),
        boot_id: sampler::boot_id()?,
        instance: clock::monotonic_ns().context("cannot read the clock")?,
        clock: "UTC of the machine's real-time clock".to_owned(),
    })
}

struct Recorder {
    config: RecordConfig,
    spool: Spool,
    shipping: Option<Shipping>,
    versions: Versions,
    pending: Vec<ObjectRow>,
    figures: Figures,
    is_complete: bool,
    ready: Option<ReadyFile>,
}

impl Recorder {
    fn new(config: RecordConfig, spool: Spool, shipping: Option<Shipping>) -> Self {
        let versions = match file::open::<ObjectRow>(&state_path(&config)) {
            Ok(table) => {
                let rows = table.rows().into_iter().flatten().flatten().flatten();
                Versions::of_earlier_run(rows.collect())
            }
            // There was none, or it is of another version.
            Err(_) => Versions::default(),
        };
        Self {
            config,
            spool,
            shipping,
            versions,
            pending: Vec::new(),
            figures: Figures::default(),
            is_complete: false,
            ready: None,
        }
    }

    async fn record(&mut self, health: &RecorderHealth) -> anyhow::Result<()> {
        let client = Client::try_default().await.map_err(NoCluster)?;
        let (sender, mut said) = mpsc::channel(QUEUE);
        let (namespaces, every) = (self.config.namespaces.clone(), self.config.discover_every);
        tokio::spawn(watch::follow(client, namespaces, every, sender));
        let mut terminated = signal(SignalKind::terminate()).context("cannot take signals")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("cannot take signals")?;
        let end = self
            .config
            .duration
            .map(|length| tokio::time::Instant::now() + length);
        let over = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let mut over = std::pin::pin!(over);
        let mut flush = tokio::time::interval(FLUSH);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next_merge = Instant::now() + self.config.merge_every;
        loop {
            tokio::select! {
                Some(told) = said.recv() => self.take(told),
                _ = flush.tick() => {
                    let news = self.figures.reading.forget_old(Instant::now());
                    news.iter().for_each(tell);
                    self.flush(health)?;
                    if Instant::now() >= next_merge {
                        next_merge = Instant::now() + self.config.merge_every;
                        self.merge();
                    }
                }
                _ = terminated.recv() => break,
                _ = interrupted.recv() => break,
                () = &mut over => break,
            }
        }
        self.flush(health)?;
        self.save();
        Ok(())
    }

    fn take(&mut self, told: Said) {
        let now_us = clock::now_us();
        let figures = &mut self.figures;
        let (scope, rows) = match told {
            Said::Kinds { present, absent } => {
                for scope in &present {
                    figures.present.insert(health::name(scope));
                    figures.unlisted.insert(health::name(scope));
                }
                let absent = absent
                    .into_iter()
                    .map(|kind| kind.kind.to_owned())
                    .collect();
                if figures.absent != absent {
                    info!(absent = ?absent, "kinds that the cluster lacks, or lacked until now");
                    figures.absent = absent;
                }
                figures.is_discovered = true;
                return;
            }
            Said::Failed(scope, failure) => {
                let (name, reading) = (health::name(&scope), &mut figures.reading);
                let news = reading.failed(&name, failure, Instant::now());
                news.iter().for_each(tell);
                return;
            }
            Said::Begin(scope) => {
                figures.lists += 1;
                self.versions.begin_list(&scope);
                return;
            }
            Said::Listed(scope, object) => {
                let rows = self.versions.list(&scope, object, now_us);
                (scope, rows)
            }
            Said::Done(scope) => {
                let rows = self.versions.end_list(&scope, now_us);
                figures.unlisted.remove(&health::name(&scope));
                (scope, rows)
            }
            Said::Applied(scope, object) => {
                let rows = self.versions.apply(&scope, object, now_us);
                (scope, rows)
            }
            Said::Deleted(scope, object) => {
                let rows = self.versions.delete(&scope, object, now_us);
                (scope, rows)
            }
        };
        if !rows.is_empty() {
            *figures.rows.entry(scope.kind.kind).or_default() += rows.len() as u64;
        }
        self.pending.extend(rows);
        let news = self.figures.reading.answered(&health::name(&scope));
        news.iter().for_each(tell);
    }

    fn flush(&mut self, health: &RecorderHealth) -> anyhow::Result<()> {
        if let Some(first) = self.pending.first() {
            let interval = Interval {
                start_us: first.observed_at_us,
                objects: self.pending.clone(),
                ..Interval::default()
            };
            match self.spool.write(interval) {
                Ok(()) => {
                    self.pending.clear();
                    self.figures.unwritten = None;
                }
                Err(error) => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    if self.figures.unwritten.is_none() {
                        warn!("rows wait in memory: {error}");
                    }
                    self.figures.unwritten = Some(error);
                }
            }
        }
        self.figures.objects = self.versions.objects();
        self.figures.written = self.spool.written();
        self.figures.shipped = self.shipping.as_ref().map(Shipping::shipped);
        health.update(self.figures.clone());
        if !self.is_complete && self.figures.is_complete() {
            self.is_complete = true;
            info!(objects = self.figures.objects, "every kind is listed");
            if let Some(path) = &self.config.ready_file {
                self.ready = Some(ReadyFile::make(path)?);
            }
        }
        Ok(())
    }

    fn merge(&mut self) {
        if let Err(error) = self.spool.merge() {
            warn!("{:#}", anyhow::Error::from(error));
        }
        self.save();
    }

    /// Keeps what is there, so that the next run can tell what went while nobody looked.
    fn save(&self) {
        let metadata = FileMetadata {
            node: self.config.name.clone(),
            boot_id: String::new(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: String::new(),
        };
        let path = state_path(&self.config);
        if let Err(error) = file::write(&path, &self.versions.latest(), &metadata) {
            warn!(
                "what is there was not kept for the next run: {:#}",
                anyhow::Error::from(error)
            );
        }
    }
}

fn tell(news: &News) {
    match news {
        News::Failed(kind, failure) => warn!(kind, "{failure}; it is tried again"),
        News::AnswersAgain => info!("the API server answers again"),
        News::ReadAgain(kind) => info!(kind, "can be read again"),
    }
}

/// Where readers do not look.
fn state_path(config: &RecordConfig) -> PathBuf {
    let name = format!("{}.objects.parquet", node_folder(&config.name));
    config.output.join(".probe").join(name)
}
