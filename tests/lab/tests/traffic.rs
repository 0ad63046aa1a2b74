//! What pods send, as the host outside sees it: the lab's own promise, without any probe.
//!
//! Needs root, iproute2 and iptables, and for the `bpf` datapath the object that
//! `cargo xtask build-ebpf` builds.

use std::net::SocketAddr;
use std::path::Path;

use lab::{
    CgroupDriver, CgroupStyle, Config, Connections, Datapath, Family, Lab, Queue, Runtime,
    ServiceConfig, cgroup2_mount,
};

const CONNECTIONS: u32 = 100;

fn check(datapath: Datapath, family: Family, random_ports: bool) {
    let config = Config {
        family,
        random_ports,
        service: Some(ServiceConfig {
            port: 80,
            target_port: 9000,
        }),
        ..Config::new(datapath)
    };
    let lab = Lab::up(config).unwrap();
    let server = lab.start_server(9000).unwrap();
    let direct = server.socket(family);
    let service = SocketAddr::new(lab.service_address().of(family), 80);
    let mut expected = Vec::new();
    for (pod, exit) in [
        ("client", lab.egress_address()),
        ("base", lab.node_address("worker")),
    ] {
        for target in [direct, service] {
            for protocol in ["tcp", "udp"] {
                let load = Connections::short(pod, protocol, target, CONNECTIONS);
                let sent = lab.connect(&load).unwrap();
                assert!(
                    sent.iter().all(|one| one.outcome == "ok"),
                    "{pod} {target}: {sent:?}"
                );
                let sources = sent.into_iter().filter_map(|one| one.source);
                expected.extend(sources.map(|source| (source, exit.of(family))));
            }
        }
    }
    let seen = server.seen().unwrap();
    for (source, exit) in &expected {
        let found = seen.iter().find(|one| one.source == *source);
        let peer = found.map(|one| one.peer.ip());
        assert_eq!(peer, Some(*exit), "{datapath:?} {family:?} {source}");
    }
    let kept = seen
        .iter()
        .filter(|one| one.peer.port() == one.source.port())
        .count();
    if random_ports {
        assert!(
            kept < seen.len() / 10,
            "{kept} of {} ports were kept",
            seen.len()
        );
    } else {
        assert!(
            kept > seen.len() / 2,
            "{kept} of {} ports were kept",
            seen.len()
        );
    }
    let id = lab.id().to_owned();
    lab.down().unwrap();
    let left = |directory: &Path| {
        let entries = std::fs::read_dir(directory).unwrap().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().contains(&id))
            .count()
    };
    assert_eq!(left(Path::new("/run/netns")), 0);
    assert_eq!(left(Path::new("/run/weighbridge-lab")), 0);
    assert_eq!(left(&cgroup2_mount().unwrap()), 0);
}

#[test]
fn netfilter_v4() {
    check(Datapath::Netfilter, Family::V4, false);
}

#[test]
fn netfilter_v6_random_ports() {
    check(Datapath::Netfilter, Family::V6, true);
}

#[test]
fn bpf_v4_random_ports() {
    check(Datapath::Bpf, Family::V4, true);
}

#[test]
fn bpf_v6() {
    check(Datapath::Bpf, Family::V6, false);
}

#[test]
fn a_queue_drops_and_processes_are_in_the_pods_cgroup() {
    let mut config = Config::new(Datapath::Netfilter);
    config.cgroups = CgroupStyle {
        driver: CgroupDriver::Cgroupfs,
        runtime: Runtime::CriO,
        nested: true,
    };
    let lab = Lab::up(config).unwrap();
    lab.limit_uplink(
        "worker",
        Queue {
            rate_kbit: 5000,
            burst_bytes: 20_000,
            limit_bytes: 20_000,
        },
    )
    .unwrap();
    lab.iperf3(&lab::IperfOptions::udp("base", 1, 50)).unwrap();
    let queue = lab
        .node("worker")
        .run("tc", ["-s", "qdisc", "show", "dev", "eth0"])
        .unwrap();
    let text = String::from_utf8(queue.stdout).unwrap();
    let dropped = text
        .split("dropped ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    assert!(dropped.unwrap().parse::<u64>().unwrap() > 0, "{text}");

    let cgroup = lab.pod("base").run("cat", ["/proc/self/cgroup"]).unwrap();
    let expected = format!(
        "kubelet/kubepods/besteffort/pod{}/crio-",
        lab.pod_uid("base")
    );
    let text = String::from_utf8(cgroup.stdout).unwrap();
    assert!(text.contains(&expected), "{text}");
}
