//! What keeps files from leaving: told by the types of the store's errors, said once and with what
//! to do.
//!
//! It refuses to say the same of every attempt: how many there were is for the metrics to say.

use std::time::Duration;

use object_store::client::HttpError;
use tokio::time::Instant;
use trace_schema::store::{causes, words};
use tracing::{info, warn};

use super::backoff::{self, Backoff};
use super::upload::ShipError;

/// Why a store takes no files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The container or bucket is not there.
    NoPlace,
    /// It refuses these credentials, or what they may do.
    Refused,
    /// Nobody answers.
    Silent,
    /// It answers that something else is wrong.
    Other,
}

impl Hindrance {
    /// By an attempt to write: only there does "not found" mean the container.
    pub(super) fn of(error: &object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NoPlace,
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => Self::Refused,
            _ if causes(error).any(|cause| cause.is::<HttpError>()) => Self::Silent,
            _ => Self::Other,
        }
    }

    /// Whether it stays as it is until somebody does something.
    pub(super) fn is_lasting(self) -> bool {
        matches!(self, Self::NoPlace | Self::Refused)
    }

    /// What is wrong, with what to do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NoPlace => "there is no such container or bucket: make it, or give another",
            Self::Refused => {
                "it refuses the credentials: look at AWS_…, AZURE_… or GOOGLE_… in the \
                 environment, and whether they may write"
            }
            Self::Silent => "it does not answer",
            Self::Other => "it takes no files",
        }
    }
}

/// A time in which nothing could be shipped, if it is one.
#[derive(Debug, Default)]
pub(super) struct Outage {
    backoff: Backoff,
    since: Option<Instant>,
    said: Option<Hindrance>,
}

impl Outage {
    /// Says what is wrong where that was not said yet; returns how long to wait.
    pub(super) fn failed(&mut self, url: &str, error: &ShipError) -> Duration {
        let (hindrance, words) = match error {
            ShipError::Store { source, .. } => (Hindrance::of(source), words(source)),
            error => (Hindrance::Other, words(error)),
        };
        self.is_hindered(url, hindrance, &words);
        self.backoff.next(backoff::chance())
    }

    /// Says what is wrong where that was not said yet.
    pub(super) fn is_hindered(&mut self, url: &str, hindrance: Hindrance, words: &str) {
        self.since.get_or_insert_with(Instant::now);
        // A reason that changes is worth a line; one that stays is not.
        if self.said.replace(hindrance) != Some(hindrance) {
            let advice = hindrance.advice();
            warn!("{url}: {advice} ({words}); files wait in the spool, and are tried again");
        }
    }

    /// Whether there is one.
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// A file has left.
    pub(super) fn end(&mut self, url: &str) {
        if let Some(since) = self.since.take() {
            let length = humantime::format_duration(Duration::from_secs(since.elapsed().as_secs()));
            info!(%length, "{url} takes files again");
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpErrorKind;

    fn generic(source: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: Box::new(source),
        }
    }

    #[test]
    fn hindrances_are_told_by_type() {
        let path = "flows/1.parquet".to_owned();
        let source = || Box::new(std::io::Error::other("said"));
        for (error, expected) in [
            (
                object_store::Error::NotFound {
                    path: path.clone(),
                    source: source(),
                },
                Hindrance::NoPlace,
            ),
            (
                object_store::Error::PermissionDenied {
                    path,
                    source: source(),
                },
                Hindrance::Refused,
            ),
            (
                generic(HttpError::new(
                    HttpErrorKind::Connect,
                    std::io::Error::other("refused"),
                )),
                Hindrance::Silent,
            ),
            (generic(std::io::Error::other("500")), Hindrance::Other),
        ] {
            assert_eq!(Hindrance::of(&error), expected, "{error}");
        }
    }

    #[tokio::test]
    async fn an_outage_is_said_once_for_each_reason() {
        let mut outage = Outage::default();
        assert!(!outage.is_on());
        outage.is_hindered("s3://b", Hindrance::Silent, "x");
        assert!(outage.is_on());
        assert_eq!(outage.said, Some(Hindrance::Silent));
        outage.is_hindered("s3://b", Hindrance::Refused, "y");
        assert_eq!(outage.said, Some(Hindrance::Refused));
        outage.end("s3://b");
        assert!(!outage.is_on() && outage.said.is_none());
    }
}
