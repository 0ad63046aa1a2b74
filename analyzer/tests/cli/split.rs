//! `weighbridge split` as a user meets it.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ingress::{Ingress, add_run, backend, ndjson};
use crate::{refused, weighbridge};

fn written(ingress: &Ingress) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    ingress.write(folder.path());
    folder
}

/// Standard output and error, after checking the exit code.
#[track_caller]
fn split(dataset: &TempDir, more: &[&str], code: i32) -> (String, String) {
    let root = dataset
        .path()
        .to_str()
        .expect("temporary folders have readable names");
    let mut arguments = vec!["split", "--dataset", root];
    arguments.extend(more);
    let output = weighbridge(&arguments)
        .output()
        .expect("the program starts");
    let errors = String::from_utf8(output.stderr).expect("messages are text");
    let text = String::from_utf8(output.stdout).expect("reports are text");
    assert_eq!(output.status.code(), Some(code), "{errors}{text}");
    (text, errors)
}

#[track_caller]
fn split_refused(dataset: &TempDir, more: &[&str], names: &[&str]) {
    let root = dataset
        .path()
        .to_str()
        .expect("temporary folders have readable names");
    let mut arguments = vec!["split", "--dataset", root];
    arguments.extend(more);
    refused(&arguments, names);
}

#[test]
fn the_table_of_a_fair_split() {
    let dataset = written(&Ingress::of(3_000, 2_000));
    let (text, _) = split(&dataset, &[], 0);
    insta::assert_snapshot!(text);
    for line in text.lines().filter(|line| !line.contains(": ")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn the_table_of_a_skewed_split_with_every_window() {
    let dataset = written(&Ingress::of(2_600, 2_400));
    let (text, _) = split(&dataset, &["--windows", "--window", "2s"], 1);
    insta::assert_snapshot!(text);
}

#[test]
fn too_few_requests_pass_at_no_margin_that_they_cannot_show() {
    let dataset = written(&Ingress::of(12, 8));
    let (text, _) = split(&dataset, &[], 3);
    assert!(
        text.contains("about 25974 responses are needed at ±0.01"),
        "{text}"
    );
    let dataset = written(&Ingress::of(120, 80));
    split(&dataset, &["--margin", "0.05"], 0);
}

#[test]
fn the_json_names_shares_tests_and_windows() {
    let dataset = written(&Ingress::of(3_000, 2_000));
    let (text, _) = split(&dataset, &["--format", "json"], 0);
    let document: Value = serde_json::from_str(&text).unwrap();
    let rule = &document["rules"][0];
    assert_eq!(rule["rule"], "HTTPRoute ingress/echo rule 1");
    assert_eq!(rule["implementation"], "nginx_gateway_fabric");
    let stage = &rule["stages"][0];
    assert_eq!(stage["backends"][0]["responses"], 30_000);
    assert_eq!(stage["backends"][1]["configured_share"], 0.4);
    assert_eq!(stage["judgements"][0]["reference"], "configured");
    assert_eq!(stage["judgements"][1]["reference"], "specification");
    assert_eq!(stage["windows"].as_array().unwrap().len(), 2);
    assert_eq!(
        rule["apart"][0],
        json!({"asker": "node", "backend": "ingress/echo-v1:80", "responses": 30})
    );
    let (again, _) = split(&dataset, &["--format", "json"], 0);
    assert_eq!(text, again);
    let (text, _) = split(&dataset, &["--format", "json", "--against", "spec"], 0);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        document["rules"][0]["stages"][0]["judgements"][0]["reference"],
        "specification"
    );
}

#[test]
fn the_junit_of_each_result() {
    let junit = |first, second, code| {
        let dataset = written(&Ingress::of(first, second));
        split(&dataset, &["--format", "junit"], code).0
    };
    insta::assert_snapshot!(junit(3_000, 2_000, 0));
    insta::assert_snapshot!(junit(2_600, 2_400, 1));
    insta::assert_snapshot!(junit(30, 20, 3));
}

#[test]
fn a_run_of_k6_stands_beside_the_probe() {
    let dataset = written(&Ingress::of(60, 40));
    let points = ndjson(&[("echo-v1-1", 200, 600), ("echo-v2-1", 200, 400)]);
    add_run(dataset.path(), &[("k6.ndjson", "k6-ndjson", &points)]);
    let (text, _) = split(&dataset, &["--run", "r1", "--margin", "0.1"], 0);
    insta::assert_snapshot!(text);
}

#[test]
fn k6_and_a_probe_that_do_not_agree_are_no_pass() {
    let dataset = written(&Ingress::of(60, 40));
    let points = ndjson(&[("echo-v1-1", 200, 700), ("echo-v2-1", 200, 450)]);
    add_run(dataset.path(), &[("k6.ndjson", "k6-ndjson", &points)]);
    let (text, _) = split(&dataset, &["--run", "r1", "--margin", "0.1"], 3);
    assert!(
        text.contains("the backends answered more than the probe counted"),
        "{text}"
    );
    assert!(text.contains("the account does not close"), "{text}");
    // More than k6's are other clients' of the Gateway: they are split alike.
    let points = ndjson(&[("echo-v1-1", 200, 590), ("echo-v2-1", 200, 390)]);
    add_run(dataset.path(), &[("k6.ndjson", "k6-ndjson", &points)]);
    split(&dataset, &["--run", "r1", "--margin", "0.1"], 0);
}

#[test]
fn errors_that_are_due_are_found_in_what_k6_got() {
    let mut ingress = Ingress::of(60, 40);
    ingress.objects.pop();
    let rules = json!([{"backendRefs": [backend("echo-v1", 45), backend("echo-v2", 30), backend("gone", 25)]}]);
    ingress.route("echo", rules);
    let dataset = written(&ingress);
    let (text, _) = split(&dataset, &["--margin", "0.1"], 3);
    assert!(
        text.contains("25.00 % of the requests are due an error"),
        "{text}"
    );
    let answered = [("echo-v1-1", 200, 600), ("echo-v2-1", 200, 400)];
    let with_errors = |errors: u64| {
        let points = ndjson(&[answered[0], answered[1], ("", 500, errors)]);
        add_run(dataset.path(), &[("k6.ndjson", "k6-ndjson", &points)]);
    };
    with_errors(333);
    let (text, _) = split(&dataset, &["--margin", "0.1"], 0);
    assert!(
        text.contains("answered 24.98 % of 1333 requests with errors of its own"),
        "{text}"
    );
    // Renormalised, as Cilium would: no error at all.
    with_errors(0);
    let (text, _) = split(&dataset, &["--margin", "0.1"], 1);
    assert!(
        text.contains("answered 0.00 % of 1000 requests with errors of its own, 25.00 % is due"),
        "{text}"
    );
}

#[test]
fn errors_that_may_be_a_backends_are_not_laid_on_the_gateway() {
    let points = ndjson(&[
        ("echo-v1-1", 200, 600),
        ("echo-v2-1", 200, 200),
        ("echo-v2-1", 500, 200),
    ]);
    let verdict = |ingress: &Ingress, code| {
        let dataset = written(ingress);
        add_run(dataset.path(), &[("k6.ndjson", "k6-ndjson", &points)]);
        split(&dataset, &["--run", "r1", "--margin", "0.1"], code).0
    };
    // Half of the second backend's responses are errors, and their status could not be read.
    let mut ingress = Ingress::of(60, 40);
    let (mut unread, mut kept) = (Vec::new(), Vec::new());
    for row in ingress.http.drain(..) {
        let is_second = row.pod_uid.as_deref() == Some("echo-v2-1") && row.responses > 20;
        if is_second {
            let mut half = row.clone();
            (half.responses, half.status) = (20, None);
            unread.push(half);
            let mut rest = row.clone();
            rest.responses = 20;
            kept.push(rest);
        } else {
            kept.push(row);
        }
    }
    ingress.http = [kept, unread].concat();
    for row in &mut ingress.ledger {
        row.http_unparsed = 20;
    }
    let text = verdict(&ingress, 3);
    assert!(
        text.contains("INCONCLUSIVE: as far as can be told, splits"),
        "{text}"
    );
    // Where every status was read and none is an error, they are the Gateway's.
    verdict(&Ingress::of(60, 40), 1);
}

#[test]
fn a_few_responses_that_the_probe_says_it_lost_may_be_those_that_k6_has() {
    let mut ingress = Ingress::of(60, 40);
    ingress.ledger[4].http_unparsed = 2;
    let dataset = written(&ingress);
    let points = ndjson(&[("echo-v1-1", 200, 601), ("echo-v2-1", 200, 401)]);
    add_run(dataset.path(), &[("k6.ndjson", "k6-ndjson", &points)]);
    let (text, _) = split(&dataset, &["--run", "r1", "--margin", "0.1"], 0);
    assert!(text.contains("the account may close"), "{text}");
}

#[test]
fn a_run_that_the_probe_saw_a_part_of_does_not_pass() {
    let mut ingress = Ingress::of(3_000, 2_000);
    let from_us = ingress.http[0].interval_start_us;
    // The probe goes on for a second after the last response, and then nobody watches.
    ingress
        .http
        .retain(|row| row.interval_end_us <= from_us + 5_000_000);
    ingress
        .ledger
        .retain(|row| row.interval_end_us <= from_us + 6_000_000);
    let dataset = written(&ingress);
    let points = ndjson(&[("echo-v1-1", 200, 15_000), ("echo-v2-1", 200, 10_000)]);
    add_run(dataset.path(), &[("k6.ndjson", "k6-ndjson", &points)]);
    split(&dataset, &[], 0);
    let (text, _) = split(&dataset, &["--run", "r1"], 3);
    assert!(text.contains("were not watching for 4.0 s"), "{text}");
    let outside = ["--run", "r1", "--to", "2026-01-01T00:00:00Z"];
    split_refused(&dataset, &outside, &["--run r1", "outside"]);
}

#[test]
fn a_file_that_is_not_k6s_is_refused_in_a_line() {
    for (kind, text, name) in [
        ("k6-console", "", "k6.log"),
        ("k6-summary", "not JSON", "k6.log"),
        ("k6-csv", "a,b\n1,2\n", "k6.log"),
    ] {
        let dataset = written(&Ingress::of(60, 40));
        add_run(dataset.path(), &[("k6.log", kind, text)]);
        split_refused(&dataset, &["--run", "r1"], &[name]);
    }
    let dataset = written(&Ingress::of(60, 40));
    add_run(dataset.path(), &[]);
    split_refused(&dataset, &["--run", "r1"], &["r1", "lists no file of k6"]);
}

#[test]
fn what_is_not_there_is_one_line() {
    refused(
        &["split", "--dataset", "/nowhere/at-all"],
        &["/nowhere/at-all"],
    );
    let mut ingress = Ingress::of(3_000, 2_000);
    let dataset = written(&ingress);
    split_refused(
        &dataset,
        &["--route", "ingress/other"],
        &["--route ingress/other", "HTTPRoute ingress/echo"],
    );
    split_refused(&dataset, &["--rule", "2"], &["--rule 2"]);
    split_refused(&dataset, &["--run", "r1"], &["--run r1", "no runs"]);
    let (_, errors) = split(&dataset, &["--to", "2026-01-01T00:00:00Z"], 3);
    assert!(errors.contains("no response in that time"), "{errors}");
    ingress.http.clear();
    split_refused(
        &written(&ingress),
        &[],
        &["no table http", "weighbridge-probe run"],
    );
    let mut ingress = Ingress::of(3_000, 2_000);
    ingress.objects.pop();
    split_refused(&written(&ingress), &[], &["no HTTPRoute or GRPCRoute"]);
}

#[test]
fn a_path_names_its_rule() {
    let mut ingress = Ingress::of(3_000, 2_000);
    ingress.objects.pop();
    let rule = |path: &str, weights: [u32; 2]| {
        json!({
            "matches": [{"path": {"type": "PathPrefix", "value": path}}],
            "backendRefs": [backend("echo-v1", weights[0]), backend("echo-v2", weights[1])]
        })
    };
    ingress.route(
        "echo",
        json!([rule("/echo", [60, 40]), rule("/other", [10, 90])]),
    );
    let dataset = written(&ingress);
    let (text, _) = split(&dataset, &["--path", "/echo"], 0);
    assert!(text.contains("taken not to have been asked"), "{text}");
    split(&dataset, &["--path", "/other"], 1);
    split(&dataset, &["--route", "ingress/echo", "--rule", "1"], 0);
    split(&dataset, &["--rule", "2"], 1);
    split_refused(&dataset, &["--path", "/nothing"], &["--path /nothing"]);
}

#[test]
fn inspect_lists_the_table() {
    let dataset = written(&Ingress::of(3_000, 2_000));
    let root = dataset.path().to_str().unwrap();
    let output = weighbridge(&["inspect", "--dataset", root])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("http"));
    assert!(line.is_some_and(|line| line.contains("40")), "{text}");
}
