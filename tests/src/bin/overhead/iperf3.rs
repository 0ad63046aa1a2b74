//! Loads of iperf3: its client in the cgroup at the probe's end, its server at the other, each on a
//! CPU of its own, since the scheduler's choice would differ from run to run.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::bench::{Bench, FAR, Load};
use crate::estimate::Run;
use crate::machine::{Running, busy_ns, in_cgroup, inside, on_cpu, switches};

const CLIENT_CPU: usize = 0;
const SERVER_CPU: usize = 1;

/// One way to call iperf3.
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    arguments: &'static [&'static str],
    /// Payload of a wire packet, bytes.
    payload: f64,
}

/// UDP twice: at a rate that the machine holds either way, where CPU time a packet means the same
/// in both runs of a pair; and as fast as it goes, for the rate. There the receiver may drop another
/// share with the probe than without, and dropped packets cost less, so that CPU time a sent packet
/// is shown but says little.
pub const LOADS: [Kind; 3] = [
    Kind {
        name: "udp 64 B at 100,000/s",
        arguments: &["-u", "-b", "51.2M", "-l", "64"],
        payload: 64.0,
    },
    Kind {
        name: "udp 64 B unlimited",
        arguments: &["-u", "-b", "0", "-l", "64"],
        payload: 64.0,
    },
    Kind {
        name: "tcp",
        arguments: &[],
        payload: 1448.0,
    },
];

/// A load with its server.
pub struct Iperf3 {
    kind: &'static Kind,
    _server: Running,
}

impl Iperf3 {
    /// Starts the server.
    pub fn start(kind: &'static Kind, bench: &Bench<'_>) -> anyhow::Result<Self> {
        let mut server = inside(&bench.far(), "iperf3");
        in_cgroup(&mut server, bench.others());
        on_cpu(&mut server, SERVER_CPU);
        let server = server
            .arg("-s")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run iperf3: apt-get install iperf3")?;
        thread::sleep(Duration::from_millis(300));
        Ok(Self {
            kind,
            _server: Running(server),
        })
    }
}

impl Load for Iperf3 {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    fn figures(&self) -> &'static [&'static str] {
        &[
            "CPU ns a packet",
            "the same, whole machine",
            "switches a packet",
            "packets a second",
        ]
    }

    fn run(&self, bench: &Bench<'_>) -> anyhow::Result<Run> {
        let seconds = bench.seconds().to_string();
        let mut client = inside(&bench.near(), "iperf3");
        client
            .args(["-c", FAR, "-t", &seconds, "-J"])
            .args(self.kind.arguments);
        in_cgroup(&mut client, bench.cgroup());
        on_cpu(&mut client, CLIENT_CPU);
        let (charged, busy, switched) = (bench.charged_ns()?, busy_ns()?, switches()?);
        let started = Instant::now();
        let output = client
            .output()
            .context("cannot run iperf3: apt-get install iperf3")?;
        let elapsed = started.elapsed().as_secs_f64();
        let (charged, busy) = (bench.charged_ns()? - charged, busy_ns()? - busy);
        let switched = switches()? - switched;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        if let Some(error) = report.get("error") {
            anyhow::bail!("iperf3: {error}");
        }
        let sent = ["sum_sent", "sum"]
            .iter()
            .find_map(|key| report["end"][*key]["bytes"].as_f64())
            .context("iperf3 says nothing of what it sent")?;
        let packets = sent / self.kind.payload;
        Ok(vec![
            charged / packets,
            busy / packets,
            switched / packets,
            packets / elapsed,
        ])
    }
}
