//! From packets to Parquet to verdicts.

mod duckdb;

pub use duckdb::python as duckdb_python;
