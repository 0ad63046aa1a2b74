//! Real iperf3 between a pod and the outside host, and its record in a dataset.

mod pairs;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use trace_schema::manifest::RunManifest;

pub use pairs::{IperfPairs, PairsRun};

use crate::cluster::Lab;
use crate::error::LabError;
use crate::load::first_line;
use crate::place::{Process, ended_badly};
use crate::recorder::now_us;
use crate::topology::Family;

/// What iperf3 is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IperfProtocol {
    /// TCP at full speed.
    Tcp,
    /// UDP at a rate.
    Udp {
        /// Megabits a second.
        rate_mbit: u32,
    },
}

/// A run of iperf3.
#[derive(Clone, Debug)]
pub struct IperfOptions {
    /// Pod that it runs in.
    pub pod: String,
    /// Protocol.
    pub protocol: IperfProtocol,
    /// Address family.
    pub family: Family,
    /// Duration.
    pub seconds: u32,
    /// Port of the server.
    pub port: u16,
    /// Further arguments of the client, e.g. `-P 4` or `-R`.
    pub arguments: Vec<String>,
}

impl IperfOptions {
    /// TCP over IPv4 for some seconds.
    pub fn tcp(pod: &str, seconds: u32) -> Self {
        Self {
            pod: pod.to_owned(),
            protocol: IperfProtocol::Tcp,
            family: Family::V4,
            seconds,
            port: 5201,
            arguments: Vec::new(),
        }
    }

    /// UDP over IPv4 at a rate for some seconds.
    pub fn udp(pod: &str, seconds: u32, rate_mbit: u32) -> Self {
        Self {
            protocol: IperfProtocol::Udp { rate_mbit },
            ..Self::tcp(pod, seconds)
        }
    }
}

/// A finished run of iperf3.
#[derive(Clone, Debug)]
pub struct IperfRun {
    /// What was run.
    pub options: IperfOptions,
    /// The pod as `namespace/name`.
    pub client_pod: String,
    /// Address of the server.
    pub server: IpAddr,
    /// Start, UTC microseconds.
    pub start_us: i64,
    /// End, UTC microseconds.
    pub end_us: i64,
    /// The client's JSON as it was written.
    pub output: String,
}

impl Lab {
    /// Runs iperf3 from a pod to the outside host.
    pub fn iperf3(&self, options: &IperfOptions) -> Result<IperfRun, LabError> {
        let mut server = self.iperf3_server(options.port)?;
        let arguments = options.client_arguments(self, options.port);
        let start_us = now_us();
        let output = self.pod(&options.pod).run("iperf3", &arguments)?;
        let end_us = now_us();
        server.stop(Duration::from_secs(5))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let run = IperfRun {
            options: options.clone(),
            client_pod: self.qualified_name(&options.pod),
            server: self.outside_address().of(options.family),
            start_us,
            end_us,
            output: text,
        };
        if !output.status.success() {
            let what = format!("iperf3 in pod {}", options.pod);
            return Err(ended_badly(what, output.status, output.stdout.as_slice()));
        }
        run.json().map(|_| run)
    }

    /// A server on the outside host that ends with its first client.
    fn iperf3_server(&self, port: u16) -> Result<Process, LabError> {
        let outside = self.outside();
        let mut command = outside.command("iperf3")?;
        command.args(["--server", "--one-off", "--port", &port.to_string()]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = outside.spawn("iperf3", command)?;
        wait_for_listener("the iperf3 server", server.id(), port)?;
        Ok(server)
    }
}

impl IperfOptions {
    /// What the client is started with, to a server at this port.
    fn client_arguments(&self, lab: &Lab, port: u16) -> Vec<String> {
        let address = lab.outside_address().of(self.family).to_string();
        let (port, seconds) = (port.to_string(), self.seconds.to_string());
        let mut arguments = vec!["--client", &address, "--port", &port];
        arguments.extend(["--time", &seconds, "--json"]);
        let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        if let IperfProtocol::Udp { rate_mbit } = self.protocol {
            arguments.extend(["--udp", "--bitrate"].map(str::to_owned));
            arguments.push(format!("{rate_mbit}M"));
        }
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }
}

impl IperfRun {
    /// The client's JSON; an error that iperf3 reports in it is an error.
    pub fn json(&self) -> Result<Value, LabError> {
        let error = |message: String| LabError::Output {
            what: "iperf3's JSON".to_owned(),
            message,
        };
        let value: Value =
            serde_json::from_str(&self.output).map_err(|source| error(source.to_string()))?;
        match value["error"].as_str() {
            Some(message) => Err(error(message.to_owned())),
            None => Ok(value),
        }
    }

    /// Writes `runs/<id>/` below a dataset's root: the manifest, iperf3's JSON, and the log of a
    /// server that ran beside it, if any.
    pub fn write(
        &self,
        dataset: &Path,
        id: &str,
        case: &str,
        peers: Option<&Path>,
    ) -> Result<PathBuf, LabError> {
        let folder = dataset.join("runs").join(id);
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let mut files = BTreeMap::from([("iperf3.json".to_owned(), "iperf3-json".to_owned())]);
        let path = folder.join("iperf3.json");
        fs::write(&path, &self.output).map_err(LabError::file("write", &path))?;
        if let Some(peers) = peers {
            let path = folder.join("peers.tsv");
            fs::copy(peers, &path).map_err(LabError::file("write", &path))?;
            files.insert("peers.tsv".to_owned(), "peers-tsv".to_owned());
        }
        let manifest = RunManifest {
            campaign: "lab".to_owned(),
            case: case.to_owned(),
            tool_version: iperf3_version()?,
            client_pod: Some(self.client_pod.clone()),
            server_address: Some(self.server.to_string()),
            server_port: Some(self.options.port),
            files,
            versions: BTreeMap::from([own_version()]),
            kernel: kernel(),
            ..RunManifest::new(id, "iperf3", (self.start_us, self.end_us))
        };
        write_manifest(&manifest, &folder)?;
        Ok(folder)
    }
}

/// Writes a run's manifest into its folder.
pub(crate) fn write_manifest(manifest: &RunManifest, folder: &Path) -> Result<(), LabError> {
    manifest.write(folder).map_err(|source| LabError::Output {
        what: "the run's manifest".to_owned(),
        message: match std::error::Error::source(&source) {
            Some(cause) => format!("{source}: {cause}"),
            None => source.to_string(),
        },
    })
}

/// The version of weighbridge, as manifests name it.
pub(crate) fn own_version() -> (String, String) {
    (
        "weighbridge".to_owned(),
        env!("CARGO_PKG_VERSION").to_owned(),
    )
}

/// `uname -r`.
pub(crate) fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// The version that iperf3 prints.
pub fn iperf3_version() -> Result<String, LabError> {
    first_line("iperf3", "--version")
}

/// Waits until a process's network has a TCP listener at the port.
pub(crate) fn wait_for_listener(what: &str, pid: u32, port: u16) -> Result<(), LabError> {
    // Local address and port in hexadecimal, then the other side, then the state; 0A listens.
    let needle = format!(":{port:04X} ");
    let started = Instant::now();
    let limit = Duration::from_secs(5);
    while started.elapsed() < limit {
        for table in ["tcp", "tcp6"] {
            let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            if text
                .lines()
                .any(|line| line.contains(&needle) && line.contains(" 0A "))
            {
                return Ok(());
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(LabError::Timeout {
        what: format!("{what} did not listen at port {port}"),
        seconds: limit.as_secs(),
    })
}
