//! What the analyzer reads, and the sums that it draws: real samples, damaged files, and models that
//! know the right answer.

mod books;
mod iperf3;
mod k6;
mod measurements;
mod prometheus;
mod reconcile;
mod rows;
mod traces;
