//! Named counters for everything that no flow holds.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Reasons, the `reason` field of [`LossKey`].
pub mod reason {
    /// The flow map turned the packet's flow away.
    pub const OVERFLOW: u8 = 1;
    /// The frame is not IP.
    pub const NON_IP: u8 = 2;
    /// The packet is IP, but its headers could not be followed.
    pub const IP_UNPARSED: u8 = 3;
    /// A wire flow used up its look-ups of this generation without a match.
    pub const PAIRING_MISSED: u8 = 4;
    /// A fingerprint had two live sources.
    pub const PAIRING_AMBIGUOUS: u8 = 5;
    /// The wire map turned a flow away.
    pub const PAIRING_OVERFLOW: u8 = 6;
    /// A fingerprint could not be stored.
    pub const FINGERPRINT_UNSTORED: u8 = 7;
    /// HTTP bytes that could not be followed, or a response whose status could not be read.
    pub const HTTP_UNPARSED: u8 = 8;
    /// A full map turned a connection or a response away.
    pub const HTTP_OVERFLOW: u8 = 9;
}

/// What was lost where.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LossKey {
    /// Interface index; 0 at the pod hooks.
    pub ifindex: u32,
    /// One of [`crate::flow::hook`].
    pub hook: u8,
    /// One of [`reason`].
    pub reason: u8,
    /// Generation.
    pub generation: u8,
    /// Zero.
    pub reserved: u8,
}

/// How much.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LossCount {
    /// Packets on the wire.
    pub packets: u64,
    /// Layer-3 bytes on the wire (for frames that are not IP: without the link header).
    pub bytes: u64,
    /// sk_buffs.
    pub buffers: u64,
    /// Layer-3 bytes of the sk_buffs.
    pub buffer_bytes: u64,
}
