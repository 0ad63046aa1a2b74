//! The Parquet contract between the probe and the analyzer: tables, columns, units, object layout.
//!
//! It holds one row type a table, and refuses to know how rows come about (eBPF) or what they
//! mean (policies). Timestamps are UTC microseconds and integers signed, because Spark and Athena
//! read neither nanosecond timestamps nor unsigned 64-bit integers. Addresses are strings in
//! canonical text form (RFC 5952), so that DuckDB and pandas users read them as they are.

mod columns;
pub mod cpu;
pub mod file;
pub mod flows;
pub mod http;
pub mod layout;
pub mod ledger;
pub mod manifest;
pub mod objects;
pub mod profile;
pub mod record;
pub mod resources;
pub mod snat;
#[cfg(feature = "store")]
pub mod store;

pub use record::{Named, Record, SchemaError};

/// Version of every table in this crate; a reader refuses a version that it does not know.
pub const SCHEMA_VERSION: u32 = 4;
