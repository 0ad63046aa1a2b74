//! Arguments of `weighbridge recipes`.

use std::path::PathBuf;

use clap::Args;

use crate::recipes::Engine;

/// Arguments of `weighbridge recipes`.
#[derive(Debug, Args)]
pub struct RecipesArgs {
    /// The recipe; without a name they are listed.
    pub name: Option<String>,
    /// What will run it.
    #[arg(long, value_enum, default_value_t = Engine::Duckdb)]
    pub engine: Engine,
    /// Folder or URL of the dataset, as the engine is to name it (default: the word DATASET).
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
    /// Where a recipe that writes is to write (default: the dataset's name with `-rolled-up`).
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}
