//! Findings in words: one sentence a rule, and notes.

use super::super::Outcome;
use super::Options;
use super::judge::EXTREME;
use super::report::{BackendReport, Judgement, Reference, StageReport, TakeoverState};
use super::units::Unit;
use crate::policy::gateway_api::{Fate, Implementation};

/// A share in percent, with the digits that margins of a hundredth need.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// What a rule's stages amount to. The worst stage speaks for the rule.
pub(crate) fn summary(
    unit: &Unit,
    stages: &[StageReport],
    result: Outcome,
    options: &Options,
) -> String {
    let Some(stage) = stages.iter().find(|stage| stage.result == result) else {
        return "no response of its backends was asked for by its Gateways".to_owned();
    };
    let judgement = &stage.judgements[0];
    let by = by(unit.implementation, judgement.reference);
    let never = stages.iter().any(|stage| {
        let takeover = stage.takeover.as_ref();
        takeover.is_some_and(|takeover| takeover.state == TakeoverState::Never)
    });
    let verdict = match result {
        Outcome::Pass => format!("splits {by}"),
        Outcome::Fail if never => {
            format!("does not split {by}: the data plane still splits by the old weights")
        }
        Outcome::Fail => format!("does not split {by}"),
        Outcome::Inconclusive => format!("it cannot be told whether it splits {by}"),
    };
    let worst = worst(stage, judgement).map_or_else(String::new, |(backend, share)| {
        format!(
            ": {} gets {} of {} responses, {} is due",
            backend.backend.service.name,
            backend.share.map_or_else(|| "none".to_owned(), percent),
            stage.responses,
            percent(share)
        )
    });
    let more = match result {
        Outcome::Inconclusive => lacking(stage, judgement, options),
        Outcome::Pass | Outcome::Fail => String::new(),
    };
    format!("{verdict}{worst}{more}{}", beside(unit, stage))
}

/// What a reader should know of the stages.
pub(crate) fn notes(unit: &Unit, stages: &[StageReport]) -> Vec<String> {
    let mut notes = Vec::new();
    for stage in stages {
        if let Some(takeover) = &stage.takeover {
            let window = takeover.precision_us as f64 / 1e6;
            match (takeover.state, takeover.delay_us) {
                (TakeoverState::Took, Some(delay_us)) => notes.push(format!(
                    "the weights of {} took hold after {:.1} s (± {window:.1} s); {} responses from before are set apart",
                    stage.from,
                    delay_us as f64 / 1e6,
                    stage.set_apart
                )),
                (TakeoverState::Never, _) => notes.push(format!(
                    "the weights of {} never took hold: until {} the data plane split by the old ones",
                    stage.from, stage.to
                )),
                _ => {}
            }
        }
        for backend in &stage.backends {
            notes.extend(backend_notes(stage, backend));
        }
        if stage.gateway_error_share > 0.0 {
            notes.push(format!(
                "{} of the requests are due an error of the Gateway's own, which no backend sees: only the client's statuses show it",
                percent(stage.gateway_error_share)
            ));
        }
    }
    if unit.implementation == Implementation::Other {
        let controller = unit
            .controller
            .as_deref()
            .unwrap_or("an unknown controller");
        notes.push(format!(
            "how {controller} configures shares is not known here: judged by the specification"
        ));
    }
    notes.dedup();
    notes
}

fn backend_notes(stage: &StageReport, backend: &BackendReport) -> Vec<String> {
    let name = &backend.backend;
    let mut notes = Vec::new();
    match &backend.fate {
        Some(Fate::Invalid(why)) => notes.push(format!("{name} is not valid: {why}")),
        Some(Fate::NoEndpoint) => notes.push(format!("{name} has no ready endpoint")),
        Some(Fate::Served) | None => {}
    }
    if backend.unparsed > 0 {
        notes.push(format!(
            "{} responses of {name} have a status that could not be read; they count",
            backend.unparsed
        ));
    }
    let index = stage.backends.iter().position(|one| one.backend == *name);
    let due = index.map_or(0.0, |index| stage.judgements[0].shares[index]);
    if due == 0.0 && backend.responses > 0 {
        notes.push(format!(
            "{name} is due nothing and answered {} requests",
            backend.responses
        ));
    }
    // Two backends mirror each other.
    let told = stage.backends.len() == 2 && index == Some(1);
    if let Some(scatter) = backend.dispersion.filter(|_| !told) {
        if scatter.p_over < EXTREME {
            notes.push(format!(
                "the share of {name} differs between windows more than independent requests' would (index of dispersion {:.2}, p = {:.1e})",
                scatter.index, scatter.p_over
            ));
        } else if scatter.p_under < EXTREME {
            notes.push(format!(
                "the share of {name} differs between windows less than independent requests' would (index of dispersion {:.2}, p = {:.1e}): backends take turns",
                scatter.index, scatter.p_under
            ));
        }
    }
    notes
}

fn by(implementation: Implementation, reference: Reference) -> String {
    match (reference, implementation) {
        (Reference::Specification, _) | (_, Implementation::Other) => {
            "as the specification says".to_owned()
        }
        (Reference::Configured, known) => format!("as {} configures", known.name()),
    }
}

/// The other reference's verdict, where it is not the same.
fn beside(unit: &Unit, stage: &StageReport) -> String {
    let Some(other) = stage.judgements.get(1) else {
        return String::new();
    };
    let first = &stage.judgements[0];
    let differs = first
        .shares
        .iter()
        .zip(&other.shares)
        .any(|(a, b)| (a - b).abs() > 1e-9);
    let shares = |of: fn(&BackendReport) -> f64| {
        let parts = stage
            .backends
            .iter()
            .map(|backend| format!("{} {}", backend.backend.service.name, percent(of(backend))));
        parts.collect::<Vec<_>>().join(", ")
    };
    let of_all = stage.backends.iter().any(|backend| {
        let configured = backend.configured_share.unwrap_or(backend.spec_share);
        (configured - backend.spec_share).abs() > 1e-9
    });
    if !differs && !of_all {
        return String::new();
    }
    let spec: fn(&BackendReport) -> f64 = |backend| backend.spec_share;
    let configured: fn(&BackendReport) -> f64 =
        |backend| backend.configured_share.unwrap_or(backend.spec_share);
    match other.reference {
        Reference::Specification => format!("; the specification says {}", shares(spec)),
        Reference::Configured => format!(
            "; {} configures {}",
            unit.implementation.name(),
            shares(configured)
        ),
    }
}

/// The backend farthest from its share, among those that are seen.
fn worst<'a>(stage: &'a StageReport, judgement: &Judgement) -> Option<(&'a BackendReport, f64)> {
    let backends = stage.backends.iter().zip(judgement.shares.iter().copied());
    let distance = |(backend, share): &(&BackendReport, f64)| {
        backend.share.map_or(0.0, |seen| (seen - share).abs())
    };
    // The first of equals: two backends are always equally far off.
    backends.reduce(|held, next| {
        if distance(&next) > distance(&held) + 1e-12 {
            next
        } else {
            held
        }
    })
}

/// Why a stage shows neither.
fn lacking(stage: &StageReport, judgement: &Judgement, options: &Options) -> String {
    let margin = options.margin;
    let takeover = stage.takeover.as_ref().map(|takeover| takeover.state);
    if takeover == Some(TakeoverState::Unknown) {
        return "; nor when it took the weights".to_owned();
    }
    let mut margins = judgement.margins.iter();
    let Some(verdict) = margins.find(|verdict| verdict.margin == margin) else {
        return String::new();
    };
    let within = verdict.intervals.iter().zip(&judgement.shares);
    let is_within = !verdict.intervals.is_empty()
        && within.into_iter().all(|(interval, share)| {
            share - margin <= interval.low && interval.high <= share + margin
        });
    match verdict.requests_needed {
        _ if is_within => "; windows differ too much for their mean to show it".to_owned(),
        Some(needed) if stage.responses < needed => {
            format!("; about {needed} responses are needed at ±{margin}")
        }
        _ => format!("; so near the edge of ±{margin} only more responses can tell"),
    }
}
