//! What policies mean, trap by trap, against a small cluster.

mod antrea;
mod cilium;
mod time;

use std::path::Path;

use trace_schema::objects::ObjectRow;

use super::{Engine, EngineOptions, Expected, PodIdentity};
use crate::input::objects::read_text;
use crate::objects::History;

const CLUSTER: &str = include_str!("../../../tests/fixtures/objects/cluster.yaml");
const OUTSIDE: &str = "203.0.113.9";

fn rows(yaml: &str) -> Vec<ObjectRow> {
    read_text(Path::new("test.yaml"), yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// The small cluster with further objects, all of them there from ever.
fn cluster_with(yaml: &str) -> History {
    let mut all = rows(CLUSTER);
    all.extend(rows(yaml));
    History::new(all).unwrap_or_else(|error| panic!("{error}"))
}

fn expect_with(yaml: &str, options: EngineOptions, pod: &str, destination: &str) -> Expected {
    let history = cluster_with(yaml);
    let engine = Engine::new(&history, options).unwrap();
    let (namespace, name) = pod.split_once('/').unwrap();
    engine.expect(
        &PodIdentity::name(namespace, name),
        destination.parse().unwrap(),
        0,
    )
}

fn expect(yaml: &str, pod: &str, destination: &str) -> Expected {
    expect_with(yaml, EngineOptions::default(), pod, destination)
}

fn check(yaml: &str, pod: &str, destination: &str, expected: &str) {
    let found = expect(yaml, pod, destination).expectation.to_string();
    assert_eq!(found, expected, "{pod} to {destination}");
}

fn check_with(options: EngineOptions, yaml: &str, pod: &str, destination: &str, expected: &str) {
    let found = expect_with(yaml, options, pod, destination)
        .expectation
        .to_string();
    assert_eq!(found, expected, "{pod} to {destination}");
}

fn lints(yaml: &str) -> Vec<String> {
    let history = cluster_with(yaml);
    let engine = Engine::new(&history, EngineOptions::default()).unwrap();
    engine
        .lints()
        .iter()
        .map(|lint| format!("{}: {}", lint.policy, lint.message))
        .collect()
}
