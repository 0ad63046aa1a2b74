//! The offline analyzer.

pub mod input;
pub mod objects;
pub mod policy;
