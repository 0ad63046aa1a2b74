//! From packets to Parquet to verdicts.

mod duckdb;
