//! The pure half of the eBPF side on the host: parser and fingerprints, on ordinary byte slices.

mod fingerprint;
mod frames;
mod packet;

use probe_ebpf::packet::Load;

/// Bytes of a packet.
struct Bytes<'a>(&'a [u8]);

impl Load for Bytes<'_> {
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.0.get(offset as usize..)?.first_chunk().copied()
    }
}
