//! The programs, and what they share: maps, atomics, the packet as a hook sees it.

pub mod account;
pub mod atomic;
pub mod buffer;
pub mod cpu;
pub mod here;
pub mod http;
mod kernel;
pub mod look;
pub mod loss;
mod made;
pub mod maps;
pub mod nothing;
pub mod pairing;
pub mod pod;
pub mod request;
pub mod responses;
pub mod uplink;
pub mod wire;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no panic survives optimisation; the verifier would reject the loop otherwise.
    unsafe { core::hint::unreachable_unchecked() }
}
