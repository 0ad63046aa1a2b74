//! HTTP at the pod hooks: responses counted, and the state of the connections they come from.
//!
//! User space reads the counts whole and of a connection only what tells whether it is over.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Protocol versions, the `version` field of [`HttpKey`].
pub mod version {
    /// HTTP/1.0.
    pub const HTTP10: u8 = 1;
    /// HTTP/1.1.
    pub const HTTP11: u8 = 2;
    /// HTTP/2 without TLS.
    pub const HTTP2: u8 = 3;
}

/// Latency bucket of responses whose request was not seen.
pub const NO_LATENCY: u16 = u16::MAX;
/// Buckets of each doubling, as a power of two.
const BUCKET_BITS: u32 = 4;
/// Latencies beyond this many bits of microseconds (twelve days) share the last bucket.
const LONGEST_BITS: u32 = 40;

/// What is counted together: the value beside it is the number of responses.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct HttpKey {
    /// cgroup id of the backend.
    pub scope: u64,
    /// Address of the backend's socket; IPv4 in the first word.
    pub local: [u32; 4],
    /// Address of whoever asked.
    pub peer: [u32; 4],
    /// Port of the backend's socket.
    pub local_port: u16,
    /// Status; 0 where it could not be read.
    pub status: u16,
    /// Latency bucket, see [`bucket_of`], or [`NO_LATENCY`].
    pub bucket: u16,
    /// One of [`version`].
    pub version: u8,
    /// Generation.
    pub generation: u8,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// A connection as its pod's socket sees it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ConnectionKey {
    /// cgroup id of the backend.
    pub scope: u64,
    /// Address of the backend's socket; IPv4 in the first word.
    pub local: [u32; 4],
    /// Address of the peer.
    pub peer: [u32; 4],
    /// Port of the backend's socket.
    pub local_port: u16,
    /// Port of the peer.
    pub peer_port: u16,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// Bytes of a line that are kept: the longest that is understood is
/// `transfer-encoding: chunked`.
pub const LINE_WORDS: usize = 4;

/// One direction of a connection: where in its bytes the hook stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Stream {
    /// Bytes to be passed over before the next line or frame.
    pub left: u64,
    /// The line's or frame's first bytes, little-endian words.
    pub line: [u64; LINE_WORDS],
    /// Content-Length of the message.
    pub length: u64,
    /// CLOCK_MONOTONIC nanoseconds of the message's first byte.
    pub started_ns: u64,
    /// Sequence number after the last byte seen.
    pub next_seq: u32,
    /// Bytes of the line or frame so far.
    pub column: u32,
    /// Where the hook stands in the packet at hand.
    pub at: u32,
    /// Where that packet's payload ends.
    pub end: u32,
    /// HTTP/2: the stream that the frame at hand belongs to.
    pub stream_id: u32,
    /// Status of the response at hand.
    pub status: u16,
    /// What comes next, behind `left` bytes; the parser's own codes.
    pub phase: u8,
    /// What the head said of the body; the parser's own bits.
    pub framing: u8,
    /// One of [`version`].
    pub version: u8,
    /// Not zero once `next_seq` holds.
    pub synced: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// Requests whose time is kept.
pub const TIMED_REQUESTS: usize = 8;

/// The state of a connection.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Connection {
    /// Towards the backend.
    pub ingress: Stream,
    /// From the backend.
    pub egress: Stream,
    /// When each of the last requests began, by its number modulo their count.
    pub asked_ns: [u64; TIMED_REQUESTS],
    /// One bit for each of the last 64 requests: whether it was a HEAD.
    pub heads: u64,
    /// Latency of the response at hand, nanoseconds; all ones where its request was not seen.
    pub latency_ns: u64,
    /// Requests so far. Only the ingress hook writes it, and only the egress hook the next.
    pub asked: u32,
    /// Final responses so far.
    pub answered: u32,
    /// Low half of the kernel's tick counter at the last packet.
    pub last_jiffies: u32,
    /// Not zero once both directions are HTTP/2.
    pub http2: u32,
}

/// HTTP/2 streams of a connection that are kept apart, by half their number modulo this.
pub const STREAMS: usize = 128;

/// The streams of an HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Streams {
    /// When each stream's request began: the low half is the stream's number, the high half
    /// microseconds.
    pub asked: [u64; STREAMS],
    /// Number of the stream whose final response has begun.
    pub begun: [u32; STREAMS],
}

/// The bucket of a latency: one microsecond wide at first, then sixteen to each doubling.
#[must_use]
#[inline(always)]
pub fn bucket_of(latency_us: u64) -> u16 {
    let mut value = latency_us;
    if value >> LONGEST_BITS != 0 {
        value = (1 << LONGEST_BITS) - 1;
    }
    // The position of the highest bit, by halves: the BPF target has no instruction for it.
    let mut high = 0;
    let mut rest = value;
    let mut step = 32;
    while step > 0 {
        if rest >> step != 0 {
            rest >>= step;
            high += step;
        }
        step >>= 1;
    }
    if high < BUCKET_BITS {
        return value as u16;
    }
    let shift = high - BUCKET_BITS;
    // The mantissa's leading one adds a whole doubling.
    ((shift << BUCKET_BITS) as u64 + (value >> shift)) as u16
}

/// First latency of a bucket and first beyond it, microseconds.
#[must_use]
pub const fn bounds_of(bucket: u16) -> (u64, u64) {
    let per_doubling = 1 << BUCKET_BITS;
    let bucket = bucket as u64;
    if bucket < 2 * per_doubling {
        return (bucket, bucket + 1);
    }
    let shift = bucket / per_doubling - 1;
    let mantissa = bucket % per_doubling + per_doubling;
    (mantissa << shift, (mantissa + 1) << shift)
}
