//! `weighbridge report`, held against witnesses that share nothing with it: a browser that lays the
//! page out, and DuckDB that reads the same files.

mod chromium;
mod dataset;
mod duckdb;
