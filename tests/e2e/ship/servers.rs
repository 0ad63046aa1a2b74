//! Azurite and moto on the loopback of a lab's node, where the probe's own traffic to them is.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::workspace_root;
use lab::{Lab, Process};

const PATIENCE: Duration = Duration::from_secs(60);
/// Name of the container or bucket.
const CONTAINER: &str = "traces";

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Azurite,
    Moto,
}

/// A running store.
pub struct StoreServer<'l> {
    lab: &'l Lab,
    node: &'static str,
    kind: Kind,
    folder: tempfile::TempDir,
    process: Option<Process>,
}

impl Kind {
    /// URL of a dataset in it.
    pub fn url(self, prefix: &str) -> String {
        match self {
            Self::Azurite => format!("az://{CONTAINER}/{prefix}"),
            Self::Moto => format!("s3://{CONTAINER}/{prefix}"),
        }
    }

    /// What a client finds in its environment.
    pub fn environment(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Azurite => vec![("AZURE_STORAGE_USE_EMULATOR", "true")],
            Self::Moto => vec![
                ("AWS_ENDPOINT", "http://127.0.0.1:5000"),
                ("AWS_ALLOW_HTTP", "true"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
            ],
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Azurite => 10_000,
            Self::Moto => 5_000,
        }
    }

    fn program(self) -> PathBuf {
        let (variable, path) = match self {
            Self::Azurite => (
                "WEIGHBRIDGE_AZURITE",
                "target/tools/azurite/node_modules/.bin/azurite-blob",
            ),
            Self::Moto => ("WEIGHBRIDGE_MOTO", "target/tools/moto/bin/moto_server"),
        };
        let named = std::env::var_os(variable).map(PathBuf::from);
        let program = named.unwrap_or_else(|| workspace_root().join(path));
        assert!(
            program.exists(),
            "{} is not set up: run `cargo xtask test --only stores`",
            program.display()
        );
        program
    }
}

impl<'l> StoreServer<'l> {
    /// Starts it with an empty container.
    pub fn start(lab: &'l Lab, node: &'static str, kind: Kind) -> Self {
        let mut server = Self {
            lab,
            node,
            kind,
            folder: tempfile::tempdir().expect("a folder"),
            process: None,
        };
        server.up();
        let mut make = match kind {
            Kind::Azurite => {
                let script = workspace_root().join("tests/e2e/ship/make_container.py");
                server.command("python3", &[script.into(), CONTAINER.into()])
            }
            Kind::Moto => {
                let script = "import sys, urllib.request as r; \
                              r.urlopen(r.Request(sys.argv[1], method='PUT', data=b''))";
                let url = format!("http://127.0.0.1:5000/{CONTAINER}");
                server.command("python3", &["-c".into(), script.into(), url.into()])
            }
        };
        let made = make.output().expect("python3 runs");
        let stderr = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "no container: {stderr}");
        server
    }

    /// Starts it again with what it had.
    pub fn up(&mut self) {
        let folder = self.folder.path();
        let program = self.kind.program();
        let mut command = match self.kind {
            Kind::Azurite => {
                let mut command = self.command("node", &[program.into()]);
                command.args(["--blobHost", "127.0.0.1", "--blobPort", "10000"]);
                command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"]);
                command.arg("--location").arg(folder);
                command
            }
            Kind::Moto => {
                let mut command = self.command(program, &[]);
                command.args(["-H", "127.0.0.1", "-p", "5000"]);
                command
            }
        };
        let log = File::create(folder.join("log")).expect("a log");
        let other = log.try_clone().expect("a log");
        command.stdin(Stdio::null()).stdout(log).stderr(other);
        let node = self.lab.node(self.node);
        self.process = Some(node.spawn("the store", command).expect("the store starts"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.kind.port()));
        let started = Instant::now();
        let answers = || {
            let connected = node.namespace().run(|| TcpStream::connect(address).is_ok());
            connected.expect("the node's namespace")
        };
        while !answers() {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(
                started.elapsed() < PATIENCE,
                "the store does not answer: {log}"
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops it.
    pub fn down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(PATIENCE).expect("the store ends");
        }
    }

    /// A program of the workspace under another name, that finds the store's keys.
    pub fn with_environment(&self, program: &Path) -> PathBuf {
        let path = self.folder.path().join("with-environment");
        let variables = self.kind.environment().into_iter();
        let variables: Vec<String> = variables
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let text = format!(
            "#!/bin/sh\nexec env {} {} \"$@\"\n",
            variables.join(" "),
            program.display()
        );
        std::fs::write(&path, text).expect("a script");
        let mode = Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("a script that runs");
        path
    }

    /// A command on the node.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[OsString]) -> Command {
        let node = self.lab.node(self.node);
        let mut command = node.command(program).expect("a command on the node");
        command.args(arguments);
        command
    }
}
