//! When a data plane took new weights: the most likely moment between old and new shares.
//!
//! The counts of each step in time are multinomial with the old shares before the moment and the
//! new ones after it, so the log-likelihood of a moment is a sum over steps. It refuses to name a
//! moment where another one, or none at all, explains the counts about as well.

use super::report::{Takeover, TakeoverState};

/// Share below which a backend's responses still have a likelihood: requests under way when weights
/// change are answered by the old ones.
const STRAGGLERS: f64 = 1e-4;

/// Moments within so much log-likelihood of the best one are about as likely (a 95 % region).
const ABOUT_AS_LIKELY: f64 = 2.0;

/// Counts of one step in time, by backend.
pub(crate) type Counts = Vec<u64>;

/// What was found, and the first step that is judged by the new shares.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub takeover: Takeover,
    pub first_judged: usize,
    /// Whether the new shares held from the first step on, beyond doubt.
    pub from_the_first: bool,
}

/// Looks for the moment in the steps that began at `start_us` or later, the change being at
/// `change_us`.
pub(crate) fn find(
    steps: &[Counts],
    (start_us, step_us): (i64, i64),
    change_us: i64,
    old: &[f64],
    new: &[f64],
) -> Found {
    let gains: Vec<f64> = steps.iter().map(|counts| gain(counts, old, new)).collect();
    // after[k]: how much better than the old shares the new ones explain all steps from k on.
    let mut after = vec![0.0; steps.len() + 1];
    for step in (0..steps.len()).rev() {
        after[step] = after[step + 1] + gains[step];
    }
    let never = steps.len();
    let best = (0..=never)
        .max_by(|&one, &other| after[one].total_cmp(&after[other]).then(other.cmp(&one)))
        .unwrap_or(never);
    let likely = |step: &usize| after[*step] >= after[best] - ABOUT_AS_LIKELY;
    let last = (0..=never).rev().find(likely).unwrap_or(best);
    let has_counts = steps.iter().flatten().any(|&count| count > 0);
    let never_explains = last == never;
    let state = match (has_counts, best == never) {
        (false, _) => TakeoverState::Unknown,
        (true, true) if after[0] <= -ABOUT_AS_LIKELY => TakeoverState::Never,
        (true, false) if !never_explains => TakeoverState::Took,
        _ => TakeoverState::Unknown,
    };
    let took = state == TakeoverState::Took;
    let at_us = start_us + i64::try_from(best).unwrap_or(i64::MAX) * step_us;
    Found {
        takeover: Takeover {
            state,
            delay_us: took.then(|| (at_us - change_us).max(0)),
            precision_us: step_us,
        },
        // The step in which it happened holds both; one that never did is judged as it is.
        first_judged: if took { last + 1 } else { 0 },
        from_the_first: took && last == 0,
    }
}

/// How much more likely, in natural logarithms, counts are under the new shares.
fn gain(counts: &[u64], old: &[f64], new: &[f64]) -> f64 {
    let shares = old.iter().zip(new);
    let terms = counts.iter().zip(shares).map(|(&count, (&old, &new))| {
        count as f64 * (new.max(STRAGGLERS).ln() - old.max(STRAGGLERS).ln())
    });
    terms.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [f64; 2] = [0.7, 0.3];
    const NEW: [f64; 2] = [0.3, 0.7];

    fn check(steps: &[[u64; 2]], state: TakeoverState, delay_us: Option<i64>) -> Found {
        let steps: Vec<Counts> = steps.iter().map(|step| step.to_vec()).collect();
        let found = find(&steps, (1_000_000, 1_000_000), 900_000, &OLD, &NEW);
        assert_eq!(
            (found.takeover.state, found.takeover.delay_us),
            (state, delay_us),
            "{found:?}"
        );
        found
    }

    #[test]
    fn the_moment_is_where_the_counts_turn() {
        let late = [[70, 30], [69, 31], [71, 29], [30, 70], [31, 69]];
        let found = check(&late, TakeoverState::Took, Some(3_100_000));
        assert_eq!(found.first_judged, 4);
        let at_once = [[30, 70], [31, 69]];
        check(&at_once, TakeoverState::Took, Some(100_000));
    }

    #[test]
    fn weights_that_were_never_taken_are_found() {
        check(&[[70, 30], [69, 31], [71, 29]], TakeoverState::Never, None);
    }

    #[test]
    fn too_few_responses_say_nothing() {
        check(&[], TakeoverState::Unknown, None);
        check(&[[0, 0], [0, 0]], TakeoverState::Unknown, None);
        check(&[[1, 1], [1, 1]], TakeoverState::Unknown, None);
    }

    #[test]
    fn a_straggler_moves_nothing() {
        let steps: Vec<Counts> = vec![vec![100, 0], vec![99, 1], vec![0, 100], vec![1, 99]];
        let found = find(&steps, (0, 1_000_000), 0, &[1.0, 0.0], &[0.0, 1.0]);
        assert_eq!(found.takeover.delay_us, Some(2_000_000));
    }
}
