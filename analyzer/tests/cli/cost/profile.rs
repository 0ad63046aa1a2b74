//! Samples: components of the stack, and what they are of.

use std::fs;

use super::super::refused;
use super::tables::{SECONDS, profile_row, recorded, watch_other};
use super::{cost, near, report};
use serde_json::{Value, json};
use trace_schema::ledger::Vantage;

#[test]
fn a_profile_gives_components_their_part_of_the_whole() {
    let mut tables = recorded();
    for second in 0..SECONDS {
        for (command, stack, samples) in [
            (
                "iperf3",
                "do_syscall_64;tcp_sendmsg;ip_output;nf_hook_slow;nf_conntrack_in",
                30,
            ),
            ("iperf3", "", 60),
            ("swapper/0", "", 110),
        ] {
            let row = profile_row(second, command, stack, samples);
            tables.profile.push(row);
        }
        let sampled = watch_other("worker", second, Vantage::Profile);
        tables.ledger.push(sampled);
    }
    let dataset = tables.write();
    let report = report(dataset.path(), &["--run", "one"], 0);
    let profile = &report["runs"][0]["profile"];
    // The half second at the edge counts whole, since half of it lies in the run.
    assert_eq!(
        (&profile["busy_samples"], &profile["idle_samples"]),
        (&json!(810), &json!(990))
    );
    let components = profile["components"].as_array().unwrap();
    assert_eq!(components[0]["component"], "user iperf3");
    assert_eq!(components[1]["component"], "netfilter conntrack");
    // A third of 79,000 reference cycles: nobody sampled the gateway, which was charged 10,000.
    near(&components[1]["per_wire_packet"]["cycles"], 79_000.0 / 3.0);
    near(&profile["charged_share"], 790.0 / 890.0);
    near(&profile["covered_share"], 1.0);
    let note = "kernels without samples were charged 11.2 % of the time";
    let notes = |report: &Value| report["runs"][0]["notes"].to_string();
    assert!(notes(&report).contains(note), "{report:#}");
    assert!(!notes(&report).contains("stand for all"), "{report:#}");
    let drawing = dataset.path().join("flames.svg");
    let flags = ["--run", "one", "--flamegraph", drawing.to_str().unwrap()];
    let text = cost(dataset.path(), &flags, 0);
    assert!(text.contains("netfilter conntrack"), "{text}");
    let by = "samples: by the CPU clock, 99 a second and CPU";
    assert!(text.contains(by), "{text}");
    assert!(
        fs::read_to_string(drawing)
            .unwrap()
            .contains("nf_conntrack_in")
    );
    tables.profile.clear();
    let dataset = tables.write();
    let root = dataset.path().to_str().unwrap();
    refused(
        &["cost", "--dataset", root, "--flamegraph", "/tmp/none.svg"],
        &["--flamegraph", "--profile"],
    );
}

#[test]
fn a_profile_of_a_part_of_the_run_says_so() {
    let mut tables = recorded();
    for second in 0..3 {
        tables.profile.push(profile_row(second, "iperf3", "", 60));
        let sampled = watch_other("worker", second, Vantage::Profile);
        tables.ledger.push(sampled);
    }
    let text = cost(tables.write().path(), &["--run", "one"], 0);
    // From 0.5 s to 3 s of 8.5 s.
    assert!(
        text.contains("samples were taken for 29.4 % of the run, and stand for all of it"),
        "{text}"
    );
}
