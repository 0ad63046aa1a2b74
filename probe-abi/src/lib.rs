//! The bytes that cross the line between the eBPF programs and user space, and nothing else.
//!
//! Every record is `repr(C)`, made of integers and byte arrays with explicit padding; no `bool`,
//! `enum` or `Option` crosses. User space decodes codes with `TryFrom` and refuses what it does
//! not know. Addresses and ports stand in network byte order, as they were loaded from the packet.

#![cfg_attr(not(test), no_std)]

pub mod cpu;
pub mod flow;
pub mod http;
pub mod loss;
pub mod params;
pub mod wire;

/// Version of everything in this crate. `tests/layout.rs` fails when a layout changes under an
/// unchanged version.
pub const ABI_VERSION: u32 = 5;

#[cfg(feature = "user")]
mod pod {
    //! aya asks for its own marker beside zerocopy's.

    macro_rules! pods {
        ($($record:ty),* $(,)?) => {
            $(
                // SAFETY: the record is `repr(C)`, derives `FromBytes` and `IntoBytes`, and so has
                // neither padding nor invalid bit patterns.
                unsafe impl aya::Pod for $record {}
            )*
        };
    }

    pods!(
        crate::cpu::CpuKey,
        crate::cpu::CpuCharge,
        crate::cpu::CpuSlot,
        crate::cpu::CpuTotals,
        crate::cpu::CpuState,
        crate::cpu::CpuPlace,
        crate::flow::FlowKey4,
        crate::flow::FlowKey6,
        crate::flow::FlowRecord,
        crate::flow::Slot4,
        crate::flow::Slot6,
        crate::http::HttpKey,
        crate::http::ConnectionKey,
        crate::http::Connection,
        crate::http::Streams,
        crate::loss::LossKey,
        crate::loss::LossCount,
        crate::params::Control,
        crate::wire::Fingerprint,
        crate::wire::Before,
        crate::wire::WireKey,
        crate::wire::WireRecord,
    );
}
