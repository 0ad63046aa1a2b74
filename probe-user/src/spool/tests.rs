//! What stands on disk after writing, merging, failing and dying, read back through the contract's
//! own reader.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::io;
use trace_schema::layout::covered_files;
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::snat::{Method, SnatRow, Tuple, Witness};

const SECOND_US: i64 = 1_000_000;
const MIDNIGHT_US: i64 = 1_750_032_000 * SECOND_US;

fn origin(root: &Path, instance: u64) -> Origin {
    Origin {
        root: root.to_owned(),
        node: "worker".to_owned(),
        boot_id: "b0071d00-1111-2222-3333-444455556666".to_owned(),
        instance,
        clock: "test".to_owned(),
    }
}

fn ledger_row(start_us: i64) -> LedgerRow {
    let boot_id = "b0071d00-1111-2222-3333-444455556666";
    let interval_us = (start_us, start_us + SECOND_US);
    LedgerRow {
        interface: Some("eth0".to_owned()),
        link_header_bytes: 14,
        ..LedgerRow::idle(interval_us, "worker", boot_id, Vantage::Uplink)
    }
}

fn snat_row(start_us: i64) -> SnatRow {
    SnatRow {
        interval_start_us: start_us,
        interval_end_us: start_us + SECOND_US,
        node: "worker".to_owned(),
        boot_id: "b0071d00-1111-2222-3333-444455556666".to_owned(),
        interface: "eth0".to_owned(),
        protocol: "tcp".to_owned(),
        pre: None,
        post: Tuple {
            src_address: "192.0.2.1".to_owned(),
            dst_address: "192.0.2.2".to_owned(),
            src_port: 1,
            dst_port: 2,
        },
        translated: None,
        method: Method::Unpaired,
        witness: Witness::Absent,
        first_seen_us: start_us,
        last_seen_us: start_us,
        packets: 1,
        buffers: 1,
        packets_until_paired: None,
    }
}

fn interval(start_us: i64) -> Interval {
    Interval {
        start_us,
        ledger: vec![ledger_row(start_us)],
        ..Interval::default()
    }
}

/// Paths below the table's folder, temporary files included.
fn files(root: &Path, table: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for date in fs::read_dir(root.join(table)).into_iter().flatten() {
        for node in fs::read_dir(date.unwrap().path()).unwrap() {
            files.extend(
                fs::read_dir(node.unwrap().path())
                    .unwrap()
                    .map(|e| e.unwrap().path()),
            );
        }
    }
    files.sort();
    files
}

/// Starts of the ledger's rows as a reader of the whole table gets them.
fn read_starts(root: &Path) -> Vec<i64> {
    let paths = files(root, "ledger");
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let complete: Vec<&PathBuf> = paths
        .iter()
        .filter(|path| !name(path).starts_with('.'))
        .collect();
    let names: Vec<FileName> = complete
        .iter()
        .map(|path| name(path).parse().expect("a dataset file name"))
        .collect();
    let mut starts = Vec::new();
    for (path, is_covered) in complete.iter().zip(covered_files(&names)) {
        if !is_covered {
            for rows in file::open::<LedgerRow>(path).unwrap().rows().unwrap() {
                starts.extend(rows.unwrap().iter().map(|row| row.interval_start_us));
            }
        }
    }
    starts.sort_unstable();
    starts
}

#[test]
fn an_interval_is_on_disk_once_written_and_merging_keeps_every_row() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(origin(root.path(), 1), None).unwrap();
    let starts: Vec<i64> = (0..5)
        .map(|second| MIDNIGHT_US + second * SECOND_US)
        .collect();
    for (written, start_us) in starts.iter().enumerate() {
        spool.write(interval(*start_us)).unwrap();
        assert_eq!(read_starts(root.path()), starts[..=written]);
    }
    assert_eq!(files(root.path(), "ledger").len(), 5);
    assert!(files(root.path(), "flows").is_empty());
    spool.merge().unwrap();
    let merged = files(root.path(), "ledger");
    assert_eq!(merged.len(), 1);
    assert_eq!(read_starts(root.path()), starts);
    let written = spool.written();
    assert_eq!(
        (written.ledger_rows, written.files, written.lost_rows),
        (5, 1, 0)
    );
    assert_eq!(written.bytes, fs::metadata(&merged[0]).unwrap().len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However UTC jumps, merging loses and doubles nothing.
    #[test]
    fn rows_survive_any_steps_of_the_clock(
        steps in prop::collection::vec((-3i64..4, prop::bool::weighted(0.2)), 1..24)
    ) {
        let root = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(origin(root.path(), 1), None).unwrap();
        let (mut now_us, mut expected) = (MIDNIGHT_US, Vec::new());
        for (step, merge) in steps {
            now_us += step * SECOND_US;
            spool.write(interval(now_us)).unwrap();
            expected.push(now_us);
            if merge {
                spool.merge().unwrap();
            }
        }
        spool.merge().unwrap();
        expected.sort_unstable();
        prop_assert_eq!(read_starts(root.path()), expected);
    }
}

#[test]
fn an_interval_whose_rows_are_lost_has_no_books() {
    let root = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(origin(root.path(), 1), None).unwrap();
    // A file stands where the table's folder should be.
    fs::write(root.path().join("snat"), "").unwrap();
    let mut lost = interval(MIDNIGHT_US);
    lost.snat.push(snat_row(MIDNIGHT_US));
    let error = spool.write(lost).unwrap_err();
    assert!(
        matches!(
            error,
            SpoolError::Write {
                table: "snat",
                lost_rows: 2,
                ..
            }
        ),
        "{error}"
    );
    assert!(read_starts(root.path()).is_empty());
    let written = spool.written();
    assert_eq!(
        (written.lost_rows, written.lost_intervals, written.errors),
        (2, 1, 1)
    );
    spool.write(interval(MIDNIGHT_US + SECOND_US)).unwrap();
    assert_eq!(read_starts(root.path()), [MIDNIGHT_US + SECOND_US]);
}

#[test]
fn a_full_disk_is_told_as_such() {
    let io = io::Error::from_raw_os_error(libc::ENOSPC);
    let full = SchemaError::Io {
        action: "write",
        path: "x".to_owned(),
        source: io,
    };
    assert!(is_full(&full));
    let io = io::Error::from_raw_os_error(libc::EACCES);
    let denied = SchemaError::Io {
        action: "write",
        path: "x".to_owned(),
        source: io,
    };
    assert!(!is_full(&denied));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let root = tempfile::tempdir().unwrap();
    let occupied = root.path().join("file");
    fs::write(&occupied, "").unwrap();
    let error = Spool::open(origin(&occupied.join("data"), 1), None).unwrap_err();
    assert!(error.to_string().starts_with("--output "), "{error}");
}

/// Leaves `instance` behind as a SIGKILL during a merge and a write would.
fn die_midway(root: &Path, instance: u64) -> BTreeSet<PathBuf> {
    let mut spool = Spool::open(origin(root, instance), None).unwrap();
    for second in 0..3 {
        spool
            .write(interval(MIDNIGHT_US + second * SECOND_US))
            .unwrap();
    }
    let small = files(root, "ledger");
    let kept: Vec<(PathBuf, Vec<u8>)> = small
        .iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    spool.merge().unwrap();
    for (path, bytes) in &kept {
        fs::write(path, bytes).unwrap();
    }
    let name = small[0].file_name().unwrap().to_str().unwrap();
    let half = small[0].with_file_name(format!(".{}.tmp", name.replacen("-0.", "-9.", 1)));
    fs::write(&half, "PAR1 half").unwrap();
    small.into_iter().chain([half]).collect()
}

#[test]
fn what_a_dead_instance_left_is_cleared_and_what_a_live_one_writes_is_not() {
    let root = tempfile::tempdir().unwrap();
    let left = die_midway(root.path(), 1);
    let starts: Vec<i64> = (0..3)
        .map(|second| MIDNIGHT_US + second * SECOND_US)
        .collect();
    assert_eq!(read_starts(root.path()), starts);
    let there = |paths: &BTreeSet<PathBuf>| paths.iter().filter(|path| path.exists()).count();
    let alive = lock::Lock::take(root.path(), "b0071d00-1").unwrap();
    drop(Spool::open(origin(root.path(), 2), None).unwrap());
    assert_eq!(there(&left), 4);
    drop(alive);
    drop(Spool::open(origin(root.path(), 3), None).unwrap());
    assert_eq!(there(&left), 0);
    assert_eq!(read_starts(root.path()), starts);
}

#[test]
fn one_instance_alone_writes_of_a_node() {
    let root = tempfile::tempdir().unwrap();
    let first = Spool::open(origin(root.path(), 1), None).unwrap();
    let refusal = Spool::open(origin(root.path(), 2), None).unwrap_err();
    let is_taken = matches!(refusal, SpoolError::Lock(LockError::Taken { .. }));
    assert!(is_taken, "{refusal}");
    let other = Origin {
        node: "another".to_owned(),
        ..origin(root.path(), 3)
    };
    drop(Spool::open(other, None).unwrap());
    drop(first);
    drop(Spool::open(origin(root.path(), 2), None).unwrap());
}

#[test]
fn a_full_spool_gives_up_whole_old_intervals_and_the_books_say_how_many_rows() {
    let root = tempfile::tempdir().unwrap();
    let spool = Spool::open(origin(root.path(), 1), None);
    let mut spool = spool.unwrap();
    spool.write(interval(MIDNIGHT_US)).unwrap();
    let limit_bytes = spool.stock().bytes() * 7 / 2;
    drop(spool);
    let mut spool = Spool::open(origin(root.path(), 2), Some(limit_bytes)).unwrap();
    assert_eq!(spool.written().files, 1, "an earlier run's file counts");
    let starts: Vec<i64> = (1..=9)
        .map(|second| MIDNIGHT_US + second * SECOND_US)
        .collect();
    for (number, start_us) in starts.iter().enumerate() {
        spool.write(interval(*start_us)).unwrap();
        assert!(spool.stock().bytes() <= limit_bytes);
        if number == 5 {
            spool.merge().unwrap();
        }
    }
    let kept = read_starts(root.path());
    assert_eq!(kept, starts[9 - kept.len()..], "the oldest went");
    let written = spool.written();
    assert_eq!(written.dropped_rows, (10 - kept.len()) as u64);
    let told: i64 = files(root.path(), "ledger")
        .iter()
        .flat_map(|path| file::open::<LedgerRow>(path).unwrap().rows().unwrap())
        .flat_map(Result::unwrap)
        .map(|row| row.spool_dropped_rows)
        .sum();
    let untold = written.dropped_rows - spool.told_dropped_rows;
    assert_eq!(told.cast_unsigned() + untold, written.dropped_rows);
    assert!(told > 0);
    spool.merge().unwrap();
    assert_eq!(read_starts(root.path()), kept);
}
