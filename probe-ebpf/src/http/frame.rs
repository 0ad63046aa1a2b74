//! HTTP/2 without TLS (RFC 9113): frames one after the other, and what HEADERS frames begin.
//!
//! A response is the first HEADERS frame of its stream that is not interim; a later one holds
//! trailers, as gRPC's do, whose fields are mostly in a table that is not followed. So the streams
//! are kept apart, by their numbers.

use probe_abi::http::{Connection, LINE_WORDS, STREAMS, Stream, Streams, version};

use super::{
    FETCHED, Outcome, Source, UNKNOWN, hpack,
    line::{Gathered, append},
    phase, stream_of,
};

/// Length of a frame's header.
const HEADER: u32 = 9;
/// What stands between a HEADERS frame's header and its block: padding length, priority.
const PADDED_LENGTH: u32 = 1;
const PRIORITY_LENGTH: u32 = 5;
/// The type of a HEADERS frame.
const HEADERS: u64 = 1;
/// Flags of a HEADERS frame.
const PADDED: u64 = 0x8;
const PRIORITY: u64 = 0x20;
/// Bytes of the client's preface behind its first line.
const PREFACE_REST: u64 = 8;

/// The client's preface was seen.
#[inline(always)]
pub fn begin(connection: &mut Connection) {
    begin_frames(&mut connection.ingress, PREFACE_REST);
    if connection.http2 == 0 {
        connection.http2 = 1;
        begin_frames(&mut connection.egress, 0);
    }
}

/// The backend agreed to go on in HTTP/2. Its frames come next; the client's follow its preface.
#[inline(always)]
pub fn switch(connection: &mut Connection) {
    connection.http2 = 1;
    begin_frames(&mut connection.egress, 0);
}

#[inline(always)]
fn begin_frames(stream: &mut Stream, left: u64) {
    stream.phase = phase::FRAME;
    stream.left = left;
    stream.column = 0;
}

/// One frame.
#[inline(always)]
pub fn step<const EGRESS: bool>(connection: &mut Connection, source: &impl Source) -> Outcome {
    let stream = stream_of::<EGRESS>(connection);
    if stream.column == 0 {
        let length = (stream.end - stream.at).min(FETCHED);
        let mut words = [0; LINE_WORDS];
        if !source.fetch(stream.at, length, &mut words) {
            stream.at = stream.end;
            return Outcome::Done;
        }
        stream.line = words;
        let wanted = if length < HEADER {
            HEADER
        } else {
            wanted::<EGRESS>(&words)
        };
        let taken = length.min(wanted);
        stream.at += taken;
        stream.column = taken;
        if taken < wanted {
            return Outcome::More;
        }
    } else if append(stream, source) == Gathered::Nothing {
        return Outcome::Done;
    } else if stream.column < HEADER || stream.column < wanted::<EGRESS>(&stream.line) {
        return Outcome::More;
    }
    read::<EGRESS>(stream)
}

/// Bytes of a frame that are looked at.
#[inline(always)]
fn wanted<const EGRESS: bool>(words: &[u64; LINE_WORDS]) -> u32 {
    if !EGRESS || kind(words) != HEADERS {
        return HEADER;
    }
    let most = PADDED_LENGTH + PRIORITY_LENGTH + hpack::OCTETS;
    HEADER + length(words).min(u64::from(most)) as u32
}

#[inline(always)]
fn length(words: &[u64; LINE_WORDS]) -> u64 {
    (words[0] & 0xff) << 16 | (words[0] >> 8 & 0xff) << 8 | words[0] >> 16 & 0xff
}

#[inline(always)]
fn kind(words: &[u64; LINE_WORDS]) -> u64 {
    words[0] >> 24 & 0xff
}

/// A frame whose first bytes were gathered.
#[inline(always)]
fn read<const EGRESS: bool>(stream: &mut Stream) -> Outcome {
    let words = &stream.line;
    let taken = stream.column;
    stream.left = length(words) - u64::from(taken - HEADER);
    stream.column = 0;
    if kind(words) != HEADERS {
        return Outcome::More;
    }
    // The number is written with the highest byte first: three bytes here, one in the next word.
    let number = (words[0] >> 40 & 0xff) << 24
        | (words[0] >> 48 & 0xff) << 16
        | (words[0] >> 56) << 8
        | words[1] & 0xff;
    stream.stream_id = number as u32 & 0x7fff_ffff;
    if EGRESS {
        stream.status = hpack_status(words, taken);
    }
    Outcome::Headers
}

#[inline(always)]
fn hpack_status(words: &[u64; LINE_WORDS], taken: u32) -> u16 {
    let flags = words[0] >> 32;
    // The block begins in the second word, one to seven bytes behind its first.
    let mut skipped = HEADER - 8;
    if flags & PADDED != 0 {
        skipped += PADDED_LENGTH;
    }
    if flags & PRIORITY != 0 {
        skipped += PRIORITY_LENGTH;
    }
    if taken <= 8 + skipped {
        return 0;
    }
    let low = words[1] >> (8 * skipped) | words[2] << (64 - 8 * skipped);
    let high = words[2] >> (8 * skipped) | words[3] << (64 - 8 * skipped);
    // What stands behind the block was fetched with it and is another frame's.
    let octets = taken - 8 - skipped;
    if octets <= 8 {
        return hpack::status(low & (u64::MAX >> (64 - 8 * octets)), 0);
    }
    let behind = (octets - 8).min(8);
    let high = high & (u64::MAX >> (64 - 8 * behind));
    hpack::status(low, high)
}

/// What a HEADERS frame is: whether it begins a response, whose version, status and latency the
/// connection then has.
#[inline(always)]
pub fn headers<const EGRESS: bool>(
    connection: &mut Connection,
    streams: &mut Streams,
    now_ns: u64,
) -> bool {
    let number = stream_of::<EGRESS>(connection).stream_id;
    let slot = (number >> 1) as usize % STREAMS;
    let known = streams.asked[slot] as u32 == number;
    let now_us = (now_ns / 1000) as u32;
    if !EGRESS {
        if !known {
            streams.asked[slot] = u64::from(now_us) << 32 | u64::from(number);
        }
        return false;
    }
    if streams.begun[slot] == number {
        return false;
    }
    let status = connection.egress.status;
    if !(100..=199).contains(&status) {
        streams.begun[slot] = number;
    }
    connection.latency_ns = UNKNOWN;
    if known {
        let asked_us = (streams.asked[slot] >> 32) as u32;
        connection.latency_ns = u64::from(now_us.wrapping_sub(asked_us)) * 1000;
    }
    connection.egress.version = version::HTTP2;
    true
}

/// Stream 1 answers the request that asked for the switch to HTTP/2.
#[inline(always)]
pub fn inherit(connection: &Connection, streams: &mut Streams) {
    if connection.latency_ns == UNKNOWN {
        return;
    }
    let asked_ns = connection.egress.started_ns - connection.latency_ns;
    streams.asked[0] = (asked_ns / 1000) << 32 | 1;
}
