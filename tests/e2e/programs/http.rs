//! HTTP at the pod hooks, on real sockets: both ends of a connection say exactly what is written
//! here, a piece a segment, and the counts are held against it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
};

use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType};
use nix::sched::{CloneFlags, unshare};
use probe_abi::{
    http::{
        NO_LATENCY,
        version::{HTTP2, HTTP10, HTTP11},
    },
    loss::reason,
};
use probe_user::loader::program;

use super::rig::Rig;

const GET: &[u8] = b"GET /echo HTTP/1.1\r\nHost: echo\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const MISSING: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

/// Who speaks.
#[derive(Clone, Copy)]
enum Side {
    Client,
    Backend,
}
use Side::{Backend, Client};

/// What is said, each entry a segment.
type Script<'a> = &'a [(Side, &'a [u8])];

/// Responses by version and status, and how many of them have a latency.
type Counts = BTreeMap<(u8, u16), (u64, u64)>;

/// A cgroup whose sockets are a pod's.
struct Pod {
    rig: Rig,
    cgroup: PathBuf,
    listener: TcpListener,
}

impl Pod {
    /// Makes a pod that listens, in a network namespace that goes with the calling thread.
    fn new(address: &str) -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root: sudo -E");
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("ip runs: apt-get install iproute2").success());
        let mount = lab::cgroup2_mount().expect("cgroup v2");
        let cgroup = mount.join(format!("weighbridge-http-{}", nix::unistd::gettid()));
        fs::create_dir(&cgroup).expect("a cgroup");
        let own = fs::read_to_string("/proc/self/cgroup").expect("the test's cgroup");
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let home = mount.join(own.expect("a cgroup v2 membership"));
        // A socket belongs to the cgroup in which it was made, and what it accepts does as well.
        fs::write(cgroup.join("cgroup.procs"), "0").expect("the pod's cgroup");
        let listener = TcpListener::bind((address, 0));
        fs::write(home.join("cgroup.procs"), "0").expect("the test's own cgroup");
        Self {
            rig: Rig::new(4096),
            cgroup,
            listener: listener.expect("a socket"),
        }
    }

    fn attach(&mut self) {
        let folder = fs::File::open(&self.cgroup).expect("the cgroup");
        for (name, kind) in [
            ("pod_egress", CgroupSkbAttachType::Egress),
            ("pod_ingress", CgroupSkbAttachType::Ingress),
        ] {
            program::<CgroupSkb>(&mut self.rig.ebpf, name)
                .expect("a program")
                .attach(&folder, kind, CgroupAttachMode::Single)
                .expect("a hook");
        }
    }

    /// A connection: the client's end and the backend's.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let address = self.listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("a connection");
        let (backend, _) = self.listener.accept().expect("a connection");
        for end in [&client, &backend] {
            end.set_nodelay(true).expect("segments of their own");
        }
        (client, backend)
    }

    /// Says a script on a connection of its own and counts what came of it.
    fn say(&mut self, script: Script<'_>) -> (Counts, u64) {
        let (mut client, mut backend) = self.connect();
        say(script, &mut client, &mut backend);
        drop(client);
        drop(backend);
        self.counts()
    }

    fn counts(&mut self) -> (Counts, u64) {
        let port = self.listener.local_addr().expect("an address").port();
        let drained = self.rig.drain();
        let mut counts = Counts::new();
        for (key, count) in &drained.http {
            assert_eq!(u16::from_be(key.local_port), port, "{key:?}");
            let entry = counts.entry((key.version, key.status)).or_default();
            entry.0 += count;
            entry.1 += if key.bucket == NO_LATENCY { 0 } else { *count };
        }
        let lost = drained
            .losses
            .iter()
            .filter(|(key, _)| matches!(key.reason, reason::HTTP_UNPARSED | reason::HTTP_OVERFLOW));
        (counts, lost.map(|(_, count)| count.buffers).sum())
    }

    /// Holds what a script came to against the responses in it, all of them with a latency.
    fn check(&mut self, name: &str, script: Script<'_>, expected: &[(u8, u16, u64)]) {
        let (counts, lost) = self.say(script);
        let expected = expected
            .iter()
            .map(|&(version, status, count)| ((version, status), (count, count)));
        assert_eq!(counts, expected.collect(), "{name}");
        assert_eq!(lost, 0, "{name}");
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.cgroup);
    }
}

/// Each piece is read at the other end before the next is written, so that none are sent together.
fn say(script: Script<'_>, client: &mut TcpStream, backend: &mut TcpStream) {
    for (side, piece) in script {
        let (from, to) = match side {
            Client => (&mut *client, &mut *backend),
            Backend => (&mut *backend, &mut *client),
        };
        from.write_all(piece).expect("a piece is written");
        to.read_exact(&mut vec![0; piece.len()])
            .expect("a piece is read");
    }
}

/// Runs a test on a thread of its own, whose network goes with it.
fn in_pod(address: &'static str, test: impl FnOnce(Pod) + Send + 'static) {
    let thread = thread::spawn(move || test(Pod::new(address)));
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn http1(pod: &mut Pod) {
    let (first, rest) = GET.split_at(3);
    let (start, end) = OK.split_at(9);
    let (head, body) = OK.split_at(OK.len() - 5);
    pod.check(
        "kept alive, heads and bodies in pieces",
        &[
            (Client, GET),
            (Backend, OK),
            (Client, first),
            (Client, rest),
            (Backend, start),
            (Backend, end),
            (Client, GET),
            (Backend, head),
            (Backend, body),
            (Client, GET),
            (Backend, MISSING),
        ],
        &[(HTTP11, 200, 3), (HTTP11, 404, 1)],
    );
    let head: &[u8] = b"HEAD / HTTP/1.1\r\n\r\n";
    let three = [GET, head, GET].concat();
    let answers = [
        OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n",
        MISSING,
    ]
    .concat();
    pod.check(
        "pipelined, a HEAD among them",
        &[
            (Client, &three),
            (Backend, &answers),
            (Client, GET),
            (Backend, OK),
        ],
        &[(HTTP11, 200, 3), (HTTP11, 404, 1)],
    );
    pod.check(
        "bodies that look like responses",
        &[
            (Client, GET),
            (Backend, b"HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n"),
            (Backend, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            (Client, GET),
            (
                Backend,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n13\r\n",
            ),
            (Backend, b"HTTP/1.1 200 OK\r\n\r\n\r\n0\r\n"),
            (Backend, b"\r\n"),
            (Client, GET),
            (Backend, MISSING),
        ],
        &[(HTTP11, 200, 2), (HTTP11, 404, 1)],
    );
    pod.check(
        "interim responses and ones without a body",
        &[
            (
                Client,
                b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 18\r\n\r\n",
            ),
            (Backend, b"HTTP/1.1 100 Continue\r\n\r\n"),
            (Client, b"GET / HTTP/1.1\r\n\r\n"),
            (Backend, b"HTTP/1.1 204 No Content\r\n\r\n"),
            (Client, GET),
            (
                Backend,
                b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            ),
            (Client, GET),
            (Backend, OK),
        ],
        &[
            (HTTP11, 100, 1),
            (HTTP11, 204, 1),
            (HTTP11, 304, 1),
            (HTTP11, 200, 1),
        ],
    );
    pod.check(
        "HTTP/1.0, its body ended by the connection's end",
        &[
            (Client, b"GET / HTTP/1.0\r\n\r\n"),
            (Backend, b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 500 No\r\n\r\n"),
            (Backend, b"HTTP/1.1 500 No\r\n\r\n"),
        ],
        &[(HTTP10, 200, 1)],
    );
}

#[test]
fn responses_are_counted_to_the_last() {
    in_pod("127.0.0.1", |mut pod| {
        pod.attach();
        http1(&mut pod);
    });
}

#[test]
fn responses_are_counted_over_ipv6() {
    in_pod("::1", |mut pod| {
        pod.attach();
        http1(&mut pod);
    });
}

#[test]
fn frames_are_followed() {
    const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
        \0\0\0\x04\0\0\0\0\0\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";
    let next = |stream: u8| [b"\0\0\x03\x01\x05\0\0\0", &[stream][..], b"\xbe\x86\x84"].concat();
    in_pod("127.0.0.1", move |mut pod| {
        pod.attach();
        pod.check(
            "prior knowledge, the backend speaking first, trailers",
            &[
                (Backend, b"\0\0\0\x04\0\0\0\0\0"),
                (Client, OPENING),
                (
                    Backend,
                    b"\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x02\0\0\0\0\0\x01ok",
                ),
                (Backend, b"\0\0\x01\x01\x05\0\0\0\x01\xbe"),
                (Client, &next(3)),
                (Backend, b"\0\0\x05\x01\x05\0\0"),
                (Backend, b"\0\x03\x48\x03503"),
                (Client, &next(5)),
                (Backend, b"\0\0\x04\x01\x05\0\0\0\x05\x48\x82\x10\x03"),
            ],
            &[(HTTP2, 200, 1), (HTTP2, 503, 1), (HTTP2, 201, 1)],
        );
        let (counts, lost) = pod.say(&[
            (Client, OPENING),
            (Backend, b"\0\0\x01\x01\x05\0\0\0\x01\xbf"),
        ]);
        // A status from the dynamic table: counted, and said to be unread.
        assert_eq!(counts, Counts::from([((HTTP2, 0), (1, 1))]));
        assert_eq!(lost, 1);
    });
}

#[test]
fn a_connection_older_than_the_probe_is_taken_up() {
    in_pod("127.0.0.1", |mut pod| {
        let (mut client, mut backend) = pod.connect();
        say(
            &[(Client, GET), (Backend, &OK[..30])],
            &mut client,
            &mut backend,
        );
        pod.attach();
        // The rest of the response makes its flow one that is not looked at.
        say(&[(Backend, &OK[30..])], &mut client, &mut backend);
        for _ in 0..3 {
            say(&[(Client, GET), (Backend, OK)], &mut client, &mut backend);
        }
        let (counts, lost) = pod.counts();
        assert_eq!(counts, Counts::from([((HTTP11, 200), (3, 3))]));
        assert_eq!(lost, 0);
    });
}

#[test]
fn other_protocols_count_nothing() {
    in_pod("127.0.0.1", |mut pod| {
        pod.attach();
        let (counts, lost) = pod.say(&[
            (Client, b"GET key\r\n"),
            (Backend, b"$5\r\nHTTP/1.1 200 OK\r\n"),
            (Client, b"\x16\x03\x01\x02\0\x01\0"),
            (Backend, b"HTTP/1.1 200 OK\r\n\r\n"),
        ]);
        assert_eq!((counts, lost), (Counts::new(), 0));
    });
}
