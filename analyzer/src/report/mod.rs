//! How findings are printed: tables for people, JSON for programs, JUnit for a CI.
//!
//! Nothing here judges or sums; it only chooses words and columns. No output carries the time at
//! which it was made, so that the same input gives the same bytes.

pub mod campaign;
pub mod compare;
pub mod cost;
pub mod html;
pub mod inspection;
pub mod json;
pub mod junit;
mod quantity;
pub mod split;
pub mod table;
