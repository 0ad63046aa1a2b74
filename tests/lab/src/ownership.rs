//! The labs that this process owns, removed when a signal ends it.
//!
//! A handler can do little by itself, so a thread waits for SIGINT, SIGTERM and SIGHUP, removes the
//! labs and then ends the process the way the signal would have.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::state::teardown;

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
    static WATCHER: OnceLock<()> = OnceLock::new();
    owned()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(id.to_owned());
    WATCHER.get_or_init(|| {
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else {
            return;
        };
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
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
