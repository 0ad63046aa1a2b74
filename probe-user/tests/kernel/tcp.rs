//! TCP state: what the pod hook samples, beside what iperf3 read from the same socket.

use std::{
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use probe_abi::flow::hook;
use probe_user::attach::TcPath;
use serde_json::Value;

use crate::place::{Cgroup, Programs, in_namespace, ip, sh};

/// Runs an iperf3 server for one test behind `far`, in a namespace of its own that drops one
/// segment in fifty.
fn serve(ready: &mpsc::Sender<libc::pid_t>, moved: &mpsc::Receiver<()>) {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root: sudo -E");
    ready
        .send(nix::unistd::gettid().as_raw())
        .expect("the test waits");
    moved.recv().expect("far has come");
    ip("addr add 192.0.2.9/24 dev far");
    ip("link set far up");
    sh("nft add table inet loss");
    sh("nft add chain inet loss arriving { type filter hook input priority 0 ; }");
    sh("nft add rule inet loss arriving tcp dport 5999 numgen random mod 50 == 0 drop");
    // Bounded, since a test that fails sends no client.
    let output = Command::new("timeout")
        .args(["30", "iperf3", "-s", "-1", "-p", "5999"])
        .output()
        .expect("timeout is needed: apt-get install coreutils");
    assert!(
        output.status.success(),
        "iperf3 is needed: apt-get install iperf3; {output:?}"
    );
}

/// Runs an iperf3 client in a cgroup and returns its report.
fn load(cgroup: &Cgroup) -> Value {
    let procs = cgroup.path().join("cgroup.procs");
    let client = "iperf3 -c 192.0.2.9 -p 5999 -t 3 -b 20M -J";
    let line = format!("echo $$ > {} && exec {client}", procs.display());
    for _ in 0..50 {
        let output = Command::new("sh")
            .args(["-c", &line])
            .stderr(Stdio::inherit())
            .output()
            .expect("a shell");
        let report: Value = serde_json::from_slice(&output.stdout).expect("iperf3's report");
        if report.get("error").is_none() {
            return report;
        }
        // The server is still starting.
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("no iperf3 server after five seconds");
}

#[test]
fn sampled_tcp_state_agrees_with_the_sockets_own() {
    in_namespace(|| {
        let (tell_ready, ready) = mpsc::channel();
        let (tell_moved, moved) = mpsc::channel();
        let server = std::thread::spawn(move || serve(&tell_ready, &moved));
        let thread = ready.recv().expect("a server");
        ip("neigh del 192.0.2.9 dev near");
        ip(&format!("link set far netns {thread}"));
        tell_moved.send(()).expect("the server waits");

        let cgroup = Cgroup::new("tcp");
        let mut ours = Programs::load(TcPath::Tcx);
        ours.hooks
            .attach_pods(cgroup.path())
            .expect("the pod hooks");
        let report = load(&cgroup);
        server.join().expect("the server's thread");

        let drained = ours.drain();
        let (key, record) = drained
            .flows4
            .iter()
            .filter(|(key, _)| key.hook == hook::POD_EGRESS && key.protocol == 6)
            .max_by_key(|(_, record)| record.bytes)
            .expect("the connection that carried the data");
        let stream = &report["end"]["streams"][0]["sender"];
        let number = |value: &Value| value.as_u64().expect("a number");
        let local_port = number(&report["start"]["connected"][0]["local_port"]);
        assert_eq!(u64::from(u16::from_be(key.src_port)), local_port);
        assert_eq!(record.tcp_sampled, 1);
        let (least, most) = (number(&stream["min_rtt"]), number(&stream["max_rtt"]));
        let srtt_us = u64::from(record.srtt_us);
        assert!(
            (least / 2..=most * 2).contains(&srtt_us),
            "{srtt_us} µs in {least}..{most}"
        );
        // iperf3's least is that of the smoothed times.
        let min_rtt_us = u64::from(record.min_rtt_us);
        assert!(
            (1..=least).contains(&min_rtt_us),
            "{min_rtt_us} µs, not at most {least}"
        );
        let told = number(&stream["retransmits"]);
        assert!(told > 0, "segments were dropped");
        // The last sample is taken at the FIN, iperf3's a moment before.
        assert!(
            told.abs_diff(u64::from(record.retransmits)) <= 3,
            "{record:?} and {told}"
        );
        let window = u64::from(record.cwnd_segments);
        let largest = number(&stream["max_snd_cwnd"]) / 1448;
        assert!(
            (1..=largest + 1).contains(&window),
            "{window} of at most {largest} segments"
        );
    });
}
