//! A campaign that is cut by Ctrl-C and goes on, and one with a run that fails and is repeated.
//!
//! What happened is read from the dataset alone: the plan, the manifests, and what `weighbridge`
//! says of runs whose clusters came after others in the same dataset.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use trace_schema::manifest::{RunManifest, RunOutcome};

use crate::dataset::{binary, weighbridge};

/// Two cases that differ in datapath and policy, two blocks of two seconds.
const TINY: &str = "\
name: tiny
study: egress
seed: 5
repetitions: 2
duration: 2s
cases:
  - name: netfilter-gateway
    factors: {datapath: netfilter, egress: gateway}
  - name: bpf-base
    factors: {datapath: bpf, egress: base, pairs: 3}
";

const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_campaign_goes_on_where_ctrl_c_cut_it() {
    let campaign = Campaign::new(TINY);
    let plan = campaign
        .command(&["--plan"])
        .output()
        .expect("xtask starts");
    assert!(plan.status.success());
    assert!(!campaign.dataset().exists(), "--plan runs nothing");

    let mut first = campaign.start(&[]);
    // In the second run, when its load has begun: its client pod has a process then.
    campaign.wait_until(&mut first, || {
        campaign.completed() == 1 && client_of(&first_lab()).is_some()
    });
    signal(&first, Signal::SIGINT);
    let status = ended(&mut first);
    assert_eq!(status.code(), Some(130), "{}", campaign.said());
    let cut: Vec<RunManifest> = failed(&campaign.manifests());
    assert_eq!(cut.len(), 1, "{}", campaign.said());
    assert_eq!(cut[0].failure.as_deref(), Some("interrupted"));
    assert!(cut[0].end_us > cut[0].start_us);

    let mut other = campaign.start(&["--seed", "6"]);
    assert_eq!(ended(&mut other).code(), Some(2));
    let said = campaign.said();
    let refusal = said.lines().last().unwrap_or_default();
    assert!(refusal.contains("seed 5, not 6"), "{said}");

    let mut second = campaign.start(&[]);
    assert!(
        ended(&mut second).code() != Some(130),
        "{}",
        campaign.said()
    );
    let manifests = campaign.manifests();
    assert_eq!(failed(&manifests), cut, "the cut run stays as it was");
    campaign.check_complete(&manifests);
    let again = completed_as(&manifests, &cut[0]);
    assert_eq!((again.attempt, cut[0].attempt), (2, 1));
    check_verdicts(&campaign.dataset(), &manifests);
}

#[test]
fn a_run_that_fails_is_kept_and_repeated() {
    let campaign = Campaign::new(TINY);
    let mut child = campaign.start(&["--repetitions", "1"]);
    campaign.wait_until(&mut child, || client_of(&first_lab()).is_some());
    let client = client_of(&first_lab()).expect("a client");
    kill(Pid::from_raw(client), Signal::SIGKILL).expect("the client is killed");
    ended(&mut child);
    let manifests = campaign.manifests();
    let failures = failed(&manifests);
    assert_eq!(failures.len(), 1, "{}", campaign.said());
    let why = failures[0].failure.clone().unwrap_or_default();
    assert!(why.contains("iperf3") && why.contains("signal: 9"), "{why}");
    let again = completed_as(&manifests, &failures[0]);
    assert_eq!(again.attempt, 2);
    assert_eq!(again.id, format!("{}-attempt2", failures[0].id));
    campaign.check_complete(&manifests);
}

struct Campaign {
    folder: tempfile::TempDir,
}

impl Campaign {
    fn new(text: &str) -> Self {
        e2e::require_root();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut file = fs::File::create(folder.path().join("tiny.yaml")).expect("a file");
        file.write_all(text.as_bytes()).expect("a file's text");
        Self { folder }
    }

    fn dataset(&self) -> PathBuf {
        self.folder.path().join("dataset")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("xtask"));
        command.args(["campaign", "egress", "--file"]);
        command.arg(self.folder.path().join("tiny.yaml"));
        command.arg("--dataset").arg(self.dataset()).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let log = fs::File::create(self.log()).expect("a log");
        let mut command = self.command(arguments);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        command.spawn().expect("xtask starts")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log.txt")
    }

    /// What the campaign that was started last has printed.
    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn wait_until(&self, child: &mut Child, mut condition: impl FnMut() -> bool) {
        let started = Instant::now();
        while !condition() {
            let status = child.try_wait().expect("the campaign");
            assert!(status.is_none(), "ended with {status:?}: {}", self.said());
            assert!(started.elapsed() < PATIENCE, "{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn manifests(&self) -> Vec<RunManifest> {
        let Ok(entries) = fs::read_dir(self.dataset().join("runs")) else {
            return Vec::new();
        };
        let folders = entries.map(|entry| entry.expect("a run").path());
        let mut manifests: Vec<RunManifest> = folders
            .filter(|folder| folder.join(RunManifest::FILE_NAME).is_file())
            .map(|folder| RunManifest::read(&folder).expect("a manifest"))
            .collect();
        manifests.sort_by_key(|manifest| manifest.start_us);
        manifests
    }

    fn completed(&self) -> usize {
        let is_completed = |one: &&RunManifest| one.outcome == RunOutcome::Completed;
        self.manifests().iter().filter(is_completed).count()
    }

    /// Every run of the plan was completed once, in the plan's order, and says on what.
    fn check_complete(&self, manifests: &[RunManifest]) {
        let text = fs::read_to_string(self.dataset().join("campaign.json")).expect("a plan");
        let plan: Value = serde_json::from_str(&text).expect("a plan's JSON");
        let planned = plan["runs"].as_array().expect("runs");
        let completed: Vec<&RunManifest> = manifests
            .iter()
            .filter(|one| one.outcome == RunOutcome::Completed)
            .collect();
        assert_eq!(completed.len(), planned.len(), "{}", self.said());
        for (manifest, planned) in completed.iter().zip(planned) {
            assert_eq!(planned["case"], manifest.case.as_str());
            assert_eq!(planned["block"], manifest.block.expect("a block"));
            assert_eq!(planned["repetition"], manifest.repetition);
            assert_eq!(manifest.campaign, "tiny");
            assert_eq!(manifest.failure, None);
            let pairs: usize = manifest.factors["pairs"].parse().expect("a number");
            assert_eq!(manifest.files.len(), pairs);
            for fact in [
                "cpus",
                "memory_bytes",
                "tcp_congestion_control",
                "mtu.worker/eth0",
            ] {
                let facts = &manifest.environment;
                assert!(facts.contains_key(fact), "{fact} is not in {facts:?}");
            }
            let offloads = &manifest.offloads["worker/eth0"];
            assert!(!offloads.is_empty(), "no offload is on at worker/eth0");
        }
    }
}

/// Each run is judged by its own time, though another datapath's cluster was there before it.
fn check_verdicts(dataset: &Path, manifests: &[RunManifest]) {
    for run in manifests
        .iter()
        .filter(|run| run.outcome == RunOutcome::Completed)
    {
        let (code, report) = weighbridge("egress", dataset, &["--run", &run.id]);
        assert_eq!(code, Some(0), "{}: {report:#}", run.id);
        assert_eq!(report["result"], "pass", "{}", run.id);
        let files = report["runs"].as_array().expect("runs");
        assert_eq!(files.len(), run.files.len());
        let agree = |file: &Value| file["reconciliation"]["agreement"] == "agree";
        assert!(files.iter().all(agree), "{}: {:#}", run.id, report["runs"]);
    }
}

fn failed(manifests: &[RunManifest]) -> Vec<RunManifest> {
    let failed = manifests
        .iter()
        .filter(|one| one.outcome == RunOutcome::Failed);
    failed.cloned().collect()
}

/// The completed attempt at the run that another attempt was at.
fn completed_as<'a>(manifests: &'a [RunManifest], other: &RunManifest) -> &'a RunManifest {
    let same = |one: &&RunManifest| {
        (&one.case, one.repetition, one.outcome)
            == (&other.case, other.repetition, RunOutcome::Completed)
    };
    manifests.iter().find(same).expect("a completed attempt")
}

fn first_lab() -> Option<lab::LabState> {
    // End-to-end tests run one at a time, so the lab that is ready is the campaign's.
    let labs = lab::list().expect("the labs on record");
    labs.into_iter()
        .find(|state| state.ready && state.owner_is_alive())
}

/// The process of the load in a lab's client pods, once it runs.
fn client_of(state: &Option<lab::LabState>) -> Option<i32> {
    let pods = state.iter().flat_map(|state| &state.places);
    let mut clients = pods.filter(|place| place.kind == "pod");
    clients.find_map(|pod| {
        let processes = fs::read_to_string(pod.cgroup.join("cgroup.procs")).ok()?;
        processes.lines().find_map(|line| {
            let id: i32 = line.parse().ok()?;
            let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
            (name.trim() == "iperf3").then_some(id)
        })
    })
}

fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(id), signal).expect("the signal");
}

fn ended(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the campaign") {
            return status;
        }
        assert!(started.elapsed() < PATIENCE, "the campaign does not end");
        thread::sleep(Duration::from_millis(50));
    }
}
