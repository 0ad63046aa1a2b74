//! Loads of k6: nginx in the cgroup at the probe's end, 100 virtual users at the other.
//!
//! One k6 asks all the while, and a run is a stretch of it: nginx says before and after how many
//! requests it answered. A k6 of its own for each run would scatter more than the probe costs, since
//! how its users' requests fall together is settled when it starts. The probe meets connections that
//! are older than itself, as on a node. k6 spends more on a request than everything else together,
//! so that the whole machine's figure flatters; the same without k6's own time in user mode stands
//! beside it. Server and k6 keep to a CPU each.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::bench::{Bench, Load, NEAR};
use crate::estimate::Run;
use crate::machine::{Running, busy_ns, in_cgroup, inside, on_cpu, switches, user_ns};

const CONFIGURATION: &str = include_str!("nginx.conf");
const SCRIPT: &str = include_str!("load.js");
/// Where `cargo xtask` puts k6.
const INSTALLED: &str = "target/tools/k6/bin/k6";
/// Where k6's log lines go.
const SAID: &str = "k6.log";
/// From k6's first request, or the probe's start or end, to the measured part.
const WARM_UP: Duration = Duration::from_millis(700);
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(20);
const SERVER_CPU: usize = 0;
const K6_CPU: usize = 1;
/// Longer than any bench; k6 is ended with the load.
const K6_RUNS_FOR: &str = "24h";

/// One way to ask.
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// Requests a second of all users; 0 for as fast as answers come.
    rate: u32,
}

/// At a rate that the machine holds either way, CPU time a request means the same in both runs of a
/// pair; as fast as it goes, the machine is full in both and the rate is what changes.
pub const LOADS: [Kind; 2] = [
    Kind {
        name: "http 100 users at 4,000/s",
        rate: 4000,
    },
    Kind {
        name: "http 100 users unlimited",
        rate: 0,
    },
];

/// k6: the one given, else on `PATH`, else where the workspace installs it.
pub fn find_k6(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        anyhow::ensure!(given.is_file(), "{} is not there (--k6)", given.display());
        return Ok(given.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("k6"));
    let found = found.find(|program| program.is_file());
    found
        .or_else(|| Some(PathBuf::from(INSTALLED)).filter(|program| program.is_file()))
        .context("no k6 on PATH nor in target/tools: run `cargo xtask bench overhead`, or name it with --k6")
}

/// A load with its server.
pub struct Http {
    kind: &'static Kind,
    k6: PathBuf,
    folder: tempfile::TempDir,
    /// Ends before its server.
    asking: RefCell<Option<Running>>,
    _server: Running,
}

impl Http {
    /// Starts the server.
    pub fn start(kind: &'static Kind, k6: &Path, bench: &Bench<'_>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let shown = folder.path().display().to_string();
        let text = CONFIGURATION.replace("@folder@", &shown);
        let configuration = folder.path().join("nginx.conf");
        fs::write(&configuration, text.replace("@address@", NEAR))?;
        fs::write(folder.path().join("load.js"), SCRIPT)?;
        let mut server = inside(&bench.near(), "nginx");
        server.arg("-c").arg(&configuration).arg("-e").arg("stderr");
        in_cgroup(&mut server, bench.cgroup());
        on_cpu(&mut server, SERVER_CPU);
        let server = server
            .spawn()
            .context("cannot run nginx: apt-get install nginx-light")?;
        let mut load = Self {
            kind,
            k6: k6.to_owned(),
            folder,
            asking: RefCell::new(None),
            _server: Running(server),
        };
        load.wait_for_server()?;
        load.start_k6(bench)?;
        Ok(load)
    }

    fn wait_for_server(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while let Err(error) = self.answered() {
            if let Some(status) = self._server.0.try_wait()? {
                anyhow::bail!("nginx ended with {status}: apt-get install nginx-light");
            }
            if started.elapsed() > FIRST_REQUEST_WITHIN {
                return Err(error.context("nginx does not answer"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Requests that nginx has answered so far. It says so over a socket file, which no hook sees;
    /// the question itself is counted, too.
    fn answered(&self) -> anyhow::Result<f64> {
        let mut stream = UnixStream::connect(self.folder.path().join("status.sock"))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let counts = answer
            .lines()
            .skip_while(|line| !line.starts_with("server accepts"))
            .nth(1);
        let requests = counts.and_then(|line| line.split_whitespace().nth(2));
        let requests = requests.context("nginx says nothing of its requests")?;
        Ok(requests.parse()?)
    }

    /// Starts k6 and waits until its users are at work.
    fn start_k6(&self, bench: &Bench<'_>) -> anyhow::Result<()> {
        let before = self.answered()?;
        let mut k6 = inside(&bench.far(), &self.k6);
        in_cgroup(&mut k6, bench.others());
        on_cpu(&mut k6, K6_CPU);
        // Without an address k6 serves no API of its own.
        k6.args(["run", "--quiet", "--no-usage-report", "--no-summary"])
            .args(["--address", ""])
            .arg("--env")
            .arg(format!("URL=http://{NEAR}:8080/"))
            .arg("--env")
            .arg(format!("RATE={}", self.kind.rate))
            .arg("--env")
            .arg(format!("DURATION={K6_RUNS_FOR}"))
            .arg(self.folder.path().join("load.js"))
            .stdout(Stdio::null())
            .stderr(File::create(self.folder.path().join(SAID))?);
        let k6 = k6.spawn().context("cannot run k6")?;
        self.asking.replace(Some(Running(k6)));
        let started = Instant::now();
        let mut questions = 1.0;
        while self.answered()? - before <= questions {
            questions += 1.0;
            self.k6_id()?;
            anyhow::ensure!(started.elapsed() < FIRST_REQUEST_WITHIN, "k6 asks nothing");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The running k6.
    fn k6_id(&self) -> anyhow::Result<u32> {
        let mut asking = self.asking.borrow_mut();
        let k6 = asking.as_mut().context("k6 was not started")?;
        if let Some(status) = k6.0.try_wait()? {
            anyhow::bail!("k6 ended with {status}: {}", self.said());
        }
        Ok(k6.0.id())
    }

    /// The last that k6 said.
    fn said(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join(SAID)).unwrap_or_default();
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        last.unwrap_or("it does not say why").to_owned()
    }
}

impl Load for Http {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    fn figures(&self) -> &'static [&'static str] {
        &[
            "CPU ns a request",
            "the same less k6's user",
            "the whole machine's",
            "switches a request",
            "requests a second",
        ]
    }

    fn run(&self, bench: &Bench<'_>) -> anyhow::Result<Run> {
        thread::sleep(WARM_UP);
        let id = self.k6_id()?;
        let (charged, busy, switched) = (bench.charged_ns()?, busy_ns()?, switches()?);
        let (user, answered) = (user_ns(id)?, self.answered()?);
        let started = Instant::now();
        thread::sleep(Duration::from_secs(u64::from(bench.seconds())));
        let elapsed = started.elapsed().as_secs_f64();
        // The second question counts itself.
        let requests = self.answered()? - answered - 1.0;
        let (charged, busy) = (bench.charged_ns()? - charged, busy_ns()? - busy);
        let switched = switches()? - switched;
        let user = user_ns(id)? - user;
        // One request without its answer ends k6, and spoils the run.
        self.k6_id()?;
        Ok(vec![
            charged / requests,
            (charged - user) / requests,
            busy / requests,
            switched / requests,
            requests / elapsed,
        ])
    }
}
