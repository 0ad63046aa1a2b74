//! Which kinds cannot be read now, and which of it is worth a line.
//!
//! A server that is away fails every kind: one line says so, and one that it answers again, however
//! it comes back. A server that starts refuses for a while what it grants later; what is refused is
//! said by kind, and so is its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::watch::Failure;

/// Twice the longest time that kube's watcher waits until it tries again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A kind, or the whole server, cannot be read.
    Failed(String, Failure),
    /// The server was away, and a kind was read again.
    AnswersAgain,
    /// The kind was refused or absent, and is read now.
    ReadAgain(String),
}

/// Kinds that cannot be read now.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    failing: BTreeMap<String, Failing>,
    is_away: bool,
    failures: u64,
}

/// Why a kind cannot be read, since when, and when that was seen last.
#[derive(Clone, Debug)]
struct Failing {
    why: Failure,
    since: Instant,
    last: Instant,
}

impl Reading {
    /// An attempt to read a kind failed.
    pub fn failed(&mut self, name: &str, why: Failure, now: Instant) -> Option<News> {
        self.failures += 1;
        let known = self.failing.get(name);
        let is_news = if why.is_of_server() {
            !std::mem::replace(&mut self.is_away, true)
        } else {
            known.is_none_or(|known| known.why != why)
        };
        // One refused for long is not away for long.
        let same = known.filter(|known| known.why.is_of_server() == why.is_of_server());
        let failing = Failing {
            why: why.clone(),
            since: same.map_or(now, |known| known.since),
            last: now,
        };
        self.failing.insert(name.to_owned(), failing);
        is_news.then(|| News::Failed(name.to_owned(), why))
    }

    /// A kind can be read, whether it said so or is quiet.
    pub fn answered(&mut self, name: &str) -> Option<News> {
        let was = self.failing.remove(name);
        let is_back = self.is_away && !self.failing.values().any(|kind| kind.why.is_of_server());
        if is_back {
            self.is_away = false;
            return Some(News::AnswersAgain);
        }
        was.filter(|was| !was.why.is_of_server())
            .map(|_| News::ReadAgain(name.to_owned()))
    }

    /// Nothing is said where a watch goes on and nothing happens: what failed would have failed
    /// again by now.
    pub fn forget_old(&mut self, now: Instant) -> Vec<News> {
        let old = self
            .failing
            .iter()
            .filter(|(_, failing)| now.saturating_duration_since(failing.last) > LONGEST_BACKOFF);
        let old: Vec<String> = old.map(|(name, _)| name.clone()).collect();
        old.iter().filter_map(|name| self.answered(name)).collect()
    }

    /// Kinds that cannot be read now, why, and for how long.
    pub fn failing(&self, now: Instant) -> impl Iterator<Item = (&str, &Failure, Duration)> {
        self.failing.iter().map(move |(name, failing)| {
            let since = now.saturating_duration_since(failing.since);
            (name.as_str(), &failing.why, since)
        })
    }

    /// Why a kind cannot be read, where it cannot.
    pub fn failure(&self, name: &str) -> Option<&Failure> {
        self.failing.get(name).map(|failing| &failing.why)
    }

    /// Failed attempts so far.
    pub fn failures(&self) -> u64 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other() -> Failure {
        Failure::Other("connection refused".to_owned())
    }

    fn failed(name: &str, why: Failure) -> Option<News> {
        Some(News::Failed(name.to_owned(), why))
    }

    #[test]
    fn an_outage_is_one_line_and_its_end_another() {
        let (mut reading, now) = (Reading::default(), Instant::now());
        assert_eq!(reading.failed("Pod", other(), now), failed("Pod", other()));
        assert_eq!(reading.failed("Node", other(), now), None);
        assert_eq!(reading.failed("Pod", other(), now), None);
        assert_eq!(reading.answered("Node"), None, "Pod is still away");
        assert_eq!(reading.answered("Pod"), Some(News::AnswersAgain));
        assert_eq!(reading.answered("Pod"), None);
        assert_eq!((reading.failing(now).count(), reading.failures()), (0, 3));
    }

    #[test]
    fn a_server_that_refuses_everything_while_it_starts_answers_again_all_the_same() {
        let (mut reading, now) = (Reading::default(), Instant::now());
        for name in ["Node", "Pod"] {
            reading.failed(name, other(), now);
        }
        for name in ["Node", "Pod"] {
            let said = reading.failed(name, Failure::Refused, now);
            assert_eq!(said, failed(name, Failure::Refused));
        }
        // Still the same outage.
        assert_eq!(reading.failed("Node", other(), now), None);
        assert_eq!(
            reading.failed("Node", Failure::Refused, now),
            failed("Node", Failure::Refused)
        );
        assert_eq!(reading.answered("Pod"), Some(News::AnswersAgain));
        let read = News::ReadAgain("Node".to_owned());
        assert_eq!(reading.answered("Node"), Some(read));
        // And the next one is said.
        assert_eq!(reading.failed("Pod", other(), now), failed("Pod", other()));
    }

    #[test]
    fn a_quiet_watch_is_read_after_the_longest_wait() {
        let (mut reading, now) = (Reading::default(), Instant::now());
        reading.failed("Pod", other(), now);
        assert_eq!(reading.forget_old(now + LONGEST_BACKOFF), []);
        let later = now + LONGEST_BACKOFF + Duration::from_secs(1);
        assert_eq!(reading.forget_old(later), [News::AnswersAgain]);
        assert_eq!(reading.failure("Pod"), None);
    }

    #[test]
    fn an_outage_begins_with_it_and_not_with_an_earlier_refusal() {
        let (mut reading, now) = (Reading::default(), Instant::now());
        reading.failed("Egress", Failure::Refused, now);
        let hour = Duration::from_secs(3600);
        reading.failed("Egress", other(), now + hour);
        let minute = Duration::from_secs(60);
        reading.failed("Egress", other(), now + hour + minute);
        let failing: Vec<_> = reading.failing(now + hour + minute).collect();
        assert_eq!(failing, [("Egress", &other(), minute)]);
    }
}
