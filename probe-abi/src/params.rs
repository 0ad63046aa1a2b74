//! What user space tells the programs: the control record, and sizes that both sides know.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The single entry of the control map.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Control {
    /// Generation that programs write to: 0 or 1.
    pub generation: u32,
    /// Flips since the start; gives each wire flow a fresh allowance of look-ups.
    pub epoch: u32,
    /// Not zero where uplinks' egress hooks see packets as they leave and look at them themselves;
    /// else they ask the wire hook.
    pub pair_at_uplink: u32,
}

/// Tunnel UDP ports that the wire hook can be told.
pub const TUNNEL_PORTS: usize = 8;
