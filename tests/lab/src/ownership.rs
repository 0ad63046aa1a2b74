//! The labs that this process owns, removed when a signal ends it.
//!
//! A handler can do little by itself, so a thread waits for SIGINT, SIGTERM and SIGHUP, removes the
//! labs and then ends the process the way the signal would have. Who has something to finish first
//! asks for an [`Interruption`]: then only the second signal does that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::state::teardown;

/// Whether a signal has asked this process to end.
#[derive(Clone, Copy, Debug)]
pub struct Interruption(());

static AWAITED: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);

impl Interruption {
    /// From now on the first signal is only noted here. Processes that the lab starts in the
    /// background are then out of reach of a terminal's Ctrl-C, so that they can be ended in order.
    pub fn await_signals() -> Self {
        AWAITED.store(true, Ordering::SeqCst);
        start_watcher();
        Self(())
    }

    /// Whether a signal came.
    pub fn has_come(self) -> bool {
        ASKED.load(Ordering::SeqCst)
    }
}

/// Whether processes of the lab are to be kept from signals that are meant for their owner.
pub(crate) fn signals_are_awaited() -> bool {
    AWAITED.load(Ordering::SeqCst)
}

/// Labs that this process owns.
fn owned() -> &'static Mutex<Vec<String>> {
    static OWNED: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    OWNED.get_or_init(Mutex::default)
}

/// Notes that a lab is gone.
pub(crate) fn forget(id: &str) {
    owned()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|owned| owned != id);
}

/// Notes the lab and, the first time, starts the thread that removes all of them on a signal.
pub(crate) fn watch_signals(id: &str) {
    owned()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(id.to_owned());
    start_watcher();
}

fn start_watcher() {
    static WATCHER: OnceLock<()> = OnceLock::new();
    WATCHER.get_or_init(|| {
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else {
            return;
        };
        thread::spawn(move || {
            let noted = |_: &i32| signals_are_awaited() && !ASKED.swap(true, Ordering::SeqCst);
            if let Some(signal) = signals.forever().find(|signal| !noted(signal)) {
                let ids = owned().lock().unwrap_or_else(PoisonError::into_inner);
                for id in ids.iter() {
                    if let Err(error) = teardown(id) {
                        eprintln!("lab {id}: {error}");
                    }
                }
                // Ends the process the way the signal would have.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        });
    });
}
