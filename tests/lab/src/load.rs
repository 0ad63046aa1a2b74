//! Load from pods to the outside host, with the truth about it.
//!
//! iperf3 gives volume and its own figures; `weighbridge-lab-load` gives many small connections and
//! a server's log that says, for each, what the pod sent from and what arrived.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::cluster::Lab;
use crate::command::spawn_error;
use crate::error::LabError;
use crate::place::{Process, ended_badly};
use crate::topology::{Dual, Family};

const LOAD_VARIABLE: &str = "WEIGHBRIDGE_LAB_LOAD";
const LOAD_BINARY: &str = "weighbridge-lab-load";

/// Many small connections, or a few long ones.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Pod that opens them.
    pub pod: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Address of the server.
    pub server: IpAddr,
    /// Its port.
    pub port: u16,
    /// How many.
    pub count: u32,
    /// How many begin each second.
    pub rate_per_s: f64,
    /// How long each stays open; zero for one message and out.
    pub hold: Duration,
    /// Time between messages on an open connection.
    pub every: Duration,
    /// How long an answer is awaited.
    pub patience: Duration,
}

impl Connections {
    /// Short connections, 200 a second.
    pub fn short(pod: &str, protocol: &str, server: SocketAddr, count: u32) -> Self {
        Self {
            pod: pod.to_owned(),
            protocol: protocol.to_owned(),
            server: server.ip(),
            port: server.port(),
            count,
            rate_per_s: 200.0,
            hold: Duration::ZERO,
            every: Duration::from_millis(100),
            patience: Duration::from_secs(1),
        }
    }
}

/// A running client; [`ConnectionLog::finish`] waits for it.
#[derive(Debug)]
pub struct ConnectionLog {
    process: Process,
    path: PathBuf,
    limit: Duration,
}

/// What a client says of one of its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentConnection {
    /// Start, UTC microseconds.
    pub start_us: i64,
    /// End, UTC microseconds.
    pub end_us: i64,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The client's own address and port; none if it never came that far.
    pub source: Option<SocketAddr>,
    /// Messages sent.
    pub sent: u64,
    /// Messages answered.
    pub answered: u64,
    /// `ok`, or the error that ended it.
    pub outcome: String,
}

/// What the server says of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenConnection {
    /// When the client had said who it is, UTC microseconds.
    pub time_us: i64,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The other side as it arrived.
    pub peer: SocketAddr,
    /// The server's own side.
    pub local: SocketAddr,
    /// The other side as it was sent.
    pub source: SocketAddr,
}

/// A running server on the outside host.
#[derive(Debug)]
pub struct LoadServer {
    process: Process,
    log: PathBuf,
    address: Dual,
    port: u16,
}

impl Lab {
    /// Starts a server on the outside host, at both its addresses.
    pub fn start_server(&self, port: u16) -> Result<LoadServer, LabError> {
        let log = self.scratch()?.join(format!("server-{port}.tsv"));
        let address = self.outside_address();
        let mut command = self.outside().command(load_binary()?)?;
        command.arg("serve").args(["--port", &port.to_string()]);
        command.args([
            "--listen",
            &address.v4.to_string(),
            "--listen",
            &address.v6.to_string(),
        ]);
        command
            .arg("--log")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = self.outside().spawn(LOAD_BINARY, command)?;
        let mut line = String::new();
        if let Some(stdout) = process.take_stdout() {
            // An end without a line means that the server is gone, which is asked next.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        if line.trim() != "listening" {
            let status = process.wait(Duration::from_secs(5))?;
            return Err(ended_badly(
                format!("{LOAD_BINARY} serve"),
                status,
                b"not listening",
            ));
        }
        Ok(LoadServer {
            process,
            log,
            address,
            port,
        })
    }

    /// Starts a client in a pod.
    pub fn start_connections(&self, load: &Connections) -> Result<ConnectionLog, LabError> {
        let name = format!(
            "client-{}-{}.tsv",
            load.pod,
            crate::identity::random_hex(8)?
        );
        let path = self.scratch()?.join(name);
        let place = self.pod(&load.pod);
        let mut command = place.command(load_binary()?)?;
        let milliseconds = |time: Duration| time.as_millis().to_string();
        command
            .arg("connect")
            .args(["--server", &load.server.to_string()]);
        command.args([
            "--port",
            &load.port.to_string(),
            "--protocol",
            &load.protocol,
        ]);
        command.args(["--connections", &load.count.to_string()]);
        command.args(["--rate", &load.rate_per_s.to_string()]);
        command.args(["--hold-ms", &milliseconds(load.hold)]);
        command.args(["--every-ms", &milliseconds(load.every)]);
        command.args(["--patience-ms", &milliseconds(load.patience)]);
        command.arg("--log").arg(&path).stdin(Stdio::null());
        let expected_s = f64::from(load.count) / load.rate_per_s;
        let limit = Duration::from_secs_f64(expected_s * 3.0 + 30.0) + load.hold * 2;
        Ok(ConnectionLog {
            process: place.spawn(LOAD_BINARY, command)?,
            path,
            limit,
        })
    }

    /// Runs a client in a pod to its end.
    pub fn connect(&self, load: &Connections) -> Result<Vec<SentConnection>, LabError> {
        self.start_connections(load)?.finish()
    }

    /// A directory for files of this lab, removed with it.
    pub fn scratch(&self) -> Result<PathBuf, LabError> {
        let path = crate::state::scratch_directory(self.id());
        fs::create_dir_all(&path).map_err(LabError::file("create", &path))?;
        Ok(path)
    }
}

impl ConnectionLog {
    /// Waits for the client and reads what it says.
    pub fn finish(mut self) -> Result<Vec<SentConnection>, LabError> {
        let status = self.process.wait(self.limit)?;
        if !status.success() {
            return Err(ended_badly(
                format!("{LOAD_BINARY} connect"),
                status,
                b"see its output",
            ));
        }
        read_lines(&self.path, |fields| {
            let [start, end, protocol, token, sent, answered, outcome] = fields else {
                return None;
            };
            Some(SentConnection {
                start_us: start.parse().ok()?,
                end_us: end.parse().ok()?,
                protocol: (*protocol).to_owned(),
                source: token.parse().ok(),
                sent: sent.parse().ok()?,
                answered: answered.parse().ok()?,
                outcome: (*outcome).to_owned(),
            })
        })
    }
}

impl LoadServer {
    /// Where clients reach it.
    pub fn socket(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.address.of(family), self.port)
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Result<Vec<SeenConnection>, LabError> {
        read_lines(&self.log, |fields| {
            let [time, protocol, peer, peer_port, local, local_port, token] = fields else {
                return None;
            };
            let socket = |address: &str, port: &str| {
                Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
            };
            Some(SeenConnection {
                time_us: time.parse().ok()?,
                protocol: (*protocol).to_owned(),
                peer: socket(peer, peer_port)?,
                local: socket(local, local_port)?,
                source: token.parse().ok()?,
            })
        })
    }

    /// Ends it; its log stays as long as the lab.
    pub fn stop(mut self) -> Result<(), LabError> {
        self.process.stop(Duration::from_secs(5)).map(|_| ())
    }
}

fn read_lines<T>(path: &Path, parse: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, LabError> {
    let text = fs::read_to_string(path).map_err(LabError::file("read", path))?;
    text.lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            parse(&fields).ok_or_else(|| LabError::Output {
                what: path.display().to_string(),
                message: format!("unexpected line `{line}`"),
            })
        })
        .collect()
}

/// The load tool: from the environment, else beside this program, where cargo puts it.
fn load_binary() -> Result<PathBuf, LabError> {
    if let Some(path) = std::env::var_os(LOAD_VARIABLE) {
        return Ok(path.into());
    }
    let here = std::env::current_exe().map_err(LabError::file("find", "this program"))?;
    here.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(LOAD_BINARY))
        .find(|path| path.is_file())
        .ok_or_else(|| LabError::Command {
            command: LOAD_BINARY.to_owned(),
            message: "not built: cargo build -p lab".to_owned(),
        })
}

/// Runs a tool to its end for its first line of output, e.g. a version.
pub(crate) fn first_line(program: &str, argument: &str) -> Result<String, LabError> {
    let mut command = std::process::Command::new(program);
    command.arg(argument).stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|source| spawn_error(&command, &source))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
