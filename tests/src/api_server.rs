//! A kube-apiserver with its etcd on loopback: real lists, watches, rights and refusals, but no
//! controllers and no kubelets, so that objects stay as they are put.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::workspace_root;

/// Name and token of the user who may do everything.
const ADMIN: (&str, &str) = ("admin", "admin-token-of-a-test");
const PATIENCE: Duration = Duration::from_secs(90);

/// The running server; dropped, it and its state are gone.
#[derive(Debug)]
pub struct ApiServer {
    folder: tempfile::TempDir,
    port: u16,
    etcd_port: u16,
    etcd: Option<Child>,
    server: Option<Child>,
}

impl ApiServer {
    /// Starts both and waits until the server says that it is ready.
    ///
    /// # Panics
    ///
    /// Where they are not built, or do not come up.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [port, etcd_port] = free_ports();
        let mut api = Self {
            folder,
            port,
            etcd_port,
            etcd: None,
            server: None,
        };
        let (user, token) = ADMIN;
        fs::write(
            api.path("tokens.csv"),
            format!("{token},{user},{user},system:masters\n"),
        )
        .expect("a file for the tokens");
        // Who asked for what, before it is answered.
        let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\n\
                      omitStages: [ResponseStarted, ResponseComplete, Panic]\n\
                      rules: [{level: Metadata}]\n";
        fs::write(api.path("audit.yaml"), policy).expect("a file for what is logged");
        let mut key = Command::new("openssl");
        key.args(["genrsa", "-out"])
            .arg(api.path("sa.key"))
            .arg("2048");
        let made = key.output().expect("openssl runs: apt-get install openssl");
        assert!(made.status.success(), "openssl makes a key");
        let server = format!("https://127.0.0.1:{port}");
        write_kubeconfig(&api.kubeconfig(), &server, token);
        api.start_etcd();
        api.start_server();
        api
    }

    /// A kubeconfig of the user who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// The server's address.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A kubeconfig of whoever holds that token.
    ///
    /// # Panics
    ///
    /// Where it cannot be written.
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> PathBuf {
        let path = self.path(&format!("kubeconfig-{name}"));
        write_kubeconfig(&path, &self.address(), token);
        path
    }

    /// `kubectl` with these arguments and this text on its standard input.
    ///
    /// # Panics
    ///
    /// Where kubectl is not there.
    pub fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut kubectl = Command::new("kubectl");
        kubectl
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments);
        kubectl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = kubectl
            .spawn()
            .expect("kubectl runs: apt-get install kubernetes-client");
        let mut stdin = child.stdin.take().expect("kubectl's standard input");
        let input = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().expect("kubectl ends");
        // One that does not read it has no use for it.
        let _ = writer.join().expect("the writer ends");
        output
    }

    /// What kubectl prints.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let output = self.try_kubectl(arguments, input);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Puts an object there, or changes it to this.
    pub fn apply(&self, object: &Value) {
        let arguments = ["apply", "--validate=false", "--filename=-"];
        self.kubectl(&arguments, &object.to_string());
    }

    /// Replaces an object's status, as a kubelet or controller would.
    pub fn put_status(&self, path: &str, status: &Value) {
        let text = self.kubectl(&["get", "--raw", path], "");
        let mut object: Value = serde_json::from_str(&text).expect("an object");
        object["status"] = status.clone();
        let path = format!("{path}/status");
        self.kubectl(
            &["replace", "--raw", &path, "--filename=-"],
            &object.to_string(),
        );
    }

    /// What a user asked the server for, by the server's own log: verbs and resources.
    ///
    /// # Panics
    ///
    /// Where there is no such log.
    pub fn requests_of(&self, user: &str) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.path("audit.log")).expect("the server's log");
        let events = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_user = events.filter(|event| event["user"]["username"] == user);
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        of_user
            .map(|event| (word(&event["verb"]), word(&event["objectRef"]["resource"])))
            .collect()
    }

    /// Stops the server and leaves etcd up.
    pub fn stop_server(&mut self) {
        end(self.server.take());
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Panics
    ///
    /// Where it does not come up.
    pub fn start_server(&mut self) {
        let mut server = Command::new(program("kube-apiserver"));
        server
            .arg(format!(
                "--etcd-servers=http://127.0.0.1:{}",
                self.etcd_port
            ))
            .arg(format!("--secure-port={}", self.port))
            .arg(format!(
                "--cert-dir={}",
                self.path("certificates").display()
            ))
            .arg(format!(
                "--token-auth-file={}",
                self.path("tokens.csv").display()
            ));
        for (flag, file) in [
            ("--audit-policy-file", "audit.yaml"),
            ("--audit-log-path", "audit.log"),
        ] {
            server.arg(format!("{flag}={}", self.path(file).display()));
        }
        for flag in [
            "--service-account-key-file",
            "--service-account-signing-key-file",
        ] {
            server.arg(format!("{flag}={}", self.path("sa.key").display()));
        }
        server.args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.test",
            "--authorization-mode=RBAC",
            // No controller makes the accounts that pods would be given.
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged",
        ]);
        self.server = Some(self.spawn(server, "kube-apiserver"));
        let started = Instant::now();
        while !self
            .try_kubectl(&["get", "--raw", "/readyz"], "")
            .status
            .success()
        {
            assert!(
                started.elapsed() < PATIENCE,
                "no server: {}",
                self.log("kube-apiserver")
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn start_etcd(&mut self) {
        let [peer] = free_ports();
        let (client, peer) = (
            format!("http://127.0.0.1:{}", self.etcd_port),
            format!("http://127.0.0.1:{peer}"),
        );
        let mut etcd = Command::new(program("etcd"));
        etcd.arg("--data-dir").arg(self.path("etcd"));
        etcd.args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ]);
        etcd.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        etcd.args(["--initial-cluster", &format!("default={peer}")]);
        self.etcd = Some(self.spawn(etcd, "etcd"));
    }

    fn spawn(&self, mut command: Command, name: &str) -> Child {
        let log = fs::File::create(self.path(&format!("{name}.log"))).expect("a log");
        let also = log.try_clone().expect("a log");
        command.stdin(Stdio::null()).stdout(also).stderr(log);
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        end(self.server.take());
        end(self.etcd.take());
    }
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        // One that has ended by itself is as good.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn write_kubeconfig(path: &Path, server: &str, token: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters:\n- name: test\n  cluster:\n    server: {server}\n    insecure-skip-tls-verify: true\n\
         contexts:\n- name: test\n  context: {{cluster: test, user: test}}\n\
         users:\n- name: test\n  user:\n    token: {token}\n"
    );
    fs::write(path, text).expect("a kubeconfig");
}

fn program(name: &str) -> PathBuf {
    let path = workspace_root().join("target/tools/api-server").join(name);
    assert!(
        path.is_file(),
        "{name} is not built: run `cargo xtask api-server`"
    );
    path
}

/// Ports of loopback that nobody uses now, all different.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}
