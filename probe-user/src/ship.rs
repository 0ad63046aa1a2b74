//! The way from the spool to an object store, on a thread of its own.
//!
//! Files that are complete leave oldest first, one at a time and no faster than they may; each is
//! removed from the spool once the store confirmed it, and what an outage held up follows. It
//! refuses to hold anything else up: nobody waits for it but the end of the program, and that for
//! a bounded time. What is then still there leaves at the next start.

mod backoff;
mod outage;
mod upload;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use object_store::RetryConfig;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;
use trace_schema::store::{Patience, StoreError, StoreUrl, words};
use tracing::warn;

pub use self::outage::Hindrance;
use self::outage::Outage;
use self::upload::{ShipError, Upload};
use crate::clock;
use crate::spool::stock::{Held, Stock};

/// Time between two looks for files that may leave.
const IDLE: Duration = Duration::from_millis(500);
/// How long the start waits for the store's first word. A store that is away holds up nothing.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// How long the end of the program tries to reach a store that does not take files.
const LAST_TRIES: Duration = Duration::from_secs(5);
/// Attempts at a file that cannot be read, a moment apart: a lack of descriptors or of memory passes,
/// and others shall not wait for one that is broken.
const READ_ATTEMPTS: u32 = 5;
const READ_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Where clouds tell their machines who they are.
const METADATA_SERVICE: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80));
const METADATA_PATIENCE: Duration = Duration::from_secs(1);
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
    /// When the store confirmed the last one, UTC microseconds; 0 before the first.
    pub last_success_us: i64,
    /// Attempts that failed.
    pub failures: u64,
    /// Whether the last attempt failed.
    pub is_failing: bool,
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
    #[error("--store {}: {}", .0, words(&.0.source))]
    Store(StoreError),
    /// The store says no, and will until somebody does something.
    #[error("--store {url}: {} ({words})", hindrance.advice())]
    Hindered {
        /// Its URL.
        url: StoreUrl,
        /// What is wrong.
        hindrance: Hindrance,
        /// What it says.
        words: String,
    },
    /// Nobody answers, and nobody would be told who asks.
    #[error("--store {url}: no credentials, neither in the environment nor of this machine: {}", url.wants())]
    NoCredentials {
        /// Its URL.
        url: StoreUrl,
    },
    /// The system refused a thread.
    #[error("cannot start a thread to ship files")]
    Thread(#[from] std::io::Error),
}

impl Shipping {
    /// Starts to ship what is in the stock of the spool at `spool_root`. A store that says at once
    /// that it will take nothing is an error; one that is silent may be back later.
    pub fn start(
        destination: &Destination,
        spool_root: PathBuf,
        stock: Arc<Stock>,
    ) -> Result<Self, StartError> {
        let Destination {
            url,
            bytes_per_second,
        } = destination;
        let store = url.open(&PATIENCE).map_err(StartError::Store)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let upload = Upload::new(store, spool_root, *bytes_per_second);
        let outage = first_word(&runtime, &upload, url)?;
        let (deadline, told) = watch::channel(None);
        let shipped = Arc::new(Mutex::new(Shipped {
            is_failing: outage.is_on(),
            ..Shipped::default()
        }));
        let worker = Worker {
            upload,
            url: url.to_string(),
            stock: Arc::clone(&stock),
            shipped: Arc::clone(&shipped),
            deadline: told,
        };
        let thread = std::thread::Builder::new().spawn(move || {
            be_nice();
            runtime.block_on(worker.run(outage));
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

    /// Ships what is complete for at most so long, and ends; earlier where the store takes nothing.
    pub fn finish(self, limit: Duration) -> Shipped {
        self.deadline.send_replace(Some(Instant::now() + limit));
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        shown(&self.shipped, &self.stock)
    }
}

/// Asks the store whether it will take files. An outage does not keep the probe from counting.
fn first_word(runtime: &Runtime, upload: &Upload, url: &StoreUrl) -> Result<Outage, StartError> {
    let mut outage = Outage::default();
    let is_local = url.local_folder().is_some();
    let asked = async {
        let answer = tokio::time::timeout(FIRST_WORD, upload.knock()).await;
        if is_local {
            upload.forget_knock().await;
        }
        answer
    };
    let (hindrance, words) = match runtime.block_on(asked) {
        Ok(Ok(())) => return Ok(outage),
        Ok(Err(error)) => (Hindrance::of(&error), words(&error)),
        Err(_elapsed) => (Hindrance::Silent, format!("not within {FIRST_WORD:?}")),
    };
    let url = url.clone();
    if hindrance.is_lasting() || is_local {
        return Err(StartError::Hindered {
            url,
            hindrance,
            words,
        });
    }
    if hindrance == Hindrance::Silent && url.lacks_credentials() && !has_metadata_service() {
        return Err(StartError::NoCredentials { url });
    }
    outage.is_hindered(&url.to_string(), hindrance, &words);
    Ok(outage)
}

/// Whether this machine is a cloud's, whose metadata service gives credentials to what runs on it.
fn has_metadata_service() -> bool {
    std::net::TcpStream::connect_timeout(&METADATA_SERVICE, METADATA_PATIENCE).is_ok()
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
    async fn run(self, outage: Outage) {
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
            () = self.ship_all(outage) => {}
            () = over => {}
        }
        let (files, bytes) = self.stock.waiting();
        if files > 0 {
            warn!(
                files,
                bytes, "not everything was shipped; the rest leaves at the next start"
            );
        }
    }

    /// Ships file after file; returns when the end was asked for and nothing is left, or nothing
    /// leaves.
    async fn ship_all(&self, mut outage: Outage) {
        let mut last_tries_end = None;
        let mut unread = (PathBuf::new(), 0);
        loop {
            let Some(file) = self.stock.next_to_leave() else {
                if self.is_ending() {
                    return;
                }
                self.pause(IDLE).await;
                continue;
            };
            let wait = match self.upload.ship(&file).await {
                Ok(bytes) => {
                    self.shipped_one(&file, bytes);
                    outage.end(&self.url);
                    continue;
                }
                Err(error @ ShipError::Store { .. }) => {
                    self.stock.keep(&file.path);
                    self.failed_once(true);
                    outage.failed(&self.url, &error)
                }
                Err(ShipError::Read { .. }) if tries_again(&mut unread, &file.path) => {
                    self.stock.keep(&file.path);
                    self.failed_once(false);
                    READ_AGAIN_AFTER
                }
                Err(error) => {
                    // None is mended by trying again, and others must not wait behind it.
                    self.stock.remove(&file.path);
                    self.failed_once(false);
                    let reason = std::error::Error::source(&error).map(words);
                    warn!(reason, "{error}");
                    continue;
                }
            };
            if self.is_ending() {
                let end = *last_tries_end.get_or_insert_with(|| Instant::now() + LAST_TRIES);
                if Instant::now() >= end {
                    return;
                }
            }
            self.pause(wait).await;
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
        shipped.last_success_us = clock::now_us();
        shipped.is_failing = false;
    }

    fn failed_once(&self, is_of_store: bool) {
        let mut shipped = self.shipped.lock().unwrap_or_else(PoisonError::into_inner);
        shipped.failures += 1;
        shipped.is_failing |= is_of_store;
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
        // A clone has seen what this one has: nothing since the start.
        let mut deadline = self.deadline.clone();
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            _ = deadline.changed() => {}
        }
    }
}

/// Counts an attempt at a file in vain, and says whether another is worth it.
fn tries_again(unread: &mut (PathBuf, u32), path: &Path) -> bool {
    if unread.0 != path {
        *unread = (path.to_owned(), 0);
    }
    unread.1 += 1;
    unread.1 < READ_ATTEMPTS
}

#[cfg(test)]
mod tests;
