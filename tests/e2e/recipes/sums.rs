//! What `weighbridge` makes of the dataset, in the form of the recipes' answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::{Answer, dataset};
use crate::dataset::weighbridge;

/// Numbers by what names them.
type Sums = BTreeMap<Vec<String>, Vec<i64>>;

/// By recipe.
pub fn expected(root: &Path) -> BTreeMap<&'static str, Sums> {
    let (_, inspection) = weighbridge("inspect", root, &[]);
    let (_, egress) = weighbridge("egress", root, &["--connections"]);
    let (_, split) = weighbridge("split", root, &[]);
    let (_, cost) = weighbridge("cost", root, &[]);
    let books = &inspection["books"];
    BTreeMap::from([
        ("flow-traffic", traffic(&books["flow_sums"])),
        ("snat-exits", exits(&egress["connections"])),
        ("http-responses", responses(&split["rules"][0])),
        ("cpu-cycles", charged(&cost["runs"][0])),
        ("ledger-books", accounts(&books["accounts"])),
    ])
}

/// Panics where an engine's answer differs.
pub fn check(answers: &BTreeMap<String, Answer>, expected: &BTreeMap<&str, Sums>) {
    let series = ["node", "vantage", "interface", "direction"];
    let found = [
        (
            "flow-traffic",
            added(
                &answers["flow-traffic"],
                &series,
                &["packets", "bytes", "buffers"],
            ),
        ),
        (
            "snat-exits",
            added(
                &paired(&answers["snat-exits"]),
                &["node", "post_src_address"],
                &["connections"],
            ),
        ),
        (
            "http-responses",
            added(&answers["http-responses"], &["pod_uid"], &["responses"]),
        ),
        ("cpu-cycles", of_all(&answers["cpu-cycles"])),
        (
            "ledger-books",
            added(
                &answers["ledger-books"],
                &["node", "interface", "direction"],
                &[
                    "passed_packets",
                    "passed_bytes",
                    "kernel_packets",
                    "kernel_bytes",
                    "residual_packets",
                    "residual_bytes",
                ],
            ),
        ),
    ];
    for (recipe, sums) in found {
        assert!(!sums.is_empty(), "{recipe} found nothing");
        assert_eq!(sums, expected[recipe], "{recipe}");
    }
}

fn traffic(sums: &Value) -> Sums {
    let sums = list(sums).iter().filter(|sum| sum["flows"]["packets"] != 0);
    let sums = sums.map(|sum| {
        let series =
            ["node", "vantage", "interface", "direction"].map(|key| text(&sum["series"][key]));
        let flows = ["packets", "bytes", "buffers"].map(|count| number(&sum["flows"][count]));
        (series.to_vec(), flows.to_vec())
    });
    sums.collect()
}

/// Five-tuples by the node and address that they left with: one that is used again counts once.
fn exits(spells: &Value) -> Sums {
    let mut tuples = BTreeMap::<Vec<String>, BTreeSet<[String; 3]>>::new();
    for spell in list(spells).iter().filter(|spell| !spell["exit"].is_null()) {
        let exit = ["node", "address"].map(|key| text(&spell["exit"][key]));
        let tuple = ["protocol", "source", "destination"].map(|key| text(&spell[key]));
        tuples.entry(exit.to_vec()).or_default().insert(tuple);
    }
    let counted = tuples
        .into_iter()
        .map(|(exit, tuples)| (exit, vec![tuples.len() as i64]));
    counted.collect()
}

/// A wire flow that was found at a pod.
fn paired(answer: &Answer) -> Answer {
    let rows = answer.iter().filter(|row| !row["pod_uid"].is_null());
    rows.cloned().collect()
}

fn responses(rule: &Value) -> Sums {
    let mut sums = Sums::new();
    for stage in list(&rule["stages"]) {
        for backend in list(&stage["backends"]) {
            let pods = backend["pods"].as_object().expect("responses by pod");
            for (pod, responses) in pods {
                let name = pod.rsplit('/').next().unwrap_or(pod).to_owned();
                sums.entry(vec![name]).or_insert_with(|| vec![0])[0] += number(responses);
            }
        }
    }
    // Of the kubelet's, which the split sets apart, the dataset has as many at each backend.
    for sum in sums.values_mut() {
        sum[0] += dataset::PROBES;
    }
    let apart: i64 = list(&rule["apart"])
        .iter()
        .map(|apart| number(&apart["responses"]))
        .sum();
    assert_eq!(apart, dataset::PROBES * sums.len() as i64);
    sums
}

/// CPU time and cycles that were charged, idle time, packets on the wire.
fn charged(run: &Value) -> Sums {
    let numbers = [
        &run["charged"]["cpu_ns"],
        &run["charged"]["cycles"],
        &run["idle_cpu_ns"],
        &run["denominators"]["uplinks"]["packets"],
    ];
    Sums::from([(Vec::new(), numbers.map(number).to_vec())])
}

fn of_all(answer: &Answer) -> Sums {
    let sum = |column: &str, takes: fn(&str) -> bool| -> i64 {
        let rows = answer
            .iter()
            .filter(|row| takes(row["scope"].as_str().unwrap_or_default()));
        rows.map(|row| row[column].as_i64().unwrap_or(0)).sum()
    };
    let is_charged = |scope: &str| !matches!(scope, "idle" | "program");
    let packets = answer.iter().map(|row| number(&row["wire_packets"])).max();
    let numbers = vec![
        sum("cpu_ns", is_charged),
        sum("cycles", is_charged),
        sum("cpu_ns", |scope| scope == "idle"),
        packets.unwrap_or(0),
    ];
    Sums::from([(Vec::new(), numbers)])
}

fn accounts(accounts: &Value) -> Sums {
    let accounts = list(accounts).iter().map(|account| {
        let series = ["node", "interface", "direction"].map(|key| text(&account["series"][key]));
        let numbers = [
            &account["passed"]["packets"],
            &account["passed"]["bytes"],
            &account["kernel_packets"],
            &account["kernel_bytes"],
            &account["in_packets"]["packets"],
            &account["in_packets"]["bytes"],
        ];
        (series.to_vec(), numbers.map(number).to_vec())
    });
    accounts.collect()
}

/// Rows of an answer added up by some of its columns.
fn added(answer: &Answer, by: &[&str], columns: &[&str]) -> Sums {
    let mut sums = Sums::new();
    for row in answer {
        let key = by.iter().map(|column| text(&row[*column])).collect();
        let sum = sums.entry(key).or_insert_with(|| vec![0; columns.len()]);
        for (sum, column) in sum.iter_mut().zip(columns) {
            *sum += number(&row[*column]);
        }
    }
    sums
}

fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {value}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("not a whole number: {value}"))
}
