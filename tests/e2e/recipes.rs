//! The recipes of `weighbridge recipes`, run by the engines that they are for, against what
//! `weighbridge` itself makes of the same dataset.
//!
//! Sums must be equal, and the dataset that the roll-up writes must be smaller and say the same.

mod dataset;
mod duckdb;
mod spark;
mod sums;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use trace_schema::flows::FlowRow;
use trace_schema::snat::SnatRow;

use crate::dataset::{binary, rows, weighbridge};

/// The recipes that add up.
const SUMS: [&str; 5] = [
    "flow-traffic",
    "snat-exits",
    "http-responses",
    "cpu-cycles",
    "ledger-books",
];

/// Tables that the roll-up leaves alone.
const COPIED: [&str; 5] = ["objects", "ledger", "http", "cpu", "runs"];

/// What runs recipes.
struct Engine {
    name: &'static str,
    python: PathBuf,
}

/// Rows of a recipe's answer.
type Answer = Vec<BTreeMap<String, Value>>;

/// Runs every recipe in one session of the engine, and holds what they say against `weighbridge`.
fn hold_against_weighbridge(engine: &Engine) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (original, small) = (folder.path().join("original"), folder.path().join("small"));
    dataset::write(&original);
    let texts = folder.path().join("recipes");
    for made in [&texts, &small] {
        std::fs::create_dir(made).expect("a folder");
    }
    let mut files: Vec<PathBuf> = SUMS
        .iter()
        .map(|name| print(engine, name, &original, &small, &texts))
        .collect();
    // Without runs everything that was recorded counts, as it does in SQL.
    let expected = sums::expected(&original);
    dataset::add_run(&original);
    files.push(print(engine, "roll-up", &original, &small, &texts));
    let answers = answers(engine, &files);
    sums::check(&answers, &expected);
    copy_others(&original, &small);
    assert_says_the_same(&original, &small);
}

/// Prints a recipe into a file.
fn print(engine: &Engine, name: &str, dataset: &Path, output: &Path, texts: &Path) -> PathBuf {
    let printed = Command::new(binary("weighbridge"))
        .args(["recipes", name, "--engine", engine.name, "--dataset"])
        .arg(dataset)
        .arg("--output")
        .arg(output)
        .output()
        .expect("weighbridge starts");
    assert!(printed.status.success(), "{printed:?}");
    let path = texts.join(format!("{name}.sql"));
    std::fs::write(&path, printed.stdout).expect("the temporary folder takes a recipe");
    path
}

fn answers(engine: &Engine, recipes: &[PathBuf]) -> BTreeMap<String, Answer> {
    let script = e2e::workspace_root().join(format!("tests/e2e/recipes/run_{}.py", engine.name));
    let output = Command::new(&engine.python)
        .arg(script)
        .args(recipes)
        .output()
        .expect("the engine's python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{errors}"))
}

fn copy_others(from: &Path, to: &Path) {
    for table in COPIED {
        copy(&from.join(table), &to.join(table));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let into = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &into),
            false => {
                std::fs::copy(entry.path(), into).expect("a file is copied");
            }
        }
    }
}

fn assert_says_the_same(original: &Path, small: &Path) {
    let counts = |root: &Path| {
        let (flows, snat) = (rows::<FlowRow>(root), rows::<SnatRow>(root));
        let bytes: i64 = flows.iter().map(|row| row.bytes).sum();
        let packets: i64 = snat.iter().map(|row| row.packets).sum();
        (flows.len(), snat.len(), bytes, packets)
    };
    let (before, after) = (counts(original), counts(small));
    assert_eq!((before.2, before.3), (after.2, after.3));
    assert!(
        after.0 * 3 < before.0,
        "{} rows of flows became {}",
        before.0,
        after.0
    );
    assert!(
        after.1 * 3 < before.1,
        "{} rows of snat became {}",
        before.1,
        after.1
    );
    let run = ["--run", dataset::RUN];
    let asked: [(&str, &[&str]); 5] = [
        ("egress", &["--connections"]),
        ("egress", &run),
        ("split", &["--windows"]),
        ("cost", &[]),
        ("cost", &run),
    ];
    for (command, arguments) in asked {
        let (code, said) = weighbridge(command, original, arguments);
        let (code_of_small, said_of_small) = weighbridge(command, small, arguments);
        assert_eq!(code, code_of_small, "{command} {arguments:?}");
        assert_eq!(said, said_of_small, "{command} {arguments:?}");
    }
    let (_, inspection) = weighbridge("inspect", small, &[]);
    assert_eq!(inspection["books"]["balance"], "balanced");
}
