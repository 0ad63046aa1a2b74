//! SQL recipes for people with more data than one machine takes: the questions that `weighbridge`
//! answers by adding up, put to DuckDB or Spark over the same files, and a roll-up after which it
//! reads the rest.
//!
//! A recipe is one `.sql` file with one question in its first line. In braces stands what differs from
//! dataset to dataset: the tables, where they lie, where to write, the times at which load runs began
//! and ended; and what differs from engine to engine, see [`Dialect`]. Pure: nothing is read here.

use std::fmt::Write as _;

use clap::ValueEnum;
use trace_schema::SCHEMA_VERSION;

/// What runs a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// DuckDB 1.1 or later.
    Duckdb,
    /// Spark SQL 3.4 or later.
    Spark,
}

/// A question in SQL.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// What it is called.
    pub name: &'static str,
    text: &'static str,
}

/// Where one engine's SQL is not the other's.
struct Dialect {
    /// The engine and its first version that runs the recipes.
    engine: &'static str,
    /// What is set before anything is read.
    settings: &'static str,
    /// What `CREATE OR REPLACE` makes for the session. DuckDB keeps a table, for a view is worked out
    /// again at each mention.
    temporary: &'static str,
    /// Microseconds since 1970 of a time.
    epoch_us: &'static str,
    /// Division of integers.
    div: &'static str,
    /// Writes what the roll-up made.
    write: &'static str,
}

const DUCKDB: Dialect = Dialect {
    engine: "DuckDB 1.1",
    settings: include_str!("recipes/duckdb/settings.sql"),
    temporary: "TEMPORARY TABLE",
    epoch_us: "epoch_us",
    div: "//",
    write: include_str!("recipes/duckdb/write.sql"),
};

const SPARK: Dialect = Dialect {
    engine: "Spark 3.4",
    settings: include_str!("recipes/spark/settings.sql"),
    temporary: "TEMPORARY VIEW",
    epoch_us: "unix_micros",
    div: "div",
    write: include_str!("recipes/spark/write.sql"),
};

/// What a recipe is filled in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Root of the dataset, as the engine is to name it.
    pub dataset: String,
    /// Root of what a recipe writes.
    pub output: String,
    /// Starts and ends of load runs, UTC microseconds.
    pub edges_us: Vec<i64>,
}

/// Every recipe, in the order in which they are listed.
pub const RECIPES: [Recipe; 6] = [
    Recipe {
        name: "flow-traffic",
        text: include_str!("recipes/flow-traffic.sql"),
    },
    Recipe {
        name: "snat-exits",
        text: include_str!("recipes/snat-exits.sql"),
    },
    Recipe {
        name: "http-responses",
        text: include_str!("recipes/http-responses.sql"),
    },
    Recipe {
        name: "cpu-cycles",
        text: include_str!("recipes/cpu-cycles.sql"),
    },
    Recipe {
        name: "ledger-books",
        text: include_str!("recipes/ledger-books.sql"),
    },
    Recipe {
        name: "roll-up",
        text: include_str!("recipes/roll-up.sql"),
    },
];

const TABLES: [&str; 5] = ["flows", "snat", "http", "cpu", "ledger"];

impl Recipe {
    /// The recipe of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        RECIPES.iter().find(|recipe| recipe.name == name)
    }

    /// What it answers: the first line of its text.
    pub fn question(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches("-- ")
    }

    /// Its text for an engine and a dataset.
    pub fn filled_in(&self, engine: Engine, place: &Place) -> String {
        let dialect = engine.dialect();
        let words = [
            ("{engine}", dialect.engine),
            ("{settings}", dialect.settings.trim_end()),
            ("{temporary}", dialect.temporary),
            ("{epoch_us}", dialect.epoch_us),
            ("{div}", dialect.div),
            ("{write}", dialect.write.trim_end()),
        ];
        let mut text = self.text.to_owned();
        for (name, word) in words {
            text = text.replace(name, word);
        }
        for table in TABLES {
            text = text.replace(
                &format!("{{{table}}}"),
                &engine.table(&place.dataset, table),
            );
        }
        text.replace("{schema_version}", &SCHEMA_VERSION.to_string())
            .replace("{edges}", &edges(&place.edges_us))
            .replace(
                "'{output}",
                &format!("'{}", place.output.replace('\'', "''")),
            )
            .replace("{output}", &place.output)
            .replace("{dataset}", &place.dataset)
    }
}

impl Engine {
    const fn dialect(self) -> Dialect {
        match self {
            Self::Duckdb => DUCKDB,
            Self::Spark => SPARK,
        }
    }

    /// How it names a table of a dataset.
    fn table(self, dataset: &str, table: &str) -> String {
        match self {
            Self::Duckdb => format!(
                "read_parquet(\n        '{}/{table}/**/*.parquet',\n        hive_partitioning = true, hive_types_autocast = false\n    )",
                dataset.replace('\'', "''")
            ),
            Self::Spark => format!("parquet.`{}/{table}`", dataset.replace('`', "``")),
        }
    }
}

/// Rows of one number each; never none, since an engine wants at least one.
fn edges(edges_us: &[i64]) -> String {
    let mut rows = String::from("(CAST(NULL AS BIGINT))");
    for edge_us in edges_us {
        let _ = write!(rows, ", ({edge_us})");
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled_in(recipe: &Recipe, engine: Engine) -> String {
        let place = Place {
            dataset: "/data/it's".to_owned(),
            output: "/data/small".to_owned(),
            edges_us: vec![5, 7],
        };
        recipe.filled_in(engine, &place)
    }

    #[test]
    fn every_recipe_asks_one_question_in_its_first_line() {
        for recipe in &RECIPES {
            assert!(recipe.text.starts_with("-- "), "{}", recipe.name);
            assert!(recipe.question().ends_with('?'), "{}", recipe.question());
        }
    }

    #[test]
    fn nothing_is_left_open() {
        for recipe in &RECIPES {
            for engine in [Engine::Duckdb, Engine::Spark] {
                let text = filled_in(recipe, engine);
                assert!(!text.contains(['{', '}']), "{}: {text}", recipe.name);
                assert!(recipe.name == "roll-up" || !text.contains("/data/small"));
            }
        }
    }

    #[test]
    fn paths_are_quoted_as_the_engine_wants() {
        let books = Recipe::named("ledger-books").expect("there is one");
        let duckdb = filled_in(books, Engine::Duckdb);
        assert!(
            duckdb.contains("'/data/it''s/ledger/**/*.parquet'"),
            "{duckdb}"
        );
        let spark = filled_in(books, Engine::Spark);
        assert!(
            spark.contains("FROM parquet.`/data/it's/ledger`"),
            "{spark}"
        );
        let roll_up = Recipe::named("roll-up").expect("there is one");
        let duckdb = filled_in(roll_up, Engine::Duckdb);
        assert!(
            duckdb.contains("VALUES (CAST(NULL AS BIGINT)), (5), (7)"),
            "{duckdb}"
        );
    }
}
