//! Do the rows of `resources` say what a container used? A process of known appetite says so itself.
//!
//! `dd` copies memory within one buffer: it takes all the time of a CPU, which its own process
//! statistics tell, and holds a buffer of known size.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::{Config, Datapath, Lab, ProbeOptions};
use trace_schema::resources::{ResourceRow, ResourceScope};

use crate::dataset;

const BUFFER_BYTES: i64 = 64 << 20;
const BUSY: Duration = Duration::from_secs(4);
/// Intervals begin and end while `dd` runs; its own times are told in hundredths of a second.
const TOLERANCE: f64 = 0.05;

#[test]
fn a_containers_time_and_memory_are_what_its_process_used() {
    let dataset = tempfile::tempdir().expect("a temporary directory");
    let lab = Lab::up(Config::new(Datapath::Bpf)).expect("a lab");
    let pod = lab.pod("client");
    let v1 = V1Memory::beside(pod.cgroup());
    let options = ProbeOptions {
        nodes: vec!["worker".to_owned()],
        ..ProbeOptions::new(dataset::binary("weighbridge-probe"), dataset.path())
    };
    let probes = lab.start_probes(&options).expect("a probe");
    // Memory is charged to the cgroup that a process is in when it first writes there.
    let enter = v1.as_ref().map_or_else(String::new, V1Memory::enter);
    let script = format!(
        "{enter} exec dd if=/dev/zero of=/dev/null bs={BUFFER_BYTES} count=1000000 status=none"
    );
    let mut command = pod.command("sh").expect("a command");
    command.args(["-c", &script]);
    let mut busy = pod
        .spawn("dd", command)
        .expect("dd: apt-get install coreutils");
    std::thread::sleep(BUSY);
    let used_ns = used_ns(busy.id());
    busy.stop(Duration::from_secs(5)).expect("dd ends");
    // The interval in which it ended is in the books as well.
    std::thread::sleep(Duration::from_millis(1100));
    probes.stop().expect("the probe ends well");

    let rows = dataset::rows::<ResourceRow>(dataset.path());
    let path = pod.cgroup().display().to_string();
    let own = |row: &&ResourceRow| {
        let below = row.cgroup_path.as_deref();
        row.scope == ResourceScope::Container && below.is_some_and(|below| path.ends_with(below))
    };
    let own: Vec<&ResourceRow> = rows.iter().filter(own).collect();
    assert!(
        own.iter()
            .all(|row| row.pod_uid.is_some() && row.container_id.is_some())
    );
    let charged_ns: i64 = own.iter().filter_map(|row| row.cpu_ns).sum();
    let most = own.iter().filter_map(|row| row.memory_bytes).max();
    println!(
        "charged {charged_ns} ns of {used_ns} ns, at most {most:?} bytes, {} rows",
        own.len()
    );
    let error = charged_ns as f64 / used_ns as f64 - 1.0;
    assert!(
        error.abs() < TOLERANCE,
        "{charged_ns} ns in rows, {used_ns} ns by the process"
    );
    let most = most.expect("memory of the container");
    assert!(
        (BUFFER_BYTES..2 * BUFFER_BYTES).contains(&most),
        "{most} bytes"
    );

    check_machine(&rows, used_ns);
}

/// The machine used at least what its busiest process did, and no more than it has.
fn check_machine(rows: &[ResourceRow], used_ns: i64) {
    let machine: Vec<&ResourceRow> = rows
        .iter()
        .filter(|row| row.scope == ResourceScope::Node)
        .collect();
    let sum = |of: fn(&ResourceRow) -> Option<i64>| -> i64 {
        machine.iter().filter_map(|row| of(row)).sum()
    };
    let length_us: i64 = machine
        .iter()
        .map(|row| row.interval_end_us - row.interval_start_us)
        .sum();
    let cpus = std::thread::available_parallelism().expect("CPUs").get() as i64;
    assert!(
        machine
            .iter()
            .all(|row| row.cpus.is_some_and(|online| i64::from(online) >= cpus))
    );
    let used = sum(|row| row.cpu_ns);
    // /proc/stat counts in hundredths of a second on each CPU.
    let slack_ns = 20_000_000 * cpus * machine.len() as i64;
    assert!(
        used + slack_ns >= used_ns,
        "{used} ns of the machine, {used_ns} ns of one process"
    );
    assert!(
        used <= length_us * 1000 * cpus + slack_ns,
        "{used} ns in {length_us} us"
    );
    let total = fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let total_kib: i64 = total
        .split_whitespace()
        .nth(1)
        .and_then(|kibibytes| kibibytes.parse().ok())
        .expect("MemTotal");
    let limits = machine.iter().filter_map(|row| row.memory_limit_bytes);
    assert_eq!(limits.max(), Some(total_kib * 1024));
}

/// User and system time of a process, by `/proc/<pid>/stat`.
fn used_ns(process: u32) -> i64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).expect("dd still runs");
    let (_, behind) = text.rsplit_once(')').expect("a command in parentheses");
    let field = |number: usize| -> i64 {
        let field = behind.split_whitespace().nth(number - 3);
        field
            .and_then(|field| field.parse().ok())
            .expect("a number")
    };
    (field(14) + field(15)) * 10_000_000
}

/// The same path in cgroup v1's memory hierarchy, on machines whose v2 does not account for memory.
struct V1Memory(PathBuf);

impl V1Memory {
    fn beside(cgroup: &Path) -> Option<Self> {
        if cgroup.join("memory.current").exists() {
            return None;
        }
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc/self/mounts");
        let of = |kind: &str, option: &str| {
            mounts.lines().find_map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                let options = fields[3].split(',').any(|given| given == option);
                (fields[2] == kind && (option.is_empty() || options)).then(|| fields[1].to_owned())
            })
        };
        let v2 = of("cgroup2", "").expect("mount -t cgroup2 none /sys/fs/cgroup/unified");
        let v1 =
            of("cgroup", "memory").expect("a memory controller: boot with cgroup_enable=memory");
        let below = cgroup.strip_prefix(v2).expect("a cgroup v2 directory");
        let path = Path::new(&v1).join(below);
        fs::create_dir_all(&path).expect("a memory cgroup");
        Some(Self(path))
    }

    /// Shell words by which a process enters.
    fn enter(&self) -> String {
        format!("echo $$ > '{}/cgroup.procs' &&", self.0.display())
    }
}

impl Drop for V1Memory {
    fn drop(&mut self) {
        // The lab made none of these folders; those that others use stay.
        let mut folder = self.0.as_path();
        while fs::remove_dir(folder).is_ok() {
            let Some(above) = folder.parent() else { return };
            folder = above;
        }
    }
}
