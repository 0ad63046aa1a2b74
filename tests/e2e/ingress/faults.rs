//! Does each fault of a data plane get its verdict? The access logs say what really arrived.
//!
//! What `weighbridge split` prints is held against what the backends wrote and what is known of how
//! the fault was made. Where the two data planes are alike, one of them is played.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use lab::{
    DataPlane, Ingress, IngressFault, IngressReport, IngressScenario, K6Options, K6Run,
    ProbeOptions,
};
use serde_json::Value;

use super::scene;
use crate::dataset;

/// Virtual users of a fault's load.
const USERS: u32 = 4;
/// With the few thousand requests of a test, a fair split passes at this margin.
const MARGIN: &str = "0.03";
/// Requests that do not say, at the usual margin, whether a split is fair.
const FEW: u32 = 200;
/// How often these are drawn: that no draw is ordinary comes once in 25,000 times.
const MOST_DRAWS: u32 = 5;
const NGINX: &[DataPlane] = &[DataPlane::Nginx];
const ENVOY: &[DataPlane] = &[DataPlane::Envoy];

#[test]
fn a_fair_split_passes_and_two_hundred_requests_do_not_say() {
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let mut ingress = Ingress::up(scene::config(DataPlane::Nginx)).expect("an ingress");
    let probes = ProbeOptions::new(dataset::binary("weighbridge-probe"), dataset.path());
    let probes = ingress.lab().start_probes(&probes).expect("probes");
    let prober = ingress.start_prober().expect("a prober");
    let few = (0..MOST_DRAWS)
        .map(|draw| format!("few-{draw}"))
        .find(|id| is_ordinary(&load(&ingress, dataset.path(), id, FEW)))
        .expect("a draw near 60 %: else the gateway is not fair");
    load(&ingress, dataset.path(), "fair", 12_000);
    prober.stop();
    probes.stop().expect("probes end well");
    ingress.write_objects(dataset.path()).expect("objects");
    ingress.down().expect("the lab goes down");

    let (code, report) = split(dataset.path(), &["--run", &few]);
    assert_eq!(code, Some(3), "{report}");
    let margins = &stages(&report)[0]["judgements"][0]["margins"];
    let needed = margins[0]["requests_needed"].as_u64().expect("a number");
    assert!((20_000..40_000).contains(&needed), "{needed}");
    let (code, report) = split(dataset.path(), &["--run", "fair", "--margin", MARGIN]);
    assert_eq!(code, Some(0), "{report}");
    let apart = report["rules"][0]["apart"].as_array().expect("a list");
    assert!(apart.iter().any(|one| one["asker"] == "node"), "{report}");
}

/// Runs k6 with so many requests and writes the run's files.
fn load(ingress: &Ingress, dataset: &Path, id: &str, requests: u32) -> K6Run {
    let options = K6Options {
        requests: Some(requests),
        ..K6Options::new(USERS, 1)
    };
    let run = ingress.k6(&options).expect("a run of k6");
    run.write(dataset, id, id).expect("the run's files");
    thread::sleep(Duration::from_millis(2500));
    run
}

/// Whether k6 counts about as many answers of echo-v1 as 60 % are: nginx draws each backend, and
/// two in a hundred fair draws of 200 lie so far out that they rightly fail. One in eight is not
/// ordinary.
fn is_ordinary(run: &K6Run) -> bool {
    let pods = run.hostnames().expect("k6's lines");
    let first = pods.iter().filter(|(pod, _)| pod.starts_with("echo-v1-"));
    let first: u64 = first.map(|(_, count)| count).sum();
    first.abs_diff(u64::from(FEW) * 3 / 5) <= 10
}

#[test]
fn a_skewed_split_fails() {
    check(IngressFault::SkewedSplit, ENVOY, &[], |played| {
        played.check_exit(1);
        played.check_answers();
    });
}

#[test]
fn a_dead_backend_leaves_its_share_to_the_gateways_errors() {
    check(IngressFault::DeadBackend, NGINX, &[], |played| {
        played.check_answers_but_for(&["echo-v2-1", "echo-v2-2"]);
        let errors: u64 = played.errors().values().sum();
        assert!(errors > 0, "the gateway made no error");
        let own = played.json["runs"][0]["gateway_errors"].as_u64();
        assert!(own.is_none_or(|own| own == errors), "{own:?} of {errors}");
        assert_ne!(played.code, Some(0), "{}", played.json);
    });
}

#[test]
fn an_invalid_backend_is_an_error_behind_nginx_and_nothing_behind_cilium() {
    check(
        IngressFault::InvalidBackend,
        &DataPlane::ALL,
        &["--margin", MARGIN],
        |played| {
            played.check_exit(0);
            played.check_answers();
            let errors: u64 = played.errors().values().sum();
            let total: u64 = played.report.statuses.values().sum();
            let stage = &stages(&played.json)[0];
            let due = stage["gateway_error_share"].as_f64().expect("a share");
            match played.data_plane {
                DataPlane::Nginx => {
                    assert!((due - 0.2).abs() < 1e-9, "{due}");
                    let share = errors as f64 / total as f64;
                    assert!((share - due).abs() < 0.03, "{errors} of {total}");
                    assert_eq!(played.errors().keys().copied().collect::<Vec<_>>(), [500]);
                }
                DataPlane::Envoy => {
                    assert!(due.abs() < 1e-9, "{due}");
                    assert_eq!(errors, 0);
                    let first = stage["backends"][0]["configured_share"].as_f64();
                    assert_eq!(first, Some(50.0 / 80.0));
                }
            }
        },
    );
}

#[test]
fn a_route_that_is_taken_late_is_reported_with_its_delay() {
    check(
        IngressFault::StaleRoute,
        NGINX,
        &["--margin", MARGIN],
        |played| {
            played.check_answers();
            let (from_us, to_us) = played.report.window_us.expect("the time at odds");
            let made_us = to_us - from_us;
            let takeover = &stages(&played.json)[1]["takeover"];
            assert_eq!(takeover["state"], "took", "{takeover}");
            let delay_us = takeover["delay_us"].as_i64().expect("a delay");
            // A window is five seconds; the lab knows the moment better than that.
            assert!((delay_us - made_us).abs() <= 5_000_000, "{takeover}");
            assert!(stages(&played.json)[1]["set_apart"].as_u64() > Some(0));
        },
    );
}

#[test]
fn retries_are_in_the_account() {
    check(
        IngressFault::Retries,
        ENVOY,
        &["--margin", MARGIN],
        |played| {
            played.check_answers();
            let answered: u64 = played.report.answers.values().sum();
            let requests: u64 = played.report.statuses.values().sum();
            assert!(answered > requests, "Envoy never tried again");
        },
    );
}

#[test]
fn mirrored_requests_are_counted_apart() {
    check(
        IngressFault::Mirror,
        NGINX,
        &["--margin", MARGIN],
        |played| {
            played.check_exit(0);
            let mirrored = &played.json["rules"][0]["mirrored"][0];
            let answers = played.report.answers.iter();
            let seen: u64 = answers
                .filter(|((pod, _), _)| pod.starts_with("echo-mirror"))
                .map(|(_, count)| count)
                .sum();
            assert_eq!(mirrored["responses"].as_u64(), Some(seen), "{mirrored}");
            let requests: u64 = played.report.statuses.values().sum();
            let share = seen as f64 / requests as f64;
            assert!((share - 0.5).abs() < 0.05, "{seen} of {requests} mirrored");
        },
    );
}

#[test]
fn a_canarys_stages_are_judged_each_by_its_weights() {
    check(
        IngressFault::Canary,
        ENVOY,
        &["--margin", "0.05"],
        |played| {
            played.check_exit(0);
            played.check_answers();
            let stages = stages(&played.json);
            let second = |stage: &Value| stage["backends"][1]["configured_share"].as_f64();
            let shares: Vec<Option<f64>> = stages.iter().map(second).collect();
            assert_eq!(shares, [0.05, 0.25, 0.5, 0.75, 1.0].map(Some), "{stages:?}");
        },
    );
}

struct Played {
    data_plane: DataPlane,
    report: IngressReport,
    code: Option<i32>,
    json: Value,
}

fn check(
    fault: IngressFault,
    data_planes: &[DataPlane],
    arguments: &[&str],
    judge: impl Fn(&Played),
) {
    for data_plane in data_planes {
        judge(&play(fault, *data_plane, arguments));
    }
}

fn play(fault: IngressFault, data_plane: DataPlane, arguments: &[&str]) -> Played {
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let config = scene::config(data_plane);
    let scenario = IngressScenario {
        data_plane,
        probe: dataset::binary("weighbridge-probe"),
        dataset: dataset.path().to_owned(),
        k6: config.k6,
        envoy: config.envoy,
        object: None,
        users: USERS,
    };
    let report = fault.run(&scenario).expect("the fault is made");
    let (code, json) = split(dataset.path(), arguments);
    println!(
        "{fault} behind {}: exit {code:?}, {}",
        data_plane.name(),
        json["rules"][0]["summary"]
    );
    Played {
        data_plane,
        report,
        code,
        json,
    }
}

impl Played {
    fn check_exit(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{}", self.json);
    }

    /// Statuses that the gateway answered with by itself.
    fn errors(&self) -> BTreeMap<u16, u64> {
        let statuses = self.report.statuses.iter();
        statuses
            .filter(|(status, _)| **status >= 500)
            .map(|(status, count)| (*status, *count))
            .collect()
    }

    /// Every answer of a pod to the gateway is judged or set apart, and there are no others.
    fn check_answers(&self) {
        self.check_answers_but_for(&[]);
    }

    /// The same where pods were killed: a worker logs what it has sent, so that the kill may come
    /// between an answer and its line. Each pod has one worker, which handles one request at a time.
    fn check_answers_but_for(&self, killed: &[&str]) {
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for ((pod, _), count) in &self.report.answers {
            *expected.entry(pod.clone()).or_default() += count;
        }
        let (mut judged, mut set_apart) = (0, 0);
        for stage in stages(&self.json) {
            set_apart += stage["set_apart"].as_u64().expect("a count");
            judged += stage["responses"].as_u64().expect("a count");
        }
        let mut unlogged = 0;
        let pods = self.json["runs"][0]["backends"].as_array();
        for pod in pods.into_iter().flatten() {
            let name = pod["pod"].as_str().expect("a name");
            let short = name.rsplit('/').next().unwrap_or(name);
            let seen = expected.get(short).copied();
            if killed.contains(&short) && pod["probe"].as_u64() == seen.map(|seen| seen + 1) {
                unlogged += 1;
                continue;
            }
            assert_eq!(pod["probe"].as_u64(), seen, "{pod}");
        }
        let all = expected.values().sum::<u64>() + unlogged;
        assert_eq!(judged + set_apart, all, "{expected:?}, {}", self.json);
    }
}

fn split(dataset: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    dataset::weighbridge("split", dataset, arguments)
}

fn stages(report: &Value) -> &[Value] {
    report["rules"][0]["stages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}
