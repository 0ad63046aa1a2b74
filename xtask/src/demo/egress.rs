//! The traffic of the demonstration: both datapaths, a pod with a policy and one without, TCP and
//! UDP.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use lab::{
    Config, Connections, Datapath, Family, IperfOptions, IperfProtocol, Lab, LoadServer,
    ProbeOptions,
};

use super::Tools;
use super::cost::{self, Line, Unit};

/// The clusters, one dataset each.
pub const DATAPATHS: [Datapath; 2] = [Datapath::Netfilter, Datapath::Bpf];
/// Case and the pod that it is about.
const PODS: [(&str, &str); 2] = [("gateway", "client"), ("base", "base")];
const PROTOCOLS: [(&str, IperfProtocol); 2] = [
    ("tcp", IperfProtocol::Tcp),
    ("udp", IperfProtocol::Udp { rate_mbit: 100 }),
];

const PORT: u16 = 9000;
const IPERF_SECONDS: u32 = 5;
const SHORT_CONNECTIONS: u32 = 100;
/// Between cases, so that each has intervals of its own.
const PAUSE: Duration = Duration::from_millis(1200);

/// A case that was run.
pub struct Case {
    /// Id of its run in the dataset.
    pub run: String,
    /// `netfilter` or `bpf`.
    pub datapath: &'static str,
    /// `gateway` or `base`.
    pub way: &'static str,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The pod as `namespace/name`.
    pub pod: String,
}

/// How many steps [`run`] reports.
pub fn steps() -> u64 {
    (DATAPATHS.len() * PODS.len() * PROTOCOLS.len()) as u64
}

/// Runs all cases, one lab after the other, each into a dataset of its own.
pub fn run(tools: &Tools, bar: &ProgressBar) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for datapath in DATAPATHS {
        let name = datapath.name();
        bar.set_message(format!("{name}: bringing the lab up"));
        bar.tick();
        let mut config = Config::new(datapath);
        config.object = Some(tools.object.clone());
        let mut lab = Lab::up(config)?;
        let server = lab.start_server(PORT)?;
        let dataset = tools.dataset_of(name);
        let mut probes = ProbeOptions::new(&tools.probe, &dataset);
        probes.arguments.push("--measure-self".to_owned());
        let probes = lab.start_probes(&probes)?;
        for (way, pod) in PODS {
            for (protocol, iperf) in PROTOCOLS {
                bar.set_message(format!(
                    "{name}, {way}, {protocol}: iperf3 and short connections"
                ));
                bar.tick();
                let case = Case {
                    run: format!("{name}-{way}-{protocol}"),
                    datapath: name,
                    way,
                    protocol,
                    pod: lab.qualified_name(pod),
                };
                drive(tools, &lab, &server, &case, pod, iperf)
                    .with_context(|| format!("case {}", case.run))?;
                cases.push(case);
                bar.inc(1);
                thread::sleep(PAUSE);
            }
        }
        probes.stop()?;
        lab.delete_objects();
        lab.write_objects(&dataset)?;
        lab.down()?;
    }
    Ok(cases)
}

/// Prints what each case costs.
pub fn print_costs(tools: &Tools, cases: &[Case]) -> anyhow::Result<u8> {
    let lines: Vec<Line> = cases
        .iter()
        .map(|case| Line {
            labels: [case.datapath, case.way, case.protocol]
                .map(str::to_owned)
                .into(),
            dataset: tools.dataset_of(case.datapath),
            run: case.run.clone(),
        })
        .collect();
    let labels = ["datapath", "case", "protocol"];
    cost::print(tools, &labels, &lines, Unit::ClientPacket)
}

fn drive(
    tools: &Tools,
    lab: &Lab,
    server: &LoadServer,
    case: &Case,
    pod: &str,
    protocol: IperfProtocol,
) -> anyhow::Result<()> {
    let short = Connections::short(
        pod,
        case.protocol,
        server.socket(Family::V4),
        SHORT_CONNECTIONS,
    );
    let sent = lab.connect(&short)?;
    let iperf = IperfOptions {
        protocol,
        ..IperfOptions::tcp(pod, IPERF_SECONDS)
    };
    let mut run = lab.iperf3(&iperf)?;
    // The short connections belong to the case as well.
    run.start_us = sent
        .iter()
        .map(|one| one.start_us)
        .fold(run.start_us, i64::min);
    let name = format!(
        "lab-{}-egress-{}-{}",
        case.datapath, case.way, case.protocol
    );
    run.write(
        &tools.dataset_of(case.datapath),
        &case.run,
        &name,
        Some(server.log()),
    )?;
    Ok(())
}
