//! Interfaces as rtnetlink tells them, in network namespaces made for the purpose, beside what
//! iproute2 says of the same namespace.

use std::net::UdpSocket;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use probe_user::interfaces::Role;
use probe_user::interfaces::follow::{Change, Follow};
use probe_user::interfaces::netlink::Netlink;
use serde_json::Value;

/// Runs a test in a network namespace of its own, which goes with the thread.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("making a network namespace needs root: sudo -E");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn sh(line: &str) -> String {
    sh_with(line, None)
}

/// Runs a line, with a last argument that has blanks in it.
fn sh_with(line: &str, last: Option<&str>) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap();
    let output = Command::new(program)
        .args(words.chain(last))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; apt-get install iproute2"));
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn json(line: &str) -> Vec<Value> {
    serde_json::from_str(&sh(line)).unwrap()
}

/// A node: uplink with an IPv4 default route, a second one for IPv6 only, tunnels, a pod's veth.
fn make_node() {
    sh("ip link add up0 type veth peer name far0");
    sh("ip link add up1 type veth peer name far1");
    sh("ip link add pod0 type veth peer name eth0");
    for link in ["lo", "up0", "far0", "up1", "far1", "pod0", "eth0"] {
        sh(&format!("ip link set {link} up"));
    }
    sh("ip addr add 192.0.2.2/24 dev up0");
    sh("ip addr add 2001:db8::2/64 dev up1 nodad");
    sh("ip addr add 198.51.100.1/32 dev pod0");
    sh("ip route add default via 192.0.2.1");
    sh("ip -6 route add default via 2001:db8::1");
    sh("ip route add default dev pod0 table 100");
    sh("ip link add vx0 type vxlan id 1 remote 192.0.2.9 dstport 8472 dev up0");
    sh("ip link add vx1 type vxlan id 2 remote 192.0.2.9 dstport 8473");
    sh("ip link add gpe0 type vxlan gpe external dstport 4790");
    sh("ip link add down0 type vxlan id 3 remote 192.0.2.9 dstport 8474");
    for link in ["vx0", "vx1", "gpe0"] {
        sh(&format!("ip link set {link} up"));
    }
}

#[test]
fn uplinks_and_tunnels_are_found_in_the_namespace_of_the_thread() {
    in_namespace(|| {
        make_node();
        let survey = Netlink::open().unwrap().survey().unwrap();
        let chosen = survey.choose(&[], &[]).unwrap();
        let names = |role| -> Vec<&str> {
            let of_role = chosen.iter().filter(|chosen| chosen.role == role);
            let mut names: Vec<&str> = of_role.map(|chosen| chosen.link.name.as_str()).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(Role::Uplink), ["up0", "up1"]);
        assert_eq!(names(Role::Tunnel), ["gpe0", "vx0", "vx1"]);
        assert_eq!(survey.named("vx0").unwrap().link_header_bytes, 14);
        assert_eq!(survey.named("gpe0").unwrap().link_header_bytes, 0);
    });
}

#[test]
fn links_are_those_that_iproute2_lists() {
    in_namespace(|| {
        make_node();
        let survey = Netlink::open().unwrap().survey().unwrap();
        let listed = json("ip -d -j link");
        assert_eq!(survey.links.len(), listed.len());
        for (link, listed) in survey.links.iter().zip(&listed) {
            assert_eq!(listed["ifindex"], link.index);
            assert_eq!(listed["ifname"], link.name.as_str());
            let kind = listed["linkinfo"]["info_kind"].as_str();
            assert_eq!(kind, link.kind.as_deref());
        }
    });
}

#[test]
fn multipath_default_routes_lead_by_every_hop() {
    in_namespace(|| {
        make_node();
        sh("ip route del default");
        sh("ip addr add 203.0.113.2/24 dev far1");
        sh("ip route add default nexthop via 192.0.2.1 nexthop via 203.0.113.1");
        let survey = Netlink::open().unwrap().survey().unwrap();
        for (name, leads) in [("up0", true), ("far1", true), ("pod0", false)] {
            assert_eq!(
                survey.named(name).unwrap().has_default_route,
                leads,
                "{name}"
            );
        }
    });
}

#[test]
fn links_that_come_go_and_are_renamed_are_followed() {
    in_namespace(|| {
        make_node();
        let mut netlink = Netlink::open().unwrap();
        let first = netlink.survey().unwrap();
        let mut follow = Follow::start(Vec::new(), Vec::new(), &first).unwrap();
        assert_eq!(follow.step(&netlink.survey().unwrap()), []);
        sh("ip link del vx1");
        sh("ip link set vx0 down");
        sh("ip link set vx0 name vx9");
        sh("ip link set vx9 up");
        sh("ip link add vx7 type vxlan id 7 remote 192.0.2.7 dstport 8477");
        sh("ip link set vx7 up");
        let changes = follow.step(&netlink.survey().unwrap());
        let told: Vec<String> = changes
            .iter()
            .map(|change| match change {
                Change::Appeared(chosen) => format!("appeared {}", chosen.link.name),
                Change::Gone(chosen) => format!("gone {}", chosen.link.name),
                Change::Renamed { from, to } => format!("{from} is now {}", to.link.name),
            })
            .collect();
        assert_eq!(told, ["vx0 is now vx9", "gone vx1", "appeared vx7"]);
    });
}

/// Sends datagrams out of `link`, where nobody answers.
fn flood(link: &str, packets: u64) {
    sh(&format!(
        "ip neigh replace 192.0.2.77 lladdr 02:00:00:00:00:77 dev {link}"
    ));
    let socket = UdpSocket::bind("192.0.2.2:0").unwrap();
    for _ in 0..packets {
        // A full queue may refuse the datagram to the sender; that is what is wanted here.
        let _ = socket.send_to(&[0; 1000], "192.0.2.77:9");
    }
}

/// Root total and drops of each child, as tc counts them.
fn tc_drops(link: &str) -> (u64, Vec<u64>) {
    let mut children = Vec::new();
    let mut root = 0;
    for qdisc in json(&format!("tc -s -j qdisc show dev {link}")) {
        let drops = qdisc["drops"].as_u64().unwrap();
        if qdisc["root"].as_bool() == Some(true) {
            root = drops;
        } else {
            children.push(drops);
        }
    }
    (root, children)
}

fn check_drops(commands: &[&str]) {
    let commands: Vec<String> = commands.iter().map(|&command| command.to_owned()).collect();
    in_namespace(move || {
        // Neighbour and multicast messages of IPv6 would be dropped as well, whenever they come.
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        sh("ip link add up0 numtxqueues 2 type veth peer name far0");
        sh("ip link set up0 up");
        sh("ip link set far0 up");
        sh("ip addr add 192.0.2.2/24 dev up0");
        for command in &commands {
            sh(command);
        }
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.survey().unwrap().named("up0").unwrap().index;
        let before = netlink.counters().unwrap()[&index];
        let (sent_before, packets) = (before.tx_packets, 200u64);
        flood("up0", packets);
        let after = netlink.counters().unwrap()[&index];
        let (root, children) = tc_drops("up0");
        assert!(root > 0, "nothing was dropped: {commands:?}");
        assert_eq!(u64::from(after.queues.root_packets), root);
        let most = children.iter().sum::<u64>().max(root);
        assert_eq!(
            root, most,
            "the root does not count its children: {children:?}"
        );
        let dropped = u64::from(after.queues.root_since(&before.queues));
        // The rest waits in the short queues.
        let accounted = after.tx_packets - sent_before + dropped;
        assert!(
            (packets - 8..=packets + 8).contains(&accounted),
            "{accounted} of {packets}"
        );
        let alone = netlink.counters_of(index).unwrap().unwrap();
        assert!(alone.tx_packets >= after.tx_packets && alone.tx_bytes >= after.tx_bytes);
    });
}

#[test]
fn queue_drops_are_tcs_own_total() {
    check_drops(&["tc qdisc add dev up0 root tbf rate 8kbit burst 2000 limit 2000"]);
}

#[test]
fn drops_below_a_multiqueue_root_are_counted_once() {
    check_drops(&[
        "tc qdisc add dev up0 root handle 1: mq",
        "tc qdisc add dev up0 parent 1:1 tbf rate 8kbit burst 2000 limit 2000",
        "tc qdisc add dev up0 parent 1:2 tbf rate 8kbit burst 2000 limit 2000",
    ]);
}

#[test]
fn drops_below_a_classful_root_are_counted_once() {
    check_drops(&[
        "tc qdisc add dev up0 root handle 1: htb default 1",
        "tc class add dev up0 parent 1: classid 1:1 htb rate 8kbit burst 2000",
        "tc qdisc add dev up0 parent 1:1 pfifo limit 2",
    ]);
}

#[test]
fn filters_drops_stand_apart() {
    in_namespace(|| {
        make_node();
        sh("tc qdisc add dev up0 clsact");
        // One classic BPF instruction: return TC_ACT_SHOT.
        let filter = "tc filter add dev up0 egress bpf direct-action bytecode";
        sh_with(filter, Some("1,6 0 0 2"));
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.survey().unwrap().named("up0").unwrap().index;
        let before = netlink.counters().unwrap()[&index];
        flood("up0", 20);
        let after = netlink.counters().unwrap()[&index];
        assert!(after.queues.clsact_since(&before.queues) >= 20);
        assert_eq!(after.queues.root_since(&before.queues), 0);
    });
}

#[test]
fn a_link_that_is_gone_has_no_counters() {
    in_namespace(|| assert_eq!(Netlink::open().unwrap().counters_of(4711).unwrap(), None));
}
