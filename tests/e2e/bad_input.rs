//! Bad input to the real programs: one line that names file, field or flag, and exit code 2.
//!
//! The dataset is one that probes wrote, and iperf3's failures are real ones. What the programs'
//! own tests show of made-up input is not repeated. A report may stand on standard output beside it:
//! of what could be read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lab::{Config, Connections, Datapath, Family, IperfOptions, IperfRun, Lab, ProbeOptions};
use nix::sys::signal::Signal;

use crate::dataset;

const IPERF_PORT: u16 = 5_201;

#[test]
fn damaged_tables_and_objects_are_refused() {
    let scene = Scene::recorded();
    for table in ["flows", "snat", "ledger", "objects"] {
        let path = scene.a_file_of(table);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name")
            .to_owned();
        let whole = fs::read(&path).expect("a readable file");
        for bytes in [
            &whole[..whole.len() / 2],
            b"not Parquet, but of some length".as_slice(),
            b"",
        ] {
            fs::write(&path, bytes).expect("a damaged file");
            for subcommand in ["egress", "inspect"] {
                scene.refused(&[subcommand], &[table, &name]);
            }
        }
        fs::write(&path, whole).expect("a whole file");
    }

    let folder = tempfile::tempdir().expect("a temporary directory");
    let objects = folder.path().join("policies.yaml");
    let given = [
        "egress",
        "--objects",
        folder.path().to_str().expect("a path"),
    ];
    let egress = |spec: &str| {
        format!(
            "apiVersion: crd.antrea.io/v1beta1\nkind: Egress\nmetadata:\n  name: broken\n  \
             uid: broken\nspec:\n{spec}"
        )
    };
    for (text, names) in [
        ("kind: [Egress".to_owned(), vec![]),
        (
            egress("  appliedTo:\n    podSelector:\n      matchLabels: [app]\n"),
            vec!["matchLabels"],
        ),
        (
            egress("  appliedTo: {}\n  egressIP: somewhere\n"),
            vec!["egressIP", "somewhere"],
        ),
    ] {
        fs::write(&objects, text).expect("objects");
        scene.refused(&given, &[&["policies.yaml"], names.as_slice()].concat());
    }
}

#[test]
fn runs_of_iperf3_that_failed_are_refused() {
    let scene = Scene::recorded();
    let address = scene.lab.outside_address().v4.to_string();
    let client = ["--client", &address, "--time", "8"];

    let refused = scene.iperf3(&[&client[..], &["--json"]].concat(), |_| ());
    scene.add_run("refused", &refused);
    scene.refused(
        &["egress", "--run", "refused"],
        &["iperf3.json", "Connection refused"],
    );

    let after = Duration::from_secs(2);
    let died = scene.with_server(|scene, kill| {
        scene.iperf3(&[&client[..], &["--json"]].concat(), |_| {
            thread::sleep(after);
            kill();
        })
    });
    scene.add_run("died", &died);
    scene.refused(&["egress", "--run", "died"], &["iperf3.json", "server"]);

    let killed = scene.with_server(|scene, _| {
        scene.iperf3(&[&client[..], &["--json"]].concat(), |process| {
            thread::sleep(after);
            process.signal(Signal::SIGKILL).expect("the signal");
        })
    });
    assert!(killed.is_empty(), "iperf3 wrote before its end: {killed}");
    scene.add_run("killed", &killed);
    scene.refused(&["egress", "--run", "killed"], &["iperf3.json", "empty"]);

    let text =
        scene.with_server(|scene, _| scene.iperf3(&["--client", &address, "--time", "1"], |_| ()));
    assert!(text.contains("bits/sec"), "no report for people: {text}");
    scene.add_run("text", &text);
    scene.refused(
        &["egress", "--run", "text"],
        &["iperf3.json", "not the JSON"],
    );

    let manifest = scene.folder.path().join("runs/text/manifest.json");
    fs::write(&manifest, "{").expect("half a manifest");
    scene.refused(&["egress", "--run", "text"], &["text", "manifest.json"]);
    fs::remove_dir_all(scene.folder.path().join("runs")).expect("the runs");
    scene.refused(&["egress", "--run", "text"], &["--run text"]);
}

#[test]
fn the_probe_refuses_what_is_not_on_its_node() {
    let scene = Scene::new();
    let root = scene.folder.path().join("data");
    let output = root.to_str().expect("a path");
    scene.probe_refused(
        &["--output", output, "--uplink", "nosuch0"],
        &["--uplink nosuch0", "eth0"],
    );
    scene.probe_refused(
        &["--output", output, "--tunnel", "nosuch0"],
        &["--tunnel nosuch0", "vxlan0"],
    );
    let file = scene.folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let below = file.join("data");
    scene.probe_refused(
        &["--output", below.to_str().expect("a path")],
        &["--output", "file/data"],
    );
    let mut options = ProbeOptions::new(dataset::binary("weighbridge-probe"), &root);
    options.nodes = vec!["worker".to_owned()];
    let running = scene.lab.start_probes(&options).expect("a probe");
    scene.probe_refused(&["--output", output], &["--node worker", output]);
    running.stop().expect("the first probe was disturbed");
}

/// A lab, and a folder for its dataset.
struct Scene {
    lab: Lab,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        e2e::require_root();
        let lab = Lab::up(Config::new(Datapath::Netfilter)).expect("a lab");
        Self {
            lab,
            folder: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// A scene with a dataset in which every verdict passes.
    fn recorded() -> Self {
        let scene = Self::new();
        let server = scene.lab.start_server(9_000).expect("a server");
        let options = ProbeOptions::new(dataset::binary("weighbridge-probe"), scene.folder.path());
        let probes = scene
            .lab
            .start_probes(&options)
            .expect("probes on every node");
        let load = Connections::short("client", "tcp", server.socket(Family::V4), 100);
        scene.lab.connect(&load).expect("connections");
        thread::sleep(Duration::from_millis(1_200));
        probes.stop().expect("probes end well");
        scene
            .lab
            .write_objects(scene.folder.path())
            .expect("the objects");
        let (code, report) = dataset::weighbridge("egress", scene.folder.path(), &[]);
        assert_eq!(code, Some(0), "{report:#}");
        scene
    }

    fn a_file_of(&self, table: &str) -> PathBuf {
        let mut path = self.folder.path().join(table);
        while path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            entries.sort();
            path = entries.pop().expect("something in it");
        }
        path
    }

    /// Runs iperf3 in the client's pod and returns what it wrote.
    fn iperf3(&self, arguments: &[&str], meanwhile: impl FnOnce(&mut lab::Process)) -> String {
        let path = self.folder.path().join(".iperf3");
        let pod = self.lab.pod("client");
        let mut command = pod.command("iperf3").expect("iperf3: apt install iperf3");
        let file = fs::File::create(&path).expect("a file");
        command
            .args(arguments)
            .args(["--port", &IPERF_PORT.to_string()]);
        command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(Stdio::null());
        let mut process = pod
            .spawn("iperf3", command)
            .expect("iperf3: apt install iperf3");
        meanwhile(&mut process);
        process.wait(Duration::from_secs(30)).expect("iperf3 ends");
        fs::read_to_string(&path).expect("what iperf3 wrote")
    }

    /// Does something while a server of iperf3 runs outside, and may kill it.
    fn with_server(&self, run: impl FnOnce(&Self, &mut dyn FnMut()) -> String) -> String {
        let outside = self.lab.outside();
        let mut command = outside
            .command("iperf3")
            .expect("iperf3: apt install iperf3");
        command.args(["--server", "--one-off", "--port", &IPERF_PORT.to_string()]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut server = outside
            .spawn("iperf3", command)
            .expect("iperf3: apt install iperf3");
        thread::sleep(Duration::from_millis(500));
        run(self, &mut || {
            // Asked to end, it would say goodbye: the client then has figures of its own end.
            server.signal(Signal::SIGKILL).expect("the signal");
            server
                .wait(Duration::from_secs(5))
                .expect("the server ends");
        })
    }

    fn add_run(&self, id: &str, output: &str) {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970");
        let now_us = i64::try_from(since.as_micros()).expect("a time of this age");
        let run = IperfRun {
            options: IperfOptions::tcp("client", 8),
            client_pod: self.lab.qualified_name("client"),
            server: self.lab.outside_address().of(Family::V4),
            start_us: now_us - 60_000_000,
            end_us: now_us,
            output: output.to_owned(),
        };
        run.write(self.folder.path(), id, id, None)
            .expect("a run's files");
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], names: &[&str]) {
        let mut command = Command::new(dataset::binary("weighbridge"));
        command
            .args(arguments)
            .arg("--dataset")
            .arg(self.folder.path());
        check_refusal(&command.output().expect("weighbridge starts"), names);
    }

    #[track_caller]
    fn probe_refused(&self, arguments: &[&str], names: &[&str]) {
        let mut command = self
            .lab
            .node("worker")
            .command(dataset::binary("weighbridge-probe"))
            .expect("a node");
        command.args(["run", "--node", "worker", "--duration", "1s", "--cgroup"]);
        command
            .arg::<&Path>(&self.lab.kubepods("worker"))
            .args(arguments);
        check_refusal(&command.output().expect("the probe starts"), names);
    }
}

#[track_caller]
fn check_refusal(output: &Output, names: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for name in names {
        assert!(stderr.contains(name), "{name} is not in: {stderr}");
    }
}
