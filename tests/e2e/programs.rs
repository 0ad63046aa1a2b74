//! The eBPF programs by themselves: crafted packets under `BPF_PROG_TEST_RUN`.
