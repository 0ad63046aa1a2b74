//! Test code.
