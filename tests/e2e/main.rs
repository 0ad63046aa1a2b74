//! End-to-end tests: the eBPF programs by test runs, and the pipeline from packets to verdicts.

mod bad_input;
mod books;
mod campaign;
mod cost;
mod cpu;
mod dataset;
mod deploy;
mod faults;
mod image;
mod ingress;
mod other_arch;
mod pipeline;
mod profile;
mod programs;
mod recipes;
mod recorder;
mod report;
mod resources;
mod shared_kernel;
mod ship;
mod survival;
mod truth;
