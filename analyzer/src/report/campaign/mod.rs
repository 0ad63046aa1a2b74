//! A whole report as data: verdicts, figures with the tables of their numbers, the books, where
//! every number is from, and the environment.
//!
//! HTML and JSON are drawn from the same [`Document`], so that neither knows more than the other. A
//! figure for which the dataset has nothing says what is missing and which command records it, and
//! never shows an empty plot. Nothing here judges: findings come in, words and columns go out.

mod books;
mod by_case;
mod comparisons;
mod compose;
mod cost;
mod egress;
mod environment;
mod junit;
mod provenance;
mod split;
mod table;
mod users;
mod verdicts;

use serde::Serialize;

pub use compose::{Findings, compose};
pub use junit::render as junit;
pub use provenance::{InputFile, InputGroup, hex};
pub use table::{Cell, Column, Table};
pub use verdicts::Verdict;

use crate::figures::Plot;
use crate::verdict::Outcome;

/// Version of the JSON document.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything that a report shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    /// Version of this document.
    pub schema_version: u32,
    /// Version of the program that made it.
    pub tool_version: String,
    /// What it is of.
    pub title: String,
    /// The worst of the verdicts; inconclusive where there are none.
    pub result: Outcome,
    /// The verdicts.
    pub verdicts: Vec<Verdict>,
    /// Sentences that compare cases.
    pub comparisons: Comparisons,
    /// What was looked for and not found, and what a reader should know.
    pub notes: Vec<String>,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Tables that no figure draws: runs, environment.
    pub appendix: Vec<Section>,
    /// The files that all of this is from.
    pub inputs: Vec<InputGroup>,
}

/// How cases compare.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparisons {
    /// By metric.
    pub metrics: Vec<MetricComparisons>,
    /// Why there are none.
    pub absent_because: Option<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Where they are from.
    pub source: Option<Source>,
}

/// How cases compare by one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricComparisons {
    /// One for each pair of cases.
    pub sentences: Vec<String>,
    /// Their numbers; its title is the metric's name.
    pub table: Table,
}

/// A figure with the table of its numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name in the page's links.
    pub id: &'static str,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The drawings; none where something is missing.
    pub plots: Vec<Plot>,
    /// Why there is no drawing.
    pub missing: Option<Missing>,
    /// The numbers.
    pub tables: Vec<Table>,
    /// What makes them less certain, and what else to know.
    pub notes: Vec<String>,
    /// Where they are from.
    pub source: Source,
}

/// Why a figure is not there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// What records it.
    pub command: String,
}

/// Where the numbers of a figure are from.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Source {
    /// The functions or queries that made them.
    pub by: Vec<String>,
    /// Names of [`InputGroup`]s, or of files in them.
    pub inputs: Vec<String>,
}

/// A table of the appendix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// Its name in the page's links.
    pub id: &'static str,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The table.
    pub table: Table,
}

impl Figure {
    /// A figure without its numbers yet.
    fn new(id: &'static str, title: &str, caption: &str) -> Self {
        Self {
            id,
            title: title.to_owned(),
            caption: caption.to_owned(),
            plots: Vec::new(),
            missing: None,
            tables: Vec::new(),
            notes: Vec::new(),
            source: Source::default(),
        }
    }

    /// The same figure, of which something is missing.
    fn without(self, what: &str, command: &str) -> Self {
        Self {
            plots: Vec::new(),
            missing: Some(Missing {
                what: what.to_owned(),
                command: command.to_owned(),
            }),
            ..self
        }
    }
}

impl Source {
    fn new(by: &str, inputs: &[&str]) -> Self {
        Self {
            by: vec![by.to_owned()],
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
        }
    }
}
