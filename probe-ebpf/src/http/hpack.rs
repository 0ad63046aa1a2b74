//! The status in an HPACK block (RFC 7541), as far as no dynamic table is needed.
//!
//! A pseudo-header comes before all others (RFC 9113 section 8.3), so that `:status` is the
//! block's first field, behind changes of the table's size. It is an entry of the static table or
//! a literal that takes its name from there.

/// Octets that are looked at.
pub const OCTETS: u32 = 16;

/// Names 8 to 14 of the static table are all `:status`, with these values.
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

/// The status in a block that begins with these octets, little-endian and zeros behind its end;
/// 0 where it cannot be told.
#[inline(always)]
pub fn status(mut low: u64, mut high: u64) -> u16 {
    let mut within_size = false;
    for _ in 0..8 {
        let octet = low as u8;
        if within_size {
            within_size = octet & 0x80 != 0;
        } else if octet & 0xe0 == 0x20 {
            within_size = octet & 0x1f == 0x1f;
        } else {
            break;
        }
        low = low >> 8 | high << 56;
        high >>= 8;
    }
    let octet = low as u8;
    if octet & 0x80 != 0 {
        return indexed(octet & 0x7f);
    }
    let name = if octet & 0xc0 == 0x40 {
        octet & 0x3f
    } else if octet & 0xe0 == 0 {
        octet & 0x0f
    } else {
        return 0;
    };
    if !(8..=14).contains(&name) {
        return 0;
    }
    literal((low >> 8) as u8, low >> 16)
}

#[inline(always)]
fn indexed(index: u8) -> u16 {
    // Spelled out, since a table would be one more map.
    match index {
        8 => STATUSES[0],
        9 => STATUSES[1],
        10 => STATUSES[2],
        11 => STATUSES[3],
        12 => STATUSES[4],
        13 => STATUSES[5],
        14 => STATUSES[6],
        _ => 0,
    }
}

/// Three digits, as they are or in Huffman's code.
#[inline(always)]
fn literal(length: u8, octets: u64) -> u16 {
    match length {
        3 => {
            let digit = |at: u32| u16::from(((octets >> at) as u8).wrapping_sub(b'0'));
            let (first, second, third) = (digit(0), digit(8), digit(16));
            if first == 0 || first > 9 || second > 9 || third > 9 {
                return 0;
            }
            first * 100 + second * 10 + third
        }
        0x82 | 0x83 => {
            let bits = (octets as u32 & 0xff) << 16
                | (octets as u32 >> 8 & 0xff) << 8
                | octets as u32 >> 16 & 0xff;
            huffman(bits << 8)
        }
        _ => 0,
    }
}

/// Three digits from the top of a word: `0` to `2` have five bits, the others six (RFC 7541
/// appendix B).
#[inline(always)]
fn huffman(mut bits: u32) -> u16 {
    let mut value = 0;
    for _ in 0..3 {
        let five = bits >> 27;
        if five <= 2 {
            value = value * 10 + five as u16;
            bits <<= 5;
            continue;
        }
        let six = bits >> 26;
        if !(25..=31).contains(&six) {
            return 0;
        }
        value = value * 10 + six as u16 - 22;
        bits <<= 6;
    }
    if value < 100 { 0 } else { value }
}
