//! Does each fault get its verdict, and no other? The logs of server and clients say what happened.
//!
//! Both datapaths are played at once, each in a lab of its own. What `weighbridge` prints is held
//! against what the host outside saw arrive; it is never held against what the probe recorded.

use std::{collections::BTreeMap, net::IpAddr};

use lab::{Datapath, Family, Fault, ScenarioOptions, ScenarioReport};
use serde_json::Value;

use crate::dataset;

const WORKER_ADDRESS: &str = "172.18.0.2";
const EGRESS_ADDRESS: &str = "172.18.0.50";
const STRAY_ADDRESS: &str = "172.18.0.61";
/// The probes' interval: how far a reported window may reach beyond the one in which the fault was.
const INTERVAL_US: i64 = 1_000_000;
/// Connections that may stand on the edge of a hole: begun before it and cut off by it.
const ON_THE_EDGE: usize = 3;

#[test]
fn early_flows_leak_with_the_nodes_address() {
    check_leak(Fault::EarlyFlow, "node_ip_leak", "worker", WORKER_ADDRESS);
}

#[test]
fn another_address_of_the_pool_is_a_wrong_egress_ip() {
    check_leak(Fault::WrongIp, "wrong_egress_ip", "gateway", STRAY_ADDRESS);
}

#[test]
fn another_node_with_the_right_address_is_a_wrong_node() {
    check_leak(Fault::WrongNode, "wrong_node", "gateway2", EGRESS_ADDRESS);
}

#[test]
fn a_gateway_that_does_not_translate_leaks_the_pods_address() {
    // The pod's own address: each connection arrives as what it was sent from.
    check_leak(Fault::NoSnat, "pod_ip_leak", "gateway", "source");
}

#[test]
fn a_gateway_that_dies_drops_until_another_takes_over() {
    check(Fault::GatewayDown, |played| {
        played.check_exit(1, &["dropped", "ok"]);
        let window = played.only_leak_window();
        assert_eq!(window["verdict"], "dropped");
        assert!(window["exit"].is_null(), "{window}");
        assert!(window["bytes"].as_i64() > Some(0), "{window}");
        played.check_inside_fault(window);
        played.check_dropped(window);
        played.check_failover();
    });
}

#[test]
fn maps_that_are_too_small_are_no_pass() {
    check(Fault::FullMap, |played| {
        played.check_exit(3, &["ok", "unknown"]);
        assert!(
            played.judged("ok") < played.report.seen.len() as u64,
            "nothing was lost"
        );
        played.check_inconclusive(&["worker", "fit no map"]);
        let overflow = played.egress["losses"].as_array().expect("losses").iter();
        assert!(
            overflow.clone().any(|loss| loss["kind"] == "overflow"),
            "no overflow is named"
        );
    });
}

#[test]
fn a_probe_that_is_killed_is_no_pass() {
    check(Fault::ProbeKilled, |played| {
        played.check_exit(3, &["ok", "unknown"]);
        let judged = played.judged("ok") + played.judged("unknown");
        assert_eq!(judged, played.report.seen.len() as u64, "connections");
        // Whatever the killed probe had seen and written left as it should.
        assert!(
            played.judged("ok") > 0,
            "what was seen before the kill is lost"
        );
        played.check_inconclusive(&["gateway", "not watching"]);
    });
}

/// A fault in which connections leave, but not as they should.
fn check_leak(fault: Fault, verdict: &str, node: &str, address: &str) {
    check(fault, |played| {
        let arrived_so = played
            .report
            .seen
            .iter()
            .filter(|seen| match address {
                "source" => seen.peer.ip() == seen.source.ip(),
                _ => seen.peer.ip() == address.parse::<IpAddr>().expect("an address"),
            })
            .count() as u64;
        assert!(arrived_so > 0, "the fault did not happen");
        let others = played.report.seen.len() as u64 - arrived_so;
        let verdicts: &[&str] = if others > 0 {
            &[verdict, "ok"]
        } else {
            &[verdict]
        };
        played.check_exit(1, verdicts);
        assert_eq!(played.judged("ok"), others);
        let window = played.only_leak_window();
        assert_eq!(window["verdict"], verdict);
        assert_eq!(
            window["connections"], arrived_so,
            "the server outside saw others"
        );
        assert_eq!(window["exit"]["node"], node);
        let exit = if address == "source" {
            played.pod_address()
        } else {
            address.to_owned()
        };
        assert_eq!(window["exit"]["address"], exit.as_str());
        assert!(window["bytes"].as_i64() > Some(0), "{window}");
        played.check_inside_fault(window);
    });
}

/// Plays a fault on both datapaths and checks each.
fn check(fault: Fault, check: impl Fn(&Played) + Sync) {
    on_both_datapaths(|datapath| check(&Played::of(fault, datapath)));
}

/// Does the same on both datapaths at once.
pub fn on_both_datapaths(check: impl Fn(Datapath) + Sync) {
    e2e::require_root();
    std::thread::scope(|scope| {
        let threads = [Datapath::Netfilter, Datapath::Bpf].map(|datapath| {
            let check = &check;
            (datapath, scope.spawn(move || check(datapath)))
        });
        for (datapath, thread) in threads {
            if let Err(panic) = thread.join() {
                eprintln!("failed on the {} datapath", datapath.name());
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// A fault that was played, and what `weighbridge` says of it.
struct Played {
    report: ScenarioReport,
    policy: &'static str,
    code: Option<i32>,
    egress: Value,
}

impl Played {
    fn of(fault: Fault, datapath: Datapath) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let report = fault
            .run(&ScenarioOptions {
                datapath,
                family: Family::V4,
                probe: dataset::binary("weighbridge-probe"),
                dataset: folder.path().to_owned(),
                object: None,
            })
            .expect("a fault");
        let (code, egress) = dataset::weighbridge("egress", folder.path(), &["--connections"]);
        let policy = match datapath {
            Datapath::Netfilter => "Egress/egress-client",
            Datapath::Bpf => "CiliumEgressGatewayPolicy/egress-client",
        };
        Self {
            report,
            policy,
            code,
            egress,
        }
    }

    /// The exit code, and that these verdicts were given and no others, all to one pod and policy.
    fn check_exit(&self, code: i32, verdicts: &[&str]) {
        assert_eq!(
            self.code,
            Some(code),
            "exit code: {:#}",
            self.egress["verdicts"]
        );
        let result = if code == 1 { "fail" } else { "inconclusive" };
        assert_eq!(self.egress["result"], result);
        let given: Vec<&String> = self.egress["verdicts"]
            .as_object()
            .expect("verdicts")
            .keys()
            .collect();
        assert_eq!(given, verdicts);
        for (list, field, expected) in [
            ("pods", "pod", self.report.pod.as_str()),
            ("policies", "policy", self.policy),
        ] {
            let list = self.egress[list].as_array().expect("a list");
            assert_eq!(list.len(), 1, "{list:#?}");
            assert_eq!(list[0][field], expected);
        }
    }

    fn judged(&self, verdict: &str) -> u64 {
        self.egress["verdicts"][verdict]["connections"]
            .as_u64()
            .unwrap_or_default()
    }

    fn only_leak_window(&self) -> &Value {
        let windows = self.egress["leak_windows"]
            .as_array()
            .expect("leak windows");
        let [window] = windows.as_slice() else {
            panic!("{} windows: {windows:#?}", windows.len())
        };
        assert_eq!(window["pod"], self.report.pod.as_str());
        assert_eq!(window["policy"], self.policy);
        window
    }

    fn check_inside_fault(&self, window: &Value) {
        let (from_us, to_us) = self.report.window_us;
        let (first_us, last_us) = (moment_us(&window["first"]), moment_us(&window["last"]));
        assert!(first_us <= last_us, "{window}");
        assert!(
            first_us >= from_us - INTERVAL_US,
            "it begins before the fault: {window}"
        );
        assert!(
            last_us <= to_us + INTERVAL_US,
            "it ends after the fault: {window}"
        );
    }

    /// Connections that never came through are those that the clients gave up and the server never
    /// saw; those that came through in the end have a hole between two exits.
    fn check_dropped(&self, window: &Value) {
        let mut verdicts: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for spell in self.egress["connections"].as_array().expect("connections") {
            verdicts
                .entry(spell["connection"].as_u64().expect("a number"))
                .or_default()
                .push(spell["verdict"].as_str().expect("a verdict"));
        }
        let (mut lost, mut resumed) = (0, 0);
        for spells in verdicts.values() {
            match spells.as_slice() {
                ["ok"] => {}
                ["dropped"] => lost += 1,
                ["ok", "dropped"] | ["ok", "dropped", "ok"] | ["dropped", "ok"] => resumed += 1,
                other => panic!("a connection with {other:?}"),
            }
        }
        assert_eq!(window["connections"], lost + resumed);
        let gave_up = self
            .report
            .sent
            .iter()
            .filter(|sent| sent.source.is_none())
            .count();
        assert!(gave_up > 10, "there was no hole");
        assert!(
            lost <= gave_up && lost + ON_THE_EDGE >= gave_up,
            "{lost} lost, {gave_up} gave up"
        );
        // The long connections sent all the time.
        let long = self
            .report
            .sent
            .iter()
            .filter(|sent| sent.sent > 10)
            .count();
        assert!(
            resumed >= long && resumed <= long + ON_THE_EDGE,
            "{resumed} resumed of {long}"
        );
        assert_eq!(verdicts.len(), self.report.seen.len() + lost, "connections");
    }

    fn check_failover(&self) {
        let moves = self.egress["failovers"].as_array().expect("failovers");
        let [moved] = moves.as_slice() else {
            panic!("{moves:#?}")
        };
        assert_eq!(moved["policy"], self.policy);
        assert_eq!(moved["from"], format!("{EGRESS_ADDRESS} on gateway"));
        assert_eq!(moved["to"], format!("{EGRESS_ADDRESS} on gateway2"));
        let (from_us, to_us) = self.report.window_us;
        let last_us = moment_us(&moved["last_by_old"]);
        let first_us = moment_us(&moved["first_by_new"]);
        assert!((last_us - from_us).abs() < INTERVAL_US, "{moved}");
        assert!((first_us - to_us).abs() < INTERVAL_US, "{moved}");
        assert_eq!(moved["hole_us"], first_us - last_us);
        // The clients say who was open throughout, and that they had answers to the end.
        let survivors =
            self.report.sent.iter().filter(|sent| {
                sent.start_us < from_us && sent.end_us > to_us && sent.outcome == "ok"
            });
        let survivors = survivors.count() as u64;
        assert!(survivors > 0, "no connection was open throughout");
        let survived = moved["survived"].as_u64().expect("a number");
        assert!(
            survived >= survivors && survived <= survivors + ON_THE_EDGE as u64,
            "{moved}"
        );
        // Those after the hole left by the new gateway as the policy then demanded.
        assert!(moved["new"].as_u64() > Some(0), "{moved}");
    }

    fn check_inconclusive(&self, words: &[&str]) {
        assert_eq!(self.egress["leak_windows"], serde_json::json!([]));
        let reasons = self.egress["policies"][0]["inconclusive_because"].as_array();
        let named = reasons.expect("reasons").iter().any(|reason| {
            let reason = reason.as_str().unwrap_or_default();
            words.iter().all(|word| reason.contains(word))
        });
        assert!(named, "no reason names {words:?}: {reasons:#?}");
    }

    fn pod_address(&self) -> String {
        let source = self.report.sent.iter().find_map(|sent| sent.source);
        source.expect("a connection").ip().to_string()
    }
}

fn moment_us(value: &Value) -> i64 {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no time"));
    let time = chrono::DateTime::parse_from_rfc3339(text).expect("an RFC 3339 time");
    time.timestamp_micros()
}
