//! HTTP/1 messages (RFC 9112): first lines, heads, and which request a response answers.

use probe_abi::http::{Connection, Stream, TIMED_REQUESTS};

use super::{
    Outcome, Source, UNKNOWN, frame, framing,
    line::{self, Gathered, gather, starts_with},
    phase, stand_by, stream_of,
};

/// Requests whose method is kept.
const KEPT_METHODS: u32 = 64;

/// The first line of a message.
#[inline(always)]
pub fn start<const EGRESS: bool>(connection: &mut Connection, source: &impl Source) -> Outcome {
    let stream = stream_of::<EGRESS>(connection);
    if stream.column == 0 {
        stream.started_ns = source.now_ns();
        stream.framing = 0;
        stream.length = 0;
    }
    let gathered = gather(stream, source);
    if gathered == Gathered::Nothing {
        return Outcome::Done;
    }
    let ended = gathered == Gathered::Line;
    if EGRESS {
        return status_line(connection, ended);
    }
    if ended {
        return request_line(connection);
    }
    Outcome::More
}

#[inline(always)]
fn status_line(connection: &mut Connection, ended: bool) -> Outcome {
    let stream = &mut connection.egress;
    let known = stream.column >= 8 || ended;
    if known && !starts_with(stream, *b"HTTP/1. ", 7) {
        return not_a_response(connection);
    }
    if ended {
        let Some((version, status)) = line::status(stream) else {
            return not_a_response(connection);
        };
        stream.version = version;
        stream.status = status;
        stream.column = 0;
        stream.phase = phase::HEAD;
    }
    Outcome::More
}

/// Bytes that are no response stand where one must begin.
#[inline(always)]
fn not_a_response(connection: &mut Connection) -> Outcome {
    let is_first = connection.answered == 0 && connection.egress.status == 0;
    stand_by(&mut connection.egress);
    if is_first {
        Outcome::Foreign
    } else {
        Outcome::Lost
    }
}

#[inline(always)]
fn request_line(connection: &mut Connection) -> Outcome {
    let stream = &mut connection.ingress;
    if line::is_empty(stream) {
        // RFC 9112 section 2.2: an empty line before a request is passed over.
        stream.column = 0;
        return Outcome::More;
    }
    if starts_with(stream, *b"PRI * HT", 8) {
        frame::begin(connection);
        return Outcome::Preface;
    }
    if !line::begins_with_token(stream) {
        stand_by(stream);
        return Outcome::More;
    }
    let is_head = starts_with(stream, *b"HEAD    ", 5);
    let started_ns = stream.started_ns;
    stream.column = 0;
    stream.phase = phase::HEAD;
    let number = connection.asked;
    connection.asked_ns[number as usize % TIMED_REQUESTS] = started_ns;
    let bit = 1 << (number % KEPT_METHODS);
    if is_head {
        connection.heads |= bit;
    } else {
        connection.heads &= !bit;
    }
    connection.asked = number.wrapping_add(1);
    Outcome::More
}

/// A line that is not the first.
#[inline(always)]
pub fn line<const EGRESS: bool>(connection: &mut Connection) -> Outcome {
    let stream = stream_of::<EGRESS>(connection);
    let is_empty = line::is_empty(stream);
    stream.column = 0;
    match stream.phase {
        phase::HEAD if is_empty => {
            if EGRESS {
                end_response_head(connection)
            } else {
                end_request_head(&mut connection.ingress)
            }
        }
        phase::HEAD => {
            line::header(stream);
            Outcome::More
        }
        phase::CHUNK => {
            match line::chunk_size(stream) {
                Some(0) => stream.phase = phase::TRAILER,
                // The chunk ends with an empty line of its own.
                Some(size) => stream.left = size + 2,
                None => {
                    stand_by(stream);
                    return if EGRESS { Outcome::Lost } else { Outcome::More };
                }
            }
            Outcome::More
        }
        _ => {
            if is_empty {
                stream.phase = phase::START;
            }
            Outcome::More
        }
    }
}

#[inline(always)]
fn end_request_head(stream: &mut Stream) -> Outcome {
    if stream.framing & framing::CHUNKED != 0 {
        stream.phase = phase::CHUNK;
    } else if stream.framing & framing::OTHER != 0 {
        stand_by(stream);
    } else {
        stream.left = stream.length;
        stream.phase = phase::START;
    }
    Outcome::More
}

#[inline(always)]
fn end_response_head(connection: &mut Connection) -> Outcome {
    let asked = answer(connection);
    let stream = &mut connection.egress;
    match stream.status {
        101 if stream.framing & framing::H2C != 0 => {
            frame::switch(connection);
        }
        101 => {
            stream.phase = phase::OVER;
            connection.ingress.phase = phase::OVER;
        }
        100..=199 | 204 | 304 => stream.phase = phase::START,
        _ => match asked {
            Asked::Head => stream.phase = phase::START,
            Asked::Unknown => stand_by(stream),
            Asked::Other => {
                if stream.framing & framing::CHUNKED != 0 {
                    stream.phase = phase::CHUNK;
                } else if stream.framing & (framing::OTHER | framing::LENGTH) == framing::LENGTH {
                    stream.left = stream.length;
                    stream.phase = phase::START;
                } else {
                    // The body ends with the connection.
                    stand_by(stream);
                }
            }
        },
    }
    Outcome::Response
}

/// The request that a response answers, as far as its body goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A HEAD: no body follows.
    Head,
    /// Another one.
    Other,
    /// None that was seen, or too long ago.
    Unknown,
}

/// Matches a response to the oldest request that has no final response yet.
#[inline(always)]
pub fn answer(connection: &mut Connection) -> Asked {
    let number = connection.answered;
    let waiting = connection.asked.wrapping_sub(number);
    connection.latency_ns = UNKNOWN;
    if waiting == 0 {
        return Asked::Unknown;
    }
    if waiting <= TIMED_REQUESTS as u32 {
        let asked_ns = connection.asked_ns[number as usize % TIMED_REQUESTS];
        connection.latency_ns = connection.egress.started_ns.saturating_sub(asked_ns);
    }
    let status = connection.egress.status;
    if !(100..=199).contains(&status) || status == 101 {
        connection.answered = number.wrapping_add(1);
    }
    if waiting > KEPT_METHODS {
        return Asked::Unknown;
    }
    if connection.heads >> (number % KEPT_METHODS) & 1 != 0 {
        Asked::Head
    } else {
        Asked::Other
    }
}
