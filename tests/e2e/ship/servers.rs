//! Azurite and moto on the loopback of a lab's node, where the probe's own traffic to them is.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::workspace_root;
use lab::{Lab, Process};

const PATIENCE: Duration = Duration::from_secs(60);
/// Name of the container or bucket.
pub const CONTAINER: &str = "traces";
/// Key of the account, in base64 as Azure wants it: "a-secret-word-that-must-not-show-in-any-place".
pub const SECRET: &str = "YS1zZWNyZXQtd29yZC10aGF0LW11c3Qtbm90LXNob3ctaW4tYW55LXBsYWNl";
const ACCOUNT: &str = "weighbridge";

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
    process: Option<Process>,
    folder: tempfile::TempDir,
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
    pub fn environment(self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:10000/{ACCOUNT}");
        let variables = match self {
            Self::Azurite => vec![
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
                ("AZURE_STORAGE_ACCOUNT_KEY", SECRET),
                ("AZURE_STORAGE_ENDPOINT", &endpoint),
                ("AZURE_ALLOW_HTTP", "true"),
            ],
            Self::Moto => vec![
                ("AWS_ENDPOINT", "http://127.0.0.1:5000"),
                ("AWS_ALLOW_HTTP", "true"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", ACCOUNT),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
            ],
        };
        let owned = variables.into_iter();
        owned
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
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
        let server = Self::start_empty(lab, node, kind);
        server.make_container();
        server
    }

    /// Starts it without a container.
    pub fn start_empty(lab: &'l Lab, node: &'static str, kind: Kind) -> Self {
        let mut server = Self {
            lab,
            node,
            kind,
            process: None,
            folder: tempfile::tempdir().expect("a folder"),
        };
        server.up();
        server
    }

    /// Starts it again; Azurite has what it had, moto forgets.
    pub fn up(&mut self) {
        let folder = self.folder.path();
        let program = self.kind.program();
        let mut command = match self.kind {
            Kind::Azurite => {
                let mut command = self.command("node");
                command.arg(program);
                command.args(["--blobHost", "127.0.0.1", "--blobPort", "10000"]);
                command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"]);
                command.arg("--location").arg(folder);
                command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{SECRET}"));
                command
            }
            Kind::Moto => {
                let mut command = self.command(program);
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

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What its clients find in their environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.kind.environment()
    }

    /// A command on the node that finds the store's keys in its environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let node = self.lab.node(self.node);
        let mut command = node.command(program).expect("a command on the node");
        command.envs(self.environment());
        command
    }
}
