//! What the analyzer reads: datasets, objects and the tools' own files.
//!
//! Only here does the analyzer touch files; everything behind takes rows and returns findings.

pub mod cost;
pub mod inspection;
pub mod iperf3;
pub mod k6;
pub mod manifest;
pub mod objects;
pub mod plan;
pub mod prometheus;
mod pruning;
mod store;
pub mod traces;
pub(crate) mod workers;
