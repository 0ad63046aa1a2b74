//! The bench: two namespaces, a cgroup, and loads that run with the probe and without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::Options;
use crate::estimate::{self, Order, Pair, Ratio, Run};
use crate::machine::{Running, busy_ns, cgroup2, charged_ns, in_cgroup, inside, ip};
use crate::own::{self, Account, Costs};

/// Name of everything this makes.
const NAME: &str = "wboverhead";
/// The probe's end.
pub const NEAR: &str = "10.253.0.1";
/// The other end.
pub const FAR: &str = "10.253.0.2";
/// After the probe starts or ends the kernel still frees and loads; neither side shall pay for that.
const SETTLE: Duration = Duration::from_millis(400);
/// How long the machine is looked at before anything runs.
const LOOKED_AT: Duration = Duration::from_secs(2);
/// A machine at rest keeps no more than this busy.
const QUIET_CPUS: f64 = 0.05;
const READY_WITHIN: Duration = Duration::from_secs(20);

/// One kind of load.
pub trait Load {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// What a run measures, CPU time first and what is done in a second last.
    fn figures(&self) -> &'static [&'static str];

    /// Runs it once and gives its figures.
    fn run(&self, bench: &Bench<'_>) -> anyhow::Result<Run>;
}

/// What the loads run between; gone when dropped.
pub struct Bench<'a> {
    options: &'a Options,
    /// Above everything that runs here.
    root: PathBuf,
    /// Where a pod's programs run, which the probe watches.
    cgroup: PathBuf,
    /// Everything else, the probe among it.
    others: PathBuf,
}

impl<'a> Bench<'a> {
    /// Makes the namespaces, with a veth pair between them, and the cgroup.
    pub fn new(options: &'a Options) -> anyhow::Result<Self> {
        warn_of_other_work()?;
        let root = cgroup2()?.join(NAME);
        let bench = Self {
            options,
            cgroup: root.join("pods"),
            others: root.join("others"),
            root,
        };
        let (near, far) = (bench.near(), bench.far());
        for name in [&near, &far] {
            let _ = Command::new("ip")
                .args(["netns", "del", name])
                .stderr(Stdio::null())
                .status();
            ip(&["netns", "add", name])?;
        }
        ip(&[
            "link", "add", "up0", "netns", &near, "type", "veth", "peer", "up1", "netns", &far,
        ])?;
        for (namespace, device, address) in [(&near, "up0", NEAR), (&far, "up1", FAR)] {
            let address = format!("{address}/24");
            ip(&["-n", namespace, "addr", "add", &address, "dev", device])?;
            ip(&["-n", namespace, "link", "set", device, "up"])?;
        }
        for cgroup in [&bench.cgroup, &bench.others] {
            fs::create_dir_all(cgroup)
                .with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
        }
        Ok(bench)
    }

    /// Runs pairs until the interval of the load's first figure is narrow enough.
    pub fn measure(&self, load: &dyn Load) -> anyhow::Result<Vec<Ratio>> {
        let options = self.options;
        let mut order = Order::new(options.seed);
        let mut pairs: Vec<Pair> = Vec::new();
        let mut owns: Vec<Costs> = Vec::new();
        // Caches, the machine's clock and the servers' memory settle in runs that are not used.
        for run in 0..options.warm_up {
            self.run(load, run % 2 == 1)?;
        }
        loop {
            let with_first = order.is_with_first();
            let first = self.run(load, with_first)?;
            let second = self.run(load, !with_first)?;
            let ((without, _), (with, own)) = match with_first {
                true => (second, first),
                false => (first, second),
            };
            pairs.push(Pair { without, with });
            owns.extend(own);
            if pairs.len() < 2 {
                continue;
            }
            let figures = load.figures().iter().enumerate();
            let ratios: Vec<Ratio> = figures
                .map(|(at, figure)| estimate::ratio(load.name(), figure, &pairs, at))
                .collect();
            let cpu = &ratios[0];
            eprintln!(
                "{}: {} pairs, CPU ratio {:.4} [{:.4}, {:.4}], a pair scatters by {:.1} %",
                cpu.load,
                cpu.pairs,
                cpu.ratio,
                cpu.low,
                cpu.high,
                cpu.pair_deviation * 100.0
            );
            let is_narrow = (cpu.high - cpu.low) / 2.0 <= options.half_width;
            if pairs.len() >= options.most_pairs || pairs.len() >= options.least_pairs && is_narrow
            {
                if options.own_account {
                    let rate = load.figures().len() - 1;
                    println!("{}", Account::of(load.name(), &pairs, &owns, rate));
                }
                return Ok(ratios);
            }
        }
    }

    /// The namespace at the probe's end.
    pub fn near(&self) -> String {
        format!("{NAME}-a")
    }

    /// The other one.
    pub fn far(&self) -> String {
        format!("{NAME}-b")
    }

    /// The cgroup at the probe's end, where a pod's programs run.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The cgroup of all other programs.
    pub fn others(&self) -> &Path {
        &self.others
    }

    /// CPU time that the scheduler charged to all programs here, the probe among them: exact to the
    /// microsecond, and with what softirqs did on their time.
    pub fn charged_ns(&self) -> anyhow::Result<f64> {
        charged_ns(&self.root)
    }

    /// Length of a run.
    pub fn seconds(&self) -> u32 {
        self.options.seconds
    }

    /// Runs a load once; with what the probe said of itself, where it is there and was asked.
    fn run(&self, load: &dyn Load, with_probe: bool) -> anyhow::Result<(Run, Option<Costs>)> {
        let probe = (with_probe && !self.options.sham).then(|| Probe::start(self));
        let probe = probe.transpose()?;
        thread::sleep(SETTLE);
        let start_us = own::now_us()?;
        let run = load.run(self);
        let end_us = own::now_us()?;
        let dataset = probe.map(Probe::stop);
        let run = run.with_context(|| format!("load {:?}", load.name()))?;
        let own = dataset
            .filter(|_| self.options.own_account)
            .map(|dataset| own::costs(dataset.path(), start_us, end_us))
            .transpose()?;
        anyhow::ensure!(
            run.iter().all(|figure| figure.is_finite() && *figure > 0.0),
            "load {:?} gave {run:?}: nothing was measured",
            load.name()
        );
        Ok((run, own))
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        for namespace in [self.near(), self.far()] {
            let _ = ip(&["netns", "del", &namespace]);
        }
        for cgroup in [&self.cgroup, &self.others, &self.root] {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

/// Other programs' work lands in one run of a pair or the other, and widens the interval.
fn warn_of_other_work() -> anyhow::Result<()> {
    let (before, started) = (busy_ns()?, Instant::now());
    thread::sleep(LOOKED_AT);
    let busy = (busy_ns()? - before) / started.elapsed().as_nanos() as f64;
    if busy > QUIET_CPUS {
        eprintln!("something else keeps {busy:.2} CPUs busy: intervals will be wide");
    }
    Ok(())
}

/// A running probe, stopped when dropped.
struct Probe {
    program: Running,
    dataset: tempfile::TempDir,
}

impl Probe {
    fn start(bench: &Bench<'_>) -> anyhow::Result<Self> {
        let dataset = tempfile::tempdir()?;
        let ready = dataset.path().join("ready");
        let mut command = inside(&bench.near(), &bench.options.probe);
        in_cgroup(&mut command, &bench.others);
        let child = command
            .args(["run", "--node", "bench", "--uplink", "up0", "--cgroup"])
            .arg(&bench.cgroup)
            // What a packet costs is measured here, and nothing else.
            .args(["--resources", "off"])
            .args(if bench.options.own_account {
                ["--cpu=on", "--measure-self"].as_slice()
            } else {
                ["--cpu=off"].as_slice()
            })
            .arg("--output")
            .arg(dataset.path())
            .arg("--ready-file")
            .arg(&ready)
            .stderr(Stdio::null())
            .spawn()?;
        let mut program = Running(child);
        let started = Instant::now();
        while !ready.exists() {
            if let Some(status) = program.0.try_wait()? {
                anyhow::bail!("the probe ended with {status}");
            }
            anyhow::ensure!(
                started.elapsed() < READY_WITHIN,
                "the probe was not ready in time"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { program, dataset })
    }

    /// Ends it and gives what it wrote.
    fn stop(self) -> tempfile::TempDir {
        drop(self.program);
        self.dataset
    }
}
