//! Single lines, against Rust's own parsing of the same text.

use probe_abi::http::{Stream, bounds_of, bucket_of};
use probe_ebpf::http::{framing, hpack, line};
use proptest::prelude::*;

fn stream(text: &[u8]) -> Stream {
    let mut stream = Stream::default();
    for (index, byte) in text.iter().take(32).enumerate() {
        stream.line[index / 8] |= u64::from(*byte) << (index % 8 * 8);
    }
    stream.column = text.len() as u32;
    stream
}

/// Framing and length that a header line gives.
fn header(text: &str) -> (u8, u64) {
    let mut stream = stream(text.as_bytes());
    line::header(&mut stream);
    (stream.framing, stream.length)
}

#[test]
fn headers_that_frame_a_body() {
    let length = |value| (framing::LENGTH, value);
    assert_eq!(header("Content-Length: 0\r\n"), length(0));
    assert_eq!(header("CONTENT-LENGTH:12345678\r\n"), length(12_345_678));
    assert_eq!(header("content-length:  123456789\n"), length(123_456_789));
    assert_eq!(
        header("Content-Length: 00000000123456\r\n"),
        length(123_456)
    );
    assert_eq!(header("Content-Length: 5 \r\n").0, framing::OTHER);
    assert_eq!(header("Content-Length: 5, 5\r\n").0, framing::OTHER);
    assert_eq!(header("Content-Length: \r\n").0, framing::OTHER);
    assert_eq!(header("Content-Length: -5\r\n").0, framing::OTHER);
    assert_eq!(header("Content-Type: text/plain\r\n").0, 0);
    assert_eq!(header("Transfer-Encoding: chunked\r\n").0, framing::CHUNKED);
    assert_eq!(header("transfer-encoding:Chunked\r\n").0, framing::CHUNKED);
    assert_eq!(header("Transfer-Encoding: gzip\r\n").0, framing::OTHER);
    assert_eq!(
        header("Transfer-Encoding: chunked, gzip\r\n").0,
        framing::OTHER
    );
    assert_eq!(header("Upgrade: h2c\r\n").0, framing::H2C);
    assert_eq!(header("Upgrade: websocket\r\n").0, 0);
}

proptest! {
    #[test]
    fn lengths(value in 0_u64..1_000_000_000_000, spaces in 0_usize..3) {
        let text = format!("Content-Length:{}{value}\r\n", " ".repeat(spaces));
        prop_assert_eq!(header(&text), (framing::LENGTH, value));
    }

    #[test]
    fn chunk_sizes(value in 0_u64..1 << 28, end in prop::sample::select(vec!["\r\n", "\n", ";a=b\r\n", " \r\n"])) {
        for text in [format!("{value:x}{end}"), format!("{value:X}{end}")] {
            prop_assert_eq!(line::chunk_size(&stream(text.as_bytes())), Some(value));
        }
    }

    #[test]
    fn other_chunk_sizes_are_refused(text in "[0-9a-fA-F]{0,4}[g-zG-Z@`/:\\-]") {
        prop_assert_eq!(line::chunk_size(&stream(text.as_bytes())), None);
    }

    #[test]
    fn statuses(status in 100_u16..1000, minor in 0_u8..2) {
        let text = format!("HTTP/1.{minor} {status} Any Reason\r\n");
        prop_assert_eq!(line::status(&stream(text.as_bytes())), Some((minor + 1, status)));
        for bad in [format!("HTTP/1.{minor}  {status}\r\n"), format!("HTTP/1.{minor} {status}0\r\n")] {
            prop_assert_eq!(line::status(&stream(bad.as_bytes())), None);
        }
    }

    #[test]
    fn buckets_hold_what_falls_into_them(latency in 0_u64..1 << 40) {
        let (lower, upper) = bounds_of(bucket_of(latency));
        prop_assert!(lower <= latency && latency < upper);
        prop_assert!(upper - lower == 1 || (upper - lower) * 16 <= lower, "{lower} to {upper}");
    }
}

#[test]
fn buckets_follow_one_another() {
    let mut expected = 0;
    for bucket in 0..=bucket_of(u64::MAX) {
        let (lower, upper) = bounds_of(bucket);
        assert_eq!(lower, expected);
        assert_eq!(bucket_of(lower), bucket);
        assert_eq!(bucket_of(upper - 1), bucket);
        expected = upper;
    }
    assert_eq!(expected, 1 << 40);
}

/// The status of a block of these octets.
fn status(octets: &[u8]) -> u16 {
    let words = stream(octets).line;
    hpack::status(words[0], words[1])
}

#[test]
fn statuses_of_header_blocks() {
    let table = [200, 204, 206, 304, 400, 404, 500];
    for (index, expected) in table.into_iter().enumerate() {
        assert_eq!(status(&[0x88 + index as u8, 0x40]), expected);
    }
    // RFC 7541 C.5.1 and C.6.1: the same response, plain and in Huffman's code.
    assert_eq!(status(&[0x48, 0x03, 0x33, 0x30, 0x32, 0x58]), 302);
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02, 0x58]), 302);
    // C.5.2 and C.6.2.
    assert_eq!(status(&[0x48, 0x03, 0x33, 0x30, 0x37, 0xc1]), 307);
    assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff, 0xc1]), 307);
    assert_eq!(status(&[0x08, 0x03, b'5', b'0', b'3']), 503);
    assert_eq!(status(&[0x18, 0x03, b'1', b'0', b'3']), 103);
    // Changes of the table's size come before: 4096, then 0.
    assert_eq!(status(&[0x3f, 0xe1, 0x1f, 0x20, 0x8d]), 404);
    // The dynamic table, other names, nothing.
    for other in [
        &[0xbe_u8][..],
        &[0xbf],
        &[0x80],
        &[0x87],
        &[0x8f],
        &[0x40, 0x0b],
        &[0x5f, 0x10],
        &[],
    ] {
        assert_eq!(status(other), 0, "{other:x?}");
    }
}

#[test]
fn every_status_in_huffmans_code() {
    for expected in 100_u16..1000 {
        // RFC 7541 appendix B: the digits' codes.
        let mut bits = String::new();
        for digit in expected.to_string().bytes().map(|byte| byte - b'0') {
            bits += &match digit {
                0..=2 => format!("{digit:05b}"),
                _ => format!("{:06b}", digit + 22),
            };
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let mut block = vec![0x48, 0x80 | (bits.len() / 8) as u8];
        block.extend(
            (0..bits.len())
                .step_by(8)
                .map(|at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap()),
        );
        assert_eq!(status(&block), expected, "{block:x?}");
    }
}
