//! Which files need not be fetched, by their names alone.
//!
//! Pure. A name says when its first interval began, and the file that follows it in its run says by
//! when its last had ended. Both are taken with a margin: the clock may have been set in between.

use trace_schema::layout::FileName;

/// How far a file's name may be off what is in it.
const MARGIN_US: i64 = 3_600_000_000;

/// Whether a file may hold rows whose time lies in `from_us..until_us`; `others` are the names of
/// its table and node.
pub(super) fn may_hold<'n>(
    name: &FileName,
    mut others: impl Iterator<Item = &'n FileName>,
    from_us: i64,
    until_us: i64,
) -> bool {
    let start_us = |name: &FileName| name.start_ms.saturating_mul(1000);
    if start_us(name) >= until_us.saturating_add(MARGIN_US) {
        return false;
    }
    let follows = |other: &&FileName| {
        (&other.boot8, other.instance) == (&name.boot8, name.instance)
            && other.first_seq == name.last_seq + 1
            && other.start_ms >= name.start_ms
    };
    let next = others.find(follows);
    next.is_none_or(|next| start_us(next) > from_us.saturating_sub(MARGIN_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn name(hour: i64, seqs: (u64, u64)) -> FileName {
        FileName {
            start_ms: hour * HOUR_US / 1000,
            boot8: "b0071d00".to_owned(),
            instance: 1,
            first_seq: seqs.0,
            last_seq: seqs.1,
        }
    }

    fn check(span_hours: (i64, i64), expected: [bool; 3]) {
        let names = [name(10, (0, 9)), name(13, (10, 19)), name(16, (20, 29))];
        let (from_us, until_us) = (span_hours.0 * HOUR_US, span_hours.1 * HOUR_US);
        let held = names
            .each_ref()
            .map(|name| may_hold(name, names.iter(), from_us, until_us));
        assert_eq!(held, expected, "{span_hours:?}");
    }

    #[test]
    fn what_is_well_before_or_after_is_left_out() {
        check((0, 100), [true; 3]);
        check((14, 15), [false, true, false]);
        check((14, 16), [false, true, true]);
        check((13, 14), [true, true, false]);
        // Nothing says when the last one ends.
        check((50, 60), [false, false, true]);
        check((0, 5), [false; 3]);
    }

    #[test]
    fn a_clock_that_was_set_back_prunes_nothing_by_the_file_that_follows() {
        let names = [name(10, (0, 9)), name(2, (10, 19))];
        assert!(may_hold(&names[0], names.iter(), 9 * HOUR_US, 11 * HOUR_US));
    }

    #[test]
    fn extreme_bounds_do_not_overflow() {
        let names = [name(10, (0, 9))];
        assert!(may_hold(&names[0], names.iter(), i64::MIN, i64::MAX));
    }
}
