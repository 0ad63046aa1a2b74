//! Scenes of a split, each with the verdict that it must get.

use serde_json::json;
use trace_schema::http::HttpVersion;

use super::super::Outcome::{Fail, Inconclusive, Pass};
use super::super::evidence::Window;
use super::scene::{CILIUM, NGF, NGF_POD, Scene, WORKER, at, backends};
use super::{SplitError, TakeoverState};
use crate::objects::ObjectName;

const SIXTY_FORTY: [(&str, u32); 2] = [("echo-v1", 60), ("echo-v2", 40)];

/// A minute of 60/40 with so many requests a second.
fn fair(controller: &str, per_second: u64) -> Scene {
    let mut scene = Scene::with_weights(controller, &SIXTY_FORTY);
    scene.splits(0, 50, per_second, &[("echo-v1", 0.6), ("echo-v2", 0.4)]);
    scene
}

#[test]
fn a_fair_split_of_fifty_thousand_passes() {
    for controller in [NGF, CILIUM, "example.com/unknown"] {
        let rule = fair(controller, 1_000).check(Pass);
        let stage = &rule.stages[0];
        assert_eq!(stage.responses, 50_000);
        assert_eq!(stage.windows.len(), 10);
        assert_eq!(
            stage.backends[0].statuses["200"],
            stage.backends[0].responses
        );
        assert_eq!(
            stage.judgements.len(),
            if controller.contains("unknown") { 1 } else { 2 }
        );
        assert!(rule.apart.is_empty() && rule.notes.len() <= 1, "{rule:#?}");
    }
}

#[test]
fn a_skewed_split_fails() {
    let mut scene = Scene::with_weights(NGF, &[("echo-v1", 70), ("echo-v2", 30)]);
    scene.splits(0, 10, 500, &[("echo-v1", 0.64), ("echo-v2", 0.36)]);
    let rule = scene.check(Fail);
    assert!(rule.summary.contains("70.00 % is due"), "{}", rule.summary);
    // Conformance tests would let it pass now and then; a large enough sample never does.
    scene.options.margin = 0.05;
    scene.check(Inconclusive);
    scene.splits(10, 50, 500, &[("echo-v1", 0.64), ("echo-v2", 0.36)]);
    scene.check(Fail);
}

#[test]
fn a_trivial_deviation_of_a_large_sample_passes() {
    let mut scene = Scene::with_weights(NGF, &SIXTY_FORTY);
    for second in 0..50 {
        scene.answers(f64::from(second), "echo-v1", 6_050);
        scene.answers(f64::from(second), "echo-v2", 3_950);
    }
    let rule = scene.check(Pass);
    assert!(rule.stages[0].judgements[0].exact_p[0] < 1e-6, "{rule:#?}");
}

#[test]
fn two_hundred_requests_are_inconclusive_and_the_number_needed_is_told() {
    let rule = fair(NGF, 4).check(Inconclusive);
    assert_eq!(rule.stages[0].responses, 200);
    let strict = &rule.stages[0].judgements[0].margins[0];
    assert_eq!(
        (strict.margin, strict.requests_needed),
        (0.01, Some(25_974))
    );
    assert!(
        rule.summary.contains("25974 responses are needed"),
        "{}",
        rule.summary
    );
}

#[test]
fn probes_loopback_and_other_clients_shift_nothing() {
    let mut scene = fair(NGF, 1_000);
    let before = scene.check(Pass).stages;
    for second in 0..50 {
        for (peer, responses) in [
            (WORKER, 300),
            ("10.0.1.1", 50),
            ("127.0.0.1", 70),
            ("10.0.1.99", 90),
        ] {
            scene.answers_to(f64::from(second), "echo-v2", responses, peer, |_| ());
        }
        scene.answers_to(f64::from(second), "echo-v1", 9, NGF_POD, |row| {
            row.status = Some(100)
        });
    }
    let rule = scene.check(Pass);
    assert_eq!(rule.stages, before);
    let apart: Vec<(&str, u64)> = rule
        .apart
        .iter()
        .map(|apart| (apart.asker, apart.responses))
        .collect();
    assert_eq!(
        apart,
        [("loopback", 3_500), ("node", 17_500), ("other", 4_500)]
    );
}

#[test]
fn a_response_without_a_status_counts_and_is_shown() {
    let mut scene = fair(NGF, 1_000);
    scene.answers_to(50.0, "echo-v1", 30, NGF_POD, |row| row.status = None);
    scene.answers(50.0, "echo-v2", 20);
    // The ledger counts it as not followed: it is in the table, and hides nothing.
    scene.ledger[50].http_unparsed = 30;
    let rule = scene.check(Pass);
    assert!(rule.inconclusive_because.is_empty());
    assert!(
        !rule.notes.iter().any(|note| note.contains("off by up to")),
        "{rule:#?}"
    );
    assert_eq!(
        (
            rule.stages[0].responses,
            rule.stages[0].backends[0].unparsed
        ),
        (50_050, 30)
    );
}

#[test]
fn an_invalid_backend_is_an_error_under_nginx_and_left_out_under_cilium() {
    let weights = [("echo-v1", 50), ("echo-v2", 25), ("gone", 25)];
    let mut scene = Scene::with_weights(NGF, &weights).without_service("gone");
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.5), ("echo-v2", 0.25)]);
    let rule = scene.check(Pass);
    assert_eq!(rule.stages[0].gateway_error_share, 0.25);
    let noted =
        |rule: &super::RuleReport, text: &str| rule.notes.iter().any(|note| note.contains(text));
    assert!(
        noted(&rule, "25.00 % of the requests are due an error"),
        "{rule:#?}"
    );
    assert!(
        noted(&rule, "gone:80 is not valid: there is no such Service"),
        "{rule:#?}"
    );

    let mut scene = Scene::with_weights(CILIUM, &weights).without_service("gone");
    scene.splits(
        0,
        50,
        1_000,
        &[("echo-v1", 2.0 / 3.0), ("echo-v2", 1.0 / 3.0)],
    );
    let rule = scene.check(Pass);
    assert_eq!(rule.stages[0].gateway_error_share, 0.0);
    assert!(
        rule.summary
            .contains("the specification says echo-v1 50.00 %"),
        "{}",
        rule.summary
    );
}

#[test]
fn a_late_data_plane_reports_its_delay_within_a_window() {
    let mut scene = Scene::with_weights(CILIUM, &[("echo-v1", 90), ("echo-v2", 10)]);
    scene.weights(15.3, &[("echo-v1", 50), ("echo-v2", 50)]);
    scene.splits(0, 19, 2_000, &[("echo-v1", 0.9), ("echo-v2", 0.1)]);
    scene.splits(19, 50, 2_000, &[("echo-v1", 0.5), ("echo-v2", 0.5)]);
    let rule = scene.check(Pass);
    let takeover = rule.stages[1].takeover.as_ref().unwrap();
    assert_eq!(takeover.state, TakeoverState::Took);
    let delay_us = takeover.delay_us.unwrap();
    assert!(
        (delay_us - 3_700_000).abs() <= takeover.precision_us,
        "{delay_us}"
    );
    // Seconds 15 to 18 are the old weights', and the second in which it changed is nobody's.
    assert_eq!(rule.stages[1].set_apart, 5 * 2_000);
    assert_eq!(rule.stages[1].responses, 30 * 2_000);
}

#[test]
fn weights_that_came_before_the_traffic_set_nothing_apart() {
    let mut scene = Scene::with_weights(CILIUM, &[("echo-v1", 90), ("echo-v2", 10)]);
    scene.endpoints(1.0, "echo-v2", false);
    scene.endpoints(2.0, "echo-v2", true);
    scene.weights(3.0, &SIXTY_FORTY);
    scene.splits(8, 50, 1_500, &[("echo-v1", 0.6), ("echo-v2", 0.4)]);
    let rule = scene.check(Pass);
    assert_eq!(rule.stages.len(), 1);
    assert_eq!(
        (rule.stages[0].set_apart, &rule.stages[0].takeover),
        (0, &None)
    );
}

#[test]
fn weights_that_are_never_taken_fail() {
    let mut scene = Scene::with_weights(CILIUM, &[("echo-v1", 70), ("echo-v2", 30)]);
    scene.weights(20.0, &[("echo-v1", 30), ("echo-v2", 70)]);
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.7), ("echo-v2", 0.3)]);
    let rule = scene.check(Fail);
    assert_eq!(
        rule.stages[1].takeover.as_ref().unwrap().state,
        TakeoverState::Never
    );
    assert!(
        rule.summary.contains("still splits by the old weights"),
        "{}",
        rule.summary
    );
}

#[test]
fn an_end_in_sight_says_little_of_new_weights() {
    let mut scene = Scene::with_weights(CILIUM, &[("echo-v1", 70), ("echo-v2", 30)]);
    scene.weights(48.5, &[("echo-v1", 69), ("echo-v2", 31)]);
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.7), ("echo-v2", 0.3)]);
    let rule = scene.check(Inconclusive);
    assert_eq!(
        rule.stages[1].takeover.as_ref().unwrap().state,
        TakeoverState::Unknown
    );
    assert!(
        rule.inconclusive_because[0].contains("too few responses since"),
        "{rule:#?}"
    );
}

#[test]
fn a_service_without_ready_endpoints_leaves_its_share_to_errors() {
    let mut scene = fair(NGF, 1_000);
    scene.rows.clear();
    scene.endpoints(20.0, "echo-v2", false);
    scene.splits(0, 21, 6_000, &[("echo-v1", 0.6), ("echo-v2", 0.4)]);
    scene.splits(21, 50, 2_000, &[("echo-v1", 0.6)]);
    let rule = scene.check(Pass);
    assert_eq!(rule.stages.len(), 2);
    assert_eq!(rule.stages[1].gateway_error_share, 0.4);
    assert!(
        rule.notes
            .iter()
            .any(|note| note.contains("echo-v2:80 has no ready endpoint")),
        "{rule:#?}"
    );
    // It answers on: then it is not without endpoints.
    scene.splits(40, 50, 2_000, &[("echo-v2", 0.4)]);
    scene.check(Fail);
}

#[test]
fn requests_that_are_tried_again_decide_nothing() {
    let mut scene = Scene::new(CILIUM);
    let rule =
        json!({"backendRefs": backends(&SIXTY_FORTY), "retry": {"codes": [503], "attempts": 2}});
    scene.route(0.0, "echo", json!([rule]));
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.6), ("echo-v2", 0.4)]);
    scene.check(Pass);
    for second in 0..50 {
        let peer = super::scene::CILIUM_INGRESS;
        scene.answers_to(f64::from(second), "echo-v2", 100, peer, |row| {
            row.status = Some(503);
        });
    }
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("5000 responses have a status"),
        "{rule:#?}"
    );
}

#[test]
fn a_data_plane_on_its_nodes_network_cannot_be_told_from_the_kubelet() {
    let mut scene = fair(NGF, 1_000);
    for row in scene
        .objects
        .iter_mut()
        .filter(|row| row.name == "gw-nginx")
    {
        row.object = row
            .object
            .replace("\"nodeName\"", "\"hostNetwork\":true,\"nodeName\"");
    }
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("has its node's address"),
        "{rule:#?}"
    );
}

#[test]
fn a_slow_response_of_a_backend_that_is_asked_no_more_is_set_apart() {
    let mut scene = Scene::with_weights(CILIUM, &[("echo-v1", 50), ("echo-v2", 50)]);
    scene.weights(20.0, &[("echo-v1", 1), ("echo-v2", 0)]);
    scene.splits(0, 20, 2_000, &[("echo-v1", 0.5), ("echo-v2", 0.5)]);
    scene.splits(20, 50, 2_000, &[("echo-v1", 1.0)]);
    let slow = |scene: &mut Scene, second: f64| {
        scene.answers_to(second, "echo-v2", 3, super::scene::CILIUM_INGRESS, |row| {
            row.latency_lower_us = vec![4_063_232];
            row.latency_upper_us = vec![4_194_304];
        });
    };
    slow(&mut scene, 23.0);
    let rule = scene.check(Pass);
    assert_eq!(rule.stages[1].set_apart, 2_003, "{rule:#?}");
    // Six seconds after the change it was asked all the same.
    slow(&mut scene, 26.0);
    scene.check(Fail);
}

#[test]
fn canary_stages_are_judged_each() {
    let mut scene = Scene::new(NGF);
    for (stage, weight) in [5, 25, 50, 75, 100].into_iter().enumerate() {
        let from = 10.0 * stage as f64;
        scene.weights(from, &[("echo-v1", 100 - weight), ("echo-v2", weight)]);
        let share = f64::from(weight) / 100.0;
        let from = 10 * u32::try_from(stage).unwrap();
        scene.splits(
            from,
            from + 10,
            5_000,
            &[("echo-v1", 1.0 - share), ("echo-v2", share)],
        );
    }
    let rule = scene.check(Pass);
    let shares: Vec<f64> = rule
        .stages
        .iter()
        .map(|stage| stage.backends[1].spec_share)
        .collect();
    assert_eq!(shares, [0.05, 0.25, 0.5, 0.75, 1.0]);
    for stage in &rule.stages[1..] {
        let takeover = stage.takeover.as_ref().unwrap();
        assert_eq!(takeover.state, TakeoverState::Took, "{stage:#?}");
        assert!(takeover.delay_us.unwrap() <= 1_000_000, "{stage:#?}");
    }
}

#[test]
fn three_backends_are_judged_together() {
    let weights = [("echo-v1", 5), ("echo-v2", 3), ("echo-v3", 2)];
    let mut scene = Scene::with_weights(NGF, &weights);
    scene.splits(
        0,
        50,
        1_000,
        &[("echo-v1", 0.5), ("echo-v2", 0.3), ("echo-v3", 0.2)],
    );
    let rule = scene.check(Pass);
    assert_eq!(rule.stages[0].backends[0].interval_method, "goodman");
    assert_eq!(
        rule.stages[0].judgements[0]
            .g_test
            .unwrap()
            .degrees_of_freedom,
        2
    );
    let mut scene = Scene::with_weights(NGF, &weights);
    scene.splits(
        0,
        50,
        1_000,
        &[("echo-v1", 0.5), ("echo-v2", 0.27), ("echo-v3", 0.23)],
    );
    scene.check(Fail);
}

#[test]
fn a_backend_of_weight_zero_must_not_answer() {
    let weights = [("echo-v1", 1), ("echo-v2", 0)];
    let mut scene = Scene::with_weights(CILIUM, &weights);
    scene.splits(0, 50, 1_000, &[("echo-v1", 1.0)]);
    scene.check(Pass);
    scene.answers(30.0, "echo-v2", 3);
    let rule = scene.check(Fail);
    assert!(
        rule.notes
            .iter()
            .any(|note| note.contains("is due nothing and answered 3")),
        "{rule:#?}"
    );
    // NGINX Gateway Fabric gives the last of 1:1:1:0 what flooring leaves over.
    let weights = [
        ("echo-v1", 1),
        ("echo-v2", 1),
        ("echo-mirror", 1),
        ("echo-v3", 0),
    ];
    let mut scene = Scene::with_weights(NGF, &weights);
    let third = 0.3333;
    scene.splits(
        0,
        50,
        1_000,
        &[
            ("echo-v1", third),
            ("echo-v2", third),
            ("echo-mirror", third),
            ("echo-v3", 0.0001),
        ],
    );
    let rule = scene.check(Pass);
    assert_eq!(rule.stages[0].judgements[1].result, Fail, "{rule:#?}");
    assert!(
        rule.summary.contains("the specification says"),
        "{}",
        rule.summary
    );
}

#[test]
fn mirrored_responses_are_counted_apart() {
    let mirror = |target: &str, percent: u32| {
        json!([{
            "backendRefs": backends(&SIXTY_FORTY),
            "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": target, "port": 80}, "percent": percent}}]
        }])
    };
    let mut scene = Scene::new(NGF);
    scene.route(0.0, "echo", mirror("echo-mirror", 50));
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.6), ("echo-v2", 0.4)]);
    scene.splits(0, 50, 500, &[("echo-mirror", 1.0)]);
    let rule = scene.check(Pass);
    assert_eq!(rule.stages[0].responses, 50_000);
    assert_eq!(
        (rule.mirrored[0].responses, rule.mirrored[0].spec_share),
        (25_000, 0.5)
    );
    // Copies to a backend of the rule look like any other request.
    let mut scene = Scene::new(NGF);
    scene.route(0.0, "echo", mirror("echo-v2", 50));
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.6), ("echo-v2", 0.4)]);
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("target of mirroring"),
        "{rule:#?}"
    );
}

#[test]
fn rules_with_a_backend_in_common_are_told_apart_by_name_only() {
    let rule = |path: &str| {
        json!({
            "matches": [{"path": {"type": "PathPrefix", "value": path}}],
            "backendRefs": backends(&SIXTY_FORTY)
        })
    };
    let mut scene = Scene::new(NGF);
    let mut other = rule("/other");
    other["backendRefs"][0]["weight"] = json!(1);
    scene.route(0.0, "echo", json!([rule("/echo"), other]));
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.6), ("echo-v2", 0.4)]);
    let report = scene.report();
    assert_eq!(report.rules.len(), 2);
    assert_eq!(report.rules[1].stages[0].result, Fail);
    assert_eq!(report.result, Inconclusive);
    assert!(report.rules[0].inconclusive_because[0].contains("cannot be told apart"));
    scene.options.route = Some(ObjectName::namespaced("ingress", "echo"));
    scene.options.rule = Some(0);
    scene.check(Pass);
    scene.options.rule = None;
    scene.options.request = Some(crate::policy::gateway_api::Request {
        path: "/other/x".into(),
        method: "GET".into(),
        ..Default::default()
    });
    assert_eq!(scene.check(Fail).rule.index, 1);
}

#[test]
fn another_rule_that_reaches_the_same_pods_by_another_service_is_found() {
    let rule = |path: &str, weights: &[(&str, u32)]| {
        json!({
            "matches": [{"path": {"type": "PathPrefix", "value": path}}],
            "backendRefs": backends(weights)
        })
    };
    let mut scene = Scene::new(NGF);
    scene.aliases("echo-v3", "echo-v2");
    let rules = json!([rule("/echo", &SIXTY_FORTY), rule("/", &[("echo-v3", 1)])]);
    scene.route(0.0, "echo", rules);
    // The second rule's requests make a split of 70/30 look like one of 60/40.
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.6), ("echo-v2", 0.4)]);
    let report = scene.report();
    assert_eq!(report.result, Inconclusive);
    assert!(
        report.rules[0].inconclusive_because[0].contains("same pods by ingress/echo-v3:80"),
        "{report:#?}"
    );
    scene.options.rule = Some(0);
    scene.check(Pass);
    // A mirror does the same.
    let mut scene = Scene::new(NGF);
    scene.aliases("echo-mirror", "echo-v2");
    let mirror = json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "echo-mirror", "port": 80}}});
    let rule = json!({"backendRefs": backends(&SIXTY_FORTY), "filters": [mirror]});
    scene.route(0.0, "echo", json!([rule]));
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.6), ("echo-v2", 0.4)]);
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("has a backend's pods"),
        "{rule:#?}"
    );
}

#[test]
fn gateways_that_ask_from_the_same_address_share_what_they_ask_for() {
    let mut scene = fair(CILIUM, 1_000);
    scene.object(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        "other",
        json!({"spec": {
            "gatewayClassName": "class",
            "listeners": [{"name": "http", "port": 81, "protocol": "HTTP"}]
        }}),
    );
    scene.object(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        "other",
        json!({"spec": {
            "parentRefs": [{"name": "other"}],
            "rules": [{"backendRefs": backends(&[("echo-v1", 1)])}]
        }}),
    );
    scene.options.route = Some(ObjectName::namespaced("ingress", "echo"));
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("HTTPRoute ingress/other rule 1 sends to"),
        "{rule:#?}"
    );
}

#[test]
fn rules_that_were_both_asked_excuse_neither() {
    let mut scene = fair(NGF, 1_000);
    let rule = json!({"backendRefs": backends(&SIXTY_FORTY)});
    scene.route(0.0, "other", json!([rule]));
    scene.options.rule = Some(0);
    let report = scene.report();
    assert_eq!((report.rules.len(), report.result), (2, Inconclusive));
    scene.options.route = Some(ObjectName::namespaced("ingress", "other"));
    scene.check(Pass);
}

#[test]
fn stages_share_the_level_at_which_a_rule_fails() {
    let mut scene = Scene::with_weights(CILIUM, &SIXTY_FORTY);
    scene.answers(0.0, "echo-v1", 6_203);
    scene.answers(0.0, "echo-v2", 3_797);
    scene.check(Fail);
    scene.weights(20.0, &[("echo-v1", 30), ("echo-v2", 70)]);
    scene.splits(20, 50, 2_000, &[("echo-v1", 0.3), ("echo-v2", 0.7)]);
    let rule = scene.check(Inconclusive);
    assert_eq!(rule.stages[1].result, Pass, "{rule:#?}");
}

#[test]
fn a_loss_that_could_change_a_pass_takes_it_away() {
    let mut scene = fair(NGF, 1_000);
    scene.ledger[20].http_unparsed = 5;
    let rule = scene.check(Pass);
    assert!(
        rule.notes
            .iter()
            .any(|note| note.contains("off by up to 0.01 %")),
        "{rule:#?}"
    );
    scene.ledger[20].http_unparsed = 5_000;
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("5000 of 55000 responses"),
        "{rule:#?}"
    );
    scene.ledger[20].http_unparsed = 0;
    scene.ledger.drain(20..25);
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("were not watching for 5.0 s"),
        "{rule:#?}"
    );
    // Between the runs of a campaign nobody need be watching, within one somebody must.
    let run = |from: f64, to: f64| Window {
        from_us: at(from),
        to_us: at(to),
    };
    scene.options.runs = vec![run(1.0, 19.0), run(26.0, 49.0)];
    scene.check(Pass);
    scene.options.runs = vec![run(1.0, 21.0), run(26.0, 49.0)];
    scene.check(Inconclusive);
    scene.options.runs.clear();
    scene.ledger.clear();
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("no books"),
        "{rule:#?}"
    );
}

#[test]
fn an_http2_connection_that_was_lost_may_have_hidden_anything() {
    let mut scene = fair(NGF, 1_000);
    scene.ledger[20].http_unparsed = 1;
    scene.check(Pass);
    scene.rows[0].version = HttpVersion::Http2;
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("1 HTTP streams or responses"),
        "{rule:#?}"
    );
}

#[test]
fn responses_of_pods_behind_no_service_may_be_a_backends() {
    let mut scene = fair(NGF, 1_000);
    scene.answers_to(10.0, "echo-v3", 20_000, "10.0.1.99", |row| {
        row.local_port = 9
    });
    scene.check(Pass);
    scene.answers_to(10.0, "echo-v3", 20_000, NGF_POD, |row| row.local_port = 9);
    let rule = scene.check(Inconclusive);
    assert!(
        rule.inconclusive_because[0].contains("behind no Service"),
        "{rule:#?}"
    );
}

#[test]
fn a_failure_stands_where_what_was_lost_cannot_be_the_whole_of_it() {
    let mut scene = Scene::with_weights(NGF, &SIXTY_FORTY);
    scene.splits(0, 50, 1_000, &[("echo-v1", 0.5), ("echo-v2", 0.5)]);
    scene.ledger[20].http_unparsed = 500;
    scene.check(Fail);
    scene.ledger[20].http_unparsed = 15_000;
    let rule = scene.check(Inconclusive);
    assert!(
        rule.summary.starts_with("as far as can be told, does not"),
        "{}",
        rule.summary
    );
    scene.ledger[20].http_unparsed = 0;
    scene.ledger.drain(20..25);
    scene.check(Fail);
    // A node that nobody watched may have answered the rest.
    scene.ledger.clear();
    scene.check(Inconclusive);
}

#[test]
fn backends_that_take_turns_are_noted() {
    let mut scene = Scene::with_weights(CILIUM, &SIXTY_FORTY);
    for second in 0..50 {
        scene.answers(f64::from(second), "echo-v1", 600);
        scene.answers(f64::from(second), "echo-v2", 400);
    }
    let rule = scene.check(Pass);
    assert!(
        rule.notes.iter().any(|note| note.contains("take turns")),
        "{rule:#?}"
    );
}

#[test]
fn shares_that_swing_between_windows_do_not_pass_on_their_mean() {
    let mut scene = Scene::with_weights(CILIUM, &SIXTY_FORTY);
    for second in 0..50 {
        let swing = if second % 10 < 5 { 0.3 } else { 0.9 };
        scene.splits(
            second,
            second + 1,
            1_000,
            &[("echo-v1", swing), ("echo-v2", 1.0 - swing)],
        );
    }
    let rule = scene.check(Inconclusive);
    assert!(
        rule.summary.contains("windows differ too much"),
        "{}",
        rule.summary
    );
    assert!(
        rule.notes
            .iter()
            .any(|note| note.contains("more than independent requests")),
        "{rule:#?}"
    );
}

#[test]
fn what_is_not_there_is_said_in_a_line() {
    let mut scene = fair(NGF, 10);
    scene.options.route = Some(ObjectName::namespaced("ingress", "nothing"));
    let error = scene.try_report().unwrap_err();
    assert_eq!(
        error.to_string(),
        "--route ingress/nothing: there is no such route; there is HTTPRoute ingress/echo"
    );
    scene.options.route = None;
    scene.options.rule = Some(4);
    assert_eq!(
        scene.try_report().unwrap_err(),
        SplitError::NoSuchRule { rule: 5 }
    );
    assert_eq!(
        Scene::new(NGF).try_report().unwrap_err(),
        SplitError::NoRoutes
    );
    assert_eq!(
        Scene::with_weights(NGF, &SIXTY_FORTY).try_report(),
        Ok(None)
    );
}
