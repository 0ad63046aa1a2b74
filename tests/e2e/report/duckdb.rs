//! DuckDB and a few lines of Python make three figures again from the raw files: goodput from
//! iperf3's, CPU and memory from `resources`, cycles per packet from `cpu` and `flows`.

use std::process::Command;

use e2e::workspace_root;

use super::dataset;
use crate::pipeline::duckdb_python;

#[test]
fn duckdb_makes_three_figures_again() {
    let folder = tempfile::tempdir().unwrap();
    dataset::write(folder.path());
    let document = folder.path().join("report.json");
    let report = Command::new(crate::dataset::binary("weighbridge"))
        .args(["report", "--format", "json", "--dataset"])
        .arg(folder.path())
        .arg("--output")
        .arg(&document)
        .output()
        .unwrap();
    // Nothing is judged in a dataset without objects, and so nothing passes.
    assert_eq!(
        report.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&report.stderr)
    );
    let output = Command::new(duckdb_python())
        .arg(workspace_root().join("tests/e2e/report/recompute.py"))
        .arg(folder.path())
        .arg(&document)
        .output()
        .expect("DuckDB's python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Four numbers of seven completed runs, with means and intervals of two cases, and a part of each bar.
    assert!(said.contains("54 numbers agree"), "{said}");
}
