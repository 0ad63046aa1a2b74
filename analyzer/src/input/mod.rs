//! What the analyzer reads: datasets, objects and the tools' own files.

pub mod objects;
