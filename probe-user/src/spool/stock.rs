//! Which complete files lie in the spool, which of them may leave, and which go first where room
//! runs out. The thread that writes and the one that ships share it.
//!
//! The books of an interval (`ledger`) leave after all else that is of their time, and go with the
//! first of it that is dropped: rows without books are a doubt, books without rows would be a lie.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use trace_schema::layout::FileName;
use trace_schema::ledger::LedgerRow;
use trace_schema::record::Record;

/// A complete file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its table.
    pub table: &'static str,
    /// Where it lies.
    pub path: PathBuf,
    /// Its name.
    pub name: FileName,
    /// Its size.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits to be merged.
    Growing,
    /// It is as it will be.
    Final,
    /// It is being shipped.
    Leaving,
}

/// The complete files of a node's spool.
#[derive(Debug, Default)]
pub struct Stock {
    files: Mutex<BTreeMap<PathBuf, (Held, State)>>,
}

impl Held {
    fn is_books(&self) -> bool {
        self.table == LedgerRow::TABLE
    }

    /// By what the oldest comes first, and of one time the books last.
    fn order(&self) -> (i64, bool, &Path) {
        (self.name.start_ms, self.is_books(), &self.path)
    }

    /// Whether both hold rows of some interval.
    fn shares_time_with(&self, other: &Self) -> bool {
        let run = |name: &FileName| (name.boot8.clone(), name.instance);
        let (one, other) = (&self.name, &other.name);
        run(one) == run(other) && one.first_seq <= other.last_seq && other.first_seq <= one.last_seq
    }
}

impl Stock {
    /// Takes in a file that waits to be merged.
    pub(super) fn add_growing(&self, file: Held) {
        self.put(file, State::Growing);
    }

    /// Takes in a file that stays as it is.
    pub(crate) fn add_final(&self, file: Held) {
        self.put(file, State::Final);
    }

    /// Says that a file stays as it is.
    pub(super) fn finish(&self, path: &Path) {
        self.set(path, State::Final);
    }

    /// Forgets a file that is no longer there.
    pub fn remove(&self, path: &Path) {
        self.lock().remove(path);
    }

    /// Number of files.
    pub fn files(&self) -> u64 {
        self.lock().len() as u64
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.lock().values().map(|(file, _)| file.bytes).sum()
    }

    /// Bytes of the files that wait to be merged.
    pub(super) fn growing_bytes(&self) -> u64 {
        let files = self.lock();
        let growing = files.values().filter(|(_, state)| *state == State::Growing);
        growing.map(|(file, _)| file.bytes).sum()
    }

    /// Files that may leave now or later, without those that still wait to be merged, and their
    /// bytes.
    pub fn waiting(&self) -> (u64, u64) {
        let files = self.lock();
        let waiting = files.values().filter(|(_, state)| *state != State::Growing);
        waiting.fold((0, 0), |(files, bytes), (file, _)| {
            (files + 1, bytes + file.bytes)
        })
    }

    /// The oldest file that may leave; it counts as leaving until [`Stock::remove`] or
    /// [`Stock::keep`].
    pub fn next_to_leave(&self) -> Option<Held> {
        let mut files = self.lock();
        let is_held_back = |file: &Held| {
            let mut others = files.values().map(|(other, _)| other);
            file.is_books() && others.any(|other| !other.is_books() && file.shares_time_with(other))
        };
        let mut ready: Vec<&Held> = files
            .values()
            .filter(|(_, state)| *state == State::Final)
            .map(|(file, _)| file)
            .collect();
        ready.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
        let chosen = ready.into_iter().find(|file| !is_held_back(file))?.clone();
        if let Some((_, state)) = files.get_mut(&chosen.path) {
            *state = State::Leaving;
        }
        Some(chosen)
    }

    /// Takes back a file that could not leave.
    pub fn keep(&self, path: &Path) {
        self.set(path, State::Final);
    }

    /// Gives up the oldest file that is not leaving, with the books of its time and all that they
    /// are the books of: whole intervals go, and no newer ones stay behind them in part.
    pub(super) fn give_up_oldest(&self) -> Vec<Held> {
        let mut files = self.lock();
        let stays = |state: State| state != State::Leaving;
        let oldest = files
            .values()
            .filter(|(_, state)| stays(*state))
            .map(|(file, _)| file)
            .min_by(|one, other| one.order().cmp(&other.order()));
        let Some(oldest) = oldest.cloned() else {
            return Vec::new();
        };
        let books: Vec<Held> = files
            .values()
            .map(|(file, _)| file)
            .filter(|file| file.is_books() && file.shares_time_with(&oldest))
            .cloned()
            .collect();
        let goes = |file: &Held| {
            file.path == oldest.path || books.iter().any(|books| file.shares_time_with(books))
        };
        let mut gone: Vec<Held> = files
            .values()
            .filter(|(file, state)| stays(*state) && goes(file))
            .map(|(file, _)| file.clone())
            .collect();
        // The books first: whenever this ends halfway, what stays is rows without books.
        gone.sort_by_key(|file| (!file.is_books(), file.path.clone()));
        for file in &gone {
            files.remove(&file.path);
        }
        gone
    }

    fn put(&self, file: Held, state: State) {
        self.lock().insert(file.path.clone(), (file, state));
    }

    fn set(&self, path: &Path, to: State) {
        if let Some((_, state)) = self.lock().get_mut(path) {
            *state = to;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, (Held, State)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(table: &'static str, seqs: (u64, u64)) -> Held {
        let name = FileName {
            start_ms: 1_000 * seqs.0.cast_signed(),
            boot8: "b0071d00".to_owned(),
            instance: 1,
            first_seq: seqs.0,
            last_seq: seqs.1,
        };
        Held {
            table,
            path: PathBuf::from(format!("{table}/{name}")),
            name,
            bytes: 10,
        }
    }

    fn check_leaving(stock: &Stock, expected: &[(&str, u64)]) {
        for (table, first_seq) in expected {
            let file = stock.next_to_leave().expect("a file that may leave");
            assert_eq!((file.table, file.name.first_seq), (*table, *first_seq));
            stock.remove(&file.path);
        }
    }

    #[test]
    fn books_leave_after_what_they_are_the_books_of() {
        let stock = Stock::default();
        stock.add_final(held("ledger", (0, 9)));
        stock.add_final(held("flows", (2, 7)));
        stock.add_growing(held("flows", (10, 10)));
        stock.add_growing(held("ledger", (10, 10)));
        let first = stock.next_to_leave().unwrap();
        assert_eq!(first.table, "flows");
        assert_eq!(stock.next_to_leave(), None);
        stock.keep(&first.path);
        check_leaving(&stock, &[("flows", 2), ("ledger", 0)]);
        assert_eq!(stock.next_to_leave(), None);
        assert_eq!(
            (stock.files(), stock.bytes(), stock.waiting()),
            (2, 20, (0, 0))
        );
    }

    #[test]
    fn what_is_given_up_is_the_oldest_with_the_books_of_its_time() {
        let stock = Stock::default();
        for seq in 0..3 {
            stock.add_growing(held("flows", (seq, seq)));
            stock.add_growing(held("ledger", (seq, seq)));
        }
        let gone = stock.give_up_oldest();
        let names = |gone: &[Held]| -> Vec<(&str, u64)> {
            gone.iter()
                .map(|file| (file.table, file.name.first_seq))
                .collect()
        };
        assert_eq!(names(&gone), [("ledger", 0), ("flows", 0)]);
        assert_eq!(stock.files(), 4);
        // Merged since: the books of all go with any of it.
        let merged = Stock::default();
        merged.add_final(held("ledger", (0, 9)));
        merged.add_final(held("flows", (0, 4)));
        merged.add_final(held("snat", (5, 9)));
        merged.add_final(held("ledger", (10, 19)));
        assert_eq!(
            names(&merged.give_up_oldest()),
            [("ledger", 0), ("flows", 0), ("snat", 5)]
        );
    }

    #[test]
    fn what_is_leaving_is_not_given_up() {
        let stock = Stock::default();
        stock.add_final(held("flows", (0, 0)));
        stock.add_final(held("ledger", (0, 0)));
        stock.next_to_leave().unwrap();
        assert_eq!(stock.give_up_oldest(), [held("ledger", (0, 0))]);
        assert_eq!(stock.give_up_oldest(), []);
    }
}
