//! `weighbridge recipes`: lists the SQL recipes, or prints one for an engine and a dataset.

use std::fmt::Write as _;

use anyhow::bail;

use crate::cli::RecipesArgs;
use crate::input::manifest::read_runs;
use crate::recipes::{Place, RECIPES, Recipe};

/// Stands in a recipe where no dataset was named.
const DATASET: &str = "DATASET";
/// What a recipe writes stands beside the dataset.
const OUTPUT_SUFFIX: &str = "-rolled-up";

/// Runs the command.
pub fn run(args: &RecipesArgs) -> anyhow::Result<u8> {
    let Some(name) = &args.name else {
        super::print(&list())?;
        return Ok(0);
    };
    let Some(recipe) = Recipe::named(name) else {
        let known: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
        bail!(
            "recipe {name}: there is no such recipe; there is {}",
            known.join(", ")
        );
    };
    let dataset = args.dataset.as_deref().unwrap_or(DATASET.as_ref());
    let runs = read_runs(&dataset.join("runs"))?;
    let edges = runs.iter();
    let edges_us = edges.flat_map(|run| [run.manifest.start_us, run.manifest.end_us]);
    let shown = dataset.display().to_string();
    let shown = shown.trim_end_matches('/');
    let output = match &args.output {
        Some(output) => output.display().to_string(),
        None => format!("{shown}{OUTPUT_SUFFIX}"),
    };
    let place = Place {
        dataset: shown.to_owned(),
        output: output.trim_end_matches('/').to_owned(),
        edges_us: edges_us.collect(),
    };
    super::print(&recipe.filled_in(args.engine, &place))?;
    Ok(0)
}

fn list() -> String {
    let width = RECIPES.iter().map(|recipe| recipe.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for recipe in &RECIPES {
        let _ = writeln!(text, "{:width$}  {}", recipe.name, recipe.question());
    }
    text
}
