//! A namespace of the test's own with a veth pair, and the programs loaded for it.

use std::{
    ffi::OsString,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
};

use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
};
use nix::sched::{CloneFlags, unshare};
use probe_abi::flow::hook;
use probe_user::{
    attach::{Hooks, TcPath},
    cli,
    config::Config,
    drain::{Drained, Maps},
    interfaces::{Chosen, Role, netlink::Netlink},
    loader::{Parameters, load, program},
};

/// Runs a test on a thread in a network namespace that goes with the thread, with a veth pair
/// `near` and `far` in it and a neighbour behind `near` that never answers.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root: sudo -E");
        ip("link set lo up");
        ip("link add near type veth peer name far");
        ip("link set far up");
        ip("link set near up");
        ip("addr add 192.0.2.1/24 dev near");
        ip("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev near");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a line; what it printed.
pub fn sh(line: &str) -> String {
    let mut words = line.split_whitespace();
    let name = words.next().expect("a program");
    let output = Command::new(name)
        .args(words)
        .output()
        .unwrap_or_else(|error| {
            panic!("{name}: {error}; `cargo xtask test --only setup` installs it")
        });
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Puts another's filter, which lets everything pass, on `near` (iproute2 cannot add one of a
/// kind that every kernel has without an object file).
pub fn add_filter(kind: TcAttachType, priority: u16) -> SchedClassifierLink {
    let mut ebpf = load(&parameters()).expect("the object loads");
    let found = program::<SchedClassifier>(&mut ebpf, "tunnel_ingress").expect("a program");
    let options = NlOptions {
        priority,
        handle: TcHandle::new(0, 9),
        ..NlOptions::default()
    };
    let id = found
        .attach_with_options("near", kind, TcAttachOptions::Netlink(options))
        .expect("a filter");
    found.take_link(id).expect("its link")
}

/// Runs `ip`.
pub fn ip(line: &str) {
    sh(&format!("ip {line}"));
}

/// Sends datagrams out of `near`, from a port of their own.
pub fn send(datagrams: u32) {
    let socket = UdpSocket::bind("192.0.2.1:4444").expect("a socket");
    for _ in 0..datagrams {
        socket.send_to(&[0; 64], "192.0.2.9:9").expect("a datagram");
    }
}

/// Sends datagrams out of `near` as a pod would, each from a port that the kernel chooses.
pub fn send_from(pod: &Cgroup, datagrams: u32) {
    let procs = pod.path().join("cgroup.procs");
    // No two alike: the identification of IPv4 is random, and two of the same would be ambiguous.
    let each = "echo $i.$RANDOM.$RANDOM > /dev/udp/192.0.2.9/9";
    let line = format!(
        "echo $$ > {}; for i in $(seq {datagrams}); do {each}; done",
        procs.display()
    );
    let status = Command::new("bash").args(["-c", &line]).status();
    assert!(
        status
            .expect("bash is needed: apt-get install bash")
            .success()
    );
}

/// What a probe of `near` and this pod is told.
pub fn config(pod: &Cgroup) -> Config {
    let cgroup = pod.path().display().to_string();
    let words = [
        "weighbridge-probe",
        "run",
        "--node",
        "test",
        "--output",
        "/nowhere",
    ];
    let words = words
        .into_iter()
        .chain(["--uplink", "near", "--cgroup", &cgroup]);
    let cli::Command::Run(arguments) = cli::parse(words.map(OsString::from))
        .expect("flags")
        .command
    else {
        panic!("run was asked for")
    };
    Config::new(*arguments, "test").expect("a configuration")
}

/// A probe's programs, not yet attached, and their maps.
pub struct Programs {
    /// The hooks.
    pub hooks: Hooks,
    /// The maps.
    pub maps: Maps,
}

impl Programs {
    /// Loads them for the thread's namespace.
    pub fn load(path: TcPath) -> Self {
        let mut ebpf = load(&parameters()).expect("the object loads");
        let maps = Maps::take(&mut ebpf).expect("the maps");
        let hooks = Hooks::new(ebpf, path);
        Self { hooks, maps }
    }

    /// Attaches to an uplink.
    pub fn attach(&mut self, name: &str) -> u32 {
        let chosen = chosen(name);
        self.hooks.attach(&chosen).expect("hooks on the uplink");
        chosen.link.index
    }

    /// What the closed generation held.
    pub fn drain(&mut self) -> Drained {
        let closed = self.maps.flip().expect("a flip");
        let drained = self.maps.collect(closed).expect("a drained generation");
        assert_eq!(drained.orphans, 0);
        drained
    }

    /// Datagrams of [`send`] at an uplink's egress since the last drain.
    pub fn counted(&mut self) -> u64 {
        let drained = self.drain();
        let ours = |port: u16| u16::from_be(port) == 4444;
        let flows = drained
            .flows4
            .iter()
            .filter(|(key, _)| key.hook == hook::UPLINK_EGRESS && ours(key.src_port));
        flows.map(|(_, record)| record.packets).sum()
    }
}

/// Constants for the thread's namespace.
pub fn parameters() -> Parameters {
    use std::os::unix::fs::MetadataExt;
    let namespace = std::fs::metadata("/proc/thread-self/ns/net").expect("a network namespace");
    Parameters {
        netns_inode: namespace.ino() as u32,
        ticks_per_second: 250,
        max_flows: 4096,
        http: true,
        tunnel_ports: Vec::new(),
        processors: None,
    }
}

/// A link, chosen as an uplink.
pub fn chosen(name: &str) -> Chosen {
    let survey = Netlink::open()
        .expect("rtnetlink")
        .survey()
        .expect("a survey");
    let link = survey.named(name).expect("the link").clone();
    Chosen {
        role: Role::Uplink,
        link,
    }
}

/// A cgroup of the test's own, removed at the end.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes it.
    pub fn new(name: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/mounts").expect("the mounts");
        let mut fields = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = fields
            .find(|fields| fields[2] == "cgroup2")
            .expect("a mount of cgroup v2");
        let name = format!("weighbridge-test-{}-{name}", std::process::id());
        let path = Path::new(mount[1]).join(name);
        std::fs::create_dir(&path).expect("making a cgroup needs root: sudo -E");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}
