//! End-to-end tests: the eBPF programs by test runs, and the pipeline from packets to verdicts.

mod bad_input;
mod books;
mod campaign;
mod cpu;
mod dataset;
mod faults;
mod ingress;
mod pipeline;
mod programs;
mod survival;
mod truth;
