//! Datagrams at a steady rate to a socket that nobody reads: the same work in every run.
//!
//! Whether a receiver is woken for each datagram or for ten at once moves CPU time a packet by more
//! than a probe costs. Here nobody is woken, and what is left of the scatter is the machine's.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::bench::{Bench, FAR, Load};
use crate::estimate::Run;
use crate::machine::{Running, busy_ns, in_cgroup, inside, on_cpu, switches};

/// What the load is called.
pub const NAME: &str = "datagrams to nobody";
/// First argument of this program where it is the sender, and where it holds the socket.
const SEND: &str = "send-datagrams";
const HOLD: &str = "hold-socket";
/// What the holder says when it has the socket.
const HELD: &str = "held";
const PORT: u16 = 9;
const PAYLOAD: [u8; 64] = [0; 64];
/// Datagrams, and how often so many.
const BURST: u32 = 100;
const PERIOD: Duration = Duration::from_millis(1);
/// The sender, with the softirqs that its datagrams raise.
const CPU: usize = 0;

/// The load with its socket.
pub struct Datagrams {
    _socket: Running,
}

impl Datagrams {
    /// Has the socket held.
    pub fn start(bench: &Bench<'_>) -> anyhow::Result<Self> {
        let mut holder = inside(&bench.far(), std::env::current_exe()?);
        in_cgroup(&mut holder, bench.others());
        let mut holder = holder.arg(HOLD).stdout(Stdio::piped()).spawn()?;
        let said = holder.stdout.take();
        let socket = Running(holder);
        let mut line = String::new();
        if let Some(said) = said {
            BufReader::new(said).read_line(&mut line)?;
        }
        anyhow::ensure!(line.trim() == HELD, "the socket's holder said {line:?}");
        Ok(Self { _socket: socket })
    }

    fn sender(bench: &Bench<'_>) -> anyhow::Result<Command> {
        let mut sender = inside(&bench.near(), std::env::current_exe()?);
        sender.args([SEND, &bench.seconds().to_string()]);
        in_cgroup(&mut sender, bench.cgroup());
        on_cpu(&mut sender, CPU);
        Ok(sender)
    }
}

impl Load for Datagrams {
    fn name(&self) -> &'static str {
        NAME
    }

    fn figures(&self) -> &'static [&'static str] {
        &[
            "CPU ns a packet",
            "the same, whole machine",
            "switches a packet",
            "packets a second",
        ]
    }

    fn run(&self, bench: &Bench<'_>) -> anyhow::Result<Run> {
        let mut sender = Self::sender(bench)?;
        let (charged, busy, switched) = (bench.charged_ns()?, busy_ns()?, switches()?);
        let started = Instant::now();
        let output = sender.stderr(Stdio::inherit()).output()?;
        let elapsed = started.elapsed().as_secs_f64();
        let (charged, busy) = (bench.charged_ns()? - charged, busy_ns()? - busy);
        let switched = switches()? - switched;
        let said = String::from_utf8_lossy(&output.stdout);
        let packets: f64 = said
            .trim()
            .parse()
            .with_context(|| format!("the sender said {said:?}"))?;
        Ok(vec![
            charged / packets,
            busy / packets,
            switched / packets,
            packets / elapsed,
        ])
    }
}

/// Plays one of the load's two parts where this program was started for it. True when it did.
pub fn play_part() -> anyhow::Result<bool> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(SEND) => {
            let seconds = arguments.next().context("for how many seconds")?.parse()?;
            println!("{}", send(Duration::from_secs(seconds))?);
        }
        Some(HOLD) => {
            let _socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
            println!("{HELD}");
            loop {
                thread::park();
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn send(length: Duration) -> anyhow::Result<u32> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((FAR, PORT))?;
    let started = Instant::now();
    let mut sent = 0;
    let mut next = started;
    while next < started + length {
        for _ in 0..BURST {
            socket.send(&PAYLOAD)?;
        }
        sent += BURST;
        next += PERIOD;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(sent)
}
