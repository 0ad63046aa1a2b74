//! What traffic costs, from real traffic: processor time that adds up to the machine's, and the tables
//! that say what their cycles are.
//!
//! The witnesses know nothing of the probe: the number of CPUs and the clock, and what the kernel's
//! own accounting charged iperf3, as iperf3 reports it.

use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use e2e::processors::Processors;
use lab::{Config, Datapath, IperfOptions, Lab, ProbeOptions};
use serde_json::Value;

use crate::dataset::{binary, weighbridge};

const SECONDS: u32 = 6;
const RUN: &str = "one";

#[test]
fn the_parts_and_idle_are_the_machines_time() {
    e2e::require_root();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (iperf3, stolen_s) = record(folder.path());
    let (code, report) = weighbridge("cost", folder.path(), &["--run", RUN]);
    let run = &report["runs"][0];
    assert_eq!(code, Some(0), "{}", run["inconclusive_because"]);

    let cpus = available_parallelism().expect("the number of CPUs").get() as f64;
    let machine_s = cpus * number(&run["seconds"]);
    let recorded_s = (number(&run["charged"]["cpu_ns"]) + number(&run["idle_cpu_ns"])) / 1e9;
    let off = (recorded_s - machine_s).abs() / machine_s;
    assert!(off < 0.01, "{recorded_s} CPU s of {machine_s}: {run:#}");

    // getrusage charges softirqs to whom they interrupt, so iperf3's figure is the most that can be,
    // but for what the hypervisor took meanwhile, which it leaves out.
    let percent = number(&iperf3["end"]["cpu_utilization_percent"]["host_total"]);
    let iperf3_s = percent / 100.0 * f64::from(SECONDS);
    let charged_s = number(&client(run)["cpu_ns"]) / 1e9;
    assert!(
        charged_s < iperf3_s * 1.05 + 0.1 + stolen_s,
        "{charged_s} CPU s charged, {iperf3_s} used"
    );
    assert!(
        charged_s > iperf3_s * 0.2,
        "{charged_s} CPU s charged, {iperf3_s} used"
    );

    for part in ["kernel_receive", "application", "probe", "outside"] {
        assert!(
            number(&part_of(run, part)["cpu_ns"]) > 0.0,
            "{part}: {run:#}"
        );
    }
    let charged = number(&run["charged"]["cpu_ns"]);
    let programs = number(&run["probe_programs"]["cpu_ns"]);
    assert!(
        (0.001..0.5).contains(&(programs / charged)),
        "the probe's programs took {programs} ns of {charged}"
    );
}

#[test]
fn tables_say_what_their_cycles_are() {
    e2e::require_root();
    let folder = tempfile::tempdir().expect("a temporary directory");
    record(folder.path());
    let (_, report) = weighbridge("cost", folder.path(), &[]);
    let source = report["cycle_source"].as_str().expect("a source of cycles");
    let output = Command::new(binary("weighbridge"))
        .args(["cost", "--dataset"])
        .arg(folder.path())
        .output()
        .expect("weighbridge starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = match source {
        "hardware" => "are cycles",
        "reference" => "are reference cycles",
        "none" => "are nanoseconds of CPU time",
        other => panic!("nobody asked for {other}"),
    };
    assert!(text.contains(figures), "{text}");
    assert_eq!(
        source == "reference",
        text.contains("not the processor's own cycles"),
        "{text}"
    );
    let charged = &report["runs"][0]["charged"];
    assert_eq!(source == "none", charged["cycles"].is_null(), "{charged:#}");
}

/// One run of iperf3 from a pod behind the egress gateway; what iperf3 says of it, and how many CPU
/// seconds the hypervisor took meanwhile.
fn record(dataset: &Path) -> (Value, f64) {
    let mut lab = Lab::up(Config::new(Datapath::Netfilter)).expect("a lab");
    let mut options = ProbeOptions::new(binary("weighbridge-probe"), dataset);
    options.arguments.push("--measure-self".to_owned());
    let probes = lab.start_probes(&options).expect("probes");
    let before = Processors::read().expect("/proc/stat");
    let run = lab
        .iperf3(&IperfOptions::tcp("client", SECONDS))
        .expect("iperf3");
    let after = Processors::read().expect("/proc/stat");
    run.write(dataset, RUN, "egress-gateway", None)
        .expect("a run");
    probes.stop().expect("an end");
    lab.delete_objects();
    lab.write_objects(dataset).expect("objects");
    let stolen_s = (after.stolen_ns - before.stolen_ns) / 1e9;
    (run.json().expect("iperf3's JSON"), stolen_s)
}

fn client(run: &Value) -> &Value {
    let mut subjects = run["subjects"].as_array().into_iter().flatten();
    let client = subjects.find(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        subject["is_pod"] == true && name.ends_with("/client")
    });
    client.unwrap_or_else(|| panic!("no client in {run:#}"))
}

fn part_of<'a>(run: &'a Value, name: &str) -> &'a Value {
    let mut parts = run["parts"].as_array().into_iter().flatten();
    let part = parts.find(|part| part["part"] == name);
    part.unwrap_or_else(|| panic!("no part {name} in {run:#}"))
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}
