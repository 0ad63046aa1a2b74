//! The sampling loop: an interval after the other until the duration ends or a signal asks.
//!
//! SIGTERM and SIGINT close the open interval and write everything; what a SIGKILL takes is the
//! open interval alone.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::sys::{
    signal::{SigSet, Signal},
    time::TimeSpec,
};
use trace_schema::ledger::{LedgerRow, Vantage};
use tracing::{info, warn};

use crate::{
    batch::Batches,
    clock,
    config::{self, Config},
    health::{Health, Hook, MapUse, Server, Stats},
    processors::own_cost::part,
    sampler::{self, Sample, Sampler},
    ship::{Shipped, Shipping},
    spool::{Interval, Origin, Spool, Written},
};

/// How long the end waits for the store: the manifests give a pod 60 s to end.
const LAST_SHIPMENT: Duration = Duration::from_secs(40);

/// Runs the probe until the duration ends or a signal asks it to stop.
pub fn run(config: Config) -> anyhow::Result<()> {
    // Blocked in every thread, so that the loop below is the one that takes them.
    let signals = block_signals()?;
    let health = Health::new(config.interval);
    let _server = config
        .metrics_listen
        .map(|address| Server::start(address, health.clone()))
        .transpose()?;
    // Before anything is attached: where rows cannot be written, nothing is counted.
    let spool = Spool::open(origin(&config)?, config.shipping.spool_limit_bytes)?;
    let shipping = start_shipping(&config.shipping, &config.output, &spool)?;
    let mut sampler = Sampler::start(config.clone())?;
    let batches = Batches::start(spool, config.merge_every).context("cannot start a thread")?;
    let ready = config
        .ready_file
        .as_deref()
        .map(ReadyFile::make)
        .transpose()?;
    info!(node = %config.node, output = %config.output.display(), "ready");

    let ways = Ways {
        batches,
        shipping,
        health: &health,
    };
    let outcome = sample_until_told(&config, &mut sampler, &ways, &signals);
    sampler.stop();
    drop(ready);
    let (written, finished) = ways.batches.finish();
    report(written);
    // What is merged now is shipped within the grace that a pod is given to end.
    finish_shipping(ways.shipping);
    outcome?;
    finished.context("not everything was written")?;
    anyhow::ensure!(
        written.lost_rows == 0,
        "{} rows of {} intervals were lost on their way to {}: a faster disk, or a longer --interval",
        written.lost_rows,
        written.lost_intervals,
        config.output.display()
    );
    Ok(())
}

/// Where an interval goes: to disk, from there to a store, and to those who ask how it goes.
struct Ways<'h> {
    batches: Batches,
    shipping: Option<Shipping>,
    health: &'h Health,
}

/// Starts to ship what leaves the spool, where anything does.
pub(crate) fn start_shipping(
    shipping: &config::Shipping,
    output: &Path,
    spool: &Spool,
) -> anyhow::Result<Option<Shipping>> {
    let Some(destination) = &shipping.destination else {
        return Ok(None);
    };
    let started = Shipping::start(destination, output.to_owned(), spool.stock())?;
    info!(store = %destination.url, "shipping");
    Ok(Some(started))
}

/// Ships what is left, for a bounded time.
pub(crate) fn finish_shipping(shipping: Option<Shipping>) {
    if let Some(shipping) = shipping {
        let Shipped {
            files,
            bytes,
            failures,
            waiting_files,
            ..
        } = shipping.finish(LAST_SHIPMENT);
        info!(files, bytes, failures, waiting_files, "shipped");
    }
}

fn sample_until_told(
    config: &Config,
    sampler: &mut Sampler,
    ways: &Ways<'_>,
    signals: &SigSet,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let end = config.duration.map(|duration| started + duration);
    let mut next = started + config.interval;
    let mut stats = Stats::default();
    loop {
        let until = end.map_or(next, |end| next.min(end));
        let signal = wait_for_the_end(config, sampler, signals, until)?;
        let sample = sampler.close_interval()?;
        advance(&mut stats, sampler, &sample);
        if let Err(error) = ways.batches.submit(interval(sample)) {
            warn!("{error}");
        }
        stats.written = ways.batches.written();
        stats.shipped = ways.shipping.as_ref().map(Shipping::shipped);
        ways.health.update(stats.clone());
        if let Some(signal) = signal {
            info!(%signal, "stopping");
            return Ok(());
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(());
        }
        next += config.interval;
        let now = Instant::now();
        if next < now {
            // Intervals get longer then, never fewer packets in them.
            warn!(late = ?(now - next), "the machine is too busy to end intervals on time");
            next = now + config.interval;
        }
    }
}

/// Waits for an interval's end, or for a signal that brings it.
fn wait_for_the_end(
    config: &Config,
    sampler: &mut Sampler,
    signals: &SigSet,
    until: Instant,
) -> anyhow::Result<Option<Signal>> {
    let left = |until: Instant| until.saturating_duration_since(Instant::now());
    if config.measure_self {
        let signal = wait(signals, left(until).saturating_sub(part(config.interval)))?;
        if signal.is_some() {
            return Ok(signal);
        }
        sampler.measure_self();
    }
    wait(signals, left(until))
}

fn block_signals() -> anyhow::Result<SigSet> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block().context("cannot block signals")?;
    Ok(signals)
}

/// Waits for one of the signals, at most for `limit`.
fn wait(signals: &SigSet, limit: Duration) -> anyhow::Result<Option<Signal>> {
    let limit = TimeSpec::from_duration(limit);
    // SAFETY: both pointers lead to values that live through the call.
    let number =
        unsafe { libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), limit.as_ref()) };
    if number >= 0 {
        return Ok(Some(Signal::try_from(number)?));
    }
    match nix::errno::Errno::last() {
        nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR => Ok(None),
        error => Err(error).context("cannot wait for signals"),
    }
}

fn origin(config: &Config) -> anyhow::Result<Origin> {
    Ok(Origin {
        root: config.output.clone(),
        node: config.node.clone(),
        boot_id: sampler::boot_id()?,
        instance: clock::monotonic_ns().context("cannot read the clock")?,
        clock: "UTC = CLOCK_MONOTONIC + an offset measured at each interval's end; \
                last_seen to one kernel tick"
            .to_owned(),
    })
}

fn interval(sample: Sample) -> Interval {
    Interval {
        start_us: sample.interval_us.0,
        flows: sample.flows,
        http: sample.http,
        snat: sample.snat,
        cpu: sample.cpu,
        resources: sample.resources,
        profile: sample.profile,
        objects: Vec::new(),
        ledger: sample.ledger,
    }
}

fn advance(stats: &mut Stats, sampler: &Sampler, sample: &Sample) {
    stats.intervals += 1;
    stats.last_interval_end_us = sample.interval_us.1;
    stats.hooks = hooks(sampler, &sample.ledger);
    stats.maps = maps(&sample.ledger);
    stats.cycle_source = sampler.cycle_source();
    for row in &sample.ledger {
        stats.overflow_packets += row.overflow.packets.cast_unsigned();
        stats.non_ip_packets += row.non_ip.packets.cast_unsigned();
        stats.ip_unparsed_packets += row.ip_unparsed.packets.cast_unsigned();
        stats.pairing_missed += row.pairing_missed.cast_unsigned();
        stats.pairing_ambiguous += row.pairing_ambiguous.cast_unsigned();
        stats.pairing_overflow += row.pairing_overflow.cast_unsigned();
        if row.vantage == Vantage::Cpu {
            stats.cpu_overflow += row.overflow.buffers.cast_unsigned();
        }
        stats.http_unparsed += row.http_unparsed.cast_unsigned();
        stats.ring_drops += row.ring_drops.cast_unsigned();
    }
}

fn hooks(sampler: &Sampler, ledger: &[LedgerRow]) -> Vec<Hook> {
    let mut hooks: Vec<Hook> = sampler
        .attached()
        .into_iter()
        .map(|(program, interface)| Hook {
            vantage: program.split('_').next().unwrap_or(program).to_owned(),
            interface,
        })
        .collect();
    hooks.dedup();
    for row in ledger {
        let (vantage, interface) = match (row.vantage, &row.interface) {
            (Vantage::Pod, _) => ("pod", String::new()),
            (Vantage::Cpu, _) => ("cpu", String::new()),
            (Vantage::Wire, Some(interface)) => ("wire", interface.clone()),
            _ => continue,
        };
        let hook = Hook {
            vantage: vantage.to_owned(),
            interface,
        };
        if !hooks.contains(&hook) {
            hooks.push(hook);
        }
    }
    hooks
}

fn maps(ledger: &[LedgerRow]) -> Vec<MapUse> {
    let pick = |map: &str, vantage: Vantage| {
        ledger
            .iter()
            .find(|row| row.vantage == vantage)
            .map(|row| MapUse {
                map: map.to_owned(),
                entries: row.map_entries.cast_unsigned(),
                capacity: row.map_capacity.cast_unsigned(),
            })
    };
    pick("flows", Vantage::Pod)
        .into_iter()
        .chain(pick("wire", Vantage::Wire))
        .chain(pick("cpu_accounts", Vantage::Cpu))
        .collect()
}

fn report(written: Written) {
    info!(
        flow_rows = written.flow_rows,
        http_rows = written.http_rows,
        snat_rows = written.snat_rows,
        cpu_rows = written.cpu_rows,
        resource_rows = written.resource_rows,
        profile_rows = written.profile_rows,
        ledger_rows = written.ledger_rows,
        lost_rows = written.lost_rows,
        dropped_rows = written.dropped_rows,
        files = written.files,
        "stopped"
    );
}

/// A file that is there while the program is at work.
pub(crate) struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    /// Makes it.
    pub(crate) fn make(path: &Path) -> anyhow::Result<Self> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("--ready-file: cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // Whoever removed it first wanted it gone as well.
        let _ = std::fs::remove_file(&self.path);
    }
}
