//! Antrea's `Egress`.

use super::super::placement::place;
use super::{OUTSIDE, check, check_with, expect, lints};
use crate::objects::antrea::PoolRange;
use crate::policy::EngineOptions;

const NOT_SELECTED: &str = "no gateway: no policy selects the pod";
const INSIDE: &str = "no gateway: the destination is inside the cluster";
const ON_GATEWAY: &str = "10.10.0.100 on gateway";

/// An Egress for `applied_to`, placed on `gateway`.
fn placed(name: &str, applied_to: &str) -> String {
    egress(
        name,
        applied_to,
        "10.10.0.100",
        "{egressNode: gateway, egressIP: 10.10.0.100}",
    )
}

fn egress(name: &str, applied_to: &str, address: &str, status: &str) -> String {
    format!(
        "---\napiVersion: crd.antrea.io/v1beta1\nkind: Egress\nmetadata: {{name: {name}}}\n\
         spec: {{appliedTo: {applied_to}, egressIP: \"{address}\"}}\nstatus: {status}\n"
    )
}

fn pooled(address: &str, status: &str) -> String {
    format!(
        "---\napiVersion: crd.antrea.io/v1beta1\nkind: Egress\nmetadata: {{name: web}}\n\
         spec: {{appliedTo: {{podSelector: {{}}}}, egressIP: {address}, externalIPPool: pool}}\n{status}\n\
         ---\napiVersion: crd.antrea.io/v1beta1\nkind: ExternalIPPool\nmetadata: {{name: pool}}\n\
         spec: {{ipRanges: [{{cidr: 10.10.0.96/28}}], nodeSelector: {{matchLabels: {{egress: \"yes\"}}}}}}\n"
    )
}

const WEB: &str = "{podSelector: {matchLabels: {app: web}}}";

#[test]
fn selectors_and_together_and_an_empty_one_takes_everything() {
    let prod = "{namespaceSelector: {matchLabels: {team: a}}}";
    let both =
        "{podSelector: {matchLabels: {app: web}}, namespaceSelector: {matchLabels: {team: a}}}";
    let expressions = "{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, api]}, \
        {key: legacy, operator: DoesNotExist}]}, namespaceSelector: {matchExpressions: \
        [{key: team, operator: NotIn, values: [b]}, {key: team, operator: Exists}]}}";
    let by_name = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: prod}}}";
    for (applied_to, pod, expected) in [
        (WEB, "prod/web", ON_GATEWAY),
        (WEB, "dev/web", ON_GATEWAY),
        (WEB, "prod/db", NOT_SELECTED),
        ("{podSelector: {}}", "prod/db", ON_GATEWAY),
        ("{namespaceSelector: {}}", "dev/web", ON_GATEWAY),
        (prod, "prod/db", ON_GATEWAY),
        (prod, "dev/web", NOT_SELECTED),
        (both, "prod/web", ON_GATEWAY),
        (both, "dev/web", NOT_SELECTED),
        (both, "prod/db", NOT_SELECTED),
        (expressions, "prod/web", ON_GATEWAY),
        (expressions, "prod/db", NOT_SELECTED),
        (expressions, "dev/web", NOT_SELECTED),
        (by_name, "prod/web", ON_GATEWAY),
        (by_name, "dev/web", NOT_SELECTED),
    ] {
        check(&placed("web", applied_to), pod, OUTSIDE, expected);
    }
}

#[test]
fn without_either_selector_nothing_is_selected() {
    check(&placed("web", "{}"), "prod/web", OUTSIDE, NOT_SELECTED);
    let message = "Egress/web: spec.appliedTo has neither podSelector nor namespaceSelector: no pod is selected";
    assert_eq!(lints(&placed("web", "{}")), [message]);
}

#[test]
fn group_service_account_and_node_selector_are_ignored() {
    let applied_to = "{group: g, serviceAccount: {name: s}, nodeSelector: {}}";
    check(
        &placed("web", applied_to),
        "prod/web",
        OUTSIDE,
        NOT_SELECTED,
    );
    let found = lints(&placed("web", applied_to));
    for field in ["group", "serviceAccount", "nodeSelector"] {
        let message = format!("Egress/web: the Egress controller ignores spec.appliedTo.{field}");
        assert!(found.contains(&message), "{found:?}");
    }
}

#[test]
fn what_stays_in_the_cluster_leaves_by_no_node_though_no_policy_selects_the_pod() {
    let others = placed("db", "{podSelector: {matchLabels: {app: db}}}");
    for destination in ["10.244.2.6", "10.244.2.200", "10.10.0.3"] {
        check(&others, "prod/web", destination, INSIDE);
        check(&others, "prod/agent", destination, INSIDE);
    }
    check(&others, "prod/web", OUTSIDE, NOT_SELECTED);
}

#[test]
fn host_network_terminated_and_unscheduled_pods_are_skipped() {
    let all = placed("web", "{podSelector: {}}");
    check(
        &all,
        "prod/agent",
        OUTSIDE,
        "no gateway: the pod uses its node's network",
    );
    check(&all, "prod/done", OUTSIDE, NOT_SELECTED);
    check(&all, "prod/pending", OUTSIDE, NOT_SELECTED);
}

#[test]
fn pod_selector_outside_applied_to_is_pruned_and_the_namespace_selected() {
    let yaml = "apiVersion: crd.antrea.io/v1beta1\nkind: Egress\nmetadata: {name: web}\nspec:\n  \
        appliedTo: {namespaceSelector: {matchLabels: {team: a}}}\n  podSelector: {matchLabels: {app: web}}\n  \
        egressIP: 10.10.0.100\nstatus: {egressNode: gateway, egressIP: 10.10.0.100}\n";
    check(yaml, "prod/db", OUTSIDE, ON_GATEWAY);
    assert_eq!(
        lints(yaml),
        [
            "Egress/web: the API server prunes spec.podSelector, which is not a field: \
         the policy selects every pod of its namespaces"
        ]
    );
}

#[test]
fn v1alpha2_reads_like_v1beta1() {
    let old = placed("web", WEB).replace("v1beta1", "v1alpha2");
    check(&old, "prod/web", OUTSIDE, ON_GATEWAY);
}

#[test]
fn plural_forms_are_rejected_by_the_webhook() {
    let yaml = "apiVersion: crd.antrea.io/v1beta1\nkind: Egress\nmetadata: {name: web}\nspec:\n  \
        appliedTo: {podSelector: {}}\n  egressIPs: [10.10.0.100]\n  externalIPPools: [pool]\n";
    check(
        yaml,
        "prod/web",
        OUTSIDE,
        "no gateway: the policy has no address yet",
    );
    assert!(
        lints(yaml)
            .iter()
            .any(|lint| lint.contains("webhook rejects"))
    );
}

#[test]
fn bypasses_pods_nodes_services_and_the_agents_exceptions() {
    let all = placed("web", "{podSelector: {}}");
    let options = EngineOptions {
        service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
        except_cidrs: vec!["203.0.113.128/25".parse().unwrap()],
        ..EngineOptions::default()
    };
    for (destination, expected) in [
        ("10.244.2.200", INSIDE),
        ("10.10.0.2", INSIDE),
        ("10.10.0.4", INSIDE),
        ("10.96.44.1", INSIDE),
        (
            "203.0.113.200",
            "no gateway: the agent's exceptCIDRs hold the destination",
        ),
        ("203.0.113.127", ON_GATEWAY),
        // An address of a node that carries no tunnels is a destination like any other.
        ("198.51.100.3", ON_GATEWAY),
    ] {
        check_with(options.clone(), &all, "prod/web", destination, expected);
    }
    // Without the range, the ClusterIPs of known services are known still.
    check(&all, "prod/web", "10.96.0.1", INSIDE);
    check(&all, "prod/web", "10.96.44.1", ON_GATEWAY);
}

#[test]
fn several_egresses_on_one_pod_are_one_of_them() {
    let second = egress(
        "other",
        WEB,
        "10.10.0.101",
        "{egressNode: gateway2, egressIP: 10.10.0.101}",
    );
    let both = placed("web", "{podSelector: {}}") + &second;
    let found = expect(&both, "prod/web", OUTSIDE);
    let expected = "one of: 10.10.0.100 on gateway, 10.10.0.101 on gateway2";
    assert_eq!(found.expectation.to_string(), expected);
    let policies: Vec<_> = found.policies.iter().map(ToString::to_string).collect();
    assert_eq!(policies, ["Egress/other", "Egress/web"]);
    check(&both, "prod/db", OUTSIDE, ON_GATEWAY);
}

#[test]
fn static_address_on_no_node_loses_the_traffic() {
    let lost = egress("web", WEB, "10.10.0.100", "{egressNode: \"\"}");
    check(
        &lost,
        "prod/web",
        OUTSIDE,
        "dropped: no node has the static address 10.10.0.100",
    );
    // A node's own address may serve, and then the node's object says where it is.
    let own = egress("web", WEB, "10.10.0.3", "{egressNode: \"\"}");
    check(&own, "prod/web", OUTSIDE, "10.10.0.3 on gateway");
    // Without any status nothing says that no node has it.
    let silent = egress("web", WEB, "10.10.0.100", "null");
    check(
        &silent,
        "prod/web",
        OUTSIDE,
        "10.10.0.100 on a node not known",
    );
}

#[test]
fn pool_address_without_an_eligible_node_leaks_and_is_still_demanded() {
    let found = expect(
        &pooled("10.10.0.100", "status: {egressIP: 10.10.0.100}"),
        "prod/web",
        OUTSIDE,
    );
    assert_eq!(
        found.expectation.to_string(),
        "10.10.0.100 on a node not known"
    );
    assert!(
        found.placement_notes[0].contains("antrea#6228"),
        "{:?}",
        found.placement_notes
    );
    let unready = pooled("10.10.0.100", "").replace("egress: \"yes\"", "egress: never");
    let found = expect(&unready, "prod/web", OUTSIDE);
    assert!(
        found.placement_notes[0].contains("no eligible node"),
        "{:?}",
        found.placement_notes
    );
}

#[test]
fn status_is_the_truth_about_placement_and_the_ring_only_stands_in() {
    // The ring alone would say gateway2.
    let status = "status: {egressNode: gateway, egressIP: 10.10.0.100}";
    check(
        &pooled("10.10.0.100", status),
        "prod/web",
        OUTSIDE,
        ON_GATEWAY,
    );
    let found = expect(&pooled("10.10.0.100", ""), "prod/web", OUTSIDE);
    assert_eq!(found.expectation.to_string(), "10.10.0.100 on gateway2");
    assert!(
        found.placement_notes[0].contains("computed"),
        "{:?}",
        found.placement_notes
    );
}

#[test]
fn status_that_shows_an_earlier_address_places_nothing() {
    let behind = egress(
        "web",
        WEB,
        "10.10.0.101",
        "{egressNode: gateway, egressIP: 10.10.0.100}",
    );
    check(
        &behind,
        "prod/web",
        OUTSIDE,
        "10.10.0.101 on a node not known",
    );
}

#[test]
fn one_family_leaves_the_other_alone() {
    let destination = "2001:db8:ffff::9";
    let other = "no gateway: the pod's policies have addresses of the other family only";
    check(&placed("web", WEB), "prod/web", destination, other);
    let v6 = egress(
        "web",
        WEB,
        "2001:db8::64",
        "{egressNode: gateway, egressIP: \"2001:db8::64\"}",
    );
    check(&v6, "prod/web", destination, "2001:db8::64 on gateway");
    check(&v6, "prod/web", OUTSIDE, other);
}

/// Expected nodes from Python: `sorted((zlib.crc32(f"{i}{node}".encode()), node))` over 50 values
/// of i, then `bisect_left` of `zlib.crc32(address.encode())`, wrapping to the first.
#[test]
fn ring_places_addresses_as_computed_with_zlib() {
    let two = ["gateway", "gateway2"];
    let three = ["node-a", "node-b", "node-c"];
    for (address, nodes, expected) in [
        ("10.10.0.100", &two[..], "gateway2"),
        ("10.10.0.101", &two, "gateway"),
        ("2001:db8::64", &two, "gateway2"),
        ("10.10.0.100", &three, "node-b"),
        ("10.10.0.102", &three, "node-c"),
        ("2001:db8::64", &three, "node-a"),
        // One node or the other would have them with 49 values of i.
        ("10.10.0.40", &three, "node-a"),
        // Its value is beyond the last of the ring.
        ("10.0.2.77", &three, "node-b"),
    ] {
        assert_eq!(
            place(address, nodes.iter().copied()),
            Some(expected),
            "{address} on {nodes:?}"
        );
    }
    assert_eq!(place("10.10.0.100", []), None);
    // The catalogued check value of CRC-32/ISO-HDLC, zlib's.
    assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
}

#[test]
fn pool_cidr_leaves_out_the_first_address_and_for_ipv4_the_last() {
    let range = |text: &str| serde_json::from_str::<PoolRange>(text).unwrap();
    for (json, size, inside, outside) in [
        (
            r#"{"cidr": "10.10.0.96/28"}"#,
            14,
            ["10.10.0.97", "10.10.0.110"],
            "10.10.0.96",
        ),
        (
            r#"{"cidr": "10.10.0.96/28"}"#,
            14,
            ["10.10.0.97", "10.10.0.110"],
            "10.10.0.111",
        ),
        (
            r#"{"cidr": "2001:db8::/124"}"#,
            15,
            ["2001:db8::1", "2001:db8::f"],
            "2001:db8::",
        ),
        (
            r#"{"start": "10.10.0.1", "end": "10.10.0.2"}"#,
            2,
            ["10.10.0.1", "10.10.0.2"],
            "10.10.0.3",
        ),
        (
            r#"{"cidr": "10.10.0.0/30"}"#,
            2,
            ["10.10.0.1", "10.10.0.2"],
            "10.10.0.3",
        ),
    ] {
        let range = range(json);
        assert_eq!(range.size(), size, "{json}");
        assert!(
            inside
                .iter()
                .all(|address| range.gives(address.parse().unwrap())),
            "{json}"
        );
        assert!(
            !range.gives(outside.parse().unwrap()),
            "{json} gives {outside}"
        );
    }
    assert_eq!(range(r#"{"cidr": "10.10.0.1/32"}"#).size(), 0);
    assert_eq!(
        lints(&pooled("10.10.0.111", "")),
        [
            "Egress/web: egressIP 10.10.0.111 is not one of the 14 addresses that ExternalIPPool/pool gives out"
        ]
    );
}
