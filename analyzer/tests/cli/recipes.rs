//! `weighbridge recipes`: what it lists, prints and refuses.

use super::{refused, weighbridge};

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = weighbridge(arguments).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).expect("recipes are text")
}

#[test]
fn recipes_are_listed_with_their_questions() {
    let list = printed(&["recipes"]);
    for name in [
        "flow-traffic",
        "snat-exits",
        "http-responses",
        "cpu-cycles",
        "roll-up",
    ] {
        assert!(list.contains(name), "{name}: {list}");
    }
    assert!(list.lines().all(|line| line.ends_with('?')), "{list}");
}

#[test]
fn a_recipe_names_the_dataset_as_the_engine_wants_it() {
    let duckdb = printed(&[
        "recipes",
        "ledger-books",
        "--dataset",
        "s3://bucket/traces/",
    ]);
    assert!(
        duckdb.contains("'s3://bucket/traces/ledger/**/*.parquet'"),
        "{duckdb}"
    );
    let spark = printed(&[
        "recipes",
        "roll-up",
        "--engine",
        "spark",
        "--dataset",
        "/data",
    ]);
    assert!(spark.contains("parquet.`/data/flows`"), "{spark}");
    assert!(
        spark.contains("LOCATION '/data-rolled-up/flows'"),
        "{spark}"
    );
}

#[test]
fn an_unknown_recipe_is_refused_with_those_that_there_are() {
    refused(&["recipes", "nothing"], &["recipe nothing", "roll-up"]);
}
