//! Processor time held against the kernel's own accounts: `cpu.stat` of cgroups and the clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command},
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use aya::maps::{PerCpuArray, PerCpuValues};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use probe_abi::cpu::CpuState;
use probe_user::{
    attach::{
        Hooks, TcPath,
        calling::{Nothing, Way},
        cpu::{RunTime, Settled},
    },
    cgroups::{self, index::cgroup_id},
    cli::Cycles,
    clock,
    config::Config,
    drain::{
        Maps,
        cpu::{CpuDrained, CpuMaps},
    },
    loader::{
        NOTHING_CGROUP, NOTHING_TC, NOTHING_TRACEPOINT, Parameters, ProcessorParameters,
        load_common,
    },
    sampler::{Sample, Sampler},
};
use trace_schema::{
    cpu::{CpuRow, CpuScope, CycleSource, MEASURING},
    flows::Direction,
    ledger::Vantage,
};

use crate::{
    interfaces,
    place::{self, Cgroup, in_namespace, send},
};

/// How far sums may be from the clock.
const CONSERVED: f64 = 0.005;
/// More than any machine has.
const NO_CPU: u32 = 1 << 20;
/// How far charges may be from `cpu.stat`.
const AGREED: f64 = 0.02;

/// Datagrams to the neighbour that never answers, without rest.
const FLOOD: &str = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True: s.sendto(b'x' * 64, ('192.0.2.9', 9))";

#[test]
fn every_nanosecond_of_every_cpu_is_charged_once() {
    in_namespace(|| {
        let cgroup = Cgroup::new("conserved");
        let mut sampler = started(config(&cgroup));
        sleep(Duration::from_secs(2));
        check_conserved("at rest", &close(&mut sampler));
        let done = AtomicBool::new(false);
        let runs_before = network_softirqs();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    send(1000);
                }
            });
            sleep(Duration::from_secs(2));
            let sample = close(&mut sampler);
            let runs = network_softirqs() - runs_before;
            done.store(true, Ordering::Relaxed);
            check_conserved("under load", &sample);
            let events =
                (vector(&sample, "net_rx").events + vector(&sample, "net_tx").events) as f64;
            println!("{events} network softirqs, {runs} by /proc/softirqs");
            assert!(runs > 1_000.0, "only {runs} softirqs");
            assert_near("softirqs", events, runs, AGREED);
        });
    });
}

#[test]
fn a_busy_cgroup_is_charged_what_cpu_stat_says() {
    in_namespace(|| {
        let cgroup = Cgroup::new("busy");
        let mut sampler = started(config(&cgroup));
        let stolen_before = stolen_ns();
        let burner = Burner::start(&cgroup, 0);
        sleep(Duration::from_secs(10));
        drop(burner);
        let sample = close(&mut sampler);
        let used = used_ns(cgroup.path());
        let charged = charged(&sample, &cgroup);
        println!("used {used} ns, charged {charged} ns");
        assert!(used > 500_000_000.0, "the burner hardly ran: {used} ns");
        assert_accounts_agree(
            charged,
            used,
            softirqs_ns(&sample),
            stolen_ns() - stolen_before,
        );
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
        let cgroup = Cgroup::new("interrupted");
        let mut sampler = started(config(&cgroup));
        // What it sends arrives at the other end at once, in a softirq that its own CPU runs while it
        // is the running task: the kernel counts that to the task.
        let stolen_before = stolen_ns();
        let sender = Burner::run(&cgroup, 0, &["python3", "-c", FLOOD]);
        sleep(Duration::from_secs(3));
        drop(sender);
        let sample = close(&mut sampler);
        let used = used_ns(cgroup.path());
        let charged = charged(&sample, &cgroup);
        let softirqs = vector(&sample, "net_rx").cpu_ns as f64;
        println!("used {used}, charged {charged}, all softirqs {softirqs}");
        assert!(
            charged < 0.9 * used,
            "softirqs are charged to the task: {charged} of {used}"
        );
        assert_accounts_agree(charged, used, softirqs, stolen_ns() - stolen_before);
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
        let stolen_before = stolen_ns();
        let burners = nodes.each_ref().map(|node| Burner::start(node, 0));
        sleep(Duration::from_secs(2));
        drop(burners);
        let samples = samplers.each_mut().map(close);
        let stolen = stolen_ns() - stolen_before;
        for (at, sample) in samples.iter().enumerate() {
            let own = charged(sample, &nodes[at]);
            // One of them tells of the softirqs, which are of the whole machine.
            let softirqs = samples.each_ref().map(softirqs_ns).iter().sum();
            assert_accounts_agree(own, used_ns(nodes[at].path()), softirqs, stolen);
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
        let before = Instant::now();
        let mut sampler = started(Config {
            measure_self: true,
            ..config(&cgroup)
        });
        let after = Instant::now();
        let programs = |sample: &Sample| -> BTreeMap<String, CpuRow> {
            let rows = sample.cpu.iter();
            let rows = rows.filter(|row| row.scope == CpuScope::Program);
            rows.map(|row| (row.command.clone().expect("a name"), row.clone()))
                .collect()
        };
        assert_eq!(programs(&close(&mut sampler)), BTreeMap::new(), "not begun");
        sleep(Duration::from_millis(500));
        let begins = Instant::now();
        sampler.measure_self();
        let begun = Instant::now();
        send(1000);
        sleep(Duration::from_millis(500));
        let ends = Instant::now();
        let sample = close(&mut sampler);
        let ended = Instant::now();
        let programs = programs(&sample);
        for name in [
            "cpu_switch",
            "softirq_entry",
            "softirq_exit",
            "uplink_egress",
        ] {
            let row = &programs[name];
            assert!(row.cpu_ns > 0, "{row:?}");
        }
        for name in [NOTHING_TC, NOTHING_CGROUP, NOTHING_TRACEPOINT] {
            assert!(!programs.contains_key(name), "what measured is counted");
        }
        // What ran in the measured part stands for the whole time since the start.
        let of_all = programs.iter().filter(|(name, _)| *name != MEASURING);
        let events: i64 = of_all.map(|(_, row)| row.events).sum();
        let parts = events as f64 / programs[MEASURING].events as f64;
        let ratio = |whole: Duration, part: Duration| whole.as_secs_f64() / part.as_secs_f64();
        let least = ratio(ends - after, ended - begins);
        let most = ratio(ended - before, ends - begun);
        assert!(
            (0.99 * least..1.01 * most).contains(&parts),
            "{parts}, not {least} to {most}"
        );
        let counted = sample
            .flows
            .iter()
            .filter(|row| row.vantage == Vantage::Uplink && row.direction == Direction::Egress);
        let counted: i64 = counted.map(|row| row.buffers).sum();
        let runs = programs["uplink_egress"].events as f64 / parts;
        assert_near("runs", runs, counted as f64, 0.01);
        // A clock reading takes some nanoseconds on any machine, and no microsecond.
        let ns = programs[MEASURING].cpu_ns as f64 / programs[MEASURING].events as f64;
        assert!((1.0..1000.0).contains(&ns), "{ns} ns a run");
    });
}

#[test]
fn what_a_full_map_turns_away_is_counted_and_its_time_kept() {
    in_namespace(|| {
        let (mut hooks, mut maps, mut accounts) = charging(4);
        hooks.attach_processors(true).expect("the programs");
        let start_ns = settle(&mut hooks, &online());
        // More commands than the CPUs have at hand.
        for number in 0..1000 {
            let thread = std::thread::Builder::new().name(format!("wb-{number}"));
            let sleeper = thread.spawn(|| sleep(Duration::from_micros(100)));
            sleeper.expect("a thread").join().expect("its end");
        }
        let clock_ns = (settle(&mut hooks, &online()) - start_ns) * online().len() as u64;
        maps.flip().expect("a flip");
        let drained = accounts
            .collect(0, &online())
            .expect("the accounts of the epoch");
        let totals = drained.totals;
        assert!(totals.overflow.events > 100, "{totals:?}");
        assert_eq!((drained.entries, drained.capacity), (4, 4));
        assert_near("charged", all_charged(&drained), clock_ns as f64, CONSERVED);
    });
}

#[test]
fn the_time_of_a_cpu_that_was_not_settled_is_not_lost() {
    in_namespace(|| {
        let (mut hooks, mut maps, mut accounts) = charging(1024);
        hooks.attach_processors(true).expect("the programs");
        let start_ns = settle(&mut hooks, &online());
        sleep(Duration::from_millis(200));
        // All but the last.
        let last = online().last().copied().expect("a CPU");
        let others = online().into_iter().filter(|&cpu| cpu != last).collect();
        settle(&mut hooks, &others);
        maps.flip().expect("a flip");
        let short = accounts
            .collect(0, &online())
            .expect("the accounts of the epoch");
        sleep(Duration::from_millis(200));
        let clock_ns = (settle(&mut hooks, &online()) - start_ns) * online().len() as u64;
        maps.flip().expect("a flip");
        let rest = accounts
            .collect(1, &online())
            .expect("the accounts of the epoch");
        let found = all_charged(&short) + all_charged(&rest);
        assert_near("charged", found, clock_ns as f64, CONSERVED);
        assert_eq!(hooks.settle(NO_CPU).expect("an answer"), Settled::Off);
    });
}

#[test]
fn a_cpu_whose_softirq_program_is_writing_is_not_taken_for_settled() {
    let parameters = Parameters {
        processors: Some(ProcessorParameters {
            counters: false,
            max_accounts: 4,
        }),
        ..place::parameters()
    };
    let mut ebpf = load_common(&parameters).expect("the object loads");
    let states = ebpf.take_map("CPU").expect("the CPUs' states");
    let mut states = PerCpuArray::<_, CpuState>::try_from(states).expect("an array");
    let mut hooks = Hooks::new(ebpf, TcPath::of_kernel());
    let mut set_busy = |busy| {
        let mut values = states.get(&0, 0).expect("the states").to_vec();
        values[0].busy = busy;
        let values = PerCpuValues::try_from(values).expect("as many");
        states.set(0, values, 0).expect("a state that takes");
    };
    set_busy(1);
    let settled = hooks.settle(0).expect("an answer");
    assert!(matches!(settled, Settled::Missed(_)), "{settled:?}");
    set_busy(0);
    assert_eq!(hooks.settle(0).expect("an answer"), Settled::Done);
}

#[test]
fn measuring_calls_leaves_nothing_behind() {
    in_namespace(|| {
        let pod = Cgroup::new("calls");
        let own = cgroups::own(pod.path()).expect("this process's cgroup");
        let procs = fs::read_to_string(own.join("cgroup.procs")).expect("its processes");
        assert!(
            procs
                .lines()
                .any(|line| line == std::process::id().to_string())
        );
        let namespace = fs::read_link("/proc/thread-self/ns/net").expect("a namespace");

        let (mut hooks, _maps, _accounts) = charging(64);
        let calls = hooks.measure_calls(&own).expect("figures");
        for way in [Way::Tc, Way::Cgroup, Way::Tracepoint] {
            let nothing = calls.of(way);
            // Reading the clock takes some nanoseconds on any machine, and no microsecond.
            assert!((1.0..1000.0).contains(&nothing.run_time), "{calls:?}");
            assert!((0.0..100_000.0).contains(&nothing.unmeasured), "{calls:?}");
        }
        // What statistics say a program ran is part of what a datagram took longer.
        let sum = |figure: fn(&Nothing) -> f64| {
            figure(&calls.tc) + figure(&calls.cgroup) + figure(&calls.tracepoint)
        };
        let (run_time, measured) = (
            sum(|nothing| nothing.run_time),
            sum(|nothing| nothing.measured),
        );
        assert!(measured > 0.5 * run_time, "{calls:?}");
        let is_here = fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
        assert_eq!(is_here, namespace, "the caller has moved");

        assert!(!has_nothing(&hooks.run_times()), "it is still loaded");
    });
}

#[test]
fn calls_are_not_measured_on_a_cgroup_that_sees_none() {
    in_namespace(|| {
        let others = Cgroup::new("others");
        let (mut hooks, _maps, _accounts) = charging(64);
        let error = hooks.measure_calls(others.path()).expect_err("no figures");
        let error = format!("{error:#}");
        assert!(error.contains("did not run (Cgroup)"), "{error}");
        assert!(!has_nothing(&hooks.run_times()), "it is still loaded");
    });
}

fn has_nothing(run_times: &[RunTime]) -> bool {
    let nothing = [NOTHING_TC, NOTHING_CGROUP, NOTHING_TRACEPOINT];
    let mut programs = run_times.iter().map(|run| run.program.as_str());
    programs.any(|program| nothing.contains(&program))
}

/// What charges processor time, not yet attached, with this many accounts.
fn charging(max_accounts: u32) -> (Hooks, Maps, CpuMaps) {
    let parameters = Parameters {
        processors: Some(ProcessorParameters {
            counters: false,
            max_accounts,
        }),
        ..place::parameters()
    };
    let mut ebpf = load_common(&parameters).expect("the object loads");
    let maps = Maps::take(&mut ebpf).expect("the maps");
    let accounts = CpuMaps::take(&mut ebpf).expect("the accounts");
    (Hooks::new(ebpf, TcPath::of_kernel()), maps, accounts)
}

fn online() -> BTreeSet<u32> {
    let count = std::thread::available_parallelism().expect("CPUs").get();
    (0..count as u32).collect()
}

/// Settles these CPUs and gives the time.
fn settle(hooks: &mut Hooks, cpus: &BTreeSet<u32>) -> u64 {
    for &cpu in cpus {
        assert_eq!(
            hooks.settle(cpu).expect("an answer"),
            Settled::Done,
            "CPU {cpu}"
        );
    }
    clock::monotonic_ns().expect("the time")
}

/// Nanoseconds of all accounts and totals.
fn all_charged(drained: &CpuDrained) -> f64 {
    let totals = drained.totals;
    let without = [
        totals.net_rx,
        totals.net_tx,
        totals.idle,
        totals.outside,
        totals.overflow,
    ];
    let charges = drained.accounts.values().chain(&without);
    charges.map(|charge| charge.ns as f64).sum()
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

/// Time in network softirqs, all of which may have interrupted the same task.
fn softirqs_ns(sample: &Sample) -> f64 {
    scope_ns(sample, CpuScope::Softirq)
}

/// What the hypervisor took of all CPUs since the machine's start (`steal` of /proc/stat, in ticks).
fn stolen_ns() -> f64 {
    let text = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let fields: Vec<&str> = text
        .lines()
        .next()
        .expect("a line")
        .split_whitespace()
        .collect();
    fields[8].parse::<f64>().expect("ticks") * 1e7
}

/// The kernel counts softirqs to the task that they interrupt, and leaves out what was stolen from it.
fn assert_accounts_agree(charged: f64, used: f64, softirqs: f64, stolen: f64) {
    assert!(
        used + stolen > charged * (1.0 - AGREED) && used < (charged + softirqs) * (1.0 + AGREED),
        "{used} used, {stolen} stolen, {charged} charged and {softirqs} in softirqs"
    );
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

/// Runs of the network's softirqs since the machine started, as the kernel counts them.
fn network_softirqs() -> f64 {
    let text = fs::read_to_string("/proc/softirqs").expect("/proc/softirqs");
    let lines = text.lines().map(str::split_whitespace);
    let counts = lines.filter_map(|mut words| {
        let name = words.next()?;
        matches!(name, "NET_RX:" | "NET_TX:")
            .then(|| words.flat_map(str::parse::<f64>).sum::<f64>())
    });
    counts.sum()
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

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a CPU's number");
    sched_setaffinity(Pid::from_raw(0), &set).expect("an affinity");
}

/// A process in a cgroup that never rests: a shell that does nothing, where nothing else is given.
struct Burner(Child);

impl Burner {
    fn start(cgroup: &Cgroup, cpu: usize) -> Self {
        Self::run(cgroup, cpu, &["sh", "-c", "while :; do :; done"])
    }

    fn run(cgroup: &Cgroup, cpu: usize, line: &[&str]) -> Self {
        let procs = cgroup.path().join("cgroup.procs");
        let mut command = Command::new(line[0]);
        command.args(&line[1..]);
        // SAFETY: the child makes a few system calls, and allocates nothing that another thread holds.
        unsafe {
            command.pre_exec(move || {
                pin(cpu);
                fs::write(&procs, "0")
            });
        }
        Self(
            command
                .spawn()
                .expect("sh; python3: apt-get install python3"),
        )
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
