//! What the analyzer reads: datasets, objects and the tools' own files.
//!
//! Only here does the analyzer touch files; everything behind takes rows and returns findings.

pub mod cost;
pub mod inspection;
pub mod iperf3;
pub mod k6;
pub mod manifest;
pub mod objects;
pub mod plan;
pub mod prometheus;
mod pruning;
mod store;
pub mod traces;
pub(crate) mod workers;

use std::error::Error;

/// An error and its causes as one line; a cause that the text before it quotes is not repeated.
pub fn one_line(error: &dyn Error) -> String {
    let mut line = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}
