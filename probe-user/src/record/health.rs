//! How the recorder is doing, for `/metrics` and `/healthz`.
//!
//! It is well once every kind that the cluster has was listed, and as long as the pods can be read
//! and rows reach the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::kinds::KINDS;
use super::reading::Reading;
use super::versions::Scope;
use super::watch::Failure;
use crate::health::Shown;
use crate::health::exposition::{Labels, counter, gauge, shipping};
use crate::ship::Shipped;
use crate::spool::Written;

/// How long reading may fail before the recorder counts as ill: a server's restart is shorter.
const PATIENCE: Duration = Duration::from_secs(120);

/// Figures of the recorder.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Whether the server said once which kinds it has.
    pub is_discovered: bool,
    /// Kinds in their scopes that are watched.
    pub present: BTreeSet<String>,
    /// Those of them whose first list is not complete.
    pub unlisted: BTreeSet<String>,
    /// Kinds that the cluster lacks.
    pub absent: BTreeSet<String>,
    /// Kinds whose reading fails now.
    pub reading: Reading,
    /// Rows made, by kind.
    pub rows: BTreeMap<&'static str, u64>,
    /// Lists begun.
    pub lists: u64,
    /// Objects that are there.
    pub objects: u64,
    /// Why rows do not reach the disk, if they do not.
    pub unwritten: Option<String>,
    /// What is on disk.
    pub written: Written,
    /// What was shipped from there; absent where nothing is.
    pub shipped: Option<Shipped>,
}

/// Where the recorder leaves its figures.
#[derive(Debug, Default)]
pub struct RecorderHealth {
    latest: Mutex<Figures>,
}

/// A kind as it is shown, with the namespace where only one is read.
pub fn name(scope: &Scope) -> String {
    match &scope.namespace {
        Some(namespace) => format!("{namespace}/{}", scope.kind.kind),
        None => scope.kind.kind.to_owned(),
    }
}

impl RecorderHealth {
    /// Before anything is known.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Puts what the recorder knows now.
    pub fn update(&self, figures: Figures) {
        *self.lock() = figures;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Figures> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    /// Whether every kind that the cluster has was listed once, but those that may not be read.
    pub fn is_complete(&self) -> bool {
        let refused = |name: &String| {
            let failure = self.reading.failure(name);
            matches!(failure, Some(Failure::Refused | Failure::Absent))
        };
        self.is_discovered && self.unlisted.iter().all(refused)
    }

    fn complaint(&self, now: Instant) -> Option<String> {
        if let Some(reason) = &self.unwritten {
            return Some(format!("rows are not written: {reason}"));
        }
        if !self.is_discovered {
            return Some("the API server has not said which kinds it has".to_owned());
        }
        let refused = self.reading.failing(now).find(|(name, failure, _)| {
            let kind = name.rsplit('/').next().unwrap_or_default();
            let is_core = KINDS
                .iter()
                .any(|known| known.is_core() && known.kind == kind);
            is_core && **failure == Failure::Refused
        });
        if let Some((name, ..)) = refused {
            return Some(format!("{name} may not be read: grant get, list and watch"));
        }
        if !self.is_complete() {
            let names: Vec<&str> = self.unlisted.iter().map(String::as_str).collect();
            return Some(format!("not listed yet: {}", names.join(", ")));
        }
        let mut failing = self.reading.failing(now);
        failing.find_map(|(name, failure, since)| match failure {
            Failure::Other(reason) if since > PATIENCE => {
                Some(format!("{name} cannot be read: {reason}"))
            }
            _ => None,
        })
    }
}

impl Shown for RecorderHealth {
    fn complaint(&self, now: Instant) -> Option<String> {
        self.lock().complaint(now)
    }

    fn prefix(&self) -> &'static str {
        "weighbridge_recorder"
    }

    fn metrics(&self) -> Box<dyn Collector> {
        let figures = self.lock().clone();
        let is_healthy = figures.complaint(Instant::now()).is_none();
        Box::new(Snapshot {
            figures,
            is_healthy,
        })
    }
}

#[derive(Debug)]
struct Snapshot {
    figures: Figures,
    is_healthy: bool,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = &self.figures;
        let single = |value| -> [Labels<'_, 0>; 1] { [([], value)] };
        let rows: Vec<_> = figures
            .rows
            .iter()
            .map(|(kind, rows)| ([("kind", *kind)], *rows))
            .collect();
        counter(&mut encoder, "rows", "Versions of objects recorded", &rows)?;
        let states = [
            ([("state", "watched")], figures.present.len()),
            ([("state", "absent")], figures.absent.len()),
            (
                [("state", "failing")],
                figures.reading.failing(Instant::now()).count(),
            ),
        ];
        let states = states.map(|(labels, kinds)| (labels, kinds as u64));
        gauge(&mut encoder, "kinds", "Kinds by how they are read", &states)?;
        for (name, help, value) in [
            ("lists", "Lists begun, after an outage too", figures.lists),
            (
                "read_failures",
                "Failed attempts to read from the API server",
                figures.reading.failures(),
            ),
            ("rows_written", "Rows on disk", figures.written.object_rows),
            (
                "spool_errors",
                "Failed attempts to write or merge files",
                figures.written.errors,
            ),
        ] {
            counter(&mut encoder, name, help, &single(value))?;
        }
        for (name, help, value) in [
            ("objects", "Objects that are there", figures.objects),
            ("spool_files", "Files on disk", figures.written.files),
            ("spool_bytes", "Bytes of those files", figures.written.bytes),
            (
                "healthy",
                "1 as long as /healthz says ok",
                u64::from(self.is_healthy),
            ),
        ] {
            gauge(&mut encoder, name, help, &single(value))?;
        }
        shipping(&mut encoder, &figures.written, figures.shipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Figures {
        Figures {
            is_discovered: true,
            present: BTreeSet::from(["Pod".to_owned(), "Egress".to_owned()]),
            ..Figures::default()
        }
    }

    fn check(figures: Figures, expected: Option<&str>) {
        let complaint = figures.complaint(Instant::now());
        assert_eq!(complaint.as_deref(), expected);
    }

    #[test]
    fn well_is_who_listed_everything_and_may_read_the_core() {
        let other = || Failure::Other("connection refused".to_owned());
        let failing = |name: &str, failure: Failure, ago: u64| {
            let since = Instant::now()
                .checked_sub(Duration::from_secs(ago))
                .unwrap();
            let mut reading = Reading::default();
            reading.failed(name, failure, since);
            reading
        };
        check(
            Figures::default(),
            Some("the API server has not said which kinds it has"),
        );
        check(complete(), None);
        let unlisted = BTreeSet::from(["Egress".to_owned()]);
        check(
            Figures {
                unlisted: unlisted.clone(),
                ..complete()
            },
            Some("not listed yet: Egress"),
        );
        let failing_kind = failing("Egress", Failure::Refused, 0);
        check(
            Figures {
                unlisted,
                reading: failing_kind,
                ..complete()
            },
            None,
        );
        check(
            Figures {
                reading: failing("Pod", Failure::Refused, 0),
                ..complete()
            },
            Some("Pod may not be read: grant get, list and watch"),
        );
        check(
            Figures {
                reading: failing("Pod", other(), 5),
                ..complete()
            },
            None,
        );
        check(
            Figures {
                reading: failing("Pod", other(), 200),
                ..complete()
            },
            Some("Pod cannot be read: connection refused"),
        );
    }
}
