//! The way from the spool to an object store, on a thread of its own.
//!
//! Files that are complete leave oldest first, one at a time and no faster than they may; each is
//! removed from the spool once the store confirmed it, and what an outage held up follows. It
//! refuses to hold anything else up: nobody waits for it but the end of the program, and that for
//! a bounded time. What is then still there leaves at the next start.

mod backoff;
mod upload;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use object_store::RetryConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use trace_schema::store::{Patience, StoreError, StoreUrl, without_secrets};
use tracing::{info, warn};

use self::backoff::Backoff;
use self::upload::{ShipError, Upload};
use crate::spool::stock::{Held, Stock};

/// Time between two looks for files that may leave.
const IDLE: Duration = Duration::from_millis(500);
/// Time between two lines of the log that say the same of an outage.
const REMINDER: Duration = Duration::from_secs(60);
/// How much later than the sampling this thread gets the processor.
const NICENESS: i32 = 10;
/// How long a request may take; a part of a file has to go through a slow uplink in it.
const PATIENCE: Patience = Patience {
    connect_seconds: 10,
    request_seconds: 120,
    retry: RetryConfig {
        backoff: object_store::BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 2,
        retry_timeout: Duration::from_secs(120),
    },
};

/// Where to ship to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The store.
    pub url: StoreUrl,
    /// Bytes a second at most.
    pub bytes_per_second: u64,
}

/// What was shipped so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Files that the store confirmed.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Complete files that wait.
    pub waiting_files: u64,
    /// Bytes of those files.
    pub waiting_bytes: u64,
}

/// The running thread. [`Shipping::finish`] ends it; dropped, it ends with the program.
#[derive(Debug)]
pub struct Shipping {
    deadline: watch::Sender<Option<Instant>>,
    shipped: Arc<Mutex<Shipped>>,
    stock: Arc<Stock>,
    thread: JoinHandle<()>,
}

/// Shipping could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error("--store {}", without_secrets(&.0.to_string()))]
    Store(#[source] StoreError),
    /// The system refused a thread.
    #[error("cannot start a thread to ship files")]
    Thread(#[from] std::io::Error),
}

impl Shipping {
    /// Starts to ship what is in the stock of the spool at `spool_root`.
    pub fn start(
        destination: &Destination,
        spool_root: PathBuf,
        stock: Arc<Stock>,
    ) -> Result<Self, StartError> {
        let store = destination.url.open(&PATIENCE).map_err(StartError::Store)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (deadline, told) = watch::channel(None);
        let shipped = Arc::new(Mutex::new(Shipped::default()));
        let worker = Worker {
            upload: Upload::new(store, spool_root, destination.bytes_per_second),
            url: destination.url.to_string(),
            stock: Arc::clone(&stock),
            shipped: Arc::clone(&shipped),
            deadline: told,
        };
        let thread = std::thread::Builder::new().spawn(move || {
            be_nice();
            runtime.block_on(worker.run());
        })?;
        Ok(Self {
            deadline,
            shipped,
            stock,
            thread,
        })
    }

    /// What was shipped, and what waits.
    pub fn shipped(&self) -> Shipped {
        shown(&self.shipped, &self.stock)
    }

    /// Ships what is complete for at most so long, and ends.
    pub fn finish(self, limit: Duration) -> Shipped {
        self.deadline.send_replace(Some(Instant::now() + limit));
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        shown(&self.shipped, &self.stock)
    }
}

fn shown(shipped: &Mutex<Shipped>, stock: &Stock) -> Shipped {
    let (waiting_files, waiting_bytes) = stock.waiting();
    Shipped {
        waiting_files,
        waiting_bytes,
        ..*shipped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the sampling go first where processors are short.
fn be_nice() {
    // SAFETY: plain numbers in, a number out; 0 is the calling thread.
    let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) } != 0;
    if refused {
        warn!("files are shipped at the sampling's own priority: setpriority was refused");
    }
}

struct Worker {
    upload: Upload,
    url: String,
    stock: Arc<Stock>,
    shipped: Arc<Mutex<Shipped>>,
    deadline: watch::Receiver<Option<Instant>>,
}

impl Worker {
    async fn run(self) {
        let mut told = self.deadline.clone();
        let over = async move {
            // A sender that is gone means the same as an end that has come.
            while let Ok(()) = told.changed().await {
                let deadline = *told.borrow_and_update();
                if let Some(deadline) = deadline {
                    tokio::time::sleep_until(deadline).await;
                    return;
                }
            }
        };
        tokio::select! {
            () = self.ship_all() => {}
            () = over => {
                let (files, bytes) = self.stock.waiting();
                warn!(files, bytes, "not everything was shipped; the rest leaves at the next start");
            }
        }
    }

    /// Ships file after file; returns when the end was asked for and nothing is left.
    async fn ship_all(&self) {
        let mut outage = Outage::default();
        loop {
            let Some(file) = self.stock.next_to_leave() else {
                if self.is_ending() {
                    return;
                }
                self.pause(IDLE).await;
                continue;
            };
            match self.upload.ship(&file).await {
                Ok(bytes) => {
                    self.shipped_one(&file, bytes);
                    outage.end(&self.url);
                }
                Err(error @ (ShipError::Gone { .. } | ShipError::Taken { .. })) => {
                    // Neither is mended by trying again, and others must not wait behind it.
                    self.stock.remove(&file.path);
                    self.failed_once();
                    warn!(
                        "{}",
                        without_secrets(&format!("{:#}", anyhow::Error::from(error)))
                    );
                }
                Err(error) => {
                    self.stock.keep(&file.path);
                    self.failed_once();
                    self.pause(outage.failed(&error)).await;
                }
            }
        }
    }

    fn shipped_one(&self, file: &Held, bytes: u64) {
        if let Err(error) = std::fs::remove_file(&file.path) {
            // It is shipped once more at the next start, where the store says that it has it.
            warn!(path = %file.path.display(), %error, "shipped file not removed");
        }
        self.stock.remove(&file.path);
        let mut shipped = self.shipped.lock().unwrap_or_else(PoisonError::into_inner);
        shipped.files += 1;
        shipped.bytes += bytes;
    }

    fn failed_once(&self) {
        let mut shipped = self.shipped.lock().unwrap_or_else(PoisonError::into_inner);
        shipped.failures += 1;
    }

    fn is_ending(&self) -> bool {
        self.deadline.borrow().is_some() || self.deadline.has_changed().is_err()
    }

    /// Waits, but no longer than until the end is asked for; when it was, briefly.
    async fn pause(&self, length: Duration) {
        if self.is_ending() {
            tokio::time::sleep(length.min(IDLE)).await;
            return;
        }
        let mut deadline = self.deadline.clone();
        deadline.mark_unchanged();
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            _ = deadline.changed() => {}
        }
    }
}

/// A time in which nothing could be shipped.
#[derive(Default)]
struct Outage {
    backoff: Backoff,
    since: Option<Instant>,
    reminded: Option<Instant>,
}

impl Outage {
    /// Says so, once and then now and again; returns how long to wait.
    fn failed(&mut self, error: &ShipError) -> Duration {
        let now = Instant::now();
        self.since.get_or_insert(now);
        let is_due = self.reminded.is_none_or(|last| now - last >= REMINDER);
        if is_due {
            self.reminded = Some(now);
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(found) = cause {
                text = format!("{text}: {found}");
                cause = found.source();
            }
            let text = without_secrets(&text.replace('\n', " "));
            warn!("{text}; it is tried again, nothing is lost while the spool has room");
        }
        self.backoff.next(backoff::chance())
    }

    fn end(&mut self, url: &str) {
        if let Some(since) = self.since.take() {
            let length = humantime::format_duration(Duration::from_secs(since.elapsed().as_secs()));
            info!(%length, "{url} takes files again");
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
