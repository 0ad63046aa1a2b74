//! What the modules share: the built programs, rows of a dataset, and what is said of it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use trace_schema::{
    file,
    flows::{Direction, FlowRow},
    ledger::Vantage,
    record::Record,
};

/// A program of this workspace, built beside this test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.ancestors().nth(2).expect("a target folder");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not there: cargo build -p probe-user -p analyzer -p lab",
        path.display()
    );
    path
}

/// Exit code and JSON report of a subcommand of `weighbridge` on a dataset.
pub fn weighbridge(subcommand: &str, dataset: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(binary("weighbridge"))
        .args([subcommand, "--format", "json", "--dataset"])
        .arg(dataset)
        .args(arguments)
        .output()
        .expect("weighbridge starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {stderr}"));
    (output.status.code(), report)
}

/// Where the connections to a server's port came from, by the rows of the pods' sockets.
pub fn sources(flows: &[FlowRow], port: u16) -> HashSet<SocketAddr> {
    let sent = flows.iter().filter(|row| {
        row.vantage == Vantage::Pod
            && row.direction == Direction::Egress
            && row.dst_port == i32::from(port)
    });
    sent.map(|row| {
        let port = u16::try_from(row.src_port).expect("a port");
        SocketAddr::new(row.src_address.parse().expect("an address"), port)
    })
    .collect()
}

/// Every row of a table, file by file in the order of their names.
pub fn rows<R: Record>(dataset: &Path) -> Vec<R> {
    let mut files = Vec::new();
    collect(&dataset.join(R::TABLE), &mut files);
    files.sort();
    let mut rows = Vec::new();
    for path in files {
        let table = file::open::<R>(&path).expect("a readable file");
        for batch in table.rows().expect("rows") {
            rows.extend(batch.expect("a readable batch"));
        }
    }
    rows
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "parquet")
        {
            files.push(path);
        }
    }
}
