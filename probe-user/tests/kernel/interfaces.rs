//! Interfaces that appear and go under a running probe.

use std::time::Duration;

use aya::programs::TcAttachType;
use probe_user::{
    cli::{Cycles, KernelWide, LogFormat},
    config::Config,
    sampler::Sampler,
};
use trace_schema::flows::{Direction, NatState};

use crate::place::{Cgroup, add_filter, in_namespace, ip, send, sh};

/// A probe's configuration that watches a cgroup's sockets.
pub fn config(cgroup: &Cgroup) -> Config {
    Config {
        node: "worker".to_owned(),
        output: "/nonexistent".into(),
        interval: Duration::from_secs(1),
        duration: None,
        cgroup: Some(cgroup.path().to_owned()),
        uplinks: Vec::new(),
        tunnels: Vec::new(),
        max_flows: 4096,
        tunnel_ports: Vec::new(),
        http: true,
        cgroup_root: None,
        cpu: true,
        cycles: Cycles::Auto,
        measure_self: false,
        kernel_wide: KernelWide::On,
        kernel_wide_lock: "/lib/modules".into(),
        resources: true,
        profile_hz: None,
        metrics_listen: None,
        ready_file: None,
        merge_every: Duration::from_secs(60),
        shipping: Default::default(),
        log_format: LogFormat::Text,
    }
}

fn hooked(sampler: &Sampler) -> Vec<String> {
    let mut names: Vec<String> = sampler
        .attached()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn interfaces_are_followed_while_they_come_and_go() {
    in_namespace(|| {
        let cgroup = Cgroup::new("interfaces");
        ip("route add default via 192.0.2.9");
        let mut sampler = Sampler::start(config(&cgroup)).expect("a running probe");
        assert_eq!(hooked(&sampler), ["near"]);

        ip("link add late type veth peer name later");
        ip("link set later up");
        ip("link set late up");
        ip("addr add 198.51.100.1/24 dev late");
        ip("route add default via 198.51.100.9 metric 500");
        sampler.close_interval().expect("an interval");
        assert_eq!(hooked(&sampler), ["late", "near"]);

        send(25);
        let socket = std::net::UdpSocket::bind("198.51.100.1:4445").expect("a socket");
        ip("neigh add 198.51.100.9 lladdr 02:00:00:00:00:09 dev late");
        for _ in 0..30 {
            socket
                .send_to(&[0; 64], "198.51.100.9:9")
                .expect("a datagram");
        }
        let sample = sampler.close_interval().expect("an interval");
        let packets = |interface: &str, port| {
            let flows = sample.flows.iter().filter(|row| {
                row.interface.as_deref() == Some(interface)
                    && row.direction == Direction::Egress
                    && row.src_port == port
            });
            flows
                .map(|row| (row.packets, row.nat_state))
                .collect::<Vec<_>>()
        };
        assert_eq!(packets("near", 4444), [(25, NatState::Post)]);
        assert_eq!(packets("late", 4445), [(30, NatState::Post)]);

        ip("link del late");
        sh("tc qdisc add dev near clsact");
        let _other = add_filter(TcAttachType::Egress, 5);
        sampler
            .close_interval()
            .expect("an interval without the link");
        assert_eq!(hooked(&sampler), ["near"]);
        send(5);
        let sample = sampler.close_interval().expect("an interval");
        let row = sample
            .flows
            .iter()
            .find(|row| row.src_port == 4444)
            .expect("the flow");
        // A filter of another now runs behind ours.
        assert_eq!((row.packets, row.nat_state), (5, NatState::Undetermined));
        assert!(
            sample
                .ledger
                .iter()
                .all(|row| row.interface.as_deref() != Some("late"))
        );
        sampler.stop();
        assert_eq!(sampler.attached(), []);
    });
}
