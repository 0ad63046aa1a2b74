//! The offline analyzer.

pub mod input;
pub mod objects;
pub mod pairing;
pub mod policy;
pub mod verdict;
