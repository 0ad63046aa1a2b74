//! Independent pieces of work by all processors, each piece by one of them.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// What `work` makes of each item, in the items' order. Items are drawn one at a time, by whoever is
/// free: what makes them is never asked by two at once.
pub(super) fn of_each<I: Send, T: Send>(
    items: impl Iterator<Item = I> + Send,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let items = Mutex::new(items.enumerate());
    let next = || {
        let mut items = items.lock().unwrap_or_else(PoisonError::into_inner);
        items.next()
    };
    let take_all = || {
        let made = std::iter::from_fn(next).map(|(number, item)| (number, work(item)));
        made.collect::<Vec<_>>()
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut made = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(take_all)).collect();
        let made = workers.into_iter().flat_map(|worker| match worker.join() {
            Ok(made) => made,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        made.collect::<Vec<_>>()
    });
    made.sort_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, one)| one).collect()
}

/// Does two things, side by side where that is allowed: no two may ask one store at once.
pub(crate) fn both<A: Send, B>(
    side_by_side: bool,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    if !side_by_side {
        return (one(), other());
    }
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        match one.join() {
            Ok(one) => (one, other),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::of_each;

    #[test]
    fn what_is_made_comes_in_the_order_of_the_items() {
        let doubled = of_each(0..1_000, |number| number * 2);
        assert!(doubled.into_iter().eq((0..1_000).map(|number| number * 2)));
        assert!(of_each(std::iter::empty::<u8>(), |one| one).is_empty());
    }
}
