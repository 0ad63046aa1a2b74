//! Which component of the network stack a kernel stack belongs to.
//!
//! A sample counts for one component only, so that shares add up to one. Which one it is, in this
//! order:
//!
//! 1. Frames outside the innermost interrupt or softirq are another's: what `tcp_sendmsg` was doing
//!    when a packet arrived has no part in receiving it.
//! 2. An eBPF program owns whatever it calls: a `fib_table_lookup` below `bpf_fib_lookup` is the
//!    program's, by the name of the program and not of its subprogram.
//! 3. Else the innermost frame that [`super::symbols`] gives to a component decides, and frames that
//!    serve everybody (`memcpy`, locks, allocation) count for whoever called them. In
//!    `ip_rcv;nf_hook_slow;nf_conntrack_in;_raw_spin_lock` the lock is connection tracking's: without
//!    connection tracking nobody would have taken it.
//! 4. Two kinds of work count for themselves, whoever asks for them: switching and waking tasks, and
//!    copying payload between user space and packets. They follow from how an application reads and
//!    writes, and would otherwise make up most of what TCP seems to cost.
//! 5. Freeing and allocating packet buffers, and the softirq machinery, get what no frame of a
//!    component encloses: `net_rx_action;skb_defer_free_flush`.
//!
//! Counting the innermost frame alone ("self") would turn a third of every component into `memcpy`
//! and locks; counting every frame ("inclusive") would give IP all of TCP, and add up to far more
//! than one. The module refuses to guess where symbols are hidden.

use std::fmt;

use trace_schema::profile::ProfileMode;

use super::symbols::{self, Class};

/// What a kernel that hides its symbols leaves of a stack.
const HIDDEN: &str = "[hidden]";
/// Helpers that call back into the program which called them.
const CALLING_BACK: [&str; 4] = [
    "bpf_loop",
    "bpf_for_each_map_elem",
    "bpf_for_each_hash_elem",
    "bpf_for_each_array_elem",
];

/// A component that samples are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// Network drivers, of virtual devices too where they have no class of their own.
    Driver,
    /// Merging packets on receipt and splitting them on transmission.
    GroGso,
    /// Linux bridges.
    Bridge,
    /// Open vSwitch's kernel datapath.
    Ovs,
    /// VXLAN, Geneve, IPIP, GRE, WireGuard and IPsec.
    Tunnel,
    /// veth pairs.
    Veth,
    /// Netfilter.
    Netfilter(Netfilter),
    /// An eBPF program, by name; `[calls]` for entering and leaving programs.
    Bpf(String),
    /// IP and IPv6: routing, forwarding, neighbours, ICMP.
    Ip,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Queueing disciplines, tc and handing packets to devices.
    Qdisc,
    /// Sockets and their system calls.
    Socket,
    /// Softirq and NAPI machinery that no other component's frame encloses.
    Softirq,
    /// Switching and waking tasks.
    Scheduler,
    /// Copying between user space and packets; packet buffers that no component asked for.
    Memory,
    /// Everything else in the kernel.
    Kernel,
    /// The kernel, with its symbols hidden.
    Hidden,
    /// User space, by command.
    User(String),
    /// The idle task.
    Idle,
}

/// Parts of netfilter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Netfilter {
    /// Hooks and rules: nf_tables, iptables, ipset, IPVS.
    Rules,
    /// Connection tracking.
    Conntrack,
    /// Address translation.
    Nat,
}

impl Component {
    /// The class that it belongs to: `netfilter` for all its parts, `bpf` for all programs, `user`
    /// for all commands.
    pub fn group(&self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::GroGso => "gro/gso",
            Self::Bridge => "bridge",
            Self::Ovs => "ovs",
            Self::Tunnel => "tunnel",
            Self::Veth => "veth",
            Self::Netfilter(_) => "netfilter",
            Self::Bpf(_) => "bpf",
            Self::Ip => "ip",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Qdisc => "qdisc",
            Self::Socket => "socket",
            Self::Softirq => "softirq",
            Self::Scheduler => "scheduler",
            Self::Memory => "memory",
            Self::Kernel => "other kernel",
            Self::Hidden => "hidden kernel",
            Self::User(_) => "user",
            Self::Idle => "idle",
        }
    }
}

/// The group, and behind it which part, program or command.
impl fmt::Display for Component {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.group())?;
        match self {
            Self::Netfilter(Netfilter::Rules) => out.write_str(" rules"),
            Self::Netfilter(Netfilter::Conntrack) => out.write_str(" conntrack"),
            Self::Netfilter(Netfilter::Nat) => out.write_str(" nat"),
            Self::Bpf(name) | Self::User(name) => write!(out, " {name}"),
            _ => Ok(()),
        }
    }
}

/// The component of a row of `profile`: frames outermost first, joined by `;`.
pub fn classify(stack: &str, mode: ProfileMode, command: &str) -> Component {
    match mode {
        ProfileMode::User => Component::User(command.to_owned()),
        ProfileMode::Idle => Component::Idle,
        ProfileMode::Kernel if stack == HIDDEN => Component::Hidden,
        ProfileMode::Kernel => {
            let frames: Vec<&str> = stack.split(';').map(without_suffix).collect();
            in_kernel(own(&frames))
        }
    }
}

/// The frames from the innermost entry of an interrupt or softirq on.
fn own<'a, 'b>(frames: &'a [&'b str]) -> &'a [&'b str] {
    let entry = frames
        .iter()
        .rposition(|frame| symbols::is_interrupt_entry(frame));
    &frames[entry.unwrap_or(0)..]
}

fn in_kernel(frames: &[&str]) -> Component {
    if let Some(program) = bpf_program(frames) {
        return Component::Bpf(program.to_owned());
    }
    let mut copies = false;
    let (mut buffers, mut softirq) = (false, false);
    for frame in frames.iter().rev() {
        match symbols::class(frame) {
            None => {}
            Some(Class::Copy) => copies = true,
            Some(Class::Buffer) => buffers = true,
            Some(Class::Softirq) => softirq = true,
            // Pipes and files copy by the same functions, and are no packets.
            Some(_) if copies => return Component::Memory,
            Some(class) => return of_class(class),
        }
    }
    if buffers {
        Component::Memory
    } else if softirq {
        Component::Softirq
    } else {
        Component::Kernel
    }
}

/// The name of the program that the innermost eBPF frame belongs to: its own subprograms and
/// callbacks stand directly below it, another program has kernel functions in between.
fn bpf_program<'a>(frames: &[&'a str]) -> Option<&'a str> {
    let innermost = frames
        .iter()
        .rposition(|frame| program_name(frame).is_some())?;
    let mut name = program_name(frames[innermost]);
    for frame in frames[..innermost].iter().rev() {
        match program_name(frame) {
            Some(outer) => name = Some(outer),
            None if CALLING_BACK.contains(frame) => {}
            None => break,
        }
    }
    name
}

/// The name in `bpf_prog_<tag>_<name>`, the tag where there is no name (classic filters).
fn program_name(frame: &str) -> Option<&str> {
    const TAG_DIGITS: usize = 16;
    let rest = frame.strip_prefix("bpf_prog_")?;
    let tag = rest.get(..TAG_DIGITS)?;
    if !tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    match &rest[TAG_DIGITS..] {
        "" => Some(tag),
        name => name.strip_prefix('_').filter(|name| !name.is_empty()),
    }
}

fn of_class(class: Class) -> Component {
    match class {
        Class::Driver => Component::Driver,
        Class::GroGso => Component::GroGso,
        Class::Bridge => Component::Bridge,
        Class::Ovs => Component::Ovs,
        Class::Tunnel => Component::Tunnel,
        Class::Veth => Component::Veth,
        Class::Rules => Component::Netfilter(Netfilter::Rules),
        Class::Conntrack => Component::Netfilter(Netfilter::Conntrack),
        Class::Nat => Component::Netfilter(Netfilter::Nat),
        Class::BpfCalls => Component::Bpf("[calls]".to_owned()),
        Class::Ip => Component::Ip,
        Class::Tcp => Component::Tcp,
        Class::Udp => Component::Udp,
        Class::Qdisc => Component::Qdisc,
        Class::Socket => Component::Socket,
        Class::Scheduler => Component::Scheduler,
        Class::Copy | Class::Buffer => Component::Memory,
        Class::Softirq => Component::Softirq,
    }
}

/// Compilers mark clones and parts of a function: `.constprop.0`, `.isra.0`, `.part.0`, `.cold`,
/// `.llvm.<hash>`.
fn without_suffix(symbol: &str) -> &str {
    match symbol.find('.') {
        None | Some(0) => symbol,
        Some(dot) => &symbol[..dot],
    }
}
