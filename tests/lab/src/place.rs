//! Where processes of the lab run: a network namespace and a cgroup.
//!
//! A [`Process`] is a child in such a place. It is ended when it is dropped, so that a failing test
//! leaves no load behind.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroups;
use crate::command::{one_line, spawn_error};
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::ownership::signals_are_awaited;
use crate::state::PlaceState;

/// A pod, a node or the outside host, as a place to run things.
#[derive(Clone, Debug)]
pub struct Place {
    name: String,
    namespace: Arc<Namespace>,
    cgroup: PathBuf,
}

/// A process of the lab; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Place {
    pub(crate) fn new(name: &str, namespace: Namespace, cgroup: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            namespace: Arc::new(namespace),
            cgroup,
        }
    }

    /// A place of a lab that another process owns.
    pub fn of_state(state: &PlaceState) -> Result<Self, LabError> {
        let namespace = Namespace::open(&state.namespace)?;
        Ok(Self::new(&state.name, namespace, state.cgroup.clone()))
    }

    /// Name of the pod or node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The cgroup its processes start in.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// A command whose child starts here.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, LabError> {
        let mut command = Command::new(program);
        self.namespace
            .place(&mut command, Some(cgroups::open_procs(&self.cgroup)?))?;
        Ok(command)
    }

    /// Runs a program here to its end and returns what it wrote, whatever its exit status.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Output, LabError> {
        let mut command = self.command(program)?;
        command.args(arguments).stdin(Stdio::null());
        command
            .output()
            .map_err(|source| spawn_error(&command, &source))
    }

    /// Kills every process here.
    pub fn kill_all(&self) -> Result<(), LabError> {
        let path = self.cgroup.join("cgroup.kill");
        std::fs::write(&path, "1").map_err(LabError::file("write", path))
    }

    /// Starts a command made by [`Place::command`].
    pub fn spawn(&self, what: &str, mut command: Command) -> Result<Process, LabError> {
        if signals_are_awaited() {
            command.process_group(0);
        }
        let child = command
            .spawn()
            .map_err(|source| spawn_error(&command, &source))?;
        Ok(Process {
            what: format!("{what} on {}", self.name),
            child,
            ended: None,
        })
    }
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, where that was piped and not yet taken.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends a signal; one that has ended already is left alone.
    pub fn signal(&mut self, signal: Signal) -> Result<(), LabError> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        let id = i32::try_from(self.child.id()).unwrap_or_default();
        kill(Pid::from_raw(id), signal).map_err(|error| LabError::Process {
            what: self.what.clone(),
            status: format!("{signal}"),
            message: error.to_string(),
        })
    }

    /// The exit status, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, LabError> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().map_err(|error| LabError::Process {
                what: self.what.clone(),
                status: "an unknown status".to_owned(),
                message: error.to_string(),
            })?;
        }
        Ok(self.ended)
    }

    /// Waits for the end, at most so long.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                return Err(LabError::Timeout {
                    what: format!("{} did not end", self.what),
                    seconds: limit.as_secs(),
                });
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end with SIGTERM and waits; what does not obey is killed and reported.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        self.signal(Signal::SIGTERM)?;
        self.wait(limit)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // It may have ended just now, and nobody is left to be told.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The error of a process that ended badly.
pub(crate) fn ended_badly(what: String, status: ExitStatus, stderr: &[u8]) -> LabError {
    LabError::Process {
        what,
        status: status.to_string(),
        message: one_line(stderr),
    }
}
