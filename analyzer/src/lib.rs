//! The offline analyzer.

pub mod books;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod cost;
pub mod figures;
pub mod input;
pub mod measurements;
pub mod objects;
pub mod pairing;
pub mod policy;
pub mod profile;
pub mod recipes;
pub mod reconcile;
pub mod report;
pub mod stats;
pub mod verdict;
