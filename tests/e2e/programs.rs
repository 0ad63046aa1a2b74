//! The eBPF programs by themselves: crafted packets under `BPF_PROG_TEST_RUN`, read back through
//! the probe's own drain.

mod counting;
mod draining;
#[path = "../../probe-ebpf/tests/headers/frames.rs"]
mod frames;
mod full_map;
mod http;
mod pairing;
mod rig;
