//! DuckDB runs them.

use super::{Engine, hold_against_weighbridge};

#[test]
fn duckdb_says_what_weighbridge_says() {
    hold_against_weighbridge(&Engine {
        name: "duckdb",
        python: crate::pipeline::duckdb_python(),
    });
}
