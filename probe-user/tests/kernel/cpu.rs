//! Processor time held against the kernel's own accounts: `cpu.stat` of cgroups and the clock.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command},
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use probe_user::{
    cgroups::index::cgroup_id,
    cli::Cycles,
    config::Config,
    sampler::{Sample, Sampler},
};
use trace_schema::{
    cpu::{CpuRow, CpuScope, CycleSource},
    ledger::Vantage,
};

use crate::{
    interfaces,
    place::{Cgroup, in_namespace, send},
};

/// How far sums may be from the clock.
const CONSERVED: f64 = 0.005;
/// How far charges may be from `cpu.stat`.
const AGREED: f64 = 0.02;

#[test]
fn every_nanosecond_of_every_cpu_is_charged_once() {
    in_namespace(|| {
        let cgroup = Cgroup::new("conserved");
        let mut sampler = started(config(&cgroup));
        sleep(Duration::from_secs(2));
        check_conserved("at rest", &close(&mut sampler));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    send(1000);
                }
            });
            sleep(Duration::from_secs(2));
            let sample = close(&mut sampler);
            done.store(true, Ordering::Relaxed);
            check_conserved("under load", &sample);
            let received = vector(&sample, "net_rx");
            assert!(received.events > 1_000, "{received:?}");
        });
    });
}

#[test]
fn a_busy_cgroup_is_charged_what_cpu_stat_says() {
    in_namespace(|| {
        let cgroup = Cgroup::new("busy");
        let mut sampler = started(config(&cgroup));
        let burner = Burner::start(&cgroup, 0);
        sleep(Duration::from_secs(3));
        drop(burner);
        let sample = close(&mut sampler);
        let used = used_ns(cgroup.path());
        let charged = charged(&sample, &cgroup);
        assert!(used > 500_000_000.0, "the burner hardly ran: {used} ns");
        assert_near("charged", charged, used, AGREED);
        let row = rows_of(&sample, &cgroup)
            .find(|row| row.command.as_deref() == Some("sh"))
            .expect("a row of the burner's command");
        let name = cgroup.path().file_name().expect("a name").to_string_lossy();
        assert_eq!(row.cgroup_path, Some(format!("/{name}")));
    });
}

#[test]
fn packets_received_while_a_task_runs_are_not_charged_to_it() {
    in_namespace(|| {
        assert!(
            std::thread::available_parallelism().expect("CPUs").get() > 1,
            "sender and receiver need a CPU each"
        );
        // Whatever arrives is handled on the burner's CPU, in the burner's time.
        steer("far", 1);
        let cgroup = Cgroup::new("interrupted");
        let mut sampler = started(config(&cgroup));
        let burner = Burner::start(&cgroup, 1);
        let done = AtomicBool::new(false);
        let (sample, used) = std::thread::scope(|scope| {
            scope.spawn(|| {
                pin(0);
                // In small bursts: what lasts longer the kernel leaves to a thread of its own.
                while !done.load(Ordering::Relaxed) {
                    send(64);
                    sleep(Duration::from_micros(300));
                }
            });
            sleep(Duration::from_secs(4));
            drop(burner);
            let sample = close(&mut sampler);
            done.store(true, Ordering::Relaxed);
            (sample, used_ns(cgroup.path()))
        });
        let charged = charged(&sample, &cgroup);
        let received = vector(&sample, "net_rx");
        let softirqs = received.cpu_ns as f64;
        println!("used {used} charged {charged} in softirqs {softirqs} ({received:?})");
        assert!(
            softirqs > 0.01 * used,
            "too few softirqs to tell: {softirqs} of {used}"
        );
        assert!(
            used - charged > 0.5 * softirqs,
            "the softirqs did not interrupt the burner: used {used}, charged {charged}, {softirqs} in softirqs"
        );
        assert!(
            used < (charged + softirqs) * (1.0 + AGREED),
            "{used} used, {charged} charged and {softirqs} in softirqs"
        );
    });
}

#[test]
fn a_software_counter_takes_the_path_of_a_hardware_counter() {
    in_namespace(|| {
        let cgroup = Cgroup::new("counter");
        let mut sampler = started(Config {
            cycles: Cycles::Software,
            ..config(&cgroup)
        });
        let burner = Burner::start(&cgroup, 0);
        sleep(Duration::from_secs(2));
        drop(burner);
        let sample = close(&mut sampler);
        // The CPU clock counts nanoseconds.
        for row in sample.cpu.iter().filter(|row| row.cpu_ns > 100_000_000) {
            assert_eq!(row.cycle_source, CycleSource::Software);
            if row.scope == CpuScope::Idle {
                assert_eq!(row.cycles, None);
                continue;
            }
            let cycles = row.cycles.expect("cycles") as f64;
            assert_near("cycles", cycles, row.cpu_ns as f64, AGREED);
        }
        assert!(charged(&sample, &cgroup) > 100_000_000.0);
    });
}

#[test]
fn two_nodes_on_one_kernel_charge_no_task_twice() {
    in_namespace(|| {
        let lock = tempfile::tempdir().expect("a directory");
        let nodes = [Cgroup::new("node-a"), Cgroup::new("node-b")];
        let mut samplers = nodes.each_ref().map(|node| {
            started(Config {
                cgroup_root: Some(node.path().to_owned()),
                kernel_wide: probe_user::cli::KernelWide::Auto,
                kernel_wide_lock: lock.path().to_owned(),
                ..config(node)
            })
        });
        let burners = nodes.each_ref().map(|node| Burner::start(node, 0));
        sleep(Duration::from_secs(2));
        drop(burners);
        let samples = samplers.each_mut().map(close);
        for (at, sample) in samples.iter().enumerate() {
            let own = charged(sample, &nodes[at]);
            assert_near("own", own, used_ns(nodes[at].path()), AGREED);
            assert_eq!(charged(sample, &nodes[1 - at]), 0.0);
            let outside = scope_ns(sample, CpuScope::Outside);
            assert!(outside >= charged(&samples[1 - at], &nodes[1 - at]) * (1.0 - AGREED));
        }
        let idle = |sample: &Sample| {
            sample
                .cpu
                .iter()
                .filter(|row| row.scope == CpuScope::Idle)
                .count()
        };
        assert_eq!(samples.each_ref().map(idle), [1, 0], "one writes for all");
        check_conserved("one of two nodes", &samples[0]);
        let [first, mut second] = samplers;
        drop(first);
        assert_eq!(idle(&close(&mut second)), 1, "the other takes over");
    });
}

#[test]
fn the_probes_own_programs_are_measured() {
    in_namespace(|| {
        let cgroup = Cgroup::new("self");
        let mut sampler = started(Config {
            measure_self: true,
            ..config(&cgroup)
        });
        send(1000);
        sleep(Duration::from_millis(500));
        let sample = close(&mut sampler);
        for name in ["cpu_switch", "softirq_entry", "softirq_exit", "cpu_settle"] {
            let row = sample
                .cpu
                .iter()
                .find(|row| row.scope == CpuScope::Program && row.command.as_deref() == Some(name))
                .unwrap_or_else(|| panic!("{name} is not among {:?}", sample.cpu));
            assert!(row.events > 0 && row.cpu_ns > 0, "{row:?}");
        }
    });
}

fn config(cgroup: &Cgroup) -> Config {
    Config {
        uplinks: vec!["near".to_owned()],
        ..interfaces::config(cgroup)
    }
}

/// A sampler at the beginning of an interval.
fn started(config: Config) -> Sampler {
    Sampler::start(config).expect("a sampler")
}

fn close(sampler: &mut Sampler) -> Sample {
    let sample = sampler.close_interval().expect("an interval");
    let books = sample.ledger.iter().find(|row| row.vantage == Vantage::Cpu);
    let books = books.expect("the vantage's books");
    assert_eq!(books.overflow.buffers, 0, "{books:?}");
    assert_eq!(books.hook_misses, Some(0), "{books:?}");
    sample
}

fn check_conserved(when: &str, sample: &Sample) {
    let (start_us, end_us) = sample.interval_us;
    let cpus = std::thread::available_parallelism().expect("CPUs").get();
    let clock_ns = (end_us - start_us) as f64 * 1000.0 * cpus as f64;
    let counted = sample
        .cpu
        .iter()
        .filter(|row| row.scope != CpuScope::Program);
    let sum: i64 = counted.map(|row| row.cpu_ns).sum();
    println!("{when}: {:.5} of the clock", sum as f64 / clock_ns);
    assert_near(when, sum as f64, clock_ns, CONSERVED);
}

fn assert_near(what: &str, found: f64, expected: f64, share: f64) {
    assert!(
        (found - expected).abs() <= share * expected,
        "{what}: {found}, not {expected} within {share}"
    );
}

fn rows_of<'a>(sample: &'a Sample, cgroup: &Cgroup) -> impl Iterator<Item = &'a CpuRow> {
    let id = cgroup_id(cgroup.path()).expect("an id").cast_signed();
    let of_cgroup = move |row: &&CpuRow| row.cgroup_id == Some(id);
    sample.cpu.iter().filter(of_cgroup)
}

/// What a cgroup was charged.
fn charged(sample: &Sample, cgroup: &Cgroup) -> f64 {
    rows_of(sample, cgroup).map(|row| row.cpu_ns).sum::<i64>() as f64
}

fn scope_ns(sample: &Sample, scope: CpuScope) -> f64 {
    let rows = sample.cpu.iter().filter(|row| row.scope == scope);
    rows.map(|row| row.cpu_ns).sum::<i64>() as f64
}

fn vector<'a>(sample: &'a Sample, name: &str) -> &'a CpuRow {
    let found = sample
        .cpu
        .iter()
        .find(|row| row.vector.as_deref() == Some(name));
    found.expect("a row of the vector")
}

/// The kernel's own account of a cgroup.
fn used_ns(cgroup: &Path) -> f64 {
    let text = fs::read_to_string(cgroup.join("cpu.stat")).expect("cpu.stat");
    let usage = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))
        .expect("usage_usec");
    usage.parse::<f64>().expect("microseconds") * 1000.0
}

/// Has packets that arrive at an interface handled by one CPU.
fn steer(interface: &str, cpu: usize) {
    // A mount of sysfs shows the interfaces of the namespace that it was made in.
    let file = format!("/sys/class/net/{interface}/queues/rx-0/rps_cpus");
    let script = format!("mount -t sysfs sysfs /sys && echo {:x} > {file}", 1 << cpu);
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .status()
        .expect("unshare: apt-get install util-linux");
    assert!(status.success(), "receive packet steering needs CONFIG_RPS");
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a CPU's number");
    sched_setaffinity(Pid::from_raw(0), &set).expect("an affinity");
}

/// A shell in a cgroup that does nothing, and that without rest.
struct Burner(Child);

impl Burner {
    fn start(cgroup: &Cgroup, cpu: usize) -> Self {
        let procs = cgroup.path().join("cgroup.procs");
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        // SAFETY: the child makes a few system calls, and allocates nothing that another thread holds.
        unsafe {
            command.pre_exec(move || {
                pin(cpu);
                // Whatever else the machine does, this is what is interrupted.
                libc::setpriority(libc::PRIO_PROCESS, 0, -20);
                fs::write(&procs, "0")
            });
        }
        Self(command.spawn().expect("a shell"))
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
