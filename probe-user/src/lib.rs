//! The node probe as a library: what `weighbridge-probe` is made of, so that tests can reach it.
//!
//! Finding things (cgroups, interfaces, clocks), keeping rows (spool) and telling operators how it
//! goes (preflight, health) each have a module. It refuses to interpret what it counts: policies
//! and verdicts belong to the analyzer.

pub mod aggregate;
pub mod attach;
pub mod batch;
pub mod btf;
pub mod cgroups;
pub mod cli;
pub mod clock;
pub mod config;
pub mod drain;
pub mod exit;
pub mod health;
pub mod interfaces;
pub mod loader;
pub mod machine;
pub mod perf;
pub mod preflight;
pub mod privileges;
pub mod processors;
pub mod profile;
pub mod record;
pub mod resources;
pub mod run;
pub mod sampler;
pub mod ship;
pub mod spool;
pub mod syscall;
