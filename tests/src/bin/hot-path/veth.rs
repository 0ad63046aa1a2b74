//! A veth pair to send real packets over.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;

use anyhow::Context;

/// A veth pair in this namespace, its far end up and unanswering; gone when dropped.
pub struct Veth;

impl Veth {
    /// The near end, and the far one.
    pub const NAMES: [&str; 2] = ["wbhot0", "wbhot1"];

    /// Moves this thread to a namespace of its own and makes the pair there.
    pub fn new() -> anyhow::Result<Self> {
        // A namespace of this thread's own, so that nothing outside is touched.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        let [near, far] = Self::NAMES;
        ip(&["link", "add", near, "type", "veth", "peer", "name", far])?;
        ip(&["addr", "add", "10.254.0.1/24", "dev", near])?;
        ip(&["link", "set", near, "up"])?;
        ip(&["link", "set", far, "up"])?;
        ip(&[
            "neigh",
            "add",
            "10.254.0.2",
            "lladdr",
            "02:00:00:00:00:02",
            "dev",
            near,
        ])?;
        Ok(Self)
    }

    /// Sends datagrams to the far end, which answers none.
    pub fn send(&self, datagrams: u32) -> anyhow::Result<()> {
        let socket = UdpSocket::bind((IpAddr::V4(Ipv4Addr::new(10, 254, 0, 1)), 0))?;
        socket.connect((Ipv4Addr::new(10, 254, 0, 2), 9))?;
        for _ in 0..datagrams {
            socket.send(&[0; 64])?;
        }
        Ok(())
    }
}

/// Runs `ip`.
pub fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("ip")
        .args(arguments)
        .status()
        .context("cannot run ip: apt-get install iproute2")?;
    anyhow::ensure!(status.success(), "ip {} failed", arguments.join(" "));
    Ok(())
}
