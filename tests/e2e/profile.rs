//! Does the profile show what a datapath does? Real load through real datapaths, sampled.
//!
//! The lab knows which work it makes the kernel do: source NAT by netfilter or by its own eBPF
//! program, and none once the rule is gone. The same load from a pod beside the gateway is the
//! control.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use analyzer::profile::{Component, Profile};
use analyzer::stats::Interval;
use analyzer::stats::distribution::binomial_at_least;
use analyzer::stats::proportion::wilson;
use lab::{Config, Datapath, Family, IperfOptions, IperfRun, Lab, Placement, ProbeOptions, Probes};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::profile::{ProfileMode, ProfileRow};

use crate::dataset;

/// Samples a second and CPU.
const HZ: &str = "1999";
/// Duration of each load, in seconds.
const SECONDS: u32 = 6;
/// The same where what goes with the rule is a thousandth of the work.
const LONG_SECONDS: u32 = 10;
const RATE_MBIT: u32 = 300;
/// Small datagrams, so that packets cost more than their payload.
const PAYLOAD: &str = "200";
const CONFIDENCE: f64 = 0.999;
/// Of the one-sided test that a share is larger.
const LEVEL: f64 = 0.001;
/// What eBPF programs call to change a packet's addresses and ports, net/core/filter.c.
const REWRITERS: [&str; 3] = [
    "bpf_skb_store_bytes",
    "bpf_l3_csum_replace",
    "bpf_l4_csum_replace",
];

#[test]
fn netfilter_translates_as_long_as_there_is_a_rule() {
    let seen = Scene::play(Datapath::Netfilter, SECONDS);
    // What rewrites a packet, and nothing else does.
    let translates = |row: &ProfileRow| row.stack.contains("nf_nat_manip_pkt");
    seen.check_share_goes_with_the_rule(translates);
    let netfilter = seen
        .with_rule
        .share(|row| component(row).group() == "netfilter");
    let programs = seen.with_rule.share(is_snat_program);
    println!("netfilter {netfilter:?}, SNAT program {programs:?}");
    assert!(
        netfilter.low > 0.01,
        "netfilter has no share: {netfilter:?}"
    );
    assert_eq!(
        seen.with_rule.count(is_snat_program),
        0,
        "the eBPF datapath's program ran"
    );
}

#[test]
fn the_ebpf_datapath_shows_in_its_program() {
    let seen = Scene::play(Datapath::Bpf, LONG_SECONDS);
    seen.with_rule.print();
    let program = seen.with_rule.share(is_snat_program);
    let is_nat = |row: &ProfileRow| component(row).to_string() == "netfilter nat";
    let nat = seen.with_rule.share(is_nat);
    println!("SNAT program {program:?}, netfilter's NAT {nat:?}");
    // It stays attached and looks its packets up, so that this part of its share stays when the rule
    // goes; what it calls to rewrite them goes with the rule.
    let rewrites = |row: &ProfileRow| {
        is_snat_program(row) && REWRITERS.iter().any(|name| row.stack.contains(name))
    };
    seen.check_share_goes_with_the_rule(rewrites);
    // What netfilter does here is none of NAT's work either way.
    assert!(
        program.low > 0.002,
        "the SNAT program has no share: {program:?}"
    );
    assert!(
        nat.high < program.low,
        "netfilter translates as well: {nat:?}"
    );
}

#[test]
fn without_cap_syslog_stacks_are_hidden_and_the_probe_says_what_to_add() {
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let wrapper = folder.path().join("probe-without-syslog");
    let probe = dataset::binary("weighbridge-probe");
    let script = format!(
        "#!/bin/sh\nexec setpriv --bounding-set=-syslog --inh-caps=-syslog {} \"$@\"\n",
        probe.display()
    );
    std::fs::write(&wrapper, script).expect("a script");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&wrapper, executable).expect("an executable script");
    let hides = std::process::Command::new("setpriv")
        .args([
            "--bounding-set=-syslog",
            "--inh-caps=-syslog",
            "grep",
            "-c",
            "-v",
            "^0* ",
        ])
        .arg("/proc/kallsyms")
        .output()
        .expect("setpriv: apt-get install util-linux");
    assert_eq!(
        String::from_utf8_lossy(&hides.stdout).trim(),
        "0",
        "this machine shows its symbols to everybody: sysctl -w kernel.perf_event_paranoid=2"
    );

    let lab = Lab::up(Config::new(Datapath::Netfilter)).expect("a lab");
    let probes = lab
        .start_probes(&options(&wrapper, dataset.path(), "worker"))
        .expect("nothing but the profile's names needs CAP_SYSLOG");
    let (_, log) = probes.logs().remove(0);
    load(&lab, "client", SECONDS);
    probes.stop().expect("the probe ends well");
    let log = std::fs::read_to_string(log).expect("the probe's log");
    assert!(log.contains("add capability SYSLOG"), "{log}");
    let rows = dataset::rows::<ProfileRow>(dataset.path());
    let kernel = rows.iter().filter(|row| row.mode == ProfileMode::Kernel);
    let stacks: Vec<&str> = kernel.map(|row| row.stack.as_str()).collect();
    assert!(!stacks.is_empty(), "no samples in the kernel");
    assert!(
        stacks.iter().all(|stack| *stack == "[hidden]"),
        "{stacks:?}"
    );
    assert!(
        rows.iter()
            .any(|row| row.mode == ProfileMode::Idle || row.mode == ProfileMode::User)
    );
}

/// What was sampled while the same load ran four times.
struct Scene {
    /// Behind the gateway, which translates.
    with_rule: Sampled,
    /// Behind the gateway, which does not.
    without_rule: Sampled,
    /// Beside the gateway, at the same two times.
    control: [Sampled; 2],
}

/// The rows of one load.
struct Sampled(Vec<ProfileRow>);

impl Scene {
    fn play(datapath: Datapath, seconds: u32) -> Self {
        let dataset = tempfile::tempdir().expect("a temporary directory");
        let mut lab = Lab::up(Config::new(datapath)).expect("a lab");
        let probe = dataset::binary("weighbridge-probe");
        let probes: Probes = lab
            .start_probes(&options(&probe, dataset.path(), "gateway"))
            .expect("a probe");
        let with_rule = load(&lab, "client", seconds);
        let control_with = load(&lab, "base", seconds);
        let demanded = lab.demanded("gateway");
        lab.route_back("client", "gateway").expect("a way back");
        lab.program(Some(Placement {
            snat: None,
            ..demanded
        }))
        .expect("a datapath that translates nothing");
        let without_rule = load(&lab, "client", seconds);
        let control_without = load(&lab, "base", seconds);
        probes.stop().expect("the probe ends well");
        let rows = dataset::rows::<ProfileRow>(dataset.path());
        let ledger = dataset::rows::<LedgerRow>(dataset.path());
        let mut books = ledger.iter().filter(|row| row.vantage == Vantage::Profile);
        let counted: i64 = books.clone().map(|row| row.counted.buffers).sum();
        assert_eq!(counted, rows.iter().map(|row| row.samples).sum::<i64>());
        assert!(books.all(|row| row.ring_drops == 0), "samples were lost");
        let during = |run: &IperfRun| {
            let inside = |row: &&ProfileRow| {
                row.interval_start_us >= run.start_us && row.interval_end_us <= run.end_us
            };
            Sampled(rows.iter().filter(inside).cloned().collect())
        };
        Self {
            with_rule: during(&with_rule),
            without_rule: during(&without_rule),
            control: [during(&control_with), during(&control_without)],
        }
    }

    /// The share is shown to be larger with the rule than without, and the control keeps what it has.
    fn check_share_goes_with_the_rule(&self, of: impl Fn(&ProfileRow) -> bool + Copy) {
        let (with, without) = (self.with_rule.share(of), self.without_rule.share(of));
        let [before, after] = [self.control[0].share(of), self.control[1].share(of)];
        println!("with {with:?}, without {without:?}, control {before:?} and {after:?}");
        self.with_rule.print();
        let p = self.with_rule.p_no_larger(&self.without_rule, of);
        assert!(p < LEVEL, "the share stays without the rule: p = {p}");
        let p = self.control[1].p_no_larger(&self.without_rule, of);
        assert!(p < LEVEL, "the control lost its share as well: p = {p}");
        assert!(
            before.low < after.high && after.low < before.high,
            "the control changed"
        );
    }
}

impl Sampled {
    fn count(&self, of: impl Fn(&ProfileRow) -> bool) -> u64 {
        let counted = self.0.iter().filter(|row| of(row));
        counted.map(|row| row.samples.unsigned_abs()).sum()
    }

    /// Wilson's interval of the share in what processors did but idle.
    fn share(&self, of: impl Fn(&ProfileRow) -> bool) -> Interval {
        wilson(self.count(of), self.busy(), CONFIDENCE).expect("samples under load")
    }

    fn busy(&self) -> u64 {
        self.count(|row| row.mode != ProfileMode::Idle)
    }

    /// Exact p of a share that is no larger than the other's: of the samples that both have, each is
    /// here as likely as any sample is.
    fn p_no_larger(&self, other: &Self, of: impl Fn(&ProfileRow) -> bool + Copy) -> f64 {
        let (here, there) = (self.count(of), other.count(of));
        let of_here = self.busy() as f64 / (self.busy() + other.busy()) as f64;
        binomial_at_least(here, here + there, of_here)
    }

    fn print(&self) {
        let mut profile = Profile::default();
        for row in &self.0 {
            profile.add(row);
        }
        for share in profile.shares(0.95) {
            println!("  {:5.1} %  {}", 100.0 * share.share, share.component);
        }
    }
}

fn component(row: &ProfileRow) -> Component {
    analyzer::profile::classify(&row.stack, row.mode, &row.command)
}

fn is_snat_program(row: &ProfileRow) -> bool {
    component(row) == Component::Bpf("lab_egress".to_owned())
}

fn options(probe: &Path, dataset: &Path, node: &str) -> ProbeOptions {
    ProbeOptions {
        interval: "500ms".to_owned(),
        nodes: vec![node.to_owned()],
        arguments: ["--profile", HZ].map(str::to_owned).to_vec(),
        ..ProbeOptions::new(probe, dataset)
    }
}

fn load(lab: &Lab, pod: &str, seconds: u32) -> IperfRun {
    let load = IperfOptions {
        family: Family::V4,
        arguments: ["--length", PAYLOAD].map(str::to_owned).to_vec(),
        ..IperfOptions::udp(pod, seconds, RATE_MBIT)
    };
    lab.iperf3(&load).expect("iperf3: apt-get install iperf3")
}
