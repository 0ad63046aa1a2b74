//! The probe under exactly the capabilities that its container has, on real traffic.

use std::fs;
use std::path::Path;

use lab::{Config, Connections, Datapath, Family, IperfOptions, Lab, ProbeOptions};
use trace_schema::ledger::{LedgerRow, Vantage};

use crate::dataset;

/// Bits of NET_ADMIN, PERFMON and BPF (`include/uapi/linux/capability.h`).
const OF_THE_CONTAINER: u64 = 1 << 12 | 1 << 38 | 1 << 39;
/// As a runtime starts the container: user 0, a bounding set of three, nothing inherited, no gain by
/// any file.
const CONTAINER: [&str; 4] = [
    "setpriv",
    "--bounding-set=-all,+bpf,+perfmon,+net_admin",
    "--inh-caps=-all",
    "--no-new-privs",
];

/// Connections that each load makes, by two loads, and iperf3's two.
const EACH: u32 = 100;
const MADE: u64 = 2 * EACH as u64 + 2;
const DRAWN_TWICE: u64 = 6;

#[test]
fn the_probe_needs_no_more_than_its_container_may() {
    check(&dataset::binary("weighbridge-probe"));
}

/// A probe with three capabilities tells of as many connections as one with all, but for those whose
/// source port was drawn twice.
pub fn check(probe: &Path) {
    e2e::require_root();
    for datapath in [Datapath::Netfilter, Datapath::Bpf] {
        for launcher in [[].as_slice(), &CONTAINER] {
            let seen = connections(probe, datapath, launcher);
            println!("{datapath:?} under {launcher:?}: {seen:?} connections");
            assert!(
                seen > Some(MADE - DRAWN_TWICE),
                "{datapath:?} under {launcher:?}: {seen:?}"
            );
        }
    }
}

/// Connections by verdict, all of which are well, as recorded by probes that this command started.
fn connections(probe: &Path, datapath: Datapath, launcher: &[&str]) -> Option<u64> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(datapath);
    config.object = Some(e2e::ebpf_object("lab"));
    let lab = Lab::up(config).unwrap();
    let server = lab.start_server(9_000).unwrap();
    let mut options = ProbeOptions::new(probe, folder.path());
    options.launcher = launcher.iter().map(|word| (*word).to_owned()).collect();
    let probes = lab.start_probes(&options).unwrap();
    if !launcher.is_empty() {
        for (node, id) in probes.ids() {
            assert_eq!(capabilities(id), [OF_THE_CONTAINER; 3], "on {node}");
        }
    }
    for (pod, protocol) in [("client", "tcp"), ("base", "udp")] {
        let load = Connections::short(pod, protocol, server.socket(Family::V4), EACH);
        lab.connect(&load).unwrap();
    }
    lab.iperf3(&IperfOptions::tcp("client", 1)).unwrap();
    probes.stop().unwrap();
    let books = dataset::rows::<LedgerRow>(folder.path()).into_iter();
    let asked = books.filter(|row| matches!(row.vantage, Vantage::Wire | Vantage::Cpu));
    let misses: Vec<Option<i64>> = asked.map(|row| row.hook_misses).collect();
    assert!(
        !misses.is_empty() && misses.iter().all(Option::is_some),
        "{misses:?}"
    );
    lab.write_objects(folder.path()).unwrap();
    let (code, report) = dataset::weighbridge("egress", folder.path(), &[]);
    assert_eq!(code, Some(0), "{report:#}");
    report["verdicts"]["ok"]["connections"].as_u64()
}

/// Permitted, effective and bounding set of a process.
fn capabilities(process: u32) -> [u64; 3] {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    ["CapPrm:", "CapEff:", "CapBnd:"].map(|field| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    })
}
