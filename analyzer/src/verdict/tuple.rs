//! Five-tuples in the form that joins hash: parsed addresses, numeric protocol and ports.
//!
//! It refuses text that is not canonical enough to parse: a row whose address cannot be read would
//! otherwise drop out of every join without a word.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use trace_schema::snat::Tuple;

/// An IP protocol, by its IANA number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

/// Protocol, addresses and ports in the direction of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FiveTuple {
    /// Protocol.
    pub protocol: Protocol,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port; ICMP echo: the identifier.
    pub src_port: u16,
    /// Destination port; ICMP: type × 256 + code.
    pub dst_port: u16,
}

/// What of a row cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} holds {value:?}, which is not {wanted}")]
pub struct TupleError {
    /// Column, without the prefix of the side.
    pub column: &'static str,
    /// Its text.
    pub value: String,
    /// What it should be.
    pub wanted: &'static str,
}

impl Protocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    /// Reads the name or the decimal number that rows carry.
    pub fn parse(text: &str) -> Result<Self, TupleError> {
        match text {
            "icmp" => Ok(Self::ICMP),
            "tcp" => Ok(Self::TCP),
            "udp" => Ok(Self::UDP),
            "icmpv6" => Ok(Self::ICMPV6),
            "sctp" => Ok(Self::SCTP),
            _ => text.parse().map(Self).map_err(|_| TupleError {
                column: "protocol",
                value: text.to_owned(),
                wanted: "a protocol's name or number",
            }),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMPV6 => f.write_str("icmpv6"),
            Self::SCTP => f.write_str("sctp"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

impl FiveTuple {
    /// Reads the columns of a row.
    pub fn read(
        protocol: &str,
        src: &str,
        dst: &str,
        src_port: i32,
        dst_port: i32,
    ) -> Result<Self, TupleError> {
        Ok(Self {
            protocol: Protocol::parse(protocol)?,
            src: read_address("src_address", src)?,
            dst: read_address("dst_address", dst)?,
            src_port: read_port("src_port", src_port)?,
            dst_port: read_port("dst_port", dst_port)?,
        })
    }

    /// Reads one side of a `snat` row.
    pub fn read_side(protocol: &str, side: &Tuple) -> Result<Self, TupleError> {
        Self::read(
            protocol,
            &side.src_address,
            &side.dst_address,
            side.src_port,
            side.dst_port,
        )
    }

    /// The tuple of the answers.
    pub fn reversed(self) -> Self {
        Self {
            protocol: self.protocol,
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
        }
    }

    /// Source as `address:port`.
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.src, self.src_port)
    }

    /// Destination as `address:port`.
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.dst, self.dst_port)
    }
}

fn read_address(column: &'static str, text: &str) -> Result<IpAddr, TupleError> {
    text.parse().map_err(|_| TupleError {
        column,
        value: text.to_owned(),
        wanted: "an IP address",
    })
}

fn read_port(column: &'static str, port: i32) -> Result<u16, TupleError> {
    u16::try_from(port).map_err(|_| TupleError {
        column,
        value: port.to_string(),
        wanted: "a port between 0 and 65535",
    })
}
