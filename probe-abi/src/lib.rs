//! The bytes that cross the line between the eBPF programs and user space.
