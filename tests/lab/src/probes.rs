//! The probe on every node: started, awaited, stopped, killed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cluster::Lab;
use crate::command::one_line;
use crate::error::LabError;
use crate::place::{Process, ended_badly};

/// How long a probe may take to attach, and to write its last files.
const PATIENCE: Duration = Duration::from_secs(30);

/// How probes are started.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The `weighbridge-probe` binary.
    pub binary: PathBuf,
    /// Root of the dataset.
    pub dataset: PathBuf,
    /// Length of an interval, as `--interval` takes it.
    pub interval: String,
    /// Capacity of the flow maps, where it is not the default.
    pub max_flows: Option<u32>,
    /// Nodes; all where there are none.
    pub nodes: Vec<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Variables of its environment, beside this process's own.
    pub environment: Vec<(String, String)>,
    /// A command that starts it, such as one that drops capabilities; none as a rule.
    pub launcher: Vec<String>,
}

impl ProbeOptions {
    /// Probes on all nodes, with intervals of a second.
    pub fn new(binary: impl Into<PathBuf>, dataset: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            dataset: dataset.into(),
            interval: "1s".to_owned(),
            max_flows: None,
            nodes: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            launcher: Vec::new(),
        }
    }
}

/// Running probes; dropping them kills them.
#[derive(Debug)]
pub struct Probes {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    node: String,
    process: Process,
    log: PathBuf,
}

impl Lab {
    /// Starts probes and waits until every hook of each is attached.
    pub fn start_probes(&self, options: &ProbeOptions) -> Result<Probes, LabError> {
        let nodes = match options.nodes.as_slice() {
            [] => self.node_names().into_iter().map(str::to_owned).collect(),
            nodes => nodes.to_vec(),
        };
        let mut running = Vec::new();
        let mut ready_files = Vec::new();
        for node in nodes {
            let scratch = self.scratch()?;
            let tag = crate::identity::random_hex(4)?;
            let log = scratch.join(format!("probe-{node}-{tag}.log"));
            let ready = scratch.join(format!("probe-{node}-{tag}.ready"));
            let place = self.node(&node);
            let binary = options.binary.as_os_str();
            let mut words = options.launcher.iter().map(OsStr::new).chain([binary]);
            let mut command = place.command(words.next().unwrap_or(binary))?;
            command.args(words);
            command.args(["run", "--node", &node, "--interval", &options.interval]);
            command.arg("--output").arg(&options.dataset);
            command.arg("--cgroup").arg(self.kubepods(&node));
            command.arg("--cgroup-root").arg(self.node_root(&node));
            // Other labs share the kernel, and write datasets of their own.
            command.arg("--kernel-wide-lock").arg(&options.dataset);
            command.arg("--ready-file").arg(&ready);
            if let Some(max_flows) = options.max_flows {
                command.args(["--max-flows", &max_flows.to_string()]);
            }
            let file = File::create(&log).map_err(LabError::file("create", &log))?;
            let other = file.try_clone().map_err(LabError::file("open", &log))?;
            command
                .args(&options.arguments)
                .envs(options.environment.iter().cloned())
                .stdin(Stdio::null())
                .stdout(other)
                .stderr(file);
            running.push(Running {
                process: place.spawn("the probe", command)?,
                node,
                log,
            });
            ready_files.push(ready);
        }
        let mut probes = Probes { running };
        let started = Instant::now();
        while !ready_files.iter().all(|path| path.exists()) {
            probes.check()?;
            if started.elapsed() > PATIENCE {
                let what = probes
                    .running
                    .iter()
                    .zip(&ready_files)
                    .find(|(_, ready)| !ready.exists())
                    .map(|(probe, _)| format!("the probe on {} was not ready", probe.node));
                let what = what.unwrap_or_default();
                return Err(LabError::Timeout {
                    what,
                    seconds: PATIENCE.as_secs(),
                });
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(probes)
    }
}

impl Probes {
    /// Fails if a probe has ended by itself.
    pub fn check(&mut self) -> Result<(), LabError> {
        for probe in &mut self.running {
            if let Some(status) = probe.process.try_wait()? {
                return Err(probe.ended(status));
            }
        }
        Ok(())
    }

    /// Kills the probe of a node with SIGKILL, as the kernel does when memory runs out.
    pub fn kill(&mut self, node: &str) -> Result<(), LabError> {
        let Some(position) = self.running.iter().position(|probe| probe.node == node) else {
            return Ok(());
        };
        let mut probe = self.running.remove(position);
        probe.process.signal(Signal::SIGKILL)?;
        probe.process.wait(PATIENCE).map(|_| ())
    }

    /// Process ids by node.
    pub fn ids(&self) -> Vec<(String, u32)> {
        self.running
            .iter()
            .map(|probe| (probe.node.clone(), probe.process.id()))
            .collect()
    }

    /// Logs by node.
    pub fn logs(&self) -> Vec<(String, PathBuf)> {
        self.running
            .iter()
            .map(|probe| (probe.node.clone(), probe.log.clone()))
            .collect()
    }

    /// Stops all with SIGTERM and waits for their last files.
    pub fn stop(mut self) -> Result<(), LabError> {
        for probe in &mut self.running {
            probe.process.signal(Signal::SIGTERM)?;
        }
        for probe in &mut self.running {
            let status = probe.process.wait(PATIENCE)?;
            if !status.success() {
                return Err(probe.ended(status));
            }
        }
        Ok(())
    }
}

impl Running {
    fn ended(&self, status: std::process::ExitStatus) -> LabError {
        let log = fs::read(&self.log).unwrap_or_default();
        let what = format!("the probe on {}", self.node);
        ended_badly(what, status, one_line(&log).as_bytes())
    }
}
