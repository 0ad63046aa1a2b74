//! Datasets on disk: what is read, in which order, and what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use analyzer::books::Balance;
use analyzer::input::inspection::inspect;
use analyzer::input::manifest::read_runs;
use analyzer::input::traces::{Dataset, DatasetError, Filter};
use trace_schema::Record;
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::FlowRow;
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{Count, LedgerRow};

use crate::rows::{SECOND_US, START_US, flow, ledger};

const ONE: Count = Count {
    packets: 1,
    bytes: 100,
    buffers: 1,
    buffer_bytes: 100,
};

#[test]
fn rows_come_once_and_in_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    let parts = (0..4).map(|second| written(root, "a", second, &[of_node("a", second)]));
    let parts = parts.collect::<Vec<_>>();
    written(root, "b", 0, &[of_node("b", 0)]);
    let merged = parts[0].with_file_name(name(0).merged_with(&name(2)).to_string());
    file::merge::<FlowRow>(&parts[..3], &merged).expect("three files are merged");
    fs::write(parts[0].with_file_name(".half.parquet.tmp"), "PAR1").expect("a file in the making");
    fs::write(parts[0].with_file_name("notes.txt"), "x").expect("another file");
    let dataset = Dataset::open(root).expect("it opens");
    assert_eq!(dataset.tables().collect::<Vec<_>>(), ["flows"]);
    assert_eq!(
        (
            dataset.files("flows").len(),
            dataset.superseded_files("flows")
        ),
        (3, 3)
    );
    let all = seen(&dataset, &Filter::default());
    let expected = [("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b", 0)];
    assert_eq!(
        all,
        expected.map(|(node, second)| (node.to_owned(), second))
    );
}

#[test]
fn filters_take_time_and_node() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for node in ["a", "b c"] {
        (0..4).for_each(|second| {
            written(folder.path(), node, second, &[of_node(node, second)]);
        });
    }
    let dataset = Dataset::open(folder.path()).expect("it opens");
    let filter = Filter {
        from_us: Some(START_US + SECOND_US),
        until_us: Some(START_US + 3 * SECOND_US),
        nodes: Some(BTreeSet::from(["b c".to_owned()])),
    };
    assert_eq!(
        seen(&dataset, &filter),
        [("b c".to_owned(), 1), ("b c".to_owned(), 2)]
    );
    assert_eq!(dataset.rows::<LedgerRow>(&Filter::default()).count(), 0);
}

#[test]
fn folders_without_a_dataset_are_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    let shown = root.display();
    refused(
        &root.join("absent"),
        &format!("no dataset at {shown}/absent: there is no such folder"),
    );
    refused(root, &format!("no dataset in {shown}: no table"));
    fs::create_dir(root.join("flows")).expect("a folder");
    refused(root, &format!("no dataset in {shown}: no table"));
    fs::write(root.join("file"), "").expect("a file");
    refused(
        &root.join("file"),
        &format!("no dataset at {shown}/file: it is not a folder"),
    );
}

#[test]
fn damaged_and_overlapping_files_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let parts = (0..4).map(|second| written(folder.path(), "a", second, &[of_node("a", second)]));
    let parts = parts.collect::<Vec<_>>();
    fs::write(&parts[1], "PAR1").expect("a damaged file");
    let dataset = Dataset::open(folder.path()).expect("it opens");
    let filter = Filter::default();
    let rows = dataset.rows::<FlowRow>(&filter).collect::<Vec<_>>();
    let errors = rows
        .iter()
        .filter_map(|row| row.as_ref().err())
        .collect::<Vec<_>>();
    let [error] = errors[..] else {
        panic!("one error")
    };
    assert!(
        error
            .to_string()
            .starts_with(&parts[1].display().to_string()),
        "{error}"
    );
    let merged = |first: u64, last: u64| name(first).merged_with(&name(last)).to_string();
    for name in [merged(0, 2), merged(2, 3)] {
        fs::copy(&parts[0], parts[0].with_file_name(name)).expect("a merged file");
    }
    let error = Dataset::open(folder.path()).expect_err("interval 2 is there twice");
    assert!(matches!(error, DatasetError::Overlap { .. }), "{error}");
}

#[test]
fn an_inspection_tells_what_is_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    for second in [0, 1, 2, 6] {
        written(root, "worker", second, &[flow(second, ONE)]);
        let row = LedgerRow {
            counted: ONE,
            kernel_packets: Some(1),
            kernel_bytes: Some(114),
            ..ledger(second)
        };
        written(root, "worker", second, &[row]);
    }
    let later = root.join("elsewhere/date=2027-01-01/node=a/data.parquet");
    fs::create_dir_all(later.parent().expect("a folder")).expect("a table of a later version");
    fs::write(later, "PAR1").expect("a file of it");
    let dataset = Dataset::open(root).expect("it opens");
    let found = inspect(&dataset, &Filter::default()).expect("it is looked through");
    let tables = found
        .tables
        .iter()
        .map(|table| (table.table.as_str(), table.files, table.rows));
    assert_eq!(
        tables.collect::<Vec<_>>(),
        [("elsewhere", 1, 0), ("flows", 4, 4), ("ledger", 4, 4)]
    );
    assert!(!found.tables[0].is_known);
    assert_eq!(found.tables[1].first_us, Some(START_US));
    assert_eq!(found.tables[1].last_us, Some(START_US + 6 * SECOND_US));
    assert_eq!(found.books.balance, Balance::Balanced);
    let [gap] = &found.books.gaps[..] else {
        panic!("one gap")
    };
    assert_eq!(gap.from_us, START_US + 3 * SECOND_US);
    assert_eq!(gap.until_us, START_US + 6 * SECOND_US);
    assert!(
        read_runs(&dataset.runs_dir())
            .expect("no runs is no error")
            .is_empty()
    );
}

#[test]
fn a_url_of_a_folder_is_that_folder_and_one_with_a_secret_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    written(folder.path(), "a", 0, &[of_node("a", 0)]);
    let url = format!("file://{}", folder.path().display());
    let dataset = Dataset::open(Path::new(&url)).expect("it opens");
    assert_eq!(dataset.root(), folder.path());
    assert_eq!(seen(&dataset, &Filter::default()).len(), 1);
    refused(
        Path::new("ftp://host/folder"),
        "--dataset: ftp:// names no store",
    );
    let secret = Path::new("az://me:secret-word@container/folder");
    let error = Dataset::open(secret).expect_err("it holds a secret");
    assert!(matches!(error, DatasetError::Url(_)), "{error}");
    assert!(!error.to_string().contains("secret-word"), "{error}");
}

fn refused(root: &Path, expected: &str) {
    let error = Dataset::open(root).expect_err(expected).to_string();
    assert!(
        error.starts_with(expected) && !error.contains('\n'),
        "{error}"
    );
}

fn seen(dataset: &Dataset, filter: &Filter) -> Vec<(String, i64)> {
    let rows = dataset
        .rows::<FlowRow>(filter)
        .map(|row| row.expect("a row"));
    rows.map(|row| (row.node, (row.interval_start_us - START_US) / SECOND_US))
        .collect()
}

fn of_node(node: &str, second: i64) -> FlowRow {
    FlowRow {
        node: node.to_owned(),
        ..flow(second, ONE)
    }
}

fn written<R: Record>(root: &Path, node: &str, second: i64, rows: &[R]) -> PathBuf {
    let start_us = START_US + second * SECOND_US;
    let number = u64::try_from(second).expect("a number from 0");
    let path = partition_dir(root, R::TABLE, start_us, node).join(name(number).to_string());
    let metadata = FileMetadata {
        node: node.to_owned(),
        boot_id: "4f0c2b9e".to_owned(),
        tool_version: "0.1.0".to_owned(),
        clock: "text".to_owned(),
    };
    file::write(&path, rows, &metadata).expect("a file is written");
    path
}

fn name(number: u64) -> FileName {
    let second = i64::try_from(number).expect("a small number");
    FileName::of_interval(START_US + second * SECOND_US, "4f0c2b9e", 1, number)
}
