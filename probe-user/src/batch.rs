//! Intervals on their way to disk, on a thread of their own.
//!
//! A slow disk must not hold up the sampling loop, so intervals wait in a short queue. It refuses
//! to let the queue grow: an interval that finds it full is lost, and counted as lost.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::spool::stock::Stock;
use crate::spool::{Interval, Spool, SpoolError, Written};

/// Intervals that may wait for the disk.
const QUEUE: usize = 16;
/// Bytes of small files that are merged before their time.
const MERGE_BYTES: u64 = 128 << 20;

/// The way to the disk. [`Batches::finish`] ends it; dropped, it ends without a word.
#[derive(Debug)]
pub struct Batches {
    sender: SyncSender<Interval>,
    written: Arc<Mutex<Written>>,
    stock: Arc<Stock>,
    thread: JoinHandle<Result<(), SpoolError>>,
}

/// An interval that was not taken, because those before it still wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk is too slow: {lost_rows} rows lost, {QUEUE} intervals wait to be written")]
pub struct TooSlow {
    /// Rows of the interval.
    pub lost_rows: u64,
}

impl Batches {
    /// Starts the thread; files are merged every `merge_every` and at the end.
    pub fn start(spool: Spool, merge_every: Duration) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let written = Arc::new(Mutex::new(spool.written()));
        let shared = Arc::clone(&written);
        let stock = spool.stock();
        let thread = std::thread::Builder::new()
            .spawn(move || work(spool, &receiver, merge_every, &shared))?;
        Ok(Self {
            sender,
            written,
            stock,
            thread,
        })
    }

    /// Hands over an interval without waiting.
    pub fn submit(&self, interval: Interval) -> Result<(), TooSlow> {
        let refused = match self.sender.try_send(interval) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(interval) | TrySendError::Disconnected(interval)) => interval,
        };
        let lost_rows = refused.rows();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.lost_intervals += 1;
        written.lost_rows += lost_rows;
        Err(TooSlow { lost_rows })
    }

    /// What is on disk and what was lost.
    pub fn written(&self) -> Written {
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // Files leave between two intervals as well.
        Written {
            files: self.stock.files(),
            bytes: self.stock.bytes(),
            ..written
        }
    }

    /// Waits until every interval handed over is written, merges, and returns the totals with the
    /// first error that lost rows or left files unmerged at the end.
    pub fn finish(self) -> (Written, Result<(), SpoolError>) {
        let Self {
            sender,
            written,
            thread,
            stock: _,
        } = self;
        drop(sender);
        let outcome = thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let written = *written.lock().unwrap_or_else(PoisonError::into_inner);
        (written, outcome)
    }
}

fn work(
    mut spool: Spool,
    receiver: &Receiver<Interval>,
    merge_every: Duration,
    shared: &Mutex<Written>,
) -> Result<(), SpoolError> {
    let mut first_error = Ok(());
    let mut known = spool.written();
    let mut next_merge = Instant::now() + merge_every;
    loop {
        let wait = next_merge.saturating_duration_since(Instant::now());
        let outcome = match receiver.recv_timeout(wait) {
            Ok(interval) => {
                let written = spool.write(interval);
                if spool.waiting_bytes() > MERGE_BYTES || Instant::now() >= next_merge {
                    next_merge = Instant::now() + merge_every;
                    merge(&mut spool);
                }
                written
            }
            Err(RecvTimeoutError::Timeout) => {
                next_merge = Instant::now() + merge_every;
                merge(&mut spool);
                Ok(())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let merged = spool.merge();
                publish(shared, &mut known, spool.written());
                return first_error.and(merged);
            }
        };
        publish(shared, &mut known, spool.written());
        if let Err(error) = outcome {
            let error = log(error);
            if first_error.is_ok() {
                first_error = Err(error);
            }
        }
    }
}

/// What is not merged now stays, and is merged with the next files.
fn merge(spool: &mut Spool) {
    if let Err(error) = spool.merge() {
        tracing::error!("{:#}", anyhow::Error::from(error));
    }
}

/// Adds what the spool did since the last time: losses of the queue are counted beside it.
fn publish(shared: &Mutex<Written>, known: &mut Written, now: Written) {
    let mut written = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let queue_rows = written.lost_rows - known.lost_rows;
    let queue_intervals = written.lost_intervals - known.lost_intervals;
    *written = Written {
        lost_rows: now.lost_rows + queue_rows,
        lost_intervals: now.lost_intervals + queue_intervals,
        ..now
    };
    *known = now;
}

fn log(error: SpoolError) -> SpoolError {
    let cause = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    tracing::error!("{error}: {cause}");
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Origin;
    use trace_schema::snat::SnatRow;

    fn batches(root: &std::path::Path) -> Batches {
        let origin = Origin {
            root: root.to_owned(),
            node: "worker".to_owned(),
            boot_id: "b0071d00".to_owned(),
            instance: 1,
            clock: "test".to_owned(),
        };
        Batches::start(Spool::open(origin, None).unwrap(), Duration::from_secs(60)).unwrap()
    }

    fn interval(start_us: i64) -> Interval {
        let mut interval = Interval {
            start_us,
            ..Interval::default()
        };
        interval.snat.push(SnatRow {
            interval_start_us: start_us,
            interval_end_us: start_us,
            node: "worker".to_owned(),
            boot_id: "b0071d00".to_owned(),
            interface: "eth0".to_owned(),
            protocol: "tcp".to_owned(),
            pre: None,
            post: trace_schema::snat::Tuple {
                src_address: "192.0.2.1".to_owned(),
                dst_address: "192.0.2.2".to_owned(),
                src_port: 1,
                dst_port: 2,
            },
            translated: None,
            method: trace_schema::snat::Method::Unpaired,
            witness: trace_schema::snat::Witness::Absent,
            first_seen_us: start_us,
            last_seen_us: start_us,
            packets: 1,
            buffers: 1,
            packets_until_paired: None,
        });
        interval
    }

    #[test]
    fn everything_handed_over_is_on_disk_and_merged_at_the_end() {
        let root = tempfile::tempdir().unwrap();
        let batches = batches(root.path());
        for second in 0..10 {
            batches.submit(interval(second * 1_000_000)).unwrap();
        }
        let (written, outcome) = batches.finish();
        outcome.unwrap();
        assert_eq!(
            (written.snat_rows, written.files, written.lost_rows),
            (10, 1, 0)
        );
    }

    #[test]
    fn every_row_is_written_or_counted_as_lost() {
        let root = tempfile::tempdir().unwrap();
        let batches = batches(root.path());
        let (mut refused, handed_over) = (0, 2_000);
        for second in 0..handed_over {
            if let Err(error) = batches.submit(interval(second * 1_000_000)) {
                refused += error.lost_rows;
            }
        }
        let (written, outcome) = batches.finish();
        outcome.unwrap();
        assert!(
            refused > 0,
            "the disk kept up with a loop that does nothing else"
        );
        assert_eq!(written.lost_rows, refused);
        assert_eq!(written.snat_rows + written.lost_rows, handed_over as u64);
    }

    #[test]
    fn a_failed_write_is_counted_and_returned_at_the_end() {
        let root = tempfile::tempdir().unwrap();
        let batches = batches(root.path());
        std::fs::write(root.path().join("snat"), "").unwrap();
        batches.submit(interval(0)).unwrap();
        let (written, outcome) = batches.finish();
        assert!(matches!(
            outcome,
            Err(SpoolError::Write { table: "snat", .. })
        ));
        assert_eq!((written.lost_rows, written.errors), (1, 1));
    }
}
