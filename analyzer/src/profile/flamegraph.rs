//! A flame graph of a profile, as one SVG file.
//!
//! The inferno crate draws it. Colours follow from the names, so that the same profile gives the
//! same file.

use std::io::{self, Write};

use inferno::flamegraph::{self, Options};

/// Why there is no flame graph.
#[derive(Debug, thiserror::Error)]
pub enum FlamegraphError {
    /// There is nothing to draw.
    #[error(
        "no samples outside the idle task: run the probe with --profile, and choose a time under load"
    )]
    Empty,
    /// It could not be drawn or written.
    #[error("cannot write the flame graph")]
    Write(#[source] io::Error),
}

/// Draws folded stacks, see [`super::Profile::folded`], under a title.
pub fn write(folded: &[String], title: &str, out: impl Write) -> Result<(), FlamegraphError> {
    if folded.is_empty() {
        return Err(FlamegraphError::Empty);
    }
    let mut options = Options::default();
    options.title = title.to_owned();
    options.count_name = "samples".to_owned();
    options.hash = true;
    let lines = folded.iter().map(String::as_str);
    flamegraph::from_lines(&mut options, lines, out).map_err(FlamegraphError::Write)
}
