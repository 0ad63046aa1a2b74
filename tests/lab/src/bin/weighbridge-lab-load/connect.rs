//! The client: so many connections at such a rate, each open for a while and talking.
//!
//! A connection sends its own address and port first and again with every message, and counts the
//! answers. One line of output for each, whether it succeeded or not.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::now_us;

const STACK_BYTES: usize = 128 * 1024;
const MOST_THREADS: u64 = 32;

/// Options of `connect`.
#[derive(clap::Args)]
pub struct Options {
    /// Address of the server.
    #[arg(long)]
    server: IpAddr,
    /// Port of the server.
    #[arg(long)]
    port: u16,
    /// Transport protocol.
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// How many connections.
    #[arg(long)]
    connections: u64,
    /// How many begin each second.
    #[arg(long)]
    rate: f64,
    /// How long each stays open, in milliseconds.
    #[arg(long, default_value_t = 0)]
    hold_ms: u64,
    /// Time between messages on an open connection, in milliseconds.
    #[arg(long, default_value_t = 100)]
    every_ms: u64,
    /// How long an answer is awaited, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    patience_ms: u64,
    /// The log, tab-separated with a header.
    #[arg(long)]
    log: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Opens all connections and writes the log.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let threads = match options.hold_ms {
        0 => options.connections.min(MOST_THREADS),
        _ => options.connections,
    };
    let next = AtomicU64::new(0);
    let lines = Mutex::new(Vec::new());
    let started = Instant::now();
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= options.connections {
                return;
            }
            let due = Duration::from_secs_f64(number as f64 / options.rate);
            thread::sleep(due.saturating_sub(started.elapsed()));
            let line = connection(options);
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, work)?;
        }
        Ok::<_, std::io::Error>(())
    })
    .context("cannot start a thread")?;
    let mut text = String::from("start_us\tend_us\tprotocol\ttoken\tsent\tanswered\toutcome\n");
    text.push_str(
        &lines
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .concat(),
    );
    std::fs::write(&options.log, text).with_context(|| options.log.display().to_string())
}

/// What became of one connection.
#[derive(Default)]
struct Account {
    token: String,
    sent: u64,
    answered: u64,
}

fn connection(options: &Options) -> String {
    let start_us = now_us();
    let mut account = Account::default();
    let (name, outcome) = match options.protocol {
        Protocol::Tcp => ("tcp", tcp(options, &mut account)),
        Protocol::Udp => ("udp", udp(options, &mut account)),
    };
    let outcome = match outcome {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string().replace(['\t', '\n'], " "),
    };
    let Account {
        token,
        sent,
        answered,
    } = account;
    format!(
        "{start_us}\t{}\t{name}\t{token}\t{sent}\t{answered}\t{outcome}\n",
        now_us()
    )
}

fn tcp(options: &Options, account: &mut Account) -> std::io::Result<()> {
    let server = SocketAddr::new(options.server, options.port);
    let patience = Duration::from_millis(options.patience_ms);
    let stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    account.token = stream.local_addr()?.to_string();
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    talk(options, account, |message| {
        let mut writer = &stream;
        writer.write_all(message.as_bytes())?;
        line.clear();
        reader.read_line(&mut line)
    })
}

fn udp(options: &Options, account: &mut Account) -> std::io::Result<()> {
    let any: SocketAddr = match options.server {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(SocketAddr::new(options.server, options.port))?;
    socket.set_read_timeout(Some(Duration::from_millis(options.patience_ms)))?;
    account.token = socket.local_addr()?.to_string();
    let mut buffer = [0_u8; 2048];
    talk(options, account, |message| {
        socket.send(message.as_bytes())?;
        socket.recv(&mut buffer)
    })
}

/// Sends messages until the time is up. An answer that does not come is not the end of a connection
/// that is to stay open.
fn talk(
    options: &Options,
    account: &mut Account,
    mut exchange: impl FnMut(&str) -> std::io::Result<usize>,
) -> std::io::Result<()> {
    let opened = Instant::now();
    let hold = Duration::from_millis(options.hold_ms);
    loop {
        let message = format!("{}\n", account.token);
        account.sent += 1;
        match exchange(&message) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => account.answered += 1,
            Err(error) if hold.is_zero() => return Err(error),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if opened.elapsed() >= hold {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(options.every_ms));
    }
}
