//! k6's responses held against what the probe counted at the backends.
//!
//! backends = client − gateway errors + undelivered + retries + mirrored + probes: a gateway answers
//! some requests itself, asks again where a backend failed it, sends copies to mirrors, and others
//! ask the backends too; and what a backend answered may not have reached k6. Each term is what its
//! caller knows: a number, bounds, or nothing. A term that is not known is never guessed to make
//! the account close, only narrowed to what the others leave for it.

use serde::Serialize;

use crate::input::k6::LoadResult;

/// A count, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// It is no less.
    pub least: u64,
    /// It is no more; absent where nothing says so.
    pub most: Option<u64>,
}

/// What the account is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Responses that the probe counted at the backends, mirrors among them, 1xx left out.
    pub backends: Bound,
    /// Responses that k6 got.
    pub client: Bound,
    /// Of those, the ones that the gateway made itself.
    pub gateway_errors: Bound,
    /// Responses of backends to requests for which k6 counts none: it gave up, or was stopped.
    pub undelivered: Bound,
    /// Responses of backends upon which the gateway asked again.
    pub retries: Bound,
    /// Responses of mirrors.
    pub mirrored: Bound,
    /// Responses to others than the gateway: kubelet, health checks, loopback.
    pub probes: Bound,
}

/// A term of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// [`Counts::backends`].
    Backends,
    /// [`Counts::client`].
    Client,
    /// [`Counts::gateway_errors`].
    GatewayErrors,
    /// [`Counts::undelivered`].
    Undelivered,
    /// [`Counts::retries`].
    Retries,
    /// [`Counts::mirrored`].
    Mirrored,
    /// [`Counts::probes`].
    Probes,
}

/// A term with what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Which.
    pub term: Term,
    /// As given.
    pub given: Bound,
    /// What the other terms leave of that; absent where nothing would close the account.
    pub narrowed: Option<Bound>,
}

/// Whether the two sides are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Closure {
    /// Every term is a number, and they are.
    Closed,
    /// They may be, within the bounds of the terms that are not numbers.
    WithinBounds,
    /// They are not, whatever the terms within their bounds.
    Open,
}

/// The account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The terms, the backends' first.
    pub terms: Vec<Entry>,
    /// The least that backends' responses may exceed the other side by; absent without a bound.
    pub residual_least: Option<i64>,
    /// The most; equal to the least where every term is a number.
    pub residual_most: Option<i64>,
    /// What that says.
    pub closure: Closure,
}

impl Bound {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        least: 0,
        most: None,
    };

    /// A number.
    pub fn exactly(count: u64) -> Self {
        Self::between(count, count)
    }

    /// Bounds on both sides.
    pub fn between(least: u64, most: u64) -> Self {
        Self {
            least,
            most: Some(most),
        }
    }

    /// A bound below.
    pub fn at_least(least: u64) -> Self {
        Self { least, most: None }
    }

    /// The number, where it is one.
    pub fn exact(self) -> Option<u64> {
        self.most.filter(|&most| most == self.least)
    }
}

impl Counts {
    /// What a load run tells, beside the backends' responses. Retries, mirrored and probes it cannot.
    pub fn of_load(load: &LoadResult, backends: Bound) -> Self {
        let client = match (load.responses(), load.unexpected) {
            (Some(responses), _) => Bound::exactly(responses),
            // Some of the requests that k6 holds for failed got a response.
            (None, Some(unexpected)) => {
                Bound::between(load.requests.saturating_sub(unexpected), load.requests)
            }
            // The file has only what was logged.
            (None, None) => Bound::at_least(load.requests),
        };
        let lost = load.failed.or(load.unexpected);
        Self {
            backends,
            client: match load.interrupted {
                true => Bound::at_least(client.least),
                false => client,
            },
            // A gateway's own response names no backend, but one that names none may be a backend's.
            gateway_errors: load
                .unnamed_responses()
                .filter(|_| !load.interrupted)
                .map_or(Bound::UNKNOWN, |unnamed| Bound::between(0, unnamed)),
            undelivered: lost
                .filter(|_| !load.interrupted)
                .map_or(Bound::UNKNOWN, |lost| Bound::between(0, lost)),
            retries: Bound::UNKNOWN,
            mirrored: Bound::UNKNOWN,
            probes: Bound::UNKNOWN,
        }
    }

    /// Terms with the sign that each has in backends less the other side.
    fn signed(&self) -> [(Term, Sign, Bound); 7] {
        use Sign::{Minus, Plus};
        [
            (Term::Backends, Plus, self.backends),
            (Term::Client, Minus, self.client),
            (Term::GatewayErrors, Plus, self.gateway_errors),
            (Term::Undelivered, Minus, self.undelivered),
            (Term::Retries, Minus, self.retries),
            (Term::Mirrored, Minus, self.mirrored),
            (Term::Probes, Minus, self.probes),
        ]
    }
}

/// Draws the account.
pub fn reconcile(counts: &Counts) -> Account {
    let signed = counts.signed();
    let residual = sum(signed.iter().map(|&(_, sign, bound)| sign.of(bound)));
    let is_possible =
        residual.least.is_none_or(|least| least <= 0) && residual.most.is_none_or(|most| most >= 0);
    let is_exact = signed.iter().all(|(_, _, bound)| bound.exact().is_some());
    let terms = signed.iter().map(|&(term, sign, given)| {
        let others = signed.iter().filter(|other| other.0 != term);
        let others = sum(others.map(|&(_, sign, bound)| sign.of(bound)));
        Entry {
            term,
            given,
            narrowed: given.narrowed_to(sign.closing(others)),
        }
    });
    Account {
        terms: terms.collect(),
        residual_least: residual.least.map(narrow),
        residual_most: residual.most.map(narrow),
        closure: match (is_possible, is_exact) {
            (false, _) => Closure::Open,
            (true, true) => Closure::Closed,
            (true, false) => Closure::WithinBounds,
        },
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

/// Possible values; wide enough for any sum of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    least: Option<i128>,
    most: Option<i128>,
}

impl Sign {
    fn of(self, bound: Bound) -> Span {
        let (least, most) = (Some(i128::from(bound.least)), bound.most.map(i128::from));
        match self {
            Self::Plus => Span { least, most },
            Self::Minus => Span { least, most }.negated(),
        }
    }

    /// What a term of this sign must be so that it and the others come to nothing.
    fn closing(self, others: Span) -> Span {
        match self {
            Self::Plus => others.negated(),
            Self::Minus => others,
        }
    }
}

impl Span {
    fn negated(self) -> Self {
        Self {
            least: self.most.map(|most| -most),
            most: self.least.map(|least| -least),
        }
    }
}

impl Bound {
    /// What lies within both; absent where nothing does.
    fn narrowed_to(self, span: Span) -> Option<Self> {
        let least = i128::from(self.least).max(span.least.unwrap_or(i128::MIN));
        let mosts = [self.most.map(i128::from), span.most];
        let most = mosts.into_iter().flatten().min();
        if most.is_some_and(|most| most < least) {
            return None;
        }
        Some(Self {
            least: u64::try_from(least).ok()?,
            most: most.and_then(|most| u64::try_from(most).ok()),
        })
    }
}

fn sum(spans: impl Iterator<Item = Span>) -> Span {
    let nothing = Span {
        least: Some(0),
        most: Some(0),
    };
    spans.fold(nothing, |sum, span| Span {
        least: sum.least.zip(span.least).map(|(one, other)| one + other),
        most: sum.most.zip(span.most).map(|(one, other)| one + other),
    })
}

fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Account, Bound, Closure, Counts, Term, reconcile};
    use crate::input::k6::{LoadResult, read_from};

    /// 1,000 responses at k6, 20 of the gateway's own; 6 asked for again, 100 mirrored, 30 probes.
    fn counts(backends: u64) -> Counts {
        Counts {
            backends: Bound::exactly(backends),
            client: Bound::exactly(1000),
            gateway_errors: Bound::exactly(20),
            undelivered: Bound::exactly(2),
            retries: Bound::exactly(6),
            mirrored: Bound::exactly(100),
            probes: Bound::exactly(30),
        }
    }

    fn check(counts: Counts, residual: (Option<i64>, Option<i64>), closure: Closure) -> Account {
        let account = reconcile(&counts);
        let found = (account.residual_least, account.residual_most);
        assert_eq!(
            (found, account.closure),
            (residual, closure),
            "{account:#?}"
        );
        account
    }

    fn narrowed(account: &Account, term: Term) -> Option<Bound> {
        let mut entries = account.terms.iter();
        entries.find(|entry| entry.term == term)?.narrowed
    }

    #[test]
    fn numbers_close_or_do_not() {
        check(counts(1118), (Some(0), Some(0)), Closure::Closed);
        let one_missing = check(counts(1117), (Some(-1), Some(-1)), Closure::Open);
        assert_eq!(narrowed(&one_missing, Term::Client), None);
        check(counts(1119), (Some(1), Some(1)), Closure::Open);
    }

    #[test]
    fn an_unknown_term_is_narrowed_and_not_guessed() {
        let unknown = Counts {
            retries: Bound::UNKNOWN,
            ..counts(1118)
        };
        let account = check(unknown, (None, Some(6)), Closure::WithinBounds);
        assert_eq!(narrowed(&account, Term::Retries), Some(Bound::exactly(6)));
        assert_eq!(narrowed(&account, Term::Client), Some(Bound::exactly(1000)));
        let two = Counts {
            mirrored: Bound::between(90, 110),
            ..unknown
        };
        let account = check(two, (None, Some(16)), Closure::WithinBounds);
        assert_eq!(
            narrowed(&account, Term::Retries),
            Some(Bound::between(0, 16))
        );
        assert_eq!(
            narrowed(&account, Term::Mirrored),
            Some(Bound::between(90, 106))
        );
    }

    #[test]
    fn what_no_retry_explains_stays_open() {
        let too_few = Counts {
            retries: Bound::UNKNOWN,
            ..counts(1100)
        };
        let account = check(too_few, (None, Some(-12)), Closure::Open);
        assert_eq!(narrowed(&account, Term::Retries), None);
        // Responses that the probe could not read may be the ones that are missing.
        let unread = Counts {
            backends: Bound::between(1100, 1112),
            ..too_few
        };
        check(unread, (None, Some(0)), Closure::WithinBounds);
    }

    #[test]
    fn nothing_but_unknown_terms() {
        let nothing = Counts {
            backends: Bound::UNKNOWN,
            client: Bound::UNKNOWN,
            gateway_errors: Bound::UNKNOWN,
            undelivered: Bound::UNKNOWN,
            retries: Bound::UNKNOWN,
            mirrored: Bound::UNKNOWN,
            probes: Bound::UNKNOWN,
        };
        check(nothing, (None, None), Closure::WithinBounds);
        let huge = Counts {
            client: Bound::exactly(u64::MAX),
            ..counts(0)
        };
        check(huge, (Some(i64::MIN), Some(i64::MIN)), Closure::Open);
    }

    fn load(text: &str) -> LoadResult {
        read_from(text.as_bytes(), "x").expect("it is read")
    }

    #[test]
    fn a_load_run_gives_what_its_file_tells() {
        let named = "time=\"2026-11-21T23:31:03Z\" level=info msg=\"[2026-11-21T23:31:03.732Z] Hostname: a\" source=console\n";
        let failed =
            "time=\"2026-11-21T23:31:03Z\" level=warning msg=\"Request Failed\" error=refused\n";
        let thrown =
            "time=\"2026-11-21T23:31:03Z\" level=error msg=\"TypeError: x\" source=stacktrace\n";
        let backends = Bound::exactly(3);
        let all = load(&format!("{named}{named}{failed}{thrown}{thrown}"));
        let counts = Counts::of_load(&all, backends);
        assert_eq!(
            (counts.backends, counts.client),
            (backends, Bound::exactly(3))
        );
        assert_eq!(counts.gateway_errors, Bound::between(0, 1));
        assert_eq!(counts.undelivered, Bound::between(0, 1));
        assert_eq!(
            (counts.retries, counts.mirrored),
            (Bound::UNKNOWN, Bound::UNKNOWN)
        );
        let killed = load(&format!("{named}{named}time=\"2026"));
        let counts = Counts::of_load(&killed, backends);
        assert_eq!(
            (counts.client, counts.undelivered),
            (Bound::at_least(2), Bound::UNKNOWN)
        );
        let logged = load(&named.replace(" source=console", ""));
        assert_eq!(
            Counts::of_load(&logged, backends).client,
            Bound::at_least(1)
        );
        let summary = load(
            r#"{"metrics":{"http_reqs":{"count":10},"http_req_failed":{"passes":4},"http_req_waiting":{"max":1}}}"#,
        );
        let counts = Counts::of_load(&summary, backends);
        assert_eq!(
            (counts.client, counts.undelivered),
            (Bound::between(6, 10), Bound::between(0, 4))
        );
    }

    fn around(count: u64) -> impl Strategy<Value = Bound> {
        let most = prop_oneof![
            Just(None),
            (0..50_u64).prop_map(move |above| Some(count + above))
        ];
        (0..50_u64, most).prop_map(move |(below, most)| Bound {
            least: count.saturating_sub(below),
            most,
        })
    }

    proptest! {
        /// Whatever the bounds, as long as the truth is within them, the account is not called open,
        /// and no term is narrowed past the truth.
        #[test]
        fn the_truth_is_never_ruled_out(
            (truth, given) in (0..1000_u64, 0..1000_u64, 0..50_u64, 0..50_u64, 0..500_u64, 0..100_u64)
                .prop_flat_map(|(served, errors, undelivered, retries, mirrored, probes)| {
                    let client = served + errors;
                    let backends = served + undelivered + retries + mirrored + probes;
                    let truth = [backends, client, errors, undelivered, retries, mirrored, probes];
                    let given = truth.map(around);
                    (Just(truth), given)
                }),
        ) {
            let [backends, client, gateway_errors, undelivered, retries, mirrored, probes] = given;
            let counts = Counts { backends, client, gateway_errors, undelivered, retries, mirrored, probes };
            let account = reconcile(&counts);
            prop_assert_ne!(account.closure, Closure::Open);
            prop_assert!(account.residual_least.is_none_or(|least| least <= 0));
            prop_assert!(account.residual_most.is_none_or(|most| most >= 0));
            for (entry, truth) in account.terms.iter().zip(truth) {
                let narrowed = entry.narrowed.expect("the truth closes it");
                prop_assert!(narrowed.least <= truth, "{entry:?} {truth}");
                prop_assert!(narrowed.most.is_none_or(|most| most >= truth), "{entry:?} {truth}");
            }
        }
    }
}
