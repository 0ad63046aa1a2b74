//! HTTP responses on the connections of a backend, byte by byte through any segmentation.
//!
//! The two directions of a connection are followed alike: a line or frame at a time, bodies passed
//! over by what their heads say of their length. [`step`] does one such thing, and a hook calls it
//! a bounded number of times for each packet. What does not fit the bound, or a body whose end the
//! head does not tell, leaves the direction [`phase::OPAQUE`]: there the next request, or the next
//! answer to one, is taken up where a segment begins with it, as it does on every connection whose
//! client waits for one answer before it asks again. What may have been missed is [`Outcome::Lost`].
//!
//! A request is only looked for on a connection whose peer began with one ([`is_request`]), and a
//! connection on which the answer is not HTTP is [`Outcome::Foreign`].

pub mod frame;
pub mod hpack;
pub mod line;
pub mod message;

use probe_abi::http::{Connection, LINE_WORDS, Stream};

use line::{Gathered, gather};

/// Most bytes that are fetched at once.
pub const FETCHED: u32 = 8 * LINE_WORDS as u32;
/// Steps that a packet gets.
pub const STEPS: u32 = 1024;
/// `latency_ns` of a response whose request was not seen.
pub const UNKNOWN: u64 = u64::MAX;

/// Where bytes and times come from.
pub trait Source {
    /// Copies the `length` bytes (1 to [`FETCHED`]) at `offset` to the start of `words`, which come
    /// zeroed, as little-endian words. False where the packet has no such bytes.
    fn fetch(&self, offset: u32, length: u32, words: &mut [u64; LINE_WORDS]) -> bool;
    /// CLOCK_MONOTONIC, nanoseconds.
    fn now_ns(&self) -> u64;
}

/// What a direction waits for.
pub mod phase {
    /// The first line of a message.
    pub const START: u8 = 0;
    /// A header line.
    pub const HEAD: u8 = 1;
    /// A chunk's size.
    pub const CHUNK: u8 = 2;
    /// A trailer line.
    pub const TRAILER: u8 = 3;
    /// A segment that begins with a message.
    pub const OPAQUE: u8 = 4;
    /// An HTTP/2 frame.
    pub const FRAME: u8 = 5;
    /// Nothing any more.
    pub const OVER: u8 = 6;
}

/// What a head says of the body behind it.
pub mod framing {
    /// It has this many bytes.
    pub const LENGTH: u8 = 1;
    /// It comes in chunks.
    pub const CHUNKED: u8 = 2;
    /// It is framed in a way that is not followed.
    pub const OTHER: u8 = 4;
    /// HTTP/2 comes next.
    pub const H2C: u8 = 8;
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    /// The segment is used up.
    Done = 0,
    /// There is more to do.
    More = 1,
    /// A response's head has ended: the egress stream has its version and status, the connection
    /// its latency.
    Response = 2,
    /// Something could not be followed: to be counted.
    Lost = 3,
    /// The connection does not speak HTTP: to be forgotten.
    Foreign = 4,
    /// The client said that it speaks HTTP/2: the connection needs a table of streams.
    Preface = 5,
    /// An HTTP/2 HEADERS frame: [`frame::headers`] says what it is.
    Headers = 6,
}

/// Whether a segment is new, and where its news begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Entry {
    /// The stream's `at` and `end` stand at what is new.
    New = 0,
    /// All of it was seen before.
    Old = 1,
    /// It was taken up no further: the direction waits for a segment that begins with a message.
    Skipped = 2,
    /// As `Skipped`, and something may have been missed.
    Lost = 3,
}

/// Begins with a segment of `end - at` payload bytes at sequence number `seq`.
#[inline(always)]
pub fn enter<const EGRESS: bool>(
    connection: &mut Connection,
    source: &impl Source,
    seq: u32,
    at: u32,
    end: u32,
) -> Entry {
    let waits = if EGRESS {
        connection.asked != connection.answered
    } else {
        connection.asked == connection.answered
    };
    let stream = stream_of::<EGRESS>(connection);
    let length = end - at;
    stream.at = at;
    stream.end = end;
    if stream.synced == 0 {
        stream.synced = 1;
        stream.next_seq = seq;
    }
    let ahead = seq.wrapping_sub(stream.next_seq);
    let mut lost = false;
    if ahead as i32 > 0 {
        // A piece is missing. Within a body that is as good as having seen it.
        if u64::from(ahead) <= stream.left {
            stream.left -= u64::from(ahead);
        } else {
            lost = EGRESS && stream.phase != phase::OPAQUE && stream.phase != phase::OVER
                || stream.phase == phase::FRAME;
            stand_by(stream);
        }
    } else {
        let seen = ahead.wrapping_neg();
        if seen >= length {
            return Entry::Old;
        }
        stream.at = at + seen;
    }
    stream.next_seq = seq.wrapping_add(length);
    if stream.phase != phase::OPAQUE {
        return if lost { Entry::Lost } else { Entry::New };
    }
    let begins = if EGRESS {
        is_response(source, stream.at, end)
    } else {
        is_request(source, stream.at, end)
    };
    if waits && begins {
        stream.phase = phase::START;
        stream.left = 0;
        stream.column = 0;
        return if lost { Entry::Lost } else { Entry::New };
    }
    if lost { Entry::Lost } else { Entry::Skipped }
}

/// Gives up finding the next message by the last one's framing.
#[inline(always)]
fn stand_by(stream: &mut Stream) {
    // HTTP/2 has no place at which it could be taken up again.
    stream.phase = match stream.phase {
        phase::FRAME | phase::OVER => phase::OVER,
        _ => phase::OPAQUE,
    };
    stream.left = 0;
    stream.column = 0;
}

/// One line or frame, and the stretch of body before it.
#[inline(always)]
pub fn step<const EGRESS: bool>(connection: &mut Connection, source: &impl Source) -> Outcome {
    let stream = stream_of::<EGRESS>(connection);
    if stream.at >= stream.end {
        return Outcome::Done;
    }
    if stream.left != 0 {
        let passed = stream.left.min(u64::from(stream.end - stream.at));
        stream.left -= passed;
        stream.at += passed as u32;
        if stream.at >= stream.end {
            return Outcome::Done;
        }
    }
    match stream.phase {
        phase::START => message::start::<EGRESS>(connection, source),
        phase::FRAME => frame::step::<EGRESS>(connection, source),
        phase::HEAD | phase::CHUNK | phase::TRAILER => match gather(stream, source) {
            Gathered::Line => message::line::<EGRESS>(connection),
            Gathered::Part => Outcome::More,
            Gathered::Nothing => Outcome::Done,
        },
        _ => Outcome::Done,
    }
}

/// What becomes of a segment that is not used up after all the steps that a packet gets.
#[inline(always)]
pub fn give_up<const EGRESS: bool>(connection: &mut Connection) -> Outcome {
    let is_asked_again = connection.asked.wrapping_sub(connection.answered) > 1;
    let stream = stream_of::<EGRESS>(connection);
    if stream.at >= stream.end {
        return Outcome::Done;
    }
    if stream.phase == phase::OPAQUE || stream.phase == phase::OVER {
        return Outcome::Done;
    }
    let ended = stream.phase == phase::HEAD;
    let lost = stream.phase == phase::FRAME || EGRESS && !ended;
    stand_by(stream);
    if EGRESS && ended {
        // The rest of the head is not needed to know what it answers.
        message::answer(connection);
        return Outcome::Response;
    }
    if lost || !EGRESS && is_asked_again {
        return Outcome::Lost;
    }
    Outcome::Done
}

/// The direction that a hook sees.
#[inline(always)]
pub fn stream_of<const EGRESS: bool>(connection: &mut Connection) -> &mut Stream {
    if EGRESS {
        &mut connection.egress
    } else {
        &mut connection.ingress
    }
}

/// Whether a segment begins as a request does, or could go on to.
#[inline(always)]
pub fn is_request(source: &impl Source, at: u32, end: u32) -> bool {
    let mut words = [0; LINE_WORDS];
    let length = (end - at).min(8);
    if !source.fetch(at, length, &mut words) {
        return false;
    }
    let mut found = false;
    for method in [
        *b"GET     ",
        *b"POST    ",
        *b"HEAD    ",
        *b"PUT     ",
        *b"DELETE  ",
        *b"PATCH   ",
        *b"OPTIONS ",
        *b"TRACE   ",
    ] {
        let trailing = method
            .iter()
            .rev()
            .take_while(|&&byte| byte == b' ')
            .count();
        found |= begins(words[0], length, method, 9 - trailing as u32);
    }
    found | begins(words[0], length, *b"PRI * HT", 8)
}

/// Whether the first `length` bytes of a segment are those of a token, as far as both go.
#[inline(always)]
fn begins(word: u64, length: u32, token: [u8; 8], token_length: u32) -> bool {
    let compared = if length < token_length {
        length
    } else {
        token_length
    };
    let mask = u64::MAX >> (64 - 8 * compared);
    (word ^ u64::from_le_bytes(token)) & mask == 0
}

#[inline(always)]
fn is_response(source: &impl Source, at: u32, end: u32) -> bool {
    let mut words = [0; LINE_WORDS];
    let length = (end - at).min(8);
    source.fetch(at, length, &mut words) && begins(words[0], length, *b"HTTP/1. ", 7)
}
