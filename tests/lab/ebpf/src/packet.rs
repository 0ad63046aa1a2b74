//! A packet's addresses and ports, read and rewritten with its checksums.
//!
//! Everything goes through the kernel's load and store helpers, which reach non-linear data and
//! leave partial checksums of offloaded packets right. Knows Ethernet without VLAN tags, which is
//! all the lab has.

use aya_ebpf::bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR};
use aya_ebpf::helpers::generated::bpf_csum_diff;
use aya_ebpf::programs::TcContext;

/// An IPv6 address, or an IPv4 address as `::ffff:a.b.c.d`, in network order.
pub type Address = [u32; 4];

const MAPPED: u32 = 0xffff_u32.to_be();

const ETHERNET: usize = 14;
const ETHERTYPE_V4: u16 = 0x0800;
const ETHERTYPE_V6: u16 = 0x86dd;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Where a packet stands in a fragmented datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    /// It is no fragment.
    Whole,
    /// It has the transport header.
    First,
    /// It has not.
    Later,
}

/// The side of a packet that is the pod's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// On the way out.
    Source,
    /// On the way back.
    Destination,
}

/// What the translation needs of a packet.
pub struct Packet {
    pub src: Address,
    pub dst: Address,
    pub protocol: u8,
    pub fragment: Fragment,
    /// IPv4 identification, in network order.
    pub id: u16,
    transport: usize,
    is_v4: bool,
}

impl Packet {
    /// Reads the headers; none where the packet is not for translation.
    #[inline(always)]
    pub fn parse(ctx: &TcContext) -> Option<Self> {
        match u16::from_be(ctx.load(12).ok()?) {
            ETHERTYPE_V4 => {
                let header: [u8; 20] = ctx.load(ETHERNET).ok()?;
                let id = u16::from_ne_bytes([header[4], header[5]]);
                let offset = u16::from_be_bytes([header[6], header[7]]);
                let fragment = match (offset & 0x1fff, offset & 0x2000) {
                    (0, 0) => Fragment::Whole,
                    (0, _) => Fragment::First,
                    _ => Fragment::Later,
                };
                Some(Self {
                    src: [0, 0, MAPPED, ctx.load(ETHERNET + 12).ok()?],
                    dst: [0, 0, MAPPED, ctx.load(ETHERNET + 16).ok()?],
                    protocol: header[9],
                    fragment,
                    id,
                    transport: ETHERNET + usize::from(header[0] & 0x0f) * 4,
                    is_v4: true,
                })
            }
            ETHERTYPE_V6 => Some(Self {
                src: ctx.load(ETHERNET + 8).ok()?,
                dst: ctx.load(ETHERNET + 24).ok()?,
                protocol: ctx.load(ETHERNET + 6).ok()?,
                fragment: Fragment::Whole,
                id: 0,
                transport: ETHERNET + 40,
                is_v4: false,
            }),
            _ => None,
        }
    }

    /// Source and destination port; an ICMP echo has its identifier on the pod's side.
    #[inline(always)]
    pub fn ports(&self, ctx: &TcContext, pod: Side) -> Option<(u16, u16)> {
        match self.protocol {
            TCP | UDP => Some((
                ctx.load(self.transport).ok()?,
                ctx.load(self.transport + 2).ok()?,
            )),
            ICMP | ICMPV6 => {
                let kind: u8 = ctx.load(self.transport).ok()?;
                let expected = match (self.is_v4, pod) {
                    (true, Side::Source) => 8,
                    (true, Side::Destination) => 0,
                    (false, Side::Source) => 128,
                    (false, Side::Destination) => 129,
                };
                if kind != expected {
                    return None;
                }
                let id: u16 = ctx.load(self.transport + 4).ok()?;
                Some(if pod == Side::Source {
                    (id, 0)
                } else {
                    (0, id)
                })
            }
            _ => None,
        }
    }

    /// Rewrites address and port of one side.
    #[inline(always)]
    pub fn rewrite(
        &self,
        ctx: &TcContext,
        side: Side,
        address: &Address,
        old_port: u16,
        new_port: u16,
    ) -> Option<()> {
        let checksum = self.transport + self.checksum_offset();
        let mangled = if self.protocol == UDP {
            u64::from(BPF_F_MARK_MANGLED_0)
        } else {
            0
        };
        if self.protocol != ICMP {
            let pseudo = u64::from(BPF_F_PSEUDO_HDR) | mangled;
            let (from, to, size) = self.address_difference(side, address);
            ctx.l4_csum_replace(checksum, from, to, pseudo | size)
                .ok()?;
        }
        if old_port != new_port {
            let port = self.transport + self.port_offset(side);
            ctx.l4_csum_replace(checksum, old_port.into(), new_port.into(), mangled | 2)
                .ok()?;
            ctx.store(port, &new_port, 0).ok()?;
        }
        self.rewrite_address(ctx, side, address)
    }

    /// Rewrites the address of one side, leaving the transport header alone.
    #[inline(always)]
    pub fn rewrite_address(&self, ctx: &TcContext, side: Side, address: &Address) -> Option<()> {
        if self.is_v4 {
            let old = self.address(side)[3];
            let offset = if side == Side::Source { 12 } else { 16 };
            ctx.l3_csum_replace(ETHERNET + 10, old.into(), address[3].into(), 4)
                .ok()?;
            ctx.store(ETHERNET + offset, &address[3], 0).ok()
        } else {
            let offset = if side == Side::Source { 8 } else { 24 };
            ctx.store(ETHERNET + offset, address, 0).ok()
        }
    }

    /// Arguments of the checksum helper for a change of address.
    #[inline(always)]
    fn address_difference(&self, side: Side, address: &Address) -> (u64, u64, u64) {
        let mut old = *self.address(side);
        let mut new = *address;
        if self.is_v4 {
            return (old[3].into(), new[3].into(), 4);
        }
        // SAFETY: both buffers are 16 bytes on the stack, as the sizes say.
        let difference = unsafe { bpf_csum_diff(old.as_mut_ptr(), 16, new.as_mut_ptr(), 16, 0) };
        // A size of zero tells the helper that `to` is a difference already.
        (0, u64::from(difference as u32), 0)
    }

    #[inline(always)]
    fn address(&self, side: Side) -> &Address {
        match side {
            Side::Source => &self.src,
            Side::Destination => &self.dst,
        }
    }

    #[inline(always)]
    fn checksum_offset(&self) -> usize {
        match self.protocol {
            TCP => 16,
            UDP => 6,
            _ => 2,
        }
    }

    #[inline(always)]
    fn port_offset(&self, side: Side) -> usize {
        match (self.protocol, side) {
            (TCP | UDP, Side::Source) => 0,
            (TCP | UDP, Side::Destination) => 2,
            _ => 4,
        }
    }
}
