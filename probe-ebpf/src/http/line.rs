//! Lines of an HTTP/1 message: gathering one from its segments, and what it says.
//!
//! Of a line its first bytes are kept, as little-endian words. A segment that holds the line's
//! beginning fills them at once; only where a segment ends within them does the next one add to
//! them byte by byte.

use probe_abi::http::{LINE_WORDS, Stream, version};

use super::{FETCHED, Source, framing};

/// Each byte's lowest bit.
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
/// Each byte's highest bit.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
/// The bit that tells a small letter from a capital one.
const SMALL: u64 = 0x2020_2020_2020_2020;
/// Columns count no further: longer lines are not told apart.
const LONGEST: u32 = 1 << 24;

/// How far a line has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathered {
    /// Its end was reached.
    Line,
    /// It goes on.
    Part,
    /// The packet did not have the bytes that its headers promise.
    Nothing,
}

/// Takes what the segment has of a line, or a stretch of it.
#[inline(always)]
pub fn gather(stream: &mut Stream, source: &impl Source) -> Gathered {
    if stream.column != 0 && stream.column < FETCHED {
        return append(stream, source);
    }
    let length = (stream.end - stream.at).min(FETCHED);
    let mut words = [0; LINE_WORDS];
    if !source.fetch(stream.at, length, &mut words) {
        stream.at = stream.end;
        return Gathered::Nothing;
    }
    if stream.column == 0 {
        stream.line = words;
    }
    let ended = newline_end(&words);
    let taken = if ended == 0 { length } else { ended };
    stream.at += taken;
    if stream.column < LONGEST {
        stream.column += taken;
    }
    if ended == 0 {
        Gathered::Part
    } else {
        Gathered::Line
    }
}

/// Adds one byte to the kept ones.
#[inline(always)]
pub fn append(stream: &mut Stream, source: &impl Source) -> Gathered {
    let mut words = [0; LINE_WORDS];
    if !source.fetch(stream.at, 1, &mut words) {
        stream.at = stream.end;
        return Gathered::Nothing;
    }
    let byte = words[0] & 0xff;
    let word = (stream.column >> 3) as usize % LINE_WORDS;
    stream.line[word] |= byte << ((stream.column & 7) * 8);
    stream.column += 1;
    stream.at += 1;
    if byte == u64::from(b'\n') {
        Gathered::Line
    } else {
        Gathered::Part
    }
}

/// Bytes up to and with the first newline; 0 where there is none.
#[inline(always)]
fn newline_end(words: &[u64; LINE_WORDS]) -> u32 {
    let mut before = 0;
    for word in words {
        // A byte's high bit is set where the byte is a newline; the lowest of them is exact.
        let others = word ^ (LOW_BITS * b'\n' as u64);
        let found = others.wrapping_sub(LOW_BITS) & !others & HIGH_BITS;
        if found != 0 {
            let below = (found & found.wrapping_neg()) - 1;
            return before + ((below & LOW_BITS).wrapping_mul(LOW_BITS) >> 56) as u32;
        }
        before += 8;
    }
    0
}

/// Whether the line is nothing but its end.
#[inline(always)]
pub fn is_empty(stream: &Stream) -> bool {
    stream.column == 1 || stream.column == 2 && stream.line[0] & 0xff == u64::from(b'\r')
}

/// Whether the line's first `length` bytes are these.
#[inline(always)]
pub fn starts_with(stream: &Stream, token: [u8; 8], length: u32) -> bool {
    (stream.line[0] ^ u64::from_le_bytes(token)) & (u64::MAX >> (64 - 8 * length)) == 0
}

/// Whether the line begins as a method does.
#[inline(always)]
pub fn begins_with_token(stream: &Stream) -> bool {
    let first = (stream.line[0] & 0xff) as u8;
    first.is_ascii_uppercase()
}

/// Version and status of `HTTP/1.x NNN`, whose first seven bytes were found before.
#[inline(always)]
pub fn status(stream: &Stream) -> Option<(u8, u16)> {
    let version = match (stream.line[0] >> 56) as u8 {
        b'0' => version::HTTP10,
        b'1' => version::HTTP11,
        _ => return None,
    };
    let word = stream.line[1];
    let hundreds = digit(word >> 8)?;
    let tens = digit(word >> 16)?;
    let ones = digit(word >> 24)?;
    let behind = (word >> 32) as u8;
    let ends = matches!(behind, b' ' | b'\r' | b'\n');
    if word as u8 != b' ' || !ends || hundreds == 0 {
        return None;
    }
    Some((version, hundreds * 100 + tens * 10 + ones))
}

#[inline(always)]
fn digit(word: u64) -> Option<u16> {
    let value = (word as u8).wrapping_sub(b'0');
    (value < 10).then_some(u16::from(value))
}

/// Notes what a header line says of the body.
#[inline(always)]
pub fn header(stream: &mut Stream) {
    let name = stream.line[0] | SMALL;
    let more = stream.line[1] | SMALL;
    let third = stream.line[2];
    if name == word(b"content-") && more & !0 >> 8 == word(b"length:\0") {
        match number(
            stream.line[1] >> 56 | third << 8,
            third >> 56 | stream.line[3] << 8,
        ) {
            Some(length) => {
                stream.length = length;
                stream.framing |= framing::LENGTH;
            }
            None => stream.framing |= framing::OTHER,
        }
    } else if name == word(b"transfer") && more == word(b"-encodin") {
        if (third | SMALL) & 0xffff != word(b"g:\0\0\0\0\0\0") {
            return;
        }
        let value = (third >> 16 | stream.line[3] << 48) | SMALL;
        let behind = stream.line[3] >> 16;
        let spaced = value == word(b" chunked") && is_end(behind);
        let plain = value & !0 >> 8 == word(b"chunked\0") && is_end(stream.line[3] >> 8);
        stream.framing |= if spaced || plain {
            framing::CHUNKED
        } else {
            framing::OTHER
        };
    } else if name == word(b"upgrade:") {
        let value = more & !0 >> 32;
        if value == word(b" h2c\0\0\0\0") || more & !0 >> 40 == word(b"h2c\0\0\0\0\0") {
            stream.framing |= framing::H2C;
        }
    }
}

#[inline(always)]
const fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

#[inline(always)]
fn is_end(word: u64) -> bool {
    matches!(word as u8, b'\r' | b'\n')
}

/// A decimal number behind at most two spaces, its text in two words; none where there is something
/// else.
///
/// All digits at once: a loop over them, within the hook's loop over lines, would be more than the
/// verifier follows.
#[inline(always)]
fn number(mut low: u64, mut high: u64) -> Option<u64> {
    for _ in 0..2 {
        if low as u8 == b' ' {
            low = low >> 8 | high << 56;
            high >>= 8;
        }
    }
    let count = leading(digits(low));
    if count == 0 {
        return None;
    }
    if count < 8 {
        return is_end(low >> (8 * count)).then(|| decimal(low, count));
    }
    let rest = leading(digits(high));
    if rest > 6 || !is_end(high >> (8 * rest)) {
        return None;
    }
    let scale = match rest {
        0 => 1,
        1 => 10,
        2 => 100,
        3 => 1_000,
        4 => 10_000,
        5 => 100_000,
        _ => 1_000_000,
    };
    let more = if rest == 0 { 0 } else { decimal(high, rest) };
    Some(decimal(low, 8) * scale + more)
}

/// The high bit of each byte that is not a decimal digit.
#[inline(always)]
fn digits(word: u64) -> u64 {
    let value = word ^ (LOW_BITS * b'0' as u64);
    // A value of ten or more carries into its byte's high bit.
    (((value & !HIGH_BITS) + LOW_BITS * (0x80 - 10)) | value) & HIGH_BITS
}

/// Bytes before the first whose high bit is set.
#[inline(always)]
fn leading(marks: u64) -> u32 {
    if marks == 0 {
        return 8;
    }
    let below = (marks & marks.wrapping_neg()) - 1;
    ((below & LOW_BITS).wrapping_mul(LOW_BITS) >> 56) as u32 - 1
}

/// The number that a word's first `count` bytes, one to eight and all digits, write.
#[inline(always)]
fn decimal(word: u64, count: u32) -> u64 {
    // The digits move to the word's end, zeros before them; then pairs, fours and eights are added.
    let digits = (word & (LOW_BITS * 0x0f)) << (64 - 8 * count);
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) & 0xffff_ffff
}

/// The size that a chunk's first line tells; none where it is no such line, or the size has more
/// than seven digits (256 MiB).
#[inline(always)]
pub fn chunk_size(stream: &Stream) -> Option<u64> {
    let word = stream.line[0];
    let small = (word | SMALL) ^ (LOW_BITS * 0x60);
    let letter = small & !HIGH_BITS;
    // From one to six, which are the letters from a to f.
    let is_letter = (letter + LOW_BITS * 0x7f) & !(letter + LOW_BITS * 0x79) & !small & HIGH_BITS;
    let count = leading(digits(word) & !is_letter);
    if count == 0 || count > 7 {
        return None;
    }
    let behind = (word >> (8 * count)) as u8;
    if !matches!(behind, b';' | b' ' | b'\r' | b'\n') {
        return None;
    }
    let values = (word & (LOW_BITS * 0x0f)) + ((word >> 6) & LOW_BITS) * 9;
    let ordered = (values << (64 - 8 * count)).swap_bytes();
    let pairs = (ordered | ordered >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((fours | fours >> 16) & 0xffff_ffff)
}
