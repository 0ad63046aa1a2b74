//! Both HTTP parsers on any conversation: `cargo +nightly fuzz run http` in `probe-ebpf`.
//!
//! The input is cut into segments by its own bytes: each begins with one that says who speaks,
//! whether the sequence number is the next one, and how long the segment is.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/http/conversation.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod conversation;

use conversation::{Conversation, Side};

fuzz_target!(|input: &[u8]| {
    let mut conversation = Conversation::default();
    let mut rest = input;
    while let Some((&header, behind)) = rest.split_first() {
        let side = if header & 1 == 0 {
            Side::Client
        } else {
            Side::Backend
        };
        let length = usize::from(header >> 3).min(behind.len());
        let (segment, next) = behind.split_at(length);
        rest = next;
        if segment.is_empty() {
            continue;
        }
        match header & 6 {
            2 => conversation.repeat(side, segment, u32::from(header >> 4)),
            4 => conversation.lose(side, u32::from(header >> 4)),
            _ => conversation.say(side, segment),
        }
        if let Some(connection) = &conversation.connection {
            for stream in [connection.ingress, connection.egress] {
                assert!(stream.at <= stream.end);
            }
        }
    }
});
