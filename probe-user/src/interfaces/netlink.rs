//! Asking rtnetlink: links, addresses, default routes, counters and queue drops.
//!
//! Plain blocking requests on one socket, cheap enough for every interval. The socket belongs to
//! the network namespace that the calling thread was in when it was opened. It refuses to change
//! anything, and to go on with half a dump: an interrupted one is asked for again.

pub mod filters;

use std::collections::BTreeMap;
use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressMessage, AddressScope};
use netlink_packet_route::link::{
    LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, Stats64, XdpAttached,
};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcStats2};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{Link, Survey};

/// The kernel fills dumps into messages of up to this size (`netlink_dump` in
/// `net/netlink/af_netlink.c`).
const LARGEST_MESSAGE: usize = 32 * 1024;
/// How often a dump that the kernel says was interrupted by a change is asked for again.
const ATTEMPTS: usize = 8;
/// Ethernet's header, which also the loopback device counts.
const ETHERNET_HEADER_BYTES: u8 = 14;

/// Why rtnetlink gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket failed.
    #[error("rtnetlink: cannot {action}")]
    Socket {
        /// At what.
        action: &'static str,
        /// How.
        #[source]
        source: io::Error,
    },
    /// The kernel refused.
    #[error("rtnetlink: the kernel refused to list {what}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// A message could not be read.
    #[error("rtnetlink: an answer about {what} could not be read: {problem}")]
    Unreadable {
        /// What was asked for.
        what: &'static str,
        /// The decoder's words.
        problem: String,
    },
    /// The tables changed during every attempt.
    #[error("rtnetlink: {what} kept changing while they were listed; try again")]
    Unsteady {
        /// What was asked for.
        what: &'static str,
    },
}

/// The kernel's counters of a link, since it was made (`rtnl_link_stats64`), and of its queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Received packets, as the driver counts them.
    pub rx_packets: u64,
    /// Received bytes, link headers included.
    pub rx_bytes: u64,
    /// Sent packets, as the driver counts them.
    pub tx_packets: u64,
    /// Sent bytes, link headers included.
    pub tx_bytes: u64,
    /// Received packets dropped in the kernel.
    pub rx_dropped: u64,
    /// Packets that the driver dropped instead of sending.
    pub tx_dropped: u64,
    /// Drops of the queueing disciplines.
    pub queues: QueueDrops,
}

/// Drops of a link's queueing disciplines, 32-bit counters that wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDrops {
    /// The root discipline's handle, which tells that it was replaced.
    pub root_handle: u32,
    /// The root discipline's own total. Classful ones add what their children drop, and `mq` and
    /// `mqprio` sum their children when asked, so that children must not be added again.
    pub root_packets: u32,
    /// What filters at clsact or ingress dropped, in both directions together: the kernel does not
    /// tell them apart.
    pub clsact_packets: u32,
}

impl QueueDrops {
    /// The root's drops since an earlier reading; from zero if it was replaced in between.
    pub fn root_since(&self, earlier: &Self) -> u32 {
        if self.root_handle != earlier.root_handle {
            return self.root_packets;
        }
        wrapped_since(self.root_packets, earlier.root_packets)
    }

    /// The filters' drops since an earlier reading.
    pub fn clsact_since(&self, earlier: &Self) -> u32 {
        wrapped_since(self.clsact_packets, earlier.clsact_packets)
    }
}

/// A counter that fell by less than half its range was set back to zero rather than wrapped.
fn wrapped_since(now: u32, earlier: u32) -> u32 {
    let difference = now.wrapping_sub(earlier);
    if difference > u32::MAX / 2 {
        now
    } else {
        difference
    }
}

/// A connection to rtnetlink in the network namespace in which it was opened.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Connects in the calling thread's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        let failed = |action| move |source| NetlinkError::Socket { action, source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("open a socket"))?;
        socket.bind_auto().map_err(failed("bind the socket"))?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(failed("connect to the kernel"))?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(LARGEST_MESSAGE),
        })
    }

    /// Every link, with its addresses and default routes.
    pub fn survey(&mut self) -> Result<Survey, NetlinkError> {
        let mut links: BTreeMap<u32, Link> = BTreeMap::new();
        for message in self.links()? {
            let link = link(&message);
            links.insert(link.index, link);
        }
        for message in self.addresses()? {
            if message.header.scope == AddressScope::Universe
                && let Some(link) = links.get_mut(&message.header.index)
            {
                link.has_global_address = true;
            }
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            for index in self.default_routes(family)? {
                if let Some(link) = links.get_mut(&index) {
                    link.has_default_route = true;
                }
            }
        }
        Ok(Survey::new(links.into_values().collect()))
    }

    /// The counters of every link, by index.
    pub fn counters(&mut self) -> Result<BTreeMap<u32, Counters>, NetlinkError> {
        let mut counters: BTreeMap<u32, Counters> = BTreeMap::new();
        for message in self.links()? {
            counters.insert(message.header.index, link_counters(&message));
        }
        for message in self.queues()? {
            let index = u32::try_from(message.header.index).unwrap_or_default();
            if let Some(counters) = counters.get_mut(&index) {
                add_queue(&mut counters.queues, &message);
            }
        }
        Ok(counters)
    }

    /// The counters of one link without those of its queues: one short question, for taking the
    /// edges of an interval. Absent if the link is gone.
    pub fn counters_of(&mut self, index: u32) -> Result<Option<Counters>, NetlinkError> {
        let mut question = LinkMessage::default();
        question.header.index = index;
        let question = RouteNetlinkMessage::GetLink(question);
        match self.ask("a link", question, false) {
            Ok((answers, _)) => Ok(answers.into_iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some(link_counters(&message)),
                _ => None,
            })),
            Err(NetlinkError::Refused { source, .. })
                if source.raw_os_error() == Some(libc::ENODEV) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn links(&mut self) -> Result<Vec<LinkMessage>, NetlinkError> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.dump("links", question, |answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Some(message),
            _ => None,
        })
    }

    fn addresses(&mut self) -> Result<Vec<AddressMessage>, NetlinkError> {
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        self.dump("addresses", question, |answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => Some(message),
            _ => None,
        })
    }

    fn queues(&mut self) -> Result<Vec<TcMessage>, NetlinkError> {
        let question = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        self.dump("queueing disciplines", question, |answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(message) => Some(message),
            _ => None,
        })
    }

    /// Indices of the links by which default routes of the main table lead.
    fn default_routes(&mut self, family: AddressFamily) -> Result<Vec<u32>, NetlinkError> {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let question = RouteNetlinkMessage::GetRoute(question);
        let hops = self.dump("routes", question, |answer| match answer {
            RouteNetlinkMessage::NewRoute(message) => Some(default_hops(&message)),
            _ => None,
        })?;
        Ok(hops.into_iter().flatten().collect())
    }

    fn dump<T>(
        &mut self,
        what: &'static str,
        question: RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..ATTEMPTS {
            let (answers, interrupted) = self.ask(what, question.clone(), true)?;
            if !interrupted {
                return Ok(answers.into_iter().filter_map(pick).collect());
            }
        }
        Err(NetlinkError::Unsteady { what })
    }

    /// Sends a question and reads until it is answered; says also whether the dump was disturbed.
    fn ask(
        &mut self,
        what: &'static str,
        question: RouteNetlinkMessage,
        is_dump: bool,
    ) -> Result<(Vec<RouteNetlinkMessage>, bool), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = NetlinkMessage::from(question);
        packet.header.flags = NLM_F_REQUEST | if is_dump { NLM_F_DUMP } else { 0 };
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket
            .send(&bytes, 0)
            .map_err(|source| NetlinkError::Socket {
                action: "send",
                source,
            })?;

        let mut answers = Vec::new();
        let mut interrupted = false;
        loop {
            self.buffer.clear();
            self.socket
                .recv(&mut self.buffer, 0)
                .map_err(|source| NetlinkError::Socket {
                    action: "receive",
                    source,
                })?;
            let mut rest = self.buffer.as_slice();
            while !rest.is_empty() {
                let message =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(|error| {
                        NetlinkError::Unreadable {
                            what,
                            problem: error.to_string(),
                        }
                    })?;
                let length = (message.header.length as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
                // What an earlier question left behind, when it ended in an error.
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok((answers, interrupted)),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(NetlinkError::Refused {
                            what,
                            source: error.to_io(),
                        });
                    }
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    _ => {}
                }
            }
            if !is_dump && !answers.is_empty() {
                return Ok((answers, interrupted));
            }
        }
    }
}

fn link(message: &LinkMessage) -> Link {
    let kind = message.header.link_layer_type;
    let is_framed = matches!(kind, LinkLayerType::Ether | LinkLayerType::Loopback);
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: None,
        link_header_bytes: if is_framed { ETHERNET_HEADER_BYTES } else { 0 },
        is_ethernet: kind == LinkLayerType::Ether,
        is_up: message.header.flags.contains(LinkFlags::Up),
        controller: None,
        virtual_function: None,
        hardware_address: Vec::new(),
        has_xdp: false,
        has_global_address: false,
        has_default_route: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(address) => link.hardware_address.clone_from(address),
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            LinkAttribute::Xdp(xdp) => {
                let is_attached = |item: &LinkXdp| matches!(item, LinkXdp::Attached(how) if *how != XdpAttached::None);
                link.has_xdp = xdp.iter().any(is_attached);
            }
            _ => {}
        }
    }
    link
}

fn link_counters(message: &LinkMessage) -> Counters {
    let stats = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Stats64(stats) => Some(*stats),
            _ => None,
        });
    let stats: Stats64 = stats.unwrap_or_default();
    Counters {
        rx_packets: stats.rx_packets,
        rx_bytes: stats.rx_bytes,
        tx_packets: stats.tx_packets,
        tx_bytes: stats.tx_bytes,
        rx_dropped: stats.rx_dropped,
        tx_dropped: stats.tx_dropped,
        queues: QueueDrops::default(),
    }
}

fn add_queue(queues: &mut QueueDrops, message: &TcMessage) {
    let drops = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            TcAttribute::Stats2(stats) => stats.iter().find_map(|stats| match stats {
                TcStats2::Queue(queue) => Some(queue.drops),
                _ => None,
            }),
            _ => None,
        });
    match message.header.parent {
        TcHandle::ROOT => {
            queues.root_handle = message.header.handle.into();
            queues.root_packets = drops.unwrap_or_default();
        }
        TcHandle::CLSACT => queues.clsact_packets = drops.unwrap_or_default(),
        _ => {}
    }
}

/// Where a default route of the main table leads; nothing for any other route.
fn default_hops(message: &RouteMessage) -> Vec<u32> {
    let mut table = u32::from(message.header.table);
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(index) => hops.push(*index),
            RouteAttribute::MultiPath(paths) => {
                hops.extend(paths.iter().map(|path| path.interface_index));
            }
            _ => {}
        }
    }
    let leads = message.header.destination_prefix_length == 0
        && message.header.kind == RouteType::Unicast
        && table == u32::from(RouteHeader::RT_TABLE_MAIN);
    if leads { hops } else { Vec::new() }
}
