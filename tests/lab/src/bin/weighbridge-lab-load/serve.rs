//! The server: one line of its log for each connection, written when the client said who it is.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context;

use crate::now_us;

const STACK_BYTES: usize = 128 * 1024;

/// Options of `serve`.
#[derive(clap::Args)]
pub struct Options {
    /// Address to listen at; may be given several times.
    #[arg(long = "listen", required = true)]
    addresses: Vec<IpAddr>,
    /// Port, for TCP and UDP.
    #[arg(long)]
    port: u16,
    /// The log, tab-separated with a header.
    #[arg(long)]
    log: PathBuf,
}

/// Serves until it is killed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let log = Log::create(&options.log)?;
    let mut threads = Vec::new();
    for address in &options.addresses {
        let local = SocketAddr::new(*address, options.port);
        let listener = TcpListener::bind(local).with_context(|| format!("TCP {local}"))?;
        let socket = UdpSocket::bind(local).with_context(|| format!("UDP {local}"))?;
        let (tcp_log, udp_log) = (log.clone(), log.clone());
        threads.push(thread::spawn(move || accept(&listener, &tcp_log)));
        threads.push(thread::spawn(move || {
            echo_datagrams(&socket, local, &udp_log)
        }));
    }
    println!("listening");
    for thread in threads {
        if let Ok(outcome) = thread.join() {
            outcome?;
        }
    }
    Ok(())
}

#[derive(Clone)]
struct Log(Arc<Mutex<File>>);

impl Log {
    fn create(path: &PathBuf) -> anyhow::Result<Self> {
        let mut file = File::create(path).with_context(|| path.display().to_string())?;
        writeln!(
            file,
            "time_us\tprotocol\tpeer_address\tpeer_port\tlocal_address\tlocal_port\tclient_token"
        )?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    fn append(&self, protocol: &str, peer: SocketAddr, local: SocketAddr, token: &str) {
        let line = format!(
            "{}\t{protocol}\t{}\t{}\t{}\t{}\t{token}\n",
            now_us(),
            peer.ip(),
            peer.port(),
            local.ip(),
            local.port()
        );
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            eprintln!("weighbridge-lab-load: log: {error}");
            std::process::exit(1);
        }
    }
}

fn accept(listener: &TcpListener, log: &Log) -> anyhow::Result<()> {
    loop {
        let (stream, peer) = listener.accept()?;
        let log = log.clone();
        // A client that goes away ends its own connection and nothing else.
        let serve = move || drop(echo_lines(&stream, peer, &log));
        thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(serve)?;
    }
}

fn echo_lines(stream: &TcpStream, peer: SocketAddr, log: &Log) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let mut known = false;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if !known {
            log.append("tcp", peer, local, &line);
            known = true;
        }
        let mut writer = stream;
        writer.write_all(format!("{line}\n").as_bytes())?;
    }
    Ok(())
}

fn echo_datagrams(socket: &UdpSocket, local: SocketAddr, log: &Log) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    let mut buffer = [0_u8; 2048];
    loop {
        // An ICMP error of an earlier answer surfaces here and concerns one client only.
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        let token = text.lines().next().unwrap_or_default();
        if seen.insert((peer, token.to_owned())) {
            log.append("udp", peer, local, token);
        }
        let _ = socket.send_to(&buffer[..length], peer);
    }
}
