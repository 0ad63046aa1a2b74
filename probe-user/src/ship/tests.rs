//! Files that leave for a store in a local folder, one that is out of order, and one that already
//! has them.

use std::fs;
use std::path::Path;

use trace_schema::ledger::{LedgerRow, Vantage};

use super::*;
use crate::spool::{Interval, Origin, Spool};

const LIMIT: Duration = Duration::from_secs(20);

fn spool(root: &Path, instance: u64) -> Spool {
    let origin = Origin {
        root: root.to_owned(),
        node: "worker".to_owned(),
        boot_id: "b0071d00".to_owned(),
        instance,
        clock: "test".to_owned(),
    };
    Spool::open(origin, None).unwrap()
}

fn write(spool: &mut Spool, seconds: std::ops::Range<i64>) {
    for second in seconds {
        let span_us = (second * 1_000_000, (second + 1) * 1_000_000);
        let row = LedgerRow::idle(span_us, "worker", "b0071d00", Vantage::Pod);
        let interval = Interval {
            start_us: span_us.0,
            ledger: vec![row],
            ..Interval::default()
        };
        spool.write(interval).unwrap();
    }
}

fn destination(store: &Path) -> Destination {
    Destination {
        url: format!("file://{}", store.display()).parse().unwrap(),
        bytes_per_second: 1 << 30,
    }
}

fn start(spool: &Spool, root: &Path, store: &Path) -> Shipping {
    Shipping::start(&destination(store), root.to_owned(), spool.stock()).unwrap()
}

/// Paths of files below a folder, relative, but those of the spool's own bookkeeping.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() && !name.starts_with('.') {
                open.push(path);
            } else if path.is_file() {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_merged_leaves_and_arrives_under_the_same_path() {
    let (root, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut spool = spool(root.path(), 1);
    write(&mut spool, 0..3);
    let shipping = start(&spool, root.path(), store.path());
    spool.merge().unwrap();
    let merged = files(root.path());
    write(&mut spool, 3..4);
    let shipped = shipping.finish(LIMIT);
    assert_eq!(
        (shipped.files, shipped.failures, shipped.waiting_files),
        (1, 0, 0)
    );
    assert_eq!(files(store.path()), merged);
    assert_eq!(files(root.path()).len(), 1, "what is not merged stays");
}

#[test]
fn what_a_dead_instance_left_leaves_at_the_next_start() {
    let (root, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut dead = spool(root.path(), 1);
    write(&mut dead, 0..3);
    drop(dead);
    let left = files(root.path());
    // One of them had arrived before.
    let there = store.path().join(&left[1]);
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    fs::copy(root.path().join(&left[1]), &there).unwrap();
    let next = spool(root.path(), 2);
    let shipped = start(&next, root.path(), store.path()).finish(LIMIT);
    assert_eq!((shipped.files, shipped.failures), (3, 0));
    assert_eq!(files(store.path()), left);
    assert!(files(root.path()).is_empty());
}

#[test]
fn another_file_of_the_same_name_is_not_written_over() {
    let (root, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut dead = spool(root.path(), 1);
    write(&mut dead, 0..2);
    drop(dead);
    let left = files(root.path());
    let there = store.path().join(&left[0]);
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    fs::write(&there, "another").unwrap();
    let next = spool(root.path(), 2);
    let shipped = start(&next, root.path(), store.path()).finish(LIMIT);
    assert_eq!((shipped.files, shipped.failures), (1, 1));
    assert_eq!(fs::read(&there).unwrap(), b"another");
    assert_eq!(files(root.path()), left[..1]);
}

#[test]
fn an_outage_loses_nothing_and_does_not_hold_up_the_end() {
    let (root, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut spool = spool(root.path(), 1);
    // A file stands where the table's folder should be.
    fs::write(store.path().join("ledger"), "").unwrap();
    let shipping = start(&spool, root.path(), store.path());
    write(&mut spool, 0..3);
    spool.merge().unwrap();
    let started = std::time::Instant::now();
    let shipped = shipping.finish(Duration::from_millis(700));
    assert!(started.elapsed() < LIMIT);
    assert_eq!((shipped.files, shipped.waiting_files), (0, 1));
    assert!(shipped.failures > 0);
    fs::remove_file(store.path().join("ledger")).unwrap();
    let merged = files(root.path());
    let shipped = start(&spool, root.path(), store.path()).finish(LIMIT);
    assert_eq!((shipped.files, shipped.failures), (1, 0));
    assert_eq!(files(store.path()), merged);
}

#[test]
fn a_large_file_goes_in_parts_no_faster_than_it_may() {
    let (root, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = root.path().join("flows/1-b0071d00-00000001-0.parquet");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let bytes: Vec<u8> = (0..20 << 20).map(|at: u32| (at % 251) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    let spool = spool(root.path(), 2);
    let name = path.file_name().unwrap().to_str().unwrap();
    spool.stock().add_final(Held {
        table: "flows",
        name: name.parse().unwrap(),
        bytes: bytes.len() as u64,
        path: path.clone(),
    });
    let slow = Destination {
        bytes_per_second: 20 << 20,
        ..destination(store.path())
    };
    let started = std::time::Instant::now();
    let shipping = Shipping::start(&slow, root.path().to_owned(), spool.stock()).unwrap();
    assert_eq!(shipping.finish(LIMIT).files, 1);
    assert!(started.elapsed() >= Duration::from_millis(900));
    assert_eq!(
        fs::read(store.path().join(format!("flows/{name}"))).unwrap(),
        bytes
    );
}

#[test]
fn a_file_that_cannot_be_read_gets_some_attempts() {
    let mut unread = (PathBuf::new(), 0);
    let attempts = |unread: &mut (PathBuf, u32), name: &str| {
        (1..)
            .find(|_| !tries_again(unread, Path::new(name)))
            .unwrap()
    };
    assert_eq!(attempts(&mut unread, "a"), READ_ATTEMPTS);
    assert!(!tries_again(&mut unread, Path::new("a")));
    // Another file's are counted from nothing.
    assert_eq!(attempts(&mut unread, "b"), READ_ATTEMPTS);
}
