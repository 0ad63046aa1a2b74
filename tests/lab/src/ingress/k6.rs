//! Real k6 in a pod, and its record in a dataset.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use trace_schema::manifest::RunManifest;

use super::route::DataPlane;
use super::{CLIENT, Ingress};
use crate::command::one_line;
use crate::error::LabError;
use crate::identity::random_hex;
use crate::iperf3::{kernel, own_version, write_manifest};
use crate::load::first_line;
use crate::place::{Process, ended_badly};
use crate::recorder::now_us;

/// Console lines, one a request.
const CLASSIC: &str = include_str!("classic.js");
/// A counter tagged with the backend.
const COUNTER: &str = include_str!("counter.js");
/// The files that k6 writes, with what they are; which are there depends on the script.
const FILES: [(&str, &str); 5] = [
    ("k6.log", "k6-console"),
    ("k6.ndjson", "k6-ndjson"),
    ("k6.csv", "k6-csv"),
    ("k6-summary-export.json", "k6-summary-export"),
    ("k6-summary.json", "k6-summary"),
];
const ACCESS_LOG: (&str, &str) = ("access.log", "access-log");

/// What k6 runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum K6Script {
    /// Logs a line for each request; nothing else costs anything.
    Classic,
    /// Counts by backend, and writes every sample as NDJSON and CSV.
    Counter,
}

/// A run of k6.
#[derive(Clone, Debug)]
pub struct K6Options {
    /// Virtual users, each sending its next request when the last is answered.
    pub users: u32,
    /// Duration.
    pub duration: Duration,
    /// Exactly so many requests instead.
    pub requests: Option<u32>,
    /// What it runs.
    pub script: K6Script,
    /// A connection of its own for each request.
    pub no_connection_reuse: bool,
    /// `--log-format`: `logfmt`, `json` or `raw`.
    pub log_format: String,
}

impl K6Options {
    /// The classic script with some users for some seconds.
    pub fn new(users: u32, seconds: u64) -> Self {
        Self {
            users,
            duration: Duration::from_secs(seconds),
            requests: None,
            script: K6Script::Classic,
            no_connection_reuse: false,
            log_format: "logfmt".to_owned(),
        }
    }
}

/// A running k6; [`K6Process::finish`] waits for it.
#[derive(Debug)]
pub struct K6Process {
    process: Process,
    options: K6Options,
    folder: PathBuf,
    start_us: i64,
    access_log: (PathBuf, u64),
}

/// A finished run of k6.
#[derive(Clone, Debug)]
pub struct K6Run {
    /// What was run.
    pub options: K6Options,
    /// The pod as `namespace/name`.
    pub client_pod: String,
    /// Address of the Gateway.
    pub server: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// Start, UTC microseconds.
    pub start_us: i64,
    /// End, UTC microseconds.
    pub end_us: i64,
    /// Folder with k6's files; it goes with the lab.
    pub folder: PathBuf,
    failure: Option<(ExitStatus, String)>,
    data_plane: DataPlane,
    k6: PathBuf,
    envoy: PathBuf,
}

impl Ingress {
    /// Runs k6 from its pod to the Gateway.
    pub fn k6(&self, options: &K6Options) -> Result<K6Run, LabError> {
        self.start_k6(options)?.finish(self)
    }

    /// Starts k6 in its pod.
    pub fn start_k6(&self, options: &K6Options) -> Result<K6Process, LabError> {
        let folder = self.lab().scratch()?.join(format!("k6-{}", random_hex(8)?));
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let (name, text) = match options.script {
            K6Script::Classic => ("classic.js", CLASSIC),
            K6Script::Counter => ("counter.js", COUNTER),
        };
        let script = folder.join(name);
        fs::write(&script, text).map_err(LabError::file("write", &script))?;
        let place = self.lab().pod(CLIENT);
        let (address, port) = self.listener();
        let mut command = place.command(&self.config().k6)?;
        command
            .args(["run", "--quiet", "--no-color", "--no-usage-report"])
            .args(["--address", "", "--log-format", &options.log_format])
            .args(["--vus", &options.users.to_string()]);
        match options.requests {
            Some(requests) => command.args(["--iterations", &requests.to_string()]),
            None => command.args(["--duration", &format!("{}ms", options.duration.as_millis())]),
        };
        if options.no_connection_reuse {
            command.arg("--no-connection-reuse");
        }
        command
            .arg("--summary-export")
            .arg(folder.join("k6-summary-export.json"));
        if options.script == K6Script::Counter {
            for (kind, file) in [("json", "k6.ndjson"), ("csv", "k6.csv")] {
                let path = folder.join(file);
                command
                    .arg("--out")
                    .arg(format!("{kind}={}", path.display()));
            }
        }
        let log = folder.join("k6.log");
        let log = File::create(&log).map_err(LabError::file("create", log))?;
        command
            .arg(&script)
            .env("TARGET", format!("http://{address}:{port}/echo"))
            .env("SUMMARY", folder.join("k6-summary.json"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let access_log = self.gateway_log_path();
        self.settle();
        let written = fs::metadata(&access_log).map_or(0, |metadata| metadata.len());
        Ok(K6Process {
            start_us: now_us(),
            process: place.spawn("k6", command)?,
            options: options.clone(),
            folder,
            access_log: (access_log, written),
        })
    }
}

impl K6Process {
    /// Whether it has not yet ended.
    pub fn is_running(&mut self) -> Result<bool, LabError> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// Asks it to write what it has and to end.
    pub fn interrupt(&mut self) -> Result<(), LabError> {
        self.process.signal(Signal::SIGINT)
    }

    /// Waits for a good end and gathers what there is to know of the run.
    pub fn finish(self, ingress: &Ingress) -> Result<K6Run, LabError> {
        let run = self.gather(ingress)?;
        match &run.failure {
            None => Ok(run),
            Some((status, said)) => Err(ended_badly("k6".to_owned(), *status, said.as_bytes())),
        }
    }

    /// Waits for the end, good or bad, and gathers what there is to know of the run.
    pub fn gather(mut self, ingress: &Ingress) -> Result<K6Run, LabError> {
        let limit = self.options.duration * 3 + Duration::from_secs(90);
        let status = self.process.wait(limit)?;
        let end_us = now_us();
        let failure = (!status.success()).then(|| {
            let log = fs::read(self.folder.join("k6.log")).unwrap_or_default();
            (status, one_line(&log))
        });
        ingress.settle();
        let (log, written) = &self.access_log;
        let mut file = File::open(log).map_err(LabError::file("open", log))?;
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(*written))
            .and_then(|_| file.read_to_end(&mut text))
            .map_err(LabError::file("read", log))?;
        let copy = self.folder.join(ACCESS_LOG.0);
        fs::write(&copy, text).map_err(LabError::file("write", copy))?;
        let config = ingress.config();
        let (server, port) = ingress.listener();
        Ok(K6Run {
            failure,
            client_pod: ingress.lab().qualified_name(CLIENT),
            server,
            port,
            start_us: self.start_us,
            end_us,
            folder: self.folder,
            data_plane: config.data_plane,
            k6: config.k6.clone(),
            envoy: config.envoy.clone(),
            options: self.options,
        })
    }
}

impl K6Run {
    /// Pods that answered, by k6's own console lines; empty where the script writes none.
    pub fn hostnames(&self) -> Result<BTreeMap<String, u64>, LabError> {
        let path = self.folder.join("k6.log");
        let text = fs::read_to_string(&path).map_err(LabError::file("read", path))?;
        let mut counts = BTreeMap::new();
        for (_, rest) in text
            .lines()
            .filter_map(|line| line.split_once("Hostname: "))
        {
            let name: String = rest
                .chars()
                .take_while(|char| char.is_ascii_alphanumeric() || *char == '-')
                .collect();
            *counts.entry(name).or_default() += 1;
        }
        Ok(counts)
    }

    /// The export of k6's summary.
    pub fn summary(&self) -> Result<serde_json::Value, LabError> {
        let path = self.folder.join("k6-summary-export.json");
        let text = fs::read(&path).map_err(LabError::file("read", &path))?;
        serde_json::from_slice(&text).map_err(|error| LabError::Output {
            what: path.display().to_string(),
            message: error.to_string(),
        })
    }

    /// How it failed, one line; none where it ended well.
    pub fn failure(&self) -> Option<String> {
        let (status, said) = self.failure.as_ref()?;
        Some(format!("k6 ended with {status}: {said}"))
    }

    /// Writes `runs/<id>/` below a dataset's root: the manifest, k6's files and the gateway's
    /// access log of the run.
    pub fn write(&self, dataset: &Path, id: &str, case: &str) -> Result<PathBuf, LabError> {
        let manifest = RunManifest {
            campaign: "lab".to_owned(),
            case: case.to_owned(),
            ..RunManifest::new(id, "k6", (self.start_us, self.end_us))
        };
        self.write_as(dataset, manifest)
    }

    /// As [`K6Run::write`], with a manifest that what the run itself tells is put into.
    pub fn write_as(&self, dataset: &Path, manifest: RunManifest) -> Result<PathBuf, LabError> {
        let folder = dataset.join("runs").join(&manifest.id);
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let mut manifest = RunManifest {
            start_us: self.start_us,
            end_us: self.end_us,
            tool_version: first_line(&self.k6.display().to_string(), "version")?,
            client_pod: Some(self.client_pod.clone()),
            server_address: Some(self.server.to_string()),
            server_port: Some(self.port),
            kernel: kernel(),
            ..manifest
        };
        for (name, kind) in FILES.into_iter().chain([ACCESS_LOG]) {
            let from = self.folder.join(name);
            if from.exists() {
                let to = folder.join(name);
                fs::copy(&from, &to).map_err(LabError::file("write", to))?;
                manifest.files.insert(name.to_owned(), kind.to_owned());
            }
        }
        let version = match self.data_plane {
            DataPlane::Nginx => nginx_version()?,
            DataPlane::Envoy => envoy_version(&self.envoy)?,
        };
        let data_plane = (self.data_plane.name().to_owned(), version);
        manifest.versions.extend([own_version(), data_plane]);
        write_manifest(&manifest, &folder)?;
        Ok(folder)
    }
}

fn nginx_version() -> Result<String, LabError> {
    let output = std::process::Command::new("nginx").arg("-v").output();
    let output = output.map_err(LabError::file("run", "nginx"))?;
    // It says so on its standard error.
    Ok(version(&output.stderr))
}

fn envoy_version(envoy: &Path) -> Result<String, LabError> {
    let mut command = std::process::Command::new(envoy);
    let output = command.arg("--version").output();
    let output = output.map_err(LabError::file("run", envoy))?;
    Ok(version(&output.stdout))
}

/// What stands behind `version:`.
fn version(said: &[u8]) -> String {
    let line = one_line(said);
    match line.split_once("version: ") {
        Some((_, version)) => version.to_owned(),
        None => line,
    }
}
