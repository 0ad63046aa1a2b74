//! A Gateway with a real data plane: what the backends answered, by every witness there is.

mod faults;
mod latency;
mod scene;
mod speech;
mod truth;
