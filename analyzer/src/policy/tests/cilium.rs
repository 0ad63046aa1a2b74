//! Cilium's `CiliumEgressGatewayPolicy`.

use super::super::cilium::{fnv1a_32, gateway_index};
use super::super::identity::belongs;
use super::{OUTSIDE, check, check_with, expect, lints};
use crate::policy::{EngineOptions, NodeInterface};

const NOT_SELECTED: &str = "no gateway: no policy selects the pod";
const WEB: &str = "[{podSelector: {matchLabels: {app: web}}}]";
const GATEWAY: &str =
    "{nodeSelector: {matchLabels: {kubernetes.io/hostname: gateway}}, egressIP: 10.10.0.3}";
const GATEWAY2: &str =
    "{nodeSelector: {matchLabels: {kubernetes.io/hostname: gateway2}}, egressIP: 10.10.0.4}";

fn policy(
    name: &str,
    selectors: &str,
    destinations: &str,
    excluded: &str,
    gateway: &str,
) -> String {
    format!(
        "---\napiVersion: cilium.io/v2\nkind: CiliumEgressGatewayPolicy\nmetadata: {{name: {name}}}\n\
         spec:\n  selectors: {selectors}\n  destinationCIDRs: [{destinations}]\n  \
         excludedCIDRs: [{excluded}]\n  {gateway}\n"
    )
}

fn by(gateway: &str) -> String {
    format!("egressGateway: {gateway}")
}

fn everywhere(selectors: &str) -> String {
    policy("web", selectors, "0.0.0.0/0", "", &by(GATEWAY))
}

/// A CiliumEndpoint for a pod.
fn endpoint(namespace: &str, name: &str, uid: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: cilium.io/v2\nkind: CiliumEndpoint\n\
         metadata: {{namespace: {namespace}, name: {name}, uid: {uid}}}\n\
         status: {{identity: {{id: 1, labels: [{labels}]}}, networking: {{addressing: [{{ipv4: 10.244.1.5}}]}}}}\n"
    )
}

#[test]
fn entries_are_ored_and_inside_one_namespace_and_pod() {
    let by_namespace = "[{namespaceSelector: {matchLabels: {team: a}}}]";
    let both =
        "[{podSelector: {matchLabels: {app: web}}, namespaceSelector: {matchLabels: {team: a}}}]";
    let either =
        "[{podSelector: {matchLabels: {app: db}}}, {namespaceSelector: {matchLabels: {team: b}}}]";
    for (selectors, pod, selected) in [
        (WEB, "prod/web", true),
        (WEB, "prod/db", false),
        (by_namespace, "prod/db", true),
        (by_namespace, "dev/web", false),
        (both, "prod/web", true),
        (both, "dev/web", false),
        (both, "prod/db", false),
        (either, "prod/db", true),
        (either, "dev/web", true),
        (either, "prod/web", false),
        ("[{namespaceSelector: {}}]", "dev/web", true),
        ("[{podSelector: {}}]", "dev/web", true),
    ] {
        let expected = if selected {
            "10.10.0.3 on gateway"
        } else {
            NOT_SELECTED
        };
        check(&everywhere(selectors), pod, OUTSIDE, expected);
    }
}

#[test]
fn selector_without_pods_or_namespaces_rejects_the_whole_policy() {
    let selectors = "[{podSelector: {matchLabels: {app: web}}}, {nodeSelector: {}}]";
    check(&everywhere(selectors), "prod/web", OUTSIDE, NOT_SELECTED);
    assert!(lints(&everywhere(selectors))[0].contains(
        "agents ignore the whole policy: an entry of spec.selectors has neither podSelector nor"
    ));
}

#[test]
fn node_selectors_are_pooled_over_entries() {
    // The author meant web pods on zone z and db pods on zone a; prod/web runs in zone a.
    let selectors = "[{podSelector: {matchLabels: {app: web}}, nodeSelector: {matchLabels: {zone: z}}}, \
        {podSelector: {matchLabels: {app: db}}, nodeSelector: {matchLabels: {zone: a}}}]";
    check(
        &everywhere(selectors),
        "prod/web",
        OUTSIDE,
        "10.10.0.3 on gateway",
    );
    check(&everywhere(selectors), "prod/db", OUTSIDE, NOT_SELECTED);
    assert!(lints(&everywhere(selectors))[0].contains("pooled"));
}

#[test]
fn only_identity_labels_are_seen() {
    let by_label = |key: &str, value: &str| {
        everywhere(&format!(
            "[{{podSelector: {{matchLabels: {{{key}: {value}}}}}}}]"
        ))
    };
    let taken = "10.10.0.3 on gateway";
    check(
        &by_label("pod-template-hash", "abc12"),
        "prod/web",
        OUTSIDE,
        NOT_SELECTED,
    );
    check(
        &by_label("kubernetes.io/tier", "front"),
        "prod/web",
        OUTSIDE,
        NOT_SELECTED,
    );
    check(
        &by_label("app.kubernetes.io/name", "web"),
        "prod/web",
        OUTSIDE,
        taken,
    );
    check(
        &by_label("io.kubernetes.pod.namespace", "prod"),
        "prod/web",
        OUTSIDE,
        taken,
    );
    check(
        &by_label("io.kubernetes.pod.namespace", "prod"),
        "dev/web",
        OUTSIDE,
        NOT_SELECTED,
    );
    // What the endpoint's identity says counts more than the pod's labels.
    let identity = endpoint(
        "prod",
        "web",
        "e",
        "\"k8s:app=api\", \"k8s:io.kubernetes.pod.namespace=prod\"",
    );
    check(
        &(everywhere(WEB) + &identity),
        "prod/web",
        OUTSIDE,
        NOT_SELECTED,
    );
    assert!(belongs("statefulset") && !belongs("statefulset.kubernetes.io/pod-name"));
    assert!(!belongs("node.beta.kubernetes.io/arch"));
}

#[test]
fn longest_prefix_wins_over_another_policys_exclusion() {
    let excluding = policy("a", WEB, "0.0.0.0/0", "203.0.113.0/24", &by(GATEWAY));
    let narrower = policy("b", WEB, "203.0.113.0/25", "", &by(GATEWAY2));
    let both = excluding.clone() + &narrower;
    let excluded = "no gateway: a policy excludes the destination";
    check(&excluding, "prod/web", "203.0.113.9", excluded);
    check(&both, "prod/web", "203.0.113.9", "10.10.0.4 on gateway2");
    check(&both, "prod/web", "203.0.113.200", excluded);
    check(&both, "prod/web", "192.0.2.1", "10.10.0.3 on gateway");
    let own = policy("c", WEB, "203.0.113.0/24", "203.0.113.0/24", &by(GATEWAY));
    check(&own, "prod/web", "203.0.113.9", excluded);
    let found = expect(&both, "prod/web", "203.0.113.200");
    assert_eq!(found.policies[0].to_string(), "CiliumEgressGatewayPolicy/a");
}

#[test]
fn equal_prefixes_of_two_policies_are_ambiguous_unless_they_agree() {
    let first = policy("a", WEB, "203.0.113.0/24", "", &by(GATEWAY));
    let other = first.clone() + &policy("b", WEB, "203.0.113.0/24", "", &by(GATEWAY2));
    let excluding =
        first.clone() + &policy("b", WEB, "192.0.2.0/24", "203.0.113.0/24", &by(GATEWAY));
    let same = first + &policy("b", WEB, "203.0.113.7/24", "", &by(GATEWAY));
    check(&other, "prod/web", OUTSIDE, "ambiguous");
    check(&excluding, "prod/web", OUTSIDE, "ambiguous");
    check(&same, "prod/web", OUTSIDE, "10.10.0.3 on gateway");
    let found = expect(&other, "prod/web", OUTSIDE);
    let policies: Vec<_> = found.policies.iter().map(ToString::to_string).collect();
    assert_eq!(
        policies,
        ["CiliumEgressGatewayPolicy/a", "CiliumEgressGatewayPolicy/b"]
    );
}

#[test]
fn destinations_with_a_cluster_identity_are_skipped() {
    let inside = "no gateway: the destination is inside the cluster";
    for destination in [
        "10.244.2.6",
        "10.244.1.99",
        "10.10.0.3",
        "198.51.100.3",
        "10.96.0.1",
        "172.30.0.10",
    ] {
        check(&everywhere(WEB), "prod/web", destination, inside);
    }
    let uncovered = policy("web", WEB, "192.0.2.0/24", "", &by(GATEWAY));
    let reason = "no gateway: no policy of the pod covers the destination";
    check(&uncovered, "prod/web", OUTSIDE, reason);
    check(&everywhere(WEB), "prod/web", "2001:db8:ffff::9", reason);
    check(
        &everywhere(WEB),
        "prod/agent",
        OUTSIDE,
        "no gateway: the pod uses its node's network",
    );
}

#[test]
fn first_matching_node_by_name_is_the_gateway() {
    let yes = by("{nodeSelector: {matchLabels: {egress: \"yes\"}}}");
    let found = expect(
        &policy("web", WEB, "0.0.0.0/0", "", &yes),
        "prod/web",
        OUTSIDE,
    );
    assert_eq!(found.expectation.to_string(), "an address on gateway");
    assert!(found.placement_notes[0].contains("default-route interface"));
}

#[test]
fn no_matching_node_drops() {
    let none = by("{nodeSelector: {matchLabels: {egress: never}}}");
    let dropped = "dropped: CiliumEgressGatewayPolicy/web has no gateway: no node matches";
    check(
        &policy("web", WEB, "0.0.0.0/0", "", &none),
        "prod/web",
        OUTSIDE,
        dropped,
    );
}

/// FNV-1a of 32 bits: the published vectors of "", "a" and "foobar", and of three UIDs the values
/// of `for b in uid.encode(): h = ((h ^ b) * 0x01000193) & 0xffffffff` from 0x811c9dc5 in Python.
#[test]
fn fnv1a_agrees_with_published_vectors() {
    for (text, expected) in [
        ("", 0x811c_9dc5),
        ("a", 0xe40c_292c),
        ("foobar", 0xbf9c_f968),
        ("7f3c9a52-0d1e-4b8f-9c66-2f1f6d1c0a01", 0x9422_211c),
        ("7f3c9a52-0d1e-4b8f-9c66-2f1f6d1c0a02", 0x9722_25d5),
        ("7f3c9a52-0d1e-4b8f-9c66-2f1f6d1c0a03", 0x9622_2442),
    ] {
        assert_eq!(fnv1a_32(text.as_bytes()), expected, "{text:?}");
    }
    assert_eq!(gateway_index("7f3c9a52-0d1e-4b8f-9c66-2f1f6d1c0a03", 3), 1);
}

#[test]
fn several_gateways_replace_the_one_and_the_endpoints_uid_picks() {
    // Listed backwards: what counts is the order of the nodes' addresses. One entry has no node.
    let nowhere = "{nodeSelector: {matchLabels: {egress: never}}}";
    let several = format!(
        "egressGateways: [{GATEWAY2}, {nowhere}, {GATEWAY}]\n  {}",
        by(nowhere)
    );
    let yaml = policy("web", WEB, "0.0.0.0/0", "", &several);
    let labels = "\"k8s:app=web\"";
    let first = endpoint(
        "prod",
        "web",
        "7f3c9a52-0d1e-4b8f-9c66-2f1f6d1c0a01",
        labels,
    );
    let second = endpoint(
        "prod",
        "web",
        "7f3c9a52-0d1e-4b8f-9c66-2f1f6d1c0a02",
        labels,
    );
    check(
        &(yaml.clone() + &first),
        "prod/web",
        OUTSIDE,
        "10.10.0.3 on gateway",
    );
    check(
        &(yaml.clone() + &second),
        "prod/web",
        OUTSIDE,
        "10.10.0.4 on gateway2",
    );
    let either = "one of: 10.10.0.3 on gateway, 10.10.0.4 on gateway2";
    check(&yaml, "prod/web", OUTSIDE, either);
    assert!(lints(&yaml)[0].contains("egressGateways replaces egressGateway"));
    let empty = policy(
        "web",
        WEB,
        "0.0.0.0/0",
        "",
        &format!("egressGateways: []\n  {}", by(GATEWAY)),
    );
    check(&empty, "prod/web", OUTSIDE, "10.10.0.3 on gateway");
}

fn interfaces() -> EngineOptions {
    let interface = |name: &str, addresses: &[&str], default_route| NodeInterface {
        node: "gateway".into(),
        name: name.into(),
        addresses: addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        default_route,
    };
    EngineOptions {
        node_interfaces: vec![
            interface("eth0", &["10.10.0.33", "10.10.0.3", "2001:db8::3"], true),
            interface("eth1", &["192.0.2.33"], false),
        ],
        ..EngineOptions::default()
    }
}

#[test]
fn snat_address_comes_from_interface_egress_ip_or_default_route() {
    let on = |rest: &str| {
        let gateway = format!("{{nodeSelector: {{matchLabels: {{zone: b}}}}{rest}}}");
        policy("web", WEB, "0.0.0.0/0, \"::/0\"", "", &by(&gateway))
    };
    let v6 = "2001:db8:ffff::9";
    for (rest, destination, known, unknown) in [
        (
            "",
            OUTSIDE,
            "10.10.0.33 on gateway",
            "an address on gateway",
        ),
        ("", v6, "2001:db8::3 on gateway", "an address on gateway"),
        (
            ", interface: eth1",
            OUTSIDE,
            "192.0.2.33 on gateway",
            "an address on gateway",
        ),
        (
            ", interface: eth1",
            v6,
            "dropped: gateway's interface eth1 has no IPv6 address",
            "an address on gateway",
        ),
        (
            ", interface: eth9",
            OUTSIDE,
            "dropped: gateway has no interface eth9",
            "an address on gateway",
        ),
        (
            ", egressIP: 192.0.2.33",
            OUTSIDE,
            "192.0.2.33 on gateway",
            "192.0.2.33 on gateway",
        ),
        (
            ", egressIP: 192.0.2.34",
            OUTSIDE,
            "dropped: gateway does not have the egress IP 192.0.2.34",
            "192.0.2.34 on gateway",
        ),
    ] {
        check_with(interfaces(), &on(rest), "prod/web", destination, known);
        check(&on(rest), "prod/web", destination, unknown);
    }
    let found = expect(&on(", egressIP: 192.0.2.33"), "prod/web", OUTSIDE);
    assert!(found.placement_notes[0].contains("stands in no object"));
}

#[test]
fn interface_and_egress_ip_together_void_the_policy() {
    let both = "{nodeSelector: {}, interface: eth0, egressIP: 10.10.0.3}";
    let yaml = policy("web", WEB, "0.0.0.0/0", "", &by(both));
    check(&yaml, "prod/web", OUTSIDE, NOT_SELECTED);
    assert!(lints(&yaml)[0].contains("both interface and egressIP"));
}
