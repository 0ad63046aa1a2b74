//! DuckDB reads the dataset as anyone would, and finds what the rows add up to.
//!
//! DuckDB is the independent witness: it knows the files only as Hive-partitioned Parquet. The
//! expected sums come from the reader that the analyzer uses.

mod dataset;
mod expected;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::workspace_root;
use lab::{Config, Connections, Datapath, Family, IperfOptions, Lab, ProbeOptions};

/// Sums by name; absent where there was nothing to add up.
type Totals = BTreeMap<String, Option<i64>>;

#[test]
fn duckdb_finds_the_totals_of_every_table() {
    let folder = tempfile::tempdir().unwrap();
    dataset::write(folder.path());
    assert_eq!(tables(folder.path()).count(), 8);
    assert_same_totals(folder.path());
}

#[test]
fn duckdb_reads_a_merged_file_as_the_files_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    dataset::write(folder.path());
    let before = duckdb_totals(folder.path());
    dataset::merge_flows(folder.path());
    assert_eq!(duckdb_totals(folder.path()), before);
    assert_same_totals(folder.path());
}

#[test]
fn duckdb_finds_the_totals_of_what_probes_wrote() {
    e2e::require_root();
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::up(Config::new(Datapath::Netfilter)).unwrap();
    let server = lab.start_server(9_000).unwrap();
    let options = ProbeOptions::new(crate::dataset::binary("weighbridge-probe"), folder.path());
    let probes = lab.start_probes(&options).unwrap();
    for (pod, protocol) in [("client", "tcp"), ("base", "udp")] {
        let load = Connections::short(pod, protocol, server.socket(Family::V4), 200);
        lab.connect(&load).unwrap();
    }
    lab.iperf3(&IperfOptions::tcp("client", 1)).unwrap();
    probes.stop().unwrap();
    lab.write_objects(folder.path()).unwrap();
    assert_same_totals(folder.path());
    // What a probe is about to write is not there yet.
    let totals = duckdb_totals(folder.path());
    let dates = std::fs::read_dir(folder.path().join("flows")).unwrap();
    for date in dates {
        let half = date
            .unwrap()
            .path()
            .join("node=worker/.1-0-0-9.parquet.tmp");
        std::fs::write(half, "PAR1").unwrap();
    }
    assert_eq!(duckdb_totals(folder.path()), totals);
}

/// Asks DuckDB and the reader the same questions of a dataset; panics where an answer differs or a
/// table is empty.
pub fn assert_same_totals(dataset: &Path) {
    let found = duckdb_totals(dataset);
    let expected = expected::totals(dataset);
    assert_eq!(found, expected);
    for (table, totals) in &found {
        assert!(totals["rows"] > Some(0), "{table} is empty");
    }
}

/// The tables that a dataset has: `http` only where somebody spoke it, `profile` only where it was
/// asked for.
fn tables(dataset: &Path) -> impl Iterator<Item = &'static str> {
    let optional = ["cpu", "http", "profile", "resources"].into_iter();
    let optional = optional.filter(|table| dataset.join(table).exists());
    ["flows", "ledger", "objects", "snat"]
        .into_iter()
        .chain(optional)
}

fn duckdb_totals(dataset: &Path) -> BTreeMap<String, Totals> {
    let source = workspace_root().join("tests/e2e/pipeline");
    let queries = tables(dataset).map(|table| source.join(format!("totals/{table}.sql")));
    let output = Command::new(python())
        .arg(source.join("duckdb_totals.py"))
        .arg(dataset)
        .args(queries)
        .output()
        .expect("DuckDB's python runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The Python that has DuckDB.
pub fn python() -> PathBuf {
    let named = std::env::var_os("WEIGHBRIDGE_DUCKDB_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| workspace_root().join("target/tools/duckdb/bin/python3"));
    assert!(
        python.exists(),
        "DuckDB is not set up: run `cargo xtask test --only duckdb`"
    );
    python
}
