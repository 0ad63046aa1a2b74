//! Spark runs them, on a cluster of processes of this machine.

use std::path::PathBuf;

use super::{Engine, hold_against_weighbridge};

#[test]
fn spark_says_what_weighbridge_says() {
    hold_against_weighbridge(&Engine {
        name: "spark",
        python: python(),
    });
}

/// The Python that has PySpark.
fn python() -> PathBuf {
    let named = std::env::var_os("WEIGHBRIDGE_SPARK_PYTHON").map(PathBuf::from);
    let python =
        named.unwrap_or_else(|| e2e::workspace_root().join("target/tools/spark/bin/python3"));
    assert!(
        python.exists(),
        "PySpark is not set up: run `cargo xtask test --only spark`"
    );
    python
}
