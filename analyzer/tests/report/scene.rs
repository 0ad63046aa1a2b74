//! Findings of campaigns that never were, of any size and always the same: what a page must bear.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use analyzer::books::{Balance, Books, BooksReport};
use analyzer::compare::{Options, compare};
use analyzer::cost::{
    ComponentCost, Components, Cost, CostReport, CycleBasis, Denominators, Part, PartCost, PerUnit,
    RunCost, UserCost,
};
use analyzer::measurements::{
    Measured, Measurements, Metric, Origin, Point, Quantity, RunMeasurements, Series,
};
use analyzer::report::campaign::{Findings, InputFile, InputGroup};
use analyzer::stats::Interval;
use analyzer::stats::distance::expected_distance;
use analyzer::verdict::{
    EgressReport, Failover, LeakWindow, Moment, NotJudged, Outcome, PodRollup, PolicyRollup,
    SeenExit, Tally, Verdict,
};
use trace_schema::flows::Direction;
use trace_schema::ledger::{Count, LedgerRow, Vantage};
use trace_schema::manifest::RunManifest;

const START_US: i64 = 1_780_000_000_000_000;
const MINUTE_US: i64 = 60_000_000;

/// How large a campaign is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Cases of an egress study.
    pub cases: usize,
    /// Runs of each.
    pub runs: usize,
    /// Pods with egress traffic.
    pub pods: usize,
    /// Numbers of virtual users of an ingress study; none leaves it out.
    pub users: &'static [u32],
}

/// A campaign of both studies.
pub fn findings(size: Size) -> Findings {
    let mut manifests = egress_runs(size);
    manifests.extend(ingress_runs(size));
    let mut noise = Noise(7);
    let runs: Vec<RunMeasurements> = manifests
        .iter()
        .map(|manifest| measured(manifest, &mut noise))
        .collect();
    let measurements = Measurements {
        runs,
        notes: vec!["nodes worker and gateway share one kernel: counted once".to_owned()],
    };
    let options = Options {
        draws: 1_000,
        ..Options::default()
    };
    // Tests of many long samples take a debug build minutes, and show nothing more on a page.
    let compared = match size.runs {
        ..=8 => compare(&measurements, &options).map_err(|error| error.to_string()),
        _ => Err("there are too many runs".to_owned()),
    };
    Findings {
        name: "lab-egress-and-ingress".to_owned(),
        egress: Ok(egress(size.pods)),
        split: Err("the dataset has no table http".to_owned()),
        cost: Ok(cost(&manifests, &mut noise)),
        compared,
        books: books(),
        measurements,
        manifests,
        notes: Vec::new(),
        inputs: vec![
            InputGroup::new("flows", files("flows")),
            InputGroup::new("runs", files("runs")),
        ],
    }
}

/// A dataset that holds nothing but a table.
pub fn nothing() -> Findings {
    let reason = || "the dataset has runs and no tables".to_owned();
    Findings {
        name: "empty".to_owned(),
        measurements: Measurements::default(),
        egress: Err(reason()),
        split: Err(reason()),
        cost: Err(reason()),
        compared: Err("the dataset has no completed run".to_owned()),
        books: Books::default().report(),
        manifests: Vec::new(),
        notes: Vec::new(),
        inputs: Vec::new(),
    }
}

/// Numbers that look like chance and are the same each time.
struct Noise(u64);

impl Noise {
    /// About −1 to 1, most near 0.
    fn next(&mut self) -> f64 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            sum += (self.0 >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
        }
        sum / 2.0
    }
}

fn egress_runs(size: Size) -> Vec<RunManifest> {
    let mut manifests = Vec::new();
    for repetition in 0..size.runs {
        for case in 0..size.cases {
            let number = i64::try_from(repetition * size.cases + case).unwrap();
            let start_us = START_US + number * 13 * MINUTE_US;
            let place = if case % 2 == 0 { "gateway" } else { "base" };
            let datapath = if case % 4 < 2 { "netfilter" } else { "bpf" };
            let id = format!("run-{:03}", number + 1);
            let mut manifest =
                RunManifest::new(&id, "iperf3", (start_us, start_us + 12 * MINUTE_US));
            manifest.case = format!("{datapath}-{place}-with-{}-pairs", case / 4 * 8 + 1);
            manifest.repetition = u32::try_from(repetition + 1).unwrap();
            described(&mut manifest);
            manifests.push(manifest);
        }
    }
    manifests
}

fn ingress_runs(size: Size) -> Vec<RunManifest> {
    let mut manifests = Vec::new();
    for (number, users) in size.users.iter().flat_map(|users| [users; 4]).enumerate() {
        let start_us = START_US + 86_400_000_000 + i64::try_from(number).unwrap() * 3 * MINUTE_US;
        for (index, plane) in ["envoy", "nginx"].into_iter().enumerate() {
            let start_us = start_us + i64::try_from(index).unwrap() * MINUTE_US * 400;
            let id = format!("{plane}-{number:02}");
            let mut manifest = RunManifest::new(&id, "k6", (start_us, start_us + 2 * MINUTE_US));
            manifest.case = plane.to_owned();
            manifest.repetition = u32::try_from(number % 4 + 1).unwrap();
            manifest
                .factors
                .insert("users".to_owned(), users.to_string());
            described(&mut manifest);
            manifests.push(manifest);
        }
    }
    manifests
}

fn described(manifest: &mut RunManifest) {
    manifest.campaign = "lab-egress-and-ingress".to_owned();
    manifest.kernel = "6.8.0-45-generic".to_owned();
    manifest.tool_version = "iperf 3.12 (cJSON 1.7.15)".to_owned();
    manifest
        .factors
        .insert("datapath".to_owned(), manifest.case.clone());
    let offloads = [
        "rx-checksumming",
        "tx-checksumming",
        "generic-receive-offload",
    ];
    manifest.offloads = BTreeMap::from([("eth0".to_owned(), offloads.map(str::to_owned).to_vec())]);
    manifest.environment = BTreeMap::from([
        (
            "cpu_model".to_owned(),
            "AMD EPYC 7763 64-Core Processor".to_owned(),
        ),
        ("tcp_congestion_control".to_owned(), "cubic".to_owned()),
        ("mtu.eth0".to_owned(), "1500".to_owned()),
    ]);
}

fn measured(manifest: &RunManifest, noise: &mut Noise) -> RunMeasurements {
    let mut run = RunMeasurements::of(manifest);
    let shift = manifest.case.len() as f64 * 0.01;
    let outlier = if manifest.id == "run-003" { 0.7 } else { 1.0 };
    let users: Option<f64> = manifest
        .factors
        .get("users")
        .map(|users| users.parse().unwrap());
    let mut note = |quantity, value: f64| {
        let origin = Origin {
            files: vec![
                format!("runs/{}/iperf3.json", manifest.id),
                "resources/".to_owned(),
            ],
            by: "a function of the files".to_owned(),
        };
        let metric = Metric::whole(quantity);
        run.measured
            .insert(metric.clone(), Measured::new(metric, Ok(value), &origin));
    };
    let load = users.map_or(0.6, |users| users.log10() / 4.0 + 0.1);
    note(
        Quantity::CpuPercent,
        100.0 * load * (1.0 + 0.1 * noise.next() + shift),
    );
    note(
        Quantity::Memory,
        (4.0 + load) * 1.07e9 * (1.0 + 0.01 * noise.next()),
    );
    match users {
        None => {
            note(
                Quantity::Goodput,
                9.1e9 * outlier * (1.0 + 0.02 * noise.next() - shift),
            );
            note(
                Quantity::RttMean,
                310.0 * (1.0 + 0.05 * noise.next() + shift),
            );
            note(Quantity::RttP99, 1_900.0 * (1.0 + 0.2 * noise.next()));
            note(Quantity::Retransmits, (40.0 * (1.0 + noise.next())).round());
        }
        Some(users) => {
            note(
                Quantity::RequestRate,
                users * 90.0 * (1.0 + 0.05 * noise.next()),
            );
            split(&mut run, users, noise);
        }
    }
    run
}

/// Shares that a fair splitter could show, over the whole and in windows.
fn split(run: &mut RunMeasurements, users: f64, noise: &mut Noise) {
    let requests = users * 90.0 * 120.0;
    let origin = Origin {
        files: vec![
            "http/".to_owned(),
            "ledger/".to_owned(),
            "objects/".to_owned(),
        ],
        by: "responses of the backend ÷ those of all".to_owned(),
    };
    let mut share = |requests: f64| 0.6 + noise.next() * (0.6 * 0.4 / requests).sqrt() * 1.7;
    let whole = share(requests);
    let windows: Vec<(Moment, f64)> = (0..24)
        .map(|window| {
            (
                Moment(run.from.0 + window * 5_000_000),
                share(requests / 24.0),
            )
        })
        .collect();
    let expected = expected_distance(requests as u64, 0.6).unwrap();
    let distance = (whole - 0.6).abs();
    let mut note = |metric: Metric, value: f64| {
        run.measured
            .insert(metric.clone(), Measured::new(metric, Ok(value), &origin));
    };
    note(Metric::of(Quantity::SplitShare, "app/backend-a:80"), whole);
    note(
        Metric::of(Quantity::SplitShare, "app/backend-b:80"),
        1.0 - whole,
    );
    note(Metric::of(Quantity::SplitDue, "app/backend-a:80"), 0.6);
    note(Metric::of(Quantity::SplitDue, "app/backend-b:80"), 0.4);
    note(Metric::whole(Quantity::SplitDistance), distance);
    note(Metric::whole(Quantity::SplitExpectedDistance), expected);
    note(
        Metric::whole(Quantity::SplitDistanceRatio),
        distance / expected,
    );
    let of_window = expected_distance((requests / 24.0) as u64, 0.6).unwrap();
    let series = |metric: Metric, value: &dyn Fn(f64) -> f64| Series {
        unit: metric.unit(),
        metric,
        points: windows
            .iter()
            .map(|(at, share)| Point {
                at: *at,
                value: value(*share),
            })
            .collect(),
        origin: origin.clone(),
        within: None,
    };
    run.series = vec![
        series(
            Metric::of(Quantity::SplitShare, "app/backend-a:80"),
            &|share| share,
        ),
        series(
            Metric::of(Quantity::SplitShare, "app/backend-b:80"),
            &|share| 1.0 - share,
        ),
        series(Metric::whole(Quantity::SplitDistance), &|share| {
            (share - 0.6).abs()
        }),
        series(Metric::whole(Quantity::SplitExpectedDistance), &|_| {
            of_window
        }),
    ];
}

fn cost(manifests: &[RunManifest], noise: &mut Noise) -> CostReport {
    let runs = manifests.iter().map(|manifest| {
        let mut cycles = |mean: f64| mean * (1.0 + 0.1 * noise.next());
        let parts = [
            (Part::KernelReceive, cycles(2_100.0)),
            (Part::KernelTransmit, cycles(140.0)),
            (Part::Cni, cycles(320.0)),
            (Part::Application, cycles(1_500.0)),
            (Part::Probe, cycles(60.0)),
            (Part::NodeServices, cycles(90.0)),
            (Part::Other, cycles(210.0)),
            (Part::Outside, cycles(700.0)),
        ];
        let of = |cycles: f64| Cost {
            per_wire_packet: PerUnit {
                cpu_ns: Some(cycles / 2.6),
                cycles: Some(cycles),
            },
            // A gateway's case passes three uplinks.
            per_client_packet: PerUnit {
                cpu_ns: Some(3.0 * cycles / 2.6),
                cycles: Some(3.0 * cycles),
            },
            ..Cost::default()
        };
        RunCost {
            run: manifest.id.clone(),
            case: manifest.case.clone(),
            from: Moment(manifest.start_us),
            to: Moment(manifest.end_us),
            seconds: 720.0,
            completed: true,
            result: Outcome::Pass,
            inconclusive_because: Vec::new(),
            notes: Vec::new(),
            cycle_source: CycleBasis::Reference,
            denominators: Denominators::default(),
            charged: of(parts.iter().map(|(_, cycles)| cycles).sum()),
            parts: parts
                .map(|(part, cycles)| PartCost {
                    part,
                    cost: of(cycles),
                    memory: None,
                })
                .to_vec(),
            probe_programs: None,
            idle_cpu_ns: None,
            subjects: Vec::new(),
            nodes: Vec::new(),
            books: Vec::new(),
            losses: Vec::new(),
            profile: Some(profile(noise)),
        }
    });
    CostReport {
        result: Outcome::Pass,
        cycle_source: CycleBasis::Reference,
        notes: vec![
            "reference cycles are CPU time × the rate of the time-stamp counter".to_owned(),
        ],
        cases: Vec::new(),
        runs: runs.collect(),
    }
}

/// What samples of a run would tell.
fn profile(noise: &mut Noise) -> Components {
    let kernel = [
        ("tcp", 0.14),
        ("netfilter", 0.09),
        ("memory", 0.12),
        ("driver", 0.03),
        ("veth", 0.05),
        ("ip", 0.08),
        ("tunnel", 0.06),
        ("bpf", 0.07),
        ("scheduler", 0.08),
        ("gro/gso", 0.03),
        ("socket", 0.04),
        ("udp", 0.005),
        ("other kernel", 0.06),
    ];
    let mut share = |mean: f64| mean * (1.0 + 0.1 * noise.next());
    let components = kernel.map(|(group, mean)| {
        let share = share(mean);
        ComponentCost {
            component: group.to_owned(),
            group: group.to_owned(),
            samples: (share * 10_000.0) as u64,
            share,
            share_interval: Interval {
                low: share - 0.01,
                high: share + 0.01,
            },
            per_wire_packet: PerUnit::default(),
            per_client_packet: PerUnit::default(),
            per_response: PerUnit::default(),
        }
    });
    let left = 1.0 - components.iter().map(|one| one.share).sum::<f64>();
    let user_space = [
        (Part::Application, 0.7),
        (Part::Probe, 0.1),
        (Part::Cni, 0.2),
    ];
    let user_space = user_space.map(|(part, of_it)| UserCost {
        part,
        samples: (left * of_it * 10_000.0) as u64,
        share: left * of_it,
        per_wire_packet: PerUnit::default(),
        per_client_packet: PerUnit::default(),
    });
    Components {
        sources: Vec::new(),
        busy_samples: 10_000,
        idle_samples: 5_000,
        charged_share: 1.0,
        covered_share: 1.0,
        repeated_samples: 0,
        components: components.to_vec(),
        user_space: user_space.to_vec(),
    }
}

fn egress(pods: usize) -> EgressReport {
    let tally = Tally {
        connections: 12,
        bytes: 48_000_000,
        packets: 33_000,
    };
    let node_exit = SeenExit {
        address: IpAddr::V4(Ipv4Addr::new(172, 18, 0, 2)),
        node: "worker".to_owned(),
        interface: "eth0".to_owned(),
    };
    let at = |pod: usize, ms: i64| {
        Moment(START_US + i64::try_from(pod).unwrap() * 3_700_000 + ms * 1_000)
    };
    let name = |pod: usize| {
        format!(
            "application-namespace-{}/client-deployment-7d9ad7d5-{pod:03}",
            pod % 3
        )
    };
    let verdicts = [
        Verdict::NodeIpLeak,
        Verdict::Dropped,
        Verdict::WrongEgressIp,
    ];
    EgressReport {
        schema_version: 1,
        result: Outcome::Fail,
        verdicts: BTreeMap::from([("ok", tally), ("node_ip_leak", tally)]),
        policies: vec![
            PolicyRollup {
                policy: "Egress/web".to_owned(),
                result: Outcome::Fail,
                inconclusive_because: Vec::new(),
                expected: vec!["172.18.0.100 on gateway".to_owned()],
                exits: Vec::new(),
                verdicts: BTreeMap::from([("ok", tally), ("node_ip_leak", tally)]),
                first: at(0, 0),
                last: at(pods, 0),
            },
            PolicyRollup {
                policy: "CiliumEgressGatewayPolicy/shop".to_owned(),
                result: Outcome::Inconclusive,
                inconclusive_because: vec![
                    "7 packets were turned away by a full map at worker, vantage pod".to_owned(),
                ],
                expected: vec!["172.18.0.101 on gateway2".to_owned()],
                exits: Vec::new(),
                verdicts: BTreeMap::from([("ok", tally)]),
                first: at(0, 0),
                last: at(pods, 0),
            },
        ],
        pods: (0..pods)
            .map(|pod| PodRollup {
                pod: name(pod),
                node: "worker".to_owned(),
                policies: vec!["Egress/web".to_owned()],
                verdicts: BTreeMap::from([("ok", tally)]),
                first: at(pod, 0),
                last: at(pod, 90_000),
            })
            .collect(),
        leak_windows: (0..pods)
            .step_by(2)
            .map(|pod| LeakWindow {
                pod: name(pod),
                policy: "Egress/web".to_owned(),
                verdict: verdicts[pod / 2 % 3],
                exit: (pod % 4 == 0).then(|| node_exit.clone()),
                first: at(pod, 12),
                last: at(pod, 12 + 140 * i64::try_from(pod % 9).unwrap()),
                tally,
                in_grace: 2,
            })
            .collect(),
        failovers: vec![
            failover("Egress/web", 800, Some(2_450)),
            failover(
                "CiliumEgressGatewayPolicy/shop-with-a-long-name",
                1_900,
                Some(1_200),
            ),
            failover("Egress/api", 40, None),
        ],
        anomalies: vec![
            "Egress/web: podSelector outside appliedTo selects the whole namespace".to_owned(),
        ],
        not_judged: NotJudged::default(),
        losses: Vec::new(),
        peers: None,
        connections: None,
    }
}

fn failover(policy: &str, last_ms: i64, first_ms: Option<i64>) -> Failover {
    let at = |ms: i64| Moment(START_US + ms * 1_000);
    Failover {
        policy: policy.to_owned(),
        at: at(1_500),
        from: "172.18.0.100 on gateway".to_owned(),
        to: "172.18.0.100 on gateway2".to_owned(),
        last_by_old: Some(at(last_ms)),
        first_by_new: first_ms.map(at),
        hole_us: first_ms.map(|first_ms| (first_ms - last_ms) * 1_000),
        survived: 3,
        broken: 2,
        new: 7,
    }
}

fn books() -> BooksReport {
    let mut books = Books::default();
    for (node, missing) in [("worker", 0), ("gateway", 3), ("gateway2", 4_000)] {
        for direction in [Direction::Egress, Direction::Ingress] {
            for second in 0..3 {
                let interval_us = (
                    START_US + second * 1_000_000,
                    START_US + (second + 1) * 1_000_000,
                );
                books.add_ledger(&LedgerRow {
                    interface: Some("eth0".to_owned()),
                    direction: Some(direction),
                    link_header_bytes: 14,
                    counted: Count {
                        packets: 10_000,
                        bytes: 9_000_000,
                        buffers: 800,
                        buffer_bytes: 8_500_000,
                    },
                    kernel_packets: Some(10_000 + missing),
                    kernel_bytes: Some(9_000_000 + 140_000 + missing * 914),
                    boundary_packets: Some(20),
                    boundary_bytes: Some(18_280),
                    ..LedgerRow::idle(
                        interval_us,
                        node,
                        "2f1c9ad0-5a0b-4f55-9f4e-4c8f9b6f0a01",
                        Vantage::Uplink,
                    )
                });
            }
        }
    }
    let report = books.report();
    assert_eq!(report.balance, Balance::Off);
    report
}

fn files(group: &str) -> Vec<InputFile> {
    (0..3)
        .map(|number| InputFile {
            path: format!("{group}/date=2026-05-28/node=worker/{number}.parquet"),
            bytes: 1_000 * (number + 1),
            sha256: format!("{number:064x}"),
        })
        .collect()
}
